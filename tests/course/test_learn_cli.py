"""`minillm learn` as a newcomer meets it: processes, their output and exit status."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minillm.cli.main import main
from minillm.course.workspace import PACKAGE

ROOT = Path(__file__).parents[2]
LESSONS = Path(__file__).parent / "example_lesson"
SLUG = "01_mean_square"
STUB = '    raise NotImplementedError("write mean_square here")'
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "MINILLM_LESSONS": str(LESSONS), "COLUMNS": "100",
       "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def learn(monkeypatch, capfd):
    """`minillm learn ...` in this process, as fast as can be: its output, and its exit status compared."""
    for name in ("PYTHONPATH", "MINILLM_LESSONS", "COLUMNS"):
        monkeypatch.setenv(name, ENV[name])

    def run(*args: object, cwd: Path, status: int = 0, answer: str = "") -> str:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["minillm", "learn", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        done = capfd.readouterr()
        assert (ended.value.code or 0) == status, done.out + done.err
        assert "Traceback" not in done.err
        assert done.err.count("\n") <= 1
        return done.out + done.err

    return run


def process(*args: object, cwd: Path, status: int = 0) -> str:
    """The same as a process of its own."""
    done = subprocess.run([sys.executable, "-m", "minillm", "learn", *map(str, args)], cwd=cwd, env=ENV,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, encoding="utf-8", timeout=120, check=False)
    assert done.returncode == status, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


@pytest.fixture
def mine(tmp_path, learn):
    learn("start", "mine", cwd=tmp_path)
    return tmp_path / "mine"


def edit(mine: Path, old: str, new: str) -> None:
    path = mine / "lessons" / SLUG / "lesson.py"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.slow
def test_a_newcomers_path(tmp_path):
    assert "minillm learn start" in process(cwd=tmp_path, status=1)
    out = process("start", "mine", cwd=tmp_path)
    assert "cd mine" in out
    assert "minillm learn next" in out
    mine = tmp_path / "mine"
    assert "0 of 2 exercises solved" in (out := process(cwd=mine))
    assert "You have not begun" in out
    out = process("next", cwd=mine)
    assert "Lesson 01: The mean square" in out
    assert "Exercise 1 of 2: mean_square" in out
    assert "lessons/01_mean_square/lesson.py:" in out
    assert "L = (1/n) sum_i x_i^2" in out
    assert "not written yet" in process("check", cwd=mine, status=1)
    edit(mine, STUB, "    print('here', x.shape)\n    return np.sum(square(x))")
    out = process("check", cwd=mine, status=1)
    assert "the result is 21; it should be 7" in out
    assert "Likely: this is the sum of squares: divide by n." in out
    assert "This call printed:\n    here (3,)\n" in out
    assert "here (3, 4)" not in out  # the next call
    assert "1 of 2. Square each number first." in (out := process("hint", cwd=mine))
    assert "2 of 2" not in out
    assert "2 of 2. np.mean(square(x))" in process("hint", cwd=mine)
    assert "not solved yet" in process("next", cwd=mine)
    assert "Exercise 1 of 2" in process("prev", cwd=mine)
    edit(mine, "np.sum(square(x))", "np.mean(square(x))")
    out = process("check", cwd=mine)
    assert "mean_square: right" in out
    assert "Squares cannot cancel" in out
    assert "Why it works: Squares cannot cancel" in process("hint", cwd=mine)
    out = process("next", cwd=mine)
    assert "Exercise 2 of 2: mean_square_grad" in out
    assert "not solved" not in out
    assert "That was the last exercise" in process("next", cwd=mine)
    out = process("progress", "--plain", cwd=mine / "lessons")
    assert "> 01_mean_square: The mean square and its slope, 15 min, 1/2" in out
    assert "mean_square: solved" in out
    assert "[x] mean_square" in process("progress", cwd=mine)


def test_in_chinese(tmp_path, learn):
    assert "接下来" in learn("start", "mine", "--lang", "zh", cwd=tmp_path)
    mine = tmp_path / "mine"
    assert "第 1 课：均方与它的斜率" in learn("next", cwd=mine)
    assert "还没有写" in learn("check", cwd=mine, status=1)
    edit(mine, '    raise NotImplementedError("请写出 mean_square")', "    return np.sum(square(x))")
    assert "可能的原因：这是平方和：还要除以 n。" in learn("check", cwd=mine, status=1)
    assert "Likely" in learn("check", "--lang", "en", cwd=mine, status=1)
    assert "Likely" in learn("--lang", "en", "check", cwd=mine, status=1)
    assert "先把每个数平方" in learn("hint", cwd=mine)
    assert "未完成" in learn("progress", "--plain", cwd=mine)
    assert "这些数有多大" in learn("read", cwd=mine)


def test_the_locale_says_which_language(tmp_path, learn, monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert "接下来" in learn("start", "zh", cwd=tmp_path)
    assert "Go on" in learn("start", "en", "--lang", "en", cwd=tmp_path)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert "Go on" in learn("start", "other", cwd=tmp_path)


def test_how_to_find_minillm_is_said_where_the_path_has_none(tmp_path, learn, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/activate").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f"source {tmp_path}/bin/activate\n    cd mine" in learn("start", "mine", cwd=tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: name)
    assert "source" not in learn("start", "other", cwd=tmp_path)


def test_a_course_that_make_opened_is_found_again(mine, learn, monkeypatch):
    monkeypatch.setenv("MINILLM_LEARN_CD", "mine")
    assert "    cd mine\n    minillm learn next" in learn(cwd=mine)
    monkeypatch.delenv("MINILLM_LEARN_CD")
    learn("next", cwd=mine)
    assert "cd mine" not in learn(cwd=mine)
    monkeypatch.setenv("MINILLM_LEARN_CD", "mine")
    assert "    cd mine\n" in learn(cwd=mine)
    assert "one below: `cd mine`\n" in learn(cwd=mine.parent, status=1)
    learn("start", "other", cwd=mine.parent)
    assert "one below: `cd mine`, or other\n" in learn("next", cwd=mine.parent, status=1)


def test_next_goes_where_it_is_told(mine, learn):
    assert "Exercise 2 of 2: mean_square_grad" in learn("next", "mean_square_grad", cwd=mine)
    for name in ("1", SLUG):
        assert "Exercise 1 of 2: mean_square\n" in learn("next", name, cwd=mine)
        assert "Exercise 1 of 2: mean_square\n" in learn(cwd=mine)
    assert "Exercise 2 of 2" in learn("next", cwd=mine)
    assert "no lesson and no exercise" in learn("next", "7", cwd=mine, status=1)
    assert "else the next one" in learn("next", "--help", cwd=mine)
    assert "不写时是下一个" in learn("next", "--help", "--lang", "zh", cwd=mine)


def test_a_hint_says_for_what_and_follows_the_last_check(mine, learn):
    learn("next", cwd=mine)
    learn("check", cwd=mine, status=1)
    assert "mean_square, hint 1 of 2. Square" in learn("hint", cwd=mine)
    learn("check", "mean_square_grad", cwd=mine, status=1)
    assert "mean_square_grad, hint 1 of 1. Differentiate" in learn("hint", cwd=mine)
    assert "mean_square_grad，提示 1 / 1：先对一项" in learn("hint", "--lang", "zh", cwd=mine)
    assert "mean_square, hint 1 of 2" in learn("hint", "mean_square", cwd=mine)
    edit(mine, '    raise NotImplementedError("write mean_square_grad here")', "    return 2 * x / x.size")
    learn("check", "mean_square_grad", cwd=mine)
    assert "mean_square, hint 1 of 2" in learn("hint", cwd=mine)  # that one is solved
    learn("check", cwd=mine, status=1)
    learn("next", cwd=mine)
    assert "mean_square_grad, hint 1 of 1" in learn("hint", cwd=mine)


def test_no_course_in_a_course(mine, learn):
    for folder in ("kc", "lessons/kc"):
        assert f"would lie inside the course {mine}" in learn("start", folder, cwd=mine, status=1)
    assert sorted(p.name for p in mine.iterdir()) == [".minillm-course", "lessons"]


def test_read_and_step(mine, learn):
    for plain in ((), ("--plain",)):
        out = learn("read", 1, *plain, cwd=mine)
        assert "The mean square of x₁, …, xₙ" in out
        assert "raise NotImplementedError" in out
        assert "np.mean(square" not in out
        assert "\x1b" not in out
        assert "says(" not in out
        assert "print(f" in out
    out = learn("step", "--plain", cwd=mine)
    assert "Your lesson stops at cell 5, line" in out
    assert "write mean_square here" in out
    assert "x * x" not in out  # that stepper goes through the solution
    out = learn("step", 1, "--solved", "--plain", cwd=mine)
    assert "1. The mean square, and its slope" in out
    assert "x * x" in out
    assert "stops" not in out
    assert "number = 3" in learn("step", "--solved", "--number", 3, cwd=mine, status=1)


def test_reset_asks_first(mine, learn):
    edit(mine, STUB, "    return 7")
    path = mine / "lessons" / SLUG / "lesson.py"
    before = path.read_bytes()
    learn("reset", "mean_square", cwd=mine, status=130, answer="n\n")
    learn("reset", "mean_square", cwd=mine, status=130)
    assert path.read_bytes() == before
    out = learn("reset", "mean_square", cwd=mine, answer="y\n")
    kept = next((mine / "backups").rglob("*.py"))
    assert str(kept) in out
    assert kept.read_bytes() == before
    assert STUB in path.read_text(encoding="utf-8")
    assert "01_mean_square is as it was" in learn("reset", "1", "--yes", cwd=mine)


@pytest.mark.parametrize(("args", "words"), [
    (["start", str(PACKAGE / "mine")], "belongs to the package"), (["start", "."], "already holds a course"),
    (["check", "nothing"], "no lesson and no exercise"), (["hint", "1"], "name one of its exercises"),
    (["--lang", "de"], "en or zh"), (["check", "--lang", "de"], "en or zh"),
    (["watch", "--interval", "0"], "interval"),
    (["start", "other", "--lang", "fr"], "en, zh or both"),
])
def test_mistakes_are_one_line(mine, learn, args, words):
    assert words in learn(*args, cwd=mine, status=1)


def test_a_damaged_progress_file_is_said_once(mine, learn):
    learn("next", cwd=mine)
    with (mine / "progress.txt").open("ab") as file:
        file.write(b"<<<<<<< HEAD\n\xff\xfe\n")
    before = (mine / "progress.txt").read_bytes()
    out = learn(cwd=mine)
    assert "note: line 3 (+1) of progress.txt is not understood" in out
    assert "Exercise 1 of 2" in out
    assert (mine / "progress.txt").read_bytes() == before
    learn("next", cwd=mine)
    assert (mine / "progress.txt").read_bytes().startswith(before)


def test_step_through_a_broken_file(mine, learn):
    (mine / "lessons" / SLUG / "lesson.py").write_text("no lesson")
    assert "minillm learn reset 01_mean_square" in learn("step", cwd=mine, status=1)


def test_a_missing_package_is_one_line(mine, learn, tmp_path, monkeypatch):
    lessons = tmp_path / "lessons" / SLUG
    lessons.mkdir(parents=True)
    (lessons / "lesson.py").write_bytes((LESSONS / SLUG / "lesson.py").read_bytes())
    (lessons / "checks.py").write_text("import no_such_package")
    monkeypatch.setenv("MINILLM_LESSONS", str(lessons.parent))
    assert "pip install no_such_package" in learn("check", cwd=mine, status=1)
    (lessons / "checks.py").write_text("raise OSError('this lesson needs a GPU')")
    assert "error: this lesson needs a GPU" in learn("check", cwd=mine, status=1)
    (lessons / "checks.py").write_text("EXERCISES = 1")
    assert "cannot be read" in learn("check", cwd=mine, status=1)


def test_check_survives_what_a_file_may_do(mine, learn):
    edit(mine, STUB, "    import sys; sys.exit(0)")
    assert "ends the program" in learn("check", cwd=mine, status=1)
    edit(mine, "import sys; sys.exit(0)", "return mean_square(x)")
    assert "calls itself too deeply (Python allows about 1000 nested calls), or without end" in learn(
        "check", cwd=mine, status=1)
    assert "层数太深（Python 大约允许 1000 层）" in learn("check", "--lang", "zh", cwd=mine, status=1)
    (mine / "lessons" / SLUG / "lesson.py").unlink()
    assert "minillm learn reset" in learn("check", cwd=mine, status=1)
    assert "mean_square is as it was." in learn("reset", "--yes", cwd=mine)
    assert "not written yet" in learn("check", cwd=mine, status=1)


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_watch_checks_again_when_saved(mine, learn):
    learn("next", cwd=mine)
    watching = subprocess.Popen([sys.executable, "-m", "minillm", "learn", "watch", "--interval", "0.1"],
                                cwd=mine, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, encoding="utf-8")
    assert watching.stdout is not None
    try:
        def until(words: str) -> str:
            text = ""
            end = time.monotonic() + 60
            while words not in text and time.monotonic() < end:
                text += watching.stdout.readline()
            assert words in text, text
            return text

        assert "not written yet" in until("Watching")
        edit(mine, STUB, "    return np.sum(x * x)")
        assert "sum of squares" in until("Watching")
        edit(mine, "np.sum(x * x)", "np.mean(x * x)")
        text = until("Watching")
        assert "mean_square: right" in text
        assert "mean_square_grad" not in text  # it does not go on by itself
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
        assert "Traceback" not in watching.stdout.read()
    finally:
        watching.kill()
        watching.stdout.close()
        watching.wait()
