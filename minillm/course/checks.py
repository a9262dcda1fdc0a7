"""Check a learner's function, and say what is wrong with it the way a good tutor would."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .causes import likely_cause, swapped
from .compare import Difference, array, difference
from .exercise import Exercise
from .pristine import Pristine
from .result import (
    Result,
    argument_name,
    describe,
    file_of,
    more,
    of_exception,
    raised_by_learner,
)

PRINTED = 10_000  # characters of a learner's prints that are kept


@dataclass
class Outcome:
    """What a function did with one case."""

    value: Any = None
    args: tuple[Any, ...] = ()  # afterwards
    error: BaseException | None = None
    printed: str = ""


@dataclass
class Expected:
    """What is right, computed before a learner's code is near: see `expect`.

    Attributes:
        exercise: what it is about.
        arguments: the cases' arguments, untouched.
        right: what the reference does with them.
        pristine: the state of NumPy and minillm at that time.
    """

    exercise: Exercise
    arguments: list[tuple[Any, ...]]
    right: list[Outcome]
    pristine: Pristine


@dataclass
class Run:
    """What a learner's function did: its outcomes, with what each call printed, and the warnings."""

    outcomes: list[Outcome]
    noticed: list[warnings.WarningMessage]


def check(exercise: Exercise, student_function: Callable[..., Any]) -> Result:
    """Run a learner's function on all cases and say the first thing that is wrong, with its likely cause.

    In this process and without a limit of time; `check_file` has one.

    Args:
        exercise: from a lesson's checks.py.
        student_function: the learner's.

    Returns:
        What was found; nothing that the function raises comes out, but for Ctrl-C.
    """
    expected = expect(exercise)
    return judge(expected, student_function, run(exercise, student_function))


def expect(exercise: Exercise) -> Expected:
    """What is right; to be called before the learner's code is loaded, which may change NumPy itself.

    Raises:
        What the cases or the reference raise.
    """
    return Expected(exercise, exercise.arguments(), outcomes_of(exercise, exercise.reference, strict=True),
                    Pristine())


def run(exercise: Exercise, student_function: Callable[..., Any]) -> Run:
    """Run a learner's function on all cases; nothing that it raises comes out, but for Ctrl-C."""
    printed = _Printed()
    with (contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed),
          warnings.catch_warnings(record=True) as noticed):
        warnings.simplefilter("always")
        outcomes = outcomes_of(exercise, student_function, printed=printed)
    return Run(outcomes, noticed)


def judge(expected: Expected, student_function: Callable[..., Any], ran: Run) -> Result:
    """What is wrong with what a function did, in the state that NumPy and minillm were in before it ran."""
    expected.pristine.put_back()
    return _judge(expected, student_function, ran)


def outcomes_of(exercise: Exercise, function: Callable[..., Any], strict: bool = False,
                printed: _Printed | None = None) -> list[Outcome]:
    """What a function does with each case; `strict` lets its exceptions out; `printed` takes its prints."""
    found = []
    for args in exercise.arguments():
        outcome = Outcome(args=args)
        try:
            outcome.value = exercise.call(function, args)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if strict:
                raise
            outcome.error = raised_by_learner(error)
        if printed is not None:
            outcome.printed = printed.taken()
        found.append(outcome)
        if isinstance(outcome.error, NotImplementedError | RecursionError):  # the other cases say no more
            break
    return found


def _called(exercise: Exercise, function: Callable[..., Any]) -> Callable[..., Any]:
    """What the cases' arguments go to: the function, or `run` with it, whose names for them are others."""
    return function if exercise.run is None else partial(exercise.run, function)


def same_outcomes(exercise: Exercise, one: list[Outcome], other: list[Outcome]) -> bool:
    """Whether two functions did the same with every case."""
    return len(one) == len(other) and all(
        type(a.error) is type(b.error) and (a.error is not None or (
            difference(a.value, b.value, exercise.rtol, exercise.atol) is None
            and _changed(exercise, a.args, b.args) is None)) for a, b in zip(one, other, strict=True))


def _judge(expected: Expected, function: Callable[..., Any], ran: Run) -> Result:
    for number, outcome in enumerate(ran.outcomes):
        if (found := _of_case(expected, function, ran, number)) is not None:
            return replace(found, printed=outcome.printed)
    name, cases = expected.exercise.name, len(ran.outcomes)
    return Result(name, True, "passed", f"right, in all {cases} cases" if cases > 1 else "right",
                  f"正确，{cases} 组数据全部通过" if cases > 1 else "正确",
                  printed="".join(o.printed for o in ran.outcomes)[:PRINTED], calls=cases)


