import numpy as np
import pytest

from minillm import Tensor, grad
from minillm.formulas import decoupled_weight_decay, dropout, gradient_descent_step, l1_penalty, l2_penalty

THETA = np.array([[3.0, -4.0], [0.0, 1.0]])


def test_penalties_by_hand():
    assert l1_penalty(THETA, lam=0.5) == 4.0
    assert l2_penalty(THETA, lam=0.5) == 13.0


def test_gradients_of_penalties():
    theta = Tensor(THETA, requires_grad=True)
    np.testing.assert_array_equal(grad(l1_penalty(theta, lam=0.5), theta).data, 0.5 * np.sign(THETA))
    np.testing.assert_array_equal(grad(l2_penalty(theta, lam=0.5), theta).data, THETA)  # 2 lam theta


def test_decoupled_decay_by_hand():
    np.testing.assert_allclose(decoupled_weight_decay(THETA, alpha=0.1, lam=0.5), 0.95 * THETA, rtol=1e-15)


def test_decoupled_decay_is_l2_with_plain_gradient_descent():
    """A step along the gradient of lam/2 |theta|^2, as long as there are no moments."""
    decayed = decoupled_weight_decay(THETA, alpha=0.1, lam=0.5)
    np.testing.assert_allclose(decayed, gradient_descent_step(THETA, 0.5 * THETA, alpha=0.1), rtol=1e-15)


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.9])
def test_dropout_keeps_the_mean(p):
    rng = np.random.default_rng(0)
    x = np.full(200_000, 3.0)
    y = dropout(x, rng.random(x.shape) >= p, p=p)
    standard_error = 3 * np.sqrt(p / (1 - p) / x.size)
    assert abs(y.mean() - 3) <= 5 * standard_error + 1e-12
    np.testing.assert_allclose(np.unique(y), [3 / (1 - p)] if p == 0 else [0, 3 / (1 - p)])


def test_dropout_by_hand():
    x = np.float32([1, 2, np.inf, 4])
    y = dropout(x, np.array([True, False, False, True]), p=0.5)
    assert y.tolist() == [2, 0, 0, 8]  # a unit that is dropped is gone, not 0 times infinity
    assert y.dtype == np.float32
