"""Whether an assignment does what it promises: for its author, and for CI.

The stub and the solution are graded as a submission is, in the sandbox. Wrong versions of the solution are
texts of ours: they run in this process, which is quicker, under the same grading.
"""

from __future__ import annotations

import ast
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import speed
from .assignment import Assignment, Test, seed
from .grade import Opener, grade_submission, grade_with
from .judge import Judge
from .leaks import leaks as leaks
from .report import Report
from .solution import AssignmentError
from .trusted import TrustedWorker

SECRET = b"verify"
STUDENTS = ("verify-1", "verify-2")  # misconceptions must be recognised with other numbers too
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


def verify(assignment: Assignment, *, layers: Any = None) -> list[str]:
    """What is wrong with an assignment, a line each; nothing if it is as it should be.

    Args:
        assignment: from `load_assignment`.
        layers: protections that the sandbox shall use; None for all that work here.
    """
    problems: list[str] = []
    try:
        problems += [*_texts(assignment), *_imports(assignment), *_scenarios(assignment)]
        if problems:  # it cannot be graded, or what grading says is of little use
            return problems
        problems += _stub(assignment, layers)
        problems += _reference(assignment, layers)
        problems += _needs(assignment)
        problems += _misconceptions(assignment)
        problems += _student_folder(assignment)
    except AssignmentError as fault:
        problems.append(str(fault))
    return problems


def _texts(a: Assignment) -> Iterator[str]:
    for what, en, zh in (("title", a.title, a.title_zh), ("text", a.text, a.text_zh),
                         *((f"title of test {t.name}", t.title, t.title_zh) for t in a.tests)):
        if not en.strip():
            yield f"{what}: no English text"
        if not _CHINESE.search(zh):
            yield f"{what}: no Chinese text"
    if _CHINESE.search(a.title + a.text + "".join(t.title for t in a.tests)):
        yield "an English text has Chinese in it"
    for function in sorted({*a.hints, *a.hints_zh}):
        one, other = a.hints.get(function, []), a.hints_zh.get(function, [])
        if len(one) != len(other) or not all(map(_CHINESE.search, other)):
            yield (f"hints of {function}: {len(one)} in English and {len(other)} in Chinese; they must be "
                   "twins")
    for m in a.misconceptions:
        if m.equivalent and (bool(m.en.strip()) != bool(_CHINESE.search(m.zh))):
            yield f"misconception {m.key}: its text is there in one language only"
    keys = [m.key for m in a.misconceptions]
    yield from (f"two misconceptions are called {k}" for k in sorted({k for k in keys if keys.count(k) > 1}))


def _imports(a: Assignment) -> Iterator[str]:
    allowed = {*a.imports, *a.provide, "numpy", "__future__"}
    for node in ast.walk(ast.parse(a.solution().text)):
        names = [x.name for x in node.names] if isinstance(node, ast.Import) else (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        for name in names:
            parts = name.split(".")
            if not any(".".join(parts[:i + 1]) in allowed for i in range(len(parts))):
                yield f"the solution imports {name}, which `imports` does not allow"
    known = {*a.solution().functions, *(f.split(".")[0] for f in a.solution().functions)}
    for test in a.tests:
        yield from (f"test {test.name} needs {n}, which is not to be written"
                    for n in test.needs if n not in known)


def _scenarios(a: Assignment) -> Iterator[str]:
    for test in a.tests:
        scenario, where = a.scenarios[test.name], f"test {test.name}"
        if scenario.mutation:
            yield from (f"{where}: the solution has no {f}" for f in scenario.mutation
                        if not callable(getattr(a.reference, f, None)))
            known = {m.key: m for m in a.misconceptions}
            yield from (f"{where}: there is no misconception {key}" for key in scenario.versions
                        if key not in known)
            if all(known[key].equivalent for key in scenario.versions or known if key in known):
                yield f"{where}: is graded by mutation, but there is no wrong version"
        if scenario.run is None:
            continue
        assert scenario.inputs is not None
        if scenario.speed and scenario.in_part:
            yield f"{where}: in_part and speed do not go together"
        try:
            scenario.run_source()
        except (ValueError, OSError) as error:
            yield f"{where}: {error}"
        drawn = [scenario.inputs(seed(SECRET, a.id, student, test.name, 0)) for student in ("a", "a", "b")]
        for name, value in drawn[0].items():
            if np.asarray(value).dtype.kind not in "biufc":
                yield f"{where}: the input {name} is {type(value).__name__}, not an array of numbers"
        if not _equal(drawn[0], drawn[1]):
            yield f"{where}: the inputs differ though the seed is the same: draw all from rng"
        if _equal(drawn[0], drawn[2]):
            yield f"{where}: the inputs do not depend on the seed, and could be learnt by heart"


def _equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    def same(a: Any, b: Any) -> bool:
        a, b = np.asarray(a), np.asarray(b)
        return a.shape == b.shape and a.tobytes() == b.tobytes()

    return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)


