"""`python -m tests.unit.sandbox.fuzzing READER INPUTS SEED FOLDER`: hostile files in turn, under a bound on memory.

Every outcome must be a value or an error with a name. Prints what came of all; what broke a reader is left in FOLDER.
"""

import json
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator

from latentmill.errors import LatentmillError, Unavailable

MEMORY_BYTES = 2**30
SECONDS_FOR_ONE = 20


def main(reader: str, inputs: int, seed: int, folder: Path) -> None:
    attempt = attempts(reader)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, _too_long)
    outcomes: Counter[str] = Counter()
    faults, slowest = [], 0.0
    for number in range(inputs):
        random = np.random.default_rng([seed, number])
        started = time.perf_counter()
        signal.alarm(SECONDS_FOR_ONE)
        scratch = folder / f"{number}"
        scratch.mkdir()
        try:
            outcomes[attempt(random, scratch)] += 1
        except BaseException as error:
            fault = f"{type(error).__name__}: {str(error)[:200]}"
            faults.append(f"{reader} {seed} {number}: {fault}")
            outcomes[type(error).__name__] += 1
            (folder / "faults").mkdir(exist_ok=True)
            shutil.copytree(scratch, folder / "faults" / f"{reader}-{seed}-{number}", dirs_exist_ok=True)
        signal.alarm(0)
        slowest = max(slowest, time.perf_counter() - started)
        shutil.rmtree(scratch)
    sys.stdout.write(
        json.dumps({"outcomes": outcomes, "faults": faults, "peak_bytes": peak_bytes(), "slowest_seconds": slowest})
        + "\n"
    )


def peak_bytes() -> int:
    """The most memory that this process had resident. Not `ru_maxrss`: that begins with what its parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def attempts(reader: str) -> Callable[[Generator, Path], str]:
    """What to do with one input for this reader; it returns what came of it."""
    if reader in ("bundle", "graphs"):
        return _opening(reader)

    from tests.unit.sandbox.made_files import MAKERS, hostile
    from tests.unit.sandbox.made_tables import TABLE
    from tests.unit.sandbox.mutations import pick
    from workers.readers import ReadLimits, read_dataset

    limits = ReadLimits(rows=10**6, decompressed_bytes=64 * 2**20, classes=1000)

    def read_one(random: Generator, scratch: Path) -> str:
        data, name = hostile(random, reader)
        (scratch / "upload").write_bytes(data)
        choices: dict = {"kind": "latents"} if reader == "npz" and random.random() < 0.2 else {}
        if reader == "tables" and random.random() < 0.6:
            choices["table"] = TABLE
        if random.random() < 0.15:
            labels, labels_name = hostile(random, pick(random, list(MAKERS)))
            (scratch / "labels").write_bytes(labels)
            choices |= {"labels_path": scratch / "labels", "labels_filename": labels_name}
        elif random.random() < 0.15:
            choices["label_column"] = pick(random, ("a", "labels", "x", "c0", "0", "\0", "folder"))
        out_dir = scratch / "out"
        out_dir.mkdir()
        outcome = _outcome(lambda: read_dataset(scratch / "upload", name, out_dir=out_dir, limits=limits, **choices))
        left = {path.name for path in out_dir.iterdir()} - {"rows.npy", "labels.npy"}
        assert not left, f"left behind: {left}"
        assert sum(path.stat().st_size for path in out_dir.iterdir()) <= 2 * limits.decompressed_bytes
        return outcome

    return read_one


def _opening(reader: str) -> Callable[[Generator, Path], str]:
    """Bundles of either engine."""
    make: Callable[[Generator], bytes]
    if reader == "bundle":
        from tests.unit.sandbox.made_bundles import hostile_bundle as make
        from tests.unit.sandbox.made_bundles import opened
    else:
        from tests.unit.sandbox.made_graph_bundles import hostile_graph_bundle as make
        from tests.unit.sandbox.made_graph_bundles import opened_graphs as opened

    def open_one(random: Generator, scratch: Path) -> str:
        path = scratch / "upload"
        path.write_bytes(make(random))
        return _outcome(lambda: opened(path))

    return open_one


def _outcome(work: Callable[[], object]) -> str:
    try:
        work()
    except Unavailable:
        raise  # no file is a fault of the surroundings: its upload would wait for ever
    except LatentmillError as error:
        error.problem().model_dump_json()  # it can be kept and sent
        return error.code
    return "read"


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS_FOR_ONE} s for one file")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
