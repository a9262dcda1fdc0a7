"""Every layer by itself stops what it is there to stop, and without it that would have happened."""

import os
import sys

import numpy as np
import pytest

from minillm.classroom.sandbox import Worker, describe, probe
from minillm.classroom.sandbox.layers import NAMES
from tests.classroom.sandbox.layered import ATTACKS, BY_NAME, RUN, attempt

HERE = {layer.name for layer in probe() if layer.active}
ROOT = os.geteuid() == 0
ROWS = [(a.name, layer) for a in ATTACKS for layer in a.stopped_by if layer != "user"]
ALONE = [None, (), *((name,) for name in NAMES)]
LINUX = sys.platform == "linux"


def value(source, layers=None, **inputs):
    with Worker({"a.py": source.encode()}, "a.py", layers=layers) as worker:
        answer = worker.ask(RUN, inputs, seconds=10)
    assert answer.kind == "arrays", answer
    return answer.arrays["x"]


@pytest.mark.skipif(not os.environ.get("CI"), reason="only CI's machines are known")
def test_everything_works_in_ci():
    assert HERE >= {"process", "limits", "landlock", "seccomp"}, describe()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_all_layers_together_stop_it(attack):
    succeeded, answer = attempt(attack, None)
    assert not succeeded, answer


@pytest.mark.parametrize(("name", "layer"), ROWS, ids=lambda v: v)
def test_a_layer_by_itself_stops_it(name, layer):
    if layer not in HERE:
        pytest.skip(f"{layer} does not work here")
    succeeded, answer = attempt(BY_NAME[name], (layer,))
    assert not succeeded, answer


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_without_them_it_succeeds(attack):
    if ROOT and "user" in attack.stopped_by:
        pytest.skip("root is always given up; test_as_an_ordinary_user.py tries it")
    succeeded, answer = attempt(attack, [name for name in NAMES if name not in attack.stopped_by])
    assert succeeded, answer


@pytest.mark.parametrize("layers", ALONE, ids=lambda v: "all" if v is None else "+".join(v) or "none")
def test_honest_code_runs_within_each(layers):
    source = "import numpy as np\ndef f(inputs):\n    print('hello')\n    return np.linalg.inv(inputs['a'])\n"
    assert np.array_equal(value(source, layers, a=2 * np.eye(3)), np.eye(3) / 2)


WHOLE = """
import asyncio, csv, decimal, fractions, heapq, inspect, json, lzma, re, ssl, statistics, tempfile, zoneinfo
import numpy as np, numpy.testing, numpy.polynomial, numpy.fft, numpy.ma
def f(inputs):
    rng = np.random.default_rng()
    with tempfile.TemporaryFile() as file:
        file.write(rng.bytes(8))
    with open("mine", "w") as file:
        file.write("kept")
    return np.fft.fft(np.linalg.svd(rng.normal(size=(4, 4)))[1]).shape[0], len(open("mine").read())
"""


@pytest.mark.parametrize("layers", [None, ("landlock", "seccomp")])
def test_the_standard_library_and_all_of_numpy_can_be_imported_behind_the_door(layers):
    assert value(WHOLE, layers).tolist() == [4, 4]


@pytest.mark.skipif(not ROOT, reason="for a grader that is root")
def test_a_worker_that_may_read_roots_python_reads_nothing_else_of_roots(tmp_path):
    (tmp_path / "secret").write_text("x", encoding="utf-8")
    path = np.frombuffer(str(tmp_path / "secret").encode(), np.uint8)
    source = "def f(inputs):\n    return len(open(inputs['path'].tobytes()).read())\n"
    with Worker({"a.py": source.encode()}, "a.py", layers=("landlock", "seccomp")) as worker:
        answer = worker.ask(RUN, {"path": path}, seconds=5)
    assert (answer.kind, answer.error) == ("exception", "PermissionError")


@pytest.mark.skipif(not LINUX, reason="Linux only")
@pytest.mark.parametrize("layers", [None, ()])
def test_it_keeps_no_power(layers):
    source = """
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
data = ctypes.create_string_buffer(24)
number = 125 if os.uname().machine == "x86_64" else 90
if libc.syscall(number, struct.pack("<Ii", 0x20080522, 0), data) == 0:
    powers = sum(data.raw)
else:
    powers = 0  # it may not even ask
def f(inputs):
    for give_up in (lambda: os.setuid(0), lambda: os.setgid(0)):
        try:
            give_up()
        except OSError:
            pass
    mine = (*os.getresuid(), *os.getresgid(), *os.getgroups())
    return [powers, 0 in mine, libc.prctl(3, 0, 0, 0, 0), libc.prctl(39, 0, 0, 0, 0)]
"""
    powers, root, dumpable, no_new_privileges = value(source, layers)
    assert (powers, root, dumpable) == (0, 0, 0)
    assert no_new_privileges in (1, -1)


def test_its_environment_and_descriptors_are_its_own(monkeypatch):
    monkeypatch.setenv("COURSE_SECRET", "x")
    kept = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(kept, True)
    source = """
import os, sys
def open_now():
    for fd in range(200):
        try:
            os.fstat(fd)
            yield fd
        except OSError:
            pass
def f(inputs):
    numbers = [len(list(open_now())), "COURSE_SECRET" in os.environ, len(sys.stdin.read())]
    return numbers + [hash("minillm") % 1000, sys.flags.safe_path, len(os.environ)]
"""
    try:
        found = value(source).tolist()
    finally:
        os.close(kept)
    assert found[:3] == [5, 0, 0]  # stdin, stdout, stderr, questions, answers
    assert found[4] == 1
    assert found[5] < 20
    assert value(source)[3] == found[3]  # strings hash alike in every worker


@pytest.mark.skipif(not ROOT, reason="for a grader that is root")
def test_two_workers_are_two_users_that_cannot_signal_each_other():
    source = "import os\ndef f(inputs):\n    return os.getuid()\n"
    kill = "import os\ndef f(inputs):\n    os.kill(int(inputs['pid']), 0)\n    return 1\n"
    with Worker({"a.py": source.encode()}, "a.py", layers=()) as one:
        first = int(one.ask(RUN, {}, seconds=5).arrays["x"])
        pid = np.array(one._process._told("pid"))
        with Worker({"a.py": kill.encode()}, "a.py", layers=()) as two:
            answer = two.ask(RUN, {"pid": pid}, seconds=5)
        assert (answer.kind, answer.error) == ("exception", "PermissionError")
    assert first not in (0, int(value(source, ())))
