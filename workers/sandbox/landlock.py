"""Landlock: which files a process may still open, whatever its user may (Linux 5.13 and later)."""

import ctypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from workers.sandbox.kernel import (
    LANDLOCK_ADD_RULE,
    LANDLOCK_CREATE,
    LANDLOCK_RESTRICT,
    KernelRefused,
    system_call,
)

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_DIR, MAKE_REG = 1 << 7, 1 << 8
REFER, TRUNCATE, IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
ALL_OF_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
NETWORK_SINCE, NO_NETWORK = 4, 0b11  # bind and connect of TCP
SCOPED_SINCE, ALL_SCOPES = 6, 0b11  # abstract sockets and signals of processes outside

READ = READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | TRUNCATE
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
RULE_PATH_BENEATH = 1
VERSION_FLAG = 1


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def landlock_version() -> int:
    """The version that the kernel speaks, 0 where it knows none."""
    try:
        return system_call(LANDLOCK_CREATE, None, 0, VERSION_FLAG)
    except KernelRefused:
        return 0


def restrict_files(*, readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """From now on this thread, and what it starts, opens nothing but these. Raises KernelRefused where that fails."""
    version = landlock_version()
    handled = ALL_OF_VERSION.get(version, ALL_OF_VERSION[5]) if version else 0
    network, scoped = NO_NETWORK if version >= NETWORK_SINCE else 0, ALL_SCOPES if version >= SCOPED_SINCE else 0
    rules = _Ruleset(handled, network, scoped)
    size = 24 if scoped else 16 if network else 8
    ruleset = system_call(LANDLOCK_CREATE, ctypes.byref(rules), size, 0)
    try:
        for paths, allowed in ((readable, READ), (writable, WRITE)):
            for path in paths:
                _allow(ruleset, path, allowed & handled)
        system_call(LANDLOCK_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, allowed: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this machine
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            allowed &= OF_A_FILE
        rule = _PathRule(allowed, opened)
        system_call(LANDLOCK_ADD_RULE, ruleset, RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(opened)
