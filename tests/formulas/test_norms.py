"""Normalisation: by hand and against torch, forward and backward."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from minillm import Tensor
from minillm.formulas import layer_norm, rms_norm

ROWS = [[1.0, 2.0, 6.0], [0.0, 0.0, 0.0], [1e6, 1e6 + 1, 1e6 + 2]]


def test_layer_norm_by_hand():
    x, gamma, beta = np.array([[1.0, 3.0], [-2.0, 4.0]]), np.array([1.0, 2.0]), np.array([0.0, 0.5])
    assert_allclose(layer_norm(x, gamma, beta, eps=0), [[-1, 2.5], [-1, 2.5]])
    assert_allclose(layer_norm(x, gamma, eps=3.0), [[-0.5, 1], [-3 / 12**0.5, 6 / 12**0.5]])


def test_rms_norm_by_hand():
    x, gamma = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([1.0, 2.0])
    assert_allclose(rms_norm(x, gamma, eps=0.5), [[3 / 13**0.5, 8 / 13**0.5], [0, 0]])


@pytest.mark.parametrize("shape", [(3,), (3, 5), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "no bias"])
def test_against_torch(name, shape, rng):
    x, g = 3 + 2 * rng.standard_normal((2, *shape))
    weights = list(rng.standard_normal((1 if name != "layer_norm" else 2, shape[-1])))
    ours = rms_norm if name == "rms_norm" else layer_norm
    theirs = getattr(torch.nn.functional, ours.__name__)
    xs = [Tensor(a, requires_grad=True) for a in (x, *weights)]
    ts = [torch.tensor(a, requires_grad=True) for a in (x, *weights)]
    y, t = ours(*xs, eps=1e-3), theirs(ts[0], shape[-1:], *ts[1:], eps=1e-3)
    y.backward(g)
    t.backward(torch.tensor(g))
    assert_allclose(y.data, t.detach().numpy(), rtol=1e-13, atol=1e-14)
    for a, b in zip(xs, ts, strict=True):
        assert_allclose(a.grad, b.grad.numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rows_that_are_flat_or_far_from_zero(row):
    x, one = np.array([row]), np.ones(3)
    want = torch.nn.functional.layer_norm(torch.tensor(x), (3,)).numpy()
    assert_allclose(layer_norm(x, one), want, rtol=1e-9)
    assert_allclose(rms_norm(x, one), torch.nn.functional.rms_norm(torch.tensor(x), (3,), eps=1e-6).numpy())
