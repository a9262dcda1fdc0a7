"""Mutation: the student hands in *tests*, which are graded by the wrong versions that they catch.

How a student's test looks. A test is a function at the top of the file whose name begins with `test_`; the
function under test comes in as an argument of its own name:

    def test_first_step_has_the_length_of_alpha(adam_step):
        theta, m, v = adam_step(np.zeros(3), np.ones(3), np.zeros(3), np.zeros(3), 1, alpha=0.1)
        assert np.allclose(np.abs(theta), 0.1)

It fails by an exception (an `assert`, `np.testing`, or what the function itself raises) and passes by
returning. It must always say the same of one version: random numbers need a seed.

How it is graded. Versions are the reference, the `equivalent` misconceptions (right, though written another
way) and all other misconceptions (wrong), or those of them that the scenario names. They are called in
another worker, which holds all of them and is shared by all showings; only their own code runs there, and the
tests see what a version returns and nothing else of it. Every version is shown twice, in an order that only
the course's secret knows, and each time to a fresh worker with the tests: so a test can neither remember what
it saw before nor guess which version comes, and forging a verdict is tossing a coin, which shows. A test is
void if it rejects a right version, if it ends its worker, or if it says two things of one version. Points go
by the share of wrong versions that a valid test rejects. Which ones were missed is not said.

Guessing. A test that rejects by a coin of its own, such as a bit of a hash of what the function returns, is
valid with probability 1/2 and then rejects half of all other versions: enough of them catch everything, and
know nothing. So false alarms cost: with v valid tests and r void ones that were written and reject what is
right, the points are multiplied by (v / (v + r))^2, which leaves guessing about a quarter.

What a test sends to a version passes through the grader as it came: the grader says which function is called,
and never takes the arguments apart, because a student's process may send anything.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .assignment import Test, seed
from .judge import Judge
from .report import TestResult
from .wording import more_said, of_answer, result

if TYPE_CHECKING:
    from .evidence import Evidence
    from .sandbox import Answer, Worker

RUNS = 2  # how often every version is shown
MOST_TESTS = 50  # that count
BUDGET = 30.0  # wall clock of all showings together, in units of a test's limit
CALLS = 4.0  # wall clock of all calls of a showing, in the same units
DEAD = ("too_slow", "memory", "crashed", "ended", "forged", "too_much_output", "not_run")

Seen = Sequence[Sequence[Mapping[str, "Answer"]]]  # version, showing, test
# open(text, functions under test) -> worker
Opener = Callable[..., Any]


@dataclass(frozen=True)
class Version:
    """A version of the functions under test; `key` is "" for the reference."""

    key: str
    text: str
    right: bool


@dataclass
class Verdicts:
    """What a student's tests say.

    Attributes:
        tests: names of the tests that ran.
        void: test -> why it does not count, (English, Chinese).
        alarms: of the void ones, those that were written, ended, and are wrong about a right version.
        caught, missed: keys of wrong versions.
        whole: why nothing could be run at all, or None.
        unfinished: the time was up before all versions were shown.
    """

    tests: tuple[str, ...] = ()
    void: dict[str, tuple[str, str]] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()
    caught: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    whole: Answer | None = None
    unfinished: bool = False


def grade_tests(test: Test, judge: Judge, text: bytes, opener: Opener, found: Evidence,
                printed: Callable[[Worker], None]) -> TestResult:
    """Grade a file of tests.

    Args:
        test: of the assignment, whose scenario has `mutation`.
        judge: has the assignment, the student and the secret.
        text: what was handed in.
        opener: makes workers.
        found: what is known of the file.
        printed: is called with each worker that ran tests, when it has ended.
    """
    assignment = judge.assignment
    scenario = assignment.scenarios[test.name]
    names = ", ".join(scenario.mutation)
    usable = [name for name, arguments in found.tests if {*arguments} & {*scenario.mutation}]
    if not usable:
        return result(test, 0, "missing", f"{assignment.file} has no test: a function test_...({names})",
                      f"{assignment.file} 中没有测试：需要形如 test_...({names}) 的函数")
    verdicts = run(test, judge, text, opener, printed)
    if verdicts.whole is not None:
        return of_answer(test, verdicts.whole, assignment, found, scenario.seconds)
    return _said(test, verdicts)


def run(test: Test, judge: Judge, text: bytes, opener: Opener,
        printed: Callable[[Worker], None] | None = None) -> Verdicts:
    """Show every version to the tests of a file."""
    versions = _versions(judge, test)
    order = [i for i in range(len(versions)) for _ in range(RUNS)]
    rng = seed(judge.secret, judge.assignment.id, judge.student, test.name, 0)
    rng.shuffle(order)
    seconds = judge.assignment.scenarios[test.name].seconds or judge.assignment.limits.seconds
    seen: list[list[dict[str, Answer]]] = [[] for _ in versions]
    workers = _Workers(judge, test, opener, seconds)
    end = time.monotonic() + BUDGET * seconds
    unfinished = False
    try:
        for i in order:
            answers = workers.show(versions[i], text, printed, end) if time.monotonic() < end else {}
            if time.monotonic() >= end:  # what was cut short says nothing of the version
                unfinished = True
                break
            if "" in answers:
                return Verdicts(whole=answers[""])
            if answers and all(a.kind == "not_written" for a in answers.values()):
                return Verdicts(whole=next(iter(answers.values())))
            seen[i].append(answers)
            if len(_void_tests(judge, versions, seen)) == len(answers):
                break  # nothing is left that could catch anything
    finally:
        workers.close()
    return _verdicts(judge, versions, seen, unfinished)


def survivors(judge: Judge, test: Test, opener: Opener) -> list[str]:
    """For an assignment's author: what is wrong with the solution's own tests, by name; see `verify`."""
    verdicts = run(test, judge, judge.solution.encode(), opener)
    if verdicts.whole is not None:
        return [f"cannot be run: {verdicts.whole.kind} {verdicts.whole.message}"]
    return [*(f"are not all valid: {name} {why}" for name, (why, _) in verdicts.void.items()),
            *(f"do not catch {key}" for key in verdicts.missed)]


def _versions(judge: Judge, test: Test) -> list[Version]:
    chosen = judge.assignment.scenarios[test.name].versions
    return [Version("", judge.solution, True),
            *(Version(m.key, m.applied(judge.solution), m.equivalent)
              for m in judge.assignment.misconceptions if not chosen or m.key in chosen)]


# A file that holds all versions; `_use` says which one is meant. The tests' worker never sees it.
_ALL = """
_texts, _made, _now = {texts!r}, {{}}, ""

