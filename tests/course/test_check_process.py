"""The process of a check: what is right is known before the learner's code runs; ends are told apart."""

import sys
from pathlib import Path

import numpy as np
import pytest

from minillm import formulas
from minillm.autograd import Tensor
from minillm.course import Exercise, check
from minillm.course.check_process import check_file
from minillm.course.percent import learners_version, parse, serialise

EXAMPLE = Path(__file__).parent / "example_lesson" / "01_mean_square"
STUBS = serialise(learners_version(parse((EXAMPLE / "lesson.py").read_text(encoding="utf-8"))))
RAISE = '    raise NotImplementedError("write mean_square here")'
HEADER = "import numpy as np\n"


def checked(folder: Path, body: str, before: str = "", checks: Path = EXAMPLE / "checks.py"):
    path = folder / "lesson.py"
    path.write_text(STUBS.replace(RAISE, "    " + body).replace(HEADER, HEADER + before), encoding="utf-8")
    return check_file(path, checks, "mean_square", seconds=5)


@pytest.mark.parametrize(("before", "body"), [
    ("", "np.isclose = lambda *a, **k: np.True_; return np.sum(x * x)"),
    ("np.mean = np.sum\n", "return np.mean(x * x)"),
    ("", "np.any = lambda *a, **k: False; np.isnan = lambda x: x * 0; return np.sum(x * x)"),
    ("", "import minillm.course.compare as c; c._of_arrays = lambda *a: None; return np.sum(x * x)"),
    ("", "import builtins; builtins.all = lambda x: True; np.seterr(all='raise'); return np.sum(x * x)"),
])
def test_what_patches_numpy_fools_nobody(tmp_path, before, body):
    result = checked(tmp_path, body, before)
    assert (result.kind, result.cause) == ("value", "sum"), result
    assert "the result is 21; it should be 7" in result.en


def test_a_right_function_may_patch_what_it_likes(tmp_path):
    assert checked(tmp_path, "r = np.mean(x * x); np.isclose = np.array_equal = None; return r").passed


def test_what_a_function_changes_is_put_back():
    kept = np.exp, Tensor.__add__, formulas.adam_step
    ways = np.geterr(), np.get_printoptions()

    def f(x):
        np.seterr(all="raise")
        np.set_printoptions(precision=2)
        np.exp = formulas.adam_step = Tensor.__add__ = Tensor.nonsense = formulas.sum = 1
        return x + 1

    exercise = Exercise("f", lambda rng: [(np.ones(2),)], lambda x: x + 1, [("Look.", "再看。")])
    assert check(exercise, f).passed
    assert (np.exp, Tensor.__add__, formulas.adam_step) == kept
    assert (np.geterr(), np.get_printoptions()) == ways
    assert not hasattr(Tensor, "nonsense")
    assert not hasattr(formulas, "sum")


def test_the_reference_runs_before_the_learners_code(tmp_path):
    checks = tmp_path / "checks.py"
    checks.write_text("import sys, numpy as np\nfrom minillm.course import Exercise\n"
                      "def right(x):\n    assert '_learner_' not in ' '.join(sys.modules)\n"
                      "    return np.mean(x * x)\n"
                      "EXERCISES = [Exercise('mean_square', lambda rng: [(np.ones(3),)], right, "
                      "[('Look.', '再看。')])]", encoding="utf-8")
    assert checked(tmp_path, "return np.mean(x * x)", checks=checks).passed


@pytest.mark.parametrize(("old", "new", "words"), [
    ("reference=lambda x: np.mean(x * x)", "reference=lambda x: np.mean(x @ x[:1])", "ValueError: matmul"),
    ("lambda x: np.sum(x * x), \"this", "lambda x: Nothing(), \"this", None),
    ("yield (rng.normal(size=(3, 4)),)", "yield 1 / 0", "ZeroDivisionError: division by zero (checks.py"),
])
def test_a_fault_of_the_check_is_not_the_learners(tmp_path, old, new, words):
    text = (EXAMPLE / "checks.py").read_text(encoding="utf-8")
    assert old in text
    checks = tmp_path / "checks.py"
    checks.write_text(text.replace(old, new, 1), encoding="utf-8")
    if words is None:  # a known wrong version that fails is like no other answer
        assert checked(tmp_path, "return x", checks=checks).kind == "shape"
        return
    with pytest.raises(RuntimeError) as caught:
        checked(tmp_path, "return np.mean(x * x)", checks=checks)
    assert words in str(caught.value)
    assert "not your code" in str(caught.value)
    assert "os._exit" not in str(caught.value)


def test_a_fault_of_the_judge_is_told_with_its_message(tmp_path):
    """The result's == fails: inside the judge, when the learner's code is through."""
    checks = tmp_path / "checks.py"
    odd = ("import os\nfrom minillm.course import Exercise\nclass Odd:\n    def __eq__(self, other):\n"
           "        raise ArithmeticError('no two are alike')\n    __hash__ = None\n"
           "EXERCISES = [Exercise('mean_square', lambda rng: [(Odd(),)], lambda x: x, [('Look.', '看。')])]")
    checks.write_text(odd, encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"ArithmeticError: no two are alike \(checks.py, line 5\)"):
        checked(tmp_path, "return x", checks=checks)
    odd = odd.replace("raise ArithmeticError('no two are alike')", "os._exit(3)")
    checks.write_text(odd, encoding="utf-8")
    with pytest.raises(RuntimeError, match="could not run: exit status 3"):
        checked(tmp_path, "return x", checks=checks)


@pytest.mark.parametrize(("body", "words"), [
    ("import os; os._exit(0)", "ended Python itself (os._exit)"),
    pytest.param("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "in mean_square (SIGSEGV)",
                 marks=pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")),
])
def test_how_the_learners_code_ended_python(tmp_path, body, words):
    result = checked(tmp_path, body)
    assert result.kind == "ended"
    assert words in result.en
