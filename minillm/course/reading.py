"""A lesson's text in a terminal, and what its cells give when they are run."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown, Paragraph
from rich.syntax import Syntax

from minillm.files import write_atomically

from .lesson_api import CellRun, LessonRun, Picture, Stepper
from .percent import Cell, Lesson, stub
from .plain_math import plain_formulas
from .stage_hands import names_needed, without_drawing, without_stage_hands
from .wrapping import breaks, wrapped

_LONGEST = 12  # lines of a result


@dataclass
class Reader:
    """Prints a lesson: its text in one language, its code, and its exercises as they are to be written.

    Attributes:
        console: where to.
        lang: "en" or "zh".
        plain: text alone, for pipes and screen readers.
        keep: where a picture's PNG is kept; gives the path to show.
    """

    console: Console
    lang: str = "en"
    plain: bool = False
    keep: Callable[[Picture], Path] | None = None

    def read(self, lesson: Lesson, run: LessonRun | None = None) -> None:
        """Print a lesson.

        Args:
            lesson: solutions between their marks are not shown.
            run: what running its code cells gave, those that were reached; None shows the code alone.
        """
        gave = {} if run is None else {r.cell.line: r for r in run.cells if r.cell.kind == "code"}
        steppers = 0
        for cell in lesson.cells:
            if cell.lang not in (None, self.lang):
                continue
            if cell.kind == "markdown":
                self._text(cell)
                continue
            shown = self._code(cell, lesson)
            if (done := gave.get(cell.line)) is not None:
                steppers = self._outcome(done, steppers)
                shown = shown or bool(done.shown)
                if run is not None and run.error is not None and done is run.cells[-1]:
                    self._say(f"Your lesson stops at {run.error}. The rest is shown without results; "
                              "`minillm learn read --run --solved` takes the solutions.",
                              f"你的课程运行到这里停下：{run.error_zh}。下面只有课文和代码；"
                              "`minillm learn read --run --solved` 会用参考答案继续。", "yellow")
            if shown:
                self.console.print()

    def _text(self, cell: Cell) -> None:
        # Formulas are put in their places when emphasis has been read: theirs are other stars.
        formulas: list[str] = []

        def hold(formula: str) -> str:
            formulas.append(formula)
            return f"\ue000{len(formulas) - 1}\ue001"

        text = plain_formulas(cell.markdown, hold)
        if self.plain:
            self.console.print(_put_back(_bare(text), formulas), markup=False, highlight=False,
                               soft_wrap=True)
        else:
            self.console.print(_Markdown(text, formulas))
        self.console.print()

    def _code(self, cell: Cell, lesson: Lesson) -> bool:
        """Print a cell's code; whether there was any to print."""
        hidden = 0
        if cell.exercise:
            code = stub(cell, self.lang).code
        else:
            later = lesson.cells[lesson.cells.index(cell) + 1:]
            needed = {name for c in later if c.kind == "code" for name in names_needed(c.code)}
            code, hidden = without_drawing(cell.code, needed)
            code = without_stage_hands(code)
        code = code.strip("\n")
        if code and self.plain:
            self._say_plain("".join(f"    {line}\n" for line in code.split("\n")).rstrip("\n"))
        elif code:
            self.console.print(Syntax(code, "python", background_color="default", word_wrap=True))
        if hidden:
            self._say(f"(code that draws the picture: {hidden} line{'s' * (hidden > 1)})",
                      f"（画图的代码：{hidden} 行）", "dim")
        return bool(code or hidden)

    def _outcome(self, done: CellRun, steppers: int) -> int:
        """Print what a cell gave; how many steppers there have been."""
        for shown in done.shown:
            if isinstance(shown, str):
                self._block(shown)
            elif isinstance(shown, Stepper):
                steppers += 1
                n = len(shown.recording.steps)
                self._say(f"[stepper {steppers}: {shown.en} ({n} steps); `minillm learn step --number "
                          f"{steppers}` opens it]", f"[逐步演示 {steppers}：{shown.zh}（共 {n} 步）；"
                          f"用 `minillm learn step --number {steppers}` 打开]", "cyan")
            elif isinstance(shown, Picture):
                self._say(f"[picture: {shown.alt_en}]", f"[图：{shown.alt_zh}]", "cyan")
                if self.keep is not None:
                    self._say_plain(f"    {self.keep(shown)}")
        if done.result is not None and not done.pictures:
            lines = _written(done.result).split("\n")
            self._block("\n".join(lines[:_LONGEST] + ["..."] * (len(lines) > _LONGEST)), "= ")
        return steppers

    def _block(self, text: str, sign: str = "") -> None:
        """What a cell printed, set off from its code."""
        for i, line in enumerate(text.rstrip("\n").split("\n")):
            begin = sign if i == 0 else " " * len(sign)
            self._say_plain(f"{'  ' if self.plain else '│ '}{begin}{line}".rstrip(),
                            "" if self.plain else "green")

    def _say(self, en: str, zh: str, style: str = "") -> None:
        text = zh if self.lang == "zh" else en
        if self.console.is_terminal:
            text = wrapped(text, self.console.width)
        self._say_plain(text, "" if self.plain else style)

    def _say_plain(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _written(result: object) -> str:
    """A result as Python shows it; one of a learner's own may not be able to."""
    try:
        return repr(result)
    except Exception:
        return f"<{type(result).__name__}>"


class _Paragraph(Paragraph):
    """A paragraph whose lines end beside any Chinese character."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.text.split("\n"):
            for part in line.divide(breaks(line.plain, options.max_width)):
                part.rstrip()
                yield part


class _Markdown(Markdown):
    """A text whose formulas are put in their places once it is parsed."""

    elements: ClassVar = {**Markdown.elements, "paragraph_open": _Paragraph}

    def __init__(self, text: str, formulas: list[str]) -> None:
        super().__init__(text)
        for token in self.parsed:
            for one in (token, *(token.children or ())):
                one.content = _put_back(one.content, formulas)


def _put_back(text: str, formulas: list[str]) -> str:
    """A text with its formulas where their numbers stand."""
    return re.sub("\ue000(\\d+)\ue001", lambda m: formulas[int(m[1])], text)


def with_own_code(told: Lesson, own: Lesson, lang: str) -> Lesson:
    """What to show to a learner who runs a copy: its code as it stands, and the texts in a language.

    Args:
        told: the lesson with all texts.
        own: the learner's copy, which may have the texts of the other language.
        lang: "en" or "zh".
    """
    theirs = [c for c in own.cells if c.kind == "code"]
    if any(c.lang == lang for c in own.cells) or len(theirs) != sum(c.kind == "code" for c in told.cells):
        return own
    code = iter(theirs)
    return replace(told, cells=tuple(next(code) if c.kind == "code" else c for c in told.cells))


def keep_picture(folder: Path, slug: str, picture: Picture) -> Path:
    """Write a picture's PNG into the learner's folder, as pictures/SLUG-NAME.png; its path.

    Raises:
        UserError: the disk refuses.
    """
    path = folder / "pictures" / f"{slug}-{picture.name}.png"
    with suppress(OSError):  # the write says why
        path.parent.mkdir(exist_ok=True)
    write_atomically(path, picture.png, flush=False)
    return path


def _bare(text: str) -> str:
    """Markdown without the signs of emphasis."""
    return re.sub(r"(\*\*|__)(.+?)\1", r"\2", text).strip("\n")
