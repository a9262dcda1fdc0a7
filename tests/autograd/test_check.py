"""`check_gradients`: it accepts what is right, at any scale, and finds what is wrong."""

import numpy as np
import pytest

from minillm import check_gradients
from minillm.autograd.fused import FusedOp
from minillm.autograd.rules import RULES
from minillm.autograd.tensor import unwrap


def cube(scale):
    """x^3 with `scale` times its derivative."""
    return FusedOp(lambda x, *, save: (x**3, None),
                   lambda g, saved, x, *, needs: (scale * 3 * g * x**2,), lambda x: x**3)


@pytest.mark.parametrize("seed", range(5))
def test_arguments_of_different_sizes(seed):
    """The step of the large one is far outside the small one's domain."""
    check_gradients(lambda a, b: a / 1e6 + np.log(b), [np.array([1e6]), np.array([1e-2])], seed=seed)
    check_gradients(lambda b, a: np.log(b) * (a / 1e6), [np.array([1e-2]), np.array([1e6])], seed=seed)


def test_a_wrong_derivative_is_found():
    x = np.array([0.5, -2.0])
    check_gradients(cube(1), [x])
    with pytest.raises(AssertionError, match="^order 1: the tape gives .*, differences give "):
        check_gradients(cube(1.001), [x])


def test_a_wrong_second_derivative_is_found(monkeypatch):
    x = np.array([0.5, -2.0])
    half_recorded = lambda g, y, x: g * (1 - y * unwrap(y))  # right, but half of it is not on the tape
    monkeypatch.setitem(RULES, np.tanh, (half_recorded,))
    check_gradients(np.tanh, [x], order=1)
    with pytest.raises(AssertionError, match="^order 2: the tape gives .*, differences give "):
        check_gradients(np.tanh, [x])


def test_a_nan_is_no_agreement():
    with np.errstate(invalid="ignore"), pytest.raises(AssertionError, match="nan"):
        check_gradients(np.log, [np.array([-1.0])])


def test_without_an_argument_to_differentiate():
    with pytest.raises(ValueError, match="needs at least one float array"):
        check_gradients(lambda n: n, [3])
