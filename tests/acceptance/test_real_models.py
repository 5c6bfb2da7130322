"""A published VAE and its own training images through all of Latentmill, against independent float64 computations."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from latentmill import Client

ROWS = 60_000
GENERATED = 20_000
MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"

pytestmark = pytest.mark.skipif(not MNIST.is_dir(), reason=f"MNIST is not beside the checkout ({MNIST})")


def read_idx_images(path: Path) -> np.ndarray:
    """The images of an IDX file, read without Latentmill."""
    import gzip

    raw = gzip.decompress(path.read_bytes())
    count, height, width = np.frombuffer(raw, ">i4", 3, offset=4)
    return np.frombuffer(raw, np.uint8, offset=16).reshape(count, height, width)


def independent_moments(
    encode: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of q(z) in float64 from the float32 outputs of the checkpoint's own encoder."""
    images = torch.from_numpy(read_idx_images(MNIST / "train-images-idx3-ubyte.gz").copy())
    means, variances = [], []
    with torch.inference_mode():
        for batch in images.split(1000):
            mean, log_variance = encode(batch[:, None].float() / 255)
            means.append(mean.double().numpy())
            variances.append(log_variance.double().exp().numpy())
    mu = np.concatenate(means)
    centred = mu - mu.mean(axis=0)
    return mu.mean(axis=0), centred.T @ centred / len(mu) + np.diag(np.concatenate(variances).mean(axis=0))


def latents_of(folder: Path) -> np.ndarray:
    return np.concatenate([np.load(path)["latents"] for path in sorted(folder.glob("data-*.npz"))])


def assert_sampled_from(latents: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
    """Moments of `latents` within five standard errors of N(mean, covariance)'s: about 1 false alarm in 30,000 runs."""
    n = len(latents)
    centred = latents.astype(np.float64) - mean
    variance = np.diag(covariance)
    assert np.all(np.abs(centred.mean(axis=0)) < 5 * np.sqrt(variance / n))
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / n)
    assert np.all(np.abs(centred.T @ centred / n - covariance) < 5 * error)


@pytest.mark.parametrize("checkpoint", ["VAE_mnist", pytest.param("factor_mnist", marks=pytest.mark.full)])
def test_aggregate_posterior_of_a_published_vae(
    checkpoint, client: Client, burgess_bundle, burgess_encoder, tmp_path
) -> None:
    model = client.models.add(burgess_bundle(checkpoint), name=checkpoint).wait()
    dataset = client.datasets.add(
        MNIST / "train-images-idx3-ubyte.gz", labels=MNIST / "train-labels-idx1-ubyte.gz", name=f"mnist-{checkpoint}"
    ).wait()
    assert dataset.data["rows"] == ROWS
    assert dataset.data["labels"]["1"] == 6742

    fit = client.fits.create(model, dataset, family={"kind": "gaussian", "covariance": "full"}).wait()
    mean, covariance = independent_moments(burgess_encoder(checkpoint))
    scale = np.sqrt(np.diag(covariance))
    parameters = fit.parameters()
    assert np.all(np.abs(parameters["mean"] - mean) < 1e-5 * scale)
    assert np.all(np.abs(parameters["covariance"] - covariance) < 1e-5 * np.outer(scale, scale))
    assert fit.diagnostics["rows_used"] == ROWS

    jobs = {
        "aggregate": client.jobs.create(
            model, strategy={"kind": "aggregate", "fit": fit.id}, rows=GENERATED, seed=1, include_latents=True
        ),
        "prior": client.jobs.create(model, strategy={"kind": "prior"}, rows=GENERATED, seed=1, include_latents=True),
    }
    latents = {name: latents_of(job.wait().download(tmp_path / name)) for name, job in jobs.items()}
    assert latents["aggregate"].shape == latents["prior"].shape == (GENERATED, 10)
    assert_sampled_from(latents["aggregate"], mean, covariance)
    assert_sampled_from(latents["prior"], np.zeros(10), np.eye(10))
