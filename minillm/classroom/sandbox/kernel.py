"""What the sandbox asks of the Linux kernel, through ctypes: numbers that Python's `os` does not have."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

LINUX = sys.platform == "linux"
MACHINE = platform.machine()

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS = 1, 4, 8
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)

# Since 2019 a new call has the same number everywhere; these are older.
_NUMBERS = {
    "x86_64": {"pivot_root": 155, "capset": 126, "seccomp": 317},
    "aarch64": {"pivot_root": 41, "capset": 91, "seccomp": 277},
}
_NEW = {"landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446,
        "mount_setattr": 442}

_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None


def number(name: str) -> int:
    """A system call's number on this machine.

    Raises:
        OSError: the machine's numbers are not known here.
    """
    try:
        return _NEW.get(name) or _NUMBERS[MACHINE][name]
    except KeyError:
        raise OSError(38, f"{name} has no known number on {MACHINE}") from None


def call(function: str, *args: object) -> int:
    """A function of the C library that gives -1 on failure.

    Raises:
        OSError: it failed, or there is none.
    """
    if _libc is None or not hasattr(_libc, function):
        raise OSError(38, f"there is no {function} here")
    ctypes.set_errno(0)
    result = int(getattr(_libc, function)(*args))
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{function}: {os.strerror(error)}")
    return result


def syscall(name: str, *args: object) -> int:
    """A system call by its name; integers are passed as machine words.

    Raises:
        OSError: it failed.
    """
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    try:
        return call("syscall", ctypes.c_long(number(name)), *words)
    except OSError as error:
        raise OSError(error.errno, f"{name}: {os.strerror(error.errno or 0)}") from None


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument.

    Raises:
        OSError: it failed.
    """
    call("prctl", option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
