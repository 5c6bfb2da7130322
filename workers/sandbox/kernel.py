"""Calls of the Linux kernel that Python has no name for."""

import ctypes
import os
import platform
import sys

MACHINE = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}.get(platform.machine(), "")
IS_LINUX = sys.platform == "linux"
NUMBERS = {  # where they differ between the two
    "x86_64": {"capset": 126, "seccomp": 317},
    "aarch64": {"capset": 91, "seccomp": 277},
}
LANDLOCK_CREATE, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT = 444, 445, 446  # the same everywhere

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


class KernelRefused(Exception):
    """The kernel does not do this here."""


def system_call(number: int, *arguments: object) -> int:
    """A system call by its number. Raises KernelRefused where it fails."""
    return _checked(libc.syscall(ctypes.c_long(number), *map(_word, arguments)), f"system call {number}")


def prctl(option: int, value: int) -> None:
    """prctl(2). Raises KernelRefused where it fails."""
    _checked(libc.prctl(option, *map(_word, (value, 0, 0, 0))), f"prctl {option}")


def unshare(flags: int) -> None:
    """unshare(2). Raises KernelRefused where it fails."""
    _checked(libc.unshare(flags), "unshare")


def drop_capabilities() -> None:
    """Root without what makes it root."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    system_call(NUMBERS[MACHINE]["capset"], header, (ctypes.c_uint32 * 6)())


def _word(value: object) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise KernelRefused(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result
