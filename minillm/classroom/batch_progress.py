"""How a batch goes on, in the terminal: a live line, or plain lines now and then where there is none."""

from __future__ import annotations

import time
from collections import Counter

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .report import Report

EVERY = 10.0  # seconds between two plain lines


class BatchProgress:
    """Shows how many are done, how they fared, and the time that is left. Use as a context manager.

    Args:
        console: where to write.
        lang: "en" or "zh".
        plain: lines only.
    """

    def __init__(self, console: Console, lang: str = "en", plain: bool = False) -> None:
        self._console, self._zh = console, lang == "zh"
        self._live = console.is_terminal and not plain
        left = "剩余" if self._zh else "left"
        self._progress = Progress(
            TextColumn("{task.completed}/{task.total}"), BarColumn(bar_width=20),
            TextColumn("{task.fields[fared]}"), TimeRemainingColumn(), TextColumn(left), console=console,
            transient=True, disable=not self._live)
        self._task = self._progress.add_task("", total=None, fared="")
        self._fared: Counter[str] = Counter()
        self._total = self._done = self._graded = 0
        self._began = self._said = time.monotonic()

    def __enter__(self) -> BatchProgress:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def begin(self, total: int) -> None:
        """See batch.Progress."""
        self._total = total
        self._progress.update(self._task, total=total)

    def done(self, report: Report, kept: bool, failed: bool) -> None:
        """See batch.Progress."""
        self._done += 1
        self._graded += not kept
        self._fared["kept"] += kept
        self._fared[_fared(report, failed)] += 1
        self._progress.update(self._task, completed=self._done, fared=self._words())
        now = time.monotonic()
        if not self._live and (now - self._said >= EVERY or self._done == self._total):
            self._said = now
            self._console.print(f"{self._done}/{self._total}  {self._words()}{self._left(now)}", markup=False,
                                highlight=False, soft_wrap=True)

    def _words(self) -> str:
        names = _ZH if self._zh else _EN
        parts = [f"{self._fared[key]} {name}" for key, name in names.items() if self._fared[key]]
        return ("，" if self._zh else ", ").join(parts)

    def _left(self, now: float) -> str:
        """How long the rest takes, if each takes as long as those so far."""
        todo = self._total - self._done
        if not todo or not self._graded:
            return ""
        seconds = (now - self._began) / self._graded * todo
        minutes, seconds = divmod(round(seconds), 60)
        return f"  约剩 {minutes}:{seconds:02d}" if self._zh else f"  about {minutes}:{seconds:02d} left"


_EN = {"kept": "kept", "full": "full marks", "part": "in part", "none": "no points", "not_read": "not "
                                                                                                 "readable",
       "failed": "grader failed"}
_ZH = {"kept": "份沿用", "full": "份满分", "part": "份部分得分", "none": "份零分", "not_read": "份无法读取",
       "failed": "份评分程序出错"}


def _fared(report: Report, failed: bool) -> str:
    if failed:
        return "failed"
    if report.state != "graded":
        return "not_read"
    if report.score >= report.points:
        return "full"
    return "part" if report.score else "none"
