"""Ctrl-C and SIGTERM as requests, so that a run stops between two steps."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM, to stop between two steps; a second Ctrl-C stops at once."""
    requests: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        if requests:
            raise KeyboardInterrupt
        requests.append(number)

    try:
        before = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, where signals do not come anyway
        before = {}
    try:
        yield requests
    finally:
        for s, old in before.items():
            signal.signal(s, old)
