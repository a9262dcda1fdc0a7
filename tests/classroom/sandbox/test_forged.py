"""A student's process that speaks to the grader itself: the grader does not believe it, and does not wait."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.classroom.sandbox import Worker, frames
from minillm.classroom.sandbox.frames import HEADER, MAGIC, Frame, encode

RUN = "def run(student, inputs):\n    return {'x': student.f(inputs['bytes'].tobytes())}\n"
# Writes to the descriptor for answers, which is the last that is open.
SPEAKS = """
import os, time
def fds():
    for fd in range(3, 64):
        try:
            os.fstat(fd)
        except OSError:
            continue
        yield fd
def f(data):
    os.write(list(fds())[-1], data)
"""


def forge(data, then="return 0", **options):
    source = f"{SPEAKS}    {then}\n"
    inputs = {"bytes": np.frombuffer(data, np.uint8)}
    with Worker({"a.py": source.encode()}, "a.py") as worker:
        started = time.monotonic()
        answer = worker.ask(RUN, inputs, **{"seconds": 10, "reply_bytes": 1 << 16} | options)
        took = time.monotonic() - started
        again = worker.ask(RUN, inputs, seconds=1)
    assert took < 9, "the grader waited"
    return answer, again


GOOD = encode(Frame(frames.ARRAYS, 1, {"x": np.zeros(2)}))


@pytest.mark.parametrize("data", [
    b"x" * 100, GOOD, encode(Frame(frames.READY)), encode(Frame(frames.LOADED)),
    encode(Frame(frames.CALL, 1, {}, {"function": "f"})),
    encode(Frame(frames.ERROR, 1, {}, {"kind": "passed"})),
    HEADER.pack(MAGIC, frames.ARRAYS, 1, 0, 1, 1 << 60), HEADER.pack(MAGIC, frames.ARRAYS, 1, 0, 1, 1 << 18),
    GOOD[:HEADER.size] + b"\0" * (len(GOOD) - HEADER.size), GOOD * 3, bytes(1 << 16),
], ids=lambda d: str(d[:8]))
def test_forged_answers_end_the_worker(data):
    answer, again = forge(data)
    assert answer.kind == again.kind == "forged", answer
    assert not answer.arrays


@settings(max_examples=15)
@given(st.binary(min_size=1, max_size=200))
def test_bytes_at_random_in_front_of_an_answer(data):
    assert forge(data)[0].kind == "forged"


@pytest.mark.parametrize(("then", "kind"), [
    ("os._exit(0)", "ended"), ("time.sleep(60)", "too_slow"),
    ("[os.close(fd) for fd in fds()]", "ended"),
    ("os.close(list(fds())[-1]); time.sleep(60)", "forged"),
])
def test_half_a_frame_and_then_nothing(then, kind):
    answer, again = forge(GOOD[:-3], then, seconds=1)
    assert answer.kind == again.kind == kind, answer


def test_an_answer_cannot_be_prepared():
    """Requests have numbers that nobody can foresee, so an answer from before the question is nobody's."""
    source = f"{SPEAKS}    return 0\nf({GOOD!r})\n"
    with Worker({"a.py": source.encode()}, "a.py") as worker:
        answer = worker.ask("def run(student, inputs):\n    return {}\n", {}, seconds=10)
    assert answer.kind == "forged"


def test_an_answer_without_end_costs_the_grader_nothing():
    endless = HEADER.pack(MAGIC, frames.ARRAYS, 1, 0, 1, 1 << 15) + b"\0" * (1 << 15)
    then = "\n    ".join(["while True:", "    os.write(list(fds())[-1], data)"])
    answer, _ = forge(endless, then)
    assert answer.kind == "forged"


@pytest.mark.parametrize("meta", [
    {"kind": "exception", "error": "E" * 60000, "message": "\x1b]0;\x07" * 5000, "line": -5},
    {"kind": "exception", "error": 3, "message": None, "line": "x"},
    {"kind": "not_written", "line": True}, {"kind": "memory", "line": 10**30},
])
def test_what_it_says_of_itself_is_cut_to_size(meta):
    source = f"""
def f(data):
    import sandbox.inside
    sandbox.inside.describe = lambda *args: {meta!r}
    raise ValueError
"""
    with Worker({"a.py": source.encode()}, "a.py") as worker:
        answer = worker.ask(RUN, {"bytes": np.zeros(1, np.uint8)}, seconds=5)
    assert answer.kind == meta["kind"]
    assert len(answer.error) <= 500
    assert len(answer.message) <= 500
    assert "\x1b" not in answer.message
    assert answer.line is None


def test_a_worker_that_reads_no_questions_is_too_slow():
    source = f"{SPEAKS}    pass\nfrom sandbox import frames\nframes.read_frame = lambda fd: time.sleep(60)\n"
    with Worker({"a.py": source.encode()}, "a.py") as worker:
        answer = worker.ask(RUN, {"bytes": np.zeros(1 << 24, np.uint8)}, seconds=0.5)
    assert answer.kind == "too_slow"
