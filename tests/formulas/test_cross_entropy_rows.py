"""Cross-entropy of single rows with every option: by hand, against torch, and its gradient at the edges."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import minillm as ml
from minillm.formulas import (
    cross_entropy_rows,
    cross_entropy_rows_gradient,
    logsumexp,
    soft_cap,
    softmax,
    softmax_cross_entropy,
    z_loss,
)


def test_soft_cap_by_hand():
    assert_allclose(soft_cap(np.array([0.0, 30.0, -1e9, -np.inf]), 30.0),
                    [0, 30 * np.tanh(1), -30, -np.inf])


def test_z_loss_by_hand():
    assert_allclose(z_loss(np.log([[1.0, 2.0, 5.0]]), 0.5), [0.5 * np.log(8) ** 2])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("e", [0.0, 0.2])
def test_rows_against_torch(rng, e, weighted):
    x, y, w = 5 * rng.standard_normal((6, 9)), rng.integers(0, 9, 6), rng.uniform(0, 2, 9)
    want = torch.nn.functional.cross_entropy(
        torch.tensor(x), torch.tensor(y), torch.tensor(w) if weighted else None, reduction="none",
        label_smoothing=e)
    assert_allclose(cross_entropy_rows(x, y, w if weighted else None, e), want.numpy(), rtol=1e-13)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("e", "zeta"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.1), (0.2, 0.3)])
def test_gradient_is_the_derivative(rng, e, zeta, weighted):
    x, y, w = 5 * rng.standard_normal((6, 9)), rng.integers(0, 9, 6), rng.uniform(0, 2, 9)
    w = w if weighted else None
    t = ml.Tensor(x, requires_grad=True)
    np.sum(cross_entropy_rows(t, y, w, e) + z_loss(t, zeta)).backward()
    assert_allclose(cross_entropy_rows_gradient(x, y, w, e, zeta), t.grad, rtol=1e-11, atol=1e-15)


def test_all_digits_are_kept_as_the_labels_probability_goes_to_one():
    """p_y = 1 - d for d down to 1e-300: loss d, gradient -d at the label and +d at the other class."""
    d = np.logspace(-300, -2, 50)
    x = np.stack([np.zeros_like(d), np.log(d / (1 - d))], 1)
    y = np.zeros(len(d), int)
    assert_allclose(cross_entropy_rows(x, y), -np.log1p(-d), rtol=1e-12)
    assert_allclose(cross_entropy_rows_gradient(x, y), np.stack([-d, d], 1), rtol=1e-12)


def test_masked_classes_take_no_part(rng):
    x, y = rng.standard_normal((3, 5)), np.array([0, 1, 2])
    masked = np.concatenate([np.full((3, 4), -np.inf), x], 1)
    for e in (0.0, 0.2):
        want = cross_entropy_rows(x, y, None, e)
        assert_allclose(cross_entropy_rows(masked, y + 4, None, e), want, rtol=1e-13)
        dx = cross_entropy_rows_gradient(masked, y + 4, None, e, 0.1)
        assert_allclose(dx[:, 4:], cross_entropy_rows_gradient(x, y, None, e, 0.1), rtol=1e-12)
        assert not dx[:, :4].any()


def test_a_masked_label_costs_inf_and_has_a_finite_gradient():
    x = np.array([[0.0, -np.inf, 1.0]])
    assert cross_entropy_rows(x, np.array([1])) == np.inf
    assert_allclose(cross_entropy_rows_gradient(x, np.array([1])), softmax(x) - [[0, 1, 0]])


def test_the_row_terms_make_up_the_mean(rng):
    x, y = rng.standard_normal((6, 9)), rng.integers(0, 9, 6)
    want = softmax_cross_entropy(x, y, label_smoothing=0.1)
    assert_allclose(cross_entropy_rows(x, y, None, 0.1).mean(), want)
    assert_allclose(z_loss(x, 0.3), 0.3 * logsumexp(x) ** 2)
