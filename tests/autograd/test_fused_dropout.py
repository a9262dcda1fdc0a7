"""Fused dropout beside its formula."""

import numpy as np
import pytest

from minillm import Tensor, check_gradients, grad
from minillm.autograd.fused import dropout
from minillm.formulas import dropout as composite


@pytest.mark.parametrize("shape", [(), (7,), (3, 0, 2), (4, 5, 6)])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.75])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_equals_its_formula(shape, p, dtype, rng):
    x, g = rng.standard_normal((2, *shape)).astype(dtype)
    keep = rng.random(shape) >= p
    tolerance = {"rtol": 4 * np.finfo(dtype).eps}
    a, b = (Tensor(x, requires_grad=True) for _ in range(2))
    y, theirs = dropout(a, keep, p=p), composite(b, keep, p=p)
    assert y.dtype == theirs.dtype == dtype
    np.testing.assert_allclose(y.data, theirs.data, **tolerance)
    np.testing.assert_allclose(grad(y, a, g).data, grad(theirs, b, g).data, **tolerance)


def test_dropout_to_second_order(rng):
    keep = np.array([True, False, True, True])
    check_gradients(lambda x: dropout(x, keep, p=0.25) ** 3, (rng.standard_normal(4),), order=2)


def test_dropout_of_integers():
    y = dropout(np.arange(3), np.array([True, True, False]), p=0.5)
    assert y.tolist() == [0, 2, 0]
    assert y.dtype == np.float64
