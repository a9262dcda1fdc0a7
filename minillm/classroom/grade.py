"""Grade one submission: look at it, run it in a worker, judge what comes back, say why."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import speed
from .assignment import Assignment, Test
from .evidence import Evidence, examine, submission_hash
from .judge import Judge
from .report import Report, TestResult
from .wording import GIVEN_UP, HANGS, more_said, of_answer, passed, result, summary, syntax

if TYPE_CHECKING:
    from .sandbox import Answer, Worker

Opener = Callable[..., Any]  # opener(text, functions under test) -> worker

SLACK = 8 << 20  # bytes of an answer beyond the right one's: wrong shapes are larger, and are to be seen


def sandboxed(assignment: Assignment, text: bytes, layers: Any = None,
              under_test: Sequence[str] = ()) -> Worker:
    """A sandboxed worker for an assignment's file with this text, under the assignment's limits.

    Args:
        assignment: whose file it is.
        text: the file.
        layers: protections to use; None for all that work here.
        under_test: functions that the file's tests are about (see mutation.py).

    Raises:
        UserError: this machine cannot run what is handed in with any safety.
    """
    from .sandbox import Worker

    return Worker({assignment.file: text}, assignment.file, limits=assignment.limits,
                  imports=assignment.imports, provide=assignment.provide, layers=layers,
                  under_test=("under_test", under_test) if under_test else ("", ()))


def grade_submission(assignment: Assignment, student: str, files: Mapping[str, bytes], secret: bytes, *,
                     layers: Any = None) -> Report:
    """Grade what one student handed in.

    Args:
        assignment: the assignment.
        student: the student's id, from which the numbers of the tests follow.
        files: what was handed in: name -> bytes. Only `assignment.file` is used.
        secret: the course's secret.
        layers: protections that the sandbox shall use; None for all that work here.

    Returns:
        The report. Nothing that the student's code does is raised.

    Raises:
        AssignmentError: the assignment itself is at fault.
        UserError: there is no way to run the code safely on this machine.
    """
    return grade_with(Judge(assignment, student, secret), files,
                      lambda text, under_test=(): sandboxed(assignment, text, layers, under_test))


def grade_with(judge: Judge, files: Mapping[str, bytes], opener: Opener, *, whole: bool = True) -> Report:
    """`grade_submission` with its parts given.

    Args:
        judge: has the assignment, the student and the numbers; two submissions of a student may share it.
        files: what was handed in.
        opener: makes a worker for a text; not a sandboxed one only where the text is trusted.
        whole: whether time is taken and students' own tests are run, where the assignment asks for it; if
            not, what is right is quick enough, and those tests are not run.
    """
    start = time.perf_counter()
    assignment, student = judge.assignment, judge.student
    found = examine(assignment, files)
    report = Report(student=student, assignment=assignment.id, submission=submission_hash(files),
                    grader=assignment.fingerprint, state=found.state, en=found.en, zh=found.zh,
                    notes=found.notes)
    if found.state != "graded":
        none = ("not run", "未运行")
        tests = tuple(result(t, 0, "not_run", *none) for t in assignment.tests)
        return replace(report, tests=tests, seconds=time.perf_counter() - start)
    if found.syntax is not None:
        line, said = found.syntax
        tests = tuple(result(t, 0, "syntax", *syntax(assignment.file, line, said), line=line)
                      for t in assignment.tests)
        return replace(report, tests=tests, en=tests[0].en, zh=tests[0].zh,
                       seconds=time.perf_counter() - start)
    session = Session(opener, files[assignment.file], assignment.limits.output_kb)
    try:
        tests = Grading(judge, session, found, whole).results()
    finally:
        session.close()
    en, zh = summary(tests)
    return replace(report, tests=tests, en=en, zh=zh, layers=session.layers, printed=session.printed,
                   seconds=time.perf_counter() - start)


class Session:
    """The workers of one submission: one for all its tests, and another where one died or hung.

    Args:
        opener: makes a worker for a text.
        text: what was handed in.
        output_kb: how much of what is printed is kept, KiB.

    Attributes:
        layers: the protections that were active.
        hangs: tests that ran out of time.
        printed: what was printed, by all workers that are closed.
    """

    def __init__(self, opener: Opener, text: bytes, output_kb: int) -> None:
        self.opener, self.text, self.output_kb = opener, text, output_kb
        self.layers: tuple[str, ...] = ()
        self.hangs = 0
        self.printed = ""
        self._worker: Worker | None = None

    @property
    def alive(self) -> bool:
        """Whether there is a worker that can be asked."""
        return self._worker is not None and self._worker.alive

    def ask(self, source: str, inputs: Mapping[str, np.ndarray], seconds: float, reply_bytes: int) -> Answer:
        """Ask the worker, or a new one if there is none alive."""
        if not self.alive:
            self.close()
            self._worker = self.opener(self.text)
            self._worker.__enter__()
            self.layers = tuple(self._worker.layers)
        assert self._worker is not None
        answer = self._worker.ask(source, inputs, seconds=seconds, reply_bytes=reply_bytes)
        if answer.kind in ("too_slow", "forged"):  # whatever it says next is not to be relied on
            self.close()
        return answer

    def still(self) -> contextlib.AbstractContextManager[None]:
        """The worker does not run meanwhile."""
        return self._worker.still() if self._worker is not None else contextlib.nullcontext()

    def close(self) -> None:
        """End the worker, and keep what it printed."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.__exit__(None, None, None)
            self.add_printed(worker.printed)

    def add_printed(self, text: str) -> None:
        """Keep what a worker printed, up to the assignment's limit."""
        text = text.encode("utf-8", "backslashreplace").decode()
        self.printed = (self.printed + text)[:self.output_kb << 10]


