"""Running a lesson: what it prints and shows, and where it fails."""

import subprocess
import sys
import threading
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from minillm.course.lesson_api import picture, quiet_run, run_lesson, says, step, steppers_that_tell_nothing
from minillm.course.percent import learners_version, parse, serialise, solution_version
from minillm.stepper import trace

EXAMPLE = Path(__file__).parent / "example_lesson" / "01_mean_square" / "lesson.py"
HEADER = "# ---\n# title: T\n# title_zh: 题\n# minutes: 20\n# needs: []\n# ---\n"
ALT = {"alt_en": "A line.", "alt_zh": "一条线。"}


def write(folder: Path, body: str) -> Path:
    path = folder / "lesson.py"
    path.write_text(HEADER + body, encoding="utf-8")
    return path


@pytest.fixture
def figure():
    fig, ax = plt.subplots()
    ax.plot([1, 2])
    yield fig
    plt.close(fig)


def test_the_example_runs_and_is_collected():
    run = run_lesson(EXAMPLE, "zh")
    assert run.error is None
    assert run.said == ["3.83"]
    assert [p.name for p in run.pictures] == ["slope"]
    assert run.pictures[0].png.startswith(b"\x89PNG")
    assert b"<svg" in run.pictures[0].svg
    assert run.steppers[0].recording.result is not None
    shown = next(c for c in run.cells if c.stdout).shown
    assert shown == ["3.8281\n", run.steppers[0]]
    assert run.unsaid() == []
    assert len(run.cells) == len(run.lesson.cells)
    again = run_lesson(EXAMPLE, lesson=solution_version(parse(EXAMPLE.read_text(encoding="utf-8"))))
    assert again.pictures[0].svg == run.pictures[0].svg
    assert again.pictures[0].png == run.pictures[0].png


def test_traces_point_into_the_lesson():
    places = run_lesson(EXAMPLE).steppers[0].recording.steps[0].places
    line = EXAMPLE.read_text(encoding="utf-8").split("\n")[places[-1].line - 1]
    assert places[-1].file == str(EXAMPLE)
    assert "x * x" in line


SOLVED = """# %%
import numpy as np
from minillm.course import step
from minillm.stepper import trace
def given(x):
    return x * x
# %% exercise="mine"
def mine(x):
    # BEGIN SOLUTION
    y = 1 * x
    return 2 * y
    # END SOLUTION
# %%
def later(x):
    return x + x
for f in (given, mine, lambda x: given(mine(x)), later):
    step(trace(f, np.array([1.0])), en="Step.", zh="步。")
"""


def test_steppers_of_an_open_lesson_have_the_lines_of_the_learners_file(tmp_path):
    (tmp_path / "theirs").mkdir()
    path, solved = write(tmp_path, ""), write(tmp_path / "theirs", SOLVED)
    stubs = serialise(learners_version(parse(solved.read_text())))
    path.write_text(stubs.replace("def given", "# a note of mine\n\ndef given").replace(
        "for f in", "print('mine')\nfor f in"))
    found = steppers_that_tell_nothing(path, solved, 0)
    assert [k for k, _ in found] == [1, 4]  # neither goes through the solution
    assert [k for k, _ in steppers_that_tell_nothing(path, solved, 1)] == [4]
    lines = path.read_text().split("\n")
    for (_, stepper), code in zip(found, ("    return x * x", "    return x + x"), strict=True):
        place = stepper.recording.steps[0].places[-1]
        assert place.file == str(path)
        assert lines[place.line - 1] == code
        assert place.text == code + "\n"


def test_the_solutions_in_place_of_a_learners_exercises(tmp_path):
    (tmp_path / "theirs").mkdir()
    solved = write(tmp_path / "theirs", SOLVED)
    path = write(tmp_path, "")
    path.write_text(serialise(learners_version(parse(solved.read_text()))))
    assert run_lesson(path).error.startswith("cell 3, line 15: NotImplementedError: write mine")
    run = run_lesson(path, solutions=solved)
    assert run.error is None
    assert len(run.steppers) == 4
    assert run.lesson.cell_of("mine").text.count("\n") == 2  # what is told of is the learner's file


