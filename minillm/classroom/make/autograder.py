"""What `run_autograder` runs inside Gradescope's container: grade the submission there, write results.json.

Nothing but the finished results is ever put in the place of results.json, and it is put there last.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any


def main(root: Path, source: Path) -> int:
    """Grade `root/submission`.

    Args:
        root: Gradescope's folder: submission, submission_metadata.json, results.
        source: where the zip was unpacked.

    Returns:
        0; also where the grader is broken, because then results.json says so.
    """
    lang = "en"
    try:
        about = json.loads((source / "autograder.json").read_text(encoding="utf-8"))
        lang = str(about["lang"])
        results = _grade(root, source, about)
    except BaseException as error:  # whatever it is, the student and the teacher are to read it
        results = broken(f"{type(error).__name__}: {error}", lang)
    _write(root / "results" / "results.json", results)
    return 0


def broken(why: str, lang: str) -> dict[str, Any]:
    """Results that say, in a line, that the grader and not the student is at fault."""
    why = " ".join(why.encode("utf-8", "backslashreplace").decode().split())[:500]
    en = f"The autograder is broken; it is not your mistake. Please tell your teacher: {why}"
    zh = f"自动评分程序出错了，不是你的错。请告诉老师：{why}"
    return {"score": 0, "output": zh if lang == "zh" else en, "output_format": "text",
            "visibility": "visible", "stdout_visibility": "hidden", "tests": [],
            "extra_data": {"broken": True}}


def _grade(root: Path, source: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """The results of a submission, by the grader that the command line uses."""
    from minillm.classroom.assignment import load_assignment
    from minillm.classroom.batch import not_graded, patience
    from minillm.classroom.export.gradescope import gradescope_results
    from minillm.classroom.grader_process import GraderProcess
    from minillm.classroom.intake import Intake, Place
    from minillm.classroom.intake.folders import FolderTree, look

    folder = source / "assignment" / str(about["assignment"])
    assignment = load_assignment(folder)
    secret = bytes.fromhex((source / "secret").read_text(encoding="ascii").strip())
    student = who(root / "submission_metadata.json", source / "roster.csv")
    handed_in = (root / "submission").resolve()
    entry = look(handed_in)
    if entry is None:
        raise FileNotFoundError(f"there is no folder {root / 'submission'}")
    place = Place(student, "the submission", folder=entry)
    with Intake(FolderTree(handed_in.parent), assignment.file) as intake:
        submission = intake.read(place)
    if submission.files:
        with GraderProcess(folder, secret) as grader:
            report = grader.grade(student, submission.files, patience(assignment))
        report = replace(report, notes=(*report.notes, *submission.notes))
    else:
        report = not_graded(assignment, student, submission.sha, submission.state, submission.en,
                            submission.zh, submission.notes)
    return gradescope_results(report, str(about["lang"]))


def who(metadata: Path, roster: Path) -> str:
    """The student's id: the roster's, if there is one and it knows the e-mail address; else that address.

    Of a group, the first member by address, so that it does not matter who hands in.

    Raises:
        ValueError: the metadata names nobody.
    """
    users = json.loads(metadata.read_text(encoding="utf-8")).get("users") or []
    found = sorted(str(user.get("email") or "").strip().casefold() or f"gradescope-{user['id']}"
                   for user in users if isinstance(user, dict) and (user.get("email") or user.get("id")))
    if not found:
        raise ValueError("submission_metadata.json names no student")
    if roster.is_file():
        from minillm.classroom.roster import read_roster

        known = {s.email.strip().casefold(): s.id for s in read_roster(roster) if s.email}
        return next((known[address] for address in found if address in known), found[0])
    return found[0]


def _write(path: Path, results: Mapping[str, Any]) -> None:
    """The whole file; whatever stands in its place, a link or a folder, goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".results.{os.getpid()}.json")
    with contextlib.suppress(FileNotFoundError):
        half.unlink()
    with half.open("x", encoding="utf-8") as file:
        json.dump(results, file, ensure_ascii=False, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(f"in_the_way.{os.getpid()}"))
    os.replace(half, path)


def _paths(arguments: Sequence[str]) -> tuple[Path, Path]:
    root = Path(arguments[0] if arguments else os.environ.get("MINILLM_AUTOGRADER", "/autograder"))
    return root, root / "source"


if __name__ == "__main__":
    sys.exit(main(*_paths(sys.argv[1:])))
