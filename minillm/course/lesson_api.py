"""What a lesson calls: `says`, `picture`, `step`; and `run_lesson`, which collects what they give."""

from __future__ import annotations

import ast
import contextlib
import contextvars
import io
import os
import re
import sys
import time
import traceback
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minillm.stepper import KernelSteps, Recording
from minillm.stepper.kernel import is_of_kernels

from .figures import Html, close, image, img, notebook_display
from .numbers import matches, unsaid_numbers
from .percent import Cell, Lesson, parse
from .saved_text import read_saved


@dataclass
class Picture:
    """A figure with what it shows in words, in both languages; the bytes are the same on every run."""

    name: str
    alt_en: str
    alt_zh: str
    png: bytes
    svg: bytes


@dataclass
class Stepper:
    """A computation to step through, with its captions."""

    recording: Recording | KernelSteps
    en: str
    zh: str


@dataclass
class CellRun:
    """What running one cell gave.

    Attributes:
        cell: the cell.
        stdout: what it printed.
        pictures, steppers: in order.
        shown: all of these in the order in which they came: text, Picture or Stepper.
        result: of the expression that the cell ends with, if it does.
        seconds: wall clock.
    """

    cell: Cell
    stdout: str = ""
    pictures: list[Picture] = field(default_factory=list)
    steppers: list[Stepper] = field(default_factory=list)
    shown: list[str | Picture | Stepper] = field(default_factory=list)
    result: Any = None
    seconds: float = 0.0


@dataclass
class LessonRun:
    """A lesson, run.

    Attributes:
        lesson: what was run.
        lang: language of the run.
        cells: one for each cell of the lesson that was reached, texts too.
        said: the texts of all `says` calls.
        error: None, or what went wrong, with cell and line; the rest of the cells were not run.
        error_zh: the same in Chinese.
        exception: the exception behind `error`.
        namespace: the lesson's names in the end.
    """

    lesson: Lesson
    lang: str = "en"
    cells: list[CellRun] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    error: str | None = None
    error_zh: str | None = None
    exception: BaseException | None = None
    namespace: dict[str, Any] = field(default_factory=dict)

    @property
    def pictures(self) -> list[Picture]:
        return [p for c in self.cells for p in c.pictures]

    @property
    def steppers(self) -> list[Stepper]:
        return [s for c in self.cells for s in c.steppers]

    @property
    def seconds(self) -> float:
        return sum(c.seconds for c in self.cells)

    def unsaid(self) -> list[str]:
        """Numbers in the text that no `says` covers; see `unsaid_numbers`."""
        return unsaid_numbers(self.lesson.cells, self.said)


_current: contextvars.ContextVar[LessonRun | None] = contextvars.ContextVar("lesson_run", default=None)


def language() -> str:
    """The language of the notes that a lesson prints: of the current run, else MINILLM_LANG, else "en"."""
    run = _current.get()
    if run is not None:
        return run.lang
    return "zh" if os.environ.get("MINILLM_LANG", "").startswith("zh") else "en"


def says(text: str, value: Any) -> None:
    """Hold the lesson's text to what was computed.

    Args:
        text: a number as the text has it: "2.303", "12,345", "1.5x", "98%" (of a value 0.98), "3.2 ms".
        value: the number computed; a scalar, or an array or Tensor of one element.

    Raises:
        AssertionError: the value, rounded to the digits written, is another number.
        ValueError: `text` does not begin with a number.
    """
    number = value.item() if hasattr(value, "item") else value
    if not matches(text, number if isinstance(number, int) else float(number)):
        raise AssertionError(f"the text says {text}, but the value is {number!r}")
    run = _current.get()
    if run is not None:
        run.said.append(text)


def picture(fig: Any, *, alt_en: str, alt_zh: str, name: str) -> None:
    """Show a matplotlib figure: in a run of the lesson it is collected, in a notebook displayed, and a plain
    run prints a line. The figure is closed.

    Args:
        fig: the figure.
        alt_en, alt_zh: what it shows, in words, for those who do not see it.
        name: a short name for its file, such as "loss"; letters, digits, _ and -.

    Raises:
        ValueError: an alt text is missing, or not in its language; the name is unusable or taken.
    """
    if not alt_en.strip() or not alt_zh.strip():
        raise ValueError(f"picture {name!r}: alt_en and alt_zh say in words what the picture shows")
    if not re.search(r"[\u4e00-\u9fff]", alt_zh) or re.search(r"[\u4e00-\u9fff]", alt_en):
        raise ValueError(f"picture {name!r}: alt_en is to be English, alt_zh Chinese")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"picture name {name!r}: letters, digits, _ and - only, such as 'loss'")
    run = _current.get()
    alt = alt_zh if language() == "zh" else alt_en
    if run is not None:
        if name in {p.name for p in run.pictures}:
            raise ValueError(f"two pictures of the lesson are named {name!r}")
        made = Picture(name, alt_en, alt_zh, image(fig, "png"), image(fig, "svg"))
        run.cells[-1].pictures.append(made)
        _show(run, made)
    elif (display := notebook_display()) is not None:
        display(Html(img(image(fig, "png"), alt)))
    else:
        print(f"[图 {name}：{alt}]" if language() == "zh" else f"[picture {name}: {alt}]")
    close(fig)


