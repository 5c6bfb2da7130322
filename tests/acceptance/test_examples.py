"""The scripts in `examples/`, run as the README says: in short on the shared stack, whole on one of their own."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from latentmill.resources.dataset_folder import verify_dataset
from latentmill.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ("images", "table", "series")
BOUND_SECONDS = 120


def run(name: str, folder: Path, *options: str, environment: dict[str, str]) -> str:
    """What the example prints; it must end well and leave what it promises."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py"), "--out", str(folder / "out"), *options],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=2 * BOUND_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert verify_dataset(folder / "out" / "auto").rows == verify_dataset(folder / "out" / "prior").rows > 0
    assert "Draw from" in (folder / "out" / "report.html").read_text()
    look = folder / "out" / ("differences.csv" if name == "table" else "picture.png")
    assert look.read_bytes().startswith(b"," if name == "table" else b"\x89PNG")
    return done.stdout


def test_the_readme_and_make_name_every_example() -> None:
    assert sorted(path.stem for path in (ROOT / "examples").glob("*.py")) == sorted(EXAMPLES)
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    assert all(f"\n.venv/bin/python examples/{name}.py " in readme for name in EXAMPLES)
    assert f"for name in {' '.join(EXAMPLES)};" in makefile


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_in_short(name: str, stack: Stack, tmp_path: Path) -> None:
    said = run(
        name, tmp_path, "--quick",
        environment={"LATENTMILL_URL": stack.url, "LATENTMILL_API_KEY": stack.api_key, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "every checksum verified" in said


@pytest.mark.full
@pytest.mark.timeout(3 * BOUND_SECONDS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_by_itself(name: str, tmp_path: Path) -> None:
    """As a user runs it, without a service: within two minutes, with rows that gain, and nothing is left of it."""
    nowhere = {"LATENTMILL_DATA_DIR": str(tmp_path / "nowhere"), "LATENTMILL_URL": "", "TMPDIR": str(tmp_path)}
    began = time.monotonic()
    said = run(name, tmp_path, environment=nowhere)
    assert time.monotonic() - began < BOUND_SECONDS
    advised = re.search(r"^→ +(\w+) +(\S+) ± ", said, re.MULTILINE)
    assert advised is not None, said
    assert advised[1] in {"mixture", "flow"}
    assert float(advised[2]) > 2, "nats; two and more were seen when the examples were written"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [process for process in psutil.process_iter() if str(tmp_path) in started_with(process)] == []


def started_with(process: psutil.Process) -> str:
    """What the process was given on its command line and as its temporary directory."""
    try:
        return " ".join([*process.cmdline(), process.environ().get("TMPDIR", "")])
    except psutil.Error:  # it has ended, or is another user's
        return ""
