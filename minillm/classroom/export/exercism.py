"""Exercism's results.json, version 3."""

from __future__ import annotations

from typing import Any

from minillm.classroom.report import Report, TestResult

MESSAGE = 65_535  # characters that Exercism keeps of a message
OUTPUT = 500  # and of a test's output

# Where no test could say anything of the code.
_BROKEN = ("syntax", "missing")


def exercism_results(report: Report, lang: str = "en") -> dict[str, Any]:
    """What an Exercism test runner writes: status "pass", "fail", or "error" where no test could run.

    Source: Exercism's test runner interface, version 3. A test's `test_code` says what the test is about; its
    source stays with the grader.
    """
    zh = lang == "zh"
    if report.state != "graded" or (report.tests and all(t.kind in _BROKEN for t in report.tests)):
        first = report.tests[0] if report.state == "graded" else report
        return {"version": 3, "status": "error", "message": (first.zh if zh else first.en)[:MESSAGE],
                "tests": []}
    passed = bool(report.tests) and all(t.passed for t in report.tests)
    return {"version": 3, "status": "pass" if passed else "fail", "message": None,
            "tests": [_test(t, n, zh) for n, t in enumerate(report.tests, 1)]}


def _test(test: TestResult, number: int, zh: bool) -> dict[str, Any]:
    status = "pass" if test.passed else "fail" if test.kind in ("wrong", "in_part", "slow") else "error"
    title = test.title_zh if zh else test.title
    return {"name": title, "test_code": f"# {title}", "status": status, "task_id": number,
            "message": None if test.passed else (test.zh if zh else test.en)[:MESSAGE],
            "output": None}