def test_what_a_cell_ends_with_is_its_result(tmp_path):
    run = run_lesson(write(tmp_path, "# %%\n3 + 4\n# %%\nx = 8\n# %%\nx\n\n# a comment\n# %%\nprint(x)\n"
                                     "# %%\n# nothing\n"))
    assert run.error is None
    assert [c.result for c in run.cells] == [7, None, 8, None, None]
    assert "_result_of_the_cell" not in run.namespace
    run = run_lesson(write(tmp_path, "# %%\nx = 1\n(x +\n 1 / 0)\n"))
    assert run.error == "cell 1, line 10: ZeroDivisionError: division by zero"
    assert run.error_zh == "第 1 个单元格，第 10 行：ZeroDivisionError: division by zero"


@pytest.mark.parametrize(("body", "error"), [
    ("# %%\nx = 1\n# %%\n\nprint(x)\n1 / 0\n", "cell 2, line 12: ZeroDivisionError: division by zero"),
    ("# %%\ndef f():\n    raise KeyError('k')\n# %%\nf()\n", "cell 2, line 9: KeyError: 'k'"),
    ("# %%\nx = (\n", "cell 1, line 8: SyntaxError: '(' was never closed"),
    ("# %%\nraise SystemExit\n", "cell 1, line 8: SystemExit"),
    ('# %%\nfrom minillm.course import says\nsays("2.5", 2.6)\n',
     "cell 1, line 9: AssertionError: the text says 2.5, but the value is 2.6"),
])
def test_errors_name_cell_and_line(tmp_path, body, error):
    run = run_lesson(write(tmp_path, body + "# %%\nprint('later')\n"))
    assert run.error == error
    assert not any("later" in c.stdout for c in run.cells)


def test_each_run_has_its_own_names(tmp_path):
    path = write(tmp_path, "# %%\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\n"
                           "y = globals().get('y', 0) + 1\n")
    for _ in range(2):
        run = run_lesson(path)
        assert run.error is None
        assert run.namespace["y"] == 1
    assert not [name for name in sys.modules if name.startswith("_lesson_")]


def test_pictures_are_held_to_their_alt_texts(figure):
    with quiet_run() as run:
        for bad in ({"alt_en": " "}, {"alt_zh": ""}, {"alt_zh": "A line."}, {"alt_en": "一条线。"}):
            with pytest.raises(ValueError, match="alt_en"):
                picture(figure, name="a", **{**ALT, **bad})
        with pytest.raises(ValueError, match="name"):
            picture(figure, name="a b", **ALT)
        picture(figure, name="a", **ALT)
        with pytest.raises(ValueError, match="two pictures"):
            picture(figure, name="a", **ALT)
    assert len(run.pictures) == 1


def test_steppers_need_captions():
    recording = trace(lambda x: x * x, np.array([1.0]))
    with quiet_run() as run:
        step(recording, en="Square.", zh="平方。")
        with pytest.raises(ValueError, match="caption"):
            step(recording, en="Square.")
        with pytest.raises(TypeError, match="trace"):
            step(np.array([1.0]), en="Square.", zh="平方。")
    assert len(run.steppers) == 1


def test_without_a_run_a_line_is_printed(figure, capsys, monkeypatch):
    picture(figure, name="a", **ALT)
    step(trace(lambda x: x * x, np.array([1.0])), en="Square.", zh="平方。")
    assert "[picture a: A line.]" in (out := capsys.readouterr().out)
    assert "Square. (" in out
    monkeypatch.setenv("MINILLM_LANG", "zh")
    step(trace(lambda x: x * x, np.array([1.0])), en="Square.", zh="平方。")
    assert "平方。" in capsys.readouterr().out


def test_runs_in_threads_do_not_mix():
    runs = {}

    def work(k):
        with quiet_run() as run:
            barrier.wait()
            for _ in range(50):
                says(f"{k}", k)
            runs[k] = run.said

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert runs == {k: [f"{k}"] * 50 for k in range(4)}


def test_a_plain_run_of_the_file():
    root = Path(__file__).parents[2]
    env = {"PYTHONPATH": str(root), "PATH": "", "MPLBACKEND": "Agg"}
    done = subprocess.run([sys.executable, "-W", "error", str(EXAMPLE)], cwd=root, capture_output=True,
                          text=True, env=env, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3.8281\n[stepper: ")
