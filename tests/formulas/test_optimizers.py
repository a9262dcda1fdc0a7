from itertools import pairwise

import numpy as np
import pytest
import torch

from minillm import formulas
from minillm.formulas import (
    amsgrad_step,
    clip_by_norm,
    global_norm,
    gradient_descent_step,
    momentum_step,
    warmup_cosine,
)

STEPS = 20


def bowl(theta):
    """The gradient of an uneven bowl."""
    return np.array([1.0, 0.1, 10.0]) * (theta - np.array([1.0, -2.0, 0.5]))


def by_torch(optimizer, theta, **options):
    """All iterates of a torch optimiser on the bowl, from the same start."""
    t = torch.tensor(theta, requires_grad=True)
    opt = optimizer([t], **options)
    for _ in range(STEPS):
        t.grad = torch.tensor(bowl(t.detach().numpy()))
        opt.step()
        yield t.detach().numpy().copy()


def test_gradient_descent_by_hand():
    np.testing.assert_allclose(gradient_descent_step(np.array([1.0, 2.0]), np.array([10.0, -1.0]), alpha=0.1),
                               [0.0, 2.1], rtol=1e-15)


def test_gradient_descent_goes_down():
    theta = np.zeros(3)
    for _ in range(500):
        theta = gradient_descent_step(theta, bowl(theta), alpha=0.1)
    np.testing.assert_allclose(theta, [1.0, -2.0, 0.5], atol=0.02)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_against_torch(nesterov):
    theta, u = np.array([3.0, 3.0, 3.0]), np.zeros(3)
    for expected in by_torch(torch.optim.SGD, theta, lr=0.02, momentum=0.8, nesterov=nesterov):
        theta, u = momentum_step(theta, bowl(theta), u, alpha=0.02, mu=0.8, nesterov=nesterov)
        np.testing.assert_allclose(theta, expected, rtol=1e-12)


def test_adam_by_hand():
    """The article's five lines, with numbers for which each can be done in the head.

    g = 3, m = 1, v = 8, t = 2, beta1 = 1/2, beta2 = 3/4: m_t = 2, v_t = 33/4, m_hat = 2 / (3/4),
    v_hat = (33/4) / (7/16).
    """
    theta, m, v = formulas.adam_step(10.0, 3.0, 1.0, 8.0, 2, alpha=0.1, beta1=0.5, beta2=0.75, eps=0.5)
    assert (m, v) == (2.0, 8.25)
    m_hat, v_hat = 8 / 3, 132 / 7
    assert theta == pytest.approx(10 - 0.1 / (np.sqrt(v_hat) + 0.5) * m_hat, rel=1e-15)


def test_the_first_step_of_adam_is_alpha_whatever_the_scale():
    """With both corrections, m_hat = g and v_hat = g^2 at t = 1."""
    g = np.array([1e-3, -5.0, 1e4])
    theta, _, _ = formulas.adam_step(np.zeros(3), g, np.zeros(3), np.zeros(3), 1, alpha=0.01, eps=1e-300)
    np.testing.assert_allclose(theta, -0.01 * np.sign(g), rtol=1e-12)


def test_epsilon_stands_outside_the_root():
    theta, _, _ = formulas.adam_step(0.0, 1e-12, 0.0, 0.0, 1, alpha=1.0, eps=1e-12)
    assert theta == pytest.approx(-0.5, rel=1e-9)  # g / (|g| + eps); inside the root it would be -1e-6


def test_adam_where_there_is_no_gradient():
    theta, m, v = formulas.adam_step(np.ones(2), np.zeros(2), np.zeros(2), np.zeros(2), 1)
    assert theta.tolist() == [1.0, 1.0]
    assert not m.any()
    assert not v.any()


def test_adam_against_torch():
    theta, m, v = np.array([3.0, 3.0, 3.0]), np.zeros(3), np.zeros(3)
    options = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3}
    for t, expected in enumerate(by_torch(torch.optim.Adam, theta, **options), start=1):
        theta, m, v = formulas.adam_step(theta, bowl(theta), m, v, t, alpha=0.05, beta1=0.8, beta2=0.95,
                                         eps=1e-3)
        np.testing.assert_allclose(theta, expected, rtol=1e-12)


def test_adamw_against_torch():
    theta, m, v = np.array([3.0, 3.0, 3.0]), np.zeros(3), np.zeros(3)
    for t, expected in enumerate(by_torch(torch.optim.AdamW, theta, lr=0.05, weight_decay=0.1), start=1):
        g = bowl(theta)  # of the parameters before they decay
        decayed = formulas.decoupled_weight_decay(theta, alpha=0.05, lam=0.1)
        theta, m, v = formulas.adam_step(decayed, g, m, v, t, alpha=0.05)
        np.testing.assert_allclose(theta, expected, rtol=1e-12)


def test_clip_by_norm():
    grads = np.array([3.0, 0.0]), np.array([[0.0], [4.0]])
    assert global_norm(grads) == 5.0
    for g, c in zip(grads, clip_by_norm(*grads, max_norm=1.0), strict=True):
        np.testing.assert_allclose(c, g / 5, rtol=1e-15)
    for g, c in zip(grads, clip_by_norm(*grads, max_norm=5.0), strict=True):
        np.testing.assert_array_equal(c, g)
    assert clip_by_norm(grads[0], max_norm=100.0).tolist() == [3.0, 0.0]
    assert clip_by_norm(np.zeros(2), max_norm=1.0).tolist() == [0.0, 0.0]


def test_clip_by_norm_against_torch(rng):
    grads = [rng.standard_normal(s) for s in [(3,), (2, 4), ()]]
    parameters = [torch.zeros(g.shape, dtype=torch.float64) for g in grads]
    for p, g in zip(parameters, grads, strict=True):
        p.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_norm_(parameters, 0.7)
    for p, c in zip(parameters, clip_by_norm(*grads, max_norm=0.7), strict=True):
        np.testing.assert_allclose(c, p.grad.numpy(), rtol=1e-5)  # torch adds 1e-6 to the norm


def test_warmup_cosine():
    factors = [warmup_cosine(t, warmup=10, total=110, floor=0.1) for t in range(1, 131)]
    assert factors[:10] == [t / 10 for t in range(1, 11)]
    assert factors[59] == pytest.approx(0.55)  # halfway down
    assert factors[109:] == [pytest.approx(0.1)] * 21
    assert all(a >= b for a, b in pairwise(factors[9:]))
    assert warmup_cosine(1, warmup=0, total=4) < 1


def test_amsgrad_against_torch(rng):
    theta = rng.standard_normal(7)
    p = torch.nn.Parameter(torch.tensor(theta))
    peer = torch.optim.Adam([p], lr=0.1, amsgrad=True)
    m = v = v_bar = np.zeros(7)
    for t in range(1, 30):
        g = rng.standard_normal(7) * (10 if t == 3 else 0.1)
        p.grad = torch.tensor(g)
        peer.step()
        theta, m, v, v_bar = amsgrad_step(theta, g, m, v, v_bar, t, alpha=0.1)
    np.testing.assert_allclose(theta, p.detach().numpy(), rtol=1e-12)
    assert (v_bar > v).any()
