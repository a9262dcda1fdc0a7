"""What `minillm learn` looks like: lines broken to the width, Chinese too; the table; help; languages."""

import io
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from minillm.cli.learn import learn as app
from minillm.cli.learn_help import _COMMANDS, _TEXTS
from minillm.cli.learn_screen import Screen, unstarred
from minillm.cli.main import main
from minillm.course import Exercise
from minillm.course.lesson_api import run_lesson
from minillm.course.workspace import find, locale_language, start
from minillm.course.wrapping import wrapped

LESSONS = Path(__file__).parent / "example_lesson"
SLUG = "01_mean_square"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("MINILLM_LESSONS", str(LESSONS))
    monkeypatch.setenv("COLUMNS", "78")
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def learn(monkeypatch, capfd):
    def run(*args, cwd, answer="", status=0):
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["minillm", "learn", *args])
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        with pytest.raises(SystemExit) as ended:
            main()
        done = capfd.readouterr()
        assert (ended.value.code or 0) == status, done.out + done.err
        return done.out

    return run


def screen(width, lang="en", terminal=True, plain=False):
    made = Screen(lang, plain)
    made.console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None,
                           highlight=False)
    return made


def shown(made):
    return made.console.file.getvalue()


@pytest.mark.parametrize(("text", "plain"), [
    ("the *other* factor, **not** this", "the other factor, not this"),
    ("是*另一个*因子", "是另一个因子"),
    ("`*a*` and 2*x*y, a * b * c, f(*args, *rest), **kwargs", None), ("x* and y*", None),
])
def test_emphasis_without_its_stars(text, plain):
    assert unstarred(text) == (text if plain is None else plain)


@pytest.mark.parametrize(("lang", "words"), [
    ("en", "1 of 2 steppers shown; the next: `minillm learn step 01 --number 2`"),
    ("zh", "已看 1 / 2 个演示")])
def test_q_ends_all_steppers(tmp_path, monkeypatch, learn, lang, words):
    class Keyboard(io.StringIO):
        def isatty(self):
            return True

    def with_two(*args, **options):
        run = run_lesson(*args, **options)
        run.cells.extend(run.cells)
        return run

    start(tmp_path / "mine")
    walked, made = [], screen(200, lang)
    monkeypatch.setattr(io, "StringIO", Keyboard)
    monkeypatch.setattr("minillm.stepper.terminal.walk", lambda view, console: walked.append(view))
    monkeypatch.setattr("minillm.cli.learn.Screen", lambda lang, plain: made)
    monkeypatch.setattr("minillm.cli.learn.run_lesson", with_two)
    learn("step", "1", "--solved", "--lang", lang, cwd=tmp_path / "mine")
    assert len(walked) == 1
    assert words in shown(made)
    learn("step", "1", "--solved", "--number", "2", "--lang", lang, cwd=tmp_path / "mine")
    assert len(walked) == 2
    assert shown(made).count(words) == 1


# ---- width ----------------------------------------------------------------------------------------------

ZH = "先对一项 x_i^2 / n 求导，（注意“平均”里的）1/n。然后把 np.mean 换成求和：结果应该一样！"


@pytest.mark.parametrize("width", [20, 33, 40])
def test_chinese_is_broken_to_the_width(width):
    lines = wrapped(ZH, width, "  ").split("\n")
    assert len(lines) > 2
    assert all(cell_len(line) <= width for line in lines)
    assert max(map(cell_len, lines)) >= width - 4  # and the lines are full
    assert not any(line.lstrip().startswith(tuple("，。）：！”")) for line in lines)
    assert not any(line.endswith(("（", "“")) for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])
    assert "".join("".join(lines).split()) == "".join(ZH.split())


@given(st.text(st.sampled_from("ab 中文，。（） \n"), max_size=60), st.integers(8, 30))
def test_nothing_is_lost_and_nothing_too_wide(text, width):
    out = wrapped(text, width)
    assert "".join(out.split()) == "".join(text.split())
    longest = max((cell_len(w) for w in text.replace("\n", " ").split()), default=0)
    if longest <= width - 8:  # else a word, or what clings to a character, may stand out
        indents = [len(line) - len(line.lstrip(" ")) for line in text.split("\n")]
        assert all(cell_len(line.strip()) <= width for line in out.split("\n")) or max(indents) > 0


def test_short_code_stays_whole():
    assert wrapped("Change a copy: `up[i] += h` does it, and `np.mean(x * x)`.", 28) == (
        "Change a copy: `up[i] += h`\ndoes it, and\n`np.mean(x * x)`.")
    assert wrapped(f"`{'a b ' * 12}`", 20).count("\n") == 2  # too long for one line


def test_a_long_path_stays_whole():
    assert wrapped("in /a/very/long/path/to/a/file.py now", 16) == "in\n/a/very/long/path/to/a/file.py\nnow"


EXERCISE = Exercise("f", lambda rng: [], abs, [("Look at the mean of what is there, " * 4, ZH)])


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_hints_are_broken_in_a_terminal_and_whole_in_a_pipe(lang):
    made = screen(40, lang)
    made.hints(EXERCISE, 1, solved=False)
    lines = shown(made).split("\n")
    assert len(lines) > 3
    assert all(cell_len(line) <= 40 for line in lines)
    made = screen(40, lang, terminal=False)
    made.hints(EXERCISE, 1, solved=False)
    assert shown(made).count("\n") == 1


