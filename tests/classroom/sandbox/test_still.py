"""A worker can be kept still while something else is timed, whatever it does between questions."""

import sys
import time
from pathlib import Path

import pytest

from minillm.classroom.sandbox import Worker

RUN = "def run(student, inputs):\n    return {'x': student.f()}\n"
BUSY = """
import sandbox.frames, select
real = sandbox.frames.read_frame
def busy(fd):
    while not select.select([fd], [], [], 0)[0]:
        pass
    return real(fd)
sandbox.frames.read_frame = busy
def f():
    return 1
"""


def ticks(worker):
    """Processor time of the student's process, in hundredths of a second."""
    stat = Path(f"/proc/{worker._process._told('pid')}/stat").read_text(encoding="ascii", errors="replace")
    return sum(map(int, stat.rpartition(")")[2].split()[11:13]))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("layers", [None, ()])
def test_a_busy_worker_is_kept_still_and_goes_on(layers):
    with Worker({"a.py": BUSY.encode()}, "a.py", layers=layers) as worker:
        assert worker.ask(RUN, {}, seconds=5).kind == "arrays"
        before = ticks(worker)
        time.sleep(0.3)
        assert ticks(worker) > before, "it is not busy"
        with worker.still():
            before = ticks(worker)
            time.sleep(0.3)
            assert ticks(worker) <= before + 1
        assert worker.ask(RUN, {}, seconds=5).arrays["x"] == 1


def test_one_that_has_ended_or_not_begun_is_still():
    worker = Worker({"a.py": b"def f():\n    import os\n    os._exit(0)\n"}, "a.py")
    with worker.still(), worker:
        assert worker.ask(RUN, {}, seconds=5).kind == "ended"
        start = time.monotonic()
        with worker.still():
            assert time.monotonic() - start < 1
    assert not worker.alive


def test_it_can_be_ended_while_it_is_still():
    start = time.monotonic()
    with Worker({"a.py": BUSY.encode()}, "a.py") as worker:
        assert worker.ask(RUN, {}, seconds=5).kind == "arrays"
        worker._process.still(True)
    assert time.monotonic() - start < 5
