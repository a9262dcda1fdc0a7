"""An assignment: a folder NN_slug with assignment.toml, solution.py and checks.py."""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import re
import sys
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .scenario import Misconception, Scenario
from .solution import AssignmentError, Solution, read_solution

# Of this package, what carries verdicts about but takes no part in one: the fingerprint leaves it out.
_NO_VERDICT = {"batch.py", "batch_progress.py", "course_folder.py", "export", "intake", "journal.py",
               "leaks.py", "make", "reports", "roster.py", "similar.py", "verify.py"}
SLUG = re.compile(r"\d\d_[a-z0-9_]+")


@dataclass(frozen=True)
class Limits:
    """What a worker may use.

    Attributes:
        seconds: wall clock of one case.
        memory_mb: address space, MiB.
        output_kb: what is kept of stdout and stderr, KiB; a hundred times as much ends the worker.
        processes: how many processes and threads it may have beside the first.
    """

    seconds: float = 5.0
    memory_mb: int = 2048
    output_kb: int = 16
    processes: int = 0


@dataclass(frozen=True)
class Test:
    """A line of the marking scheme; its scenario is in checks.py under the same name."""

    __test__ = False  # pytest

    name: str
    title: str
    title_zh: str
    points: float
    visibility: str
    needs: tuple[str, ...] = ()  # functions it uses: a stub of another function does not fail it


@dataclass(frozen=True)
class Assignment:
    """An assignment, read and checked.

    Attributes:
        folder: where it is.
        id: the folder's name.
        title, title_zh, text, text_zh: what it is called, and what is to be done (Markdown).
        minutes: what it takes a student.
        lesson: slug of the lesson it belongs to, or "".
        file: name of the file that is handed in.
        imports: top-level modules that it may import.
        provide: modules of ours that the student's file may import beside them, such as "kernels".
        limits, tests: see there.
        hints, hints_zh: function -> lines.
    """

    folder: Path
    id: str
    title: str
    title_zh: str
    text: str
    text_zh: str
    minutes: int
    file: str
    tests: tuple[Test, ...]
    lesson: str = ""
    imports: tuple[str, ...] = ("numpy",)
    provide: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    hints: Mapping[str, list[str]] = field(default_factory=dict)
    hints_zh: Mapping[str, list[str]] = field(default_factory=dict)

    def solution(self, lang: str = "en") -> Solution:
        """The solution, whole and as the student gets it."""
        source = (self.folder / "solution.py").read_text(encoding="utf-8")
        hints = self.hints_zh if lang == "zh" else self.hints
        return read_solution(source, dict(hints), lang=lang, where=f"{self.id}/solution.py")

    @cached_property
    def _checks(self) -> types.ModuleType:
        return load_module(self.folder / "checks.py", f"_classroom_{self.id}_checks")

    @cached_property
    def scenarios(self) -> dict[str, Scenario]:
        """TESTS of checks.py, by the name of the test."""
        return dict(self._checks.TESTS)

    @cached_property
    def misconceptions(self) -> tuple[Misconception, ...]:
        """MISCONCEPTIONS of checks.py; the right variants among them have `equivalent`."""
        return tuple(getattr(self._checks, "MISCONCEPTIONS", ()))

    @cached_property
    def reference(self) -> types.ModuleType:
        """The solution, as a module of the trusted process."""
        return self.module(self.solution().text, "reference")

    def module(self, text: str, name: str) -> types.ModuleType:
        """A trusted text (the solution, or a wrong version of it) as a module. Never a student's."""
        module = types.ModuleType(f"_classroom_{self.id}_{name}")
        sys.modules[module.__name__] = module
        exec(compile(text, f"<{name} of {self.id}>", "exec", dont_inherit=True), module.__dict__)
        return module

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that a verdict rests on: the assignment's files, the solution as it is cut from the
        package, and the grader's own code; in hex. Another fingerprint, another verdict: see `regrade`.
        """
        seen = hashlib.sha256()
        ours = Path(__file__).resolve().parent
        grader = (p for p in ours.rglob("*.py") if p.relative_to(ours).parts[0] not in _NO_VERDICT)
        for path in (*sorted(self.folder.rglob("*.py")), self.folder / "assignment.toml", *sorted(grader),
                     ours.parent / "course" / "causes.py", ours.parent / "course" / "compare.py"):
            seen.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        seen.update(self.solution().text.encode())
        return seen.hexdigest()


def seed(secret: bytes, assignment: str, student: str, test: str, case: int) -> np.random.Generator:
    """The random numbers of one case: HMAC-SHA256 of who and what, under the course's secret.

    So every student has numbers of their own, the same at every grading, and nobody can foresee them.
    """
    said = "\0".join((assignment, student, test, str(case))).encode()
    return np.random.default_rng(int.from_bytes(hmac.digest(secret, said, "sha256"), "big"))


def load_module(path: Path, name: str) -> types.ModuleType:
    """A trusted file as a module, leaving no bytecode behind."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def load_assignment(folder: str | Path) -> Assignment:
    """Read an assignment's folder.

    Raises:
        AssignmentError: what is wrong with it, in one line.
    """
    folder = Path(folder).resolve()
    path = folder / "assignment.toml"
    if not path.is_file():
        raise AssignmentError(f"{folder} has no assignment.toml")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AssignmentError(f"{path}: {error}") from None
    try:
        tests = tuple(_record(Test, t, f"{folder.name}: tests") for t in data.pop("tests", ()))
        limits = _record(Limits, data.pop("limits", {}), f"{folder.name}: limits")
        hints = data.pop("hints", {})
        found = _record(Assignment, {
            **data, "folder": folder, "id": folder.name, "tests": tests, "limits": limits,
            "hints": {f: h["en"] for f, h in hints.items()},
            "hints_zh": {f: h["zh"] for f, h in hints.items()}}, folder.name)
    except (TypeError, KeyError, AttributeError) as error:
        raise AssignmentError(f"{path}: {error}") from None
    _check(found)
    return found


