"""Seccomp: system calls that nobody needs to parse a file, refused by the kernel whoever asks for them."""

import ctypes
import errno
import os
import struct

from workers.sandbox.kernel import MACHINE, NUMBERS, KernelRefused, system_call

# Sockets; programs and processes; other processes; the kernel's wide fields; limits that could be raised again.
REFUSED = {
    "x86_64": {
        "socket": 41, "connect": 42, "bind": 49, "listen": 50, "accept": 43, "accept4": 288,
        "fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "setpgid": 109, "setsid": 112,
        "kill": 62, "tkill": 200, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "pidfd_send_signal": 424,
        "pidfd_open": 434, "pidfd_getfd": 438, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311,
        "kcmp": 312, "shmget": 29, "shmat": 30, "semget": 64, "msgget": 68, "mq_open": 240, "memfd_create": 319,
        "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308,
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "name_to_handle_at": 303, "open_by_handle_at": 304,
        "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
        "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "init_module": 175,
        "finit_module": 313, "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320, "reboot": 169,
        "swapon": 167, "swapoff": 168, "quotactl": 179, "personality": 135, "setrlimit": 160,
    },
    "aarch64": {
        "socket": 198, "connect": 203, "bind": 200, "listen": 201, "accept": 202, "accept4": 242,
        "execve": 221, "execveat": 281, "setpgid": 154, "setsid": 157,
        "kill": 129, "tkill": 130, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "pidfd_send_signal": 424,
        "pidfd_open": 434, "pidfd_getfd": 438, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271,
        "kcmp": 272, "shmget": 194, "shmat": 196, "semget": 190, "msgget": 186, "mq_open": 180, "memfd_create": 279,
        "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268,
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "name_to_handle_at": 264, "open_by_handle_at": 265,
        "add_key": 217, "request_key": 218, "keyctl": 219, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282,
        "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "init_module": 105,
        "finit_module": 273, "delete_module": 106, "kexec_load": 104, "kexec_file_load": 294, "reboot": 142,
        "swapon": 224, "swapoff": 225, "quotactl": 60, "personality": 92, "setrlimit": 164,
    },
}  # fmt: skip
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE, TGKILL, PRLIMIT = {"x86_64": (56, 234, 302), "aarch64": (220, 131, 261)}.get(MACHINE, (0, 0, 0))
CLONE3 = 435
X32_BIT = 0x40000000
CLONE_THREAD = 0x00010000

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_AT, ARCHITECTURE_AT = 0, 4
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
SET_FILTER, ALL_THREADS, ASK_FOR_ACTION = 1, 1, 2

Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def filters_calls() -> bool:
    """Whether there is a table for this machine, and its kernel takes filters."""
    if MACHINE not in REFUSED:
        return False
    try:
        system_call(NUMBERS[MACHINE]["seccomp"], ASK_FOR_ACTION, 0, ctypes.byref(ctypes.c_uint32(REFUSE)))
    except KernelRefused:
        return False
    return True


def refuse_calls() -> None:
    """From now on, in all threads. Raises KernelRefused where that fails; needs PR_SET_NO_NEW_PRIVS."""
    instructions = _program(os.getpid())
    packed = b"".join(struct.pack("<HBBI", *each) for each in instructions)
    program = _Program(len(instructions), packed)
    system_call(NUMBERS[MACHINE]["seccomp"], SET_FILTER, ALL_THREADS, ctypes.byref(program))


def _program(process_id: int) -> list[Instruction]:
    """Each test looks at the call's number, which stays loaded unless the test is the last one for that number."""
    refused = REFUSE | errno.EPERM
    program: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (EQUAL, 1, 0, ARCHITECTURES[MACHINE]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_AT),
    ]
    if MACHINE == "x86_64":
        program += [(AT_LEAST, 0, 1, X32_BIT), (RETURN, 0, 0, refused)]
    for number in REFUSED[MACHINE].values():
        program += [(EQUAL, 0, 1, number), (RETURN, 0, 0, refused)]
    # glibc takes its absence for an older kernel's, and uses clone, whose flags can be looked at.
    program += [(EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, REFUSE | errno.ENOSYS)]
    program += _only_where(CLONE, 0, ANY_BIT, CLONE_THREAD, refused)
    program += _only_where(TGKILL, 0, EQUAL, process_id, refused)  # abort() signals its own process
    program += _only_where(PRLIMIT, 2, EQUAL, 0, refused)  # limits may be read, not set
    return [*program, (RETURN, 0, 0, ALLOW)]


def _only_where(number: int, argument: int, test: int, value: int, refused: int) -> list[Instruction]:
    """Call `number` is allowed where the low word of its argument passes the test (and, for 0, the high one too)."""
    at = 16 + 8 * argument
    high = [(LOAD, 0, 0, at + 4), (EQUAL, 1, 0, 0), (RETURN, 0, 0, refused)] if value == 0 else []
    body: list[Instruction] = [
        *high,
        (LOAD, 0, 0, at),
        (test, 1, 0, value),
        (RETURN, 0, 0, refused),
        (RETURN, 0, 0, ALLOW),
    ]
    return [(EQUAL, 0, len(body), number), *body]
