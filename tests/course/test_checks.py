"""What a tutor says: each kind of mistake is told apart, in both languages."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from minillm.autograd import Tensor
from minillm.course import Exercise, check
from minillm.course.causes import likely_cause
from minillm.course.compare import difference
from minillm.course.exercise import load_exercises

CHINESE = re.compile(r"[\u4e00-\u9fff]")
HINTS = [("Look again.", "再看一看。")]


def exercise(reference, cases=None, **options) -> Exercise:
    def some(rng):
        yield (np.array([1.0, 2.0, 4.0]),)
        yield (rng.normal(size=(3, 4)),)
        yield (rng.normal(size=(5, 5)),)

    return Exercise("f", cases or some, reference, HINTS, **options)


MEAN = exercise(lambda x: np.mean(x * x))
SLOPE = exercise(lambda x: 2 * x / x.size)


def endless(x):
    return endless(x)


def mutating(x):
    x *= x
    return np.mean(x)


def stub(x):
    raise NotImplementedError("write it")


def other_stub(x):
    return stub(x)


def leave(x):
    raise SystemExit(0)


@pytest.mark.parametrize(("task", "function", "kind", "cause", "words"), [
    (MEAN, lambda x: np.mean(x * x), "passed", "", "all 3 cases"),
    (MEAN, lambda x: Tensor(np.mean(x * x)), "passed", "", "right"),
    (MEAN, lambda x: np.sum(x * x), "value", "mean", "divide by 3"),
    (MEAN, lambda x: -np.mean(x * x), "value", "sign", "is -7; it should be 7"),
    (MEAN, lambda x: np.mean(x * x) / x.size, "value", "mean_twice", "once too often"),
    (MEAN, lambda x: x * x, "shape", "not_reduced", "shape (3,); it should have shape ()"),
    (MEAN, lambda x: np.exp(np.mean(x * x)), "value", "exp", "logarithm is missing"),
    (MEAN, lambda x: np.log2(np.exp(np.mean(x * x))), "value", "log_base", "base 2"),
    (MEAN, lambda x: np.sqrt(np.mean(x * x)), "value", "root", "square root"),
    (MEAN, lambda x: 3 * np.mean(x * x) if x.ndim == 2 else np.mean(x * x), "value", "factor", "3 times"),
    (MEAN, lambda x: None, "nothing", "", "return"),
    (MEAN, lambda x: "7", "type", "", "it should be float64"),
    (MEAN, lambda x: (1, 2), "type", "", "tuple[2]"),
    (MEAN, mutating, "changed_input", "", "argument x was changed"),
    (MEAN, endless, "exception", "recursion", "without end"),
    (MEAN, stub, "not_written", "", "Replace the `raise NotImplementedError` line (line"),
    (MEAN, other_stub, "needs_other", "", "stub, which is not written"),
    (MEAN, leave, "ended", "", "sys.exit"),
    (MEAN, lambda x: x @ np.ones(7), "exception", "ValueError", "matmul"),
    (MEAN, lambda: 1, "exception", "TypeError", "positional"),
    (MEAN, lambda x: np.log(-np.mean(x * x)), "nan", "", "invalid value encountered in log"),
    (MEAN, lambda x: np.mean(x * x) / 0, "inf", "", "is inf; it should be 7"),
    (SLOPE, lambda x: 2 * x / x.size, "passed", "", "right"),
    (SLOPE, lambda x: 2 * x, "value", "mean", "number of elements"),
    (SLOPE, lambda x: -2 * x / x.size, "value", "sign", "sign"),
    (SLOPE, lambda x: x / x.size, "value", "factor", "0.5 times"),
    (SLOPE, lambda x: 2 * x / x.size + 1, "value", "offset", "same amount (1)"),
    (SLOPE, lambda x: 0 * x, "value", "zeros", "all zeros"),
    (SLOPE, lambda x: (2 * x / x.size).T, "shape", "transposed", "transpose"),
    (SLOPE, lambda x: (2 * x / x.size)[..., None], "shape", "reshaped", "keepdims"),
    (SLOPE, lambda x: 2 * x[::-1] / x.size, "value", "reversed", "reverse order along axis 0"),
    (SLOPE, lambda x: np.roll(2 * x / x.size, 1, 0), "value", "shifted", "too late along axis 0"),
    (SLOPE, lambda x: np.roll(2 * x / x.size, -1, 0), "value", "shifted", "too early along axis 0"),
    (SLOPE, lambda x: x, "value", "unchanged", "argument 1"),
    (SLOPE, lambda x: (2 * x / x.size).astype(np.float32), "dtype", "", "float32; it should have float64"),
    (SLOPE, lambda x: x ** 3, "value", "", "3 of 3 are wrong; the largest error is 61.3333, at [2]"),
])
def test_what_is_said(task, function, kind, cause, words):
    rtol = Exercise("f", task.cases, task.reference, HINTS, rtol=1e-5, atol=1e-7)
    result = check(rtol, function)
    assert (result.kind, result.cause) == (kind, cause), result
    assert words in result.en
    assert result.passed == (kind == "passed")
    assert CHINESE.search(result.zh)
    assert not CHINESE.search(result.en)


def test_a_stub_is_not_written_yet():
    def f(x):
        raise NotImplementedError("write f here")

    result = check(MEAN, f)
    assert result.kind == "not_written"
    assert result.line == f.__code__.co_firstlineno + 1
    assert check(MEAN, other_stub).kind == "needs_other"


def test_the_first_wrong_index_and_both_values():
    def f(x):
        y = 2 * x / x.size
        if x.ndim == 2:
            y[1, 2] += 0.5
        return y

    case = SLOPE.arguments()[1][0]
    en = check(SLOPE, f).en
    want = 2 * case[1, 2] / 12
    assert f"the result[1, 2] is {want + 0.5:.6g}; it should be {want:.6g}" in en
    assert "1 of 12 are wrong; the largest error is 0.5, at [1, 2]" in en
    assert "Called with x (3, 4) float64" in en


def add(x, b):
    return 2 * (x + b), (2 * (x + b)).sum(0)


def pairs(rng):
    for n in (2, 5):
        yield rng.normal(size=(n, 3)), rng.normal(size=3)


SUMS = Exercise("add", pairs, lambda x, b: (2 * (x + b), (2 * (x + b)).sum(0)), HINTS, outputs=("dx", "db"),
                wrong={"overwritten": (lambda x, b: (2 * (x + b), 2 * (x + b)[-1]), "use += here.",
                                       "这里要用 +=。")})


@pytest.mark.parametrize(("function", "kind", "cause", "words"), [
    (add, "passed", "", "right"),
    (lambda x, b: (add(x, b)[0], add(x, b)[0]), "shape", "unbroadcast", "db has shape (2, 3); it should"),
    (lambda x, b: (add(x, b)[0], 2 * (x + b)[-1]), "value", "overwritten", "Likely: use += here."),
    (lambda x, b: add(x, b)[::-1], "shape", "order", "the order is dx, db"),
    (lambda x, b: add(x, b)[1], "type", "",
     "the function returned one array, of shape (3,); it should return 2 results: dx, db (`return dx, db`)"),
    (lambda x, b: (*add(x, b), 1), "length", "", "has 3 parts; it should have 2: dx, db"),
    (lambda x, b: (add(x, b)[0], add(x, b)[1] / len(x)), "value", "mean_twice", "axis 0 of argument 1"),
])
def test_several_results(function, kind, cause, words):
    result = check(SUMS, function)
    assert (result.kind, result.cause) == (kind, cause), result
    assert words in result.en


@pytest.mark.parametrize(("got", "names", "en", "zh"), [
    (np.ones(1), ("theta", "u"),
     "one array, of shape (1,); it should return 2 results: theta, u (`return theta, u`)",
     "一个数组，形状 (1,)；应返回 2 个结果：theta、u（写成 `return theta, u`）"),
    (1.5, (("the loss", "损失"), "u"), "one number; it should return 2 results: the loss, u",
     "一个数；应返回 2 个结果：损失、u"),
    ("a", (), "str; it should return 2 results", " str；应返回 2 个结果"),
])
def test_one_result_where_there_are_several(got, names, en, zh):
    found = difference(got, (1.0, 2.0), names=names)
    assert (found.kind, found.en, found.zh) == ("type", f"the function returned {en}", f"函数只返回了{zh}")


def test_arguments_that_are_to_change():
    def step(p, g):
        p -= 0.1 * g

    def cases(rng):
        yield np.array([1.0, 2.0]), np.array([0.5, -1.0])

    task = Exercise("step", cases, step, HINTS, in_place=(0,))
    assert check(task, step).passed
    assert check(task, lambda p, g: None).cause == "unchanged"
    assert check(task, lambda p, g: p - 0.1 * g).kind in ("type", "length")

    def greedy(p, g):
        p -= 0.1 * g
        g *= 0

    assert "argument g" in check(task, greedy).en


def test_run_and_dicts():
    class Counter:
        def __init__(self):
            self.n = 0

        def add(self, k):
            self.n += k

    def run(cls, ks):
        c = cls()
        for k in ks:
            c.add(k)
        return {"n": c.n}

    task = Exercise("Counter", lambda rng: [([1, 2, 3],), ([5],)], Counter, HINTS, run=run)

    class Last(Counter):
        def add(self, k):
            self.n = k

    assert check(task, Counter).passed
    assert "result['n'] is 3; it should be 6" in check(task, Last).en


def test_prints_are_kept_and_bounded(capsys):
    def f(x):
        print("hello" * 10_000)
        return np.mean(x * x)

    result = check(MEAN, f)
    assert result.passed
    assert result.printed.startswith("hello")
    assert len(result.printed) == 10_000
    assert capsys.readouterr().out == ""


def test_warnings_stay_inside():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check(MEAN, lambda x: np.mean(x * x) + 0 * np.log(np.float64(0))).kind in ("nan", "inf")


@pytest.mark.parametrize(("options", "words"), [
    ({"hints": []}, "at least one hint"), ({"hints": [("a", "b")]}, "Chinese"), ({"name": "a b"}, "name"),
    ({"wrong": {"k": (abs, "a", "")}}, "wrong version 'k'"), ({"why": ("a", "")}, "why"),
])
def test_what_is_no_exercise(options, words):
    with pytest.raises(ValueError, match=words):
        Exercise(**{"name": "f", "cases": pairs, "reference": abs, "hints": HINTS, **options})


def test_nothing_is_guessed_from_one_number():
    one = [(np.array(3.0), np.array(2.0))]
    assert likely_cause(one, [(np.array(1.0),)], 1e-6, 1e-9) is None
    assert difference(np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), 0, 0) is None
    assert difference([1.0, 2.0], np.array([1.0, 2.0]), 0, 0) is None
    assert difference([[1.0], [2.0, 3.0]], np.array([1.0, 2.0]), 0, 0).kind == "type"
    assert difference(True, np.True_, 0, 0) is None
    assert difference({"a": 1, "b": 2}, {"a": 1}, 0, 0).kind == "keys"
    assert difference({}, {"a": 1}, 0, 0).kind == "keys"


def test_what_the_failing_call_printed_is_kept_apart():
    def talks(x):
        print("called with", x.shape)
        return np.mean(x * x) if x.ndim == 1 else np.sum(x * x)

    checks = Path(__file__).parent / "example_lesson/01_mean_square/checks.py"
    exercise = load_exercises(checks)["mean_square"]
    wrong = check(exercise, talks)
    assert (wrong.printed, wrong.calls) == ("called with (3, 4)\n", 1)
    right = check(exercise, lambda x: print("called with", x.shape) or np.mean(x * x))
    assert (right.printed, right.calls) == ("called with (3,)\ncalled with (3, 4)\n", 2)
