"""The learner's copy: made, found, brought back without losing a character; and its progress file."""

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from minillm.course.percent import parse
from minillm.course.progress import Progress
from minillm.course.shelf import Shelf, lessons_folder
from minillm.course.watch import watch
from minillm.course.workspace import PACKAGE, find, start
from minillm.errors import UserError

LESSONS = Path(__file__).parent / "example_lesson"
SLUG = "01_mean_square"


@pytest.fixture(autouse=True)
def lessons(monkeypatch):
    monkeypatch.setenv("MINILLM_LESSONS", str(LESSONS))


@pytest.fixture
def course(tmp_path):
    return start(tmp_path / "mine")


def test_start_and_find(course, monkeypatch):
    inner = course.folder / "lessons" / SLUG
    monkeypatch.chdir(inner)
    assert find().folder == course.folder
    text = (inner / "lesson.py").read_text(encoding="utf-8")
    assert "NotImplementedError" in text
    assert "np.mean(square" not in text
    assert "动手写" not in text
    assert not list(course.folder.rglob("checks.py"))
    assert course.line_of(SLUG, "mean_square") == text.split("\n").index("def mean_square(x):") + 1


@pytest.mark.parametrize(("texts", "en", "zh"), [("en", True, False), ("zh", False, True),
                                                 ("both", True, True)])
def test_languages(tmp_path, texts, en, zh):
    text = start(tmp_path / "mine", texts).file(SLUG).read_text(encoding="utf-8")
    assert (("## Write it" in text), ("## 动手写" in text)) == (en, zh)
    assert find(tmp_path / "mine").texts == texts


def test_where_no_course_is_made(tmp_path, course):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    for folder, words in ((tmp_path / "full", "not empty"), (course.folder, "already holds"),
                          (tmp_path / "full" / "x", "not empty"),
                          (tmp_path / "full" / "x" / "y", "cannot write"),
                          *((p, "belongs to the package") for p in (
                              PACKAGE / "mine", PACKAGE.parent, LESSONS / "mine", PACKAGE.parent / "tests"))):
        with pytest.raises(UserError, match=words):
            start(folder)
    with pytest.raises(UserError, match="en, zh or both"):
        start(tmp_path / "new", "de")
    with pytest.raises(UserError, match="one below: `cd mine`"):
        find(tmp_path)
    assert (tmp_path / "full" / "x").read_text() == "mine"
    assert not (PACKAGE / "mine").exists()


def test_a_course_inside_the_package_is_refused(monkeypatch, tmp_path, course):
    monkeypatch.setattr("minillm.course.workspace.PACKAGE", tmp_path)
    with pytest.raises(UserError, match="belongs to the package"):
        find(course.folder)


def test_reset_keeps_what_was_written(course):
    path = course.file(SLUG)
    stubs = path.read_text(encoding="utf-8")
    mine = stubs.replace('    raise NotImplementedError("write mean_square here")', "    return 7").replace(
        '    raise NotImplementedError("write mean_square_grad here")', "    return 8  # 我的")
    now = datetime(2026, 1, 2, 3, 4, 5)
    path.write_text(mine, encoding="utf-8")
    course.progress.add("solved", (SLUG, "mean_square"))
    course.progress.add("solved", (SLUG, "mean_square_grad"))
    first = course.reset(SLUG, "mean_square", now)
    assert first.read_text(encoding="utf-8") == mine
    now_text = path.read_text(encoding="utf-8")
    assert "return 7" not in now_text
    assert "return 8  # 我的" in now_text
    assert find(course.folder).progress.solved == {(SLUG, "mean_square_grad")}
    second = course.reset(SLUG, now=now)
    assert second != first
    assert second.read_text(encoding="utf-8") == now_text
    assert path.read_text(encoding="utf-8") == stubs
    assert find(course.folder).progress.solved == set()


def test_reset_of_a_damaged_file(course):
    path = course.file(SLUG)
    stubs = path.read_bytes()
    for damage in (b"no lesson", b"\xff\xfe", stubs.replace(b"exercise=", b"exorcise=")):
        path.write_bytes(damage)
        with pytest.raises(UserError, match="resets the whole lesson"):
            course.reset(SLUG, "mean_square")
        assert path.read_bytes() == damage
        assert course.reset(SLUG).read_bytes() == damage
        assert path.read_bytes() == stubs
    path.unlink()
    assert course.reset(SLUG, "mean_square") is None
    assert path.read_bytes() == stubs


def test_nothing_is_reset_that_cannot_be_kept(course):
    (course.folder / "backups").write_text("a file")
    before = course.file(SLUG).read_bytes()
    with pytest.raises(UserError, match="nothing was reset"):
        course.reset(SLUG)
    assert course.file(SLUG).read_bytes() == before


def test_missing_lessons_are_copied_again(course):
    course.file(SLUG).unlink()
    assert course.copy_missing() == [SLUG]
    course.file(SLUG).write_text("mine")
    assert course.copy_missing() == []
    assert course.file(SLUG).read_text() == "mine"


# ---- progress -----------------------------------------------------------------------------------------


