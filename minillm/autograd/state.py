"""What holds for the current thread while it computes: whether the tape is on, who watches it, and how."""

from __future__ import annotations

import threading
from contextlib import ContextDecorator
from typing import Any


class _State(threading.local):
    """What holds for the current thread: is the tape on, who watches it (see `anomaly.py`), and more."""

    def __init__(self) -> None:
        self.recording = True
        self.before: list[bool] = []  # `recording` outside of each `no_grad` that is open
        self.seed: Any = None  # the last 1 on a GPU that a backward pass began with: known unread
        self.invariant = 0  # how many `batch_invariant` are open (see `invariant.py`)
        self._observer: Any = None
        self.unusual = False  # there is an observer, or `invariant` > 0: one test for both in every op

    @property
    def observer(self) -> Any:
        """Whoever watches; None: nobody."""
        return self._observer

    @observer.setter
    def observer(self, observer: Any) -> None:
        self._observer = observer
        self.unusual = observer is not None or self.invariant > 0

    def open_invariant(self, by: int) -> None:
        """One `batch_invariant` more (1) or less (-1)."""
        self.invariant += by
        self.unusual = self._observer is not None or self.invariant > 0


state = _State()


class no_grad(ContextDecorator):
    """Compute without recording: results do not require a gradient, nothing is kept for backward.

    A context manager and a decorator: `with no_grad(): ...` or `@no_grad()`.
    """

    def __enter__(self) -> None:
        # Kept by thread: one decorated function may call itself, or run in several threads at once.
        state.before.append(state.recording)
        state.recording = False

    def __exit__(self, *exc: object) -> None:
        state.recording = state.before.pop()
