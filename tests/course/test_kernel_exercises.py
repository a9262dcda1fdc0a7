"""Exercises that are kernels: what Triton's interpreter wraps, and what `run` calls the arguments."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from minillm.course import Exercise, check
from minillm.course.check_process import check_file
from minillm.course.result import raised_by_learner
from minillm.errors import UserError


class InterpreterError(Exception):
    """As Triton's."""


def launched(kernel, x, BLOCK):
    """Like a launch: what the kernel raises comes wrapped, twice where one calls another."""
    try:
        try:
            return kernel(x)
        except Exception as error:
            raise InterpreterError(repr(error)) from error
    except InterpreterError as error:
        raise InterpreterError(repr(error)) from error


TASK = Exercise("f", lambda rng: [(np.arange(3.0), 4), (np.arange(12.0).reshape(3, 4), 8)], lambda x: 2 * x,
                [("Look again.", "再看一看。")], run=launched)


def stub(x):
    raise NotImplementedError("write f here")


def divides(x):
    return 1 // 0


def test_a_kernel_that_is_not_written():
    assert check(TASK, stub).kind == "not_written"


def test_what_a_kernel_raises_is_shown_with_its_own_line():
    result = check(TASK, divides)
    assert "ZeroDivisionError" in result.en
    assert "InterpreterError" not in result.en + result.zh
    assert result.line == divides.__code__.co_firstlineno + 1


def test_an_error_that_wraps_nothing_stays():
    error = InterpreterError("of Triton's own")
    assert raised_by_learner(error) is error


@pytest.mark.parametrize("wrong", [lambda x: 3 * x, lambda x: x[:1], divides])
def test_arguments_have_the_names_that_run_gives_them(wrong):
    result = check(TASK, wrong)
    assert not result.passed
    assert "x (3,) float64 = [0., 1., 2.], BLOCK = 4" in result.en


def test_a_changed_argument_has_the_name_that_run_gives_it():
    def changes(array):
        result = 2 * array
        array[:] = 0
        return result

    assert "argument x was changed" in check(TASK, changes).en


def test_triton_finds_the_source_of_a_learners_kernel(tmp_path):
    """Triton reads the source of a kernel from its file: in a learner's copy as in a lesson."""
    pytest.importorskip("triton", reason="no Triton here: pip install triton")
    lesson = Path(__file__).parents[2] / "lessons" / "15_softmax_cross_entropy_in_triton"
    text = (lesson / "lesson.py").read_text(encoding="utf-8")
    file = tmp_path / "lesson.py"
    file.write_text(text, encoding="utf-8")
    result = check_file(file, lesson / "checks.py", "scale_rows", seconds=60)
    assert result.passed, result.en
    line = "x = tl.load(X + row * V + j, mask=mask)"
    file.write_text(text.replace(line, f"{line}.no_such_thing"), encoding="utf-8")
    result = check_file(file, lesson / "checks.py", "scale_rows", seconds=60)
    assert "no_such_thing" in result.en
    assert text.split("\n")[(result.line or 1) - 1].strip() == line


def test_a_site_without_a_package_that_a_lesson_needs_says_so_in_one_line(tmp_path):
    for package in ("markdown_it", "latex2mathml", "nbformat"):
        pytest.importorskip(package, reason="pip install latex2mathml markdown-it-py nbformat")
    from minillm.course.site import build_site

    lessons = tmp_path / "lessons"
    shutil.copytree(Path(__file__).parent / "example_lesson", lessons)
    (lessons / "01_mean_square" / "checks.py").write_text("raise OSError('it needs X: pip install x')\n")
    with pytest.raises(UserError, match="01_mean_square: it needs X: pip install x"):
        build_site(tmp_path / "out", lessons=lessons)
