"""Gradescope's autograder zip: the grader, one assignment with its solution, and the course's secret."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from minillm.classroom.assignment import Assignment

from .archive import archive
from .texts import text

PACKAGE = Path(__file__).resolve().parents[2]  # minillm
_REQUIREMENTS = {"numpy": "numpy>=2.0", "triton": "triton>=3.6"}
_SOURCES = {".py", ".typed", ".cu", ".cuh", ".h", ".hpp", ".cpp", ".toml"}


def gradescope_zip(assignment: Assignment, secret: bytes, lang: str = "en",
                   roster: bytes | None = None) -> bytes:
    """The zip to upload as the assignment's autograder. Teachers only: it has the solution and the secret.

    Args:
        assignment: what is graded.
        secret: the course's; a student's numbers follow from it.
        lang: language of the feedback, "en" or "zh".
        roster: the course's roster.csv; then students have their ids there, found by their e-mail address,
            and the same numbers as on the teacher's own machine.

    Returns:
        The same bytes for the same arguments and the same version of minillm.
    """
    files = {f"package/minillm/{path}": data for path, data in _tree(PACKAGE).items()}
    if _needs_kernels(assignment):
        files |= {f"package/kernels/{path}": data for path, data in _tree(PACKAGE.parent / "kernels").items()}
    files |= {f"assignment/{assignment.id}/{path}": data for path, data in _tree(assignment.folder).items()}
    licence = PACKAGE.parent / "LICENSE"
    if licence.is_file():
        files["package/LICENSE"] = licence.read_bytes()
    modules = [m for m in dict.fromkeys(("numpy", *assignment.imports))
               if m not in sys.stdlib_module_names and m not in (*assignment.provide, "minillm", "kernels")]
    setup = text("setup.sh").replace("@PACKAGES@", " ".join(f'"{_REQUIREMENTS.get(m, m)}"' for m in modules))
    files |= {
        "setup.sh": setup.replace("@MODULES@", " ".join(modules)).encode(),
        "run_autograder": text("run_autograder").encode(),
        "autograder.json": json.dumps({"assignment": assignment.id, "lang": lang}).encode() + b"\n",
        "secret": secret.hex().encode() + b"\n",
    }
    if roster is not None:
        files["roster.csv"] = roster
    return archive(files, executable={"setup.sh", "run_autograder"}, private={"secret", "roster.csv"})


def _tree(folder: Path) -> dict[str, bytes]:
    """The sources below a folder, by path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.suffix in _SOURCES and path.is_file() and not any(
                part.startswith((".", "_lessons", "__pycache__")) for part in name.parts):
            found[name.as_posix()] = path.read_bytes()
    return found


def _needs_kernels(assignment: Assignment) -> bool:
    """Whether the assignment's files or its solution import `kernels`, or students may."""
    if "kernels" in (*assignment.provide, *assignment.imports):
        return True
    texts = [path.read_text(encoding="utf-8") for path in assignment.folder.rglob("*.py")]
    wanted = re.compile(r"(?:from|import|TAKE|GIVE) kernels\b")
    return any(wanted.search(source) for source in (*texts, assignment.solution().text))
