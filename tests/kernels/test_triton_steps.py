"""Stepping through Triton kernels in the interpreter: lines, addresses, masks, and the running numbers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import kernels

pytest.importorskip("triton", reason="no Triton here: pip install triton")

from kernels.testing import kernel_steps, recording_kernels, run_triton, trace_kernel
from kernels.triton import interpreter
from tests.kernels.stepped_kernel import add_up, running_softmax


@pytest.fixture(scope="module")
def recorded():
    x = np.random.default_rng(0).standard_normal((2, 7)).astype(np.float32)
    y = np.zeros_like(x)
    return x, y, trace_kernel(running_softmax, 2, x, y, 7, BLOCK=4)


def test_the_kernel_still_computes(recorded):
    x, y, _ = recorded
    assert_allclose(y, np.exp(x) / np.exp(x).sum(1, keepdims=True), rtol=1e-6)


def test_the_running_maximum_and_sum_are_seen(recorded):
    x, _, recording = recorded
    for program in range(2):
        m = recording.history("running_softmax", "m", program)
        s = recording.history("running_softmax", "s", program)
        assert_allclose(m, [-np.inf, x[program, :4].max(), x[program].max()])
        assert s[0] == 0
        assert_allclose(s[-1], np.exp(x[program] - x[program].max()).sum(), rtol=1e-6)


def test_addresses_and_masks_of_each_load(recorded):
    x, _, recording = recorded
    loads = [a for step in recording.of("running_softmax", 1) for a in step.accesses if a.kind == "load"]
    assert {a.array for a in loads} == {"x"}
    assert [a.touched.tolist() for a in loads] == [[7, 8, 9, 10], [11, 12, 13]] * 2
    assert loads[0].mask is None  # all of it
    assert loads[1].mask.tolist() == [True, True, True, False]
    assert_array_equal(loads[1].values[:3], x[1, 4:])
    assert loads[1].values[3] == -np.inf  # `other`


def test_stores_say_what_was_written(recorded):
    _, y, recording = recorded
    stores = [a for step in recording.of("running_softmax") for a in step.accesses if a.kind == "store"]
    touched = np.concatenate([a.touched for a in stores])
    assert sorted(touched.tolist()) == list(range(14))
    for a in stores:
        shown = a.values if a.mask is None else a.values[a.mask]
        assert_array_equal(y.ravel()[a.touched], shown)


def test_lines_are_those_of_the_file_and_called_functions_stand_below(recorded):
    *_, recording = recorded
    texts = {step.text for step in recording.of("running_softmax")}
    assert "m_new = largest(m, tl.max(block, axis=0))" in texts
    inner = [step for step in recording.steps if step.function == "largest"]
    assert inner
    assert all(step.depth == 1 for step in inner)
    assert not any(step.function == "max" for step in recording.steps)  # Triton's own


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_shipped_cross_entropy(dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    logits = np.random.default_rng(0).standard_normal((2, 10)).astype(getattr(ml_dtypes, dtype, dtype))
    with recording_kernels() as recording:
        kernels.softmax_cross_entropy(logits, np.array([3, 1]), backend="triton")
    assert "one_sweep" in [launch.kernel for launch in recording.launches]
    read = [a for step in recording.of("one_sweep", 1) for a in step.accesses
            if (a.kind, a.array) == ("load", "X")]
    assert set(range(10, 20)) == {int(i) for a in read for i in a.touched}
    wide = logits.astype(np.float32)
    assert recording.history("one_sweep", "m", 1)[-1] == wide[1].max()
    values = np.concatenate([a.values[a.mask] for a in read if a.mask is not None])
    assert_array_equal(np.sort(values), np.sort(wide[1]))


def test_atomics_are_seen():
    x, total = np.array([1, 2, 3], np.float32), np.array([10, 20, 30, 0], np.float32)
    recording = trace_kernel(add_up, 2, x, total, 3, BLOCK=4)
    assert total.tolist() == [12, 24, 36, 1]
    atomics = [a for s in recording.steps for a in s.accesses if a.kind == "atomic"]
    assert [a.operation for a in atomics] == ["add", "cas"] * 2
    first, swapped, second, again = atomics
    assert first.array == second.array == "total"
    assert first.touched.tolist() == [0, 1, 2]
    assert first.mask.tolist() == [True, True, True, False]
    assert first.values[:3].tolist() == [1, 2, 3]
    assert first.before[:3].tolist() == [10, 20, 30]
    assert first.after[:3].tolist() == second.before[:3].tolist() == [11, 22, 33]
    assert (swapped.touched.tolist(), swapped.before, swapped.after) == ([3], 0, 1)
    assert (again.before, again.after) == (1, 1)


def test_triton_s_own_launch_is_not_silent():
    x = np.zeros((1, 1), np.float32)
    with pytest.raises(RuntimeError, match="no kernel was recorded: run it with"), recording_kernels():
        pass
    with recording_kernels() as recording:
        run_triton(running_softmax, 1, x, x, 1, BLOCK=1)
    assert recording.steps


def test_all_is_as_before_afterwards(recorded):
    assert interpreter.watch is None
    from triton.runtime.interpreter import interpreter_builder

    hooked = {"create_masked_load", "create_masked_store", "create_atomic_rmw", "create_atomic_cas"}
    assert not hooked & set(vars(interpreter_builder))
    with pytest.raises(TypeError, match="running_softmax"), recording_kernels():
        trace_kernel(running_softmax, 1)
    assert interpreter.watch is None


def test_too_many_lines_are_refused(monkeypatch):
    monkeypatch.setattr(kernel_steps, "LIMIT", 50)
    x = np.zeros((9, 1), np.float32)
    with pytest.raises(Exception, match="more than 50 lines"):
        trace_kernel(running_softmax, 9, x, x, 1, BLOCK=1)
