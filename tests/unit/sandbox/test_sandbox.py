"""Uploads are parsed in a process of their own: whatever becomes of it, the worker gets an answer or a named error."""

import io
import json
import os
import signal
import time
import zipfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import latentmill
from latentmill.errors import InvalidBundle, InvalidDataset, OutOfMemory, Unavailable
from latentmill.specs import DatasetColumn, TableRows
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
    """Those that parse, or did a moment ago: forks of the one that waits."""
    return [fork for parent in parents() for fork in parent.children()]


def parents() -> list[psutil.Process]:
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


def test_pictures_of_every_format_are_read_within_the_walls(sandbox, reading, folder) -> None:
    buffer, pixels = io.BytesIO(), np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    with zipfile.ZipFile(buffer, "w") as archive:
        for format in ("PNG", "JPEG", "WEBP", "BMP", "GIF"):
            with archive.open(f"{format}/1.png", "w") as member:
                Image.fromarray(pixels).save(member, format, **({"lossless": True} if format == "WEBP" else {}))
        archive.writestr("__MACOSX/x", b"")
    content = sandbox.read(reading(buffer.getvalue(), "a.zip"), check=nothing)
    assert (content.rows, content.row_shape, content.layout) == (5, (4, 4, 3), "HWC")
    assert content.warnings == ["Files beside the images that were left out: 1, such as '__MACOSX/x'."]
    assert list(content.labels) == ["BMP", "GIF", "JPEG", "PNG", "WEBP"]
    rows = np.load(folder / "rows.npy")
    assert all(np.array_equal(rows[i], pixels) for i in (0, 1, 3, 4))
    assert np.abs(rows[2].astype(int) - pixels).max() < 30


@pytest.mark.parametrize("filename", ["a.csv", "a.parquet"])
def test_typed_tables_are_read_by_a_model_within_the_walls(sandbox, reading, folder, filename) -> None:
    model = TableRows(
        columns=(
            {"name": "yes", "kind": "boolean", "missing": True},
            {"name": "grade", "kind": "category", "categories": ("1", "2")},
            {"name": "n", "kind": "integer"},
        )
    )
    buffer = io.BytesIO(b"n,grade,yes\n1,2,true\n2,1,\n")
    if filename == "a.parquet":
        pq.write_table(pa.table({"n": [1, 2], "grade": ["2", "1"], "yes": [True, None]}), buffer := io.BytesIO())
    content = sandbox.read(reading(buffer.getvalue(), filename, table=model), check=nothing)
    assert (content.rows, content.row_shape, content.dtype) == (2, (3,), "float64")
    assert content.told_columns == [DatasetColumn.of(column).canonical() for column in model.columns]
    np.testing.assert_array_equal(np.load(folder / "rows.npy"), [[1, 1, 1], [np.nan, 0, 2]])


def test_a_bundle_is_inspected_within_its_bound_on_memory(sandbox, inspecting) -> None:
    with pytest.raises(InvalidBundle, match=r"more than 250 MiB of memory, the limit \(LATENTMILL_SANDBOX__MEMORY"):
        sandbox.inspect(inspecting(BUNDLE, memory_bytes=250 * MIB), check=nothing)
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


def test_a_file_beyond_the_bound_is_named_with_its_setting(sandbox, reading) -> None:
    with pytest.raises(InvalidDataset, match=r"writes more than 1 MiB.*LATENTMILL_LIMITS__DECOMPRESSED_BYTES"):
        sandbox.read(reading(npy(np.zeros((2**20, 4), np.uint8)), "a.npy", file_bytes=MIB), check=nothing)


SLOW = b"a,b\n" + b"1,2\n" * 2**23  # seconds of work


def test_time_on_the_clock_is_bounded(sandbox, reading) -> None:
    with pytest.raises(InvalidDataset, match=r"more than 0\.1 s, the limit \(HERE\)"):
        sandbox.read(reading(SLOW, "a.csv", seconds=0.1, seconds_setting="HERE"), check=nothing)
    assert children() == []


