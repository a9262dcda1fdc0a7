"""Work in a forked child: a kernel that crashes or never ends takes the child with it, not the report.

The child inherits everything, so nothing has to be sent to it; it sends JSON lines back through a pipe.
"""

from __future__ import annotations

import faulthandler
import importlib
import io
import json
import os
import selectors
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from kernels.backends import BackendUnavailable

Progress = Callable[[int], None]


class Ended(Exception):
    """The child was gone before its work was done.

    Attributes:
        words: how it ended.
        at: the last progress that it told, or 0.
        slow: whether it was stopped because it took too long.
    """

    def __init__(self, words: str, at: int, slow: bool) -> None:
        super().__init__(words)
        self.words, self.at, self.slow = words, at, slow


def possible() -> bool:
    """Whether this process may fork and go on computing: not on macOS, nor after work on a GPU."""
    if not hasattr(os, "fork") or sys.platform == "darwin":
        return False
    torch = sys.modules.get("torch")
    return "cupy" not in sys.modules and not (torch is not None and torch.cuda.is_initialized())


def in_child(work: Callable[[Progress], Any], limit: float) -> Any:
    """What `work` returns, computed in a forked child.

    Args:
        work: gets a function to tell its progress with, an int; returns what JSON can hold.
        limit: seconds between two tellings of progress, and after the last.

    Raises:
        Ended: a signal ended the child, or it took too long, or it left Python.
        BackendUnavailable: as `work` raised it.
        RuntimeError: `work` raised anything else; the message is the child's traceback.
    """
    read, write = os.pipe()
    _flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12 about threads: see `_child`
        child = os.fork()
    if child == 0:
        faulthandler.disable()  # the report says it in a line
        os.close(read)
        _child(work, write)
    os.close(write)
    try:
        message = _listen(read, child, limit)
    finally:
        os.close(read)
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if "unavailable" in message:
        raise BackendUnavailable(message["unavailable"])
    if "error" in message:
        raise RuntimeError(f"in the judge's child process:\n{message['error']}")
    for name in message["imported"]:  # so that the next child need not do it again
        with suppress(ImportError):
            importlib.import_module(name)
    return message["result"]


def _child(work: Callable[[Progress], Any], write: int) -> NoReturn:
    status, before = 1, set(sys.modules)

    def tell(message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(write, data):]

    try:
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(1)  # the parent's threads are not here: waiting for them would never end
        try:
            result = work(tell)
            slow_ones = [name for name in sys.modules if name not in before
                         and (name in ("torch", "ml_dtypes") or name.startswith("kernels."))]
            tell({"result": result, "imported": slow_ones})
        except BackendUnavailable as reason:
            tell({"unavailable": str(reason)})
        except Exception:
            tell({"error": traceback.format_exc()})
        status = 0
        _flush()
    finally:
        os._exit(status)


def _listen(read: int, child: int, limit: float) -> Any:
    """The child's last message."""
    at, buffer = 0, b""
    with selectors.DefaultSelector() as selector:
        selector.register(read, selectors.EVENT_READ)
        deadline = time.monotonic() + limit
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise Ended(f"the kernel took longer than {limit:g} s", at, slow=True)
            data = os.read(read, 1 << 16)
            if not data:
                raise Ended(_how(os.waitpid(child, 0)[1]), at, slow=False)
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if not isinstance(message, int):
                    return message
                at, deadline = message, time.monotonic() + limit


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"the kernel crashed the process (signal {number}, {signal.Signals(number).name})"
    return f"the kernel ended the process (exit status {os.WEXITSTATUS(status)})"


def _flush() -> None:
    """Empty the buffers, which a fork would double; a notebook's streams are no files, and have none."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError, ValueError):
                stream.flush()
