"""`minillm learn`: the course on the command line, in the learner's own copy of the lessons."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from minillm.cli.learn_help import LearnCommand, LearnGroup
from minillm.cli.learn_screen import Screen, near
from minillm.course import watch as watching
from minillm.course import workspace
from minillm.course.check_process import check_file
from minillm.course.lesson_api import run_lesson, steppers_that_tell_nothing
from minillm.course.percent import LessonError
from minillm.course.reading import Reader, keep_picture, with_own_code
from minillm.course.saved_text import NotUtf8, read_saved
from minillm.course.workspace import Course
from minillm.errors import UserError

learn = typer.Typer(cls=LearnGroup, help="The course: lessons with steps and exercises, in your own "
                    "copy. Without a command it shows where you are, and what is next.",
                    epilog="Examples:  minillm learn start my-course   |   minillm learn next   |   "
                           "minillm learn check   |   minillm learn hint   |   minillm learn watch")

Lang = Annotated[str | None, typer.Option("--lang", help="en or zh; else as the course was started.")]
Plain = Annotated[bool, typer.Option("--plain", help="Text alone: no colours, no boxes.")]
Where = Annotated[str | None, typer.Argument(
    help="An exercise, a lesson's name or its number; else the next one.")]
What = Annotated[str | None, typer.Argument(
    help="An exercise, a lesson's name or its number; else where you are.")]
_common: dict[str, Any] = {}
command = functools.partial(learn.command, cls=LearnCommand)


@learn.callback(invoke_without_command=True)
def where(context: typer.Context, lang: Lang = None, plain: Plain = False) -> None:
    """Show where you are in the course, and what is next."""
    _common.update(lang=lang, plain=plain)
    if context.invoked_subcommand is None:
        course, screen = _open()
        screen.overview(course)


def _open(lang: str | None = None, plain: bool = False) -> tuple[Course, Screen]:
    """The course of the current folder, and how to speak to the learner."""
    screen = _screen(lang, plain)
    course = workspace.find()
    if screen.lang is None:
        screen.lang = course.lang
    if course.progress.unreadable:
        lines = course.progress.unreadable
        more = f" (+{len(lines) - 1})" if len(lines) > 1 else ""
        name = course.progress.path.name
        screen.say(f"note: line {lines[0]}{more} of {name} is not understood and is passed over; nothing in "
                   "the file was changed",
                   f"提示：{name} 第 {lines[0]} 行{more}看不懂，已跳过；文件内容没有改动", style="yellow")
    return course, screen


def _screen(lang: str | None, plain: bool) -> Screen:
    lang = lang or _common.get("lang")
    if lang not in (None, "en", "zh"):
        raise UserError(f"lang = {lang!r} must be en or zh")
    return Screen(lang, plain or bool(_common.get("plain")))


@command()
def start(folder: Annotated[Path, typer.Argument(help="A new folder.")],
          lang: Annotated[str | None, typer.Option(
              "--lang", help="Texts of the lessons: en, zh or both; else as your locale says.")] = None,
          plain: Plain = False) -> None:
    """Make your own copy of the lessons in a new folder.

    Examples:  minillm learn start my-course   |   minillm learn start my-course --lang zh
    """
    texts = lang or _common.get("lang") or workspace.locale_language()
    course = workspace.start(folder, texts)
    screen = Screen(course.lang, plain or bool(_common.get("plain")))
    n = len(course.shelf.slugs)
    screen.say(f"{folder} holds your copy of {n} lesson{'s' * (n != 1)}. Go on with:",
               f"{folder} 里是你的课程副本，共 {n} 课。接下来：")
    screen.activate()
    screen.code(f"cd {folder}\nminillm learn next")


@command("next")
def go_on(what: Where = None, lang: Lang = None, plain: Plain = False) -> None:
    """Go on to the next exercise or lesson, or to one that you name.

    Examples:  minillm learn next   |   minillm learn next 6   |   minillm learn next softmax
    """
    _move(1, lang, plain, what)


@command("prev")
def go_back(lang: Lang = None, plain: Plain = False) -> None:
    """Go back to the exercise before.

    Examples:  minillm learn prev
    """
    _move(-1, lang, plain)


def _move(by: int, lang: str | None, plain: bool, what: str | None = None) -> None:
    course, screen = _open(lang, plain)
    course.copy_missing()
    places = course.shelf.places
    at = places.index(course.progress.at) if course.progress.at in places else -1
    if by > 0 and at >= 0 and places[at][1] and places[at] not in course.progress.solved:
        screen.say(f"{places[at][1]} is not solved yet; `minillm learn prev` comes back to it.",
                   f"{places[at][1]} 还没有做对；`minillm learn prev` 可以回到这里。", style="yellow")
    to = at + by
    if what is not None:
        slug, name = course.shelf.find(what)
        to = next(k for k, place in enumerate(places) if place[0] == slug and name in ("", place[1]))
    if to >= len(places):
        screen.say("That was the last exercise of the course.", "这是课程的最后一个练习。")
        screen.overview(course)
    elif to < 0:
        screen.say("This is the beginning of the course; `minillm learn next` goes on.",
                   "这里是课程的开头；用 `minillm learn next` 继续。")
    else:
        new_lesson = at < 0 or places[at][0] != places[to][0]
        course.progress.add("at", places[to])
        screen.place(course, places[to], new_lesson)


@command()
def check(what: What = None, lang: Lang = None, plain: Plain = False) -> None:
    """Check an exercise, or all exercises of a lesson; says what is wrong, and its likely cause.

    Examples:  minillm learn check   |   minillm learn check softmax   |   minillm learn check 3
    """
    course, screen = _open(lang, plain)
    slug, name = _place(course, what)
    names = (name,) if name else course.shelf.lessons[slug].exercises
    if name and (slug, name) != (course.progress.checked or course.progress.at):
        course.progress.add("checked", (slug, name))  # a hint without a name is for this one
    right = [_check(course, screen, (slug, one)) for one in names]
    raise typer.Exit(0 if all(right) else 1)


def _place(course: Course, what: str | None) -> tuple[str, str]:
    """What the learner names, or where the learner is, or the beginning."""
    if what is not None:
        return course.shelf.find(what)
    places = course.shelf.places
    if not places:
        raise UserError(f"{course.shelf.folder} holds no lessons")
    return course.progress.at if course.progress.at in places else places[0]


def _check(course: Course, screen: Screen, place: tuple[str, str]) -> bool:
    slug, name = place
    exercise = course.shelf.exercise(slug, name)
    with contextlib.suppress(OSError, NotUtf8):  # the check itself says so
        if note := read_saved(course.file(slug)).note:
            screen.say(*note, style="yellow")
    try:
        result = check_file(course.file(slug), course.shelf.checks(slug), name)
    except RuntimeError as error:
        raise UserError(str(error)) from None
    screen.result(result, course.file(slug), exercise)
    if result.passed:
        if place not in course.progress.solved:
            course.progress.add("solved", place)
        if all((slug, one) in course.progress.solved for one in course.shelf.lessons[slug].exercises):
            screen.say(f"Lesson {slug[:2]} is done: all its exercises are solved.",
                       f"第 {int(slug[:2])} 课完成：练习全部做对了。", style="green")
        screen.say("`minillm learn next` goes on.", "用 `minillm learn next` 继续。")
    return result.passed


@command()
def hint(what: What = None,
         all_hints: Annotated[bool, typer.Option("--all", help="All hints at once.")] = False,
         lang: Lang = None, plain: Plain = False) -> None:
    """Show a hint, each time a more concrete one; after success, all of them and why it works.

    Examples:  minillm learn hint   |   minillm learn hint softmax --all
    """
    course, screen = _open(lang, plain)
    checked = course.progress.checked
    if what is None and checked in course.shelf.places and checked not in course.progress.solved:
        what = "/".join(checked)
    slug, name = _place(course, what)
    if not name:
        raise UserError(f"{slug} is a lesson; name one of its exercises: "
                        f"{', '.join(course.shelf.lessons[slug].exercises)}")
    exercise = course.shelf.exercise(slug, name)
    seen = course.progress.hints.get((slug, name), 0)
    solved = (slug, name) in course.progress.solved
    count = len(exercise.hints) if solved or all_hints else min(seen + 1, len(exercise.hints))
    if not solved and seen < len(exercise.hints):
        course.progress.add("hint", (slug, name))
    screen.hints(exercise, count, solved)


@command()
def reset(what: What = None,
          yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
          lang: Lang = None, plain: Plain = False) -> None:
    """Put an exercise, or a whole lesson, back as it was; what you wrote is kept in backups/.

    Examples:  minillm learn reset   |   minillm learn reset softmax   |   minillm learn reset 3 --yes
    """
    course, screen = _open(lang, plain)
    slug, name = _place(course, what)
    path = course.file(slug)
    what = name or slug
    if not yes and not screen.agreed(f"Put {what} in {path} back as it was (a copy is kept)?",
                                     f"把 {path} 中的 {what} 恢复原样吗（会保留备份）？"):
        screen.say("Nothing was changed.", "没有改动。")
        raise typer.Abort
    kept = course.reset(slug, name)
    screen.say(f"{what} is as it was." + (f" What you wrote is kept: {kept}" if kept else ""),
               f"{what} 已恢复原样。" + (f"你写的内容保存在：{kept}" if kept else ""))
    if name and (slug, name) != course.progress.at:
        screen.say(f"`minillm learn check {name}` checks it.", f"用 `minillm learn check {name}` 检查它。")


@command()
def watch(interval: Annotated[float, typer.Option("--interval", help="Seconds between looks.")] = 0.5,
          lang: Lang = None, plain: Plain = False) -> None:
    """Check again whenever you save the file; Ctrl-C ends. Going on stays yours: `minillm learn next`.

    Examples:  minillm learn watch   |   minillm learn watch --interval 2
    """
    if not 0.05 <= interval <= 60:
        raise UserError(f"interval = {interval} is outside 0.05 to 60 seconds")
    course, screen = _open(lang, plain)

    def place() -> tuple[str, str]:
        return _place(workspace.find(course.folder), None)  # `next` may be typed in another terminal

    def again() -> None:
        now = workspace.find(course.folder)
        slug, name = _place(now, None)
        if name:
            _check(now, screen, (slug, name))
        screen.say(f"Watching {now.file(slug)}; Ctrl-C ends.", f"正在监视 {now.file(slug)}；按 Ctrl-C 结束。",
                   style="dim")

    watching.watch(lambda: (course.file(place()[0])), again, interval=interval)


@command()
def progress(lang: Lang = None, plain: Plain = False) -> None:
    """List the lessons and what you have solved.

    Examples:  minillm learn progress   |   minillm learn progress --plain
    """
    course, screen = _open(lang, plain)
    screen.table(course)


@command()
def read(what: What = None,
         run: Annotated[bool, typer.Option(
             "--run", help="Run your copy, and show what each cell prints and draws.")] = False,
         solved: Annotated[bool, typer.Option(
             "--solved", help="With --run: the solutions in place of your exercises.")] = False,
         lang: Lang = None, plain: Plain = False) -> None:
    """Print a lesson's text and code; --run also runs it, and shows results and pictures.

    Examples:  minillm learn read   |   minillm learn read 2 --run   |   minillm learn read 2 --lang zh
    """
    course, screen = _open(lang, plain)
    slug, _ = _place(course, what)
    shown, told = screen.lang or "en", course.shelf.told(slug, screen.lang or "en")
    reader = Reader(screen.console, shown, screen.plain, lambda p: near(keep_picture(course.folder, slug, p)))
    if not run:
        screen.title(slug, told)
        reader.read(told)
        return
    screen.say(f"Running {slug} ...", f"正在运行 {slug} ……", style="dim")
    with _whole(course, slug):
        ran = run_lesson(course.file(slug), shown, solutions=course.shelf.file(slug) if solved else None)
    screen.title(slug, told)
    reader.read(with_own_code(told, ran.lesson, shown), ran)


@contextlib.contextmanager
def _whole(course: Course, slug: str) -> Iterator[None]:
    """A learner's file that is no lesson any more is said in one line."""
    try:
        yield
    except (LessonError, NotUtf8, OSError) as error:
        raise UserError(f"{course.file(slug)} is no lesson any more ({error}); `minillm learn reset {slug}` "
                        "brings it back and keeps what is there") from None


