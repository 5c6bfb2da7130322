"""Rows of a fit by label, from the demo's VAE which knows no labels, look like the labels that were asked for."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from latentmill.demo import digits
from latentmill.demo.comparing import reconstructed
from latentmill.demo.run import BUNDLE
from latentmill.specs import FitRequest, Gaussian, Mixture
from workers.generation import encode_dataset
from workers.models import load_vae, open_bundle
from workers.posteriors import LabelledDensity, density_of, fit_posterior, open_encoding, standard_normal
from workers.randomness import normals, uniforms
from workers.randomness.streams import Stream
from workers.rows import codec

ROWS = 1000
CHANCE = 0.1


@pytest.fixture(scope="module")
def data() -> digits.Digits:
    return digits.load()


@pytest.fixture(scope="module")
def classifier(data):
    """Trained on real digits alone."""
    return LogisticRegression(C=0.1, max_iter=300).fit(_flat(data.training), data.training_labels)


@pytest.fixture(scope="module")
def vae():
    return load_vae(open_bundle(BUNDLE), inspected=True)


@pytest.fixture(scope="module")
def encoding(vae, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("encoding") / "encoding"
    encode_dataset(
        vae,
        data.training[:, None],
        data.training_labels.astype(np.int32),
        path,
        classes=digits.CLASSES,
        batch_rows=256,
        head_test=lambda *_: [],
        check=lambda: None,
        progress=lambda _: None,
    )
    return open_encoding(path)


def _flat(images) -> np.ndarray:
    return images.reshape(len(images), -1) / 255


def _fit(encoding, family, *, by_label: bool):
    request = FitRequest(model="m", dataset="d", family=family, by_label=by_label)
    fit = fit_posterior(encoding, request, standard_normal(10), progress=lambda _: None, check=lambda: None)
    return density_of(fit.family, fit.parameters)


def _decoded(vae, latents) -> np.ndarray:
    return codec(vae.manifest.rows).delivered(vae.decode(torch.from_numpy(latents.astype(np.float32)))).values["rows"]


@pytest.mark.parametrize("family", [Gaussian(covariance="full"), Mixture(components=2, covariance="diagonal")])
def test_most_rows_show_the_label_that_was_asked_for(family, vae, encoding, data, classifier):
    density = _fit(encoding, family, by_label=True)
    assert isinstance(density, LabelledDensity)
    asked = np.arange(ROWS) % 10
    noise, choices = normals(5, Stream.LATENTS, 0, ROWS, 10), uniforms(5, Stream.CHOICES, 0, ROWS)
    shown = classifier.predict(_flat(_decoded(vae, density.draw_given(asked, noise, choices))))

    order = np.random.RandomState(digits.SPLIT_SEED).permutation(1797)
    unseen_labels = load_digits().target[order][digits.TRAINING_ROWS :]
    on_reconstructions = (classifier.predict(_flat(reconstructed(data.unseen, BUNDLE))) == unseen_labels).mean()
    assert on_reconstructions > 0.9
    assert (shown == asked).mean() > on_reconstructions - 0.1
    for digit in range(10):
        assert (shown[asked == digit] == digit).mean() > 0.6, digit


def test_a_fit_without_labels_shows_no_asked_label(vae, encoding, classifier):
    """What the test above measures is the label: the same rows against labels that nobody asked for agree by chance."""
    density = _fit(encoding, Gaussian(), by_label=False)
    shown = classifier.predict(_flat(_decoded(vae, density.draw(normals(5, Stream.LATENTS, 0, ROWS, 10), None))))
    agreement = (shown == np.arange(ROWS) % 10).mean()
    assert abs(agreement - CHANCE) < 5 * np.sqrt(CHANCE * (1 - CHANCE) / ROWS)
