"""Activation functions by Keras's names; each works on arrays and on Tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minillm.formulas import sigmoid, softmax

from ._names import only, pick

__all__ = ["get", "linear", "relu", "sigmoid", "softmax", "tanh"]
__getattr__ = only(__name__, __all__)

Activation = Callable[[Any], Any]


def linear(x: Any) -> Any:
    """x itself."""
    return x


def relu(x: Any) -> Any:
    """max(x, 0), with derivative 0 at 0, as in Keras. Any shape."""
    return np.where(x > 0, x, 0)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent. Any shape."""
    return np.tanh(x)


_TABLE: dict[str, Activation] = {"linear": linear, "relu": relu, "sigmoid": sigmoid, "softmax": softmax,
                                 "tanh": tanh}


def get(identifier: str | Activation | None) -> Activation:
    """The function of a name; None is `linear`, a function is itself.

    Raises:
        ValueError: the name is unknown.
    """
    if identifier is None:
        return linear
    return identifier if callable(identifier) else pick("activation", identifier, _TABLE)
