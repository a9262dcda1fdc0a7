"""The learner's own copy of the lessons: made by `start`, found as git finds a repository."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from minillm.errors import UserError
from minillm.files import write_atomically

from .percent import LessonError, learners_version, parse, serialise
from .progress import Progress
from .saved_text import salvaged
from .shelf import Shelf, lessons_folder

MARKER = ".minillm-course"
TEXTS = ("en", "zh", "both")
PACKAGE = Path(__file__).resolve().parents[1]

# At the top of a learner's file: what they see in it, and not in the text.
_STAGE_NOTE = {
    "en": ('In the code below, says("2.21", value) holds a number of the text to what is computed here,',
           "picture(...) shows a figure and step(...) a stepper: you need not read or change them."),
    "zh": ('下面的代码里，says("2.21", 值) 核对课文里的数与这里算出的是否一致，',
           "picture(...) 显示图，step(...) 显示逐步演示：它们只为课文服务，不用看，也不用改。"),
}


@dataclass
class Course:
    """A learner's copy.

    Attributes:
        folder: where it is.
        texts: which texts its lessons have: "en", "zh" or "both".
        shelf: the lessons that it was copied from.
        progress: what the learner has done.
    """

    folder: Path
    texts: str
    shelf: Shelf
    progress: Progress

    @property
    def lang(self) -> str:
        """The language to speak: of the texts; with both, as the locale says."""
        return locale_language() if self.texts == "both" else self.texts

    def file(self, slug: str) -> Path:
        """The learner's file of a lesson."""
        return self.folder / "lessons" / slug / "lesson.py"

    def stubs(self, slug: str) -> str:
        """A lesson's text as the learner gets it."""
        lesson = learners_version(self.shelf.told(slug, self.texts), self.texts)
        note = "".join(f"# {line}\n" for line in _STAGE_NOTE["zh" if self.texts == "zh" else "en"])
        return serialise(replace(lesson, header=f"{lesson.header.rstrip()}\n\n{note}\n"))

    def copy_missing(self) -> list[str]:
        """Copy the lessons that the copy lacks, as after an update of the package; their slugs."""
        missing = [slug for slug in self.shelf.slugs if not self.file(slug).exists()]
        for slug in missing:
            _write(self.file(slug), self.stubs(slug))
        return missing

    def line_of(self, slug: str, exercise: str) -> int | None:
        """The line where the exercise stands in the learner's file, if it does."""
        try:
            text = salvaged(self.file(slug))
        except OSError:
            return None
        match = re.search(rf"^(?:def|class)\s+{exercise}\b", text, re.M)
        return None if match is None else text.count("\n", 0, match.start()) + 1

    def reset(self, slug: str, exercise: str = "", now: datetime | None = None) -> Path | None:
        """Put a stub in an exercise's place, or the whole lesson as it was; what stood there is kept, and
        the rest of the file is saved as it should be: line ends LF, no byte order mark.

        Returns:
            The copy of the file as it was; None if there was no file.

        Raises:
            UserError: the exercise's cell cannot be found, or the disk refuses.
        """
        path = self.file(slug)
        text = self.stubs(slug)
        if exercise and path.exists():
            text = self._with_stub(slug, exercise)
        kept = self._keep(path, now) if path.exists() else None
        _write(path, text)
        self.progress.add("reset", (slug, exercise))
        return kept

    def _with_stub(self, slug: str, exercise: str) -> str:
        whole = f"`minillm learn reset {slug}` resets the whole lesson and keeps what is there"
        try:
            mine = parse(salvaged(self.file(slug)))
            cell = mine.cell_of(exercise)
        except (LessonError, KeyError):
            raise UserError(f"{self.file(slug)} has no cell of {exercise} any more; {whole}") from None
        new = parse(self.stubs(slug)).cell_of(exercise)
        return mine.header + "".join(c.marker + (new.text if c is cell else c.text) for c in mine.cells)

    def _keep(self, path: Path, now: datetime | None) -> Path:
        folder = self.folder / "backups" / path.parent.name
        stem = f"lesson.{now or datetime.now():%Y-%m-%d.%H-%M-%S}"
        names = (f"{stem}{suffix}.py" for suffix in ("", *(f".{i}" for i in range(2, 1000))))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes()
            for name in names:
                try:
                    with (folder / name).open("xb") as file:
                        file.write(data)
                except FileExistsError:
                    continue
                return folder / name
        except OSError as error:
            raise UserError(f"nothing was reset: {folder} cannot hold a copy ({error.strerror})") from None
        raise UserError(f"{folder} is full of copies; nothing was reset")