class Grading:
    """One submission on its way from answers to results."""

    def __init__(self, judge: Judge, session: Session, found: Evidence, whole: bool = True) -> None:
        self.assignment, self.judge, self.session, self.found = judge.assignment, judge, session, found
        self.whole = whole
        self.seconds: dict[str, float] = {}

    def results(self) -> tuple[TestResult, ...]:
        """All tests, in the assignment's order."""
        answers: dict[str, list[Answer]] = {}
        results: dict[str, TestResult] = {}
        # Public tests first: what is said of them may be shown at once, and must not carry hidden inputs out.
        for test in sorted(self.assignment.tests, key=lambda t: t.visibility != "public"):
            scenario = self.assignment.scenarios[test.name]
            begun = time.perf_counter()
            if self.session.hangs >= HANGS:
                results[test.name] = result(test, 0, "not_run", *GIVEN_UP)
            elif scenario.mutation:
                results[test.name] = self._mutation(test)
            else:
                answers[test.name] = self._answers(test)
            self.seconds[test.name] = time.perf_counter() - begun
        causes = self.judge.causes(answers)
        for test in self.assignment.tests:
            if test.name in answers:
                begun = time.perf_counter()
                results[test.name] = self._judged(test, answers[test.name], causes.get(test.name))
                self.seconds[test.name] += time.perf_counter() - begun
        return tuple(replace(results[t.name], seconds=self.seconds[t.name]) for t in self.assignment.tests)

    def _mutation(self, test: Test) -> TestResult:
        """A test that is about the student's own tests."""
        if not self.whole:
            return result(test, 0, "not_run", "not run", "未运行")
        from .mutation import grade_tests

        def after(worker: Worker) -> None:
            self.session.layers = tuple(worker.layers)
            self.session.add_printed(worker.printed)

        return grade_tests(test, self.judge, self.session.text, self.session.opener, self.found, after)

    def _answers(self, test: Test) -> list[Answer]:
        """One answer for each case, up to one after which the worker is no more, or which says it all."""
        scenario = self.assignment.scenarios[test.name]
        source, answers = scenario.run_source(), []
        for case in range(scenario.cases):
            answer = self._ask(test, source, self.judge.inputs(test.name, case),
                               _bytes(self.judge.want(test.name, case)))
            answers.append(answer)
            if answer.kind in ("not_written", "missing", "syntax"):
                break
            if answer.kind != "arrays" and not self.session.alive:
                break
        self.session.hangs += answers[-1].kind == "too_slow"
        return answers

    def _ask(self, test: Test, source: str, inputs: Mapping[str, np.ndarray], size: int) -> Answer:
        seconds = self.assignment.scenarios[test.name].seconds or self.assignment.limits.seconds
        return self.session.ask(source, inputs, seconds, size + _bytes(inputs) + SLACK)

    def _judged(self, test: Test, answers: Sequence[Answer], cause: Any) -> TestResult:
        """Points and reasons."""
        scenario = self.assignment.scenarios[test.name]
        right = [self.judge.right(test, c, a) for c, a in enumerate(answers)]
        if sum(right) == scenario.cases:
            return self._timed(test) if scenario.speed and self.whole else passed(test, scenario.cases)
        case = right.index(False)
        judged = self._failure(test, case, answers[case])
        if answers[case].kind in ("arrays", "exception") and scenario.cases > 1:
            count = scenario.cases - sum(right)
            judged = more_said(judged, f"{count} of {scenario.cases} cases are not right",
                           f"{scenario.cases} 组数据中有 {count} 组不对")
        if cause is not None:
            judged = more_said(judged, f"Likely: {cause.en}", f"可能的原因：{cause.zh}")
            judged = replace(judged, cause=cause.key)
        if scenario.in_part and any(right):
            # Where speed counts too, only what is right in all cases is timed; the least share is taken.
            least = scenario.speed[-1][1] if scenario.speed else 1.0
            judged = replace(judged, kind="in_part",
                             score=round(test.points * least * sum(right) / scenario.cases, 4))
        return judged

    def _failure(self, test: Test, case: int, answer: Answer) -> TestResult:
        if answer.kind == "arrays":
            fault = self.judge.fault(test, case, answer.arrays)
            assert fault is not None
            return result(test, 0, fault.kind, fault.en, fault.zh)
        seconds = self.assignment.scenarios[test.name].seconds
        return of_answer(test, answer, self.assignment, self.found, seconds)

    def _timed(self, test: Test) -> TestResult:
        """A right answer where time counts."""
        scenario = self.assignment.scenarios[test.name]
        seconds = scenario.seconds or self.assignment.limits.seconds
        size = _bytes(self.judge.want(test.name, 0)) * 4 + SLACK  # inputs of other cases may be larger
        reference = Session(self.session.opener, self.judge.solution.encode(), 1)

        def alone(source: str, inputs: Mapping[str, np.ndarray]) -> Answer:
            with self.session.still():  # or a busy student could slow the reference
                return reference.ask(source, inputs, 2 * seconds, size + _bytes(inputs))

        try:
            timing = speed.measure(
                self.judge, test,
                lambda source, inputs: self.session.ask(source, inputs, seconds, size + _bytes(inputs)),
                alone, budget=4 * seconds)
        finally:
            reference.close()
        if not isinstance(timing, speed.Timing):
            self.session.hangs += timing.kind == "too_slow"
            if timing.kind == "arrays":
                return result(test, 0, "wrong", "right at first, but not when it was run again for its "
                               "time: other numbers gave a wrong result",
                               "第一次是对的，但计时的时候换了数据再运行，结果不对")
            return self._failure(test, 0, timing)
        kind = "passed" if timing.share == 1 else "in_part" if timing.share else "slow"
        return replace(result(test, test.points * timing.share, kind, *speed.words(scenario, timing)),
                       ratio=round(timing.ratio, 3))


def _bytes(arrays: Mapping[str, np.ndarray]) -> int:
    return sum(a.nbytes for a in arrays.values())
