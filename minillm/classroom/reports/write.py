"""Write the pages of a graded assignment."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from minillm.classroom.export.folder import make_folder
from minillm.classroom.export.gradebooks import Student
from minillm.classroom.export.names import safe_names
from minillm.classroom.report import Report
from minillm.files import write_atomically

from .student import student_html, student_markdown
from .teacher import teacher_html


def write_reports(assignment: Any, reports: Sequence[Report], students: Sequence[Student], out: Path, *,
                  lang: str = "en", waiting: Collection[str] = ()) -> Path:
    """Write `out/index.html` for the teacher, and `out/students/ID.html` and `ID.md` for each student.

    Args:
        assignment: an Assignment.
        reports: one a student.
        students: the roster, in its order; may be empty.
        out: folder to write into; it is made.
        lang: "en" or "zh".
        waiting: ids of students whose files were handed in and are not graded yet.

    Returns:
        The teacher's page.

    Raises:
        UserError: `out` cannot be written.
    """
    folder = make_folder(out / "students")
    files = safe_names([r.student for r in reports])
    title = assignment.title_zh if lang == "zh" else assignment.title
    names = {s.id: s.name for s in students}
    for report in reports:
        file, name = files[report.student], names.get(report.student, "")
        _write(folder / f"{file}.html", student_html(report, lang, title=title, name=name))
        _write(folder / f"{file}.md", student_markdown(report, lang, title=title, name=name))
    index = out / "index.html"
    links = {student: f"students/{quote(name)}.html" for student, name in files.items()}
    _write(index, teacher_html(assignment, reports, lang, names=names, links=links, waiting=waiting))
    return index


def _write(path: Path, text: str) -> None:
    # A student's text may hold a lone surrogate, which no encoding has.
    write_atomically(path, text.encode("utf-8", "replace"), flush=False)
