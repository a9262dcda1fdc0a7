"""A seccomp filter: the system calls of a worker that only computes, and no other.

The filter is a program for the kernel's BPF machine; it sees the number of a call, the machine's call
convention and six arguments, and never memory, so no path.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from . import kernel
from .syscalls import ABSENT, BY_ARGUMENT, FREE, NEWEST, WRITING

ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN, AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54  # BPF opcodes
NUMBER, ARCH, ARGS = 0, 4, 16  # offsets in struct seccomp_data
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SET_MODE_FILTER, TSYNC = 1, 1

O_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | 0o20000000  # and O_TMPFILE
CLONE_THREAD = 0x00010000
IOCTLS = (0x5401, 0x5413, 0x5450, 0x5451, 0x541B)  # TCGETS, window size, close-on-exec twice, FIONREAD
FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1033, 1034)  # descriptors, flags, locks, seals
PRCTLS = (15, 16, 3, 0x53564D41)  # a thread's name, dumpable (to ask), names of mappings


class _Program:
    """Instructions, written from the top; a test that fails falls through to the next."""

    def __init__(self) -> None:
        self.code: list[tuple[int, int, int, int]] = []

    def add(self, code: int, k: int, yes: int = 0, no: int = 0) -> None:
        self.code.append((code, yes, no, k & 0xFFFFFFFF))

    def load(self, offset: int) -> None:
        self.add(LOAD, offset)

    def give(self, result: int) -> None:
        self.add(RETURN, result)

    def pack(self) -> bytes:
        return b"".join(struct.pack("<HBBI", *instruction) for instruction in self.code)


def refuse(number: int) -> int:
    """The verdict that makes a call fail with this errno."""
    return ERRNO | number


def program(machine: str, pid: int, *, writes: bool, threads: bool) -> bytes:
    """The filter's instructions.

    Args:
        machine: "x86_64" or "aarch64".
        pid: the worker, the only process that it may send a signal to.
        writes: whether it may open files for writing (something else then says which).
        threads: whether it may start threads.

    Raises:
        KeyError: another machine.
    """
    column = ("x86_64", "aarch64").index(machine)
    p = _Program()
    p.load(ARCH)
    p.add(EQUAL, ARCHES[machine], yes=1)
    p.give(KILL)  # another call convention of the same machine, where numbers mean other things
    p.load(NUMBER)
    if machine == "x86_64":
        p.add(AT_LEAST, 0x40000000, no=1)  # x32
        p.give(KILL)
    p.add(AT_LEAST, NEWEST, no=1)
    p.give(refuse(errno.ENOSYS))
    for numbers in ABSENT.values():
        p.add(EQUAL, numbers[column] or 0, no=1)
        p.give(refuse(errno.ENOSYS))
    for free in (FREE, WRITING) if writes else (FREE,):
        for numbers in free.values():
            if numbers[column] is not None:
                p.add(EQUAL, numbers[column] or 0, no=1)
                p.give(ALLOW)
    for name, numbers in BY_ARGUMENT.items():
        if (own := numbers[column]) is not None:
            body = _Program()
            _by_argument(body, name, pid, writes, threads)
            p.add(EQUAL, own, no=len(body.code))
            p.code += body.code
    p.give(refuse(errno.EPERM))
    return p.pack()


def _by_argument(p: _Program, name: str, pid: int, writes: bool, threads: bool) -> None:
    """A verdict for every argument of one call."""
    if name in ("open", "openat"):
        if writes:
            p.give(ALLOW)
            return
        p.load(ARGS + 8 * (1 if name == "open" else 2))
        p.add(ANY_BIT, O_WRITE, no=1)
        p.give(refuse(errno.EACCES))
        p.give(ALLOW)
    elif name in ("ioctl", "fcntl", "prctl"):
        p.load(ARGS + (0 if name == "prctl" else 8))
        for known in {"ioctl": IOCTLS, "fcntl": FCNTLS, "prctl": PRCTLS}[name]:
            p.add(EQUAL, known, no=1)
            p.give(ALLOW)
        p.give(refuse(errno.ENOTTY if name == "ioctl" else errno.EPERM))
    elif name in ("kill", "tgkill"):
        p.load(ARGS)
        p.add(EQUAL, pid, no=1)
        p.give(ALLOW)
        p.give(refuse(errno.EPERM))
    elif name == "prlimit64":  # to ask, of itself
        for word in (ARGS + 16, ARGS + 20, ARGS):
            p.load(word)
            p.add(EQUAL, 0, yes=1)
            p.give(refuse(errno.EPERM))
        p.give(ALLOW)
    elif name == "clone":
        if threads:
            p.load(ARGS)
            p.add(ANY_BIT, CLONE_THREAD, no=1)
            p.give(ALLOW)
        p.give(refuse(errno.EPERM))


def apply(*, writes: bool, threads: bool) -> None:
    """Install the filter for all threads of this process; NO_NEW_PRIVS must be set.

    Raises:
        OSError: the kernel has no seccomp, or the machine's calls are not known here.
    """
    if kernel.MACHINE not in ARCHES:
        raise OSError(errno.ENOSYS, f"no seccomp filter for {kernel.MACHINE}")
    code = program(kernel.MACHINE, os.getpid(), writes=writes, threads=threads)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    if thread := kernel.syscall("seccomp", SET_MODE_FILTER, TSYNC, ctypes.c_char_p(header)):
        raise OSError(errno.EBUSY, f"thread {thread} could not be filtered")
