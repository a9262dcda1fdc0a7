"""The student's folder: task, stub, public checks, notebook, and a word to AI helpers."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from minillm.classroom.assignment import Assignment
from minillm.errors import UserError

from .notebook import notebook
from .public_checks import public_checks
from .readme import packages, readme, stub
from .texts import text

LANGUAGES = ("en", "zh", "both")


def student_files(assignment: Assignment, lang: str = "en") -> dict[str, bytes]:
    """What a student gets: path -> content; the same for the same assignment.

    Args:
        assignment: the assignment.
        lang: language of the texts, "en", "zh" or "both"; AGENTS.md is in both.

    Raises:
        UserError: an unknown language, or the reference cannot be run here.
        AssignmentError: the assignment is at fault.
    """
    if lang not in LANGUAGES:
        raise UserError(f"lang = {lang!r} must be en, zh or both")
    a = assignment
    workflow = text("public_checks.yml").format(packages=packages(a))
    return {
        "README.md": readme(a, lang).encode(),
        "AGENTS.md": text("agents.md").encode(),
        a.file: stub(a, lang).encode(),
        f"{a.file.removesuffix('.py')}.ipynb": notebook(a, lang).encode(),
        "pytest.ini": b"[pytest]\npython_files = test_public.py\naddopts = -q -p no:cacheprovider\n",
        ".github/workflows/public_checks.yml": workflow.encode(),
        **public_checks(a, lang),
    }


def make_student_folder(assignment: Assignment, folder: str | Path, lang: str = "en") -> None:
    """Write the student's folder: all of it, or nothing.

    Args:
        assignment: the assignment.
        folder: a new or empty one.
        lang: language of the texts, "en", "zh" or "both".

    Raises:
        UserError: the folder is not to be had, the reference cannot be run here, or a line of the solution
            would stand in the folder.
        AssignmentError: the assignment is at fault.
    """
    folder = Path(folder).absolute()
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UserError(f"{folder} is not empty; name a new folder")
    half = write_half(folder, student_files(assignment, lang))
    try:
        _no_solution(assignment, half, lang)
        if folder.exists():  # Windows renames over no folder, not even an empty one
            folder.rmdir()
        os.replace(half, folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from None
    finally:
        shutil.rmtree(half, ignore_errors=True)


def write_half(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The files in a new folder beside the one that they are meant for.

    Raises:
        UserError: the disk refuses; nothing is left.
    """
    half = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.half")
    try:
        for name, content in files.items():
            path = half / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        shutil.rmtree(half, ignore_errors=True)
        raise UserError(f"cannot write {folder}: {error.strerror}") from None
    return half


def hashes(folder: Path) -> str:
    """What a folder holds, as lines `sha256  path`, without what Python leaves in it."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and "__pycache__" not in name.parts:
            found.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name.as_posix()}\n")
    return "".join(found)


def _no_solution(assignment: Assignment, folder: Path, lang: str) -> None:
    from minillm.classroom.verify import leaks

    for leak in leaks(assignment, folder, "zh" if lang == "zh" else "en"):
        raise UserError(f"{assignment.id}: nothing was made: {leak}")
