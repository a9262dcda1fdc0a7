"""What is right for one student's numbers, what is wrong with an answer, and which mistake gives just that.

Everything here runs in the trusted process and sees of the student only arrays, and the names and messages of
exceptions. What it says of a hidden test shows the student's own numbers, never the expected ones.
"""

from __future__ import annotations

import contextlib
import re
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import FrameType, ModuleType
from typing import Any, Protocol

import numpy as np

from minillm.course.causes import Cause, likely_cause, swapped
from minillm.course.compare import close

from .assignment import Assignment, Test, seed
from .scenario import Scenario
from .solution import AssignmentError

Arrays = dict[str, np.ndarray]
COMPARE_SECONDS = 20.0
# Likely causes whose usual words would tell a hidden number: the same without it.
_QUIET = {
    "offset": ("every element is off by the same amount", "每个数都差同一个值"),
    "factor": ("it is a constant multiple of the right answer: a constant factor is missing or too much",
               "它是正确答案的常数倍：漏了或多了一个常数因子"),
}


class AnswerLike(Protocol):
    """What a worker answers: see `sandbox.Answer`."""

    @property
    def kind(self) -> str: ...
    @property
    def arrays(self) -> Mapping[str, np.ndarray]: ...
    @property
    def error(self) -> str: ...
    @property
    def message(self) -> str: ...


@dataclass(frozen=True)
class Fault:
    """The first thing that is wrong with an answer: what it is, in both languages, and in which output."""

    kind: str
    en: str
    zh: str
    output: str = ""


@dataclass(frozen=True)
class Done:
    """What a trusted version did with a case: its arrays, or the exception that it raised."""

    arrays: Arrays
    error: str = ""
    message: str = ""


