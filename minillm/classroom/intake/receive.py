"""The folder or zip of all submissions: who handed in what, and each submission read when its turn comes."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from minillm.classroom.evidence import submission_hash
from minillm.errors import UserError

from .archives import ZipTree
from .choose import choose, explain, others_file, the_zip
from .entries import ENTRIES, SUBMISSION_BYTES, SUBMISSIONS, Entry, Refused, Tree, shown
from .folders import FolderTree, look
from .labels import folder_label
from .roster import Person, Roster
from .sort import Place, Sorter

CLASS_ZIP_ENTRIES = 50_000


@dataclass(frozen=True)
class Submission:
    """A student's submission, read.

    Attributes:
        student, source: see Place.
        files: name -> bytes: the wanted file, or nothing.
        state: "ok", "no_file" (there is nothing that could be the file) or "unreadable".
        en, zh: why there are no files.
        notes: (English, Chinese) on what was taken, which costs nothing.
        other: id of another assignment of the course whose file was handed in instead, or "".
    """

    student: str
    source: str
    files: Mapping[str, bytes]
    state: str = "ok"
    en: str = ""
    zh: str = ""
    notes: tuple[tuple[str, str], ...] = ()
    other: str = ""

    @property
    def sha(self) -> str:
        """SHA-256 of what was handed in, in hex."""
        return submission_hash(self.files) if self.files else hashlib.sha256(self.en.encode()).hexdigest()


@dataclass
class Intake:
    """All submissions.

    Attributes:
        places: one a student, sorted by the student's id.
        unmatched: (source, English, Chinese): what no student could be found for.
        missing: ids of the roster's students that nothing was found for.
        wanted: name of the wanted file.
        others: file -> id, of the course's other assignments.
    """

    tree: Tree
    wanted: str
    places: tuple[Place, ...] = ()
    unmatched: tuple[tuple[str, str, str], ...] = ()
    missing: tuple[str, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the zip, if it is one."""
        if isinstance(self.tree, ZipTree):
            self.tree.close()

    def read(self, place: Place) -> Submission:
        """A student's files, or one line on why there are none. Raises nothing, whatever was handed in."""
        notes = list(place.notes)
        try:
            entries, more = self._entries(place)
            if more:
                notes.append((f"more than {ENTRIES} files: not all were looked at",
                              f"文件超过 {ENTRIES} 个，没有全部查看"))
            found = choose(entries, self.wanted, place.owner)
            if found is None and (packed := the_zip(entries)) is not None:
                tree = ZipTree.of_bytes(packed.load(SUBMISSION_BYTES), packed.name)
                if tree.doubled:
                    notes.append((f"{packed.label} holds {tree.doubled} files under names that are taken: "
                                  "the last of each name counts",
                                  f"{packed.label} 里有 {tree.doubled} 个文件重名：同名的以最后一个为准"))
                entries, more = tree.all(), False
                found = choose(entries, self.wanted, place.owner)
            if found is None:
                file = others_file(entries, self.wanted, self.others, place.owner)
                other = self.others.get(file, "")
                why = explain(entries, self.wanted, ENTRIES if more else 0, (file, other))
                return Submission(place.student, place.source, {}, "no_file", why.en, why.zh, tuple(notes),
                                  other)
            return Submission(place.student, place.source, {self.wanted: found.data},
                              notes=(*notes, *found.notes))
        except Refused as why:
            en, zh = why.en, why.zh
        except Exception as error:  # one submission never stops the others
            said = shown(f"{type(error).__name__}: {error}", 160)
            en, zh = f"{place.source} cannot be read ({said})", f"{place.source} 无法读取（{said}）"
        return Submission(place.student, place.source, {}, "unreadable", en, zh, tuple(notes))

    def _entries(self, place: Place) -> tuple[list[Entry], bool]:
        if place.folder is None:
            return list(place.entries), False
        if place.folder.kind == "link":
            raise Refused(f"{place.source} is a link, and links are not followed: copy the folder itself",
                          f"{place.source} 是链接，不会跟随：请复制文件夹本身")
        return self.tree.below(place.folder, ENTRIES, self.wanted)


def open_submissions(path: str | Path, wanted: str, people: Iterable[Person] = (),
                     others: Mapping[str, str] | None = None) -> Intake:
    """Find out who handed in what; nothing but names is read, and the metadata of a Gradescope export.

    Understood are, in a folder or a zip: a folder, a file or a zip for each student, named by id, e-mail or
    name; the downloads of Canvas, Moodle and Gradescope; and a single submission.

    Args:
        path: a folder, a zip, or one file.
        wanted: name of the file that is handed in, such as "adam.py".
        people: the roster; if it is empty, the names of folders and files are the ids.
        others: file -> id, of the course's other assignments: so that their files are called what they are.

    Raises:
        UserError: there is no such folder, or it cannot be read at all.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist: give the folder or the zip of submissions")
    roster = Roster(people)
    others = {file: a for file, a in (others or {}).items() if file != wanted}
    stream: IO[bytes] | None = None
    name = unicodedata.normalize("NFC", path.resolve().name)
    try:
        if path.is_dir():
            return _intake(Sorter(FolderTree(path), wanted, roster, name, others).sort())
        if path.suffix.lower() == ".zip":
            name = unicodedata.normalize("NFC", path.resolve().stem)
            stream = path.open("rb")
            tree = ZipTree(stream, path.name, CLASS_ZIP_ENTRIES)
            return _intake(Sorter(_unwrapped(tree, wanted, roster), wanted, roster, name, others).sort())
    except (Refused, UserError, OSError) as why:
        if stream is not None:
            stream.close()
        if isinstance(why, UserError):
            raise
        if isinstance(why, OSError):
            raise UserError(f"{path} cannot be read: {why.strerror}") from None
        raise UserError(f"{path}: {why.en}; or unpack it and give the folder") from None
    entry = look(path.resolve())
    if entry is None or entry.kind != "file":
        raise UserError(f"{path} is neither a folder nor a file")
    return _intake(Sorter(FolderTree(path.parent), wanted, roster, name, others).of_files([entry]))


def _intake(found: Sorter) -> Intake:
    return Intake(found.tree, found.wanted, tuple(found.places), tuple(found.unmatched), tuple(found.missing),
                  found.others)


def _unwrapped(tree: ZipTree, wanted: str, roster: Roster) -> ZipTree:
    """A zip without the one folder that holds everything, unless that is a student's."""
    top, _ = tree.top(3)
    if len(top) != 1 or top[0].kind != "folder":
        return tree
    inner = tree.inside(top[0].name)
    below, _ = inner.top(SUBMISSIONS)
    a_students = roster.find(folder_label(top[0].name).who) if roster.people else len(below) < 2
    if a_students or any(e.name == wanted for e in below):
        return tree
    return inner
