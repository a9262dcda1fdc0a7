"""What the name of a folder or file says about whose it is, on each platform."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

_CANVAS = re.compile(r"(?P<who>[^\W\d_].*?)_(?P<late>LATE_)?(?P<user>\d{2,})_(?P<upload>\d{2,})_(?P<file>.+)")
_MOODLE = re.compile(r"(?P<who>.+)_(?P<user>\d+)_assignsubmission_(?P<kind>[a-z]+)_?(?P<file>.*)")
GRADESCOPE = re.compile(r"submission_\d+")
# What browsers, file managers and platforms put behind a name that is taken.
_COPY = re.compile(r"(?:\s*[（(]\d+[)）]|-\d{1,3}|\s*-?\s*copy(?:\s*\d+)?|\s*-?\s*副本(?:\s*\d+)?)$", re.I)
_MAX = 300


@dataclass(frozen=True)
class Label:
    """What a name at the top says.

    Attributes:
        who: the part that names the student; "" if none does.
        keys: numbers of the platform's that may name the student too.
        key: entries of one key are one submission.
        file: what the file was called when it was handed in; "" for a folder.
        order: rises with each upload, 0 if unknown.
        late: the platform marked it as late.
        rank: of two submissions the higher counts, before their times are looked at.
    """

    who: str
    key: str
    keys: tuple[str, ...] = ()
    file: str = ""
    order: int = 0
    late: bool = False
    rank: int = 2


def folder_label(name: str) -> Label:
    """The label of a folder."""
    if found := _MOODLE.fullmatch(name[:_MAX]):
        return Label(found["who"], f"{found['who']}_{found['user']}", (found["user"],),
                     rank=2 if found["kind"] == "file" else 0)
    return Label(name, name)


def file_label(name: str, wanted: str, others: Iterable[str] = ()) -> Label:
    """The label of a file that lies at the top, where others lie too; `others`: other assignments' files."""
    if (found := _MOODLE.fullmatch(name[:_MAX])) and found["file"]:
        return Label(found["who"], f"{found['who']}_{found['user']}", (found["user"],), found["file"],
                     rank=2 if found["kind"] == "file" else 0)
    if found := _CANVAS.fullmatch(name[:_MAX]):
        return Label(found["who"], f"{found['who']}_{found['user']}", (found["user"],), found["file"],
                     int(found["upload"][:18]), bool(found["late"]))
    stem, suffix = split_suffix(name)
    bare = without_copy(stem)
    # The longest first: adam_tests.py is not the adam.py of somebody called tests.
    for file in sorted({wanted, *others}, key=lambda f: (-len(f), f)):
        goal = re.escape(PurePosixPath(file).stem)
        for pattern in (rf"(.*?)[\s_.-]+{goal}", rf"{goal}[\s_.-]+(.*)", rf"{goal}()"):
            if found := re.fullmatch(pattern, bare, re.I):
                return Label(found[1], found[1], file=file if suffix == ".py" else name,
                             rank=2 if file == wanted else 1)
    # The file is called after the student, or after something else: one that has the wanted name goes first.
    return Label(bare, bare, file=wanted if suffix == ".py" else name, rank=1)


def canvas_file(name: str) -> str:
    """What a file was called before Canvas put its prefix on it."""
    found = _CANVAS.fullmatch(name[:_MAX])
    return found["file"] if found else name


def split_suffix(name: str) -> tuple[str, str]:
    """(stem, suffix in lower case); `adam.py.txt`, as Windows likes to save it, is a .py."""
    if name.lower().endswith(".py.txt"):
        return name[:-7], ".py"
    path = PurePosixPath(name)
    return path.stem, path.suffix.lower()


def without_copy(stem: str) -> str:
    """A stem without " (1)", "-2", " copy"."""
    for _ in range(4):
        shorter = _COPY.sub("", stem)
        if not shorter or shorter == stem:
            break
        stem = shorter
    return stem


def words(name: str) -> tuple[str, ...]:
    """The parts of a name between blanks and marks, in lower case."""
    return tuple(w for w in re.split(r"[\s_\-.,;()（），·@+]+", name.casefold()[:_MAX]) if w)
