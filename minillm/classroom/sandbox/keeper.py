"""The keeper: a small process between the grader and the student's, so that nothing outlives either.

It forks the worker, waits, and says how the worker ended. When the grader closes its end of the control
socket, or dies, the keeper kills the worker and all that has descended from it: as child subreaper it
inherits every process that a student's code might leave behind. If the grader has died, it also removes the
worker's folder.

On the control socket it says "pid N", and when nothing is left "exit N", "signal N", or "gone 0" where the
grader wanted that by a "k". A "." before the grader's end of the socket closes means that the grader is well.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
from typing import Any

from . import inside, kernel, namespaces

STILL, ON = b"s", b"c"  # from the grader: keep the worker still, let it go on


def main(setup_path: str, requests: int, replies: int, control_fd: int) -> None:
    """Fork the worker and keep watch; never returns."""
    control = socket.socket(fileno=control_fd)
    with open(setup_path, encoding="utf-8") as file:
        setup: dict[str, Any] = json.load(file)
    setup["keeper"] = os.getpid()
    failed: dict[str, str] = {}
    if kernel.LINUX:
        with contextlib.suppress(OSError):
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        failed = namespaces.unshare(set(setup["layers"]))
    woken, wake = os.pipe()
    child = os.fork()
    if child == 0:
        control.close()
        os.close(woken)
        os.close(wake)
        if kernel.LINUX:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()  # a group of its own, which the keeper can kill without itself
        inside.main(setup, failed, requests, replies)
        os._exit(0)
    os.close(requests)
    os.close(replies)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _say(control, "pid", child)
    status = _wait(child, control, woken)
    _kill_all(child)
    if status is None:
        _say(control, "gone", 0)
    else:
        _say(control, "signal" if os.WIFSIGNALED(status) else "exit", abs(os.waitstatus_to_exitcode(status)))
    if _grader_has_died(control):
        import shutil

        shutil.rmtree(os.path.dirname(setup_path), ignore_errors=True)
    os._exit(0)


def _say(control: socket.socket, word: str, number: int) -> None:
    with contextlib.suppress(OSError):  # the grader may have gone
        control.sendall(f"{word} {number}\n".encode())


def _wait(child: int, control: socket.socket, woken: int) -> int | None:
    """The child's wait status, or None if the grader wants it to end."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if control.fileno() not in ready:
            os.read(woken, 4096)
            continue
        said = b""
        with contextlib.suppress(OSError):  # the grader may have gone
            said = control.recv(1)
        if said not in (STILL, ON):
            return None
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(OSError):
                kill(child, signal.SIGSTOP if said == STILL else signal.SIGCONT)
        _say(control, "heard", 0)


def _grader_has_died(control: socket.socket) -> bool:
    """Wait for the grader's end of the socket; whether it closed without a word."""
    said = b""
    with contextlib.suppress(OSError):
        while data := control.recv(64):
            said += data
    return b"." not in said


def _kill_all(child: int) -> None:
    """End the worker and every descendant, however often it forked."""
    me = os.getpid()
    while True:
        for kill, whom in ((os.killpg, child), (os.kill, child)):
            with contextlib.suppress(OSError):
                kill(whom, signal.SIGKILL)
        for pid in _children(me):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)  # one of them has ended; others may have come to us by that
        except ChildProcessError:
            return


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []
