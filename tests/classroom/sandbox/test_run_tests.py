"""A student's tests in one worker, the function under test in another, and only arrays between them."""

import contextlib
import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.classroom.sandbox import Answer, Worker, calls_to, codec, testing

VERSION = b"""
import numpy as np
def scale(x, a=2.0):
    if a < 0:
        raise ValueError("a is negative")
    if a > 99:
        while True:
            pass
    return a * x
def clear(x, keep):
    x[...] = 0
    return None
def parts(x):
    return {"a": [x, (1, "two", None, True)], 3: np.float32(2)}
"""
FUNCTIONS = ("scale", "clear", "parts")


def run(tests, calls=None, **options):
    with (Worker({"it.py": VERSION}, "it.py") as version,
          Worker({"t.py": tests.encode()}, "t.py", under_test=("it", FUNCTIONS)) as worker):
        call = calls or calls_to(version, seconds=1)
        found = worker.run_tests(FUNCTIONS, call, **{"seconds": 10} | options)
        return found, worker


def kinds(tests, **options):
    return {name: answer.kind for name, answer in run(tests, **options)[0].items()}


def test_tests_pass_and_fail():
    found, worker = run("""
import numpy as np
import it
from it import scale

def helper():
    assert False
def test_imported():
    print("here")
    assert np.array_equal(scale(np.arange(3)), [0, 2, 4])
def test_as_an_argument(scale):
    result = scale(3, a=2)
    assert result == 6 and type(result) is int and type(scale(3)) is float
def test_of_the_module():
    assert it.parts(np.ones(1, np.float32))["a"][1] == (1, "two", None, True)
    assert type(it.parts(1)[3]) is np.float32
def test_in_place():
    x, other = np.ones((2, 2)), np.ones(2)
    assert it.clear(x, keep=other) is None
    assert x.sum() == 0 and other.sum() == 2
def test_exceptions():
    try:
        scale(1, a=-1)
    except ValueError as error:
        assert str(error) == "a is negative"
    else:
        raise AssertionError
def test_fails():
    assert scale(1) == 3, "it doubles"
def test_breaks():
    return [][0]
def test_hands_over_a_function():
    scale(helper)
""")
    assert {n: a.kind for n, a in found.items()} == {
        "test_imported": "passed", "test_as_an_argument": "passed", "test_of_the_module": "passed",
        "test_in_place": "passed", "test_exceptions": "passed", "test_fails": "failed",
        "test_breaks": "exception", "test_hands_over_a_function": "exception"}
    assert (found["test_fails"].message, found["test_fails"].line) == ("it doubles", 29)
    assert "a function cannot be passed on" in found["test_hands_over_a_function"].message
    assert worker.printed == "here\n"


@pytest.mark.parametrize(("test", "kind"), [
    ("def test_a():\n    import os; os._exit(0)", "ended"),
    ("def test_a():\n    while True: pass", "too_slow"),
    ("def test_a(scale):\n    scale(1, a=100)", "exception"),
    ("def test_a(scale):\n    while True: scale(1)", "too_slow"),
    ("def test_a(nothing): pass", "exception"),
    ("def test_a(): yield", "exception"),
    ("async def test_a(): pass", "exception"),
    ("import unittest\ndef test_a(): raise unittest.SkipTest('no')", "exception"),
    ("def test_a(): raise SystemExit(0)", "ended"),
    ("def test_a(): raise NotImplementedError", "not_written"),
    ("from it import nothing", None),
    ("from it import scale\nscale(1)", None),
    ("x = 1", {}),
    ("test_a = 3\ndef tests(): pass\nclass test_b: pass", {}),
])
def test_what_can_become_of_a_test(test, kind):
    found = kinds(test, seconds=1)
    assert found == ({"": "exception"} if kind is None else kind if kind == {} else {"test_a": kind})


def test_after_an_end_a_new_process_goes_on_and_after_two_no_more():
    end = "    import os; print('end'); os._exit(0)\n"
    found, worker = run(f"def test_a():\n{end}def test_b(): pass\ndef test_c():\n{end}def test_d(): pass\n")
    assert {n: a.kind for n, a in found.items()} == {"test_a": "ended", "test_b": "passed", "test_c": "ended",
                                                     "test_d": "not_run"}
    assert not worker.printed or set(worker.printed.split()) == {"end"}


