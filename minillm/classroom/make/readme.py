"""The student's README: the task, what counts for how much, how to try it; in English, Chinese or both."""

from __future__ import annotations

import sys

from minillm.classroom.assignment import Assignment, Test

from .texts import text


def readme(assignment: Assignment, lang: str) -> str:
    """The text of README.md.

    Args:
        assignment: the assignment.
        lang: "en", "zh" or "both", one after the other.
    """
    return "\n".join(_whole(assignment, one) for one in (("en", "zh") if lang == "both" else (lang,)))


def task(assignment: Assignment, lang: str) -> str:
    """Title and task, as Markdown."""
    if lang == "zh":
        return f"# {assignment.title_zh}\n\n{assignment.text_zh.strip()}\n"
    return f"# {assignment.title}\n\n{assignment.text.strip()}\n"


def under_test(assignment: Assignment) -> set[str]:
    """Functions that the student writes tests of, and not the function."""
    return {name for scenario in assignment.scenarios.values() for name in scenario.mutation}


def stub(assignment: Assignment, lang: str) -> str:
    """The student's file as it is handed out."""
    zh = lang == "zh"
    lines = assignment.solution("zh" if zh else "en").student
    for name in under_test(assignment):  # it shows how the function is called, and is not to be written
        asked = f"请写出 {name}" if zh else f"write {name} here"
        said = f"{name} 会传给你的测试" if zh else f"{name} is handed to your tests"
        lines = lines.replace(f'NotImplementedError("{asked}")', f'NotImplementedError("{said}")')
    return lines


def points_table(assignment: Assignment, lang: str) -> str:
    """What each test counts, and which ones are there to be run, as Markdown."""
    head = ("| 测试 | 内容 | 分数 | 公开或隐藏 |" if lang == "zh" else
            "| check | what it looks at | points | public or hidden |")
    rows = [head, "| --- | --- | ---: | --- |"]
    for test in assignment.tests:
        title = test.title_zh if lang == "zh" else test.title
        kind = ({"public": "公开", "hidden": "隐藏"}[test.visibility] if lang == "zh" else test.visibility)
        title += _extra(assignment, test, lang)
        rows.append(f"| {test.name} | {title} | {test.points:g} | {kind} |")
    return "\n".join(rows) + "\n"


def _extra(assignment: Assignment, test: Test, lang: str) -> str:
    """What else a test counts: time, or each case by itself."""
    scenario = assignment.scenarios[test.name]
    zh, said = lang == "zh", ""
    if scenario.speed:
        steps = [(f"{ratio:g}", f"{100 * share:g}%") for ratio, share in scenario.speed]
        said += "；速度：" if zh else "; speed: "
        said += ("，".join(f"用时不超过参考实现的 {r} 倍得 {s}" for r, s in steps) if zh else
                 ", ".join(f"{s} for at most {r} times the reference's time" for r, s in steps))
    if scenario.mutation:
        names = ", ".join(f"`{name}`" for name in scenario.mutation)
        said += (f"；按你的测试抓住了 {names} 的多少个错误版本计分" if zh else
                 f"; counts how many wrong versions of {names} your tests catch")
    if scenario.seconds:
        said += f"；每组数据 {scenario.seconds:g} 秒" if zh else f"; {scenario.seconds:g} s for each case"
    if scenario.in_part:
        said += f"；{scenario.cases} 组数据分别计分" if zh else f"; {scenario.cases} cases, each counts"
    return said


def packages(assignment: Assignment) -> str:
    """What pip installs for the public checks."""
    wanted = [m for m in assignment.imports if m not in sys.stdlib_module_names
              and m not in assignment.provide]
    return " ".join(dict.fromkeys(["numpy", "pytest", *wanted]))


def _provided(assignment: Assignment, lang: str) -> str:
    if not assignment.provide:
        return ""
    names = (", ", "、")[lang == "zh"].join(f"`{m}`" for m in assignment.provide)
    if lang == "zh":
        return f"\n{names} 随 minillm 一起安装：在 minillm 的源码目录里运行 `pip install -e .`。\n"
    return f"\n{names}: part of minillm; `pip install -e .` in its checkout.\n"


def _whole(a: Assignment, lang: str) -> str:
    """README.md in one language."""
    comma = "、" if lang == "zh" else ", "
    lesson = ""
    if a.lesson:
        lesson = f"对应课程 {a.lesson}。" if lang == "zh" else f" Lesson {a.lesson} leads up to it."
    return text(f"readme.{lang}.md").format(
        task=task(a, lang), minutes=a.minutes, lesson=lesson, file=a.file, stem=a.file.removesuffix(".py"),
        functions=comma.join(f"`{name}`" for name in a.solution(lang).functions
                               if name not in under_test(a)),
        graded=_GRADED["tests" if under_test(a) else "functions", lang], printed=100 * a.limits.output_kb,
        imports=comma.join(f"`{m}`" for m in dict.fromkeys((*a.imports, *a.provide))),
        points=points_table(a, lang), seconds=f"{a.limits.seconds:g}", memory=a.limits.memory_mb,
        packages=packages(a), provided=_provided(a, lang))


# What becomes of public and hidden checks: where functions are written, and where tests of a function are.
_GRADED = {
    ("functions", "en"): """\
Public checks you can run yourself. When your work is graded, the hidden checks run, and the public ones
run again on other numbers, which are drawn for you alone: code that knows the numbers in this folder earns
nothing.""",
    ("functions", "zh"): """\
公开测试可以自己运行。评分时会运行隐藏测试，公开测试也会换一组专门为你抽取的数再跑一遍：
只记住这个文件夹里的数，得不到分。""",
    ("tests", "en"): """\
Public checks you can run yourself. When your work is graded, each of your tests is shown right and wrong
versions, every one twice, in an order that nobody knows beforehand. A test that rejects a right version, or
that says two things of the same one, is left out and costs points; the others count. Which wrong versions
were missed is not said.""",
    ("tests", "zh"): """\
公开测试可以自己运行。评分时，你的每个测试都会遇到正确的和错误的版本，每个版本出现两次，次序事先谁也不知道。
拒绝正确版本的测试，或者对同一个版本前后说法不一的测试，不计入，还会扣分；其余的都算数。漏掉了哪些错误版本，不会告诉你。""",
}
