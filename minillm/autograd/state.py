"""What holds for the current thread while it computes: whether the tape is on, and who watches it."""

from __future__ import annotations

import threading
from contextlib import ContextDecorator
from typing import Any


class _State(threading.local):
    """What holds for the current thread: is the tape on, who watches it (see `anomaly.py`), and more."""

    def __init__(self) -> None:
        self.recording = True
        self.before: list[bool] = []  # `recording` outside of each `no_grad` that is open
        self.observer: Any = None
        self.seed: Any = None  # the last 1 on a GPU that a backward pass began with: known unread


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
