"""The numbers of a graded assignment: distribution, failure rates, misconceptions, time."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minillm.classroom.export.ran import ran
from minillm.classroom.report import Report, TestResult

BINS = 10
# Behind an exception: in how many cases of one student's test it came.
_CASES = re.compile(r"\n(\d+ of \d+ cases are not right\.|\d+ 组数据中有 \d+ 组不对。)")


@dataclass(frozen=True)
class TestSummary:
    """One test over all graded submissions.

    Attributes:
        test: the assignment's test.
        failed: how many did not get all its points.
        mean: points earned on average.
        kinds: how it failed -> how often.
    """

    __test__ = False  # pytest

    test: Any
    failed: int
    mean: float
    kinds: Mapping[str, int]


@dataclass(frozen=True)
class Mistake:
    """Something that several students got wrong alike.

    Attributes:
        key: of the misconception or of the generic cause.
        en, zh: what the students were told.
        students: who, in order.
        tests: names of the tests that showed it.
    """

    key: str
    en: str
    zh: str
    students: tuple[str, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """What the teacher's page says of a graded assignment.

    Attributes:
        graded, not_graded: reports, in order of the students' ids.
        missing: ids of students on the roster without a submission.
        waiting: ids of students whose files were handed in and are not graded yet, sorted.
        older: those of them whose marks are of an older file.
        scores: of the graded ones.
        bins: how many scores lie in [0, 10), [10, 20), ..., [90, 100] percent.
        tests, mistakes: see there; mistakes with the most students first.
        seconds: wall clock of all gradings, added up; slowest: the longest one.
        ran: how many of the graded submissions had something to run.
        layers: protections -> how many submissions they were active for.
    """

    graded: tuple[Report, ...]
    not_graded: tuple[Report, ...]
    missing: tuple[str, ...]
    waiting: tuple[str, ...]
    older: tuple[str, ...]
    scores: tuple[float, ...]
    bins: tuple[int, ...]
    tests: tuple[TestSummary, ...]
    mistakes: tuple[Mistake, ...]
    seconds: float
    slowest: Report | None
    ran: int
    layers: Mapping[str, int]

    @property
    def mean(self) -> float | None:
        """Of the graded scores, or None."""
        return statistics.fmean(self.scores) if self.scores else None

    @property
    def median(self) -> float | None:
        """Of the graded scores, or None."""
        return statistics.median(self.scores) if self.scores else None


def summarise(assignment: Any, reports: Sequence[Report], roster: Sequence[str] = (),
              waiting: Collection[str] = ()) -> Summary:
    """Count.

    Args:
        assignment: an Assignment.
        reports: one a student.
        roster: ids of all students.
        waiting: ids of students whose files were handed in and are not graded yet.
    """
    reports = sorted(reports, key=lambda r: r.student)
    graded = tuple(r for r in reports if r.state == "graded")
    scores = tuple(r.score for r in graded)
    points = sum(t.points for t in assignment.tests)
    bins = [0] * BINS
    for score in scores:
        bins[min(int(BINS * score / points), BINS - 1) if points else 0] += 1
    have = {r.student for r in reports}
    return Summary(
        graded, tuple(r for r in reports if r.state != "graded"),
        tuple(s for s in roster if s not in have and s not in waiting), tuple(sorted(waiting)),
        tuple(sorted(have & set(waiting))), scores, tuple(bins),
        tuple(_of_test(test, graded) for test in assignment.tests), _mistakes(assignment, graded),
        sum(r.seconds for r in reports), max(reports, key=lambda r: r.seconds, default=None),
        sum(map(ran, graded)), Counter(layer for r in graded for layer in r.layers))


def _of_test(test: Any, graded: Sequence[Report]) -> TestSummary:
    found = [t for r in graded for t in r.tests if t.name == test.name]
    return TestSummary(test, sum(not t.passed for t in found),
                       statistics.fmean(t.score for t in found) if found else 0.0,
                       Counter(t.kind for t in found if not t.passed))


def _mistakes(assignment: Any, graded: Sequence[Report]) -> tuple[Mistake, ...]:
    """Causes, and kinds of failure that have none, over students."""
    known = {m.key: m for m in assignment.misconceptions}
    who: dict[str, dict[str, None]] = {}
    where: dict[str, dict[str, None]] = {}
    example: dict[str, TestResult] = {}
    for report in graded:
        for test in report.tests:
            if test.cause:
                who.setdefault(test.cause, {})[report.student] = None
                where.setdefault(test.cause, {})[test.name] = None
                example.setdefault(test.cause, test)
    mistakes = [Mistake(key, known[key].en if key in known else _cause(example[key].en, "Likely: "),
                        known[key].zh if key in known else _cause(example[key].zh, "可能的原因："),
                        tuple(who[key]), tuple(where[key])) for key in who]
    return tuple(sorted(mistakes, key=lambda m: (-len(m.students), m.key)))


def _cause(text: str, before: str) -> str:
    """The part of a message that names the cause; the rest is about one student's numbers."""
    said = text.rpartition(before)[2] if before in text else text
    return re.sub(_CASES, "", said)
