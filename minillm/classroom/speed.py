"""Points for speed: the student's time as a ratio to the reference's, side by side in the same run.

Both run in the same sandbox, turn about, on the same inputs; the trusted process holds the watch, and takes
off what a call costs that does no work. Every repeat has inputs of its own and its answer is checked, so that
neither remembered nor made-up answers are quick ones.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .assignment import Test
from .judge import AnswerLike, Judge
from .scenario import Scenario
from .solution import AssignmentError

FEWEST, MOST = 5, 21  # repeats
SHORTEST = 1e-3  # s: a reference that takes less cannot be timed well (see `verify`)

A = TypeVar("A", bound=AnswerLike)
Ask = Callable[[str, Mapping[str, np.ndarray]], A]  # ask(run_source, inputs)


@dataclass(frozen=True)
class Timing:
    """How long a right answer takes.

    Attributes:
        ratio: the student's time over the reference's.
        share: of the points, 0 to 1.
        reference: median time of the reference, s, without what a call costs.
        repeats: how often both were timed.
        noise: the middle half of the ratios, from end to end, over the ratio.
    """

    ratio: float
    share: float
    reference: float
    repeats: int
    noise: float


def measure(judge: Judge, test: Test, student: Ask[A], reference: Ask[A], *, budget: float) -> Timing | A:
    """Time a student's function and the reference.

    Args:
        judge: has the inputs, and checks every answer.
        test: one whose scenario has `speed`.
        student, reference: ask the two workers.
        budget: wall clock for all repeats, s; the fewest are made all the same.

    Returns:
        The timing, or the student's answer that was not right.

    Raises:
        AssignmentError: the reference itself failed in the sandbox.

    It repeats until the middle half of the ratios lies on one side of every limit, at most `MOST` times. If
    it still does not, the machine is noisy and the lower quartiles of both times are compared, which others'
    work disturbs least; the student has the better of the two ratios.
    """
    scenario = judge.assignment.scenarios[test.name]
    source = scenario.run_source()
    times: list[tuple[float, float, float]] = []  # of the student, the reference, a call without work
    begun = time.perf_counter()
    for repeat in range(-1, MOST):  # the first warms both up and does not count
        case = scenario.cases + repeat + 1
        inputs, nothing = judge.inputs(test.name, case), _nothing(judge.want(test.name, case))
        taken = {}
        for who in ("student", "reference") if repeat % 2 else ("reference", "student"):
            answer, taken[who] = _timed(student if who == "student" else reference, source, inputs)
            if not judge.right(test, case, answer):
                if who == "student":
                    return answer
                said = f"{answer.kind} {answer.error} {answer.message}".strip()
                raise AssignmentError(f"{judge.assignment.id}, test {test.name}: the reference's answer in "
                                      f"the sandbox is not right ({said})")
        _, cost = _timed(reference, nothing, inputs)
        judge.forget(test.name, case)
        if repeat < 0:
            continue
        times.append((taken["student"], taken["reference"], cost))
        timing = _timing(scenario, times)
        if len(times) >= FEWEST and (timing[1] or time.perf_counter() - begun > budget):
            break
    return timing[0]


def _timing(scenario: Scenario, times: list[tuple[float, float, float]]) -> tuple[Timing, bool]:
    """(the timing so far, whether it is clear on which side of the limits it lies)"""
    # The quickest empty call is what a call costs; a tenth of a time is left whatever it says.
    call = min(cost for _, _, cost in times)
    work = [(max(mine - call, 0.1 * mine), max(theirs - call, 0.1 * theirs)) for mine, theirs, _ in times]
    low, middle, high = _quartiles([mine / theirs for mine, theirs in work])
    clear = not any(low <= limit < high for limit, _ in scenario.speed)
    lowest = _quartiles([mine for mine, _ in work])[0] / _quartiles([theirs for _, theirs in work])[0]
    ratio = middle if clear else min(middle, lowest)
    reference = statistics.median(theirs for _, theirs in work)
    return Timing(ratio, share(scenario, ratio), reference, len(times), (high - low) / middle), clear


def share(scenario: Scenario, ratio: float) -> float:
    """The share of the points that a ratio earns."""
    return next((part for limit, part in scenario.speed if ratio <= limit), 0.0)


def words(scenario: Scenario, timing: Timing) -> tuple[str, str]:
    """What a timing means, in both languages.

    The limits between which the ratio lies, not the ratio (which is in the result), so that grading twice
    says the same.
    """
    limits = [limit for limit, _ in scenario.speed]
    above = [x for x in limits if timing.ratio > x]
    if not above:
        return (f"right, and quick enough: at most {limits[0]:g} times the reference's time",
                f"正确，也够快：用时不超过参考实现的 {limits[0]:g} 倍")
    advice = ("look for loops over elements that one NumPy operation can replace, and for work done twice",
              "看看有没有可以用一个 NumPy 运算代替的逐元素循环，或者重复的计算")
    if len(above) == len(limits):
        return (f"right, but it takes more than {limits[-1]:g} times the reference's time, which earns no "
                f"points here: {advice[0]}",
                f"正确，但用时超过参考实现的 {limits[-1]:g} 倍，这项不得分：{advice[1]}")
    low, high = above[-1], limits[len(above)]
    part = f"{100 * timing.share:g}"
    return (f"right; it takes between {low:g} and {high:g} times the reference's time, which earns {part} % "
            f"of the points: {advice[0]}",
            f"正确；用时是参考实现的 {low:g} 到 {high:g} 倍，得这项分数的 {part}%：{advice[1]}")


def _timed(ask: Ask[A], source: str, inputs: Mapping[str, np.ndarray]) -> tuple[A, float]:
    start = time.perf_counter()
    answer = ask(source, inputs)
    return answer, time.perf_counter() - start


def _nothing(want: Mapping[str, np.ndarray]) -> str:
    """A `run` that does no work and returns as much."""
    parts = ", ".join(f"{name!r}: np.zeros({a.shape!r}, {a.dtype.str!r})" for name, a in want.items())
    return f"def run(student, inputs):\n    return {{{parts}}}\n"


def _quartiles(numbers: list[float]) -> tuple[float, float, float]:
    if len(numbers) == 1:
        return numbers[0], numbers[0], numbers[0]
    low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return low, middle, high
