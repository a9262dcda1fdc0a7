"""Where the lessons are: beside the package in a checkout, inside it when installed."""

from __future__ import annotations

import functools
import importlib.resources
import os
import re
from dataclasses import dataclass
from pathlib import Path

from minillm.errors import UserError

from .exercise import Exercise, load_exercises
from .percent import Lesson, LessonError, parse
from .statement import chinese_statements, in_language

SLUG = re.compile(r"\d\d_[a-z0-9_]+")


def lessons_folder() -> Path:
    """The folder of the lessons: MINILLM_LESSONS if it is set, else the package's own.

    Raises:
        UserError: there is none.
    """
    given = os.environ.get("MINILLM_LESSONS")
    if given:
        if not Path(given).is_dir():
            raise UserError(f"MINILLM_LESSONS = {given!r} is not a folder of lessons")
        return Path(given).resolve()
    package = Path(__file__).resolve().parents[1]
    installed = Path(str(importlib.resources.files(__package__))) / "_lessons"
    for folder in (package.parent / "lessons", installed):
        if folder.is_dir() and any(SLUG.fullmatch(p.name) for p in folder.iterdir()):
            return folder
    raise UserError("this installation has no lessons; install the package again, or set MINILLM_LESSONS to "
                    "a folder of them")


@dataclass(frozen=True)
class Shelf:
    """The lessons of a folder, in order."""

    folder: Path

    @functools.cached_property
    def slugs(self) -> tuple[str, ...]:
        """Names of the lessons' folders."""
        return tuple(sorted(p.name for p in self.folder.iterdir()
                            if SLUG.fullmatch(p.name) and (p / "lesson.py").is_file()))

    @functools.cached_property
    def lessons(self) -> dict[str, Lesson]:
        """The lessons, by slug."""
        return {slug: self._read(slug) for slug in self.slugs}

    def _read(self, slug: str) -> Lesson:
        try:
            return parse(self.file(slug).read_text(encoding="utf-8"))
        except LessonError as error:
            raise UserError(f"lesson {slug} cannot be read: {error}") from None

    def file(self, slug: str) -> Path:
        """The lesson's file, with its solutions."""
        return self.folder / slug / "lesson.py"

    def told(self, slug: str, lang: str) -> Lesson:
        """A lesson with its exercises' statements in a language: "en", "zh" or "both"."""
        return in_language(self.lessons[slug], lang, chinese_statements(self.checks(slug)))

    def checks(self, slug: str) -> Path:
        """The lesson's checks.py."""
        return self.folder / slug / "checks.py"

    def exercise(self, slug: str, name: str) -> Exercise:
        """What a lesson's checks.py declares of an exercise.

        Raises:
            UserError: it cannot be read, or needs a package that is not installed.
        """
        try:
            return load_exercises(self.checks(slug))[name]
        except ModuleNotFoundError as error:
            raise UserError(f"lesson {slug} needs a package: pip install {error.name}") from None
        except (UserError, OSError) as error:  # in the lesson's own words
            raise UserError(str(error)) from None
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise UserError(f"the checks of lesson {slug} cannot be read: {what}") from None

    @property
    def places(self) -> list[tuple[str, str]]:
        """(slug, exercise) in the course's order; exercise "" for a lesson that has none."""
        return [(slug, name) for slug, lesson in self.lessons.items() for name in lesson.exercises or ("",)]

    def find(self, what: str) -> tuple[str, str]:
        """A place from what a learner types: an exercise, a lesson's slug, its number or a part of its name.

        Returns:
            (slug, exercise); exercise "" where a lesson is named.

        Raises:
            UserError: nothing, or more than one thing, is called that.
        """
        lesson, _, name = what.rpartition("/")
        exercises = [p for p in self.places if p[1] == name and p[1] and lesson in ("", p[0])]
        lessons = [(s, "") for s in self.slugs if what in (s, s[:2], s[:2].lstrip("0"))]
        lessons = lessons or [(s, "") for s in self.slugs if len(what) > 2 and what in s]
        found = exercises or lessons
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join("/".join(filter(None, p)) for p in found)
            raise UserError(f"{what!r} is more than one: {names}")
        raise UserError(f"no lesson and no exercise is called {what!r}; `minillm learn progress` lists them")
