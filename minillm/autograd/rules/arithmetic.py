"""Elementwise functions. y = f(a, b); g = dL/dy; each row gives dL/da, dL/db.

At a kink the derivative is the mean of both sides (abs: 0; maximum of equals: a half each), except
for `clip`, which lets the gradient through at its bounds. Of a nan and a number, maximum and minimum
choose the nan, and so does the gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.autograd.tensor import apply

from .registry import RULES, array, composed

_LN2, _LN10 = float(np.log(2)), float(np.log(10))


def _chosen(g: Any, y: Any, a: Any, b: Any) -> Any:
    """g where y is a, half of it where y is both."""
    return np.where((a == y) | np.isnan(a), np.where((b == y) | np.isnan(b), g / 2, g), 0)


def _finite(y: Any) -> Any:
    return np.where(y == -np.inf, 0, y)  # log(0 + 0): both shares are exp(-inf - 0) = 0, not nan


def _power_base(g: Any, y: Any, a: Any, b: Any) -> Any:
    if isinstance(b, int | float):  # a Python number leaves float32 alone, np.where's array would not
        return g * b * a ** (b - 1) if b else g * 0
    b = array(b)
    return g * b * a ** np.where(b == 0, 1, b - 1)  # a**0 is flat, at a = 0 too


def _power_exponent(g: Any, y: Any, a: Any, b: Any) -> Any:
    return g * y * np.log(np.where(a == 0, 1, a))  # 0**b is flat


RULES.update({
    np.add:        (lambda g, y, a, b: g, lambda g, y, a, b: g),
    np.subtract:   (lambda g, y, a, b: g, lambda g, y, a, b: -g),
    np.multiply:   (lambda g, y, a, b: g * b, lambda g, y, a, b: g * a),
    np.divide:     (lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b),
    np.power:      (_power_base, _power_exponent),
    np.negative:   (lambda g, y, x: -g,),
    np.positive:   (lambda g, y, x: g,),
    np.reciprocal: (lambda g, y, x: -g * y * y,),
    np.square:     (lambda g, y, x: g * 2 * x,),
    np.sqrt:       (lambda g, y, x: g / (2 * y),),
    np.exp:        (lambda g, y, x: g * y,),
    np.exp2:       (lambda g, y, x: g * y * _LN2,),
    np.expm1:      (lambda g, y, x: g * (y + 1),),
    np.log:        (lambda g, y, x: g / x,),
    np.log2:       (lambda g, y, x: g / (x * _LN2),),
    np.log10:      (lambda g, y, x: g / (x * _LN10),),
    np.log1p:      (lambda g, y, x: g / (1 + x),),
    np.logaddexp:  (lambda g, y, a, b: g * np.exp(a - _finite(y)),
                    lambda g, y, a, b: g * np.exp(b - _finite(y))),
    np.tanh:       (lambda g, y, x: g * (1 - y * y),),
    np.sinh:       (lambda g, y, x: g * np.cosh(x),),
    np.cosh:       (lambda g, y, x: g * np.sinh(x),),
    np.sin:        (lambda g, y, x: g * np.cos(x),),
    np.cos:        (lambda g, y, x: -g * np.sin(x),),
    np.arctan:     (lambda g, y, x: g / (1 + x * x),),
    np.absolute:   (lambda g, y, x: g * np.sign(x),),
    np.sign:       (lambda g, y, x: g * 0,),
    np.maximum:    (_chosen, lambda g, y, a, b: _chosen(g, y, b, a)),
    np.minimum:    (_chosen, lambda g, y, a, b: _chosen(g, y, b, a)),
    np.where:      (lambda g, y, c, a, b: None,
                    lambda g, y, c, a, b: np.where(c, g, 0),
                    lambda g, y, c, a, b: np.where(c, 0, g)),
    np.clip:       (lambda g, y, x, lo, hi: np.where(_inside(x, lo, hi), g, 0),
                    lambda g, y, x, lo, hi: np.where((x < lo) & _below(lo, hi), g, 0),
                    lambda g, y, x, lo, hi: np.where((x > hi) | np.logical_not(_below(lo, hi)), g, 0)),
})

def _below(lo: Any, hi: Any) -> Any:
    """Where the lower bound is in force; NumPy gives hi wherever lo > hi."""
    return True if lo is None or hi is None else lo <= hi


def _inside(x: Any, lo: Any, hi: Any) -> Any:
    inside = np.ones_like(x, bool)
    if lo is not None:
        inside = inside & (x >= lo)
    return inside if hi is None else inside & (x <= hi)


@composed(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    return apply(np.clip, (a, a_min if min is None else min, a_max if max is None else max))
