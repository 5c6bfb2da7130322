"""What a process gives up before it opens what a stranger sent: in itself, at two moments.

At its start: privileges, the network, core files. Before the upload, when all modules are loaded: memory and time
beyond the bounds, files other than these, system calls that parsing needs none of. What the machine does not know is
left out, and said in the log; what it knows must succeed, or nothing is opened.
"""

import resource
import signal
import sys
import sysconfig
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from workers.sandbox import call_filter, kernel, landlock
from workers.sandbox.bounds import Levels, SandboxBounds

OPEN_FILES = 256
TASKS = 512  # in a user namespace of our own; elsewhere the number would count all processes of this user
PACKAGES = ("latentmill", "workers")
SYSTEM_FILES = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/passwd", "/etc/nsswitch.conf",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system", "/sys/fs/cgroup",
    "/dev/urandom", "/dev/zero",
)  # fmt: skip


def give_up_privileges() -> Levels:
    """The first thing that a process does; how far it will be confined."""
    for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, OPEN_FILES)):
        _limit(limit, value)
    if not kernel.IS_LINUX:
        return Levels(memory="not bounded", network="open", files="open", system_calls="open")
    network = _leave_network()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    die_with_parent()  # after the namespace: entering one clears it
    version = landlock.landlock_version()
    filtered = call_filter.filters_calls()
    return Levels(
        memory="RLIMIT_DATA",
        network=network or ("sockets refused" if filtered else "open"),
        files=f"Landlock {version}" if version else "open",
        system_calls="filtered" if filtered else "open",
    )


def die_with_parent() -> None:
    """Be killed when the process that started this one ends, however it ends."""
    if kernel.IS_LINUX:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def confine(bounds: SandboxBounds, *, readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """The last thing before the upload is opened."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent_seconds = int(used.ru_utime + used.ru_stime) + 1
    _limit(resource.RLIMIT_CPU, spent_seconds + bounds.cpu_seconds, hard=spent_seconds + bounds.cpu_seconds + 5)
    _limit(resource.RLIMIT_FSIZE, bounds.file_bytes)
    if kernel.IS_LINUX:
        # Not RLIMIT_AS: that counts what is mapped and never used, such as files and the libraries' reserves.
        _limit(resource.RLIMIT_DATA, bounds.memory_bytes)
        files = [*map(Path, SYSTEM_FILES), *_code()]
        if landlock.landlock_version():
            landlock.restrict_files(readable=[*files, *readable], writable=writable)
        if call_filter.filters_calls():
            kernel.drop_capabilities()
            call_filter.refuse_calls()


def _leave_network() -> str:
    """A network namespace of our own, with nothing in it: where the machine gives one. "" where it does not."""
    for flags, own_user in ((kernel.CLONE_NEWUSER, True), (0, False)):
        try:
            kernel.unshare(flags | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC)
        except kernel.KernelRefused:
            continue
        if own_user:
            _limit(resource.RLIMIT_NPROC, TASKS)
        return "own namespace"
    return ""


def _code() -> list[Path]:
    """Where modules lie that are loaded late: Python, its packages, and ours."""
    roots = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()}
    roots |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    for name in PACKAGES:
        spec = find_spec(name)
        roots |= set(spec.submodule_search_locations or []) if spec else set()
    return [Path(root) for root in roots if root]


def _limit(limit: int, value: int, *, hard: int | None = None) -> None:
    """Set a limit, no higher than it is already."""
    _, most = resource.getrlimit(limit)
    bounded = [value if most == resource.RLIM_INFINITY else min(value, most)]
    bounded.append(max(bounded[0], hard if most == resource.RLIM_INFINITY else most) if hard else bounded[0])
    with suppress(ValueError, OSError):  # macOS has some of these in name alone
        resource.setrlimit(limit, (bounded[0], bounded[1]))
