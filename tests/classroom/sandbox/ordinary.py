"""`python ordinary.py -m MODULE ...`: run a Python module as an ordinary user, where the tests run as root.

The Python that runs may lie beneath a folder that only root can enter; then, in a mount namespace, that
folder is replaced by one that holds only this Python.
"""

import os
import runpy
import sys
from pathlib import Path

from minillm.classroom.sandbox import kernel

UID = 54321


def readable_by_all(path: Path) -> None:
    """Mount the folder `path` again at the same place, beneath folders that everybody may enter."""
    closed = [p for p in path.parents if not p.stat().st_mode & 0o001]
    if not closed:
        return
    held = os.open(path, os.O_PATH | os.O_DIRECTORY)
    kernel.call("mount", b"tmpfs", str(closed[-1]).encode(), b"tmpfs", 0, b"mode=755")
    path.mkdir(parents=True)
    kernel.call("mount", f"/proc/self/fd/{held}".encode(), str(path).encode(), None, 4096 | 16384, None)
    os.close(held)


def main() -> None:
    """Give root up, run the module."""
    if os.geteuid() == 0:
        kernel.call("unshare", kernel.NEWNS)
        kernel.call("mount", b"none", b"/", None, 16384 | 1 << 18, None)
        readable_by_all(Path(sys.base_prefix).resolve())
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # or /proc/self would be root's
    os.environ["HOME"] = "/"
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