@command()
def step(what: What = None,
         number: Annotated[int | None, typer.Option("--number", help="Which stepper; else all.")] = None,
         solved: Annotated[bool, typer.Option("--solved", help="Run the lesson with its solutions.")] = False,
         lang: Lang = None, plain: Plain = False) -> None:
    """Step through a lesson's computations, forwards and backwards.

    Examples:  minillm learn step   |   minillm learn step 1 --plain   |   minillm learn step 1 --solved
    """
    from minillm.stepper.terminal import print_all, walk
    from minillm.stepper.views import view_of

    course, screen = _open(lang, plain)
    slug, _ = _place(course, what)
    zh = screen.lang == "zh"
    screen.say(f"Running {slug} ...", f"正在运行 {slug} ……", style="dim")
    path, solutions = course.file(slug), course.shelf.file(slug)
    with _whole(course, slug):
        run = run_lesson(path, screen.lang or "en", solutions=solutions if solved else None)
        steppers = list(enumerate(run.steppers, 1))
        if run.error is not None and not solved:
            steppers += steppers_that_tell_nothing(path, solutions, len(steppers))
    if number is not None:
        steppers = [(k, one) for k, one in steppers if k == number]
        if not steppers:
            raise UserError(f"number = {number}: {slug} has no such stepper so far")
    if run.error is not None and not solved:
        screen.say(f"Your lesson stops at {run.error}. What goes through open exercises is left "
                   "out; `minillm learn step --solved` shows it with the solutions.",
                   f"你的课程运行到这里停下：{run.error_zh}。用到未完成练习的演示先不显示；"
                   "`minillm learn step --solved` 会用参考答案全部演示。", style="yellow")
    elif run.error is not None:
        screen.say(f"Your copy of the lesson stops at {run.error}.",
                   f"你的这份课程运行到这里停下：{run.error_zh}。", style="yellow")
    for n, (k, one) in enumerate(steppers, 1):
        title = f"{k}. {one.zh if zh else one.en}"
        view = view_of(one.recording, "zh" if zh else "en", title=title)
        if screen.plain or not (screen.console.is_terminal and sys.stdin.isatty()):
            print_all(view, screen.console)
        else:
            walk(view, screen.console)
            if n < len(steppers):
                screen.say(f"{n} of {len(steppers)} steppers shown; the next: `minillm learn step {slug[:2]} "
                           f"--number {steppers[n][0]}`",
                           f"已看 {n} / {len(steppers)} 个演示；下一个：`minillm learn step {slug[:2]} "
                           f"--number {steppers[n][0]}`")
            break  # q ends them all
