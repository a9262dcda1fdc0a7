"""What the attacks are aimed at: a course, files that all may write, sockets that listen, the grader."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from minillm.classroom.judge import Judge
from tests.classroom.attacks.assignments import assignment
from tests.classroom.attacks.attack import MARK

REPO = Path(__file__).resolve().parents[3]
SECRET = b"a secret of 32 bytes, as a course has"


class World:
    """A folder with everything in it, and eyes on all that could be left behind; a context manager.

    Attributes:
        facts: what an attacker is told.
        tmp: where the grader makes its workers' folders.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="minillm-attacked-")).resolve()
        self.folder.chmod(0o755)
        names = ("course", "public", "home", "tmp", "course/submissions")
        course, public, home, self.tmp, submissions = (self.folder / name for name in names)
        for folder in (course, public, home, self.tmp, submissions):
            folder.mkdir()
            folder.chmod(0o755)
        public.chmod(0o777)
        for name, text, mode in (("secret", "ab" * 32, 0o600), ("journal", "a verdict", 0o600),
                                 ("roster", "1,Ann", 0o600), ("hidden", "what is asked", 0o644)):
            (course / name).write_text(text, encoding="utf-8")
            (course / name).chmod(mode)
        (submissions / "next.py").write_text("adam_step = 1\n", encoding="utf-8")
        (public / "open.py").write_text("# a file that all may write\n", encoding="utf-8")
        (public / "open.py").chmod(0o666)
        os.environ.update(TMPDIR=str(self.tmp), MINILLM_ATTACK_SECRET="ab" * 32)
        tempfile.tempdir = str(self.tmp)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.abstract = socket.socket(socket.AF_UNIX)
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(public / "socket"))
        (public / "socket").chmod(0o777)
        self.listening: list[socket.socket] = [self.tcp, self.unix]
        name = f"minillm-attacked-{os.getpid()}"
        if sys.platform == "linux":
            self.abstract.bind("\0" + name)
            self.listening.append(self.abstract)
        for listener in self.listening:
            listener.listen()
            listener.setblocking(False)
        self.udp.setblocking(False)
        adam = assignment("adam")
        another = Judge(adam, "bob", SECRET)
        learned = [[a.tolist() for a in another.want(t.name, case).values()]
                   for t in adam.tests for case in range(3)]
        self.facts: dict[str, Any] = {
            "mark": MARK, "pid": os.getpid(), "tcp": self.tcp.getsockname()[1],
            "udp": self.udp.getsockname()[1], "abstract": name, "unix": str(public / "socket"),
            "repo": str(REPO), "site": sysconfig.get_path("purelib"), "home": str(home),
            "checks": str(adam.folder / "checks.py"), "toml": str(adam.folder / "assignment.toml"),
            "course": str(course), "public": str(public), "open": str(public / "open.py"),
            "tmp": str(self.tmp), "next": str(submissions / "next.py"), "submissions": str(submissions),
            "learned": learned} | {n: str(course / n) for n in ("secret", "journal", "roster", "hidden")}
        self._before = self._files()

    def __enter__(self) -> World:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        import shutil

        for one in (*self.listening, self.udp, self.abstract):
            one.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def told(self) -> str:
        """The facts, for a submission."""
        return json.dumps(self.facts)

    def left(self) -> list[str]:
        """Files that are new or changed, of which those with the mark are removed."""
        found = []
        now = self._files()
        for path in sorted({*now} | {*self._before}):
            if now.get(path) != self._before.get(path):
                found.append(path)
                self._restore(path)
        f = self.facts
        places = ["/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/", "/etc", "/run", os.getcwd(), f["repo"],
                  f["site"], f["repo"] + "/minillm/classroom", f["repo"] + "/minillm/classroom/sandbox",
                  sysconfig.get_path("stdlib"), os.path.expanduser("~"), "/root"]
        for place in dict.fromkeys(places):
            with contextlib.suppress(OSError):
                for name in os.listdir(place):
                    if name.startswith(MARK) or name in ("sitecustomize.py", "usercustomize.py"):
                        self._marked(os.path.join(place, name), found)
        for path in (f["repo"] + "/minillm/classroom/judge.py", f["checks"], *_sources()):
            if MARK.encode() in Path(path).read_bytes():
                found.append(f"{path} was written to")
        return found

    def packets(self) -> list[str]:
        """What has arrived since the last call."""
        found = []
        for listener in self.listening:
            with contextlib.suppress(BlockingIOError):
                while True:
                    connection, _ = listener.accept()
                    connection.close()
                    found.append(f"a connection to {listener.getsockname()}")
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(f"{len(self.udp.recv(4096))} bytes over UDP")
        return found

    def _files(self) -> dict[str, bytes | None]:
        found: dict[str, bytes | None] = {}
        for folder, names, files in os.walk(self.folder):
            for name in names:
                found[os.path.join(folder, name)] = None
            for name in files:
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    found[path] = Path(path).read_bytes() if os.path.isfile(path) else None
        return found

    def _restore(self, path: str) -> None:
        with contextlib.suppress(OSError):
            before = self._before.get(path)
            if before is not None:
                Path(path).write_bytes(before)
            elif path not in self._before:
                os.unlink(path) if not os.path.isdir(path) else os.rmdir(path)

    @staticmethod
    def _marked(path: str, found: list[str]) -> None:
        with contextlib.suppress(OSError):
            if os.path.basename(path).startswith(MARK) or MARK.encode() in Path(path).read_bytes():
                found.append(path)
                os.unlink(path)


def _sources() -> list[str]:
    folder = REPO / "minillm" / "classroom"
    return [str(folder / name) for name in ("grade.py", "sandbox/worker.py", "sandbox/frames.py")]
