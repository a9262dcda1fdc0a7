"""Hostile submissions, one for each thing that a layer forbids, and which layers stop it by themselves.

Each file's `f(inputs)` returns 1 where it has got what it wanted. `stopped_by` names the layers of which any
one is enough; with none of them the attack must succeed, or the test of the layer could not fail. (The user
namespace through which an ordinary user gets the other ones also closes the memory of other processes.)
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minillm.classroom.assignment import Limits
from minillm.classroom.sandbox import Answer, Worker

RUN = "def run(student, inputs):\n    return {'x': student.f(inputs)}\n"
SECRET = b"what the hidden tests ask"
# Python that several of the files begin with.
BEGIN = '''
import ctypes, os, socket, sys, time
import numpy as np
libc = ctypes.CDLL(None, use_errno=True)
def text(inputs, name):
    return inputs[name].tobytes().decode()
def syscall(number, *args):
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
'''


@dataclass(frozen=True)
class Attack:
    """A hostile file.

    Attributes:
        name: what it tries.
        source: the file, after BEGIN.
        stopped_by: layers of which each is enough by itself.
        ends: it has succeeded where it ends its process with status 0, in place of returning 1.
        memory_mb: limit on its memory.
    """

    name: str
    source: str
    stopped_by: tuple[str, ...]
    ends: bool = False
    memory_mb: int = 2048


ATTACKS = [
    Attack("reads a hidden test", """
def f(inputs):
    return open(text(inputs, "file")).read() == "what the hidden tests ask"
""", ("mounts", "landlock")),
    Attack("lists a folder", """
def f(inputs):
    return len(os.listdir(text(inputs, "folder"))) > 0
""", ("mounts", "landlock")),
    Attack("writes outside its folder", """
def f(inputs):
    with open(text(inputs, "folder") + "/left", "w") as file:
        return file.write("here") == 4
""", ("mounts", "landlock", "seccomp")),
    Attack("removes a file", """
def f(inputs):
    os.unlink(text(inputs, "folder") + "/victim")
    return 1
""", ("mounts", "landlock", "seccomp")),
    Attack("makes a folder", """
def f(inputs):
    os.mkdir(text(inputs, "folder") + "/mine")
    return 1
""", ("mounts", "landlock", "seccomp")),
    Attack("reads the environment of another process", """
def f(inputs):
    return len(open(f"/proc/{int(inputs['victim'])}/environ", "rb").read()) > 0
""", ("user", "mounts", "pids", "network", "landlock")),
    Attack("reads the memory of another process", """
def f(inputs):
    os.close(os.open(f"/proc/{int(inputs['victim'])}/mem", os.O_RDONLY))
    return 1
""", ("user", "mounts", "pids", "network", "landlock")),
    Attack("kills another process", """
def f(inputs):
    os.kill(int(inputs["victim"]), 9)
    return 1
""", ("user", "pids", "landlock", "seccomp")),
    Attack("traces another process", """
