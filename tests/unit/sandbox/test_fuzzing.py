"""Thousands of hostile files for every reader: each is a value or an error with a name, and none takes much memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.sandbox.fuzzing import MEMORY_BYTES

ROOT = Path(__file__).resolve().parents[3]
READERS = ("npy", "npz", "parquet", "csv", "idx", "images", "tables", "bundle", "graphs")
AT_LEAST_READ = 0.02  # otherwise the files are so wrong that only the first check is tried


def fuzz(reader: str, inputs: int, seed: int, folder: Path) -> dict:
    """Outcomes of `inputs` files, in a process with a bound on its memory: a crash of it is a failure, too."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "tests.unit.sandbox.fuzzing",
        reader,
        str(inputs),
        str(seed),
        folder,
    ]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=1500)
    at_work = [path.name for path in folder.iterdir() if path.name.isdigit()]
    assert result.returncode == 0, f"status {result.returncode} at input {at_work}: {result.stderr[-2000:]}"
    found: dict = json.loads(result.stdout.splitlines()[-1])
    assert found["faults"] == [], f"the files are in {folder / 'faults'}"
    assert sum(found["outcomes"].values()) == inputs
    assert found["outcomes"]["read"] >= AT_LEAST_READ * inputs
    assert found["peak_bytes"] < MEMORY_BYTES
    assert list(folder.iterdir()) == []
    return found


@pytest.mark.parametrize("reader", READERS)
def test_some_files(reader: str, tmp_path: Path) -> None:
    fuzz(reader, 250, 0, tmp_path)


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("reader", READERS)
def test_twenty_thousand_files(reader: str, tmp_path: Path) -> None:
    fuzz(reader, 20_000, 1, tmp_path)
