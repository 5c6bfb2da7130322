"""What a parser could do once a hostile file had taken it over: tried, call by call, from within."""

import json
import os
import subprocess
import sys

import pytest

from workers.sandbox.call_filter import filters_calls
from workers.sandbox.landlock import landlock_version
from workers.sandbox.process import ENVIRONMENT

ATTEMPTS = """
import ctypes, json, os, resource, signal, socket, sys, threading
from pathlib import Path
from workers.sandbox.bounds import SandboxBounds
from workers.sandbox.confinement import confine, give_up_privileges
given, secret, folder, stranger = sys.argv[1:]
levels = give_up_privileges()
before = len(os.listdir("/proc/self/task"))
confine(SandboxBounds(memory_bytes=300 * 2**20, file_bytes=2**20, seconds=60), readable=[Path(given)],
        writable=[Path(folder)])
libc = ctypes.CDLL(None, use_errno=True)

def kernel(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")

def attempt(do):
    try:
        do()
    except BaseException as error:
        return type(error).__name__
    return "done"

def in_a_thread(do):
    found = []
    thread = threading.Thread(target=lambda: found.append(attempt(do)))
    thread.start()
    thread.join()
    return found[0]

def write_much():
    with open(f"{folder}/much", "wb") as file:
        file.write(bytes(2 * 2**20))

attempts = {
    "read what was given": lambda: Path(given).read_bytes(),
    "write into the folder": lambda: Path(folder, "a").write_text("a"),
    "load a module late": lambda: __import__("wave"),
    "start a thread": lambda: None,
    "read a secret": lambda: Path(secret).read_bytes(),
    "list the secret's folder": lambda: os.listdir(Path(secret).parent),
    "write beside the folder": lambda: Path(folder).with_name("other").write_text("a"),
    "change what was given": lambda: open(given, "r+b"),
    "truncate what was given": lambda: os.truncate(given, 0),
    "delete what was given": lambda: os.unlink(given),
    "link to a secret": lambda: os.link(secret, f"{folder}/link"),
    "point to a secret": lambda: os.symlink(secret, f"{folder}/link"),
    "make a fifo": lambda: os.mkfifo(f"{folder}/fifo"),
    "read another's environment": lambda: Path(f"/proc/{stranger}/environ").read_bytes(),
    "read another's memory": lambda: open(f"/proc/{stranger}/mem", "rb"),
    "write too much": write_much,
    "take too much memory": lambda: bytearray(400 * 2**20),
    "open too many files": lambda: [open("/dev/zero") for _ in range(300)],
    "open a socket": socket.socket,
    "open a unix socket": lambda: socket.socket(socket.AF_UNIX),
    "fork": os.fork,
    "run a program": lambda: os.execv("/bin/true", ["true"]),
    "signal a stranger": lambda: os.kill(int(stranger), signal.SIGUSR1),
    "signal all": lambda: os.killpg(0, signal.SIGUSR1),
    "leave the group": os.setsid,
    "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_DATA, (2**33, 2**33)),
    "trace a stranger": lambda: kernel(TRACE, 16, int(stranger), 0, 0),
    "enter a namespace": lambda: kernel(UNSHARE, 0x10000000),
    "use io_uring": lambda: kernel(425, 8, 0),
    "become somebody else": lambda: os.setuid(12345),
}
TRACE, UNSHARE = (101, 272) if os.uname().machine == "x86_64" else (117, 97)
found = {what: attempt(do) for what, do in attempts.items()}
found["read a secret in a thread"] = in_a_thread(lambda: Path(secret).read_bytes())
found["open a socket in a thread"] = in_a_thread(socket.socket)
found["tasks before"] = before
print(json.dumps(found))
"""
ALLOWED = {"read what was given", "write into the folder", "load a module late", "start a thread"}
BOUNDED = {
    "write too much": "OSError",
    "take too much memory": "MemoryError",
    "open too many files": "OSError",
}
BY_FILTER = {
    "open a socket", "open a unix socket", "open a socket in a thread", "fork", "run a program", "signal a stranger",
    "signal all", "leave the group", "raise a limit", "trace a stranger", "enter a namespace", "use io_uring",
    "become somebody else",
}  # fmt: skip


@pytest.fixture(scope="module")
def _outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each attempt."""
    root = tmp_path_factory.mktemp("confined")
    given, secret, folder = root / "uploads" / "given", root / "private" / "secret", root / "scratch" / "folder"
    for path in (given, secret, folder):
        path.parent.mkdir()
    given.write_text("rows")
    secret.write_text("key")
    folder.mkdir()
    result = subprocess.run(
        [sys.executable, "-I", "-c", ATTEMPTS, given, secret, folder, str(os.getpid())],
        capture_output=True, text=True, timeout=60, env=ENVIRONMENT, start_new_session=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert given.read_text() == "rows"
    outcome: dict[str, str] = json.loads(result.stdout)
    return outcome


@pytest.fixture
def found(_outcome: dict[str, str]) -> dict[str, str]:
    return dict(_outcome)


def test_what_parsing_needs_is_possible(found: dict[str, str]) -> None:
    assert {what for what in ALLOWED if found[what] != "done"} == set()
    assert found["tasks before"] == 1


def test_memory_files_and_their_size_are_bounded(found: dict[str, str]) -> None:
    assert {what: found[what] for what in BOUNDED} == BOUNDED


@pytest.mark.skipif(not landlock_version(), reason="this kernel has no Landlock")
def test_no_other_file_can_be_opened(found: dict[str, str]) -> None:
    files = set(found) - ALLOWED - set(BOUNDED) - BY_FILTER - {"tasks before"}
    assert len(files) >= 10
    refusals = {"link to a secret": "OSError"}  # EXDEV: as if it lay on another disk
    assert {what for what in files if found[what] != refusals.get(what, "PermissionError")} == set()


@pytest.mark.skipif(not filters_calls(), reason="there is no filter of system calls for this machine")
def test_no_socket_process_or_signal_reaches_outside(found: dict[str, str]) -> None:
    assert found.pop("raise a limit") == "ValueError"  # Python's word for EPERM here
    assert found.pop("become somebody else") in ("PermissionError", "OSError")  # in a namespace there is nobody else
    assert {what for what in BY_FILTER if found.get(what, "PermissionError") != "PermissionError"} == set()
