"""What `minillm learn` says, in English or Chinese, in colour or plain."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from minillm.course.exercise import Exercise
from minillm.course.percent import Lesson
from minillm.course.result import Result
from minillm.course.statement import statement
from minillm.course.workspace import Course
from minillm.course.wrapping import wrapped

WINDOWS = os.name == "nt"
_EMPHASIS = re.compile(r"(?<![A-Za-z0-9_*)\]])(\*{1,2})([^\s*](?:[^*\n]*[^\s*])?)\1(?![A-Za-z0-9_*(])")
_BESIDE = 50  # columns of a table of the lessons beside the names of lessons and exercises; 30 for a title


class Screen:
    """Speaks to the learner.

    Attributes:
        lang: "en" or "zh"; None until the course says.
        plain: no colours, no boxes.
        console: where to.
    """

    def __init__(self, lang: str | None, plain: bool) -> None:
        self.lang = lang
        self.plain = plain
        self.console = Console(no_color=True, highlight=False) if plain else Console(highlight=False)

    def words(self, en: str, zh: str) -> str:
        """The text in the learner's language."""
        return zh if self.lang == "zh" else en

    def say(self, en: str, zh: str, style: str = "", indent: str = "") -> None:
        """A paragraph."""
        self._print(self.words(en, zh), style, indent)

    def _print(self, text: str, style: str = "", indent: str = "") -> None:
        """Broken to a terminal's width, added lines indented; a pipe gets whole lines."""
        if self.console.is_terminal:
            text = wrapped(text, self.console.width, indent)
        self.console.print(text, style="" if self.plain else style, markup=False, soft_wrap=True)

    def agreed(self, en: str, zh: str) -> bool:
        """Whether the learner says yes to a question; no answer is a no."""
        self.console.print(f"{self.words(en, zh)} [y/N]: ", markup=False, soft_wrap=True, end="")
        return sys.stdin.readline().strip().lower() in ("y", "yes", "是", "好", "是的", "好的")

    def activate(self) -> None:
        """What to type first where the shell does not find `minillm`, or is in another folder."""
        script = Path(sys.executable).with_name("activate")
        if shutil.which("minillm") is None and script.is_file():
            # cmd and PowerShell, unlike a Unix shell, take the script's path as a command.
            self.code(str(script) if WINDOWS else f"source {script}")
        if folder := os.environ.get("MINILLM_LEARN_CD"):  # `make learn` went there, not the reader's shell
            self.code(f"cd {folder}")

    def code(self, text: str) -> None:
        """Lines to type, whole: they are copied."""
        for line in text.split("\n"):
            self.console.print(f"    {line}", style="" if self.plain else "cyan", markup=False,
                               soft_wrap=True)

    def title(self, slug: str, lesson: Lesson) -> None:
        """A lesson's title line."""
        self.say(f"Lesson {slug[:2]}: {lesson.title} ({lesson.minutes} minutes)",
                 f"第 {int(slug[:2])} 课：{lesson.title_zh}（约 {lesson.minutes} 分钟）", style="bold")
        self.console.print()

    def overview(self, course: Course) -> None:
        """Where the learner is and what is next."""
        places = [p for p in course.shelf.places if p[1]]
        done = sum(p in course.progress.solved for p in places)
        self.say(f"{done} of {len(places)} exercises solved, in {course.folder}",
                 f"已做对 {done} / {len(places)} 个练习，课程在 {course.folder}")
        if course.progress.at not in course.shelf.places:
            self.say("You have not begun. Next:", "还没有开始。下一步：")
            self.activate()
            self.code("minillm learn next")
            return
        self.activate()
        self.place(course, course.progress.at, new_lesson=True)

    def place(self, course: Course, place: tuple[str, str], new_lesson: bool) -> None:
        """An exercise: its lesson, where to write it and what to write."""
        slug, name = place
        lesson = course.shelf.lessons[slug]
        if new_lesson:
            self.title(slug, lesson)
            waiting = [need for need in lesson.needs if any(
                p[0] == need and p[1] and p not in course.progress.solved for p in course.shelf.places)]
            if waiting:
                self.say(f"It builds on {', '.join(waiting)}, which you have not solved yet.",
                         f"它以 {'、'.join(waiting)} 为基础，那里还有没做的练习。", style="yellow")
            text = self.words("# the lesson's text; with --run, its results too",
                              "# 课文；加上 --run，还有运行结果")
            steps = self.words("# its computations, step by step", "# 逐步演示")
            self.code(f"minillm learn read    {text}\nminillm learn step    {steps}")
        if not name:
            return
        number = lesson.exercises.index(name) + 1
        done = place in course.progress.solved
        self.say(f"Exercise {number} of {len(lesson.exercises)}: {name}" + (" (solved)" if done else ""),
                 f"练习 {number} / {len(lesson.exercises)}：{name}" + ("（已做对）" if done else ""),
                 style="bold")
        line = course.line_of(slug, name)
        where = f"{near(course.file(slug))}" + (f":{line}" if line else "")
        self.say(f"Write it in {where}", f"请写在 {where}")
        if doc := statement(course.shelf.told(slug, self.lang or "en").cell_of(name)):
            self.console.print()
            for asked in doc.split("\n"):
                self._print(f"    {asked}".rstrip(), "cyan")
            self.console.print()
        if done:
            self.say("`minillm learn next` goes on.", "用 `minillm learn next` 继续。")
        else:
            self.say("Then: `minillm learn check` (or `watch`); `minillm learn hint` helps.",
                     "然后：`minillm learn check`（或 `watch`）；需要提示时用 `minillm learn hint`。")

    def result(self, result: Result, path: Path, exercise: Exercise) -> None:
        """What a check found."""
        style = {"passed": "bold green", "not_written": "bold yellow"}.get(result.kind, "bold red")
        signs = {"passed": ("right", "正确"), "not_written": ("not written yet", "还没有写")}
        sign = self.words(*signs.get(result.kind, ("not right yet", "还不对")))
        self._print(self.words(f"{result.exercise}: {sign}", f"{result.exercise}：{sign}"), style)
        if not result.passed:
            self._print(unstarred(result.message(self.lang or "en")))
            if result.line is not None:
                self._print(f"    {near(path)}:{result.line}")
        if result.printed.strip():
            n = result.calls
            self.say("This call printed:" if n == 1 else f"In all {n} calls together it printed:",
                     "这次调用打印了：" if n == 1 else f"{n} 次调用一共打印了：")
            self.code(result.printed.rstrip()[-2000:])
        if result.passed:
            self._print(unstarred(exercise.explanation(self.lang or "en")))

    def hints(self, exercise: Exercise, count: int, solved: bool) -> None:
        """The first `count` hints; with the reason after success."""
        total = len(exercise.hints)
        for i, pair in enumerate(exercise.hints[:count], 1):
            self.say(f"{exercise.name}, hint {i} of {total}. {unstarred(pair[0])}",
                     f"{exercise.name}，提示 {i} / {total}：{unstarred(pair[1])}", indent="   ")
        if solved and any(exercise.why):
            self.say(f"Why it works: {unstarred(exercise.why[0])}", f"为什么对：{unstarred(exercise.why[1])}",
                     style="green")
        elif count < total:
            self.say("`minillm learn hint` again says more.", "再用一次 `minillm learn hint`，提示会更具体。",
                     style="dim")

    def table(self, course: Course) -> None:
        """All lessons, with what is solved."""
        rows = []
        for slug, lesson in course.shelf.lessons.items():
            marks = [("x" if (slug, e) in course.progress.solved else " ", e) for e in lesson.exercises]
            here = course.progress.at is not None and course.progress.at[0] == slug
            rows.append((">" if here else "", slug, lesson.called(self.lang or "en"), f"{lesson.minutes}",
                         f"{sum(m == 'x' for m, _ in marks)}/{len(marks)}", marks))
        minutes = self.words("min", "分钟")
        if self.plain:
            for sign, slug, title, length, solved, marks in rows:
                self._print(f"{sign or ' '} {slug}: {title}, {length} {minutes}, {solved}")
                for mark, name in marks:
                    done = self.words("solved", "已做对") if mark == "x" else self.words("open", "未完成")
                    self._print(f"      {name}: {done}")
            return
        names = max((len(e) + 4 for *_, marks in rows for _, e in marks), default=4)
        slugs = max((len(slug) for _, slug, *_ in rows), default=4)
        if self.console.width >= names + slugs + _BESIDE:
            table = Table("", self.words("lesson", "课"), self.words("title", "标题"), minutes,
                          self.words("exercises", "练习"), box=box.SIMPLE_HEAD, pad_edge=False)
            for k in (1, 3, 4):
                table.columns[k].no_wrap = True
            for sign, slug, title, length, solved, marks in rows:
                boxes = "\n".join(f"[{m}] {e}" for m, e in marks)
                table.add_row(sign, slug, wrapped(title, self.console.width - names - slugs - 20), length,
                              Text(f"{solved}\n{boxes}" if boxes else solved))
            self.console.print(table)
            return
        for sign, slug, title, length, solved, marks in rows:
            self._print(f"{sign or ' '} {slug}", "bold")
            self._folded(f"  {title}")
            self._folded(self.words(f"  {length} min, {solved}", f"  {length} 分钟，{solved}"))
            for mark, name in marks:
                self._folded(f"  [{mark}] {name}")

    def _folded(self, text: str) -> None:
        """A line of a list, broken to the width, of a pipe too."""
        self.console.print(wrapped(text, self.console.width, "  "), markup=False, soft_wrap=True)


def unstarred(text: str) -> str:
    """A text without the stars of *emphasis*; those of products, **arguments and `code` stay."""
    parts = re.split(r"(`[^`]*`)", text)
    for i in range(0, len(parts), 2):
        parts[i] = _EMPHASIS.sub(r"\2", parts[i])
    return "".join(parts)


def near(path: Path) -> Path:
    """The path from the current folder, where it lies below."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
