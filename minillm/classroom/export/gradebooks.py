"""Grade books: CSV files for Canvas, Moodle and a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from minillm.classroom.report import Report
from minillm.errors import UserError

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")


class Student(Protocol):
    """What the grade books need of a student."""

    @property
    def id(self) -> str:
        """How reports name the student."""

    @property
    def name(self) -> str:
        """As in the roster."""

    @property
    def email(self) -> str:
        """May be empty."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Further columns of the roster, as the system that exported it wrote them."""


def canvas_table(assignment: Any, reports: Sequence[Report], students: Sequence[Student],
                 lang: str = "en") -> str:
    """A grade book that Canvas imports: its five columns of names, then the assignment's.

    A roster that was exported from Canvas brings those columns; then the cells go back as they came. A column
    `Title (id)` of an assignment that Canvas knows already is used where the roster names it as `canvas`.

    Raises:
        UserError: the roster has none of ID, SIS User ID and SIS Login ID.
    """
    scores = {r.student: r for r in reports}
    if students and not any(s.columns.get(c) for s in students for c in CANVAS[1:4]):
        raise UserError("Canvas needs ID, SIS User ID or SIS Login ID: export the grade book from Canvas and "
                        "use it as roster.csv, or add such a column")
    column = _title(assignment, lang)
    for student in students:  # the grade book that came from Canvas has the assignment's own column
        known = [c for c in student.columns if c == column or c.startswith(f"{column} (")]
        column = known[0] if known else column
    rows = [[*CANVAS, column], ["    Points Possible", "", "", "", "", _number(_points(assignment))]]
    for student in students:
        report = scores.get(student.id)
        rows.append([student.columns.get("Student") or student.name, *(student.columns.get(c, "")
                                                                       for c in CANVAS[1:]),
                     _score(report)])
    return _csv(rows)


def moodle_table(assignment: Any, reports: Sequence[Report], students: Sequence[Student],
                 lang: str = "en") -> str:
    """A file for Moodle's grade import; the columns are mapped to useremail, useridnumber, the item and its
    feedback.

    Raises:
        UserError: no student has an e-mail address, and none an ID number.
    """
    if students and not any(s.email or s.columns.get("ID number") or s.id for s in students):
        raise UserError("Moodle needs an e-mail address or an ID number: add the column email to roster.csv")
    scores = {r.student: r for r in reports}
    title = _title(assignment, lang)
    rows = [["useremail", "useridnumber", title, f"{title} (feedback)"]]
    for student in students:
        report = scores.get(student.id)
        # Moodle takes an empty cell for "no grade": right where a submission could not be graded, which its
        # feedback then explains; who handed in nothing has no line, and keeps the grade of before.
        if report is not None:
            rows.append([student.email, student.columns.get("ID number", student.id), _score(report),
                         _guarded(_feedback(report, lang))])
    return _csv(rows)


def plain_table(assignment: Any, reports: Sequence[Report], students: Sequence[Student],
                lang: str = "en", waiting: Collection[str] = ()) -> str:
    """One row a student: id, name, score, each test's points, state and what was said; for a spreadsheet.

    Args:
        assignment, reports, students, lang: see `export`.
        waiting: ids of students whose files were handed in and are not graded yet.
    """
    by_id = {r.student: r for r in reports}
    known = {s.id: s for s in students}
    tests = [t.name for t in assignment.tests]
    rows = [["id", "name", "email", "score", "points", *tests, "state", "feedback"]]
    for student in [*known, *sorted({*by_id, *waiting} - set(known))]:
        person, report = known.get(student), by_id.get(student)
        said = [student, person.name if person else "", person.email if person else ""]
        if report is None:
            rows.append([*map(_guarded, said), "", _number(_points(assignment)), *([""] * len(tests)),
                         "handed in, not graded yet" if student in waiting else "nothing handed in", ""])
            continue
        found = {t.name: t for t in report.tests}
        graded = report.state == "graded"
        state = report.state + ("; a newer file is not graded yet" if student in waiting else "")
        scores = [_number(found[t].score if t in found else 0.0) if graded else "" for t in tests]
        rows.append([*map(_guarded, said), _score(report), _number(_points(assignment)), *scores, state,
                     _guarded(_feedback(report, lang))])
    return _csv(rows)


def _feedback(report: Report, lang: str) -> str:
    """The reasons for lost points, in one cell."""
    zh = lang == "zh"
    if report.state != "graded":
        return report.zh if zh else report.en
    lost = [f"{t.title_zh}（{t.zh}）" if zh else f"{t.title}: {t.en}" for t in report.tests if not t.passed]
    return ("；" if zh else " | ").join(lost)


def _title(assignment: Any, lang: str) -> str:
    return str(assignment.title_zh if lang == "zh" else assignment.title)


def _points(assignment: Any) -> float:
    return float(sum(t.points for t in assignment.tests))


def _score(report: Report | None) -> str:
    """The points; nothing where there was nothing to grade: that is no zero."""
    return _number(report.score) if report is not None and report.state == "graded" else ""


def _number(x: float) -> str:
    return f"{x:.2f}".rstrip("0").rstrip(".")


def _guarded(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: its words may be a student's."""
    return "'" + cell if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _csv(rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()
