"""Steps in a terminal: the keys that walk through them, and all of them as plain text."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from rich.console import Console, Group
from rich.text import Text

Lines = list[tuple[str, str]]  # (label, text) of a step
Route = tuple[str, list[int]]  # what is followed, and the steps that it goes through

WORDS = {
    "en": {"keys": "→ next  ← back  Home/End  f follow  g go to  ? keys  q quit",
           "following": "following {0}",
           "help": "→, n, Space or Enter: next step. ← or p: step before. Home, End: first and last step.\n"
                   "f: go only through the steps that this value takes part in; f again: through all.\n"
                   "g, a number and Enter: go to that step. q: quit. Any key closes this help."},
    "zh": {"keys": "→ 下一步  ← 上一步  Home/End 首尾  f 跟踪  g 跳转  ? 按键  q 退出",
           "following": "正在跟踪 {0}",
           "help": "→、n、空格或回车：下一步。← 或 p：上一步。Home、End：第一步、最后一步。\n"
                   "f：只看这个值参与的步骤；再按 f：恢复全部步骤。\n"
                   "g、数字、回车：跳到那一步。q：退出。按任意键关闭本说明。"},
}
WIDTH = 88  # columns, where nobody says how many there are
LEAST = 24  # columns that an array is given, however narrow the terminal


class View(Protocol):
    """Steps that can be walked through: a `RecordingView` or a `KernelView`."""

    lang: str

    def __len__(self) -> int: ...
    @property
    def title(self) -> str: ...
    @property
    def about(self) -> str: ...
    def lines(self, index: int, width: int = WIDTH) -> Lines: ...
    def show(self, index: int, width: int = WIDTH) -> Group: ...
    def follow(self, index: int) -> Route: ...


def numbers(x: Any, width: int = WIDTH) -> str:
    """An array's shape and its numbers, few enough to read and to fit; several rows stand below the shape.

    Args:
        x: an array, or a number, which has no shape.
        width: columns; a row is shortened with ... before it is broken.
    """
    x, width = np.asarray(x), max(width, LEAST)
    if x.ndim == 0:
        return np.array2string(x, precision=4)
    shape = str(x.shape)
    for edge in (None, 6, 5, 4, 3, 2, 1) if x.size <= 24 else (2, 1):
        text = np.array2string(x, precision=4, threshold=10**9 if edge is None else 0, edgeitems=edge or 3,
                               max_line_width=10**9, separator=" ")
        rows = [row for row in text.split("\n") if row]
        if len(rows) == 1 and len(shape) + 1 + len(text) <= width:
            return f"{shape} {text}"
        if max(len(row) for row in rows) <= width and (len(rows) > 1 or edge in (None, 1)):
            break
    return "\n".join([shape, *rows])


def before_numbers(before: str, x: Any, width: int) -> str:
    """`before` and an array's numbers behind it, or below where that leaves too little room."""
    first = before.rpartition("\n")[2]
    rest = width - columns(first)
    if np.ndim(x) and rest < LEAST:
        return f"{before.rstrip()}\n{numbers(x, width)}"
    return before + numbers(x, rest)


def labelled(lines: Lines) -> Iterator[Text]:
    """The lines of a step with their labels in a column; what stands between ⟦ and ⟧ is lit."""
    width = indent(label for label, _ in lines)
    for label, text in lines:
        body = Text(text.replace("\n", "\n" + " " * width))
        body.highlight_regex(r"⟦.*⟧", "bold yellow")
        yield Text(label + " " * (width - columns(label)), "cyan") + body


def lit(number: int, line: str, begin: int | None = None, end: int | None = None) -> Text:
    """A line of code with its number; the columns from `begin` to `end` lit, or nothing."""
    shown = Text(f"{number:5d}  {line}")
    if begin is not None:
        shown.stylize("bold")
        shown.stylize("black on yellow", 7 + begin, 7 + (len(line) if end is None else end))
    return shown