# ---- the table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("width", [40, 60, 80, 110])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_table_cuts_nothing(tmp_path, monkeypatch, width, lang, plain):
    monkeypatch.delenv("MINILLM_LESSONS")  # the real ones: their names are long
    start(tmp_path / "mine", lang)
    course = find(tmp_path / "mine")
    course.progress.add("solved", ("04_adam", "adam_step"))
    made = screen(width, lang, plain=plain)
    made.table(course)
    out = shown(made)
    assert "…" not in out
    assert all(cell_len(line.rstrip()) <= width for line in out.split("\n"))
    for slug, lesson in course.shelf.lessons.items():
        assert slug in out
        assert all(name in out for name in lesson.exercises)
        if width < 100:
            assert "".join(lesson.called(lang).split()) in "".join(out.split())
    assert ("[x] adam_step" in out) == (not plain)


# ---- languages ------------------------------------------------------------------------------------------


def test_help_is_in_the_readers_language(tmp_path, learn, monkeypatch):
    assert "The course: lessons with steps and exercises" in learn("--help", cwd=tmp_path)
    for args in (("--lang", "zh", "--help"), ("--help", "--lang=zh")):
        out = learn(*args, cwd=tmp_path)
        assert "课程：每一课都有逐步演示和练习" in out
        assert "给出提示，一次比一次具体" in out
        assert "用法：" in out
    for args in (("check", "--lang", "zh", "-h"), ("--lang", "zh", "check", "--help")):
        out = learn(*args, cwd=tmp_path)
        assert "检查一个练习，或一课的所有练习" in out
        assert "一个练习、一课的名字或编号" in out
        assert "minillm learn check softmax" in out
    out = learn("check", "--help", cwd=tmp_path)  # nothing of the Chinese stays
    assert "Check an exercise" in out
    assert "Options" in out
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert "每隔多少秒看一次文件" in learn("watch", "--help", cwd=tmp_path)
    assert "Seconds between looks" in learn("watch", "--help", "--lang", "en", cwd=tmp_path)
    start(tmp_path / "mine", "en")
    assert "Seconds between looks" in learn("watch", "--help", cwd=tmp_path / "mine" / "lessons")


def test_every_help_text_has_its_chinese():
    from typer.main import get_command

    group = get_command(app)
    commands = {**group.commands, "learn": group}
    assert set(_COMMANDS) == set(commands)
    texts = {p.help for c in commands.values() for p in c.params if "completion" not in (p.help or "")}
    assert texts <= set(_TEXTS)
    assert set(_TEXTS) - texts <= {"Show this message and exit."}


def test_a_course_in_both_languages_speaks_as_the_locale(tmp_path, monkeypatch):
    course = start(tmp_path / "mine", "both")
    assert course.lang == locale_language() == "en"
    monkeypatch.setenv("LC_MESSAGES", "zh_TW.UTF-8")
    assert course.lang == "zh"


@pytest.mark.parametrize(("answer", "done"), [("y\n", True), ("是\n", True), ("YES\n", True), ("n\n", False),
                                              ("\n", False), ("", False), ("what?\n", False)])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_resets_question(tmp_path, learn, answer, done, lang):
    path = start(tmp_path / "mine", lang).file(SLUG)
    path.write_text(path.read_text(encoding="utf-8").replace("raise NotImplementedError", "return"), "utf-8")
    before = path.read_bytes()
    out = learn("reset", "mean_square", cwd=tmp_path / "mine", answer=answer, status=0 if done else 130)
    assert ("恢复原样吗" in out) == (lang == "zh")
    assert (path.read_bytes() != before) == done
    assert (("没有改动" if lang == "zh" else "Nothing was changed") in out) == (not done)


def test_check_says_how_a_file_was_saved(tmp_path, learn):
    path = start(tmp_path / "mine", "zh").file(SLUG)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    out = learn("check", "mean_square", cwd=tmp_path / "mine", status=1)
    assert "lesson.py 换行符是 CRLF：请选 LF" in out
    assert "mean_square：还没有写" in out
    assert "stops at cell" in learn("step", "1", "--lang", "en", cwd=tmp_path / "mine")
    path.write_bytes(path.read_bytes() + "# 均".encode("gbk"))
    out = learn("check", "mean_square", "--lang", "en", cwd=tmp_path / "mine", status=1)
    assert "is not UTF-8" in out
    assert "CRLF" not in out
    learn("step", "1", cwd=tmp_path / "mine", status=1)


def test_reading_with_results(tmp_path, learn):
    course = start(tmp_path / "mine", "zh")
    out = learn("read", "1", "--run", "--solved", "--lang", "en", "--plain", cwd=course.folder)
    assert "[picture: Four bars:" in out
    assert f"pictures/{SLUG}-slope.png\n" in out
    assert (course.folder / "pictures" / f"{SLUG}-slope.png").read_bytes().startswith(b"\x89PNG")
    out = learn("read", "1", "--run", cwd=course.folder)
    assert "你的课程运行到这里停下：第 5 个单元格" in out
    course.file(SLUG).write_text("no lesson")
    learn("read", "1", "--run", cwd=course.folder, status=1)


def test_windows_has_another_command_to_begin(tmp_path, monkeypatch):
    (tmp_path / "activate").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("minillm.cli.learn_screen.WINDOWS", True)
    made = screen(80, terminal=False)
    made.activate()
    assert shown(made).strip() == str(tmp_path / "activate")
