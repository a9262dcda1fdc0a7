"""Views of NumPy, torch and DLPack arrays: the same memory, no copy; new arrays of the caller's kind."""

import ml_dtypes
import numpy as np
import pytest
import torch

from kernels import arrays


class OnlyDLPack:
    """An array of a library that kernels do not know."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_a_view_of_numpy_is_its_memory():
    a = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, 1:4]
    v = arrays.view(a)
    assert (v.address, v.dtype, v.device) == (a.ctypes.data, "float32", "cpu")
    assert (v.shape, v.strides) == ((2, 3), (12, 1))
    assert (v.itemsize, v.size, v.nbytes, v.contiguous) == (4, 6, 4 * 15, False)
    arrays.as_numpy(v)[...] = -1
    assert (a == -1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_a_view_of_torch_is_its_memory(dtype):
    t = torch.ones(3, 4, dtype=dtype)[:, 1:]
    v = arrays.view(t)
    assert (v.address, v.shape, v.strides) == (t.data_ptr(), (3, 3), (4, 1))
    assert v.dtype == str(dtype).removeprefix("torch.")
    array = arrays.as_numpy(t)
    array[1, 1] = 5
    assert t[1, 1] == 5
    assert array.dtype == arrays.numpy_dtype(v.dtype)


def test_anything_with_dlpack_is_read_in_place():
    a = np.arange(6.0)
    v = arrays.view(OnlyDLPack(a))
    assert v.address == a.ctypes.data


def test_torchs_graph_is_left_behind():
    t = torch.ones(3, requires_grad=True)
    assert not arrays.adopt(t).requires_grad


@pytest.mark.parametrize("like", [np.zeros(2, np.float32), torch.zeros(2)], ids=["numpy", "torch"])
def test_new_arrays_are_of_the_callers_kind(like):
    for made, shape, dtype in ((arrays.empty(like, (2, 3)), (2, 3), "float32"),
                               (arrays.zeros(like, (), "float64"), (), "float64"),
                               (arrays.full(like, (4,), "bfloat16", 1.5), (4,), "bfloat16"),
                               (arrays.astype(like, "float16"), (2,), "float16")):
        assert type(made) is type(like)
        assert arrays.view(made).shape == shape
        assert arrays.view(made).dtype == dtype
    assert arrays.astype(like, "float32") is like
    assert arrays.contiguous(like) is like


def test_contiguous_copies_only_what_is_not():
    t = torch.arange(6).reshape(2, 3).T
    assert arrays.view(arrays.contiguous(t)).contiguous
    a = np.arange(6).reshape(2, 3).T
    assert np.array_equal(arrays.contiguous(a), a)


@pytest.mark.parametrize(("array", "dense"), [
    (np.zeros((2, 3)), (3, 1)), (np.zeros((2, 3)).T, (1, 3)), (np.zeros((4, 3))[::2], None),
    (np.zeros((1, 5)), (1,)), (np.zeros((0, 5)), ()), (np.zeros(()), ()), (np.zeros((3, 4))[:, :3], None)])
def test_dense_strides(array, dense):
    assert arrays.dense_strides(arrays.view(array)) == dense


@pytest.mark.parametrize(("array", "message"), [
    ([1.0, 2.0], "list is no array"), (np.zeros(3, complex), "element type complex128 is none of"),
    (np.zeros(4, "f4,f8")["f1"], "does not step by whole elements")])
def test_what_is_no_array_is_refused(array, message):
    with pytest.raises(TypeError, match=message):
        arrays.view(array)


def test_bfloat16_is_that_of_ml_dtypes():
    assert arrays.numpy_dtype("bfloat16") == np.dtype(ml_dtypes.bfloat16)
