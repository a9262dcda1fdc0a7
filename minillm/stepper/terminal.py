"""Steps in a terminal: the keys that walk through them, and all of them as plain text."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from rich.console import Console, Group
from rich.text import Text

Lines = list[tuple[str, str]]  # (label, text) of a step
Route = tuple[str, list[int]]  # what is followed, and the steps that it goes through

WORDS = {
    "en": {"keys": "→ next  ← back  Home/End  f follow  g go to  q quit", "following": "following {0}"},
    "zh": {"keys": "→ 下一步  ← 上一步  Home/End 首尾  f 跟踪  g 跳转  q 退出", "following": "正在跟踪 {0}"},
}


class View(Protocol):
    """Steps that can be walked through: a `RecordingView` or a `KernelView`."""

    lang: str

    def __len__(self) -> int: ...
    @property
    def title(self) -> str: ...
    def lines(self, index: int) -> Lines: ...
    def show(self, index: int) -> Group: ...
    def follow(self, index: int) -> Route: ...


def numbers(x: Any, width: int = 88) -> str:
    """An array's numbers, few enough to read; its shape where there are more than one."""
    x = np.asarray(x)
    text = np.array2string(x, precision=4, threshold=24, edgeitems=2, max_line_width=width, separator=" ")
    return text if x.ndim == 0 else f"{text}  {x.shape}"


def labelled(lines: Lines) -> Iterator[Text]:
    """The lines of a step with their labels in a column; what stands between ⟦ and ⟧ is lit."""
    width = max(_width(label) for label, _ in lines) + 2
    for label, text in lines:
        body = Text(text.replace("\n", "\n" + " " * width))
        body.highlight_regex(r"⟦.*⟧", "bold yellow")
        yield Text(label + " " * (width - _width(label)), "cyan") + body


def lit(number: int, line: str, begin: int | None = None, end: int | None = None) -> Text:
    """A line of code with its number; the columns from `begin` to `end` lit, or nothing."""
    shown = Text(f"{number:5d}  {line}")
    if begin is not None:
        shown.stylize("bold")
        shown.stylize("black on yellow", 7 + begin, 7 + (len(line) if end is None else end))
    return shown


def _width(text: str) -> int:
    """Columns in a terminal, where Chinese characters take two."""
    return sum(2 if ord(c) > 0x2E7F else 1 for c in text)


def print_all(view: View, console: Console) -> None:
    """Every step as plain text, one after the other: for pipes and screen readers."""
    console.print(view.title, highlight=False, markup=False)
    for i in range(len(view)):
        console.print()
        for label, text in view.lines(i):
            line = f"{label}: {text}" if label else text
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
    with keys() as pressed, console.screen(hide_cursor=True) as screen:
        while True:
            note = w["keys"] if followed is None else w["following"].format(followed[0]) + "   " + w["keys"]
            screen.update(Group(view.show(at), Text(), Text(note, "dim")))
            key = next(pressed, "q")
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
