"""`examine` finds what is wrong with a lesson: each fault is put into the example, and is seen."""

import shutil
from pathlib import Path

import pytest

from minillm.course.examine import examine

EXAMPLE = Path(__file__).parent / "example_lesson" / "01_mean_square"

LESSON, CHECKS = "lesson.py", "checks.py"
FAULTS = [
    (LESSON, 'lang="zh"\n# ## 动手写', 'lang="en"\n# ## 动手写', "no Chinese text"),
    (LESSON, "about 3.83", "about 3.84", "3.84 is in the text"),
    (LESSON, 'says("3.83"', 'says("3.84"', "the text says 3.84"),
    (LESSON, "minutes: 15", "minutes: 5", "minutes"),
    (LESSON, "needs: []", "needs: [09_later]", "no earlier lesson"),
    (LESSON, "title_zh: 均方与它的斜率", "title_zh: Mean", "not Chinese"),
    (LESSON, "step(trace(mean_square, x), en=", "dict(en=", "no step"),
    (LESSON, "picture(fig, alt_en=", "dict(alt_en=", "no picture"),
    (LESSON, '"Four bars: the slope is as large as the number, and of its sign."', '""', "alt_en"),
    (LESSON, "return np.mean(square(x))", "return np.sum(square(x))", "mean_square: the solution gives"),
    (LESSON, "    # BEGIN SOLUTION\n    return 2", "    return 2\n    # BEGIN SOLUTION\n    return 2",
     "mean_square_grad: the stub gives"),
    (LESSON, '# %% exercise="mean_square_grad"', "# %%", "has the exercises"),
    (LESSON, "loss = mean", "import warnings; warnings.warn('oh'); loss = mean", "warns: oh"),
    (LESSON, r"$L = \frac{1}{n}", r"$L = 0.5 \frac{1}{n}", "0.5 is in the text"),
    (CHECKS, "先对一项 x_i^2 / n 求导。", "先对一项 x_i^2 / n 求导，得 7.5。", "hint 1 (zh): 7.5 is neither"),
    (CHECKS, "np.mean(x) ** 2", "np.mean(x * x)", "the wrong version 'square_of_mean' gives 'passed'"),
    (CHECKS, "np.mean(x) ** 2", "np.sum(x * x)", "no case tells"),
    (CHECKS, "reference=lambda x: np.mean(x * x)", "reference=lambda x: np.mean(x @ np.ones(9))", "matmul"),
    (CHECKS, "EXERCISES", "LIST", "no list EXERCISES"),
    (CHECKS, '"先对一项 x_i^2 / n 求导。"', '""', "hint 1"),
]


@pytest.mark.parametrize(("file", "old", "new", "words"), FAULTS, ids=[f[3] for f in FAULTS])
def test_faults_are_found(tmp_path, file, old, new, words):
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / EXAMPLE.name))
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    problems = examine(folder)
    assert any(words in p for p in problems), problems


def test_the_example_is_ready():
    assert examine(EXAMPLE) == []
