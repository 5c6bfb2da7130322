"""A parser that was taken over can say what it likes: nothing of it is believed that cannot be checked."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentmill.errors import InvalidDataset, StorageFull
from workers.sandbox import process

LIAR = """
import json, os, socket, sys
control = socket.socket(fileno=os.dup(0))
control.sendall(b'{"memory": "", "network": "", "files": "", "system_calls": ""}\\n')
while True:
    data, pipes, _, _ = socket.recv_fds(control, 2**20, 2)
    if not data:
        break
    while not data.endswith(b"\\n"):
        data += control.recv(2**20)
    folder = json.loads(data)["folder"]
    control.sendall(b'{"begun": 1}\\n')
    try:
        exec(sys.argv[1])
    except BrokenPipeError:
        pass
    for pipe in pipes:
        os.close(pipe)
    control.sendall(b'{"status": 0}\\n')
"""
ROWS = {"kind": "read", "rows": 4, "row_shape": [3], "dtype": "float32", "labels": None, "digest": "0" * 64,
        "columns": None, "layout": None, "warnings": [], "stacked": False}  # fmt: skip


def saying(answer: object) -> str:
    return f"os.write(pipes[0], {json.dumps(answer).encode()!r})"


def problem(code: str, detail: str, status: int = 500) -> dict:
    described = {"type": "x", "title": "x", "status": status, "detail": detail, "code": code}
    return {"kind": "refused", "problem": described}


@pytest.fixture
def told(sandbox, reading, monkeypatch) -> Callable[[str], object]:
    """What the worker takes from a process that does this instead of parsing."""

    def tell(act: str) -> object:
        sandbox.close()
        monkeypatch.setattr(process, "COMMAND", (sys.executable, "-I", "-c", LIAR, act))
        return sandbox.read(reading(b"upload", "a.npy"), check=lambda: None)

    return tell


@pytest.mark.parametrize(
    "act",
    [
        "pass",
        "os.write(pipes[0], b'no JSON')",
        "os.write(pipes[0], b'[' * 100_000)",
        saying({"kind": "read"}),
        saying({**ROWS, "rows": -1}),
        saying({**ROWS, "more": 1}),
        saying({**ROWS, "digest": "../../etc/passwd"}),
        saying({"kind": "inspected", "manifest": {}, "measured": None, "warnings": []}),
        saying(ROWS),  # and no file
        f"os.symlink('/etc/passwd', folder + '/rows.npy'); {saying(ROWS)}",
        f"os.mkfifo(folder + '/rows.npy'); {saying(ROWS)}",
        f"open(folder + '/rows.npy', 'wb').write(b'no array'); {saying(ROWS)}",
    ],
)
def test_an_answer_that_cannot_be_checked_is_none(told, act: str) -> None:
    with pytest.raises(InvalidDataset, match="gave no answer that can be believed"):
        told(act)


def test_an_array_of_another_shape_or_a_pickle_is_not_taken(told, folder: Path) -> None:
    for array in (np.zeros((4, 2), np.float32), np.zeros((4, 3)), np.array([[{}] * 3] * 4, dtype=object)):
        np.save(folder / "rows.npy", array)
        with pytest.raises(InvalidDataset, match="gave no answer that can be believed"):
            told(saying(ROWS))
    np.save(folder / "rows.npy", np.zeros((4, 3), np.float32))
    assert told(saying(ROWS)).rows == 4


def test_an_answer_without_end_is_cut_off(told) -> None:
    with pytest.raises(InvalidDataset, match="more to say of it than there is room for"):
        told("while True: os.write(pipes[0], bytes(2**16))")


def test_an_error_is_taken_where_an_upload_can_have_it(told) -> None:
    with pytest.raises(InvalidDataset, match="all your base"):
        told(saying(problem("internal", "all your base")))
    with pytest.raises(InvalidDataset):
        told(saying(problem("not_authenticated", "who are you?", 401)))
    with pytest.raises(StorageFull):
        told(saying(problem("storage_full", "the disk is full", 507)))
    with pytest.raises(InvalidDataset) as caught:
        told(saying(problem("invalid_dataset", "a\0" * 5000, 422)))
    assert len(caught.value.detail) < 3000
    assert "\0" not in caught.value.detail
