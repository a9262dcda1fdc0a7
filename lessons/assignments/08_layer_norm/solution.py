"""Normalisation of the last axis, and the way back through it."""

from typing import Any

import numpy as np


# TAKE minillm.formulas.norms:layer_norm


# TAKE minillm.formulas.norms:rms_norm


def layer_norm_backward(dy: Any, x: Any, gamma: Any, *, eps: float = 1e-5) -> tuple[Any, Any, Any]:
    """The gradients of y = layer_norm(x, gamma, beta), from that of y.

        d  = gamma dy
        dx = (d - mean(d) - h mean(d h)) / sqrt(sigma^2 + eps),   h = (x - mu) / sqrt(sigma^2 + eps)

    Args:
        dy: dL/dy, x's shape.
        x: (..., C), the input of the way forward.
        gamma: (C,), the gain.
        eps: as on the way forward.

    Returns:
        (dx, dgamma, dbeta): x's shape, (C,) and (C,).
    """
    # BEGIN SOLUTION
    mu = np.mean(x, axis=-1, keepdims=True)
    root = np.sqrt(np.mean((x - mu)**2, axis=-1, keepdims=True) + eps)  # (..., 1)
    h = (x - mu) / root
    positions = tuple(range(x.ndim - 1))
    dgamma = np.sum(dy * h, axis=positions)  # (C,)
    dbeta = np.sum(dy, axis=positions)  # (C,)
    d = gamma * dy
    means = np.mean(d, axis=-1, keepdims=True)  # (..., 1)
    products = np.mean(d * h, axis=-1, keepdims=True)
    dx = (d - means - h * products) / root
    return dx, dgamma, dbeta
    # END SOLUTION
