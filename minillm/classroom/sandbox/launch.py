"""Starting a worker's process, speaking with it, and ending it with all that came of it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import frames
from .frames import Decoder, Frame, FrameError
from .keeper import ON, STILL
from .watch import EVERY, Watch

PIECE = 1 << 16
MOST_PRINTED = 100  # a worker may print this many times what is kept
STOP = 3.0  # seconds that a keeper may take to end everything


class Stopped(Exception):
    """The worker is dead, by itself or by the grader; `kind` is one of report.KINDS."""

    def __init__(self, kind: str, message: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class Process:
    """A worker's process, its folder, and the descriptors to it.

    Args:
        files: name -> content, written to a private folder.
        setup: what the worker is told; its folders are added.
        keep: bytes of its output that are kept; `MOST_PRINTED` times as many end it.
        watch: bytes of memory that it may hold, looked at now and then (0: the kernel does that).
    """

    def __init__(self, files: Mapping[str, bytes], setup: Mapping[str, Any], *, keep: int,
                 watch: int = 0) -> None:
        self.keep = keep
        self._said: dict[str, int] = {}  # by the keeper
        self.printed, self.printed_bytes = bytearray(), 0
        self.decoder = Decoder(frames.OVERHEAD)
        self.dead: Stopped | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="minillm-worker-")).resolve()
        fds: list[int] = []
        try:
            code, scratch, root = (self.folder / name for name in ("code", "scratch", "root"))
            for folder in (code, scratch, root):
                folder.mkdir(mode=0o755)
            self.watch = Watch(watch, scratch) if watch else None
            for name, content in files.items():
                (code / name).write_bytes(content)
            told = {**setup, "folder": str(code), "scratch": str(scratch), "root": str(root)}
            (self.folder / "setup.json").write_text(json.dumps(told), encoding="utf-8")
            requests, self.requests = os.pipe()
            self.replies, replies = os.pipe()
            self.output, output = os.pipe()
            self.control, control = socket.socketpair()
            fds = [requests, replies, output]
            command = [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8",
                       str(Path(__file__).with_name("worker.py")), str(self.folder / "setup.json"),
                       str(requests), str(replies), str(control.fileno())]
            # Not -I: it would ignore PYTHONHASHSEED too. With -P, -s and this environment it is the same.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/",
                pass_fds=(requests, replies, control.fileno()), env=environment(scratch),
                start_new_session=True)
            control.close()
        except BaseException:
            remove(self.folder)
            raise
        finally:
            for fd in fds:
                os.close(fd)
        for fd in (self.requests, self.replies, self.output):
            os.set_blocking(fd, False)

    def exchange(self, request: Frame | None, deadline: float, limit: int) -> Frame:
        """Send a frame if there is one, and wait for the next that comes.

        Args:
            deadline: time.monotonic() at which the worker is killed.
            limit: largest body of the reply, bytes.

        Raises:
            Stopped: the worker is dead now.
        """
        if self.dead:
            raise self.dead
        left = memoryview(frames.encode(request) if request else b"")
        self.decoder.limit = limit
        try:
            if request is not None and len(self.decoder):
                raise FrameError("an answer came before its question")
            if (early := self.decoder.feed(b"")) is not None:
                return early
            poll = select.poll()
            poll.register(self.replies, select.POLLIN)
            poll.register(self.output, select.POLLIN)
            if left:
                poll.register(self.requests, select.POLLOUT)
            while True:
                wait = deadline - time.monotonic()
                if wait <= 0:
                    raise Stopped("too_slow")
                events = poll.poll(1000 * (min(wait, EVERY) if self.watch else wait) + 1)
                for fd, _ in events:
                    if fd == self.output and not self._drain():
                        poll.unregister(fd)
                    elif fd == self.requests:
                        try:
                            left = left[os.write(fd, left[:PIECE]):]
                        except BlockingIOError:
                            pass
                        except OSError:
                            left = left[:0]  # nobody reads any more: the reply's end says why
                        if not left:
                            poll.unregister(fd)
                    elif fd == self.replies:
                        data = os.read(fd, PIECE)
                        if not data:
                            raise self._ended()
                        reply = self.decoder.feed(data)
                        if reply is not None:
                            self._drain_all()  # what was printed before it is there by now
                            return reply
                if self.watch:
                    self._look()
        except FrameError as error:
            raise self.stop(Stopped("forged", str(error))) from None
        except Stopped as stopped:
            raise self.stop(stopped) from None

    def _drain(self) -> bool:
        """Read what was printed; False at its end."""
        try:
            data = os.read(self.output, PIECE)
        except BlockingIOError:
            return True
        self.printed += data[:max(0, self.keep - len(self.printed))]
        self.printed_bytes += len(data)
        if self.printed_bytes > MOST_PRINTED * self.keep:
            raise Stopped("too_much_output")
        return bool(data)

    def _look(self) -> None:
        """Stop a worker that holds too much memory, or has written too much."""
        pid = self._told("pid")
        if self.watch and pid and (found := self.watch.look(pid)):
            raise Stopped(*found)

    def _told(self, *words: str) -> int | None:
        """The number that the keeper said after one of these words; waits for it."""
        self.control.settimeout(STOP)
        with contextlib.suppress(OSError):
            while not any(word in self._said for word in words) and (data := self.control.recv(64)):
                for line in data.decode().splitlines():  # a line a message, and shorter than a pipe's pieces
                    word, number = line.split()
                    self._said[word] = int(number)
        return next((self._said[word] for word in words if word in self._said), None)

    def _ended(self) -> Stopped:
        """Why the worker closed its end: from its exit status, as the keeper says."""
        if self._told("exit", "signal") is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.5)  # somebody has killed the keeper, and with it the worker
                return Stopped("memory", "the system has ended it")
            return Stopped("forged", "it closed its end and went on")
        self._drain_all()
        number = self._said.get("signal")
        if number is None:
            return Stopped("ended", f"exit status {self._said['exit']}")
        if number == signal.SIGXCPU:
            return Stopped("too_slow")
        if number == signal.SIGKILL:
            return Stopped("memory")
        return Stopped("crashed", signal.Signals(number).name)

    def _drain_all(self) -> None:
        with contextlib.suppress(Stopped):
            while select.select([self.output], [], [], 0)[0] and self._drain():
                pass

    def still(self, still: bool) -> None:
        """Keep the worker from running, or let it go on."""
        if self.dead is None:
            self._said.pop("heard", None)
            with contextlib.suppress(OSError):
                self.control.sendall(STILL if still else ON)
            self._told("heard", "exit", "signal")

    def stop(self, why: Stopped) -> Stopped:
        """End the worker and everything that descends from it; later requests get the same answer."""
        if self.dead is None:
            self.dead = why
            with contextlib.suppress(OSError):
                self.control.sendall(b"k")
            if self._told("exit", "signal", "gone") is None:  # not even the keeper answers
                worker = self._said.get("pid", self.process.pid)
                for kill, pid in ((os.killpg, self.process.pid), (os.killpg, worker), (os.kill, worker)):
                    with contextlib.suppress(OSError):
                        kill(pid, signal.SIGKILL)
            self._drain_all()
        return self.dead

    def close(self) -> None:
        """`stop`, and remove the folder."""
        self.stop(Stopped("ended"))
        with contextlib.suppress(OSError):
            self.control.sendall(b".")
        self.control.close()
        try:
            self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for fd in (self.requests, self.replies, self.output):
            with contextlib.suppress(OSError):
                os.close(fd)
        self.requests = self.replies = self.output = -1
        remove(self.folder)


def environment(scratch: Path) -> dict[str, str]:
    """All that a worker knows of the environment."""
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
                         "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
    here = {name: str(scratch) for name in ("HOME", "TMPDIR", "TRITON_HOME", "MPLCONFIGDIR")}
    return {**one, **here, "PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "TRITON_INTERPRET": "1", "TZ": "UTC0"}


def remove(folder: Path) -> None:
    """Remove a folder that a student's code may have written to, however deep and whatever its modes."""
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(folder)
    if folder.exists():  # something closed, or very deep
        tools = [["chmod", "-R", "u+rwX"], ["rm", "-rf"]]  # neither follows a link or minds the depth
        for tool in tools:
            subprocess.run([*tool, "--", str(folder)], check=False, stderr=subprocess.DEVNULL)
