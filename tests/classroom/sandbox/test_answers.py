"""Everything that can become of a request, and that a worker serves the next one after it."""

import sys

import numpy as np
import pytest

from minillm.classroom.assignment import Limits
from minillm.classroom.report import KINDS
from minillm.classroom.sandbox import SandboxError, Worker

RUN = "def run(student, inputs):\n    return {'x': student.f(inputs['x'])}\n"
X = np.arange(3.0)


def worker_for(source, **options):
    data = source if isinstance(source, bytes) else source.encode()
    return Worker({"a.py": data}, "a.py", **options)


def ask(source, run=RUN, seconds=20.0, **options):
    with worker_for(source, **options) as worker:
        return worker.ask(run, {"x": X}, seconds=seconds)


CLINGS = """
import signal, time
for number in range(1, 30):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_IGN)
def f(x):
    try:
        time.sleep(60)
    finally:
        f(x)
"""
ANSWERS = [
    ("def f(x):\n    raise ValueError('x is negative')", "exception", "ValueError", "x is negative", 2),
    ("def f(x):\n    return [][0]", "exception", "IndexError", "list index out of range", 2),
    ("def f(x):\n    return g(x)\ndef g(x):\n    return x + np.ones(3)", "exception", "NameError", "'np'", 4),
    ("import numpy as np\ndef f(x):\n    return x + np.ones(4)", "exception", "ValueError", "broadcast", 3),
    ("def f(x):\n    return f(x)", "exception", "RecursionError", "maximum recursion depth", 2),
    ("def f():\n    return 1", "exception", "TypeError", "positional argument", None),
    ("def f(x):\n    raise KeyboardInterrupt", "exception", "KeyboardInterrupt", "", 2),
    ("1 / 0\ndef f(x):\n    return x", "exception", "ZeroDivisionError", "division by zero", 1),
    ("import torch\ndef f(x):\n    return x", "exception", "ModuleNotFoundError", "torch", 1),
    ("def f(x):\n    return input()", "exception", "EOFError", "", 2),
    ("def f(x):\n    assert False", "exception", "AssertionError", "", 2),
    ("def f(x):\n    raise ValueError('\\x1b[2J\\ud800' + 'y' * 9999)", "exception", "ValueError", "yyyy", 2),
    ("class E(Exception):\n    def __str__(self):\n        return 1 / 0\ndef f(x):\n    raise E", "exception",
     "Exception", "cannot be shown", None),
    ("def f(x):\n    raise NotImplementedError('write')", "not_written", "NotImplementedError", "write", 2),
    ("def g(x):\n    return x", "missing", "AttributeError", "f", None),
    ("def f(x):\n    return x.no", "exception", "AttributeError", "has no attribute 'no'", 2),
    ("def f(x:\n    return x", "syntax", "SyntaxError", "was never closed", 1),
    ("def f(x):\n  return x\n return x", "syntax", "IndentationError", "unindent", 3),
    (b"def f(x):\n    return '\xff'", "syntax", "SyntaxError", "utf-8", None),
    (b"def f(x):\n    return '\0'", "syntax", None, "null", None),
    ("f = " + "(" * 3000 + ")" * 3000, "syntax", None, "", None),
    ("f = " + "-" * 100000 + "1", "syntax", None, "", None),
    ("import sys\ndef f(x):\n    sys.exit(0)", "ended", "SystemExit", "0", 3),
    ("import os\ndef f(x):\n    os._exit(0)", "ended", "", "exit status 0", None),
    ("import os\nos._exit(3)", "ended", "", "exit status 3", None),
    ("def f(x):\n    raise MemoryError", "memory", "MemoryError", "", 2),
    ("import ctypes\ndef f(x):\n    ctypes.string_at(0)", "crashed", "", "SIGSEGV", None),
    ("def f(x):\n    while True:\n        pass", "too_slow", "", "", None),
    ("while True:\n    pass", "too_slow", "", "", None),
    (CLINGS, "too_slow", "", "", None),
    ("def f(x):\n    while True:\n        print('x' * 1000)", "too_much_output", "", "", None),
    ("import os\ndef f(x):\n    while os.write(2, bytes(999)): pass", "too_much_output", "", "", None),
    ("def f(x):\n    return None", "exception", "TypeError", "x is None, which is not numbers", None),
    ("def f(x):\n    return 'abc'", "exception", "TypeError", "x is a str, which is not numbers", None),
    ("def f(x):\n    return [[1, 2], [3]]", "exception", "TypeError", "x is no array", None),
    ("def f(x):\n    return [object()]", "exception", "TypeError", "of dtype object", None),
    ("import datetime\ndef f(x):\n    return datetime.date.min", "exception", "TypeError", "dtype obj", None),
    ("import numpy as np\ndef f(x):\n    return np.zeros(1 << 24)", "exception", "ValueError", "most", None),
]


