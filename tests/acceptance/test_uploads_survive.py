"""The process that parses an upload is killed in the middle: the worker lives, and the upload ends as it should."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from latentmill import Client
from latentmill.errors import InvalidDataset
from latentmill.stack import Stack


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A file that takes a second to read."""
    path = tmp_path / "slow.csv"
    path.write_bytes(b"a,labels\n" + b"1,one of the classes\n" * 2**21)
    return path


def forks(stack: Stack) -> list[psutil.Process]:
    """Processes that parse an upload of this stack at this moment."""
    found = []
    for one in psutil.Process(stack.pids["prompt"]).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "workers.sandbox" in one.cmdline() and "workers.sandbox" in one.parent().cmdline():
                found.append(one)
    return found


def send_at_work(stack: Stack, number: int) -> None:
    def at_work() -> list[psutil.Process]:
        return forks(stack) if list((stack.data_dir / "scratch").glob("*/*/rows.npy")) else []

    for one in wait_for(at_work):
        one.send_signal(number)


def wait_for(look: Callable[[], list[psutil.Process]]) -> list[psutil.Process]:
    deadline = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


def test_a_reader_that_crashes_is_an_error_of_the_file(stack: Stack, client: Client, slow: Path) -> None:
    dataset = client.datasets.add(slow, name="crashes its reader")
    send_at_work(stack, signal.SIGSEGV)
    with pytest.raises(InvalidDataset, match="crashed the process that parses it"):
        dataset.wait()
    assert list((stack.data_dir / "scratch").glob("*/*/rows.npy")) == []


def test_a_reader_that_the_machine_kills_is_tried_again(stack: Stack, client: Client, slow: Path) -> None:
    workers = stack.pids
    dataset = client.datasets.add(slow, name="killed in the middle")
    send_at_work(stack, signal.SIGKILL)
    assert dataset.wait().data["rows"] == 2**21
    assert stack.pids == workers
