"""Rotary positions as one op: each pair (a, b) = (x_i, x_(i + d/2)) turned by its angle.

    y = (a cos - b sin, a sin + b cos)      dx: g turned back
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm import formulas

from .op import FusedOp


def _turned(x: np.ndarray, cos: np.ndarray, sin: np.ndarray, sign: float, like: np.ndarray) -> np.ndarray:
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]  # (..., T, d/2)
    y = np.empty_like(like, np.result_type(x, cos, sin))
    first, second = y[..., :half], y[..., half:]
    np.multiply(a, cos, out=first)
    np.multiply(b, cos, out=second)
    part = b * sin
    (np.subtract if sign > 0 else np.add)(first, part, out=first)
    np.multiply(a, sin, out=part)
    (np.add if sign > 0 else np.subtract)(second, part, out=second)
    return y


def forward(x: np.ndarray, cos: np.ndarray, sin: np.ndarray, *, save: bool) -> tuple[np.ndarray, None]:
    if x.ndim < 2 or x.shape[-1] % 2:
        raise ValueError(f"x must be (..., T, d), d even, not {x.shape}")
    if cos.shape != sin.shape:
        raise ValueError(f"sin must have the shape of cos, {cos.shape}, not {sin.shape}")
    half = (*x.shape[:-1], x.shape[-1] // 2)
    try:
        fits = np.broadcast_shapes(cos.shape, half) == half
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"cos must broadcast to {half} for x of {x.shape}, which {cos.shape} does not")
    return _turned(x, cos, sin, 1, x), None


def backward(g: np.ndarray, saved: None, x: np.ndarray, cos: np.ndarray, sin: np.ndarray, *,
             needs: Sequence[bool]) -> tuple[Any, ...]:
    half = x.shape[-1] // 2
    a, b, p, q = x[..., :half], x[..., half:], g[..., :half], g[..., half:]
    return (_turned(g, cos, sin, -1, g) if needs[0] else None,
            p * a + q * b if needs[1] else None,
            q * a - p * b if needs[2] else None)


rotate_pairs = FusedOp(forward, backward, formulas.rotate_pairs)
