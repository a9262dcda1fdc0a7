"""Landlock: a process says once which files it will use, and no more than that can be taken back."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from . import kernel

WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
REFER, TRUNCATE = 1 << 13, 1 << 14
READ = READ_FILE | READ_DIR
CHANGE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
FILE_RIGHTS = 1 | WRITE_FILE | READ_FILE | TRUNCATE | 1 << 15  # those that a rule on a file may have
# Rights of the file system that each version of the interface knows, from the first on.
HANDLED = [(1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1]
TCP = 0b11  # to bind, to connect
SCOPED = 0b11  # abstract Unix sockets, signals


def version() -> int:
    """Version of the kernel's Landlock.

    Raises:
        OSError: it has none, or it is switched off.
    """
    return kernel.syscall("landlock_create_ruleset", 0, 0, 1)


def apply(readable: Iterable[str], hidden: Iterable[str], scratch: str) -> int:
    """Allow reading of `readable` but for `hidden`, changes in `scratch`, and nothing else; NO_NEW_PRIVS
    must be set. From version 4 on no TCP; from 6 on no signals to others and no abstract sockets of theirs.

    Returns:
        the version in use.

    Raises:
        OSError: there is no Landlock.
    """
    known = version()
    handled = HANDLED[min(known, len(HANDLED)) - 1]
    attributes = struct.pack("<QQQ", handled, TCP if known >= 4 else 0, SCOPED if known >= 6 else 0)
    attributes = attributes[:8 if known < 4 else 16 if known < 6 else 24]
    rules = kernel.syscall("landlock_create_ruleset", ctypes.c_char_p(attributes), len(attributes), 0)
    try:
        closed = sorted(hidden)
        for path in readable:
            _allow(rules, path, READ & handled, closed)
        _allow(rules, scratch, CHANGE & handled, [])
        kernel.syscall("landlock_restrict_self", rules, 0)
    finally:
        os.close(rules)
    return known


def _allow(rules: int, path: str, rights: int, hidden: list[str]) -> None:
    """A rule for a path and all beneath it; where something beneath is hidden, for each entry by itself."""
    if path in hidden:
        return
    inside = [h for h in hidden if h.startswith(f"{path}/")]
    if not inside:
        _rule(rules, path, rights)
        return
    _rule(rules, path, READ_DIR)  # names may be listed, here and beneath; importing needs that
    try:
        names = os.listdir(path)
    except OSError:
        return
    for name in names:
        _allow(rules, f"{path}/{name}", rights, inside)


def _rule(rules: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no rule
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= FILE_RIGHTS
        if rights:
            rule = struct.pack("<Qi", rights, fd)
            kernel.syscall("landlock_add_rule", rules, 1, ctypes.c_char_p(rule), 0)
    finally:
        os.close(fd)
