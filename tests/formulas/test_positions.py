"""Rotary positions: by hand, as complex numbers, and as Hugging Face writes them; sinusoidal positions."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from minillm.formulas import rope, rope_angles, rotate_pairs, sinusoidal_positions


def test_rope_angles_by_hand():
    assert_allclose(rope_angles(np.array([0.0, 2.0]), 4, base=100.0), [[0, 0], [2, 0.2]])
    assert rope_angles(np.zeros((5, 1, 3), np.float32), 8).shape == (5, 1, 3, 4)


def test_rotate_pairs_by_hand():
    """A quarter turn: (x_0, x_2) -> (-x_2, x_0); no turn of the other pair."""
    x = np.array([[1.0, 2.0, 3.0, 4.0]])
    assert_allclose(rotate_pairs(x, np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])), [[-3, 2, 1, 4]])


@pytest.mark.parametrize("base", [10000.0, 500000.0])
def test_rope_against_complex_numbers(base, rng):
    x, t, d = rng.standard_normal((2, 3, 5, 8)), np.array([0, 1, 2, 70, 4000]), 8
    z = x[..., :4] + 1j * x[..., 4:]
    turned = z * np.exp(1j * t[:, None] * base ** (-2 * np.arange(4) / d))
    assert_allclose(rope(x, t, base), np.concatenate([turned.real, turned.imag], -1), rtol=1e-11, atol=1e-11)


def test_rope_interleaved_is_rope_of_the_numbers_in_another_order(rng):
    """Su et al.'s own order: 2i with 2i + 1."""
    x, t = rng.standard_normal((3, 6)), np.arange(3)
    theta = t[:, None] * 10000.0 ** (-np.arange(3) / 3)
    want = np.empty_like(x)
    want[:, ::2] = x[:, ::2] * np.cos(theta) - x[:, 1::2] * np.sin(theta)
    want[:, 1::2] = x[:, ::2] * np.sin(theta) + x[:, 1::2] * np.cos(theta)
    halves = np.array([0, 2, 4, 1, 3, 5])
    assert_allclose(rope(x[:, halves], t), want[:, halves], rtol=1e-13)


def test_rope_in_float32_as_torch_rounds_it(rng):
    x, t = rng.standard_normal((2, 300, 64)).astype(np.float32), np.arange(300)
    inverse = 1.0 / (10000.0 ** (torch.arange(0, 64, 2).float() / 64))
    theta = torch.cat([torch.outer(torch.tensor(t).float(), inverse)] * 2, -1)
    z = torch.tensor(x)
    want = z * theta.cos() + torch.cat([-z[..., 32:], z[..., :32]], -1) * theta.sin()
    assert rope(x, t).dtype == np.float32
    assert_allclose(rope(x, t), want.numpy(), atol=4e-5)
    assert_allclose(rope(x[:, :40], t[:40]), want[:, :40].numpy(), atol=4e-6)


def test_the_product_depends_on_the_distance_alone(rng):
    q, k = rng.standard_normal((2, 1, 16))
    products = [float((rope(q, np.array([t])) * rope(k, np.array([t + 7]))).sum()) for t in (0, 1, 50, 900)]
    assert_allclose(products, products[0], rtol=1e-10)
    assert abs(float((rope(q, np.array([0])) * rope(k, np.array([8]))).sum()) - products[0]) > 1e-3


def test_each_row_of_a_batch_has_its_own_positions(rng):
    x, t = rng.standard_normal((2, 3, 4, 6)), np.array([[0, 1, 2, 3], [5, 6, 7, 8]])
    y = rope(x, t[:, None])
    for i in range(2):
        assert_allclose(y[i], rope(x[i], t[i]), rtol=1e-15)


def test_an_odd_head_is_refused():
    with pytest.raises(ValueError, match="x must have an even last axis, for its pairs, not 5"):
        rope(np.ones((2, 5)), np.arange(2))


def test_sinusoidal_positions_by_hand():
    """base 4 and d 4: wavelengths 2 pi and 4 pi."""
    e = sinusoidal_positions(np.array([0.0, np.pi]), 4, base=4.0)
    assert_allclose(e, [[0, 1, 0, 1], [0, -1, 1, 0]], atol=1e-12)


def test_a_shift_of_sinusoidal_positions_is_a_rotation():
    """The vector of t + n from that of t, by a matrix that does not depend on t (section 3.5)."""
    t, n, d = np.arange(50.0), 7.0, 16
    e, later = sinusoidal_positions(t, d), sinusoidal_positions(t + n, d)
    theta = n * 10000.0 ** (-np.arange(8) / 8)
    c, s = np.cos(theta), np.sin(theta)
    assert_allclose(later[:, ::2], c * e[:, ::2] + s * e[:, 1::2], atol=1e-12)
    assert_allclose(later[:, 1::2], c * e[:, 1::2] - s * e[:, ::2], atol=1e-12)


def test_an_odd_width_has_no_pairs():
    with pytest.raises(ValueError, match="d = 5 must be even"):
        sinusoidal_positions(np.arange(2.0), 5)
