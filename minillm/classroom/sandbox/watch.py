"""Where the kernel does not limit a worker's memory or its files, the grader looks at them now and then."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from . import kernel

EVERY = 0.1  # seconds
FILES, FILE_BYTES = 4096, 64 << 20


class Watch:
    """What is looked at.

    Args:
        memory: bytes that the worker may hold.
        scratch: the folder that it may write to.
    """

    def __init__(self, memory: int, scratch: Path) -> None:
        self.memory, self.scratch = memory, scratch

    def look(self, pid: int) -> tuple[str, str] | None:
        """(kind, message) if the process holds too much, else None."""
        held = resident(pid)
        if held > self.memory:
            return "memory", f"{held >> 20} MiB"
        files, size = usage(self.scratch)
        if files > FILES or size > FILE_BYTES:
            return "too_much_output", f"{files} files of {size >> 20} MiB"
        return None


def resident(pid: int) -> int:
    """Bytes of physical memory that a process holds; 0 if it is gone."""
    try:
        if kernel.LINUX:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        said = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=False)
        return int(said.stdout or b"0") << 10
    except (OSError, ValueError, IndexError):
        return 0


def usage(folder: Path) -> tuple[int, int]:
    """(number of files and folders, their bytes) beneath a folder; more than FILES are not counted."""
    count = size = 0
    waiting = [os.fspath(folder)]
    while waiting and count <= FILES:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                count += 1
                with contextlib.suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_size
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                if count > FILES:
                    break
    return count, size
