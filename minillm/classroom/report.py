"""What grading a submission gives: plain records, written to the journal as JSON and read by every report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# What can become of one test.
KINDS = ("passed", "in_part", "wrong", "exception", "not_written", "too_slow", "memory", "crashed", "ended",
         "forged", "too_much_output", "missing", "syntax", "not_run", "slow")
# What can become of a submission: "graded", or why it could not be.
STATES = ("graded", "no_file", "unreadable", "refused")

# What could move a terminal's cursor or turn text around, and halves of characters, which no file can hold.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_HALF = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Text that anybody may read and any file hold, whatever a student's code has put into it."""
    return _HALF.sub("\N{REPLACEMENT CHARACTER}", _CONTROL.sub("", text))


@dataclass(frozen=True)
class TestResult:
    """One test of one submission; its texts are cleaned, see `clean`.

    Attributes:
        name, title, title_zh: the test's.
        visibility: "public" or "hidden".
        score, points: what was earned, of what could be.
        kind: one of KINDS.
        en, zh: the reason, never test source, expected hidden numbers or the solution.
        cause: key of the misconception that gives just these numbers, of a generic cause, or "".
        line: the student's line at fault, or None.
        seconds: wall clock.
        ratio: student's time over the reference's, where speed counts.
    """

    __test__ = False  # pytest

    name: str
    title: str
    title_zh: str
    visibility: str
    score: float
    points: float
    kind: str
    en: str
    zh: str
    cause: str = ""
    line: int | None = None
    seconds: float = 0.0
    ratio: float | None = None

    def __post_init__(self) -> None:
        for name in ("en", "zh", "cause"):
            object.__setattr__(self, name, clean(getattr(self, name)))

    @property
    def passed(self) -> bool:
        """Whether all its points were earned."""
        return self.kind == "passed"


@dataclass(frozen=True)
class Report:
    """One graded submission; its texts are cleaned, see `clean`.

    Attributes:
        student: the student's id.
        assignment: the assignment's id.
        submission: SHA-256 of what was handed in, in hex.
        grader: hash of the assignment and of the grader's code (see `Assignment.fingerprint`).
        state: one of STATES; in all but "graded" every test has score 0 and `en`, `zh` say why.
        en, zh: one line about the whole.
        tests: in the assignment's order.
        layers: names of the protections that were active.
        notes: findings that cost nothing, such as a banned import: (English, Chinese).
        printed: the beginning of what the student's code printed.
        seconds: wall clock of the whole.
    """

    student: str
    assignment: str
    submission: str
    grader: str
    state: str
    en: str
    zh: str
    tests: tuple[TestResult, ...] = ()
    layers: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    printed: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("en", "zh", "printed"):
            object.__setattr__(self, name, clean(getattr(self, name)))
        object.__setattr__(self, "notes", tuple((clean(en), clean(zh)) for en, zh in self.notes))

    @property
    def score(self) -> float:
        """Points earned, rounded to hundredths."""
        return round(sum(t.score for t in self.tests), 2)

    @property
    def points(self) -> float:
        """Points that could be earned."""
        return sum(t.points for t in self.tests)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Report:
        """What `to_json` wrote."""
        given = dict(data)
        given["tests"] = tuple(TestResult(**t) for t in given.get("tests", ()))
        given["layers"] = tuple(given.get("layers", ()))
        given["notes"] = tuple((en, zh) for en, zh in given.get("notes", ()))
        return cls(**given)

    def without_times(self) -> dict[str, Any]:
        """`to_json` without what differs from run to run: two runs of the grader agree on this."""
        data = self.to_json()
        data.pop("seconds")
        for test in data["tests"]:
            del test["seconds"], test["ratio"]
        return data
