"""`make bench`: end to end and by engine beside bare loops, the time of the smallest job, the memory of a large one."""

import argparse
import tempfile
from pathlib import Path

from benchmarks.end_to_end import measure_throughput
from benchmarks.engines.__main__ import LARGE, measured
from benchmarks.engines.larger import LARGER
from benchmarks.memory import measure_memory
from benchmarks.smallest_job import measure_latency
from latentmill import Client
from latentmill.demo.run import BUNDLE
from latentmill.stack import Stack


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--bundle", type=Path, help="default: the demo's")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--large-rows", type=int, default=2_000_000, help="rows of the job whose memory is watched")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Stack(data_dir=folder, port=0) as stack:
        client = Client(url=stack.url, api_key=stack.api_key)
        if arguments.bundle is not None:
            print(measure_throughput(client, arguments.bundle, rows=arguments.rows))
        print(measure_throughput(client, BUNDLE, rows=arguments.rows))
        print(measure_latency(client, BUNDLE))
        print(measure_memory(client, stack, BUNDLE, rows=(20_000, arguments.large_rows)))
    measured(LARGER, LARGE)


if __name__ == "__main__":
    main()
