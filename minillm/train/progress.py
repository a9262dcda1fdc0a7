"""Training in the terminal: a live line while it runs, and a line that stays for each evaluation."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class TerminalReporter:
    """Shows loss, bits per character, tokens per second and the time that is left.

    In a pipe or a file there is no live line, only the lines that stay. Use as a context manager.

    Args:
        console: where to write.
        steps: updates in all.
        start: updates that were done in earlier sessions.
    """

    def __init__(self, console: Console, steps: int, start: int = 0) -> None:
        self.console = console
        self.steps = steps
        self._progress = Progress(
            TextColumn("step {task.completed}/{task.total}"), BarColumn(bar_width=10),
            TextColumn("{task.fields[figures]}"), TimeRemainingColumn(), TextColumn("left"),
            console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=steps, completed=start, figures="")
        self._header_shown = False

    def __enter__(self) -> TerminalReporter:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def step(self, record: dict[str, Any]) -> None:
        figures = (f"loss {record['loss']:.2f}  {record['bpc']:.2f} bits/char  "
                   f"{record['tokens_per_s'] / 1000:,.0f}k tokens/s")
        self._progress.update(self._task, completed=record["step"], figures=figures)

    def evaluated(self, record: dict[str, Any]) -> None:
        if not self._header_shown:
            self.console.print("[bold]  step   training  validation  gap    bits per character[/]",
                               highlight=False)
            self._header_shown = True
        self.console.print(
            f"{record['step']:6d}   {record['train_bpc']:8.3f}  {record['val_bpc']:10.3f}  "
            f"{record['gap_bpc']:+.3f}  {'best so far' if record['best'] else ''}".rstrip()
            + f"   [dim]{record['seconds']:.0f} s[/]", highlight=False)

    def sampled(self, record: dict[str, Any]) -> None:
        text = record["sample"].replace("\n", " \N{DOWNWARDS ARROW WITH TIP LEFTWARDS} ")  # one line of it
        self.console.print(f"         [italic dim]{escape(' '.join(text.split()))}[/]", highlight=False,
                           no_wrap=True, overflow="ellipsis")
