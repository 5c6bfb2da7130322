"""Uploads are parsed in a process of their own: whatever becomes of it, the worker gets an answer or a named error."""

import io
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import latentmill
from latentmill.errors import InvalidBundle, InvalidDataset, OutOfMemory, Unavailable
from workers.sandbox import process
from workers.sandbox.sandbox import Sandbox

BUNDLE = Path(latentmill.__file__).parent / "demo" / "digits.vae.zip"
MIB = 2**20


def nothing() -> None:
    """A check that finds nothing."""


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def children() -> list[psutil.Process]:
    """Those that run, or did a moment ago."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # a zombie has no command line
            if "workers.sandbox" in child.cmdline():
                found.append(child)
    return found


def test_a_dataset_is_read_into_the_folder(sandbox, reading, folder) -> None:
    rows = np.arange(12, dtype=np.int16).reshape(4, 3)
    content = sandbox.read(reading(npy(rows), "a.npy"), check=nothing)
    assert (content.rows, content.row_shape, content.dtype) == (4, (3,), "float32")
    np.testing.assert_array_equal(np.load(folder / "rows.npy"), rows)
    assert children() == []


def test_a_bundle_is_inspected(sandbox, inspecting) -> None:
    inspected = sandbox.inspect(inspecting(BUNDLE), check=nothing)
    assert inspected.manifest.name == "digits"
    assert inspected.measured.rows_per_s > 0


def test_what_a_reader_refuses_is_refused_in_its_words(sandbox, reading) -> None:
    with pytest.raises(InvalidDataset, match="holds no values"):
        sandbox.read(reading(npy(np.zeros((0, 3))), "a.npy"), check=nothing)


def test_memory_beyond_the_bound_is_named_with_its_setting(sandbox, reading) -> None:
    zeros = pa.table({"rows": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2**24, np.float32)), 2**20)})
    buffer = io.BytesIO()
    pq.write_table(zeros, buffer, compression="zstd", use_dictionary=False)
    assert len(buffer.getvalue()) < MIB
    with pytest.raises(InvalidDataset, match=r"more than 160 MiB of memory.*LATENTMILL_SANDBOX__MEMORY_BYTES"):
        sandbox.read(reading(buffer.getvalue(), "a.parquet", memory_bytes=160 * MIB), check=nothing)


def test_a_bundle_beyond_the_bound_on_memory_is_named_too(sandbox, inspecting) -> None:
    with pytest.raises(InvalidBundle, match=r"more than 250 MiB of memory"):
        sandbox.inspect(inspecting(BUNDLE, memory_bytes=250 * MIB), check=nothing)


def test_a_file_beyond_the_bound_is_named_with_its_setting(sandbox, reading) -> None:
    with pytest.raises(InvalidDataset, match=r"writes more than 1 MiB.*LATENTMILL_LIMITS__DECOMPRESSED_BYTES"):
        sandbox.read(reading(npy(np.zeros((2**20, 4), np.uint8)), "a.npy", file_bytes=MIB), check=nothing)


SLOW = b"a,b\n" + b"1,2\n" * 2**22  # seconds of work


def test_time_on_the_clock_is_bounded(sandbox, reading) -> None:
    with pytest.raises(InvalidDataset, match=r"more than 0\.1 s, the limit \(HERE\)"):
        sandbox.read(reading(SLOW, "a.csv", seconds=0.1, seconds_setting="HERE"), check=nothing)
    assert children() == []


def test_a_process_that_nobody_watches_ends_by_itself(reading) -> None:
    started = process.SandboxProcess(Path("/tmp"))
    try:
        started.send(reading(b"a,labels\n" + b"1,some class\n" * 2**23, "a.csv", seconds=1).model_dump_json().encode())
        started.next_line(10)
        started.next_line(30)  # ready; from here on its worker sleeps, stopped perhaps
        assert started._process.wait(timeout=60) == -signal.SIGXCPU
    finally:
        started.end()


def test_a_check_that_raises_ends_the_process(sandbox, reading) -> None:
    class Stop(Exception):
        pass

    seen: list[psutil.Process] = []

    def stop() -> None:
        seen.extend(children())
        raise Stop

    with pytest.raises(Stop):
        sandbox.read(reading(SLOW, "a.csv"), check=stop)
    assert seen
    assert not any(child.is_running() for child in seen)


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (signal.SIGSEGV, InvalidDataset, "crashed the process that parses it .SIGSEGV."),
        (signal.SIGXCPU, InvalidDataset, "300 s of processor time"),
        (signal.SIGKILL, OutOfMemory, "LATENTMILL_SANDBOX__MEMORY_BYTES"),
    ],
)
def test_a_process_that_dies_is_an_error_with_a_name(sandbox, reading, folder, number, error, words) -> None:
    def kill() -> None:
        if (folder / "rows.npy").exists():  # it is at work
            for child in children():
                child.send_signal(number)

    with pytest.raises(error, match=words):
        sandbox.read(reading(SLOW, "a.csv"), check=kill)


def test_a_process_that_does_not_start_is_a_fault_that_is_waited_out(sandbox, reading, monkeypatch) -> None:
    monkeypatch.setattr(process, "COMMAND", (*process.COMMAND[:-1], "workers.no_such_module"))
    with pytest.raises(Unavailable, match="did not start"):
        sandbox.read(reading(npy(np.ones((2, 2))), "a.npy"), check=nothing)


def test_a_process_ends_with_whoever_started_it() -> None:
    started = process.SandboxProcess(Path("/tmp"))
    started.next_line(10)
    child = psutil.Process(started.pid)
    started._process.stdin.close()
    started._process.wait(timeout=20)
    started.end()
    assert not child.is_running()


def test_nothing_of_this_process_is_in_the_other(sandbox, monkeypatch) -> None:
    monkeypatch.setenv("LATENTMILL_BROKER__URL", "redis://:secret@localhost")
    started = process.SandboxProcess(Path("/tmp"))
    try:
        started.next_line(10)
        environment = Path(f"/proc/{started.pid}/environ").read_bytes()
        assert b"LATENTMILL" not in environment
        assert os.getsid(started.pid) == started.pid
        opened = {os.readlink(f"/proc/{started.pid}/fd/{name}") for name in os.listdir(f"/proc/{started.pid}/fd")}
        assert all(target.startswith("pipe:") for target in opened), opened
    finally:
        started.end()


def test_a_spare_waits_for_the_upload_and_is_replaced(tmp_path, reading) -> None:
    sandbox = Sandbox(tmp_path / "torch", spare=True)
    try:
        sandbox.prepare()
        [waiting] = children()
        sandbox.read(reading(npy(np.ones((2, 2))), "a.npy"), check=nothing)
        [next_one] = children()
        assert next_one.pid != waiting.pid
        next_one.kill()
        deadline = time.monotonic() + 10
        while next_one.is_running() and next_one.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert sandbox.read(reading(npy(np.ones((2, 2))), "a.npy"), check=nothing).rows == 2
    finally:
        sandbox.close()
    assert children() == []