def test_names_of_tests_are_names():
    """They go into reports: what a submission makes of them, it made up."""
    odd = r"test_\x1b[2J test_\ud800 test_a-b test_\u202e ../test_a tests [] test_<b> test_" + "x" * 96
    found = kinds("import sandbox.testing\ndef test_a(): pass\ndef test_一(): pass\n"
                  f"sandbox.testing.names = lambda student: 'test_a {odd} test_一 test_a'\n")
    assert found == {"test_a": "passed", "test_一": "passed"}


def test_no_more_names_than_tests_are_run():
    found = kinds("import sandbox.testing, os\n"
                  "sandbox.testing.names = lambda student: ' '.join(f'test_{k}' for k in range(3000))\n"
                  "def __getattr__(name):\n    os._exit(0)\n")
    assert len(found) == testing.MOST


def test_after_its_end_no_test_is_run():
    source = "import time\ndef test_a(): time.sleep(0.5)\ndef test_b(): pass\n"
    found, _ = run(source, end=time.monotonic() - 1)
    assert {n: a.kind for n, a in found.items()} == {"test_a": "not_run", "test_b": "not_run"}


@pytest.mark.slow
def test_many_slow_tests_have_a_time_together():
    text = "import time\n" + "".join(f"def test_{i}(): time.sleep(0.4)\n" for i in range(60))
    start = time.monotonic()
    found = kinds(text, seconds=0.5)
    assert time.monotonic() - start < 20
    assert len(found) == 60
    assert found["test_0"] == "passed"
    assert list(found.values())[15:] == ["not_run"] * 45


def test_only_the_functions_under_test_are_called():
    asked = []

    def call(name, arrays):
        asked.append(name)
        return Answer("arrays", codec.pack((0, (), {})))

    source = """
import it, sandbox.frames as frames
from it import scale
def test_a():
    scale.__name__ = "secret"
    scale(1)
def test_b(clear):
    assert clear(1) == 0
"""
    found, _ = run(source, call)
    assert found["test_a"].error == "AttributeError"
    assert "secret is not under test" in found["test_a"].message
    assert found["test_b"].kind == "passed"
    assert asked == ["clear"]


def test_a_call_cannot_be_of_something_else_than_it_says():
    """The frame names a function under test, the arrays another one: it is the frame's that is called."""
    source = """
from sandbox import codec
def test_a(scale):
    real = codec.pack
    codec.pack = lambda value: real(("clear", *value[1:]))
    try:
        assert scale(3.0) == 6
    finally:
        codec.pack = real
"""
    assert kinds(source) == {"test_a": "passed"}


def test_what_the_version_does_is_an_ordinary_exception():
    source = "def test_a(scale):\n    try:\n        scale(1)\n    except RuntimeError:\n        return\n"
    source += "    assert False\n"
    with Worker({"it.py": b"import os\ndef scale(x):\n    os._exit(0)\n"}, "it.py") as version:
        found, _ = run(source, calls_to(version, seconds=5))
    assert found["test_a"].kind == "passed"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner)
    | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3), max_leaves=8)


@given(values)
def test_a_call_is_unpacked_as_it_was_packed(value):
    again = codec.unpack(codec.pack(value))
    assert again == value
    assert repr(again) == repr(value)  # 1, 1.0 and True are equal


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array(["a"]), b"bytes", lambda: 0, 1j])
def test_what_is_not_arrays_is_not_passed_on(value):
    with pytest.raises(TypeError, match="cannot be passed on"):
        codec.pack(value)
    deep = []
    for _ in range(50):
        deep = [deep]
    with pytest.raises(TypeError, match="too deep"):
        codec.pack(deep)


def test_what_is_too_long_is_not_passed_on():
    with pytest.raises(TypeError, match="this long cannot be passed on; arrays can"):
        codec.pack([0] * 200000)
    with pytest.raises(ValueError, match="too long"):
        codec.unpack({"spec": np.full(1 << 21, ord("["), np.uint8)})


words = st.sampled_from(["is", "int", "float", "array", "scalar", "dict", "list", "tuple", "0", "x"])
forged = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=10)


@given(st.tuples(words, forged))
def test_a_forged_structure_is_a_value_or_refused(spec):
    arrays = {"spec": np.frombuffer(json.dumps(spec).encode(), np.uint8), "0": np.zeros(2)}
    with contextlib.suppress(ValueError):
        codec.unpack(arrays)


@given(st.binary(max_size=60))
def test_bytes_at_random_are_no_packed_value(data):
    with pytest.raises(ValueError, match=r"."):
        codec.unpack({"spec": np.frombuffer(b"[" + data, np.uint8)})
