"""Reports and students to show in pages and files, with everything in them that a page must not run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from minillm.classroom import Misconception, Report, Test, TestResult

_TESTS = [("first_step", "The first step", "第一步", 20, "public"),
          ("any_step", "Any step, any shape", "任意一步、任意形状", 30, "public"),
          ("options", "Other betas & eps", "其他的 beta 和 eps", 20, "hidden"),
          ("descends", "Down a bowl", "沿碗形函数下降", 20, "hidden"),
          ("inputs_kept", "The arguments stay", "参数保持原样", 10, "hidden")]
ADAM = SimpleNamespace(
    id="04_adam", title="Adam", title_zh="Adam 优化器", tests=tuple(Test(*t) for t in _TESTS),
    misconceptions=(Misconception("uncorrected", {"a": "b"}, "both bias corrections are missing.",
                                  "两个偏差修正都漏了。"),))
EVIL = "<script>alert(1)</script>=HYPERLINK(\"http://x\") ```\n| a | [b](javascript:c) ![d](http://e)"


@dataclass(frozen=True)
class Student:
    id: str
    name: str
    email: str = ""
    columns: dict = field(default_factory=dict)


def report(student: str, wrong: dict[str, tuple[str, str]] | None = None, **changes) -> Report:
    """A report in which the tests of `wrong` (name -> kind, cause) failed."""
    wrong = wrong or {}
    tests = []
    for test in ADAM.tests:
        kind, cause = wrong.get(test.name, ("passed", ""))
        score = test.points if kind == "passed" else 0.0
        tests.append(TestResult(test.name, test.title, test.title_zh, test.visibility, score, test.points,
                                kind, "right" if kind == "passed" else f"said of {test.name}",
                                "正确" if kind == "passed" else f"关于 {test.name} 的说明",
                                cause, None, 0.25))
    whole = Report(student, ADAM.id, "ab" * 32, "cd" * 32, "graded", "graded", "已评分", tuple(tests),
                   ("rlimits", "landlock"), seconds=1.5)
    return replace(whole, **changes)


REPORTS = [
    report("ann"),
    report("bo", {"any_step": ("wrong", "uncorrected"), "options": ("wrong", "uncorrected")}),
    report("chen", {"any_step": ("wrong", "uncorrected"), "descends": ("too_slow", "")},
           notes=(("imports torch", "导入了 torch"),)),
    report(EVIL, {t.name: ("exception", "") for t in ADAM.tests}, printed=EVIL + "\x00\ud800", en=EVIL,
           zh=EVIL),
    report("dee", state="no_file", en="no adam.py", zh="没有 adam.py", tests=()),
]
STUDENTS = [Student("ann", "Ann A", "ann@x.org", {"ID": "17", "Student": "A, Ann", "Section": "S1"}),
            Student("bo", "Bo", "bo@x.org", {"ID": "18"}), Student("chen", "陈", "", {"ID": "19"}),
            Student("dee", "Dee", "", {"ID": "20"}), Student("eve", "=cmd|x", "eve@x.org", {"ID": "21"})]
