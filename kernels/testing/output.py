"""What the package's tables do when nobody reads them to their end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def without_reader(command: Callable[[], int]) -> int:
    """The command's exit status; 1, and no traceback, if what read its output has gone, as `head` does."""
    try:
        status = command()
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