class Judge:
    """The cases of one student, and verdicts on what the student's code made of them.

    Args:
        assignment: what was to be written.
        student: the student's id, from which the numbers follow.
        secret: the course's.
    """

    def __init__(self, assignment: Assignment, student: str, secret: bytes) -> None:
        self.assignment, self.student, self.secret = assignment, student, secret
        self._inputs: dict[tuple[str, int], Arrays] = {}
        self._done: dict[tuple[str, str, int], Done] = {}
        self._modules: dict[str, ModuleType] = {}

    @cached_property
    def solution(self) -> str:
        """The whole solution's text."""
        return self.assignment.solution().text

    def inputs(self, test: str, case: int) -> Arrays:
        """The numbers of a case, the same at every call.

        Raises:
            AssignmentError: the assignment gives something else than arrays of numbers.
        """
        if (test, case) not in self._inputs:
            rng = seed(self.secret, self.assignment.id, self.student, test, case)
            scenario = self.assignment.scenarios[test]
            assert scenario.inputs is not None
            where = f"{self.assignment.id}, test {test}"
            self._inputs[test, case] = _numbers(scenario.inputs(rng), f"{where}: inputs")
        return {name: array.copy() for name, array in self._inputs[test, case].items()}

    def want(self, test: str, case: int) -> Arrays:
        """What the reference makes of a case.

        Raises:
            AssignmentError: the reference fails.
        """
        done = self._version("", test, case)
        if done.error:
            raise AssignmentError(f"{self.assignment.id}, test {test}: the reference raises {done.error}: "
                                  f"{done.message}")
        return done.arrays

    def forget(self, test: str, case: int) -> None:
        """Drop what is kept of a case that will not be asked for again: timed ones are large."""
        self._inputs.pop((test, case), None)
        for key in [k for k in self._done if k[1:] == (test, case)]:
            del self._done[key]

    def fault(self, test: Test, case: int, got: Mapping[str, np.ndarray]) -> Fault | None:
        """What is wrong with the arrays of a case, or None."""
        return self._fault(test, case, got, test.visibility == "public")

    def right(self, test: Test, case: int, answer: AnswerLike) -> bool:
        """Whether a case was answered, and rightly."""
        return answer.kind == "arrays" and self.fault(test, case, answer.arrays) is None

    def causes(self, answers: Mapping[str, Sequence[AnswerLike]]) -> dict[str, Cause]:
        """The likely cause of each test that failed; tests without one are left out.

        Args:
            answers: by test, one for each case that was run, in order.

        A known misconception explains a test if it gives the same wrong arrays, or the same exception, in all
        cases that failed. Where several do, the one that explains most of the other tests too is meant.
        """
        tests = {t.name: t for t in self.assignment.tests if not self.assignment.scenarios[t.name].mutation}
        failed = {name: [c for c, a in enumerate(answers[name]) if not self.right(tests[name], c, a)]
                  for name in tests if name in answers}
        keys = {m.key: m for m in self.assignment.misconceptions if not m.equivalent}
        fits = {name: [k for k in keys if all(self._same(k, tests[name], c, answers[name][c]) for c in cases)]
                for name, cases in failed.items() if cases}
        explained: dict[str, int] = {}
        if any(len(found) > 1 for found in fits.values()):
            for key in {k for found in fits.values() for k in found}:
                explained[key] = sum(all(self._foreseen(key, tests[name], c, a)
                                         for c, a in enumerate(answers[name])) for name in failed)
        causes = {}
        for name, found in fits.items():
            if found:
                best = max(found, key=lambda k: explained.get(k, 0))  # the first of the best
                causes[name] = Cause(best, keys[best].en, keys[best].zh)
            elif (cause := self._generic(tests[name], failed[name], answers[name])) is not None:
                causes[name] = cause
        return causes

    def _fault(self, test: Test, case: int, got: Mapping[str, np.ndarray], show: bool) -> Fault | None:
        scenario, want = self.assignment.scenarios[test.name], self.want(test.name, case)
        if set(got) != set(want):
            return Fault("forged", "the answer does not have the parts that the test asks for",
                         "返回的各部分与测试所要的不符")
        if scenario.compare is None:
            return next((fault for name, right in want.items()
                         if (fault := _of_output(name, got[name], right, scenario, show)) is not None), None)
        try:
            with quiet(), alarm(COMPARE_SECONDS):
                said = scenario.compare({n: a.copy() for n, a in got.items()},
                                        {n: a.copy() for n, a in want.items()}, self.inputs(test.name, case))
        except Exception:  # an answer that `compare` is not made for: the shape, most likely
            return next((fault for name, right in want.items()
                         if (fault := _of_output(name, got[name], right, scenario, show)) is not None),
                        Fault("wrong", "the answer cannot be compared with the right one",
                              "无法与正确答案比较"))
        return None if said is None else Fault("wrong", *said)

    def _version(self, key: str, test: str, case: int) -> Done:
        """What the reference ("") or a misconception does with a case."""
        if (key, test, case) not in self._done:
            scenario = self.assignment.scenarios[test]
            assert scenario.run is not None
            seconds = 4 * (scenario.seconds or self.assignment.limits.seconds)
            given = self.inputs(test, case)
            try:
                with quiet(), alarm(seconds):
                    returned = scenario.run(self._module(key), given)
                arrays = _numbers(returned, f"test {test}: what run returns")
                done = Done({name: array.copy() for name, array in arrays.items()})
            except Exception as error:
                done = Done({}, type(error).__name__, " ".join(str(error).split()))
            self._done[key, test, case] = done
        return self._done[key, test, case]

    def _module(self, key: str) -> ModuleType:
        if not key:
            return self.assignment.reference
        if key not in self._modules:
            found = next(m for m in self.assignment.misconceptions if m.key == key)
            self._modules[key] = self.assignment.module(found.applied(self.solution), key)
        return self._modules[key]

    def _same(self, key: str, test: Test, case: int, answer: AnswerLike) -> bool:
        """Whether a misconception does with a case what the student's code did, and that is wrong."""
        if answer.kind not in ("arrays", "exception"):
            return False
        theirs = self._version(key, test.name, case)
        if answer.kind == "exception":
            return bool(theirs.error) and theirs.error == answer.error and _same_words(
                theirs.message, answer.message)
        if theirs.error or self._fault(test, case, theirs.arrays, False) is None:
            return False
        scenario = self.assignment.scenarios[test.name]
        if set(answer.arrays) != set(theirs.arrays):
            return False
        if all(_agree(answer.arrays[n], theirs.arrays[n], scenario) for n in theirs.arrays):
            return True
        if scenario.compare is None:
            return False
        try:
            with quiet(), alarm(COMPARE_SECONDS):
                return scenario.compare({n: a.copy() for n, a in answer.arrays.items()}, theirs.arrays,
                                        self.inputs(test.name, case)) is None
        except Exception:
            return False

    def _foreseen(self, key: str, test: Test, case: int, answer: AnswerLike) -> bool:
        """Whether the student's code did with a case what a misconception does, right or wrong."""
        if not self.right(test, case, answer):
            return self._same(key, test, case, answer)
        theirs = self._version(key, test.name, case)
        return not theirs.error and self._fault(test, case, theirs.arrays, False) is None

    def _generic(self, test: Test, failed: list[int], answers: Sequence[AnswerLike]) -> Cause | None:
        """A cause that any exercise may have, of the first output that is wrong."""
        if any(answers[c].kind != "arrays" for c in failed):
            return None
        scenario = self.assignment.scenarios[test.name]
        want = {c: self.want(test.name, c) for c in failed}
        got = {c: answers[c].arrays for c in failed}
        if any(set(got[c]) != set(want[c]) for c in failed):
            return None
        names = tuple(want[failed[0]])
        output = next((n for c in failed for n in names if not _agree(got[c][n], want[c][n], scenario)), None)
        if output is None:
            return None
        orders = [swapped(tuple(got[c][n] for n in names), tuple(want[c].values()), scenario.rtol,
                          scenario.atol, names) for c in failed]
        if orders[0] is not None and all(orders):
            return orders[0]
        given = [self.inputs(test.name, c) for c in failed]
        with quiet():
            cause = likely_cause([(got[c][output], want[c][output]) for c in failed],
                                 [tuple(g.values()) for g in given], scenario.rtol, scenario.atol)
        if cause is None:
            return None
        en, zh = cause.en, cause.zh
        if test.visibility != "public" and cause.key in _QUIET:
            en, zh = _QUIET[cause.key]
        inputs = list(given[0])
        return Cause(cause.key, re.sub(r"argument (\d+)", lambda m: f"the input {inputs[int(m[1]) - 1]}", en),
                     re.sub(r"第 (\d+) 个参数", lambda m: f"输入 {inputs[int(m[1]) - 1]} ", zh))


