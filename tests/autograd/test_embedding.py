"""Embedding lookup against a product with one-hot rows."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minillm import Tensor, check_gradients
from minillm.autograd.fused import embedding

INTEGERS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()


@settings(deadline=None, max_examples=100)
@given(st.data(), st.integers(1, 6), st.integers(0, 3), st.sampled_from(INTEGERS),
       st.sampled_from([np.float32, np.float64]))
def test_equals_the_one_hot_product(data, V, D, integer, dtype):
    ids = data.draw(hnp.arrays(integer, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
                               elements=st.integers(0, V - 1)))
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((V, D)).astype(dtype)
    one_hot = np.eye(V, dtype=dtype)[ids]  # (..., V)
    W = Tensor(weight, requires_grad=True)
    y = embedding(ids, W)
    assert (y.dtype, y.shape) == (dtype, (*ids.shape, D))
    np.testing.assert_array_equal(y.data, one_hot @ weight)
    g = rng.standard_normal(y.shape).astype(dtype)
    y.backward(g)
    expected = np.tensordot(one_hot, g, (range(ids.ndim), range(ids.ndim)))  # (V, D)
    assert (W.grad.dtype, W.grad.shape) == (dtype, (V, D))
    np.testing.assert_allclose(W.grad, expected, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13)
    check_gradients(lambda W: embedding(ids, W) ** 2, (weight,), order=2)


def test_ids_of_few_bits_and_a_large_vocabulary():
    W = Tensor(np.zeros((1000, 2)), requires_grad=True)
    for dtype in INTEGERS:
        W.grad = None
        embedding(np.array([[7, 100], [7, 7]], dtype), W).sum().backward()
        assert W.grad[[7, 100, 8], 0].tolist() == [3.0, 1.0, 0.0]


def test_only_the_rows_that_were_read_get_a_gradient():
    W = Tensor(np.full((4, 2), np.nan), requires_grad=True)
    W.data[1] = 1
    embedding([1, 1, 1], W).sum().backward()
    assert W.grad.tolist() == [[0.0, 0.0], [3.0, 3.0], [0.0, 0.0], [0.0, 0.0]]


def test_weight_may_be_an_array_and_ids_a_tensor():
    weight = np.arange(6.0).reshape(3, 2)
    assert embedding(Tensor([2, 0]), weight).tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert embedding(1, weight).tolist() == [2.0, 3.0]


def test_ids_that_are_not_contiguous():
    ids = np.arange(12).reshape(3, 4)[::-1, ::2]
    W = Tensor(np.random.default_rng(0).standard_normal((12, 2)), requires_grad=True)
    embedding(ids, W).sum().backward()
    assert np.flatnonzero(W.grad[:, 0]).tolist() == sorted(ids.ravel().tolist())


@pytest.mark.parametrize(("ids", "error", "message"), [
    ([0, 5], ValueError, "ids[1] = 5 is outside [0, 5)"),
    ([[0, 1], [-1, 2]], ValueError, "ids[1, 0] = -1 is outside [0, 5)"),
    (9, ValueError, "ids = 9 is outside [0, 5)"),
    (np.array([1, 255], np.uint8), ValueError, "ids[1] = 255 is outside [0, 5)"),
    ([0.0], TypeError, "ids must be integers, not float64"),
    ([True], TypeError, "ids must be integers, not bool"),
])
def test_refusals(ids, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        embedding(ids, Tensor(np.zeros((5, 2)), requires_grad=True))
