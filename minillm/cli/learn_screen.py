"""What `minillm learn` says, in English or Chinese, in colour or plain."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from minillm.course.exercise import Exercise
from minillm.course.percent import Lesson
from minillm.course.result import Result
from minillm.course.workspace import Course


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

    def say(self, en: str, zh: str, style: str = "") -> None:
        """A paragraph."""
        self._print(self.words(en, zh), style)

    def _print(self, text: str, style: str = "", wrap: bool = False) -> None:
        """`wrap`: at words, in a terminal; a pipe gets whole lines."""
        self.console.print(text, style="" if self.plain else style, markup=False,
                           soft_wrap=not (wrap and self.console.is_terminal))

    def activate(self) -> None:
        """What to type first where the shell does not find `minillm`."""
        script = Path(sys.executable).with_name("activate")
        if shutil.which("minillm") is None and script.is_file():
            self.code(f"source {script}")

    def code(self, text: str) -> None:
        """Lines to type."""
        for line in text.split("\n"):
            self._print(f"    {line}", "cyan")

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
            self.code("minillm learn read    " + self.words("# the lesson's text", "# 课文") + "\n"
                      "minillm learn step    " + self.words("# its computations, step by step", "# 逐步演示"))
        if not name:
            return
        number = lesson.exercises.index(name) + 1
        done = place in course.progress.solved
        self.say(f"Exercise {number} of {len(lesson.exercises)}: {name}" + (" (solved)" if done else ""),
                 f"练习 {number} / {len(lesson.exercises)}：{name}" + ("（已做对）" if done else ""),
                 style="bold")
        line = course.line_of(slug, name)
        where = f"{_near(course.file(slug))}" + (f":{line}" if line else "")
        self.say(f"Write it in {where}", f"请写在 {where}")
        if doc := _docstring(lesson, name):
            self.console.print()
            self.code(doc)
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
        self._print(f"{result.exercise}: {sign}", style)
        if not result.passed:
            self._print(result.message(self.lang or "en"), wrap=True)
            if result.line is not None:
                self._print(f"    {_near(path)}:{result.line}")
        if result.printed.strip():
            self.say("It printed:", "它打印了：")
            self.code(result.printed.rstrip()[-2000:])
        if result.passed:
            self._print(exercise.explanation(self.lang or "en"), wrap=True)

    def hints(self, exercise: Exercise, count: int, solved: bool) -> None:
        """The first `count` hints; with the reason after success."""
        total = len(exercise.hints)
        for i, pair in enumerate(exercise.hints[:count], 1):
            self.say(f"{i} of {total}. {pair[0]}", f"{i} / {total}：{pair[1]}")
        if solved and any(exercise.why):
            self.say(f"Why it works: {exercise.why[0]}", f"为什么对：{exercise.why[1]}", style="green")
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
        table = Table("", self.words("lesson", "课"), self.words("title", "标题"), minutes,
                      self.words("exercises", "练习"), box=box.SIMPLE_HEAD, pad_edge=False)
        for sign, slug, title, length, solved, marks in rows:
            names = "\n".join(f"\\[{m}] {e}" for m, e in marks)
            table.add_row(sign, slug, title, length, f"{solved}\n{names}" if names else solved)
        self.console.print(table)


def _docstring(lesson: Lesson, name: str) -> str:
    """What an exercise asks for."""
    for node in ast.walk(ast.parse(lesson.cell_of(name).text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return ast.get_docstring(node) or ""
    return ""


def _near(path: Path) -> Path:
    """The path from the current folder, where it lies below."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
