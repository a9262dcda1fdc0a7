"""Everything for an assignment, or for all of a course: what students get, and what the teacher uploads."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minillm.classroom.assignment import Assignment
from minillm.classroom.solution import AssignmentError
from minillm.errors import UserError

from .archive import archive
from .gradescope import gradescope_zip
from .student_folder import hashes, make_student_folder

if TYPE_CHECKING:
    from minillm.classroom.course_folder import Course


@dataclass(frozen=True)
class Made:
    """What was made of one assignment.

    Attributes:
        assignment: its id.
        folder: the student's folder, `OUT/student/ID`.
        zip: the same as one file, `OUT/student/ID.zip`.
        gradescope: `OUT/teacher/ID_gradescope.zip`, or None without a course's secret. Teachers only.
        kept: where a student's folder went that somebody had changed since it was made, or None.
    """

    assignment: str
    folder: Path
    zip: Path
    gradescope: Path | None
    kept: Path | None = None


def make(what: Course | Assignment, out: str | Path, lang: str | None = None, *, secret: bytes | None = None,
         roster: bytes | None = None) -> list[Made]:
    """Make the student's folder and zip, and the Gradescope autograder.

    All that may be given to students is in `OUT/student`; `OUT/teacher` holds solutions and the secret. Made
    again, everything is replaced; a student's folder that was changed meanwhile is kept in `OUT/changed`.

    Args:
        what: a course, for all of its assignments, or one assignment.
        out: folder to write into; it is made.
        lang: "en", "zh" or "both"; None for the course's language, or "en".
        secret: the course's, where `what` is an assignment; without it no autograder is made.
        roster: the bytes of roster.csv, to go into the autograder; taken from the course if it has students.

    Returns:
        One record for each assignment.

    Raises:
        UserError: what could not be made, in one line; the other assignments are made all the same.
    """
    out = Path(out).absolute()
    if isinstance(what, Assignment):
        return [_one(what, out, lang or "en", secret, roster)]
    made, failed = [], []
    if what.students and roster is None:
        roster = (what.folder / "roster.csv").read_bytes()
    for name in what.assignments:
        try:
            made.append(_one(what.assignment(name), out, lang or what.lang, what.secret, roster))
        except (UserError, AssignmentError) as error:
            failed.append(str(error))
    if failed:
        count = f"{len(failed)} of {len(what.assignments)} assignments could not be made: " if made else ""
        raise UserError(count + "; ".join(failed))
    return made


def _one(assignment: Assignment, out: Path, lang: str, secret: bytes | None, roster: bytes | None) -> Made:
    from minillm.files import write_atomically  # Gradescope's image has no safetensors

    students, teacher = out / "student", out / "teacher"
    folder, record = students / assignment.id, teacher / f"{assignment.id}.sha256"
    try:
        students.mkdir(parents=True, exist_ok=True)
        teacher.mkdir(mode=0o700, exist_ok=True)
        new = students / f".{assignment.id}.new"
        shutil.rmtree(new, ignore_errors=True)  # of a `make` that was killed
        make_student_folder(assignment, new, lang)
        kept = _replace(new, folder, record, out / "changed")
        files = {f"{assignment.id}/{p.relative_to(folder).as_posix()}": p.read_bytes()
                 for p in folder.rglob("*") if p.is_file()}
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}") from None
    zipped = students / f"{assignment.id}.zip"
    write_atomically(zipped, archive(files))
    gradescope = None
    if secret is not None:
        gradescope = teacher / f"{assignment.id}_gradescope.zip"
        feedback = "zh" if lang == "zh" else "en"
        write_atomically(gradescope, gradescope_zip(assignment, secret, feedback, roster))
    return Made(assignment.id, folder, zipped, gradescope, kept)


def _replace(new: Path, folder: Path, record: Path, changed: Path) -> Path | None:
    """Put the new folder in the old one's place; where the old one went if it is not as it was made."""
    from minillm.files import write_atomically

    wanted = hashes(new)
    kept: Path | None = None
    if folder.exists():
        before = record.read_text(encoding="utf-8") if record.is_file() else ""
        if hashes(folder) in (before, wanted):
            old = folder.with_name(f".{folder.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
            os.replace(new, folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            changed.mkdir(exist_ok=True)
            kept = next(p for n in range(1, 10**6) if not (p := changed / f"{folder.name}.{n}").exists())
            os.replace(folder, kept)
            os.replace(new, folder)
    else:
        os.replace(new, folder)
    write_atomically(record, wanted.encode())
    return kept