def _of_output(name: str, got: np.ndarray, want: np.ndarray, scenario: Scenario, show: bool) -> Fault | None:
    """What is wrong with one array; `show`: the right numbers may be told."""
    if got.shape != want.shape:
        return Fault("wrong", f"{name} has shape {got.shape}; it should have shape {want.shape}",
                     f"{name} 的形状是 {got.shape}，应为 {want.shape}", name)
    with np.errstate(all="ignore"):
        wrong = ~close(got, want, scenario.rtol, scenario.atol)
    if not np.any(wrong):
        return None
    at: tuple[int, ...] = tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.ndim else ()
    where, gap = (f"[{', '.join(map(str, at))}]", " ") if at else ("", " ")
    mine, right = _number(got[at]), _number(want[at])
    if show:
        en = f"{name}{where} is {mine}; it should be {right}"
        zh = f"{name}{where}{gap}是 {mine}，应为 {right}"
    else:
        en = f"{name}{where} is {mine}, which is wrong"
        zh = f"{name}{where}{gap}是 {mine}，不对"
    if wrong.size > 1:
        count = int(wrong.sum())
        en += f"; {count} of {wrong.size} numbers are wrong"
        zh += f"；{wrong.size} 个数中有 {count} 个不对"
        found, odd = _largest(got, want, wrong), wrong & ~np.isfinite(got)
        if np.any(odd):
            kinds = [kind for kind, of in (("nan", np.isnan), ("inf", np.isinf)) if np.any(of(got[odd]))]
            few, all_of = int(odd.sum()), int(odd.sum()) == count
            en += f", {'all' if all_of else few} of them {' or '.join(kinds)}"
            zh += f"，{'全部' if all_of else f'其中 {few} 个'}是 {' 或 '.join(kinds)}"
        elif found is not None and (show or got.dtype.kind in "fc"):  # whole numbers' errors tell the answer
            place, error = found
            en += f", and the largest error is about {error:.2g}, at [{place}]"
            zh += f"，最大误差约 {error:.2g}，在 [{place}] 处"
    return Fault("wrong", en, zh, name)


def _largest(got: np.ndarray, want: np.ndarray, wrong: np.ndarray) -> tuple[str, float] | None:
    """(where, how large) the largest error of the wrong numbers is; None if none is finite."""
    with np.errstate(all="ignore"):
        off = np.abs(got.astype(complex) - want.astype(complex))
    off = np.where(wrong & np.isfinite(off), off, -1.0)
    most = np.unravel_index(int(np.argmax(off)), off.shape)
    return None if off[most] <= 0 else (", ".join(str(int(i)) for i in most), float(off[most]))


def _agree(got: np.ndarray, want: np.ndarray, scenario: Scenario) -> bool:
    with np.errstate(all="ignore"):
        return got.shape == want.shape and bool(np.all(close(got, want, scenario.rtol, scenario.atol)))


def _number(x: Any) -> str:
    return str(x) if np.asarray(x).dtype.kind in "bui" else f"{x:.6g}"


def _same_words(one: str, other: str) -> bool:
    """Whether two messages agree, as far as the shorter goes: a worker's is cut off."""
    one, other = " ".join(one.split()), " ".join(other.split())
    short = min(len(one), len(other))
    return one == other or (short >= 60 and one[:short - 3] == other[:short - 3])


def _numbers(given: Mapping[str, Any], what: str) -> Arrays:
    arrays = {name: np.asarray(value) for name, value in given.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufc":
            raise AssignmentError(f"{what}: {name} has dtype {array.dtype}, not numbers")
    return arrays


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Wrong numbers overflow and divide by zero: nobody needs to be warned."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """An end to a wrong version that never stops, where a signal can be had: on Unix, in the main thread."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"it took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
