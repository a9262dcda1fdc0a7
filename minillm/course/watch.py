"""Watch a file: check again whenever it is saved."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def watch(current: Callable[[], Path], on_change: Callable[[], object], *, interval: float = 0.5,
          sleep: Callable[[float], object] = time.sleep) -> None:
    """Call `on_change` at first and whenever the file is another, or was written; until Ctrl-C.

    Times of change are polled: notices of the file system do not arrive on every one (WSL, network).

    Args:
        current: the file to watch; asked each time, since the learner may have gone on.
        on_change: what to do.
        interval: seconds between looks.
        sleep: waits; raises KeyboardInterrupt to end.
    """
    seen: object = None
    while True:
        now = stamp(current())
        # An editor may take the file away for a moment.
        if now != seen and (now[2] >= 0 or seen is None):
            seen = now
            on_change()
        sleep(interval)


def stamp(path: Path) -> tuple[str, int, int]:
    """(path, time of change, size): another after each save; size -1 where no file is."""
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, -1
    return str(path), status.st_mtime_ns, status.st_size
