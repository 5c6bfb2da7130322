"""A decoder as its owner runs it, and the bundles of it, in turns on the same latents."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from latentmill.errors import InvalidBundle
from latentmill.export import ExportedBundle
from latentmill.specs import Execution
from tests.shapes.shape import Modules, Shape
from workers.devices import device_name, execution_versions
from workers.models import Vae, load_vae, open_bundle

ENGINES = ("torch", "onnx")
SEED = 5


@dataclass(frozen=True)
class Plan:
    """Rows of a batch, how often each contender has its turn, and how long a turn is."""

    batch_rows: int
    turns: int = 9
    seconds: float = 0.04


@dataclass(frozen=True)
class Timed:
    """One shape: the engine that "auto" took, the decoder's parameters and its rows per second.

    `ratios` and `differences` are by engine: medians over the turns of a bundle's speed beside the module's, and the
    largest difference of decoded rows, as a share of the largest value where that is above 1.
    """

    name: str
    taken: str
    parameters: int
    rows_per_s: float
    ratios: dict[str, float]
    differences: dict[str, float]

    def __str__(self) -> str:
        ratios = ", ".join(f"bundle of engine {engine} {ratio:.2f}" for engine, ratio in self.ratios.items())
        return f"{self.name}: auto takes {self.taken}; module {self.rows_per_s:,.0f} rows/s, {ratios} of it"


def measure(shape: Shape, folder: Path, plan: Plan) -> Timed:
    """The decoder of `shape` beside a bundle of every engine that can take it."""
    modules = shape.modules()
    taken = shape.export(folder / "auto.vae.zip", modules)
    bundles = _bundles(shape, modules, taken, plan.batch_rows)
    latents = torch.randn(plan.batch_rows, shape.latent_size, generator=torch.Generator().manual_seed(SEED))
    classes = torch.arange(plan.batch_rows) % max(1, len(shape.classes))
    conditions = shape.conditions(classes)
    contenders = {"module": _own(shape, modules[1], latents, conditions)}
    contenders |= {engine: _bundled(vae, latents, classes) for engine, vae in bundles.items()}
    speeds = _in_turns(contenders, plan)
    wanted = shape.decoded(modules[1], latents, conditions)
    return Timed(
        shape.name,
        taken.engine,
        sum(weight.numel() for weight in modules[1].parameters()),
        statistics.median(speeds["module"]),
        {
            engine: statistics.median(ours / own for ours, own in zip(speeds[engine], speeds["module"], strict=True))
            for engine in bundles
        },
        {engine: _difference(vae.decode(latents, classes), wanted) for engine, vae in bundles.items()},
    )


def execution(engine: str, batch_rows: int) -> Execution:
    """One thread: what a bundle costs beside its module must not depend on how many cores share the layers."""
    return Execution(
        device="cpu",
        device_name=device_name("cpu"),
        engine=engine,
        batch_rows=batch_rows,
        threads=1,
        versions=execution_versions("cpu", engine),
    )


def _in_turns(contenders: dict[str, Callable[[], object]], plan: Plan) -> dict[str, list[float]]:
    """Rows per second of each contender in each turn: what disturbs the machine meanwhile disturbs all of them."""
    batches = {name: _batches_in(contend, plan.seconds) for name, contend in contenders.items()}
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(plan.turns):
        for name in contenders if turn % 2 else reversed(contenders):
            started = time.perf_counter()
            for _ in range(batches[name]):
                contenders[name]()
            speeds[name].append(batches[name] * plan.batch_rows / (time.perf_counter() - started))
    return speeds


def _batches_in(contend: Callable[[], object], seconds: float) -> int:
    """How many batches take about `seconds`, after some that warm up."""
    for _ in range(3):
        contend()
    started = time.perf_counter()
    for _ in range(3):
        contend()
    return max(1, round(3 * seconds / (time.perf_counter() - started)))


def _own(shape: Shape, decoder: nn.Module, latents: Tensor, conditions: Tensor | None) -> Callable[[], object]:
    """The decoder as in a notebook, with the sigmoid that its loss has where it gives logits."""
    shaped = latents.reshape(-1, *shape.latent)
    given = (shaped,) if conditions is None else (shaped, conditions)

    @torch.inference_mode()
    def decode() -> object:
        decoded = decoder(*given)
        return decoded if shape.finish is None else shape.finish(decoded)

    return decode


def _bundled(vae: Vae, latents: Tensor, classes: Tensor) -> Callable[[], object]:
    """As a job decodes a batch."""
    return lambda: vae.decode(latents, classes)


def _bundles(shape: Shape, modules: Modules, taken: ExportedBundle, batch_rows: int) -> dict[str, Vae]:
    """The bundle that was `taken`, and that of the other engine if that can take the modules; loaded as for a job."""
    found = {}
    for engine in ENGINES:
        path = taken.path
        if engine != taken.engine:
            path = taken.path.with_name(f"{engine}.vae.zip")
            try:
                shape.export(path, modules, engine=engine)
            except InvalidBundle:
                continue
        found[engine] = load_vae(open_bundle(path), execution=execution(engine, batch_rows), inspected=True)
    return found


def _difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max()) / max(1.0, float(theirs.abs().max()))