def test_a_process_that_nobody_watches_ends_by_itself(reading) -> None:
    started = process.SandboxProcess(Path("/tmp"), preload=False)
    try:
        started.next_line(30)
        request = reading(b"a,labels\n" + b"1,one of the classes\n" * 2**24, "a.csv", seconds=1)
        with closing(started.ask(request.model_dump_json().encode())) as question:
            question.next_line(30, nothing)  # begun; its worker might be stopped now
            assert json.loads(question.next_line(60, nothing)) == {"status": -signal.SIGXCPU}
    finally:
        started.end()


def test_a_check_that_raises_ends_the_process(sandbox, reading) -> None:
    class Stop(Exception):
        pass

    seen: list[psutil.Process] = []

    def stop() -> None:
        seen.extend(children())
        if seen:
            raise Stop

    with pytest.raises(Stop):
        sandbox.read(reading(SLOW, "a.csv"), check=stop)
    assert seen
    wait_until(lambda: not any(map(runs, seen)))  # it has let go of its files; the kernel may still tidy up
    assert parents() == []


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
    command = process.COMMAND
    for wrong in ((*command[:-1], "workers.no_such_module"), ("/no/such/python",)):
        monkeypatch.setattr(process, "COMMAND", wrong)
        with pytest.raises(Unavailable, match="did not start"):
            sandbox.read(reading(npy(np.ones((2, 2))), "a.npy"), check=nothing)
    monkeypatch.setattr(process, "COMMAND", command)
    assert sandbox.read(reading(npy(np.ones((2, 2))), "a.npy"), check=nothing).rows == 2


def test_a_fork_ends_with_its_parent_and_the_upload_is_tried_again(sandbox, reading, folder) -> None:
    seen: list[psutil.Process] = []

    def kill() -> None:
        if (folder / "rows.npy").exists():
            seen.extend(children())
            for parent in parents():
                parent.kill()

    with pytest.raises(OutOfMemory):
        sandbox.read(reading(SLOW, "a.csv"), check=kill)
    assert seen
    wait_until(lambda: not any(map(runs, seen)))
    assert sandbox.read(reading(npy(np.ones((2, 2))), "a.npy"), check=nothing).rows == 2


def test_a_process_ends_when_nobody_can_ask_it_any_more() -> None:
    started = process.SandboxProcess(Path("/tmp"), preload=False)
    started.next_line(30)
    started._control.close()
    wait_until(lambda: not started.is_alive())
    started.end()


def test_one_process_serves_many_uploads_each_in_a_fork(sandbox, reading) -> None:
    seen = set()
    for number in range(1, 4):
        content = sandbox.read(reading(npy(np.ones((number, 2))), "a.npy"), check=lambda: None)
        assert content.rows == number
        seen |= {parent.pid for parent in parents()}
    assert len(seen) == 1
    assert children() == []


def test_a_process_is_ready_before_it_is_needed(tmp_path, reading) -> None:
    sandbox = Sandbox(tmp_path / "torch", preload=True)
    try:
        sandbox.prepare()
        [waiting] = parents()
        sandbox.read(reading(npy(np.ones((2, 2))), "a.npy"), check=nothing)
        assert parents() == [waiting]
        waiting.kill()
        wait_until(lambda: not runs(waiting))
        assert sandbox.read(reading(npy(np.ones((2, 2))), "a.npy"), check=nothing).rows == 2
    finally:
        sandbox.close()
    assert parents() == []


def test_nothing_of_this_process_is_in_the_other(sandbox, reading, folder, monkeypatch) -> None:
    monkeypatch.setenv("LATENTMILL_BROKER__URL", "redis://:secret@localhost")
    environments, opened = [], []

    def look() -> None:
        if (folder / "rows.npy").exists() and not opened:
            for each in (*parents(), *children()):
                environments.append(Path(f"/proc/{each.pid}/environ").read_bytes())
                assert os.getsid(each.pid) == parents()[0].pid
            for fork in children():
                opened.extend(os.readlink(path) for path in Path(f"/proc/{fork.pid}/fd").iterdir())

    sandbox.read(reading(SLOW, "a.csv"), check=look)
    assert len(environments) == 2
    assert not any(b"LATENTMILL" in each for each in environments)
    ours = [name for name in opened if not name.startswith("pipe:") and name != os.devnull]
    assert ours
    assert all(name.startswith(str(folder.parent)) for name in ours), ours  # the upload, and what is made of it


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def runs(one: psutil.Process) -> bool:
    try:
        return one.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
