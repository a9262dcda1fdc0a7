"""Running means over batches, and what `fit` prints of them."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from .callbacks import Logs


class Means:
    """Running means by name, each batch weighted by its size."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, name: str, total: float, count: float) -> None:
        s, n = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = s + total, n + count

    def result(self) -> Logs:
        return {name: self._sums[name][0] / self._sums[name][1] for name in sorted(self._sums)}


class Report:
    """What `fit` prints."""

    def __init__(self, level: int, epochs: int, steps: int) -> None:
        self._on, self._live = level > 0, level == 1 and sys.stdout.isatty()
        self._epochs, self._steps = epochs, steps
        self._head, self._start, self._shown = "", time.perf_counter(), 0.0

    def begin(self, epoch: int) -> None:
        self._head = f"Epoch {epoch + 1}/{self._epochs} - "
        self._start = time.perf_counter()

    def step(self, step: int, means: Means) -> None:
        now = time.perf_counter()
        if self._live and now - self._shown > 0.1:
            self._shown = now
            print(f"\r{self._head}{step + 1}/{self._steps} - loss: {means.result()['loss']:.4f}", end="",
                  flush=True)

    def end(self, logs: Logs) -> None:
        if self._on:
            values = " - ".join(f"{name}: {value:.4f}" for name, value in logs.items())
            seconds = f"{time.perf_counter() - self._start:.1f}s - " if self._head else ""
            print("\r" * self._live + f"{self._head}{seconds}{values}")


def level_of(verbose: Any) -> int:
    """Keras's `verbose` as 0, 1 or 2.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(verbose, int | str | np.integer) or verbose not in ("auto", 0, 1, 2):
        raise ValueError(f"verbose = {verbose!r:.60} must be 'auto', 0, 1 or 2")
    return 1 if verbose == "auto" else int(verbose)
