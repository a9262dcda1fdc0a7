"""Examine a lesson as CI does: `python -m minillm.course.examine lessons/04_adam`."""

from __future__ import annotations

import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from minillm.errors import UserError

from .checks import check, outcomes_of, same_outcomes
from .exercise import Exercise, load_exercises
from .lesson_api import run_lesson
from .numbers import unsaid_in_checks
from .percent import (
    BEGIN,
    Lesson,
    LessonError,
    learners_version,
    missing_twins,
    parse,
    serialise,
    solution_version,
)
from .statement import chinese_statements, in_language, problems_of
from .student import CannotLoad, load_function

SECONDS = 60.0  # that a lesson may run
MINUTES = (15, 40)  # that it may take a learner


def examine(folder: str | Path, *, earlier: Iterable[str] | None = None) -> list[str]:
    """What is wrong with a lesson; nothing, for one that is ready.

    Args:
        folder: lessons/NN_slug.
        earlier: slugs of the lessons before it; None takes the folders beside it.
    """
    folder = Path(folder)
    try:
        lesson = parse((folder / "lesson.py").read_text(encoding="utf-8"))
        exercises = load_exercises(folder / "checks.py")
    except (LessonError, ImportError, UserError, OSError, ValueError) as error:
        return [str(error)]
    if earlier is None:
        earlier = [p.name for p in folder.resolve().parent.iterdir() if p.name < folder.resolve().name]
    problems = _of_file(lesson, folder.resolve().name, list(earlier)) + missing_twins(lesson)
    if set(exercises) != set(lesson.exercises):
        problems.append(f"lesson.py has the exercises {sorted(lesson.exercises)}, "
                        f"checks.py {sorted(exercises)}")
        return problems
    chinese = chinese_statements(folder / "checks.py")
    for name in lesson.exercises:
        problems += problems_of(lesson.cell_of(name), chinese.get(name, ""))
    source = (folder / "checks.py").read_text(encoding="utf-8")
    problems += _of_run(lesson, folder / "lesson.py", source, exercises)
    for exercise in exercises.values():
        try:
            problems += _of_exercise(lesson, exercise)
        except Exception as error:  # the reference or the cases fail
            problems.append(f"{exercise.name}: the check itself fails: {type(error).__name__}: {error}")
    return problems


def _of_file(lesson: Lesson, slug: str, earlier: list[str]) -> list[str]:
    problems = []
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", slug):
        problems.append(f"the folder {slug!r} is not named like 04_adam")
    if not MINUTES[0] <= lesson.minutes <= MINUTES[1]:
        problems.append(f"minutes: {lesson.minutes} is outside {MINUTES[0]} to {MINUTES[1]}")
    problems += [f"needs: {need!r} is no earlier lesson" for need in lesson.needs if need not in earlier]
    if len(lesson.exercises) < 2:
        problems.append(f"{len(lesson.exercises)} exercises; a lesson has at least two")
    if not re.search(r"[\u4e00-\u9fff]", lesson.title_zh):
        problems.append(f"title_zh: {lesson.title_zh!r} is not Chinese")
    for cell in lesson.cells:
        if cell.kind == "code" and not cell.exercise and BEGIN in cell.text:
            problems.append(f"line {cell.line}: a solution in a cell without exercise=\"name\"")
        if cell.exercise and BEGIN not in cell.text:
            problems.append(f"line {cell.line}: the exercise {cell.exercise} has no {BEGIN}")
        for what in ("sys.path", "__file__", "input("):
            if cell.kind == "code" and what in cell.text:
                problems.append(f"line {cell.line}: {what} does not work in all places that a lesson runs in")
    return problems


def _of_run(lesson: Lesson, path: Path, checks: str, exercises: dict[str, Exercise]) -> list[str]:
    wall, cpu = time.monotonic(), time.process_time()
    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="(matplotlib|triton|torch)")
        run = run_lesson(path, lesson=lesson)
    # On a machine that others use too, the wall clock runs for them as well.
    seconds = min(time.monotonic() - wall, time.process_time() - cpu)
    problems = [f"{Path(w.filename).name}, line {w.lineno} warns: {w.message}" for w in noticed]
    if run.error is not None:
        return [*problems, run.error]
    if seconds > SECONDS:
        problems.append(f"it ran for {seconds:.0f} s; {SECONDS:.0f} s are allowed")
    if not run.pictures:
        problems.append("no picture(...)")
    if not run.steppers:
        problems.append("no step(...)")
    texts = {f"{e.name}, {what}": text for e in exercises.values() for what, text in _texts_of(e)}
    return problems + run.unsaid() + unsaid_in_checks(texts, checks, run.said)


def _texts_of(exercise: Exercise) -> Iterator[tuple[str, str]]:
    """(what it is, text) of all that a check may tell a learner."""
    pairs = {f"hint {i}": hint for i, hint in enumerate(exercise.hints, start=1)}
    pairs |= {f"wrong version {key!r}": (en, zh) for key, (_, en, zh) in exercise.wrong.items()}
    for what, (en, zh) in (pairs | {"why": exercise.why}).items():
        yield f"{what} (en)", en
        yield f"{what} (zh)", zh
    yield "statement_zh", exercise.statement_zh


def _of_exercise(lesson: Lesson, exercise: Exercise) -> list[str]:
    name = exercise.name
    problems = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder, "lesson.py")
        zh = in_language(lesson, "zh", {exercise.name: exercise.statement_zh})
        for version, wanted in ((learners_version(lesson), "not_written"),
                                (learners_version(zh, "zh"), "not_written"),
                                (solution_version(lesson), "passed")):
            file.write_text(serialise(version), encoding="utf-8")
            try:
                result = check(exercise, load_function(file, name))
            except CannotLoad as error:
                result = error.result
            if result.kind != wanted:
                problems.append(f"{name}: the {'stub' if wanted == 'not_written' else 'solution'} gives "
                                f"{result.kind!r}: {result.en}")
    if not exercise.arguments():
        return [*problems, f"{name}: no cases"]
    return problems + _of_wrong(exercise)


def _of_wrong(exercise: Exercise) -> list[str]:
    """Known wrong versions that a check would not name, or not tell apart."""
    problems = []
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        did = {key: outcomes_of(exercise, w[0]) for key, w in exercise.wrong.items()}
        for i, key in enumerate(did):
            for other in list(did)[:i]:
                if same_outcomes(exercise, did[key], did[other]):
                    problems.append(f"{exercise.name}: no case tells the wrong version {key!r} from "
                                    f"{other!r}")
        for key, (function, _, _) in exercise.wrong.items():
            result = check(exercise, function)
            if result.passed or result.cause != key:
                problems.append(f"{exercise.name}: the wrong version {key!r} gives "
                                f"{result.cause or result.kind!r}")
    return problems


if __name__ == "__main__":
    found = [f"{folder}: {problem}" for folder in sys.argv[1:] for problem in examine(folder)]
    print("\n".join(found) or "nothing to complain about")
    sys.exit(bool(found))
