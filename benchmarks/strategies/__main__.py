"""`python -m benchmarks.strategies`: trains the VAEs, fits, advises, judges; writes docs/strategies.md and its picture.

Everything is kept in --cache, so a second run takes seconds, and an interrupted one goes on where it was.
"""

import argparse
import json
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from benchmarks.strategies import mnist
from benchmarks.strategies.cell import cpu_seconds
from benchmarks.strategies.chart import draw
from benchmarks.strategies.experiment import Experiment, check, measure
from benchmarks.strategies.findings import write

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strategies", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="where strategies.md and its picture go")
    parser.add_argument("--cache", type=Path, default=ROOT.parent / "cache" / "strategies", help="keep it to resume")
    parser.add_argument("--mnist", type=Path, default=mnist.FOLDER, help="the four IDX files of MNIST")
    parser.add_argument("--quick", action="store_true", help="one seed, two sizes, 2 epochs: does it all run?")
    parser.add_argument("--check", action="store_true", help="whole reports on some cells, to compare with the advice")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    experiment = Experiment(seeds=1, sizes=(500, 2_000), epochs=2) if arguments.quick else Experiment()
    with threadpool_limits(1):
        if arguments.check:
            return check(experiment, mnist.load(arguments.mnist), arguments.cache)
        results = measure(experiment, mnist.load(arguments.mnist), arguments.cache)
    arguments.out.mkdir(parents=True, exist_ok=True)
    draw(results, arguments.out)
    write(results, arguments.out, cpu_seconds=cpu_seconds(arguments.cache / "cells"))
    (arguments.cache / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
