"""What a kernel would read or write wrongly is refused before it runs, in one line; nothing is changed."""

import dataclasses
import threading

import numpy as np
import pytest
import torch

import kernels
from kernels import arrays, guards
from kernels.numpy.adam import power

BACKENDS = ["numpy", "triton", "cuda"]
OPTIONS = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}


def adam_lists(n=4, **dtypes):
    return {name: [np.ones(n, dtypes.get(name, np.float32))]
            for name in ("params", "grads", "exp_avg", "exp_avg_sq", *(dtypes.keys() - {"params"}))}


@pytest.mark.parametrize("name", ["exp_avg_sq", "max_exp_avg_sq"])
def test_moments_of_two_types(name):
    lists = adam_lists(**{name: arrays.numpy_dtype("bfloat16")})
    with pytest.raises(TypeError, match=rf"{name}\[0\] is bfloat16, but exp_avg\[0\] is float32"):
        kernels.adam_step(**lists, step=1, amsgrad=name.startswith("max"), **OPTIONS)
    assert (lists["params"][0] == 1).all()


def test_tensors_on_two_devices(monkeypatch):
    first, second = ([np.ones(3, np.float32) for _ in range(4)] for _ in range(2))
    view = arrays.view

    def elsewhere(array):
        on_gpu = any(array is a for a in second)
        return dataclasses.replace(view(array), device="cuda:1") if on_gpu else view(array)

    monkeypatch.setattr(arrays, "view", elsewhere)
    with pytest.raises(ValueError, match=r"params\[1\] is on cuda:1, params\[0\] on cpu"):
        kernels.adam_step(*map(list, zip(first, second, strict=True)), step=1, **OPTIONS)
    assert (first[0] == 1).all()


@pytest.mark.parametrize("tensor", [torch.ones(2, 3, device="meta"), torch.ones(2, 3).to_sparse()])
def test_tensors_that_no_kernel_reads(tensor):
    with pytest.raises(TypeError, match="a torch tensor must be dense and on a CPU or a CUDA device, not"):
        kernels.softmax_cross_entropy(tensor, torch.zeros(2, dtype=int))


def test_the_same_memory_twice():
    a, b, c, d = (np.ones(3, np.float32) for _ in range(4))
    with pytest.raises(ValueError, match=r"exp_avg\[0\] and exp_avg_sq\[0\] share memory"):
        kernels.adam_step([a], [b], [c], [c], 1, **OPTIONS)
    with pytest.raises(ValueError, match=r"params\[0\] and params\[1\] share memory"):
        kernels.adam_step([a, a], [b, b], [c, c.copy()], [d, d.copy()], 1, **OPTIONS)
    assert (a == 1).all()


def test_memory_that_overlaps_in_part():
    memory = np.ones(8, np.float32)
    rest = [[np.ones(5, np.float32) for _ in range(2)] for _ in range(3)]
    with pytest.raises(ValueError, match=r"params\[1\] and params\[0\] share memory"):
        kernels.adam_step([memory[3:], memory[:5]], *rest, 1, **OPTIONS)
    assert (memory == 1).all()


def test_torch_knows_what_was_overwritten():
    """A backward pass that needs a value saved before must refuse, not use the new one."""
    x = torch.randn(2, 3, requires_grad=True)
    y = x * 2
    squares = (y * y).sum()
    kernels.softmax_cross_entropy(y, torch.zeros(2, dtype=int), out=y)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squares.backward()
    lists = [[torch.ones(3)] for _ in range(4)]
    before = [tensor._version for tensor, in lists]
    kernels.adam_step(*lists, 1, **OPTIONS)
    after = [tensor._version for tensor, in lists]
    assert [new > old for new, old in zip(after, before, strict=True)] == [True, False, True, True]


def test_an_ignore_index_that_is_no_64_bit_integer():
    with pytest.raises(ValueError, match=f"ignore_index = {2**63} is no 64-bit integer"):
        kernels.softmax_cross_entropy(np.ones((2, 3)), np.zeros(2, int), ignore_index=2**63)


def test_labels_beyond_int64_are_not_taken_for_negative_ones():
    labels = np.array([0, 2**64 - 100], np.uint64)  # as int64 it would be -100
    with pytest.raises(ValueError, match=r"labels\[1\] = 18446744073709551516 is outside \[0, 3\)"):
        kernels.softmax_cross_entropy(np.ones((2, 3)), labels)


@pytest.mark.parametrize("name", ["labels", "class_weights", "grad_loss"])
def test_out_over_another_argument(name):
    memory = np.ones((4, 8), np.float32)
    given = {"labels": memory.view(np.int64).reshape(-1)[:4], "class_weights": memory.reshape(-1)[:8],
             "grad_loss": memory.reshape(-1)[:4]}[name]
    if name == "labels":
        given[...] = 1
    arguments = {"labels": np.zeros(4, int), name: given}
    with pytest.raises(ValueError, match=f"out overlaps {name}"):
        kernels.softmax_cross_entropy(np.ones((4, 8), np.float32), reduction="none", out=memory, **arguments)