def heading(view: View) -> Iterator[Text]:
    """The title, and what there is to know before the steps."""
    yield Text(view.title, "bold")
    if view.about:
        yield Text(view.about, "italic")


def columns(text: str) -> int:
    """Columns in a terminal, where Chinese characters take two and accents none."""
    return sum(2 if ord(c) > 0x2E7F else 0 if unicodedata.combining(c) else 1 for c in text)


def indent(labels: Iterable[str]) -> int:
    """Columns that the labels of a step take, with the gap behind them."""
    return max(columns(label) for label in labels) + 2


def print_all(view: View, console: Console) -> None:
    """Every step as plain text, one after the other: for pipes and screen readers."""
    for text in filter(None, (view.title, view.about)):
        console.print(text, highlight=False, markup=False)
    for i in range(len(view)):
        console.print()
        for label, text in view.lines(i, console.width):
            colon = "：" if view.lang == "zh" else ": "
            line = (f"{label}{colon}{text}" if label else text).replace("\n", "\n  ")
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def walk(view: View, console: Console, at: int = 0) -> None:
    """Let the reader step with the keys; ends with q, Ctrl-C or Ctrl-D.

    Args:
        view: it has a step at least.
        console: a terminal.
        at: step to begin at.
    """
    w, last = WORDS[view.lang], len(view) - 1
    followed: Route | None = None
    helping = False
    with keys() as pressed, console.screen(hide_cursor=True) as screen:
        while True:
            note = w["keys"] if followed is None else w["following"].format(followed[0]) + "   " + w["keys"]
            note = w["help"] if helping else note
            screen.update(Group(view.show(at, console.width), Text(), Text(note, "dim")))
            key = next(pressed, "q")
            helping = key == "?" and not helping
            stops: Sequence[int] = range(last + 1) if followed is None else followed[1]
            if key in ("right", "n", " ", "enter"):
                at = next((i for i in stops if i > at), at)
            elif key in ("left", "p"):
                at = next((i for i in reversed(stops) if i < at), at)
            elif key == "home":
                at = stops[0]
            elif key == "end":
                at = stops[-1]
            elif key == "f":
                followed = view.follow(at) if followed is None else None
            elif key == "g":
                at, followed = _asked(pressed, at, last), None
            elif key == "q":
                return


def _asked(pressed: Iterator[str], at: int, last: int) -> int:
    """The step whose number is typed, up to a key that is no digit."""
    typed = ""
    for key in pressed:
        if not key.isdigit():
            break
        typed += key
    return min(max(int(typed) - 1, 0), last) if typed else at


NAMES = {"\x1b[C": "right", "\x1bOC": "right", "\x1b[D": "left", "\x1bOD": "left", "\x1b[H": "home",
         "\x1bOH": "home", "\x1b[1~": "home", "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end",
         "\r": "enter", "\n": "enter", "\x03": "q", "\x04": "q", "": "q"}


@contextmanager
def keys() -> Iterator[Iterator[str]]:
    """The keys that are pressed, by name, without waiting for Enter."""
    if os.name == "nt":
        yield _windows_keys()
        return
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield _posix_keys(fd)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _posix_keys(fd: int) -> Iterator[str]:
    """A sequence that begins with Escape comes in one read."""
    while True:
        try:
            text = os.read(fd, 8).decode(errors="ignore")
        except KeyboardInterrupt:
            text = "\x03"
        yield NAMES.get(text, text)


def _windows_keys() -> Iterator[str]:  # pragma: no cover - not on this system
    import msvcrt

    special = {"M": "right", "K": "left", "G": "home", "O": "end"}
    while True:
        c = msvcrt.getwch()  # type: ignore[attr-defined]
        if c in ("\x00", "\xe0"):
            yield special.get(msvcrt.getwch(), "")  # type: ignore[attr-defined]
        else:
            yield NAMES.get(c, c)
