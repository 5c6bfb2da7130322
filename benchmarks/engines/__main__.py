"""`python -m benchmarks.engines`: every shape of module as itself and as bundles; writes docs/engines.md and a CSV."""

import argparse
import csv
import os
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.engines.larger import LARGER
from benchmarks.engines.timing import ENGINES, Plan, Timed, execution, measure
from tests.shapes.matrix import SHAPES
from tests.shapes.shape import Shape
from workers.devices import device_name, execution_versions, pin_execution

ROOT = Path(__file__).resolve().parents[2]
SMALL, LARGE = Plan(batch_rows=1024), Plan(batch_rows=64)  # what jobs of such models take, by the service's measure
HEADER = ("shape", "taken by auto", "parameters", "module, rows/s", *ENGINES, "difference")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="where engines.md and engines.csv go")
    parser.add_argument("--only", help="print the shapes with this in their names, and write nothing")
    arguments = parser.parse_args()
    pin_execution(execution("torch", SMALL.batch_rows))
    load = os.getloadavg()[0]
    larger = measured((shape for shape in LARGER if (arguments.only or "") in shape.name), LARGE)
    small = measured((shape for name, shape in SHAPES.items() if (arguments.only or "") in name), SMALL)
    if arguments.only is None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "engines.md").write_text(page(larger, small, load))
        write_csv([*larger, *small], arguments.out / "engines.csv")


def measured(shapes: Iterable[Shape], plan: Plan) -> list[Timed]:
    """One after the other, each said as soon as it is known."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for shape in shapes:
            found.append(measure(shape, Path(folder), plan))
            print(found[-1], flush=True)
    return found


def page(larger: list[Timed], small: list[Timed], load: float) -> str:
    """docs/engines.md."""
    template = (Path(__file__).parent / "page.md").read_text()
    versions = execution_versions("cpu", "onnx")
    return template.format(
        short="\n".join(f"- {line}" for line in _short(larger, small)),
        larger=_table(larger),
        all=_table(small),
        turns=SMALL.turns,
        milliseconds=1000 * SMALL.seconds,
        batch_rows=SMALL.batch_rows,
        larger_rows=LARGE.batch_rows,
        machine=f"{device_name('cpu')}, {os.cpu_count()} cores, load {load:.1f} before",
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )


def write_csv(found: list[Timed], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for timed in found:
            ratios = [f"{timed.ratios[engine]:.3f}" if engine in timed.ratios else "" for engine in ENGINES]
            worst = f"{max(timed.differences.values()):.2g}"
            writer.writerow([timed.name, timed.taken, timed.parameters, round(timed.rows_per_s), *ratios, worst])


def _short(larger: list[Timed], small: list[Timed]) -> list[str]:
    """What the tables say, in sentences made of their numbers."""
    everything = [*larger, *small]
    taken = {engine: sum(timed.taken == engine for timed in small) for engine in ENGINES}
    worst = max(max(timed.differences.values()) for timed in everything)
    slowest = min(everything, key=lambda timed: timed.ratios[timed.taken])
    lines = [
        f"Of {len(small)} shapes `auto` takes {taken['torch']} with the engine torch and {taken['onnx']} with onnx; "
        f"the largest difference from the modules is {worst:.1g}.",
        f"The bundle that `auto` makes decodes at {_median(everything):.2f} of the module's own speed in the median; "
        f"the slowest is {slowest.name!r} with {slowest.ratios[slowest.taken]:.2f}.",
    ]
    extra = statistics.median(_extra_microseconds(timed) for timed in small if timed.taken == "torch")
    lines.append(
        f"A batch costs a small bundle of the engine torch {extra:.0f} microseconds more than its module in the "
        "median, whatever its rows: only decoders that take as little for a batch see it."
    )
    both = [timed for timed in everything if set(ENGINES) <= set(timed.ratios)]
    faster = [timed for timed in both if timed.ratios["onnx"] > 1.2 * timed.ratios["torch"]]
    slower = [timed for timed in both if timed.ratios["torch"] > 1.2 * timed.ratios["onnx"]]
    lines.append(
        f"Where both engines can, on this CPU onnx is faster by more than a fifth in {len(faster)} of {len(both)}, "
        f"slower by as much in {len(slower)}."
    )
    names = [timed.name for timed in larger if timed in faster]
    if names:
        lines.append(f'On a CPU engine="onnx" is worth asking for with models like: {"; ".join(names)}.')
    names = [timed.name for timed in larger if timed in slower]
    if names:
        lines.append(f"Not so with: {'; '.join(names)}.")
    return lines


def _extra_microseconds(timed: Timed) -> float:
    """Of a batch decoded by the bundle that was taken, beside the module's own."""
    own = SMALL.batch_rows / timed.rows_per_s * 1e6
    return own / timed.ratios[timed.taken] - own


def _median(found: list[Timed]) -> float:
    """Of the ratios of the engines that were taken."""
    return statistics.median(timed.ratios[timed.taken] for timed in found)


def _table(found: list[Timed]) -> str:
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    for timed in found:
        ratios = [f"{timed.ratios[engine]:.2f}" if engine in timed.ratios else "-" for engine in ENGINES]
        worst = f"{max(timed.differences.values()):.0e}"
        cells = [timed.name, timed.taken, f"{timed.parameters:,}", f"{timed.rows_per_s:,.0f}", *ratios, worst]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
