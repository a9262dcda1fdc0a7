"""Kernels run in Triton's interpreter inside the worker, with all layers, and with as little as they need."""

import importlib.util

import numpy as np
import pytest

from minillm.classroom.assignment import Limits
from minillm.classroom.sandbox import Worker

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")

KERNEL = b"""
import triton
import triton.language as tl

@triton.jit
def double(X, OUT, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    tl.store(OUT + i, 2 * tl.load(X + i, mask=mask), mask=mask)
"""
RUN = """
def run(student, inputs):
    from kernels.testing import run_triton
    out = np.zeros_like(inputs["x"])
    run_triton(student.double, 3, inputs["x"], out, 10, BLOCK=4)
    return {"out": out}
"""
# What a kernel of one's own needs, and no kernel of ours.
LEAST = ("kernels.arrays", "kernels.backends", "kernels.guards", "kernels.tuning",
         "kernels.triton.interpreter", "kernels.triton.launch", "kernels.testing.triton_runner")
RUN_LEAST = RUN.replace("kernels.testing import", "kernels.testing.triton_runner import")


@pytest.mark.parametrize("layers", [None, ("landlock",), ("seccomp", "limits")], ids=str)
def test_a_kernel_runs(layers):
    with Worker({"k.py": KERNEL}, "k.py", imports=("kernels.triton", "triton", "kernels.testing"),
                provide=("kernels",), limits=Limits(seconds=30), layers=layers) as worker:
        answer = worker.ask(RUN, {"x": np.arange(10, dtype=np.float32)}, seconds=60)
    assert answer.kind == "arrays", (answer, worker.printed)
    assert answer.arrays["out"].tolist() == list(range(0, 20, 2))


def test_a_stray_write_is_an_exception_with_its_place():
    source = KERNEL.replace(b", mask=mask)\n", b")\n")
    with Worker({"k.py": source}, "k.py", imports=("kernels.triton", "triton", "kernels.testing"),
                provide=("kernels",), limits=Limits(seconds=30)) as worker:
        answer = worker.ask(RUN, {"x": np.arange(10, dtype=np.float32)}, seconds=60)
    assert (answer.kind, answer.error) == ("exception", "StrayWrite")


def test_modules_can_be_provided_one_by_one():
    source = b"import kernels.triton.interpreter\nkernels.triton.interpreter.prepare()\n" + KERNEL
    with Worker({"k.py": source}, "k.py", imports=("triton", *LEAST),
                provide=LEAST, limits=Limits(seconds=30)) as worker:
        answer = worker.ask(RUN_LEAST, {"x": np.arange(10, dtype=np.float32)}, seconds=60)
        assert answer.kind == "arrays", (answer, worker.printed)
        more = "def run(student, inputs):\n    import kernels.triton.cross_entropy\n"
        answer = worker.ask(more, {}, seconds=60)
    assert (answer.kind, answer.error) == ("exception", "ModuleNotFoundError")
