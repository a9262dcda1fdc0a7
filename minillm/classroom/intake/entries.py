"""An entry of a folder or zip that was handed in, looked at without opening it; and the limits."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

FILE_BYTES = 1_000_000  # a wanted file
SUBMISSION_BYTES = 20_000_000  # a zip that one student handed in
ENTRIES = 2_000  # looked at in one submission
SUBMISSIONS = 20_000  # looked at in the folder of all submissions
DEPTH = 8  # folders in folders

# What file managers, editors and Python leave behind.
JUNK = {"__MACOSX", "__pycache__", ".ipynb_checkpoints", "Thumbs.db", "desktop.ini"}


class Refused(Exception):
    """Something handed in cannot be taken; one line in English and in Chinese."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.en, self.zh = en, zh


@dataclass(frozen=True)
class Entry:
    """A file, or what stands in a file's place.

    Attributes:
        path: names of the folders above it in the submission, and its own.
        kind: "file", "folder", "link", "special" (device, FIFO, socket) or "bad_name".
        size: bytes, as the folder or zip says.
        when: seconds since 1970 at which it was changed, 0 if unknown.
        order: rises with each upload where the platform numbers them, else 0.
        load: load(most) -> at most so many bytes; raises Refused.
    """

    path: tuple[str, ...]
    kind: str
    size: int = 0
    when: float = 0.0
    order: int = 0
    load: Callable[[int], bytes] = field(default=lambda most: b"", repr=False, compare=False)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path[-1]

    @property
    def label(self) -> str:
        """Its path, safe to print."""
        return shown("/".join(self.path))


class Tree(Protocol):
    """A folder, or a zip."""

    def top(self, most: int) -> tuple[list[Entry], bool]:
        """What stands at the top, at most so many; and whether there is more."""

    def below(self, folder: Entry, most: int, first: str = "") -> tuple[list[Entry], bool]:
        """All that lies under a folder of the top except folders, nearest first; and whether there is more.

        What is called `first` in the folder itself is found however much there is.
        """


def is_junk(name: str) -> bool:
    """Whether a name is one that nobody hands in on purpose."""
    return name.startswith(".") or name in JUNK


def shown(name: str, most: int = 80) -> str:
    """A name that somebody else chose, safe to print and to store: no control characters, no endless ones."""
    safe = "".join(c if unicodedata.category(c)[0] != "C" else c.encode("unicode_escape").decode()
                   for c in name[:most + 1])
    return safe if len(safe) <= most else safe[:most - 3] + "..."


def size_words(size: int) -> str:
    """Bytes for people: 900 bytes, 1.2 MB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes" if size != 1 else "1 byte"
