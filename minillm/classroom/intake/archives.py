"""A zip as a Tree: nothing is unpacked to the disk, and no claim of its own is trusted."""

from __future__ import annotations

import io
import re
import stat
import struct
import time
import zipfile
import zlib
from copy import copy
from dataclasses import replace
from typing import IO

from .entries import DEPTH, ENTRIES, Entry, Refused, is_junk, shown

_TAIL = 22 + 65_535  # the end record and the longest comment
_PER_ENTRY = 46 + 300  # bytes of a usual entry of the directory


class ZipTree:
    """A zip archive.

    Args:
        stream: its bytes, seekable; it is closed with the zip.
        name: what it is called, for messages.
        most: how many entries it may have.

    Raises:
        Refused: it is no zip, or has too many entries.
    """

    def __init__(self, stream: IO[bytes], name: str, most: int = ENTRIES) -> None:
        name, self._stream = shown(name), stream
        # zipfile reads the whole directory, a kilobyte of memory an entry: look at its size before that.
        if _directory_size(stream) > most * _PER_ENTRY:
            raise _too_many(name, most)
        try:
            self._zip = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError, struct.error,
                UnicodeDecodeError, OverflowError):
            raise Refused(f"{name} is not a whole zip file: make it anew and hand it in again",
                          f"{name} 不是完整的 zip 文件：请重新打包后再提交") from None
        infos = self._zip.infolist()
        if len(infos) > most:
            raise _too_many(name, most)
        entries = [entry for info in infos if (entry := self._entry(info)) is not None]
        last = {entry.path: entry for entry in entries}  # of one name the last counts, as when unpacked
        self.doubled = len(entries) - len(last)
        self._entries = [last[path] for path in sorted(last, key=lambda p: (len(p), p))]

    @classmethod
    def of_bytes(cls, data: bytes, name: str) -> ZipTree:
        """A zip that is in memory."""
        return cls(io.BytesIO(data), name)

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._stream.close()

    def all(self) -> list[Entry]:
        """All its files, nearest to the top first."""
        return self._entries

    def top(self, most: int) -> tuple[list[Entry], bool]:
        """See Tree; a folder is as new as the newest in it."""
        files = [e for e in self._entries if len(e.path) == 1]
        folders: dict[str, float] = {}
        for entry in self._entries:
            if len(entry.path) > 1:
                folders[entry.path[0]] = max(folders.get(entry.path[0], 0.0), entry.when)
        found = files + [Entry((name,), "folder", when=when) for name, when in folders.items()]
        return sorted(found, key=lambda e: e.path)[:most], len(found) > most

    def below(self, folder: Entry, most: int, first: str = "") -> tuple[list[Entry], bool]:
        """See Tree."""
        n = len(folder.path)
        found = [replace(e, path=e.path[n:]) for e in self._entries
                 if len(e.path) > n and e.path[:n] == folder.path]
        found.sort(key=lambda e: (e.path != (first,), len(e.path), e.path))
        return found[:most], len(found) > most

    def inside(self, folder: str) -> ZipTree:
        """The zip as seen from a folder at its top."""
        tree = copy(self)
        tree._entries = self.below(Entry((folder,), "folder"), len(self._entries))[0]
        return tree

    def _entry(self, info: zipfile.ZipInfo) -> Entry | None:
        raw = _name(info)
        parts = tuple(part for part in re.split(r"[/\\]", raw) if part not in ("", "."))
        if info.is_dir() or raw.endswith("\\"):
            return None
        if not parts or any(is_junk(part) and part != ".." for part in parts):
            return None
        kind = "file"
        if stat.S_ISLNK(info.external_attr >> 16):
            kind = "link"
        elif stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            kind = "special"
        outside = ".." in parts or re.match(r"[/\\]|[A-Za-z]:", raw) is not None
        if outside or len(parts) > DEPTH + 1 or any(ord(c) < 32 or ord(c) == 127 for c in raw):
            kind, parts = "bad_name", (*parts[:-1], raw)
        try:
            when = time.mktime((*info.date_time, 0, 0, -1))
        except (ValueError, OverflowError):
            when = 0.0
        return Entry(parts, kind, info.file_size, when, load=lambda most: self._load(info, most))

    def _load(self, info: zipfile.ZipInfo, most: int) -> bytes:
        name = shown(_name(info))
        if info.flag_bits & 1:
            raise Refused(f"{name} is locked with a password: make the zip without one",
                          f"{name} 加了密码：请不加密码重新打包")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # bz2 and lzma of zipfile unpack without a limit.
            raise Refused(f"{name} is packed in an unusual way: make an ordinary zip (deflate)",
                          f"{name} 的压缩方式不常见：请用普通方式（deflate）重新打包")
        try:
            with self._zip.open(info) as stream:
                return stream.read(most)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError,
                RuntimeError, struct.error) as error:
            raise Refused(f"{name} in the zip is damaged ({shown(str(error)) or type(error).__name__}): make "
                          "the zip anew", f"压缩包里的 {name} 已损坏：请重新打包") from None


def _too_many(name: str, most: int) -> Refused:
    return Refused(f"{name} lists more than {most} files; hand in only what was asked for",
                   f"{name} 里的文件超过 {most} 个；请只提交要求的文件")


def _name(info: zipfile.ZipInfo) -> str:
    """The name as its writer meant it; zipfile cuts at a NUL and takes old names for cp437."""
    raw = info.orig_filename
    if info.flag_bits & 0x800:
        return raw
    try:
        data = raw.encode("cp437")
    except UnicodeEncodeError:
        return raw
    for encoding in ("utf-8", "gb18030"):  # a Chinese Windows writes the latter
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            pass
    return raw


def _directory_size(stream: IO[bytes]) -> int:
    """Bytes of a zip's directory as zipfile will take it to be; 0 if there is none: zipfile complains."""
    try:
        length = stream.seek(0, io.SEEK_END)
        start = max(length - _TAIL, 0)
        stream.seek(start)
        tail = stream.read(_TAIL)
        at = tail.rfind(b"PK\5\6")
        if tail[-22:-18] == b"PK\5\6" and tail[-2:] == b"\0\0":
            at = len(tail) - 22
        if at < 0 or len(tail) < at + 22:
            return 0
        size: int = struct.unpack_from("<L", tail, at + 12)[0]
        if start + at >= 20:
            stream.seek(start + at - 20)
            locator = stream.read(20)
            if locator[:4] == b"PK\6\7":
                stream.seek(start + at - 20 - 56)
                record = stream.read(56)
                if record[:4] == b"PK\6\6":
                    size = struct.unpack_from("<Q", record, 40)[0]
        return min(size, length)
    except (OSError, struct.error, ValueError):
        return 0