@pytest.mark.parametrize(("source", "kind", "error", "message", "line"), ANSWERS,
                         ids=lambda v: repr(v)[:40] if isinstance(v, str | bytes) else "")
def test_what_goes_wrong_is_told(source, kind, error, message, line):
    answer = ask(source, seconds=0.5 if kind == "too_slow" else 20, limits=Limits(seconds=2))
    assert answer.kind == kind, answer
    assert error in (None, answer.error)
    assert message in answer.message
    assert len(answer.message) <= 500
    assert "\x1b" not in answer.message
    answer.message.encode()
    assert line in (None, answer.line)
    assert answer.kind in KINDS
    assert not answer.arrays


def test_memory_is_limited():
    if sys.platform != "linux":
        pytest.skip("Linux only")
    answer = ask("def f(x):\n    kept = []\n    while True:\n        kept.append(bytes(1 << 24))",
                 limits=Limits(memory_mb=400))
    assert (answer.kind, answer.line) == ("memory", 4)


VALUES = [
    ("3", np.int64, []), ("2.5", np.float64, []), ("True", np.bool_, []), ("1j", np.complex128, []),
    ("[1, 2]", np.int64, [2]), ("np.float32(1)", np.float32, []), ("x", np.float64, [3]),
    ("np.arange(6).reshape(2, 3).T", np.int64, [3, 2]), ("np.zeros(2, '>f8')", np.float64, [2]),
    ("np.longdouble(1)", np.float64, []), ("np.ma.array([1, 2], mask=[1, 0])", np.int64, [2]),
    ("np.ones(4)[::2]", np.float64, [2]), ("memoryview(b'ab')", np.uint8, [2]),
    ("Mine([1.0])", np.float64, [1]), ("np.zeros((0, 3), np.int8)", np.int8, [0, 3]),
    ("np.zeros(2, np.float16)", np.float16, [2]), ("Tensor()", np.float32, [2]),
]
CLASSES = """
import numpy as np
class Mine(np.ndarray):
    def __new__(cls, values):
        return np.asarray(values).view(cls)
    def __eq__(self, other):
        return True
    __array_priority__ = 1e9
    def __array_ufunc__(self, *args, **keywords):
        return np.True_
    def __array_function__(self, *args, **keywords):
        return np.True_
class Tensor:
    def __array__(self, dtype=None, copy=None):
        return np.ones(2, np.float32)
"""


@pytest.mark.parametrize(("value", "dtype", "shape"), VALUES, ids=lambda v: v if isinstance(v, str) else "")
def test_results_arrive_as_plain_arrays(value, dtype, shape):
    answer = ask(f"{CLASSES}\ndef f(x):\n    return {value}")
    assert answer.kind == "arrays", answer
    got = answer.arrays["x"]
    assert type(got) is np.ndarray
    assert (got.dtype, list(got.shape)) == (np.dtype(dtype), shape)
    assert got.dtype.isnative
    assert got.flags.c_contiguous
    assert answer.seconds > 0