def test_progress_is_read_as_written(tmp_path):
    path = tmp_path / "progress.txt"
    progress = Progress.read(path)
    for event in ("at a", "hint a", "hint a", "solved a", "solved b", "reset b", "at "):
        name, _, exercise = event.partition(" ")
        progress.add(name, (SLUG, exercise))
    again = Progress.read(path)
    assert again == progress
    assert (again.at, again.solved, again.hints) == ((SLUG, ""), {(SLUG, "a")}, {(SLUG, "a"): 2})
    assert path.read_text().split("\n")[1].endswith(f"  at  {SLUG}  a")


def test_a_damaged_progress_file_loses_nothing(tmp_path):
    path = tmp_path / "progress.txt"
    damaged = (b"2026-01-01 10:00:00  solved  01_a  f\n<<<<<<< HEAD\n\xff\xfe\x00 2026\n"
               b"2026-01-01 10:00:01  at  01_a  f\n=======\n2026-01-01 10:00:02  at  01_a  g\nopen line")
    path.write_bytes(damaged)
    progress = Progress.read(path)
    assert progress.at == ("01_a", "g")
    assert progress.solved == {("01_a", "f")}
    assert progress.unreadable == [2, 3, 5, 7]
    progress.add("solved", ("01_a", "g"))
    assert path.read_bytes().startswith(damaged + b"\n2")
    assert Progress.read(path).solved == {("01_a", "f"), ("01_a", "g")}


def test_a_clock_that_goes_back_loses_nothing(tmp_path):
    """As where summer time ends, or the learner travels west."""
    path = tmp_path / "progress.txt"
    noon = datetime(2026, 10, 25, 12)
    progress = Progress.read(path)
    for event, exercise, hours in (("at", "f", 0), ("reset", "f", 0), ("solved", "f", -1), ("at", "g", -1),
                                   ("checked", "h", -2), ("at", "i", 1)):
        progress.add(event, ("01_a", exercise), noon + timedelta(hours=hours))
        assert Progress.read(path) == progress
    assert (progress.at, progress.solved, progress.checked) == (("01_a", "i"), {("01_a", "f")}, None)
    times = [line[:19] for line in path.read_text().split("\n")[1:-1]]
    assert times == ["2026-10-25 12:00:00"] * 5 + ["2026-10-25 13:00:00"]
    back = path.read_text().replace("12:00:00  at  01_a  g", "09:00:00  at  01_a  g")
    path.write_text(back.replace("13:00:00  at  01_a  i", "08:00:00  at  01_a  i"))
    assert Progress.read(path).at == ("01_a", "i")  # a file that an older minillm wrote


def test_progress_that_is_no_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        Progress.read(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        Progress(tmp_path).add("at", ("a", "b"))


# ---- lessons and watching -------------------------------------------------------------------------------


def test_what_a_learner_types():
    shelf = Shelf(lessons_folder())
    assert shelf.slugs == (SLUG,)
    for what, place in (("1", (SLUG, "")), ("01", (SLUG, "")), (SLUG, (SLUG, "")), ("square", (SLUG, "")),
                        ("mean_square", (SLUG, "mean_square")),
                        (f"{SLUG}/mean_square", (SLUG, "mean_square"))):
        assert shelf.find(what) == place
    for what in ("2", "nothing", "", "/", f"{SLUG}/nothing"):
        with pytest.raises(UserError, match="no lesson and no exercise"):
            shelf.find(what)


def test_lessons_are_somewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("MINILLM_LESSONS", str(tmp_path / "none"))
    with pytest.raises(UserError, match="MINILLM_LESSONS"):
        lessons_folder()


def test_watch_looks_again_after_each_save(tmp_path):
    path, other = tmp_path / "a.py", tmp_path / "b.py"
    path.write_text("1")
    other.write_text("1")
    current, checks, slept = [path], [], []

    def save(text):
        stamp = current[0].stat().st_mtime_ns if current[0].exists() else 0
        current[0].write_text(text)
        os.utime(current[0], ns=(stamp + 10**9, stamp + 10**9))

    events = [lambda: None, lambda: save("2"), lambda: None, lambda: path.unlink(), lambda: save("2"),
              lambda: current.__setitem__(0, other), lambda: None]
    wanted = [1, 1, 2, 2, 2, 3, 4]

    def sleep(seconds):
        slept.append(seconds)
        assert len(checks) == wanted[len(slept) - 1], len(slept)
        if len(slept) == len(events):
            raise KeyboardInterrupt
        events[len(slept) - 1]()

    with pytest.raises(KeyboardInterrupt):
        watch(lambda: current[0], lambda: checks.append(current[0]), interval=3.0, sleep=sleep)
    assert slept == [3.0] * len(events)
    assert checks[-1] == other


@pytest.mark.parametrize(("texts", "words"), [("en", "you need not read"), ("zh", "只为课文服务")])
def test_the_learners_file_says_what_its_stage_hands_are(tmp_path, texts, words):
    course = start(tmp_path / "mine", texts)
    slug = course.shelf.slugs[0]
    text = course.file(slug).read_text(encoding="utf-8")
    top = text[:text.index("# %%")]
    assert words in top
    assert 'says("2.21"' in top
    assert len(parse(text).cells) == len(parse(course.stubs(slug)).cells)
    assert parse(text).cells[0].kind == "markdown"