def _use(key):
    global _now
    _now = key

def __getattr__(name):
    if _now not in _made:
        _made[_now] = {{"__name__": __name__}}
        exec(_texts[_now], _made[_now])
    if name not in _made[_now]:
        raise AttributeError(name)
    return _made[_now][name]
"""
_USE = "def run(student, inputs):\n    student._use(inputs['key'].tobytes().decode())\n    return {}\n"


class _Workers:
    """A worker that holds the versions, and one that holds the tests at each showing."""

    def __init__(self, judge: Judge, test: Test, opener: Opener, seconds: float) -> None:
        self.functions = judge.assignment.scenarios[test.name].mutation
        self.opener, self.seconds = opener, seconds
        self.text = _ALL.format(texts={v.key: v.text for v in _versions(judge, test)}).encode()
        self.worker: Worker | None = None
        self.key: str | None = None  # of the version that it uses now

    def show(self, version: Version, text: bytes, printed: Callable[[Worker], None] | None,
             end: float = math.inf) -> dict[str, Answer]:
        """What each test says of a version; {"": why} if the file cannot be run.

        Args:
            end: time.monotonic() at which all is over, whatever the tests have said by then.
        """
        from .sandbox import Answer

        self._of(version)  # a worker that starts is not charged to the tests, unless they have ended it
        tests = self.opener(text, self.functions)
        left = CALLS * self.seconds  # for all calls together: tests choose how large their arrays are

        def call(name: str, arrays: Mapping[str, np.ndarray]) -> Answer:
            nonlocal left
            start = time.monotonic()
            seconds = min(self.seconds, left, end - start)
            if seconds <= 0:
                return Answer("exception", {}, "TimeoutError", "the calls of the tests take too long")
            try:
                return self._call(version, name, arrays, seconds)
            finally:
                left -= time.monotonic() - start

        with tests:
            answers = tests.run_tests(self.functions, call, seconds=self.seconds, end=end)
        if printed is not None:
            printed(tests)
        return dict(list(answers.items())[:MOST_TESTS])

    def _call(self, version: Version, name: str, arrays: Mapping[str, np.ndarray], seconds: float) -> Answer:
        """What a version makes of a call; the arrays are looked at in its worker, not here."""
        from .sandbox import Answer, calls_to, codec, frames

        spec = arrays.get(codec.SPEC)
        fits = spec is not None and spec.nbytes <= codec.SPEC_BYTES and len(arrays) < frames.MOST_ARRAYS
        if name not in self.functions or not fits:
            return Answer("exception", {}, "ValueError", "this is not a call")
        return calls_to(self._of(version), seconds=seconds)(name, arrays)

    def _of(self, version: Version) -> Worker:
        """The worker, using a version."""
        if self.worker is None or not self.worker.alive:
            self.close()
            self.worker = self.opener(self.text)
            self.worker.__enter__()
        if self.key != version.key:
            key = np.frombuffer(version.key.encode(), np.uint8)
            self.worker.ask(_USE, {"key": key}, seconds=self.seconds, reply_bytes=1 << 10)
            self.key = version.key
        return self.worker

    def close(self) -> None:
        """End the worker that holds the versions."""
        if self.worker is not None:
            worker, self.worker, self.key = self.worker, None, None
            worker.__exit__(None, None, None)


def _verdicts(judge: Judge, versions: Sequence[Version], seen: Seen, unfinished: bool) -> Verdicts:
    names = tuple(dict.fromkeys(name for runs in seen for answers in runs for name in answers))
    void = _void_tests(judge, versions, seen)
    caught: list[str] = []
    missed: list[str] = []
    for version, runs in zip(versions, seen, strict=True):
        if not version.right:
            valid = names if len(runs) == RUNS else ()
            found = any(name not in void and runs[0][name].kind != "passed" for name in valid)
            (caught if found else missed).append(version.key)
    alarms = _alarms(versions, seen, void)
    return Verdicts(names, void, alarms, tuple(caught), tuple(missed), None, unfinished)


def _alarms(versions: Sequence[Version], seen: Seen, void: Mapping[str, object]) -> tuple[str, ...]:
    """The void tests that were written, ended at every showing, and are wrong about a right version."""
    found = []
    for name in void:
        kinds = [answers[name].kind for runs in seen for answers in runs if name in answers]
        right = [answers[name].kind for version, runs in zip(versions, seen, strict=True) if version.right
                 for answers in runs if name in answers]
        if not {*kinds} & {*DEAD} and {*kinds} != {"not_written"} and {*right} != {"passed"}:
            found.append(name)
    return tuple(found)


def _void_tests(judge: Judge, versions: Sequence[Version], seen: Seen) -> dict[str, tuple[str, str]]:
    """Tests that do not count, and why."""
    names = dict.fromkeys(name for runs in seen for answers in runs for name in answers)
    texts = {m.key: (m.en, m.zh) for m in judge.assignment.misconceptions}
    void: dict[str, tuple[str, str]] = {}
    for version, runs in zip(versions, seen, strict=True):
        for name in names:
            answers = [answers[name] for answers in runs if name in answers]
            why = _void(answers, len(runs), version, texts.get(version.key, ("", "")))
            if why is not None:
                void.setdefault(name, why)
    return void


def _void(answers: Sequence[Answer], runs: int, version: Version,
          legal: tuple[str, str]) -> tuple[str, str] | None:
    """Why a test does not count, if one version shows it."""
    dead = next((a for a in answers if a.kind in DEAD), None)
    if dead is not None:
        return _ENDS[dead.kind]
    if len(answers) < runs or len({a.kind == "passed" for a in answers}) > 1:
        return ("passes and fails with one and the same version: give its random numbers a seed",
                "对同一个版本时而通过、时而失败：请给随机数设定种子")
    if not version.right or not answers or answers[0].kind == "passed":
        return None
    if version.key and any(legal):
        return (f"rejects a version that is right: {legal[0]}", f"拒绝了一个正确的版本：{legal[1]}")
    if version.key:
        return ("rejects a version that is right, though written another way",
                "拒绝了一个正确的版本（只是写法不同）")
    line = answers[0].line
    where = ("", "") if line is None else (f" (line {line})", f"（第 {line} 行）")
    if answers[0].kind == "not_written":
        return (f"is not written yet{where[0]}", f"还没有写{where[1]}")
    return (f"fails with the right function{where[0]}", f"对正确的函数也失败{where[1]}")


_ENDS = {
    "too_slow": ("does not end in time", "没有在规定时间内结束"),
    "memory": ("runs out of memory", "内存不足"),
    "ended": ("ends the program", "结束了整个程序"),
    "crashed": ("crashes Python", "使 Python 崩溃"),
    "too_much_output": ("prints too much", "打印太多"),
    "forged": ("sends what is no answer, or arrays that are too large", "发来的不是结果，或者数组太大"),
    "not_run": ("is not run, because tests before it end the program or take too long",
                "没有运行，因为前面的测试结束了程序，或用时太长"),
}


def _said(test: Test, verdicts: Verdicts) -> TestResult:
    """Points and reasons."""
    caught, wrong = len(verdicts.caught), len(verdicts.caught) + len(verdicts.missed)
    valid = len(verdicts.tests) - len(verdicts.void)
    kind = "passed" if not verdicts.missed and not verdicts.alarms else "in_part" if caught else "wrong"
    en = f"{caught} of {wrong} wrong versions are caught by {valid} valid test{'s' * (valid != 1)}"
    zh = f"{wrong} 个错误版本中抓住了 {caught} 个（有效测试 {valid} 个）"
    alarms = len(verdicts.alarms)
    worth = (valid / (valid + alarms)) ** 2 if valid else 0.0
    if verdicts.missed and not verdicts.unfinished:
        are = "is" if wrong - caught == 1 else "are"
        en += f"; {wrong - caught} {are} missed: what do your tests not try yet?"
        zh += f"；漏掉了 {wrong - caught} 个：还有什么情况没有测到？"
    said = result(test, round(test.points * worth * caught / wrong, 4), kind, en, zh)
    if alarms and caught:
        part, share = f"{valid}/{valid + alarms}", f"{100 * worth:.0f}%"
        said = more_said(said, f"False alarms cost: of {valid + alarms} tests {alarms} cannot be relied on, "
                         f"so the points are multiplied by ({part})^2 = {share}",
                         f"误报要扣分：{valid + alarms} 个测试中有 {alarms} 个靠不住，"
                         f"得分乘以 ({part})² = {share}")
    if verdicts.unfinished:
        said = more_said(said, "The time was up before all versions were shown: make the tests quicker",
                         "还没试完所有版本时间就到了：请让测试快一些")
    for name, (why_en, why_zh) in list(verdicts.void.items())[:6]:
        name = name if len(name) <= 60 else name[:57] + "..."
        said = more_said(said, f"{name} does not count: it {why_en}", f"{name} 不计入：它{why_zh}")
    if len(verdicts.void) > 6:
        said = more_said(said, f"{len(verdicts.void) - 6} more tests do not count",
                         f"另有 {len(verdicts.void) - 6} 个测试不计入")
    return said
