"""A folder on the disk as a Tree: no link is followed, nothing but a regular file is ever opened."""

from __future__ import annotations

import os
import stat
from collections import deque
from pathlib import Path

from .entries import DEPTH, Entry, Refused, is_junk, shown


class FolderTree:
    """A folder; `path` itself may be a link, since the teacher named it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def top(self, most: int) -> tuple[list[Entry], bool]:
        """See Tree."""
        return _scan(self.path, (), most)

    def below(self, folder: Entry, most: int, first: str = "") -> tuple[list[Entry], bool]:
        """See Tree; breadth first, so that what is near the top is found though there are too many."""
        at_once = look(self.path.joinpath(*folder.path, first), (first,)) if first else None
        found, more = self._below(folder, most)
        if at_once is not None and at_once.path not in {e.path for e in found}:
            found.insert(0, at_once)
        return found, more

    def _below(self, folder: Entry, most: int) -> tuple[list[Entry], bool]:
        found: list[Entry] = []
        waiting = deque([(self.path.joinpath(*folder.path), tuple[str, ...]())])
        left, more = most, False
        while waiting:
            path, above = waiting.popleft()
            entries, cut = _scan(path, above, left)
            more |= cut
            left -= len(entries)
            found += [e for e in entries if e.kind != "folder"]
            deeper = [e for e in entries if e.kind == "folder"]
            if above and len(above) >= DEPTH:
                more |= bool(deeper)
                continue
            waiting += [(path / e.name, e.path) for e in deeper]
            if left <= 0:
                return found, more or bool(waiting)
        return found, more


def look(path: Path, parts: tuple[str, ...] | None = None) -> Entry | None:
    """The entry at a path, or None if there is none; a link is a link."""
    try:
        about = path.lstat()
    except (OSError, ValueError):
        return None
    return _entry(path, parts or (path.name,), about)


def _scan(path: Path, above: tuple[str, ...], most: int) -> tuple[list[Entry], bool]:
    found: list[Entry] = []
    seen = 0
    try:
        with os.scandir(path) as listing:
            for item in listing:
                seen += 1
                if seen > most:
                    return _sorted(found), True
                if is_junk(item.name):
                    continue
                entry = look(Path(path, item.name), (*above, item.name))
                if entry is not None:
                    found.append(entry)
    except OSError as error:
        raise Refused(f"the folder {shown('/'.join(above) or path.name)} cannot be read: {_why(error)}",
                      f"文件夹 {shown('/'.join(above) or path.name)} 无法读取：{_why(error)}") from None
    return _sorted(found), False


def _sorted(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda e: e.path)


def _entry(path: Path, parts: tuple[str, ...], about: os.stat_result) -> Entry:
    if stat.S_ISLNK(about.st_mode):
        kind = "link"
    elif stat.S_ISDIR(about.st_mode):
        kind = "folder"
    elif stat.S_ISREG(about.st_mode):
        kind = "file"
    else:
        kind = "special"
    return Entry(parts, kind, about.st_size, about.st_mtime, load=lambda most: _load(path, most))


def _load(path: Path, most: int) -> bytes:
    # The second look, at what was opened, holds even if the name meanwhile means something else.
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_NOCTTY"):
        flags |= getattr(os, name, 0)
    try:
        handle = os.open(path, flags)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise Refused(f"{shown(path.name)} is not an ordinary file", f"{shown(path.name)} 不是普通文"
                                                                             "件")
            parts = []
            while most > 0 and (part := os.read(handle, min(most, 1 << 20))):
                parts.append(part)
                most -= len(part)
            return b"".join(parts)
        finally:
            os.close(handle)
    except OSError as error:
        raise Refused(f"{shown(path.name)} cannot be read: {_why(error)}",
                      f"{shown(path.name)} 无法读取：{_why(error)}") from None


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
