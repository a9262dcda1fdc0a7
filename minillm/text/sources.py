"""Texts from where the user says: files, folders, and names of texts in packages."""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minillm.errors import UserError
from minillm.text.corpus import decoded, load_default, read_text
from minillm.text.extras import EXTRAS, read_extra

MAX_BYTES = 256 << 20  # of all files together: with its ids a text takes some ten times its size in memory
_LOOK = 8192  # bytes in which a binary file shows itself by a zero


@dataclass(frozen=True)
class Corpus:
    """One text, and where it came from.

    Attributes:
        text: all that was read, a blank line between two files.
        title: for people to read.
        n_files: files that were read.
        skipped: reason -> number of files and folders that a named folder holds and that were not read.
    """

    text: str
    title: str
    n_files: int
    skipped: dict[str, int]


def read_sources(data: Sequence[str] = ()) -> Corpus:
    """The texts of `data`, joined in its order by blank lines.

    `data`: each a UTF-8 file, a folder, or a name in `EXTRAS` (write `./kjv` for a file called kjv);
    nothing: the text that Python brings along (`load_default`). In a folder all files below it are read
    in the order of their paths, whatever their suffix, if they are UTF-8 without a zero byte. Names
    that begin with a dot, files that are no such text, and what was met before (a link may lead
    back up) are passed over and counted.

    Raises UserError, in one line, for what is missing or unreadable, a folder without text, and more
    than 256 MiB.
    """
    if not data:
        return Corpus(load_default(), "Python's help texts (pydoc_data.topics)", 1, {})
    texts: list[str] = []
    skipped: Counter[str] = Counter()
    room = MAX_BYTES
    for name in data:
        if not name:
            raise UserError(f"--data is empty: name a text file, a folder, or one of {', '.join(EXTRAS)}")
        if name in EXTRAS:
            texts.append(read_extra(name))
        elif os.path.isdir(name):
            found, below = _read_folder(name, room)
            texts += found
            skipped += below
            room -= sum(len(text.encode()) for text in found)
        else:
            size = _size(name)
            if size > room:
                raise _too_much(name)
            room -= size
            texts.append(read_text(name))
    titles = [EXTRAS[name].title if name in EXTRAS else name for name in data]
    return Corpus("\n\n".join(texts), ", ".join(titles), len(texts), dict(sorted(skipped.items())))


def _too_much(name: str) -> UserError:
    return UserError(
        f"{name!r} brings the text over {MAX_BYTES >> 20} MiB, more than can be trained on here:"
        " name a part of it"
    )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0  # read_text says what is wrong


def _read_folder(folder: str, room: int) -> tuple[list[str], Counter[str]]:
    """The texts below `folder`, and what was passed over: reason -> number."""
    texts: list[str] = []
    skipped: Counter[str] = Counter()
    for path in _files_below(folder, skipped):
        text, reason = _read_file(path, room)
        if reason:
            skipped[reason] += 1
        else:
            texts.append(text)
            room -= len(text.encode())
    if not texts:
        held = ", ".join(f"{n} {why}" for why, n in sorted(skipped.items())) or "nothing"
        raise UserError(
            f"{folder!r} is a directory without a UTF-8 text file (it holds {held}): name a file, or a"
            " folder with texts"
        )
    return texts, skipped


def _read_file(path: Path, room: int) -> tuple[str, str]:
    """(its text, ""), or ("", why it has none)."""
    try:
        with open(path, "rb") as file:
            data = file.read(_LOOK)
            if b"\0" not in data:
                data += file.read(max(0, room + 1 - len(data)))
    except OSError:
        return "", "unreadable"
    if b"\0" in data:
        return "", "not text"
    if len(data) > room:
        raise _too_much(str(path))
    try:
        text = decoded(data)
    except UnicodeDecodeError:
        return "", "not text"
    return (text, "") if text.strip() else ("", "empty")


def _files_below(folder: str, skipped: Counter[str]) -> Iterator[Path]:
    """The files below `folder`, each once, in the order of their paths."""
    seen: set[tuple[int, int]] = set()

    def walk(path: Path) -> Iterator[Path]:
        try:
            entries = sorted(os.listdir(path))
        except OSError:
            skipped["unreadable"] += 1
            return
        for name in entries:
            inner = path / name
            try:
                status = inner.stat()
            except OSError:  # a link that leads nowhere
                skipped["unreadable"] += 1
                continue
            place = status.st_dev, status.st_ino
            if name.startswith("."):
                skipped["hidden"] += 1
            elif place in seen:
                skipped["met before"] += 1
            elif stat.S_ISDIR(status.st_mode):
                seen.add(place)
                yield from walk(inner)
            elif stat.S_ISREG(status.st_mode):
                seen.add(place)
                yield inner
            else:
                skipped["no files"] += 1

    top = Path(folder)
    status = top.stat()
    seen.add((status.st_dev, status.st_ino))
    yield from walk(top)
