"""A published VAE that knows no labels gives the labels that are asked for, exactly as many, through the service."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.classifier import DigitClassifier
from benchmarks.strategies import mnist
from latentmill import Client

COUNTS = {str(digit): 300 + 50 * digit for digit in range(10)}  # so that a wrong order of classes would show

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not mnist.FOLDER.is_dir(), reason=f"MNIST is not beside the checkout ({mnist.FOLDER})"),
]


def shards(folder: Path, name: str) -> np.ndarray:
    return np.concatenate([np.load(path)[name] for path in sorted(folder.glob("data-*.npz"))])


@pytest.mark.parametrize("family", [{"kind": "gaussian"}, {"kind": "mixture", "components": 10}])
def test_a_classifier_of_real_digits_reads_the_asked_labels(family, client: Client, burgess_bundle, tmp_path) -> None:
    digits = mnist.load()
    classifier = DigitClassifier(digits.training.images, digits.training.labels, epochs=4)
    assert classifier.agreement(digits.test.images, digits.test.labels) > 0.96

    kind = family["kind"]
    model = client.models.add(burgess_bundle("VAE_mnist"), name=f"labelled-{kind}").wait()
    uploaded = digits.training[:20_000]
    dataset = client.datasets.add(uploaded.images, labels=uploaded.labels, name=f"labelled-{kind}").wait()
    fit = client.fits.create(model, dataset, family=family, by_label=True).wait()
    strategy = {"kind": "aggregate", "fit": fit.id, "labels": {"counts": COUNTS}}
    job = client.jobs.create(model, strategy=strategy, rows=sum(COUNTS.values()), seed=4).wait()
    folder = job.download(tmp_path / "asked")
    rows, labels = shards(folder, "rows"), shards(folder, "labels").astype(str)
    assert {name: int((labels == name).sum()) for name in COUNTS} == COUNTS

    others = client.datasets.add(digits.test.images[:2000], name=f"unseen-{kind}").wait()
    around = {"kind": "posterior", "dataset": others.id}
    reconstructions = client.jobs.create(model, strategy=around, rows=2000, seed=4).wait().download(tmp_path / "seen")
    reachable = classifier.agreement(shards(reconstructions, "rows"), digits.test.labels[:2000])
    assert classifier.agreement(rows, labels.astype(np.int64)) > reachable - 0.1
    assert reachable > 0.85
