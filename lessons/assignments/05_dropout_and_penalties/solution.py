"""Penalties on the parameters, weight decay and dropout (article 3.3), with their gradients."""

from typing import Any

import numpy as np


# TAKE minillm.formulas.regularization:l1_penalty


# TAKE minillm.formulas.regularization:l2_penalty


def l1_grad(theta: Any, *, lam: float = 0.01) -> Any:
    """The gradient of `l1_penalty`: the direction that makes it grow fastest; 0 where theta is 0.

    Args:
        theta: parameters, any shape.
        lam: strength, >= 0.

    Returns:
        theta's shape.
    """
    # BEGIN SOLUTION
    return lam * np.sign(theta)
    # END SOLUTION


def l2_grad(theta: Any, *, lam: float = 0.01) -> Any:
    """The gradient of `l2_penalty`.

    Args:
        theta: parameters, any shape.
        lam: strength, >= 0.

    Returns:
        theta's shape.
    """
    # BEGIN SOLUTION
    return 2 * lam * theta
    # END SOLUTION


# TAKE minillm.formulas.regularization:decoupled_weight_decay


def keep_mask(u: Any, *, p: float = 0.5) -> Any:
    """Which units are kept: those with u >= p, which has the probability 1 - p.

    Args:
        u: uniform numbers in [0, 1), any shape.
        p: probability to drop, in [0, 1).

    Returns:
        Booleans of u's shape.
    """
    # BEGIN SOLUTION
    return u >= p
    # END SOLUTION


# TAKE minillm.formulas.regularization:dropout


def dropout_grad(g: Any, keep: Any, *, p: float = 0.5) -> Any:
    """dL/dx from g = dL/dy, for y = dropout(x, keep, p=p).

    Args:
        g: gradient of the output, any shape.
        keep: the mask of the way forward, g's shape.
        p: probability to drop, in [0, 1).

    Returns:
        g's shape.
    """
    # BEGIN SOLUTION
    return np.where(keep, g / (1.0 - p), 0.0)
    # END SOLUTION