def _record(kind: Any, given: Mapping[str, Any], where: str) -> Any:
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(given) - known):
        raise AssignmentError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise AssignmentError(f"{where}: {str(error).split('__init__() ')[-1]}") from None


def _check(a: Assignment) -> None:
    if not SLUG.fullmatch(a.id):
        raise AssignmentError(f"{a.id}: an assignment's folder is called NN_slug, such as 02_cross_entropy")
    if not re.fullmatch(r"[a-z_][a-z0-9_]*\.py", a.file):
        raise AssignmentError(f"{a.id}: file = {a.file!r} is not a module's name such as adam.py")
    names = [t.name for t in a.tests]
    if len(set(names)) < len(names):
        raise AssignmentError(f"{a.id}: two tests have one name")
    for test in a.tests:
        if test.visibility not in ("public", "hidden"):
            raise AssignmentError(f"{a.id}, test {test.name}: visibility is public or hidden, not "
                                  f"{test.visibility!r}")
        if test.points <= 0:
            raise AssignmentError(f"{a.id}, test {test.name}: points must be positive")
    if abs(sum(t.points for t in a.tests) - 100) > 1e-9:
        total = sum(t.points for t in a.tests)
        raise AssignmentError(f"{a.id}: the tests' points add up to {total:g}, not 100")
    if {t.visibility for t in a.tests} != {"public", "hidden"}:
        raise AssignmentError(f"{a.id}: needs public and hidden tests")
    if (a.folder / "checks.py").is_file() and set(a.scenarios) != set(names):
        raise AssignmentError(f"{a.id}: TESTS of checks.py and the tests of assignment.toml differ: "
                              f"{', '.join(sorted(set(a.scenarios) ^ set(names)))}")


def assignments_folder() -> Path:
    """The folder of the package's own assignments: beside the lessons."""
    from minillm.course.shelf import lessons_folder

    return lessons_folder() / "assignments"


def find_assignment(what: str, folder: Path | None = None) -> Assignment:
    """An assignment from a path, its id, its number or a part of its name.

    Raises:
        AssignmentError: none, or more than one, is called that.
    """
    if (Path(what) / "assignment.toml").is_file():
        return load_assignment(what)
    folder = folder or assignments_folder()
    ids = sorted(p.name for p in folder.iterdir() if SLUG.fullmatch(p.name)) if folder.is_dir() else []
    found = [i for i in ids if what in (i, i[:2], i[:2].lstrip("0"), i[3:])] or [i for i in ids if what in i]
    if len(found) != 1:
        raise AssignmentError(f"{what!r} is {'no assignment' if not found else 'more than one assignment'}: "
                              f"{', '.join(found or ids) or 'there are none'}")
    return load_assignment(folder / found[0])
