"""Nothing outlives a worker: no process and no file, however it ends and whoever ends it."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from minillm.classroom.assignment import Limits
from minillm.classroom.sandbox import Worker, launch

RUN = "def run(student, inputs):\n    return {'x': student.f(inputs)}\n"
# Leaves a process that has left its session and its parent behind.
DAEMON = """
import os, time
def f(inputs):
    started = time.time()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    return os.wait()[0]
"""
BOMB = """
import os
def f(inputs):
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""


def mine():
    """Folders of workers that are there now."""
    return set(Path(tempfile.gettempdir()).glob("minillm-worker-*"))


def processes(folder):
    """Processes that belong to a worker's folder: its keeper, and all that descend from it."""
    command = ["ps", "-eww", "-o", "pid=", "-o", "args="]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in found.splitlines() if str(folder) in line]


def gone(folder, seconds=10):
    """Whether all that belonged to a folder is gone, soon."""
    until = time.monotonic() + seconds
    while (processes(folder) or folder.exists()) and time.monotonic() < until:
        time.sleep(0.05)
    return not processes(folder) and not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a child subreaper")
@pytest.mark.parametrize("layers", [(), ("pids",)], ids=str)
def test_a_daemon_ends_with_its_worker(layers):
    with Worker({"a.py": DAEMON.encode()}, "a.py", layers=layers) as worker:
        answer = worker.ask(RUN, {}, seconds=10)
        folder = worker._process.folder
        assert answer.kind == "arrays", answer
        assert len(processes(folder)) == 3, "the daemon never was"
    assert gone(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_NPROC of its own")
@pytest.mark.parametrize("layers", [None, ("limits",), ("seccomp",)], ids=str)
def test_a_fork_bomb_is_too_slow_and_leaves_nothing(layers):
    with Worker({"a.py": BOMB.encode()}, "a.py", layers=layers) as worker:
        folder = worker._process.folder
        assert worker.ask(RUN, {}, seconds=0.5).kind == "too_slow"
        assert len(processes(folder)) == 1, "only the keeper is there still"
    assert gone(folder)


CLUTTER = """
import os
def f(inputs):
    os.mkdir("closed")
    open("closed/file", "w").close()
    for _ in range(1100):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(os.environ["HOME"])
    os.chmod("closed", 0)
    return 1
"""


def test_a_folder_that_is_closed_or_deep_is_removed(tmp_path):
    with Worker({"a.py": CLUTTER.encode()}, "a.py", layers=()) as worker:
        folder = worker._process.folder
        assert worker.ask(RUN, {}, seconds=10).kind == "arrays"
    assert gone(folder)


def test_removing_touches_nothing_outside(tmp_path):
    (tmp_path / "beside").mkdir(mode=0o755)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "link").symlink_to(tmp_path / "beside")
    tmp_path.chmod(0o755)
    for _ in range(2):  # the second time there is nothing to remove
        launch.remove(tmp_path / "w")
        assert oct(tmp_path.stat().st_mode)[-3:] == oct((tmp_path / "beside").stat().st_mode)[-3:] == "755"
    assert [p.name for p in tmp_path.iterdir()] == ["beside"]


GRADER = """
import sys, time
from minillm.classroom.sandbox import Worker
with Worker({"a.py": SOURCE}, "a.py", layers=eval(sys.argv[1])) as worker:
    print(worker._process.folder, flush=True)
    worker.ask("def run(student, inputs):\\n    return {'x': student.f(inputs)}\\n", {}, seconds=0.5)
    print("asked", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("layers", [None, ()], ids=str)
@pytest.mark.parametrize("moment", ["at once", "while it runs", "when it has ended"])
def test_a_grader_that_is_killed_leaves_nothing(moment, layers):
    source = b"def f(inputs):\n    while True:\n        pass\n"
    if moment == "while it runs":
        source = b"def f(inputs):\n    return 1\n"  # the worker lives and waits
    code = GRADER.replace("SOURCE", repr(source))
    command = [sys.executable, "-c", code, repr(layers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as grader:
        folder = Path(grader.stdout.readline().strip())
        assert folder.is_dir()
        if moment != "at once":
            assert grader.stdout.readline() == "asked\n"
        grader.send_signal(signal.SIGKILL)
    assert gone(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="needs PDEATHSIG")
@pytest.mark.parametrize("layers", [None, ()], ids=str)
def test_a_worker_ends_with_its_keeper(layers):
    source = b"import time\ndef f(inputs):\n    time.sleep(60)\n"
    with Worker({"a.py": source}, "a.py", layers=layers) as worker:
        assert worker.ask("def run(student, inputs):\n    return {}\n", {}, seconds=10).kind == "arrays"
        folder = worker._process.folder
        assert len(processes(folder)) == 2
        threading.Timer(0.2, worker._process.process.kill).start()
        assert worker.ask(RUN, {}, seconds=30).kind == "memory"
        assert not processes(folder)
    assert gone(folder)


def test_an_exception_in_the_grader_ends_the_worker():
    worker = Worker({"a.py": b"def f(inputs):\n    return 1\n"}, "a.py")

    def fail():
        with worker:
            worker.ask(RUN, {}, seconds=10)
            assert processes(worker._process.folder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert gone(worker._process.folder)


def test_no_descriptor_and_no_child_is_left():
    before = len(os.listdir("/dev/fd"))
    pids = []
    for _ in range(3):
        with Worker({"a.py": b"def f(inputs):\n    return 1\n"}, "a.py") as worker:
            worker.ask(RUN, {}, seconds=10)
            pids.append(worker._process.process.pid)
    assert len(os.listdir("/dev/fd")) == before
    for pid in pids:  # other tests of this process may have children of their own
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def test_the_grader_waits_without_working():
    source = b"import time\ndef f(inputs):\n    time.sleep(1)\n    return 1\n"
    with Worker({"a.py": source}, "a.py") as worker:
        worker.ask(RUN, {}, seconds=10)
        began, used = time.monotonic(), time.process_time()
        assert worker.ask(RUN, {}, seconds=10).kind == "arrays"
    assert time.monotonic() - began > 1
    assert time.process_time() - used < 0.3


def test_workers_of_several_threads_do_not_disturb_one_another():
    answers = {}

    def work(n):
        source = f"def f(inputs):\n    print({n})\n    return {n} + inputs['n']\n"
        with Worker({"a.py": source.encode()}, "a.py", limits=Limits(seconds=30)) as worker:
            got = [worker.ask(RUN, {"n": np.array(k)}, seconds=30) for k in range(5)]
            answers[n] = [int(a.arrays["x"]) for a in got], worker.printed

    threads = [threading.Thread(target=work, args=(n,)) for n in range(0, 60, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: ([n + k for k in range(5)], f"{n}\n" * 5) for n in range(0, 60, 10)}