def f(inputs):
    if libc.ptrace(16, int(inputs["victim"]), 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    return 1
""", ("user", "mounts", "pids", "network", "landlock", "seccomp")),
    Attack("connects over TCP", """
def f(inputs):
    socket.create_connection(("127.0.0.1", int(inputs["tcp"])), 1).close()
    return 1
""", ("network", "landlock", "seccomp")),
    Attack("listens on TCP", """
def f(inputs):
    s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
    return 1
""", ("landlock", "seccomp")),
    Attack("sends a packet over UDP", """
def f(inputs):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", int(inputs["udp"])))
    return 1
""", ("network", "seccomp")),
    Attack("connects to an abstract socket", """
def f(inputs):
    socket.socket(socket.AF_UNIX).connect(b"\\0" + text(inputs, "abstract").encode())
    return 1
""", ("network", "landlock", "seccomp")),
    Attack("connects to a socket file", """
def f(inputs):
    socket.socket(socket.AF_UNIX).connect(text(inputs, "folder") + "/socket")
    return 1
""", ("mounts", "seccomp")),
    Attack("asks the kernel over netlink", """
def f(inputs):
    socket.socket(16, socket.SOCK_RAW, 0)
    return 1
""", ("seccomp",)),
    Attack("forks", """
def f(inputs):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return 1
""", ("limits", "seccomp")),
    Attack("starts a thread", """
import threading
def f(inputs):
    threading.Thread(target=int).start()
    return 1
""", ("limits", "seccomp")),
    Attack("runs another program", """
def f(inputs):
    os.execv("/bin/true", ["true"])
""", ("mounts", "landlock", "seccomp"), ends=True),
    Attack("runs a program out of memory", """
def f(inputs):
    fd = os.memfd_create("x")
    os.write(fd, open("/bin/true", "rb").read())
    os.execve(fd, ["true"], {})
""", ("mounts", "landlock", "seccomp"), ends=True),
    Attack("takes 6 GiB", """
def f(inputs):
    return np.empty(6 << 27).size > 0
""", ("limits",)),
    Attack("fills 700 MB", """
def f(inputs):
    kept = np.ones(700 << 17)
    time.sleep(1)
    return kept[0]
""", ("limits", "watch"), memory_mb=600),
    Attack("writes 100 MB", """
def f(inputs):
    with open("big", "wb") as file:
        for _ in range(100):
            file.write(bytes(1 << 20))
    time.sleep(1)
    return 1
""", ("limits", "mounts", "seccomp", "watch")),
    Attack("opens 500 files", """
def f(inputs):
    return len([os.dup(0) for _ in range(500)]) == 500
""", ("limits",)),
    Attack("writes 10,000 files", """
def f(inputs):
    for n in range(10000):
        open(str(n), "w").close()
    time.sleep(1)
    return 1
""", ("mounts", "seccomp", "watch")),
    Attack("makes a symbolic link", """
def f(inputs):
    os.symlink("/etc/passwd", "link")
    return 1
""", ("landlock", "seccomp")),
    Attack("makes a pipe with a name", """
def f(inputs):
    os.mkfifo("pipe")
    return 1
""", ("landlock", "seccomp")),
    Attack("changes the mode of a file", """
def f(inputs):
    os.chmod(".", 0o777)
    return 1
""", ("seccomp",)),
    Attack("enters a user namespace", """
def f(inputs):
    if libc.unshare(0x10000000) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    return 1
""", ("seccomp",)),
    Attack("makes a file in memory", """
def f(inputs):
    return os.memfd_create("x") > 0
""", ("seccomp",)),
    Attack("adds a key to the kernel's ring", """
def f(inputs):
    return syscall(248 if os.uname().machine == "x86_64" else 217, b"user", b"mine", b"x", 1, -3) > 0
""", ("seccomp",)),
    Attack("takes page faults into its own hands", """
def f(inputs):
    return syscall(323 if os.uname().machine == "x86_64" else 282, 1) > 0
""", ("seccomp",)),
    Attack("pins itself to a processor", """
def f(inputs):
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    return 1
""", ("seccomp",)),
    Attack("shares memory with others", """
def f(inputs):
    return syscall(29 if os.uname().machine == "x86_64" else 194, 4711, 4096, 0o1600) >= 0
""", ("seccomp",)),
    Attack("opens a handle to another process", """
def f(inputs):
    return os.pidfd_open(int(inputs["victim"])) > 0
""", ("pids", "seccomp")),
    Attack("raises its own limits", """
import resource
def f(inputs):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return 1
""", ("seccomp",)),
]
BY_NAME = {attack.name: attack for attack in ATTACKS}


@contextmanager
def world() -> Iterator[dict[str, np.ndarray]]:
    """What the attacks are aimed at: files that all may read and write, sockets, a process of this user."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o777)
        (folder / "hidden.py").write_bytes(SECRET)
        (folder / "hidden.py").chmod(0o644)
        (folder / "victim").write_text("x", encoding="utf-8")
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        abstract = f"minillm-{os.getpid()}"
        for address in (f"\0{abstract}", str(folder / "socket")):
            unix = stack.enter_context(socket.socket(socket.AF_UNIX))
            unix.bind(address)
            unix.listen()
        (folder / "socket").chmod(0o777)
        victim = stack.enter_context(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))
        stack.callback(victim.kill)
        texts = {"file": str(folder / "hidden.py"), "folder": str(folder), "abstract": abstract}
        numbers = {"tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1], "victim": victim.pid}
        yield {k: np.frombuffer(v.encode(), np.uint8) for k, v in texts.items()} | {
            k: np.array(v) for k, v in numbers.items()}


def attempt(attack: Attack, layers: Any) -> tuple[bool, Answer]:
    """(whether it got what it wanted, the answer) within these layers."""
    files, limits = {"a.py": (BEGIN + attack.source).encode()}, Limits(memory_mb=attack.memory_mb)
    with world() as inputs, Worker(files, "a.py", limits=limits, layers=layers) as worker:
        answer = worker.ask(RUN, inputs, seconds=10)
    if attack.ends:
        return answer.kind == "ended" and answer.message == "exit status 0", answer
    return answer.kind == "arrays" and bool(answer.arrays["x"]), answer
