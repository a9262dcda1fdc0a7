"""Write the pages of a graded assignment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from minillm.classroom.export.gradebooks import Student
from minillm.classroom.export.names import safe_names
from minillm.classroom.report import Report
from minillm.files import write_atomically

from .student import student_html, student_markdown
from .teacher import teacher_html


def write_reports(assignment: Any, reports: Sequence[Report], students: Sequence[Student], out: Path, *,
                  lang: str = "en") -> Path:
    """Write `out/index.html` for the teacher, and `out/students/ID.html` and `ID.md` for each student.

    Args:
        assignment: an Assignment.
        reports: one a student.
        students: the roster, in its order; may be empty.
        out: folder to write into; it is made.
        lang: "en" or "zh".

    Returns:
        The teacher's page.
    """
    folder = out / "students"
    folder.mkdir(parents=True, exist_ok=True)
    files = safe_names([r.student for r in reports])
    title = assignment.title_zh if lang == "zh" else assignment.title
    for report in reports:
        _write(folder / f"{files[report.student]}.html", student_html(report, lang, title=title))
        _write(folder / f"{files[report.student]}.md", student_markdown(report, lang, title=title))
    index = out / "index.html"
    links = {student: f"students/{quote(name)}.html" for student, name in files.items()}
    names = {s.id: s.name for s in students}
    _write(index, teacher_html(assignment, reports, lang, names=names, links=links))
    return index


def _write(path: Path, text: str) -> None:
    # A student's text may hold a lone surrogate, which no encoding has.
    write_atomically(path, text.encode("utf-8", "replace"), flush=False)