@pytest.mark.parametrize("backend", BACKENDS)
def test_logits_and_gradient_may_interleave(rng, backend):
    memory = rng.standard_normal((5, 24)).astype(np.float32)
    x, out, y = memory[:, :10], memory[:, 12:22], rng.integers(0, 10, 5)
    want = kernels.softmax_cross_entropy(x.copy(), y)[2]
    got = kernels.softmax_cross_entropy(x, y, out=out, backend=backend)[2]
    assert got is out
    np.testing.assert_allclose(out, want, atol=1e-7)
    for wrong in (memory[:, 5:15], memory[:, 9:19]):
        with pytest.raises(ValueError, match="out overlaps logits"):
            kernels.softmax_cross_entropy(x, y, out=wrong, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_weight_of_a_class_that_is_not_there_does_not_matter(backend):
    x, y = np.array([[1, -np.inf, 2]], np.float32), np.array([0])
    for weight in (np.nan, np.inf, 7):
        w = np.array([1, weight, 1], np.float32)
        loss, _, d = kernels.softmax_cross_entropy(x, y, class_weights=w, backend=backend,
                                                label_smoothing=0.2)
        assert np.isfinite(loss)
        assert d[0, 1] == 0
        np.testing.assert_allclose(d.sum(), 0, atol=1e-6)


@pytest.mark.parametrize("value", [2.0, np.float32(2), np.float64(2), np.array(2.0)])
def test_upstream_gradients_of_every_kind_of_number(value):
    x, y = np.ones((2, 3), np.float32), np.zeros(2, int)
    twice = kernels.softmax_cross_entropy(x, y, grad_loss=value)[2]
    np.testing.assert_allclose(twice, 2 * kernels.softmax_cross_entropy(x, y)[2])


def test_a_number_is_no_parameter():
    lists = [[np.float32(1)] for _ in range(4)]
    with pytest.raises(TypeError, match=r"params\[0\] is float32, not an array"):
        kernels.adam_step(*lists, step=1, **OPTIONS)


@pytest.mark.parametrize("step", [0, -1])
def test_a_step_on_the_device_that_is_none_ends(step):
    assert power(0.9, step) == 1.0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["logits", "labels", "class_weights"])
def test_foreign_byte_order(name, backend):
    given = {"logits": np.ones((2, 3), np.float32), "labels": np.zeros(2, np.int64),
             "class_weights": np.ones(3, np.float32)}
    given[name] = given[name].astype(given[name].dtype.newbyteorder())
    with pytest.raises(TypeError, match=r"not in this machine's byte order: pass array\.astype\('[fi][48]'"):
        kernels.softmax_cross_entropy(**given, backend=backend)


def test_a_read_only_out():
    x, out = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        kernels.softmax_cross_entropy(x, np.zeros(2, int), out=out)
    assert (out == 1).all()


def test_memory_between_elements():
    raw = np.zeros(25, np.uint8)
    x = np.ndarray((2, 3), np.float32, raw, offset=1)
    with pytest.raises(TypeError, match="float32 array does not begin at a multiple of 4 bytes: pass a copy"):
        kernels.softmax_cross_entropy(x, np.zeros(2, int))


def test_more_rows_a_chunk_than_there_are():
    x, w = np.ones((6, 2), np.float32), np.ones((5, 2), np.float32)
    got = kernels.linear_cross_entropy(x, w, np.zeros(6, int), chunk_rows=10**12)
    np.testing.assert_allclose(got.loss, np.log(5), rtol=1e-6)


def test_no_classes_at_all():
    got = kernels.linear_cross_entropy(np.ones((6, 2)), np.ones((0, 2)), np.full(6, -100))
    assert got.loss == 0
    assert not got.dx.any()
    assert got.dweight.shape == (0, 2)


def test_two_libraries_in_one_product():
    with pytest.raises(ValueError, match="weight is an array of numpy, x of torch"):
        kernels.linear_cross_entropy(torch.ones(2, 3), np.ones((4, 3), np.float32), torch.zeros(2, dtype=int))


def test_two_threads_write_between_each_others_rows():
    """out= with a gap between rows: the gap is somebody else's, who may write to it meanwhile."""
    memory = np.zeros((3, 8), np.float32)
    mine, theirs = arrays.view(memory[:, :4]), memory[:, 4:]
    with guards.guarded([mine], ["mine"]) as (moved,):
        arrays.as_numpy(moved)[...] = 1
        other = threading.Thread(target=theirs.fill, args=(2,))
        other.start()
        other.join()
    assert (memory == [1, 1, 1, 1, 2, 2, 2, 2]).all()


@pytest.mark.parametrize("backend", ["triton", "cuda"])
def test_more_classes_than_32_bits_count(backend, need_backend):
    need_backend(backend)
    row = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (0, 2**30 + 1), (4, 4))
    with pytest.raises(ValueError, match=f"logits have {2**30 + 1} classes; backend '{backend}'"):
        kernels.softmax_cross_entropy(row, np.zeros(0, int), backend=backend)