def step(recording: Any, en: str = "", zh: str = "") -> None:
    """Show a stepper: in a run of the lesson it is collected, in a notebook displayed, and a plain run prints
    a line.

    Args:
        recording: of `minillm.trace`, or of kernels: `kernels.testing.trace_kernel`, `KernelSteps`.
        en, zh: the caption.

    Raises:
        TypeError: not a recording.
        ValueError: a caption is missing.
    """
    if is_of_kernels(recording):
        recording = KernelSteps(recording)
    if not isinstance(recording, Recording | KernelSteps):
        raise TypeError("step takes what minillm.trace or kernels.testing.trace_kernel gives, not "
                        f"{type(recording).__name__}")
    if not en.strip() or not zh.strip():
        raise ValueError("a stepper needs its caption in both languages: step(recording, en=..., zh=...)")
    run = _current.get()
    if run is not None:
        made = Stepper(recording, en, zh)
        run.cells[-1].steppers.append(made)
        _show(run, made)
        return
    display = notebook_display()
    zh_wanted = language() == "zh"
    print(f"[逐步演示：{zh}（共 {len(recording.steps)} 步；用 minillm learn step 打开）]" if zh_wanted else
          f"[stepper: {en} ({len(recording.steps)} steps; `minillm learn step` opens it)]")
    if display is not None:
        display(recording)


def run_lesson(path: str | Path, lang: str = "en", *, lesson: Lesson | None = None,
               solutions: Path | None = None) -> LessonRun:
    """Run a lesson's cells in a fresh namespace, and collect what each printed and showed.

    Args:
        path: the lesson.py; also the file name and line numbers that tracebacks and steppers have.
        lang: language of the run.
        lesson: what to run in place of the file's text, such as `percent.solution_version(...)`.
        solutions: a lesson.py whose exercises are run in place of this one's; their lines are those of that
            file, all others stay what they are in this one.

    Returns:
        The run. It ends at the first cell that fails: `run.error` says where and why.

    Raises:
        OSError, saved_text.NotUtf8, percent.LessonError: the file cannot be read, or is not a lesson.
    """
    path = Path(path)
    lesson = lesson or parse(read_saved(path).text)
    solved = [] if solutions is None else parse(solutions.read_text(encoding="utf-8")).cells
    instead = {c.exercise: c for c in solved if c.exercise}
    os.environ.setdefault("MPLBACKEND", "Agg")
    name = "_lesson_" + re.sub(r"\W", "_", path.resolve().parent.name)
    module = types.ModuleType(name)
    module.__file__ = str(path)
    run = LessonRun(lesson, lang, namespace=module.__dict__)
    token = _current.set(run)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses and Triton look a function's module up
    try:
        for number, cell in enumerate(lesson.cells):
            run.cells.append(CellRun(cell))
            other = instead.get(cell.exercise or "")
            if cell.kind == "code" and not _run_cell(run, number, str(path if other is None else solutions),
                                                     other or cell):
                break
    finally:
        _current.reset(token)
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
    return run


def steppers_that_tell_nothing(path: Path, solutions: Path, after: int) -> list[tuple[int, Stepper]]:
    """The steppers of a learner's copy that do not go through an exercise's solution, with their numbers from
    1 and the lines of the learner's file.

    Args:
        path: the learner's lesson.py, with exercises that are open.
        solutions: the lesson with its solutions.
        after: how many steppers to leave out at the beginning.
    """
    def tells(stepper: Stepper) -> bool:
        return any(place.file == str(solutions) for step in stepper.recording.steps for place in step.places)

    steppers = run_lesson(path, solutions=solutions).steppers
    return [(k, one) for k, one in enumerate(steppers, 1) if k > after and not tells(one)]


_RESULT = "_result_of_the_cell"


def _run_cell(run: LessonRun, number: int, file: str, cell: Cell) -> bool:
    """Run a cell as the last one begun; whether it went well."""
    at = run.cells[-1]
    started = time.perf_counter()
    out = _Captured(at)
    try:
        with contextlib.redirect_stdout(out):
            tree = ast.parse("\n" * (cell.line - 1) + cell.text, file)
            last = tree.body[-1] if tree.body else None
            if isinstance(last, ast.Expr):
                kept = ast.Assign([ast.Name(_RESULT, ast.Store())], last.value)
                tree.body[-1] = ast.fix_missing_locations(ast.copy_location(kept, last))
            exec(compile(tree, file, "exec", dont_inherit=True), run.namespace)
            at.result = run.namespace.pop(_RESULT, None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        line, what = _where(error, file, cell)
        run.error, run.exception = f"cell {number + 1}, line {line}: {what}", error
        run.error_zh = f"第 {number + 1} 个单元格，第 {line} 行：{what}"
        return False
    finally:
        at.seconds = time.perf_counter() - started
    return True


class _Captured(io.TextIOBase):
    """Standard output of a cell: text goes between its pictures and steppers."""

    def __init__(self, at: CellRun) -> None:
        self.at = at

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.at.stdout += text
        if self.at.shown and isinstance(self.at.shown[-1], str):
            self.at.shown[-1] += text
        elif text:
            self.at.shown.append(text)
        return len(text)


def _show(run: LessonRun, what: Picture | Stepper) -> None:
    run.cells[-1].shown.append(what)


def _where(error: BaseException, file: str, cell: Cell) -> tuple[int, str]:
    """(the lesson's own line, `ValueError: ...`)"""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines = [error.lineno]
    text = (error.msg if isinstance(error, SyntaxError) else str(error)).strip().split("\n")[0]
    return (lines[-1] if lines else None) or cell.line, type(error).__name__ + (f": {text}" if text else "")


@contextlib.contextmanager
def quiet_run(lang: str = "en") -> Iterator[LessonRun]:
    """A run without a lesson: what is called inside collects there; for tests and tools."""
    cell = Cell("", "", 1, "code")
    run = LessonRun(Lesson("", "", "", 0, (), (cell,)), lang, [CellRun(cell)])
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)


__all__ = ["CellRun", "LessonRun", "Picture", "Stepper", "language", "picture", "quiet_run", "run_lesson",
           "says", "step"]