def _stub(a: Assignment, layers: Any) -> Iterator[str]:
    report = _grade(a, a.solution().student, STUDENTS[0], layers)
    for t in report.tests:
        if t.score:
            yield f"the stub scores {t.score:g} in test {t.name}"
        elif t.kind not in ("not_written", "wrong", "exception"):
            yield f"the stub's result in test {t.name} is {t.kind}, not not_written: {t.en}"


def _reference(a: Assignment, layers: Any) -> Iterator[str]:
    tests = any(s.mutation for s in a.scenarios.values())  # they have no numbers that differ
    for who in STUDENTS[:1] if tests else STUDENTS:
        report = _grade(a, a.solution().text, who, layers)
        for note, _ in report.notes:
            yield f"the solution earns a note: {note}"
        for t in report.tests:
            if t.score < t.points:
                yield f"the solution scores {t.score:g} of {t.points:g} in test {t.name}: {t.en}"
    for test in a.tests:
        yield from _timed_well(a, test)


def _timed_well(a: Assignment, test: Test) -> Iterator[str]:
    """A speed test whose reference is over too soon measures nothing."""
    if not a.scenarios[test.name].speed:
        return
    judge = Judge(a, STUDENTS[0], SECRET)
    worker = TrustedWorker(a, a.solution().text.encode())

    def ask(source: str, inputs: Mapping[str, np.ndarray]) -> Any:
        return worker.ask(source, inputs, seconds=10 * a.limits.seconds)

    timing = speed.measure(judge, test, ask, ask, budget=a.limits.seconds)
    if isinstance(timing, speed.Timing) and timing.reference < speed.SHORTEST:
        yield (f"test {test.name}: the reference takes {1e3 * timing.reference:.2g} ms, too short to be "
               f"timed: make the inputs larger, for {1e3 * speed.SHORTEST:g} ms at least")


def _needs(a: Assignment) -> Iterator[str]:
    """A test that `needs` some functions asks for no others; what these call themselves is their affair."""
    for needs in dict.fromkeys(t.needs for t in a.tests if t.needs):
        others = {f for f in a.solution().functions if f not in needs and f.split(".")[0] not in needs}
        text = (f"_all = {{'__name__': __name__}}\nexec({a.solution().text!r}, _all)\n"
                f"globals().update({{k: v for k, v in _all.items() if k not in {sorted(others)!r}}})\n")
        judge = Judge(a, STUDENTS[0], SECRET)
        report = grade_with(judge, {a.file: text.encode()}, open_trusted(a), whole=False)
        for test, found in zip(a.tests, report.tests, strict=True):
            if test.needs == needs and found.kind == "missing":
                yield f"test {test.name} needs more than {', '.join(needs)}: {found.en}"


def _misconceptions(a: Assignment) -> Iterator[str]:
    if any(s.mutation for s in a.scenarios.values()):
        yield from _caught(a)  # they are wrong versions of what is tested, not of what is handed in
        return
    judges = {who: Judge(a, who, SECRET) for who in STUDENTS}  # they remember what every version does
    solution = a.solution().text
    for m in a.misconceptions:
        try:
            text = m.applied(solution)
            ast.parse(text)
        except (ValueError, SyntaxError) as error:
            yield f"misconception {m.key}: {error}"
            continue
        for who in STUDENTS:
            report = grade_with(judges[who], {a.file: text.encode()}, open_trusted(a),
                                whole=m.equivalent and who == STUDENTS[0])
            yield from _judged(m.key, m.equivalent, report)


def _judged(key: str, equivalent: bool, report: Report) -> Iterator[str]:
    failed = [t for t in report.tests if t.score < t.points]
    if equivalent:
        yield from (f"{key} is right, but loses points in test {t.name}: {t.en}" for t in failed)
    elif not failed:
        yield f"misconception {key} loses no points"
    elif not any(t.cause == key for t in failed):
        seen = ", ".join(f"{t.name}: {t.cause or t.kind}" for t in failed)
        yield f"misconception {key} is not recognised ({seen})"


def _caught(a: Assignment) -> Iterator[str]:
    from .mutation import survivors

    judge = Judge(a, STUDENTS[0], SECRET)
    for test in (t for t in a.tests if a.scenarios[t.name].mutation):
        yield from (f"test {test.name}: the solution's own tests {said}"
                    for said in survivors(judge, test, open_trusted(a)))


def _grade(a: Assignment, text: str, student: str, layers: Any) -> Report:
    return grade_submission(a, student, {a.file: text.encode()}, SECRET, layers=layers)


def open_trusted(a: Assignment) -> Opener:
    """Makes workers in this process, for texts that are ours."""
    return lambda text, under_test=(): TrustedWorker(a, text)


def _student_folder(a: Assignment) -> Iterator[str]:
    from . import make

    write = getattr(make, "make_student_folder", None)
    if write is None:
        return
    for lang in ("en", "zh"):
        with tempfile.TemporaryDirectory() as folder:
            write(a, Path(folder), lang=lang)
            yield from leaks(a, Path(folder), lang)
