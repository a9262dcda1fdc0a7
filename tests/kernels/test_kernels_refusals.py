"""What a kernel would read or write wrongly is refused before it runs, in one line; nothing is changed."""

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


def test_tensors_on_two_devices():
    first = [torch.ones(3) for _ in range(4)]
    second = [torch.ones(3, device="meta") for _ in range(4)]
    with pytest.raises(ValueError, match=r"params\[1\] is on meta:0, params\[0\] on cpu"):
        kernels.adam_step(*map(list, zip(first, second, strict=True)), step=1, **OPTIONS)
    assert (first[0] == 1).all()


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