def test_inputs_arrive_as_they_were():
    inputs = {"a": np.arange(6, dtype=">i4").reshape(2, 3), "b": np.array(True), "c": np.zeros((2, 0)),
              "d": np.asfortranarray(np.ones((2, 3), np.complex64))}
    run = "def run(student, inputs):\n    return {k: student.f(v) for k, v in inputs.items()}\n"
    with worker_for("def f(x):\n    x += x == 0\n    return x") as worker:
        answer = worker.ask(run, inputs, seconds=20)
    assert list(answer.arrays) == list("abcd")
    assert answer.arrays["a"].tolist() == [[1, 1, 2], [3, 4, 5]]
    assert answer.arrays["b"].shape == ()
    assert inputs["a"][0, 0] == 0


def test_one_worker_serves_case_after_case_and_what_it_prints_is_kept_apart():
    source = "import os\nn = 0\ndef f(x):\n    global n\n    n += 1\n    print('call', n)\n"
    source += "    os.write(2, b'!')\n    if n == 2:\n        raise ValueError(n)\n    return n\n"
    with worker_for(source) as worker:
        kinds = [worker.ask(RUN, {"x": X}, seconds=20).kind for _ in range(3)]
        assert worker.alive
        assert worker.printed.count("call") == worker.printed.count("!") == 3
    assert kinds == ["arrays", "exception", "arrays"]
    assert not worker.alive
    assert "call 3" in worker.printed  # still there when it is over


def test_after_its_end_a_worker_says_the_same_again():
    with worker_for("import os\ndef f(x):\n    os._exit(1)") as worker:
        first, second = (worker.ask(RUN, {"x": X}, seconds=20) for _ in range(2))
    assert first.kind == second.kind == "ended"


def test_only_the_beginning_of_the_output_is_kept():
    with worker_for("def f(x):\n    print('a' * 1500 + '\\x1b[31m')\n    print('b' * 50000)\n    return x",
                    limits=Limits(output_kb=2)) as worker:
        assert worker.ask(RUN, {"x": X}, seconds=20).kind == "arrays"
        assert len(worker.printed) == 2048
        assert worker.printed.startswith("a" * 1500 + "\N{REPLACEMENT CHARACTER}[31m\nb")


def test_printing_to_where_answers_go_is_forging(capfd):
    source = "import os\ndef f(x):\n    for fd in range(3, 200):\n        try:\n"
    source += "            os.write(fd, b'x' * 100)\n        except OSError:\n            pass\n    return x"
    assert ask(source).kind == "forged"
    assert capfd.readouterr() == ("", "")


def test_a_file_that_was_not_handed_in_is_missing():
    with Worker({"other.py": b""}, "a.py") as worker:
        answer = worker.ask(RUN, {"x": X}, seconds=20)
    assert (answer.kind, answer.message) == ("missing", "a.py")


def test_a_second_file_can_be_imported():
    with Worker({"a.py": b"from b import f\n", "b.py": b"def f(x):\n    return 7\n"}, "a.py") as worker:
        assert worker.ask(RUN, {"x": X}, seconds=20).arrays["x"] == 7


@pytest.mark.parametrize("name", ["../a.py", "/a.py", "", "..", "a\0.py"])
def test_names_are_plain(name):
    with pytest.raises(SandboxError, match="not a plain file name"):
        Worker({name: b""}, "a.py")


def test_a_worker_that_is_not_entered_says_so():
    with pytest.raises(RuntimeError, match="context manager"):
        Worker({}, "a.py").ask(RUN, {}, seconds=1)


def test_random_numbers_that_nobody_seeded_are_the_same_every_time():
    source = "import random\nimport numpy as np\ndef f(x):\n    return random.random(), np.random.rand()\n"
    assert ask(source).arrays["x"].tolist() == ask(source).arrays["x"].tolist()


def test_a_module_that_cannot_be_imported_for_the_assignment_is_named():
    with (Worker({"a.py": b""}, "a.py", imports=("numpy.nothing",)) as worker,
          pytest.raises(SandboxError, match=r"import numpy.nothing: ModuleNotFoundError")):
        worker.ask(RUN, {}, seconds=1)