def start(folder: str | Path, texts: str = "en") -> Course:
    """Make a learner's copy.

    Args:
        folder: a new or empty one, outside the package.
        texts: "en", "zh" or "both".

    Raises:
        UserError: the folder is not to be had.
    """
    folder = Path(folder).absolute()
    if texts not in TEXTS:
        raise UserError(f"lang = {texts!r} must be en, zh or both")
    refuse_package(folder)
    if (folder / MARKER).exists():
        raise UserError(f"{folder} already holds a course: cd there, then `minillm learn`")
    if (around := _marker(folder.parent)) is not None:
        raise UserError(f"{folder} would lie inside the course {around.parent}: `minillm learn` goes on with "
                        "it; name a folder outside it for a new one")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty; name a new folder, such as my-course")
    course = Course(folder, texts, Shelf(lessons_folder()), Progress(folder / "progress.txt"))
    course.copy_missing()
    # Last: a folder with this file is whole.
    _write(folder / MARKER, f"# A copy of the lessons, made by `minillm learn start`.\nlang: {texts}\n")
    return course


def find(where: str | Path | None = None) -> Course:
    """The learner's copy that a folder lies in.

    Args:
        where: None for the current folder.

    Raises:
        UserError: it lies in none.
    """
    try:
        here = Path(where).absolute() if where is not None else Path.cwd()
    except FileNotFoundError:
        raise UserError("the current folder is gone: cd to your course") from None
    marker = _marker(here)
    if marker is not None:
        folder = marker.parent
        refuse_package(folder)
        progress = Progress.read(folder / "progress.txt")
        return Course(folder, _texts(marker), Shelf(lessons_folder()), progress)
    below = _courses_in(here)
    if below:
        raise UserError(f"no course in this folder or above it, but one below: `cd {below[0]}`"
                        + (f", or {', '.join(below[1:3])}" if len(below) > 1 else ""))
    raise UserError("no course in this folder or above it: `minillm learn start my-course` makes one, then "
                    "`cd my-course`")


def _courses_in(here: Path) -> list[str]:
    """Names of the folders of this folder that hold a course."""
    with contextlib.suppress(OSError):
        return sorted(m.parent.name for m in here.glob(f"*/{MARKER}") if m.is_file())
    return []


def _marker(here: Path) -> Path | None:
    return next((m for m in (f / MARKER for f in (here, *here.parents)) if m.is_file()), None)


def _texts(marker: Path) -> str:
    match = re.search(r"^lang:\s*(\w+)", marker.read_text(encoding="utf-8", errors="replace"), re.M)
    return match[1] if match and match[1] in TEXTS else "en"


def reader_language() -> str:
    """Which language to speak, "en" or "zh": as the course in the current folder, else as the locale says."""
    with contextlib.suppress(OSError):
        marker = _marker(Path.cwd())
        if marker is not None and (texts := _texts(marker)) != "both":
            return texts
    return locale_language()


def locale_language() -> str:
    """The language that the environment asks for, as gettext reads it: the first that is set."""
    given = next(filter(None, (os.environ.get(k) for k in ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "zh" if given.lower().startswith("zh") else "en"


def refuse_package(folder: Path) -> None:
    """A learner's copy is not made, or used, inside the package.

    Raises:
        UserError: it would be.
    """
    folder = folder.resolve()
    root = PACKAGE.parent
    taken = [PACKAGE, lessons_folder()]
    if (root / "pyproject.toml").exists():  # a checkout
        taken += [root / "kernels", root / "tests", root / "lessons"]
    if any(folder == t or t in folder.parents for t in taken) or folder == root:
        raise UserError(f"{folder} belongs to the package itself: work in a copy elsewhere, as in "
                        "`minillm learn start my-course`")


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all, in a folder that is made."""
    with contextlib.suppress(OSError):  # the write says why
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode("utf-8", errors="surrogateescape"), flush=False)
