"""Grading end to end: real workers, a real assignment."""

import dataclasses
import time

import pytest

from minillm.classroom import Limits, find_assignment
from minillm.classroom.grade import grade_submission
from tests.classroom import toys

ADAM = find_assignment("04_adam")
SOLUTION = ADAM.solution()
QUICK = dataclasses.replace(ADAM, limits=Limits(seconds=1.0))
SECRET = b"a course's secret"
IN_CODE = "    m = beta1 * m + (1 - beta1) * g\n"


def grade(text, assignment=ADAM):
    return grade_submission(assignment, "ann", {assignment.file: text.encode()}, SECRET)


def test_the_solution_has_all_points_and_the_layers_are_named():
    report = grade(SOLUTION.text)
    assert report.score == 100
    assert report.layers
    assert report.printed == ""
    assert grade(SOLUTION.text).without_times() == report.without_times()


def test_the_stub_has_none():
    report = grade(SOLUTION.student)
    assert report.score == 0
    assert {t.kind for t in report.tests} == {"not_written"}


@pytest.mark.parametrize("wrong", ADAM.misconceptions, ids=lambda m: m.key)
def test_every_misconception(wrong):
    report = grade(wrong.applied(SOLUTION.text))
    if wrong.equivalent:
        assert report.score == 100
    else:
        assert 0 <= report.score < 100
        assert wrong.key in {t.cause for t in report.tests}
        assert any(wrong.en in t.en and wrong.zh in t.zh for t in report.tests)


def test_an_exception_is_recognised_as_one_that_a_misconception_raises(tmp_path):
    toy = toys.toys(tmp_path)
    text = toy.solution().text.replace("return order", "return order[len(x)]")
    result = grade(text, toy).tests[3]
    assert (result.kind, result.cause, result.line) == ("exception", "loops", 15)
    assert "Likely: the index runs one too far." in result.en


def crashing(code):
    """The solution with a line at the beginning of adam_step."""
    assert SOLUTION.text.count(IN_CODE) == 1
    return SOLUTION.text.replace(IN_CODE, f"    {code}\n{IN_CODE}")


@pytest.mark.parametrize(("code", "kind"), [
    ("import os; os._exit(0)", "ended"), ("raise SystemExit(0)", "ended"),
    ("raise KeyError('a')", "exception"), ("import os; os.abort()", "crashed"),
    ("x = bytearray(1 << 40)", "memory"),
    ("while True: print('x' * 10_000)", "too_much_output"), ("raise NotImplementedError", "not_written"),
    ("return [1, 2, 3], m, v", "wrong"), ("return 'theta', m, v", "exception"),
    ("theta.dtype = object", "exception"),
])
def test_whatever_happens_is_one_of_the_kinds(code, kind):
    report = grade(crashing(code), QUICK)
    assert report.state == "graded"
    assert {t.kind for t in report.tests} <= {kind, "wrong", "exception"}
    assert report.tests[0].kind == kind
    assert report.score == 0


def test_a_hang_costs_two_limits_and_not_more():
    start = time.monotonic()
    report = grade(crashing("while True: pass"), QUICK)
    assert [t.kind for t in report.tests[:3]] == ["too_slow", "too_slow", "not_run"]
    assert "not finished after 1 s" in report.tests[0].en
    assert time.monotonic() - start < 15


def test_one_bad_test_does_not_touch_the_others():
    """It ends its worker where eps is given, which only one test does."""
    text = crashing("import os; eps != 1e-8 and os._exit(1)")
    kinds = {t.name: t.kind for t in grade(text).tests}
    assert kinds.pop("options") == "ended"
    assert set(kinds.values()) == {"passed"}


def test_arrays_that_lie_are_plain_arrays_when_they_are_compared():
    text = SOLUTION.text + '''

class Equal(np.ndarray):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __sub__(self, other): return np.zeros_like(other)
    def __array_ufunc__(self, *args, **options): return np.bool_(True)
    def __array_function__(self, *args): return np.bool_(True)

def adam_step(theta, *args, **options):
    lie = np.zeros(theta.shape).view(Equal)
    return lie, lie, lie
'''
    assert grade(text).score == 0


def test_prints_are_kept_and_cost_nothing():
    report = grade("print('hello 你好')\n" + SOLUTION.text)
    assert report.score == 100
    assert report.printed == "hello 你好\n"


def test_speed_in_the_sandbox(tmp_path):
    slow = '''import numpy as np
def centred(x): return x - x.mean()
def ranks(x):
    places = sorted(range(len(x)), key=lambda i: x[i])
    found = np.zeros(len(x), int)
    for rank, i in enumerate(places):
        found[i] = rank
    return found
'''
    checks = toys.CHECKS.replace('"ranks": Scenario(numbers, run_ranks, cases=2)',
                                 '"ranks": Scenario(lambda rng: {"x": rng.normal(size=60_000)}, run_ranks, '
                                 'cases=1, speed=((2.5, 1.0), (3.0, 0.5)))')
    toy = toys.toys(tmp_path, checks)
    right = grade(toy.solution().text, toy).tests[3]
    assert (right.kind, right.score) == ("passed", 30)
    assert 0 < right.ratio <= 2.5
    result = grade(slow, toy).tests[3]
    assert (result.kind, result.score) == ("slow", 0)
    assert result.ratio > 3