def _of_case(expected: Expected, function: Callable[..., Any], ran: Run, number: int) -> Result | None:
    """What is wrong with what a function did with a case, or None."""
    exercise, outcomes, outcome = expected.exercise, ran.outcomes, ran.outcomes[number]
    untouched = expected.arguments[number]
    if outcome.error is not None:
        found = of_exception(exercise.name, function, outcome.error,
                             describe(_called(exercise, function), untouched))
        return found if found.kind in ("not_written", "needs_other") else _with_wrong(
            exercise, outcomes, found)
    wrong = difference(outcome.value, expected.right[number].value, exercise.rtol, exercise.atol,
                       exercise.outputs)
    if wrong is not None:
        return _of_difference(expected, function, ran, number, wrong)
    k = _changed(exercise, outcome.args, untouched)
    if k is not None:
        name = argument_name(_called(exercise, function), k)
        return _with_wrong(exercise, outcomes, Result(
            exercise.name, False, "changed_input",
            f"the result is right, but the argument {name} was changed; work on a copy, or write "
            f"`{name} = {name} + ...` where you have `{name} += ...`",
            f"结果是对的，但参数 {name} 被改动了；请用副本计算，"
            f"或把 `{name} += ...` 写成 `{name} = {name} + ...`"))
    return None


def _of_difference(expected: Expected, function: Callable[..., Any], ran: Run, number: int,
                   wrong: Difference) -> Result:
    exercise, outcomes, right = expected.exercise, ran.outcomes, expected.right
    en, zh = wrong.en, wrong.zh
    given = describe(_called(exercise, function), expected.arguments[number])
    en, zh = more(en, zh, f"Called with {given}", f"调用参数：{given}") if given else (en, zh)
    line = None
    if wrong.kind in ("nan", "inf"):
        for warning in ran.noticed:
            if warning.filename == file_of(function):
                line = warning.lineno
                en, zh = more(en, zh, f"Line {line} warned: {warning.message}",
                               f"第 {line} 行有警告：{warning.message}")
                break
    result = Result(exercise.name, False, wrong.kind, en, zh, line=line)
    known = _with_wrong(exercise, outcomes, result)
    if known.cause or wrong.kind not in ("shape", "value", "type", "nan", "inf"):
        return known
    cause = swapped(outcomes[number].value, right[number].value, exercise.rtol, exercise.atol,
                    exercise.outputs)
    if cause is None and wrong.got is not None:
        pairs = _pairs(outcomes, right, wrong)
        cause = likely_cause(pairs, expected.arguments, exercise.rtol, exercise.atol)
    if cause is None:
        return result
    return _likely(result, cause.key, cause.en, cause.zh)


def _pairs(outcomes: list[Outcome], right: list[Outcome],
           wrong: Difference) -> list[tuple[np.ndarray, np.ndarray]]:
    """(got, right) of the output at fault, in each case."""
    pairs = []
    for mine, theirs in zip(outcomes, right, strict=False):
        got, want = _leaves(mine.value), _leaves(theirs.value)
        if len(got) != len(want):
            return [(wrong.got, wrong.want)] if wrong.got is not None and wrong.want is not None else []
        pairs.append((got, want))
    if wrong.got is None or wrong.want is None:
        return []
    for i in range(len(pairs[0][1]) if pairs else 0):  # the output at fault: the first that is that array
        if any(len(got) > i and got[i].shape == wrong.got.shape and want[i].shape == wrong.want.shape
               and np.array_equal(got[i], wrong.got, equal_nan=wrong.got.dtype.kind in "fc")
               and np.array_equal(want[i], wrong.want, equal_nan=wrong.want.dtype.kind in "fc")
               for got, want in pairs):
            return [(got[i], want[i]) for got, want in pairs]
    return []


def _leaves(value: Any) -> list[np.ndarray]:
    if isinstance(value, dict):
        return [leaf for key in sorted(value, key=str) for leaf in _leaves(value[key])]
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in _leaves(part)]
    try:
        return [array(value)]
    except ValueError:
        return []


def _with_wrong(exercise: Exercise, outcomes: list[Outcome], result: Result) -> Result:
    """The result with the message of the known wrong version that does just the same, if there is one."""
    for key, (function, en, zh) in exercise.wrong.items():
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = outcomes_of(exercise, function)
        if same_outcomes(exercise, outcomes, theirs):
            return _likely(result, key, en, zh)
    return result


def _likely(result: Result, key: str, en: str, zh: str) -> Result:
    """The result with its likely cause."""
    en, zh = f"Likely: {en}", f"可能的原因：{zh}"
    if result.cause != "recursion":  # its own words would contradict the cause
        en, zh = more(result.en, result.zh, en, zh)
    return replace(result, en=en, zh=zh, cause=key)


def _changed(exercise: Exercise, after: tuple[Any, ...], fresh: tuple[Any, ...]) -> int | None:
    """Which argument is not as it was, of those that must not change."""
    for k, (a, b) in enumerate(zip(after, fresh, strict=True)):
        if k not in exercise.in_place and not _as_before(a, b):
            return k
    return None


def _as_before(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(_as_before(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(_as_before, a, b))
    if isinstance(b, np.ndarray) or hasattr(b, "requires_grad"):
        x, y = array(a), array(b)
        return (x.shape == y.shape and x.dtype == y.dtype
                and bool(np.array_equal(x, y, equal_nan=x.dtype.kind in "fc")))
    return True  # anything else has no contents to compare


class _Printed(io.StringIO):
    """Standard output that stops growing: an endless loop may print."""

    def taken(self) -> str:
        """What was printed since the last time."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text

    def write(self, text: str) -> int:
        if self.tell() < PRINTED:
            super().write(text[:PRINTED - self.tell()])
        return len(text)
