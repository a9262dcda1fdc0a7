"""Two small assignments with everything in them that grading must deal with, written to a folder."""

from __future__ import annotations

from pathlib import Path

from minillm.classroom import Assignment, load_assignment

SOLUTION = '''"""Two small functions."""

import numpy as np


def centred(x):
    """x without its mean, (N,)."""
    # BEGIN SOLUTION
    mean = x.sum() / x.size
    return x - mean
    # END SOLUTION


def ranks(x):
    """For each number how many are smaller, (N,) of int."""
    # BEGIN SOLUTION
    order = np.argsort(np.argsort(x))
    return order
    # END SOLUTION
'''

CHECKS = '''import numpy as np

from minillm.classroom import Misconception, Scenario


def numbers(rng):
    return {"x": rng.normal(size=int(rng.integers(4, 9)))}


def signs(rng):
    n = int(rng.integers(4, 9))
    return {"x": np.append(rng.normal(size=n), 1.0) * (-1 if rng.random() < 0.5 else 1)}


def run_centred(student, inputs):
    return {"y": student.centred(inputs["x"])}


def run_ranks(student, inputs):
    return {"order": student.ranks(inputs["x"])}


def like_zero(got, want, inputs):
    if got["y"].shape != inputs["x"].shape or abs(got["y"].sum()) > 1e-6:
        return "the sum is not zero", "和不是零"
    return None


TESTS = {
    "centred": Scenario(numbers, run_centred),
    "sum": Scenario(numbers, run_centred, like_zero),
    "parts": Scenario(signs, run_centred, cases=4, in_part=True),
    "ranks": Scenario(numbers, run_ranks, cases=2),
}
MISCONCEPTIONS = [
    Misconception("no_mean", {"return x - mean": "return x"}, "the mean stays in.", "没有减去平均值。"),
    Misconception("sum_only", {"x.sum() / x.size": "x.sum()"}, "the sum is taken off, not the mean.",
                  "减去的是总和，而不是平均值。"),
    Misconception("loops", {"return order": "return order[len(x)]"}, "the index runs one too far.",
                  "下标越界了。"),
    Misconception("once", {"np.argsort(np.argsort(x))": "np.argsort(x)"},
                  "sorted places are not ranks: sort twice.", "排序位置不是名次：要排两次。"),
    Misconception("mean_method", {"x.sum() / x.size": "np.mean(x)"}, "", "", equivalent=True),
]
'''

TOML = '''title = "Toys"
title_zh = "玩具"
minutes = 5
file = "toys.py"
imports = ["numpy"]
text = "Write both."
text_zh = "写出这两个函数。"

[limits]
seconds = 2.0

[hints.centred]
en = ["Take the mean off."]
zh = ["减去平均值。"]
''' + "".join(f'''
[[tests]]
name = "{name}"
title = "Test {name}"
title_zh = "测试 {name}"
points = {points}
visibility = "{visibility}"
needs = ["{needs}"]
''' for name, points, visibility, needs in (
    ("centred", 40, "public", "centred"), ("sum", 10, "hidden", "centred"),
    ("parts", 20, "hidden", "centred"), ("ranks", 30, "hidden", "ranks")))

TESTS_SOLUTION = '''"""Tests of `centred`, which takes the mean off an array (N,)."""

import numpy as np


def centred(x):
    """x without its mean, (N,)."""
    # BEGIN SOLUTION
    return x - x.mean()
    # END SOLUTION


def test_sum(centred):
    """The sum is zero."""
    # BEGIN SOLUTION
    assert abs(centred(np.array([1.0, 2.0, 6.0])).sum()) < 1e-9
    # END SOLUTION


def test_differences(centred):
    """Differences stay."""
    # BEGIN SOLUTION
    y = centred(np.array([1.0, 2.0, 6.0]))
    assert np.allclose(np.diff(y), [1.0, 4.0])
    # END SOLUTION


def test_kept(centred):
    """The argument stays."""
    # BEGIN SOLUTION
    x = np.array([1.0, 2.0, 6.0])
    centred(x)
    assert x[0] == 1
    # END SOLUTION
'''

TESTS_CHECKS = '''import numpy as np

from minillm.classroom import Misconception, Scenario


def names(rng):
    return {"seed": rng.integers(1 << 30, size=1)}


def one_test(student, inputs):
    student.test_sum(lambda x: x - x.mean())
    return {"ran": np.ones(1) * inputs["seed"]}


TESTS = {"runs": Scenario(names, one_test, cases=1), "catches": Scenario(mutation=("centred",))}
MISCONCEPTIONS = [
    Misconception("no_mean", {"return x - x.mean()": "return x"}, "the mean stays in.", "没有减去平均值。"),
    Misconception("zeros", {"return x - x.mean()": "return 0 * x"}, "all is zero.", "全是零。"),
    Misconception("in_place", {"return x - x.mean()": "x -= x.mean()\\n    return x"},
                  "the argument is changed.", "参数被改动了。"),
    Misconception("by_list", {"return x - x.mean()": "return np.array([v - x.mean() for v in x])"},
                  "a sum may differ in its last digits.", "和的最后几位可以不同。", equivalent=True),
]
'''

TESTS_TOML = '''title = "Tests"
title_zh = "写测试"
minutes = 5
file = "my_tests.py"
imports = ["numpy"]
text = "Write tests."
text_zh = "写测试。"

[limits]
seconds = 2.0
''' + "".join(f'''
[[tests]]
name = "{name}"
title = "Test {name}"
title_zh = "测试 {name}"
points = {points}
visibility = "{visibility}"
''' for name, points, visibility in (("runs", 10, "public"), ("catches", 90, "hidden")))


def write(folder: Path, toml: str, solution: str, checks: str) -> Assignment:
    """An assignment's folder, loaded."""
    folder.mkdir(parents=True)
    for name, text in (("assignment.toml", toml), ("solution.py", solution), ("checks.py", checks)):
        (folder / name).write_text(text, encoding="utf-8")
    return load_assignment(folder)


def toys(folder: Path, checks: str = CHECKS, toml: str = TOML, solution: str = SOLUTION) -> Assignment:
    """The assignment on two functions."""
    return write(folder / "01_toys", toml, solution, checks)


def testing(folder: Path) -> Assignment:
    """The assignment on tests."""
    return write(folder / "02_tests", TESTS_TOML, TESTS_SOLUTION, TESTS_CHECKS)
