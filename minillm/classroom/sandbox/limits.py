"""Limits of the kernel on a process, and an account of its own where the grader is root."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct

from . import kernel

FILE_BYTES = 64 << 20
OPEN_FILES = 64
DAC_READ_SEARCH = 1 << 2  # the capability
FIRST_UID = 0x70000000  # from here on no distribution and no container gives numbers to users


def set_limits(memory_mb: int, cpu_seconds: int, processes: int | None) -> None:
    """CPU, address space, size and number of files, processes (None: as many as before), no core dumps.

    The wall clock is the grader's; the CPU limit is for a grader that has been stopped.
    """
    limits = {"CPU": cpu_seconds, "AS": memory_mb << 20, "FSIZE": FILE_BYTES, "NOFILE": OPEN_FILES, "CORE": 0,
              "MEMLOCK": 0, "MSGQUEUE": 0, "NICE": 0, "RTPRIO": 0}
    if processes is not None:
        limits["NPROC"] = processes
    for name, value in limits.items():
        which = getattr(resource, f"RLIMIT_{name}", None)
        if which is None:
            continue
        _, hard = resource.getrlimit(which)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        if name == "AS" and not kernel.LINUX:
            with contextlib.suppress(OSError, ValueError):  # macOS takes it and does not keep to it
                resource.setrlimit(which, (value, value))
        else:
            resource.setrlimit(which, (value, value))


def own_uid(pid: int) -> int:
    """A user number that nobody has, one for each living worker.

    Raises:
        OSError: this user namespace has no number to spare.
    """
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            ranges = [tuple(map(int, line.split())) for line in file]
    except OSError:
        ranges = [(0, 0, 1 << 32)]
    for inside, _, count in ranges:
        if inside <= FIRST_UID and FIRST_UID + (1 << 22) < inside + count:
            return FIRST_UID + pid % (1 << 22)
    for inside, _, count in ranges:  # a container that has some 65,536 of them
        first = max(inside, 20000)
        if first + 20000 <= inside + count:
            return first + pid % 20000
    raise OSError(22, "this container has no user numbers beside root's")


def become(uid: int, *, keep_reading: bool = False) -> None:
    """Give root up for good.

    Args:
        uid: the user, and group, to become.
        keep_reading: whether it may read files whatever their modes: for a Python that lies in root's own
            folder, where Landlock says what else may be read.

    Raises:
        OSError: it cannot be given up.
    """
    if keep_reading:
        kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getgroups():
        raise OSError(1, "root could not be given up")
    drop_capabilities(DAC_READ_SEARCH if keep_reading else 0)


def drop_capabilities(but: int = 0) -> None:
    """Give up what a user namespace, or root, has of root's powers.

    Raises:
        OSError: not possible.
    """
    header = struct.pack("<Ii", 0x20080522, 0)
    data = struct.pack("<6I", but, but, 0, 0, 0, 0)  # effective, permitted, inheritable, and 32 more of each
    kernel.syscall("capset", ctypes.c_char_p(header), ctypes.c_char_p(data))


def running(uid: int) -> int:
    """How many threads a user has, as far as can be seen."""
    found = 0
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):
                    if os.stat(f"/proc/{name}").st_uid == uid:
                        found += len(os.listdir(f"/proc/{name}/task"))
    return found
