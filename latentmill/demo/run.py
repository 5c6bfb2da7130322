"""The demo: what a user does with Latentmill, from the bundle to verified datasets, on a stack of its own."""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from latentmill.client import Client
from latentmill.demo import answer, digits, picture
from latentmill.demo.comparing import compare, read_images
from latentmill.errors import Conflict
from latentmill.resources.dataset_folder import verify_dataset
from latentmill.resources.models import Model
from latentmill.stack import Stack
from workers.posteriors.estimate import Estimate

BUNDLE = Path(__file__).parent / "digits.vae.zip"
ROWS = 20_000
SEED = 7
FAMILIES: dict[str, dict[str, Any]] = {
    "gaussian": {"kind": "gaussian", "covariance": "full"},
    "mixture": {"kind": "mixture", "components": 20},
}
STRATEGIES = ("prior", *FAMILIES)
NEXT = (
    ("latentmill up", "this service, for your own models"),
    ("latentmill export --help", "from your checkpoint to a bundle"),
    ("latentmill models add NAME.vae.zip", "then: datasets add, report, generate --strategy auto"),
)


def run(out: Path) -> int:
    """Generate datasets of digits by three strategies into `out`, compare them, draw them; the exit status."""
    console = Console()
    folders = {strategy: _free_folder(out / strategy) for strategy in STRATEGIES}
    data = digits.load()
    console.print(
        f"{len(data.training):,} digits, a VAE trained on them, and {len(data.unseen)} digits that it never saw."
    )
    with tempfile.TemporaryDirectory(prefix="latentmill-demo-") as private:
        console.print("Starting broker, API and workers ...", style="dim")
        with Stack(data_dir=private, port=0) as stack, Client(stack.url, stack.api_key) as client:
            made = _generate(client, data, folders, console)
            page = _report(client, data, out / "report.html", console)
    generated = {strategy: read_images(folder) for strategy, folder in folders.items()}
    distances = compare(generated, data, BUNDLE)
    _draw(generated, data, distances.to_reference, out / "picture.png")
    console.print()
    console.print(answer.table(made, distances))
    console.print()
    console.print(answer.notes(distances), style="dim")
    console.print()
    console.print(answer.sentences(made, distances), style="bold")
    console.print()
    console.print(
        f"Datasets: {', '.join(str(folder) for folder in folders.values())}. Picture: {out / 'picture.png'}. "
        f"Report: {page}, which opens in any browser.",
        soft_wrap=True,
    )
    console.print("\nNext:")
    for command, meaning in NEXT:
        console.print(f"  {command:<38}[dim]{meaning}[/dim]", highlight=False)
    return 0


def _generate(client: Client, data: digits.Digits, folders: dict[str, Path], console: Console) -> list[answer.Made]:
    """Register, upload, fit, generate, download, verify: the calls that the README shows."""
    model = client.models.add(BUNDLE, name="digits").wait()
    dataset = client.datasets.add(data.training, labels=data.training_labels, name="digits").wait()
    console.print("Model and dataset are registered. Fitting the aggregate posterior ...", style="dim")
    fits = {
        name: client.fits.create(model, dataset, family=family, seed=SEED, name=name)
        for name, family in FAMILIES.items()
    }
    strategies: dict[str, dict[str, Any]] = {"prior": {"kind": "prior"}}
    gains: dict[str, Estimate | None] = {"prior": None}
    for name, fit in fits.items():
        fit.wait()
        strategies[name] = {"kind": "aggregate", "fit": fit.id}
        gain = fit.diagnostics["gain"]
        gains[name] = Estimate(gain["value"], gain["standard_error"])
    made = []
    for name, strategy in strategies.items():
        seconds = _one_job(client, model, strategy, folders[name])
        console.print(f"{name}: {ROWS:,} rows in {folders[name]}, every checksum verified.", style="dim")
        made.append(answer.Made(name, ROWS, seconds, gains[name]))
    return made


def _report(client: Client, data: digits.Digits, path: Path, console: Console) -> Path:
    """The same fits compared on digits that neither they nor the VAE saw: the page that `latentmill report` writes."""
    console.print("Comparing the strategies on the digits that the VAE never saw ...", style="dim")
    reference = client.datasets.add(data.unseen, name="unseen digits").wait()
    candidates = list(FAMILIES.values())
    report = client.reports.create("digits", "digits", reference=reference, candidates=candidates, seed=SEED)
    return report.wait().save(path)


def _one_job(client: Client, model: Model, strategy: dict[str, Any], folder: Path) -> float:
    """Seconds from the request to the finished dataset; the download and its verification come after."""
    start = time.perf_counter()
    job = client.jobs.create(model, strategy=strategy, rows=ROWS, seed=SEED).wait()
    seconds = time.perf_counter() - start
    verify_dataset(job.download(folder))
    return seconds


def _draw(
    generated: dict[str, digits.Images], data: digits.Digits, to_reference: dict[str, Estimate], path: Path
) -> None:
    grids = {"real": ("digits that the VAE never saw", data.unseen)}
    for name, images in generated.items():
        grids[name] = (f"kernel distance {to_reference[name].value:.3f}", images)
    picture.draw(grids, path)


def _free_folder(folder: Path) -> Path:
    """`folder`, empty: a dataset of an earlier demo goes, anything else stays and is refused."""
    if folder.exists():
        if any(folder.iterdir()) and not (folder / "manifest.json").is_file():
            raise Conflict(f"{folder} holds something that is not a dataset; choose another folder with --out.")
        shutil.rmtree(folder)
    return folder
