"""Results in the formats of other systems: Gradescope, Canvas, Moodle, Exercism, and one plain table."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from minillm.errors import UserError
from minillm.files import write_atomically

from .exercism import exercism_results
from .folder import make_folder
from .gradebooks import Student, canvas_table, moodle_table, plain_table
from .gradescope import gradescope_results
from .names import safe_names

__all__ = ["export", "KINDS", "gradescope_results", "exercism_results", "canvas_table", "moodle_table",
           "plain_table", "Student", "safe_names"]

# What each kind writes: a folder with one JSON file a student, or one CSV file.
KINDS: dict[str, Callable[..., Any]] = {
    "gradescope": gradescope_results, "exercism": exercism_results, "canvas": canvas_table,
    "moodle": moodle_table, "csv": plain_table}


def export(kind: str, assignment: Any, reports: Sequence[Any], students: Sequence[Student], out: Path, *,
           lang: str = "en", waiting: Collection[str] = ()) -> Path:
    """Write the results of an assignment for another system.

    Args:
        kind: one of KINDS.
        assignment: an Assignment.
        reports: one Report a student.
        students: the roster; who has no report, or could not be graded, has no grade, not a zero.
        out: folder to write into; it is made.
        lang: language of the feedback, "en" or "zh".
        waiting: ids of students whose files were handed in and are not graded yet; the plain table says so.

    Returns:
        The folder `out/gradescope` or `out/exercism`, or the file `out/canvas.csv`, `out/moodle.csv` or
        `out/grades.csv`.

    Raises:
        UserError: an unknown kind, the roster lacks what the system identifies students by, or `out` cannot
            be written.
    """
    if kind not in KINDS:
        raise UserError(f"cannot export {kind!r}: choose from {', '.join(KINDS)}")
    make_folder(out)
    if kind in ("gradescope", "exercism"):
        folder = out / kind
        names = safe_names([r.student for r in reports])
        for report in reports:
            path = folder / names[report.student] / "results.json"
            make_folder(path.parent)
            _write(path, json.dumps(KINDS[kind](report, lang), ensure_ascii=False, indent=2) + "\n")
        return folder
    path = out / ("grades.csv" if kind == "csv" else f"{kind}.csv")
    more = {"waiting": waiting} if kind == "csv" else {}
    _write(path, KINDS[kind](assignment, reports, students, lang, **more))
    return path


def _write(path: Path, text: str) -> None:
    # utf-8-sig: Excel takes a CSV without a mark for the machine's own encoding, and Chinese is lost.
    # A student's text may hold a lone surrogate, which no encoding has.
    write_atomically(path, text.encode("utf-8-sig" if path.suffix == ".csv" else "utf-8", "replace"),
                     flush=False)
