"""A teacher's course: a folder with the course's settings, its secret, the roster and the journal."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from minillm.errors import UserError
from minillm.files import write_atomically

from .assignment import Assignment, assignments_folder, find_assignment, load_assignment
from .make.texts import text
from .roster import Student, read_roster
from .solution import AssignmentError

MARKER = "course.toml"
LANGUAGES = ("en", "zh")
_KEYS = ("name", "lang", "assignments")


@dataclass(frozen=True)
class Course:
    """A teacher's course.

    Attributes:
        folder: where it is.
        name: what it is called.
        lang: language of its reports, "en" or "zh".
        assignments: ids of its assignments, in order.
        places: their folders.
    """

    folder: Path
    name: str
    lang: str
    assignments: tuple[str, ...]
    places: tuple[Path, ...]

    @classmethod
    def create(cls, path: str | Path, name: str = "", lang: str = "en",
               assignments: Sequence[str] | None = None) -> Course:
        """Make a course: course.toml, secret, roster.csv with its first line, a README and a .gitignore.

        What is there already stays; above all a secret, without which no result can be computed again.

        Args:
            path: a new folder, or one that holds nothing but folders, such as your own assignments.
            name: what it is called; the folder's name if left out.
            lang: "en" or "zh".
            assignments: ids, numbers or parts of names of the package's assignments, or paths of your own;
                None for all of the package's.

        Raises:
            UserError: it is a course already, the folder is not to be had, or an assignment is unknown.
        """
        folder = Path(path).absolute()
        if lang not in LANGUAGES:
            raise UserError(f"lang = {lang!r} must be en or zh")
        if (folder / MARKER).exists():
            raise UserError(f"{folder} is a course already: see its {MARKER}")
        if around := next((p for p in folder.resolve().parents if (p / MARKER).is_file()), None):
            raise UserError(f"{folder} would lie in the course {around}, and courses do not nest: give a "
                            f"folder beside it, such as {around.parent / folder.name}")
        if folder.exists() and (not folder.is_dir() or _strange(folder)):
            raise UserError(f"{folder} is not empty; name a new folder, such as my-course")
        chosen = _all_ids() if assignments is None else [_written(folder, a) for a in assignments]
        _resolve(folder, chosen)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _make_secret(folder / "secret")
            for file, content in (("roster.csv", "id,name,email\n"), (".gitignore", _GITIGNORE),
                               ("README.md", text(f"course.{lang}.md"))):
                if not (folder / file).exists():
                    write_atomically(folder / file, content.encode())
        except OSError as error:
            raise UserError(f"cannot make the course {folder}: {error.strerror}") from None
        # Last: a folder with this file is whole.
        write_atomically(folder / MARKER, _toml(name.strip() or folder.name, lang, chosen).encode())
        return cls.open(folder)

    @classmethod
    def open(cls, path: str | Path) -> Course:
        """Read a course. The roster is read when `students` is asked for.

        Raises:
            UserError: what is wrong with it, in one line.
        """
        folder = Path(path).absolute()
        marker = folder / MARKER
        if not marker.is_file():
            raise UserError(f"{folder} is no course (it has no {MARKER}): make one with `minillm class new`")
        try:
            data = tomllib.loads(marker.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
        except OSError as error:
            raise UserError(f"cannot read {marker}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{marker}: {error}") from None
        _check(data, marker)
        places = _resolve(folder, data.get("assignments", []))
        course = cls(folder, data.get("name", folder.name), data.get("lang", "en"),
                     tuple(p.name for p in places), places)
        _ = course.secret
        return course

    @cached_property
    def secret(self) -> bytes:
        """The course's secret: 32 random bytes.

        Raises:
            UserError: it is missing or damaged.
        """
        path = self.folder / "secret"
        try:
            text = path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise UserError(f"{path} is missing: put it back from a backup; with another secret every "
                            "student gets other numbers") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read {path}: {error}") from None
        if not re.fullmatch(r"[0-9a-f]{64}", text):
            raise UserError(f"{path} is damaged: it holds 64 hexadecimal digits; put it back from a backup")
        if os.name != "nt" and path.stat().st_mode & 0o077:
            with contextlib.suppress(OSError):  # a git checkout or a copy opened it to others
                path.chmod(0o600)
        return bytes.fromhex(text)

    @cached_property
    def students(self) -> tuple[Student, ...]:
        """The roster, in its order; see `read_roster`.

        Raises:
            UserError: what is wrong with it.
        """
        return read_roster(self.folder / "roster.csv")

    @property
    def journal(self) -> Path:
        """The journal's file; it may not exist yet."""
        return self.folder / "journal.sqlite"

    @property
    def out(self) -> Path:
        """Folder for what is made and reported; it may not exist yet."""
        return self.folder / "out"

    @property
    def files(self) -> dict[str, str]:
        """File that is handed in -> id of the assignment; only their settings are read."""
        found: dict[str, str] = {}
        for place in self.places:
            with contextlib.suppress(OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
                data = tomllib.loads((place / "assignment.toml").read_text(encoding="utf-8"))
                if isinstance(file := data.get("file"), str):
                    found.setdefault(file, place.name)
        return found

    def assignment(self, what: str) -> Assignment:
        """One of the course's assignments, from its id, its number or a part of its name.

        Raises:
            UserError: none, or more than one, is called that, or it cannot be read.
        """
        ids = self.assignments
        found = [i for i in ids if what in (i, i[:2], i[:2].lstrip("0"), i[3:])]
        found = found or [i for i in ids if what in i]
        if not what or len(found) != 1:
            raise UserError(f"{what!r} is {'more than one' if found else 'no'} assignment of this course: "
                            f"{', '.join(found or ids) or 'it has none'}")
        try:
            return load_assignment(self.places[ids.index(found[0])])
        except AssignmentError as error:
            raise UserError(str(error)) from None


def _check(data: dict[str, Any], marker: Path) -> None:
    if unknown := sorted(set(data) - set(_KEYS)):
        raise UserError(f"{marker}: unknown key {unknown[0]!r}; known are {', '.join(_KEYS)}")
    if data.get("lang", "en") not in LANGUAGES:
        raise UserError(f"{marker}: lang = {data['lang']!r} must be \"en\" or \"zh\"")
    if not isinstance(data.get("name", ""), str):
        raise UserError(f"{marker}: name must be a text in quotes")
    listed = data.get("assignments", [])
    if not isinstance(listed, list) or not all(isinstance(a, str) for a in listed):
        raise UserError(f"{marker}: assignments must be a list of names in quotes")


def _resolve(folder: Path, listed: Sequence[str]) -> tuple[Path, ...]:
    """The assignments' folders: a path in the course or elsewhere, or an assignment of the package."""
    places: list[Path] = []
    for one in listed:
        own = folder / one
        try:
            place = own.resolve() if (own / "assignment.toml").is_file() else find_assignment(one).folder
        except AssignmentError as error:
            raise UserError(str(error)) from None
        if place.name in (p.name for p in places):
            raise UserError(f"two assignments of {folder} are called {place.name}")
        places.append(place)
    return tuple(places)


def _written(folder: Path, what: str) -> str:
    """How course.toml names an assignment: the package's by id, one of the teacher's own by its path."""
    if (Path(what) / "assignment.toml").is_file():
        own = Path(what).absolute()
        if own.parent.resolve() == assignments_folder().resolve():
            return own.name
        return own.relative_to(folder).as_posix() if own.is_relative_to(folder) else own.as_posix()
    try:
        return find_assignment(what).id
    except AssignmentError as error:
        raise UserError(str(error)) from None


def _all_ids() -> list[str]:
    folder = assignments_folder()
    return sorted(p.parent.name for p in folder.glob("[0-9][0-9]_*/assignment.toml"))


def _strange(folder: Path) -> list[str]:
    """What a course that was half made does not explain; folders may hold the teacher's own assignments."""
    ours = {"secret", "roster.csv", ".gitignore", "README.md"}
    return [p.name for p in folder.iterdir() if p.name not in ours and not (p.is_dir() and p.name[:1] != ".")]


def _make_secret(path: Path) -> None:
    """32 random bytes in hex, for the owner's eyes only; never written over."""
    half = path.with_name(f".secret.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with contextlib.suppress(FileExistsError):
        try:
            handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(half, path)  # unlike a rename, it fails where there is one already
        except (PermissionError, NotImplementedError):  # a file system without links
            if not path.exists():
                os.replace(half, path)
        finally:
            half.unlink(missing_ok=True)


def _toml(name: str, lang: str, assignments: Sequence[str]) -> str:
    listed = "".join(f"    {_quoted(a)},\n" for a in assignments)
    return (f"name = {_quoted(name)}\n"
            f"lang = \"{lang}\" # of reports and of what students get: \"en\" or \"zh\"\n"
            "# An assignment of the package by its name, or one of your own by its path from this folder.\n"
            f"assignments = [\n{listed}]\n")


def _quoted(text: str) -> str:
    """A basic string of TOML."""
    escapes = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(escapes.get(c) or (c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 65536
                                            else f"\\U{ord(c):08x}") for c in text) + '"'


_GITIGNORE = "# Not for a repository: whoever has the secret can foresee every student's numbers.\n" \
             "secret\nroster.csv\njournal.sqlite*\nout/\n"
