"""GELU, SiLU and SwiGLU: by hand, against torch, and at the ends of the number line."""

import math

import numpy as np
import torch
from numpy.testing import assert_allclose

from minillm import Tensor, grad
from minillm.formulas import gelu, gelu_tanh, normal_cdf, silu, swiglu

X = np.concatenate([np.linspace(-37, 37, 4001), np.logspace(-300, 0, 50), -np.logspace(-300, 0, 50), [0.0]])
# Phi of -37, -30, -10, -3.3, -0.5, 0, 1 and 6, computed with 40 digits
OF_FORTY_DIGITS = [
    5.72557122252457682e-300, 4.90671392714818706e-198, 7.61985302416052607e-24,
    0.000483424142383777507, 0.308537538725986896, 0.5, 0.841344746068542949, 0.999999999013412355]


def test_normal_cdf_to_the_last_digits():
    x = np.array([-37.0, -30.0, -10.0, -3.3, -0.5, 0.0, 1.0, 6.0])
    assert_allclose(normal_cdf(x), OF_FORTY_DIGITS, rtol=1e-15)
    want = np.array([math.erfc(-x * math.sqrt(0.5)) / 2 for x in X])  # x^2 times the rounding of x sqrt(0.5)
    assert_allclose(normal_cdf(X), want, rtol=4e-13)
    assert_allclose(normal_cdf(X[X > -2]), want[X > -2], rtol=2e-15)
    assert normal_cdf(np.array([-40.0, 40.0])).tolist() == [0, 1]
    x = X.astype(np.float32)
    assert normal_cdf(x).dtype == np.float32
    assert_allclose(normal_cdf(x)[x > -12], normal_cdf(x.astype(np.float64))[x > -12], rtol=1e-6)


def test_gelu_to_the_last_digits():
    want = torch.nn.functional.gelu(torch.tensor(X)).numpy()
    assert_allclose(gelu(X)[X > -1], want[X > -1], rtol=1e-15)  # further left torch cancels
    assert_allclose(gelu(X), want, rtol=1e-15, atol=1e-15)
    assert_allclose(gelu(np.array([-10.0, -30.0])), [-7.61985302416052607e-23, -1.47201417814445612e-196],
                    rtol=1e-15)


def test_gelu_and_its_derivatives_at_zero_and_around():
    """GELU' = Phi + x phi, GELU'' = (2 - x^2) phi."""
    x = Tensor(np.array([0.0, -0.0, 1e-9, -1e-9, 0.7, -0.7, 3.0, -3.0, -12.0]), requires_grad=True)
    z = x.data
    phi = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    first = grad(gelu(x).sum(), x, create_graph=True)
    assert_allclose(first.data, normal_cdf(z) + z * phi, rtol=1e-12)
    assert_allclose(grad(first.sum(), x).data, (2 - z * z) * phi, rtol=1e-9)


def test_gelu_tanh_against_torch():
    t = torch.tensor(X, requires_grad=True)
    want = torch.nn.functional.gelu(t, approximate="tanh")
    want.backward(torch.ones_like(want))
    x = Tensor(X, requires_grad=True)
    assert_allclose(gelu_tanh(X), want.detach().numpy(), rtol=1e-14, atol=1e-15)
    assert_allclose(grad(gelu_tanh(x).sum(), x).data, t.grad.numpy(), rtol=1e-12, atol=1e-14)
    assert 4e-4 < np.abs(gelu_tanh(X) - gelu(X)).max() < 5e-4


def test_silu_against_torch():
    t = torch.tensor(X, requires_grad=True)
    want = torch.nn.functional.silu(t)
    want.backward(torch.ones_like(want))
    x = Tensor(X, requires_grad=True)
    assert_allclose(silu(X), want.detach().numpy(), rtol=1e-14, atol=1e-14)
    assert_allclose(grad(silu(x).sum(), x).data, t.grad.numpy(), rtol=1e-13, atol=1e-13)
    assert silu(np.array([-1e4, 1e4])).tolist() == [0, 1e4]


def test_swiglu_by_hand():
    gate, up = np.array([0.0, np.log(3.0), -1000.0]), np.array([5.0, 2.0, 1.0])
    assert_allclose(swiglu(gate, up), [0, 1.5 * np.log(3), 0], atol=1e-300)
