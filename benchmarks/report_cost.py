"""`python -m benchmarks.report_cost`: seconds and memory of fits and reports, and what a fit costs its second job.

The encoding has 60,000 MNIST rows and 10 latents of a beta 1 VAE; for memory, 2,000,000 made-up rows and 10 latents.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.private_memory import peak_of
from benchmarks.strategies import mnist, vaes
from benchmarks.strategies.cell import Model, encoded, go_on
from latentmill import Client
from latentmill.demo.run import BUNDLE
from latentmill.specs import Aggregate, Empirical, Family, FitRequest, Flow, Gaussian, Mixture, Prior
from latentmill.stack import Stack
from workers.models import load_vae, open_bundle
from workers.posteriors import EncodingWriter, density_of, fit_posterior, open_encoding, standard_normal
from workers.posteriors.encoding import DIGEST_BYTES
from workers.posteriors.measurement import measure
from workers.posteriors.mismatch import mismatch_of
from workers.posteriors.split import split_rows
from workers.reporting.candidates import Candidate
from workers.reporting.ground import ground_of
from workers.reporting.report import make_report
from workers.reporting.subject import Subject

ROOT = Path(__file__).resolve().parents[1]
LATENT_SIZE = 10
FAMILIES: dict[str, Family] = {
    "gaussian": Gaussian(),
    "mixture of 10": Mixture(components=10),
    "mixture, auto": Mixture(),
    "flow": Flow(),
    "empirical": Empirical(),
}
LARGE_ROWS = 2_000_000
STARTS = 15


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report_cost", description=__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT.parent / "cache" / "strategies", help="has the models")
    parser.add_argument("--mnist", type=Path, default=mnist.FOLDER)
    parser.add_argument("--large-rows", type=int, default=LARGE_ROWS)
    arguments = parser.parse_args()
    digits = mnist.load(arguments.mnist)
    recipe = next(recipe for recipe in vaes.recipes(1) if recipe.beta == 1.0)
    bundle = vaes.trained(recipe, digits.training, arguments.cache / "models")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    images = np.concatenate([digits.training.images, digits.reference.images])
    labels = np.concatenate([digits.training.labels, digits.reference.labels])
    fits(Model(recipe, bundle), mnist.Digits(images, labels))
    service(bundle, images, labels)
    memory(arguments.large_rows)


def fits(model: Model, digits: mnist.Digits) -> None:
    """Seconds of every family on the whole encoding."""
    started = time.perf_counter()
    encoding = encoded(model, digits)
    print(f"encoding of {encoding.rows:,} rows: {time.perf_counter() - started:.1f} s")
    for name, family in FAMILIES.items():
        started, cpu = time.perf_counter(), time.process_time()
        request = FitRequest(model="model", dataset="dataset", family=family)
        fit = fit_posterior(encoding, request, model.prior, progress=lambda _: None, check=go_on)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        gain = fit.diagnostics["gain"]["value"]
        print(
            f"{name}: {seconds:.1f} s, {cpu:.1f} s of one core, diagnostics included; gain {gain:.2f} nats", flush=True
        )
    started = time.process_time()
    split = split_rows(encoding.row_digests, None, seed=0, holdout=0.1)
    measured = measure(encoding, split, full=True, check=go_on)
    mismatch_of(encoding, split, measured, None, model.prior, conditional=False, seed=0, check=go_on)
    print(f"the diagnostics alone: {time.process_time() - started:.1f} s of one core")


def service(bundle: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """On `latentmill up`: the default report of 60,000 rows with its fits made; then jobs that use one of them."""
    with tempfile.TemporaryDirectory() as folder, Stack(data_dir=folder, port=0) as stack:
        client = Client(url=stack.url, api_key=stack.api_key)
        model = client.models.add(bundle).wait()
        dataset = client.datasets.add(images, labels=labels, name="mnist").wait()
        started, busy = time.perf_counter(), busy_seconds()
        report = client.reports.create(model, dataset).wait()
        seconds, busy = time.perf_counter() - started, busy_seconds() - busy
        print(f"default report, encoding and fits included: {seconds:.1f} s, {busy:.1f} s of one core in all processes")
        print(f"it says: {report.data['recommendation']['reason']}")
        started = time.perf_counter()
        client.reports.create(model, dataset, seed=report.data["seed"], rows=1_000).wait()
        print(f"another report that finds its fits made: {time.perf_counter() - started:.1f} s")
        starts(client, model, dataset)


def busy_seconds() -> float:
    """CPU time of the stack's processes, which are this one's children."""
    times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return sum(each.user + each.system for each in times)


def starts(client: Client, model, dataset) -> None:
    """Seconds from POST to `succeeded` of one-row jobs, in turn from the prior and from a fit that exists."""
    fit = client.fits.create(model, dataset, family={"kind": "mixture", "components": 10}).wait()
    strategies = {"prior": {"kind": "prior"}, "fit": {"kind": "aggregate", "fit": fit.id}}
    seconds: dict[str, list[float]] = {name: [] for name in strategies}
    for _ in range(1 + STARTS):
        for name, strategy in strategies.items():
            started = time.perf_counter()
            client.jobs.create(model, strategy=strategy, rows=1).wait()
            seconds[name].append(time.perf_counter() - started)
    first = seconds["fit"][0]
    medians = {name: statistics.median(all_but_first[1:]) for name, all_but_first in seconds.items()}
    print(
        f"one-row job: prior {medians['prior']:.3f} s, a fit used before {medians['fit']:.3f} s (medians of {STARTS}); "
        f"its very first {first:.3f} s"
    )


def memory(rows: int) -> None:
    """Peak memory of fits and of a report, of encodings that differ 33-fold in rows."""
    with tempfile.TemporaryDirectory() as folder:
        for count in (60_000, rows):
            path = Path(folder) / str(count)
            write_encoding(path, count)
            for name, family in FAMILIES.items():
                print(f"{count:,} rows, {name}: {peak_of(fit_alone, path, family)}", flush=True)
            print(f"{count:,} rows, report of the prior and a mixture: {peak_of(report_alone, path)}", flush=True)


def write_encoding(path: Path, rows: int, *, block_rows: int = 100_000) -> None:
    """Made-up posteriors: five clusters, stds around 0.3."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(5, LATENT_SIZE)) * 1.5
    with EncodingWriter(path, rows, LATENT_SIZE, False) as writer:
        for first in range(0, rows, block_rows):
            count = min(block_rows, rows - first)
            mean = centres[random.integers(5, size=count)] + 0.5 * random.normal(size=(count, LATENT_SIZE))
            std = 0.3 * np.exp(0.2 * random.normal(size=(count, LATENT_SIZE)))
            digests = random.integers(256, size=(count, DIGEST_BYTES), dtype=np.uint8)
            writer.write(first, mean, std, None, digests)


def fit_alone(path: Path, family: Family):
    request = FitRequest(model="model", dataset="dataset", family=family)
    prior = standard_normal(LATENT_SIZE)
    return fit_posterior(open_encoding(path), request, prior, progress=lambda _: None, check=go_on)


def report_alone(path: Path) -> None:
    """Of a dataset of latents, with the demo's decoder."""
    vae = load_vae(open_bundle(BUNDLE), inspected=True)
    ground = ground_of(Subject(vae, open_encoding(path), None), None, rows=2_000, seed=0, holdout=0.1, check=go_on)
    fit = fit_alone(path, Mixture(components=10))
    density, prior = density_of(fit.family, fit.parameters), standard_normal(LATENT_SIZE)
    candidates = [
        Candidate("prior", Prior(), served=prior, judged=prior),
        Candidate("mixture", Aggregate(fit="mixture"), fit.family, served=density, judged=density),
    ]
    make_report(
        ground, candidates, prior,
        rows=2_000, seed=0, settings={}, batch_rows=1024, threads=1, check=go_on, progress=lambda _: None,
    )  # fmt: skip


if __name__ == "__main__":
    main()
