"""A process that grades one submission after another: several run at once, and none takes the rest along.

It is trusted: it holds the secret and the reference, and the student's code runs in a sandboxed process of
its own below it. Its lines on stdin and stdout are JSON. It ends when its parent does.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from minillm.errors import UserError

from .report import Report
from .solution import AssignmentError

GRADE = "minillm.classroom.grade:grade_submission"
GRACE = 10.0  # seconds for tidying up when it is told to end
LONGEST = 64 << 20  # characters of a report
# A worker's own folder, what stands above it, read backwards, and the address in `<function f at 0x7f...>`.
_FOLDER = re.compile(r"(?:/minillm-worker-\w+)+/(?:code/)?")
_ABOVE = re.compile(r"(?:[^\s/'\":]+/)*")
_ADDRESS = re.compile(r"( at 0x)[0-9a-f]{6,16}(?=>)", re.I)
# No function of ours before the paths are set: the parent may have found minillm in a way of its own.
_START = ("import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
          "from minillm.classroom.grader_process import main; main()")


class GraderFailed(Exception):
    """The grader itself, and not the student's code, came to grief; the message is one line."""


class GraderProcess:
    """A grader in a process of its own, as a context manager; it is started when it is first asked.

    Args:
        assignment: the assignment's folder.
        secret: the course's secret.
        grade: "module:function" with grade_submission's arguments.
    """

    def __init__(self, assignment: Path, secret: bytes, grade: str = GRADE) -> None:
        self._about = {"assignment": str(assignment), "secret": secret.hex(), "grade": grade}
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._ended = False

    def __enter__(self) -> GraderProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def grade(self, student: str, files: Mapping[str, bytes], seconds: float) -> Report:
        """Grade a submission.

        Args:
            student, files: see grade_submission.
            seconds: after these the process is ended.

        Raises:
            GraderFailed: the grader raised something, died, or took too long.
            UserError: no submission can be graded, because of this machine or the assignment.
        """
        process = self._started()
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._stop(process)

        assert process.stdin is not None
        assert process.stdout is not None
        task = {"student": student, "files": {n: base64.b64encode(b).decode() for n, b in files.items()}}
        timer = threading.Timer(seconds, stop)
        timer.start()
        try:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            line = process.stdout.readline(LONGEST)
        except (OSError, ValueError):
            line = ""
        finally:
            timer.cancel()
            timer.join()
        if not line.endswith("\n"):
            said = self.close()
            raise GraderFailed(f"it took more than {seconds:g} s" if late.is_set() else
                               f"its process ended with status {process.returncode}{said and ': '}{said}")
        answer: dict[str, Any] = json.loads(line)
        if "stop" in answer:
            raise UserError(answer["stop"])
        if "failed" in answer:
            raise GraderFailed(answer["failed"])
        return Report.from_json(answer)

    def close(self) -> str:
        """End the process, and wait until it has tidied up; the last line that it complained with."""
        with self._lock:
            process, self._process = self._process, None
            errors, self._errors = self._errors, None
        if process is None or errors is None:
            return ""
        self._stop(process)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        with errors:
            errors.seek(max(errors.seek(0, os.SEEK_END) - 2000, 0))
            said = errors.read().decode("utf-8", "replace").split("\n")
        return next((" ".join(line.split())[:300] for line in reversed(said) if line.strip()), "")

    def end(self) -> None:
        """`close`, for another thread: nothing is started any more either."""
        self._ended = True
        self.close()

    def _started(self) -> subprocess.Popen[str]:
        with self._lock:
            if self._ended:
                raise GraderFailed("it was told to end")
            if self._process is None:
                # One thread for NumPy: as many processes run as there are cores, and sums keep their order.
                environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
                for library in ("OPENBLAS", "OMP", "MKL"):
                    environment[f"{library}_NUM_THREADS"] = "1"
                self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _START, json.dumps([os.path.abspath(p) for p in sys.path])],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment,
                    encoding="utf-8")
                assert self._process.stdin is not None
                with contextlib.suppress(OSError):  # if it died at once, `grade` finds out
                    self._process.stdin.write(json.dumps({**self._about, "parent": os.getpid()}) + "\n")
            return self._process

    @staticmethod
    def _stop(process: subprocess.Popen[str]) -> None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> None:
    """The process: what it needs on the first line, then a submission a line; a report a line comes back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle, in order
    signal.signal(signal.SIGTERM, _end)
    # Workers have their folders in one of ours: whenever SIGTERM comes, all of them go. A worker may run
    # under another user, who has to get through it.
    with tempfile.TemporaryDirectory(prefix="minillm-grader-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)
        tempfile.tempdir = folder
        _serve()


def _end(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # tidying up is not interrupted by a second one
    sys.exit(143)


def _serve() -> None:
    """Grade what stdin says, until it ends."""
    told = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else prints is no answer
    line = told.readline()
    if not line:
        return
    about = json.loads(line)
    _end_with(about["parent"])
    from .assignment import load_assignment

    assignment = load_assignment(about["assignment"])
    secret = bytes.fromhex(about["secret"])
    grade: Callable[..., Report] | None = None
    for line in told:
        task = json.loads(line)
        files = {name: base64.b64decode(data) for name, data in task["files"].items()}
        try:
            if grade is None:
                module, _, function = about["grade"].partition(":")
                grade = getattr(importlib.import_module(module), function)
            answer = same_each_time(grade(assignment, task["student"], files, secret)).to_json()
        except (UserError, AssignmentError) as error:  # it would be the same for every submission
            answer = {"stop": " ".join(str(error).split())}
        except Exception as error:  # the next submission has nothing to do with it
            said = " ".join(str(error).split())[:300]
            answer = {"failed": f"{type(error).__name__}: {said}".encode("utf-8", "replace").decode()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def cleaned(text: str) -> str:
    """Text without a worker's folders and without addresses, in time that grows as the text does."""
    kept, at = [], 0
    for found in _FOLDER.finditer(text):
        before = text[at:found.start()]
        above = _ABOVE.match(before[::-1])  # forwards, every slash would be tried as the beginning
        assert above is not None
        kept.append(before[:len(before) - above.end()])
        at = found.end()
    return _ADDRESS.sub(r"\1...", "".join(kept) + text[at:])


def same_each_time(report: Report) -> Report:
    """The report as every grading of the submission gives it: without folders and addresses of its run."""
    tests = tuple(replace(t, en=cleaned(t.en), zh=cleaned(t.zh)) for t in report.tests)
    notes = tuple((cleaned(en), cleaned(zh)) for en, zh in report.notes)
    return replace(report, en=cleaned(report.en), zh=cleaned(report.zh), tests=tests, notes=notes,
                   printed=cleaned(report.printed))


def _end_with(parent: int) -> None:
    """On Linux, be told to end when the parent dies, even by SIGKILL; elsewhere stdin ends after
    this submission.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            sys.exit(143)
