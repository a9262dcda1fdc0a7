"""Gradescope's results.json."""

from __future__ import annotations

from typing import Any

from minillm.classroom.report import Report, TestResult

from .ran import ran


def gradescope_results(report: Report, lang: str = "en") -> dict[str, Any]:
    """What Gradescope's harness reads from results/results.json.

    Public tests are visible at once; hidden ones after the grades are published, so that nobody learns by
    handing in again and again what they ask.

    Source: Gradescope's autograder specification.
    """
    return {
        "score": report.score,
        "execution_time": round(report.seconds, 3),
        "output": "\n\n".join(_lines(report, lang)),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": [*(_test(test, number, lang) for number, test in enumerate(report.tests, 1)),
                  *_printed(report, lang)],
        "extra_data": {"assignment": report.assignment, "submission": report.submission,
                       "grader": report.grader, "layers": list(report.layers), "state": report.state},
    }


def _test(test: TestResult, number: int, lang: str) -> dict[str, Any]:
    return {
        "name": test.title_zh if lang == "zh" else test.title,
        "number": str(number),
        "score": round(test.score, 2),
        "max_score": test.points,
        "status": "passed" if test.passed else "failed",
        "output": test.zh if lang == "zh" else test.en,
        "output_format": "text",
        "tags": [tag for tag in (test.visibility, test.cause) if tag],
        "visibility": "visible" if test.visibility == "public" else "after_published",
        "extra_data": {"test": test.name, "kind": test.kind},
    }


def _lines(report: Report, lang: str) -> list[str]:
    """What stands above the tests."""
    zh = lang == "zh"
    public = [t for t in report.tests if t.visibility == "public"]
    # Of a graded submission the line about the whole counts hidden tests too: it waits with them.
    said = [] if report.state == "graded" else [report.zh if zh else report.en]
    said += [note[zh] for note in report.notes]
    if public:
        passed, hidden = sum(t.passed for t in public), len(report.tests) - len(public)
        said.append(f"公开测试 {passed}/{len(public)}；隐藏测试 {hidden} 项，成绩公布后可见。" if zh else
                    f"public checks: {passed} of {len(public)}; {hidden} hidden ones are shown when the "
                    "grades are published.")
    if ran(report):
        said.append(("评分时启用的防护：" if zh else "protections that were active: ")
                    + (("、" if zh else ", ").join(report.layers) or ("无" if zh else "none")))
    return said


def _printed(report: Report, lang: str) -> list[dict[str, Any]]:
    """What was printed, for the instructors alone: a submission can print hidden tests' inputs."""
    if not report.printed:
        return []
    return [{"name": "程序打印的内容" if lang == "zh" else "what the program printed",
             "output": report.printed, "output_format": "text", "visibility": "hidden"}]
