"""`python -m benchmarks.labels`: do rows of a fit by label, from a VAE that knows no labels, look like their labels?

A small classifier, trained on real digits, reads generated ones. Beside its agreement with the asked labels stand its
accuracy on reconstructions of the test digits by the same VAE, which no latents could beat by much, and on real ones.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.classifier import DigitClassifier
from benchmarks.strategies import mnist, vaes
from benchmarks.strategies.cell import Model, encoded
from latentmill.specs import Family, FitRequest, Gaussian, Mixture
from workers.posteriors import density_of, fit_posterior
from workers.posteriors.labelled import LabelledDensity
from workers.randomness import normals, uniforms
from workers.randomness.streams import Stream

ROOT = Path(__file__).resolve().parents[1]
FAMILIES: dict[str, Family] = {"gaussian": Gaussian(), "mixture": Mixture()}
ROWS = 10_000
UPLOADED = 20_000
SEED = 11


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labels", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "labels.md")
    parser.add_argument("--cache", type=Path, default=ROOT.parent / "cache" / "strategies", help="has the models")
    parser.add_argument("--mnist", type=Path, default=mnist.FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    with threadpool_limits(1):
        digits = mnist.load(arguments.mnist)
        classifier = DigitClassifier(digits.training.images, digits.training.labels)
        real = classifier.agreement(digits.test.images, digits.test.labels)
        lines = [
            _line(Model(recipe, vaes.trained(recipe, digits.training, arguments.cache / "models")), classifier, digits)
            for recipe in vaes.recipes(1)
            if recipe.name != "collapsed"
        ]
    text = _page(real, lines, time.perf_counter() - started)
    arguments.out.write_text(text)
    print(text)


def _line(model: Model, classifier: DigitClassifier, digits: mnist.Split) -> str:
    """One line of the table: accuracy on reconstructions, then agreement with asked labels by family."""
    test = encoded(model, digits.test)
    reconstructed = classifier.agreement(
        model.reconstructed(test, np.arange(len(digits.test)), SEED), digits.test.labels
    )
    shares = [_agreement(model, family, classifier, digits.training[:UPLOADED]) for family in FAMILIES.values()]
    return f"| {model.recipe.name} | {reconstructed:.1%} | " + " | ".join(f"{share:.1%}" for share in shares) + " |"


def _agreement(model: Model, family: Family, classifier: DigitClassifier, uploaded: mnist.Digits) -> float:
    """The share of generated rows, as many of each digit, that read as the digit that was asked for."""
    request = FitRequest(model="model", dataset="dataset", family=family, by_label=True)
    encoding = encoded(model, uploaded, labelled=True)
    fit = fit_posterior(encoding, request, model.prior, progress=lambda _: None, check=lambda: None)
    density = density_of(fit.family, fit.parameters)
    asked = np.arange(ROWS) % 10
    return classifier.agreement(model.decoded(draw_labelled(density, asked, SEED)), asked)


def draw_labelled(density: LabelledDensity, labels: np.ndarray, seed: int) -> np.ndarray:
    """Latents (n, D) of the given digits, whose text is their place among the sorted classes."""
    noise = normals(seed, Stream.LATENTS, 0, len(labels), density.latent_size)
    return density.draw_given(labels, noise, uniforms(seed, Stream.CHOICES, 0, len(labels)))


def _page(real: float, lines: list[str], seconds: float) -> str:
    return "\n".join(
        [
            "# Labels from a VAE that knows none",
            "",
            "One density per label, fitted to the latents of an unconditional VAE, gives rows of the label that is",
            f"asked for. {ROWS:,} rows, as many of each digit, are read by a small classifier that was trained on real",
            f"digits and reads {real:.1%} of {10_000:,} unseen ones correctly. Reconstructions of those unseen digits",
            f"show what the decoder loses. Fits saw {UPLOADED:,} labelled digits.",
            "",
            "| model | reconstructions read correctly | asked label read, gaussian by label | mixture by label |",
            "|---|---|---|---|",
            *lines,
            "",
            f"`python -m benchmarks.labels`, {seconds:.0f} s on one core once the models are trained.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
