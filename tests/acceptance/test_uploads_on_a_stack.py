"""Every way to bring rows, on the real stack: a folder of images, latents for a decoder alone, windows of a series."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from latentmill import Client, export_vae, series_windows
from latentmill.errors import LatentmillError, ModelMismatch
from latentmill.resources.resource import Resource

RANDOM = np.random.default_rng(7)
LATENT = (2, 2, 2)
MEANS = RANDOM.choice([-1.5, 1.5], (400, 8)) + 0.2 * RANDOM.standard_normal((400, 8))
STDS = np.full((400, 8), 0.3)


def rows_of(folder: Path, name: str = "rows") -> np.ndarray:
    return np.concatenate([np.load(path)[name] for path in sorted(folder.glob("data-*.npz"))])


def delivered(client: Client, folder: Path, model: Resource, strategy: dict, rows: int, **choices) -> np.ndarray:
    job = client.jobs.create(model, strategy=strategy, rows=rows, seed=5, format="npz", **choices).wait()
    return rows_of(job.download(folder))


@pytest.fixture
def seeded() -> None:
    torch.manual_seed(3)


@pytest.mark.parametrize("layout", ["CHW", "HWC"])
def test_a_folder_of_images_serves_either_layout(client: Client, tmp_path: Path, seeded, layout: str) -> None:
    pixels = RANDOM.integers(0, 256, (60, 4, 5, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        path = tmp_path / "pictures" / f"{number % 2}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    shape = (3, 4, 5) if layout == "CHW" else (4, 5, 3)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(60, 8))
    decoder = nn.Sequential(nn.Linear(4, 60), nn.Sigmoid(), nn.Unflatten(1, shape))
    export_vae(
        tmp_path / "rgb.vae.zip", name=f"rgb-{layout}", encoder=encoder, decoder=decoder,
        rows={"kind": "image", "shape": list(shape), "layout": layout}, latent_shape=[4], head="chunked",
        likelihood={"kind": "bernoulli"},
    )  # fmt: skip
    model = client.models.add(tmp_path / "rgb.vae.zip").wait()
    dataset = client.datasets.add(tmp_path / "pictures").wait()
    assert dataset.row_shape == [4, 5, 3]
    assert dataset.layout == "HWC"
    assert dataset.labels == {"0": 30, "1": 30}

    ordered = np.concatenate([pixels[0::2], pixels[1::2]])  # folder by folder
    x = torch.from_numpy(ordered if layout == "HWC" else np.moveaxis(ordered, 3, 1).copy()) / 255
    with torch.inference_mode():
        expected = decoder(encoder(x)[:, :4]).numpy() * 255
    around = {"kind": "posterior", "dataset": dataset.id, "temperature": 0}
    rows = delivered(client, tmp_path / "out", model, around, 60)
    assert np.abs(rows - expected).max() <= 0.51
    around |= {"select": {"label": "1"}}
    assert np.array_equal(delivered(client, tmp_path / "ones", model, around, 30), rows[30:])


@pytest.fixture
def decoder_only(client: Client, tmp_path: Path, seeded) -> Resource:
    decoder = nn.Sequential(nn.Flatten(), nn.Linear(8, 16), nn.Sigmoid(), nn.Unflatten(1, (1, 4, 4)))
    export_vae(
        tmp_path / "d.vae.zip", name="decoder", encoder=None, decoder=decoder,
        rows={"kind": "image", "shape": [1, 4, 4]}, latent_shape=list(LATENT), likelihood={"kind": "bernoulli"},
    )  # fmt: skip
    return client.models.add(tmp_path / "d.vae.zip").wait()


FAMILIES = {
    "gaussian": {"kind": "gaussian"},
    "mixture": {"kind": "mixture", "components": 4},
    "empirical": {"kind": "empirical"},
    "flow": {"kind": "flow", "transforms": 2, "hidden": 8, "epochs": 3},
}


def test_latents_are_all_that_a_decoder_needs(client: Client, decoder_only: Resource, tmp_path: Path) -> None:
    shaped = {"mean": MEANS.reshape(-1, *LATENT), "std": STDS.reshape(-1, *LATENT)}
    dataset = client.datasets.add(shaped, labels=np.arange(400) % 2, kind="latents").wait()
    assert (dataset.kind, dataset.row_shape, dataset.warnings) == ("latents", list(LATENT), [])
    for name, family in FAMILIES.items():
        fit = client.fits.create(decoder_only, dataset, family=family).wait()
        assert fit.diagnostics["gain"]["value"] > (0.1 if name != "empirical" else -np.inf), name
        strategy = {"kind": "aggregate", "fit": fit.id}
        assert delivered(client, tmp_path / name, decoder_only, strategy, 64).shape == (64, 1, 4, 4)
    around = {"kind": "posterior", "dataset": dataset.id, "select": {"rows": [3, 9]}, "temperature": 0}
    job = client.jobs.create(decoder_only, strategy=around, rows=2, include_latents=True).wait()
    assert np.allclose(rows_of(job.download(tmp_path / "around"), "latents").reshape(2, 8), MEANS[[3, 9]], atol=1e-6)
    path = {"kind": "interpolate", "dataset": dataset.id, "pairs": [[0, 1]], "steps": 5, "path": "linear"}
    assert len(delivered(client, tmp_path / "path", decoder_only, path, 5)) == 5
    assert np.shape(client.previews.create(decoder_only, strategy=around, rows=2).rows) == (2, 1, 4, 4)


def test_a_report_on_latents_says_what_it_cannot_measure(client: Client, decoder_only: Resource) -> None:
    dataset = client.datasets.add({"mean": MEANS, "std": STDS}, kind="latents").wait()  # flat: the same latents
    candidates = [{"kind": "prior"}, {"kind": "gaussian"}, {"kind": "empirical"}]
    data = client.reports.create(decoder_only, dataset, candidates=candidates, rows=20).wait().data
    assert data["mismatch"]["marginal_kl"]["value"] > 0.5
    assert data["floors"]["reconstructions"]["real"] is None
    for each in data["candidates"]:
        assert each["error"] is None
        assert each["quality"]["decoded"] is not None
        assert each["quality"]["real"] is None
    assert any(warning.startswith("The dataset holds latents, not rows") for warning in data["warnings"])


def test_latents_that_do_not_belong_are_refused(client: Client, decoder_only: Resource) -> None:
    def fitted(latents: dict[str, np.ndarray], family: str = "gaussian") -> Resource:
        dataset = client.datasets.add(latents, kind="latents").wait()
        return client.fits.create(decoder_only, dataset, family={"kind": family}).wait()

    def refused(*given) -> LatentmillError:
        with pytest.raises(LatentmillError) as caught:
            fitted(*given)
        return caught.value

    turned = refused({"mean": MEANS.reshape(-1, 4, 2), "std": STDS.reshape(-1, 4, 2)})
    assert isinstance(turned, ModelMismatch)
    assert "[4, 2], those of" in turned.detail
    assert "or flat [8]" in turned.detail
    assert "[7], those of" in refused({"mean": MEANS[:, :7], "std": STDS[:, :7]}).detail
    assert "std below 0" in refused({"mean": MEANS, "std": -STDS}).detail
    points = client.datasets.add({"mean": MEANS[:200]}, kind="latents").wait()
    assert points.warnings[0].startswith("There is no array std")
    assert client.fits.create(decoder_only, points, family={"kind": "gaussian"}).wait().state == "ready"
    assert "gaussian, mixture" in refused({"mean": MEANS[:200]}, "empirical").detail


def test_windows_that_overlap_are_said_to(client: Client, tmp_path: Path, seeded) -> None:
    wave = np.stack([np.sin(np.arange(600) / 9), 40 + 3 * np.cos(np.arange(600) / 23)], axis=1)
    made = series_windows(wave, steps=6, features=["load", "price"])
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    decoder = nn.Sequential(nn.Linear(2, 12), nn.Unflatten(1, (6, 2)))
    export_vae(
        tmp_path / "s.vae.zip", name="waves", encoder=encoder, decoder=decoder, rows=made.rows, latent_shape=[2],
        head="chunked", likelihood={"kind": "gaussian", "std": 0.1},
    )  # fmt: skip
    model = client.models.add(tmp_path / "s.vae.zip").wait()
    dataset = client.datasets.add(made.windows).wait()
    fit = client.fits.create(model, dataset, family={"kind": "gaussian"}).wait()
    assert any(warning.startswith("Rows overlap: most begin with the last 5 of the 6") for warning in fit.warnings)
    apart = client.datasets.add(made.windows[::6]).wait()
    report = client.reports.create(model, apart, candidates=[{"kind": "gaussian"}], rows=20).wait()
    assert any(warning.startswith("Rows may overlap") for warning in report.data["warnings"])
    rows = delivered(client, tmp_path / "out", model, {"kind": "aggregate", "fit": fit.id}, 30)
    assert rows.shape == (30, 6, 2)
    assert 30 < rows[..., 1].mean() < 50  # in the features' own units
