"""A learner's file: what of it is run for a check, and what a process of its own survives."""

import time
from pathlib import Path

import pytest

from minillm.course.check_process import check_file
from minillm.course.percent import learners_version, parse, serialise
from minillm.course.student import CannotLoad, load_function

EXAMPLE = Path(__file__).parent / "example_lesson" / "01_mean_square"
STUBS = serialise(learners_version(parse((EXAMPLE / "lesson.py").read_text(encoding="utf-8"))))
RAISE = '    raise NotImplementedError("write mean_square here")'


def write(folder: Path, text: str) -> Path:
    path = folder / "lesson.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_only_what_is_needed_is_run(tmp_path):
    path = write(tmp_path, """\
import os, math as m
print("never")
done = []
scale = 2
scale = scale + 1
table = {}
table["k"] = 5
unused = 1 / 0
loss = 1 / 0
for i in range(3):
    weight = i
def helper(x):
    return scale * x + table["k"] + later()
# %% exercise="f"
def f(x):
    loss = helper(x)  # a local variable: the line above is not needed
    return [loss + weight + m.pi for _ in range(1)]
# %%
scale = 100
def later():
    return 1000
def helper(x):
    return 1 / 0
1 / 0
""")
    assert load_function(path, "f")(1)[0] == pytest.approx(3 + 5 + 1000 + 2 + 3.14159, abs=1e-4)


@pytest.mark.parametrize(("text", "kind", "line"), [
    ("x = 1\n", "missing", None),
    ("def f(:\n", "syntax", 1),
    ("# %%\nx = = 1\n# %%\ndef f(): return 1\n", None, None),
    ("# %%\ndef f():\n  return (1\n# %%\ny = 1\n", "syntax", 3),
    ("y = 1 / 0\ndef f(): return y\n", "exception", 1),
    ("def g(): raise NotImplementedError\ny = g()\ndef f(): return y\n", "needs_other", 2),
    ("import sys\nsys.exit()\nx = sys.exit()\ndef f(): return x\n", "ended", 3),
    ("f = 1 +\n\x00", "syntax", None),
])
def test_what_cannot_be_had(tmp_path, text, kind, line):
    path = write(tmp_path, text)
    if kind is None:
        assert load_function(path, "f")() == 1
        return
    with pytest.raises(CannotLoad) as caught:
        load_function(path, "f")
    assert (caught.value.result.kind, caught.value.result.line) in [(kind, line), (kind, 1)]


def test_no_file(tmp_path):
    with pytest.raises(CannotLoad, match="reset"):
        load_function(tmp_path / "none.py", "f")


@pytest.mark.parametrize(("body", "kind", "cause"), [
    ("return np.mean(square(x))", "passed", ""),
    ("return np.sum(x * x)", "value", "sum"),
    ("while True: pass", "too_slow", "endless"),
    ("while True: print('x')", "too_slow", "endless"),
    ("import os; os._exit(0)", "ended", ""),
    ("import sys; sys.exit(0)", "ended", ""),
    ("return mean_square(x)", "exception", "recursion"),
    ("return input()", "exception", "EOFError"),
    ("import threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); return np.mean(x * x)",
     "passed", ""),
])
def test_in_a_process_of_its_own(tmp_path, body, kind, cause):
    path = write(tmp_path, STUBS.replace(RAISE, "    " + body))
    (tmp_path / "numpy.py").write_text("1 / 0")  # the learner's files are no modules of the check
    started = time.monotonic()
    result = check_file(path, EXAMPLE / "checks.py", "mean_square", seconds=1.5)
    assert time.monotonic() - started < 50  # it does not wait for the thread
    assert (result.kind, result.cause) == (kind, cause), result
    if kind == "too_slow":
        assert result.line == path.read_text(encoding="utf-8").split("\n").index("    " + body) + 1
        assert "1.5 s" in result.en
        assert "1.5 秒" in result.zh


def test_the_other_exercise_is_not_needed(tmp_path):
    path = write(tmp_path, STUBS.replace('raise NotImplementedError("write mean_square_grad here")',
                                         "return 2 * x / x.size"))
    assert check_file(path, EXAMPLE / "checks.py", "mean_square_grad").passed
    assert check_file(path, EXAMPLE / "checks.py", "mean_square").kind == "not_written"


def test_a_broken_check_is_not_the_learners_fault(tmp_path):
    path = write(tmp_path, STUBS)
    (tmp_path / "checks.py").write_text("1 / 0")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        check_file(path, tmp_path / "checks.py", "mean_square")
