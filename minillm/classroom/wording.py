"""What a report says of each test, in English and in Chinese."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from minillm.course.result import more

from .assignment import Assignment, Test
from .evidence import Evidence
from .report import TestResult

if TYPE_CHECKING:
    from .sandbox import Answer

MESSAGE = 300  # characters of a student's exception that are repeated
NAME, NAMES = 60, 200  # characters of a name, and how many names, for which a like one is looked for
HANGS = 2  # tests that run out of time before the rest is given up

GIVEN_UP = (f"not run: {HANGS} tests before it ran out of time", f"未运行：前面已有 {HANGS} 项测试超时")


def of_answer(test: Test, answer: Answer, assignment: Assignment, found: Evidence,
              seconds: float | None = None) -> TestResult:
    """The result of a test whose case gave no arrays; `seconds`: the test's own limit, if it has one."""
    from .sandbox.launch import MOST_PRINTED

    file, limits = assignment.file, assignment.limits
    seconds = seconds or limits.seconds
    kind, line = answer.kind, answer.line
    said = " ".join(answer.message.encode("utf-8", "backslashreplace").decode().split())
    said = said if len(said) <= MESSAGE else said[:MESSAGE] + "..."
    en, zh = (f"line {line}: ", f"第 {line} 行：") if line is not None else ("", "")
    if kind == "exception":
        return _exception(test, answer.error, said, line)
    if kind == "syntax":
        return result(test, 0, kind, *syntax(file, line, said), line=line)
    if kind == "missing":
        near = _near(said, found.defined)
        but = (f"; it has {near[0]}: is that the one?", f"；有一个 {near[0]}，是它吗？") if near else (
            ", which this test calls", "，而本测试要用到它")
        return result(test, 0, kind, f"{file} has no {said}{but[0]}", f"{file} 中没有 {said}{but[1]}")
    words = {
        "not_written": (f"{en}not written yet: replace the `raise NotImplementedError`",
                        f"{zh}还没有写：把 `raise NotImplementedError` 换成你的代码"),
        "too_slow": (f"not finished after {seconds:g} s: is there a loop that never ends, or one over "
                     "elements where NumPy has one operation?",
                     f"{seconds:g} 秒内没有算完：有没有停不下来的循环，"
                     "或者可以用一个 NumPy 运算代替的逐元素循环？"),
        "memory": (f"{en}out of memory: {limits.memory_mb} MiB are allowed. Is an array larger than it "
                   "should be, or does a list grow without end?",
                   f"{zh}内存不足：最多可用 {limits.memory_mb} MiB。"
                   "是不是某个数组太大，或者列表一直在增长？"),
        "crashed": ("Python itself crashed while it ran your code", "运行你的代码时 Python 本身崩溃了"),
        "ended": (f"{en}your code ends the program (exit, sys.exit or os._exit); it should return its "
                  "result", f"{zh}你的代码结束了整个程序（exit、sys.exit 或 os._exit）；它应当返回结果"),
        "too_much_output": (f"your code printed more than {MOST_PRINTED * limits.output_kb} KiB and was "
                            "stopped: take the prints out",
                            f"打印超过 {MOST_PRINTED * limits.output_kb} KiB，程序已被终止：请把 print 去掉"),
    }
    return result(test, 0, kind if kind in words else "forged", *words.get(kind, (
        "what came back is not an answer to this test", "返回的内容不是本测试的答案")), line=line)


def _near(name: str, defined: Iterable[str]) -> list[str]:
    """The defined name that is most like it, or none; only so many are tried, as the search is slow."""
    if not name.isidentifier() or len(name) > NAME:
        return []
    names = itertools.islice((n for n in defined if len(n) <= NAME), NAMES)
    return difflib.get_close_matches(name, names, 1, 0.6)


def _exception(test: Test, error: str, said: str, line: int | None) -> TestResult:
    what = error + (f": {said}" if said else "")
    en, zh = (f"line {line}: {what}", f"第 {line} 行：{what}") if line is not None else (what, what)
    found = result(test, 0, "exception", en, zh, line=line, cause=error)
    if line is not None:
        return found
    # Raised in the test's own lines, which use what the functions return.
    if error == "TypeError" and "None" in said:
        return more_said(found, "A function returns None where the test needs its result: is a `return` "
                     "missing?", "测试需要返回值，而某个函数返回了 None：是不是漏了 `return`？")
    if error == "ValueError" and "unpack" in said:
        return more_said(found, "A function returns another number of results than the test takes",
                     "函数返回值的个数与测试所要的不同")
    return more_said(found, "It happened in the test's own lines: look at the arguments that the functions "
                 "take and at what they return",
                 "错误发生在测试自己的代码里：请看看函数接收的参数和返回的内容")


def syntax(file: str, line: int | None, said: str) -> tuple[str, str]:
    """What is said of a file that is not Python."""
    said = " ".join(said.encode("utf-8", "backslashreplace").decode().split())[:MESSAGE]
    if line is None:
        return f"{file} is not Python: {said}", f"{file} 不是合法的 Python：{said}"
    return f"{file}, line {line} is not Python: {said}", f"{file} 第 {line} 行不是合法的 Python：{said}"


def passed(test: Test, cases: int) -> TestResult:
    """A test that is right in all cases."""
    return result(test, test.points, "passed", f"right, in all {cases} cases" if cases > 1 else "right",
                   f"正确，{cases} 组数据全部通过" if cases > 1 else "正确")


def result(test: Test, score: float, kind: str, en: str, zh: str, *, line: int | None = None,
           cause: str = "") -> TestResult:
    """A record of a test."""
    return TestResult(test.name, test.title, test.title_zh, test.visibility, round(score, 4), test.points,
                      kind, en, zh, cause, line)


def more_said(of: TestResult, en: str, zh: str) -> TestResult:
    """The result with a line more."""
    en, zh = more(of.en, of.zh, en, zh)
    return replace(of, en=en, zh=zh)


def summary(tests: Sequence[TestResult]) -> tuple[str, str]:
    """A line about the whole."""
    score, points = round(sum(t.score for t in tests), 2), sum(t.points for t in tests)
    count = {v: (sum(t.passed for t in tests if t.visibility == v), sum(t.visibility == v for t in tests))
             for v in ("public", "hidden")}
    return (f"{score:g} of {points:g} points; passed {count['public'][0]} of {count['public'][1]} public and "
            f"{count['hidden'][0]} of {count['hidden'][1]} hidden tests",
            f"{score:g} 分，满分 {points:g} 分；公开测试通过 {count['public'][0]}/{count['public'][1]}，"
            f"隐藏测试通过 {count['hidden'][0]}/{count['hidden'][1]}")
