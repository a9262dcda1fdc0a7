"""Tests of Adam's step. `python test_public.py` tries them on a few plain versions of it."""

from typing import Any

import numpy as np


# TAKE minillm.formulas.optimizers:adam_step


def test_first_step(adam_step: Any) -> None:
    """From moments of 0 each parameter moves by alpha against its gradient's sign, however large that is."""
    # BEGIN SOLUTION
    theta, g = np.array([1.0, -2.0, 3.0]), np.array([0.5, -400.0, 0.0])
    new, m, v = adam_step(theta, g, np.zeros(3), np.zeros(3), 1, alpha=0.1)
    assert np.allclose(new, [0.9, -1.9, 3.0])
    assert np.allclose(m, 0.1 * g)
    assert np.allclose(v, 0.001 * g * g)
    # END SOLUTION


def test_a_later_step(adam_step: Any) -> None:
    """A step from moments that are not 0, with numbers worked out by hand."""
    # BEGIN SOLUTION
    theta, g = np.array([[1.0], [0.0]]), np.array([[2.0], [-1.0]])
    m, v = np.array([[4.0], [1.0]]), np.full((2, 1), 5.0)
    new, m, v = adam_step(theta, g, m, v, 2, alpha=1.0, beta1=0.5, beta2=0.5, eps=1e-12)
    assert np.allclose(m, [[3.0], [0.0]])
    assert np.allclose(v, [[4.5], [3.0]])
    assert np.allclose(new, [[1 - 4 / np.sqrt(6)], [0.0]])
    # END SOLUTION


def test_options(adam_step: Any) -> None:
    """alpha, beta1, beta2 and eps do what they should, and have the defaults of the docstring."""
    # BEGIN SOLUTION
    one, zero = np.array([1.0]), np.zeros(1)
    new, m, v = adam_step(one, one, zero, zero, 1, alpha=0.3, beta1=0.2, beta2=0.4, eps=0.5)
    assert np.allclose([new, m, v], [[1 - 0.3 / 1.5], [0.8], [0.6]])
    for t in (2, 40):
        new, m, v = adam_step(one, one, one, 4 * one, t, alpha=0.3, beta1=0.9, beta2=0.99, eps=0.5)
        v_hat = 3.97 / (1 - 0.99**t)
        assert np.allclose(new, 1 - 0.3 / (np.sqrt(v_hat) + 0.5) / (1 - 0.9**t))
    new, m, v = adam_step(one, 1e-8 * one, zero, zero, 1)
    assert np.allclose(new, 1 - 0.5e-3, rtol=1e-9)
    new, m, v = adam_step(zero, zero, one, one, 3)
    assert np.allclose(m, 0.9)
    assert np.allclose(v, 0.999)
    # END SOLUTION


def test_arguments(adam_step: Any) -> None:
    """The arrays that are passed in stay as they are."""
    # BEGIN SOLUTION
    given = [np.array([1.0, 2.0]), np.array([0.5, -1.0]), np.array([0.1, 0.2]), np.array([0.3, 0.4])]
    kept = [a.copy() for a in given]
    adam_step(*given, 3)
    assert all(np.array_equal(a, b) for a, b in zip(given, kept))
    # END SOLUTION
