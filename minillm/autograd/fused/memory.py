"""Where the memory of freed arrays goes."""

from __future__ import annotations

import numpy as np


def keep_freed_memory() -> None:
    """Let freed arrays of up to 32 MiB stay with the process.

    glibc returns a freed block above its mmap threshold, at first 128 KiB, to the kernel, and the next
    call pays a page fault for every 4 KiB it touches. The threshold follows the largest block freed so
    far (up to 32 MiB), so one block that nobody touches is enough. Elsewhere this does nothing.
    """
    np.empty(32 * 2**20 - 2**13, np.uint8)
