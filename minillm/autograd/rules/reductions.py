"""Functions that sum up an axis. y = f(x); the gradient g has y's shape and is spread over x's."""

from __future__ import annotations

from typing import Any

import numpy as np

from .registry import RULES, composed, constant


def spread(g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """g, or y, with the reduced axes put back, stretched to x's shape."""
    if axis is not None and not keepdims:
        g = np.expand_dims(g, axis)
    return np.broadcast_to(g, x.shape)


def _count(x: Any, axis: Any) -> int:
    """How many elements of x go into one of y."""
    if axis is None:
        return x.size
    axes = axis if isinstance(axis, tuple) else (axis,)
    return int(np.prod([x.shape[i] for i in axes]))


def _var(g: Any, y: Any, x: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
    free = _count(x, axis) - ddof
    scale = 2 / free if free > 0 else np.nan
    return spread(g, x, axis, keepdims) * (x - np.mean(x, axis=axis, keepdims=True)) * scale


def _extreme(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """max and min: to the element that was taken, in equal parts where several are equal.

    A nan is taken before any number.
    """
    chosen = np.logical_or(x == spread(y, x, axis, keepdims), np.isnan(x))
    share = spread(g, x, axis, keepdims) / np.maximum(chosen.sum(axis, keepdims=True), 1).astype(g.dtype)
    return np.where(chosen, share, 0)


def _prod(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    g = spread(g, x, axis, keepdims)
    if not np.any(x == 0):
        return g * spread(y, x, axis, keepdims) / x
    return g * _product_of_others(x, axis)


def _product_of_others(x: Any, axis: Any) -> Any:
    """For each element, the product of all others: right where some are zero, but n times dearer."""
    axes = tuple(range(x.ndim)) if axis is None else tuple(np.atleast_1d(axis) % x.ndim)
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    order = rest + axes
    kept = tuple(x.shape[i] for i in rest)
    n = _count(x, axes)
    rows = np.reshape(np.transpose(x, order), (*kept, 1, n))  # (..., 1, n)
    others = np.prod(np.where(constant(np.eye(n, dtype=bool), x), 1, rows), axis=-1)  # (..., n)
    back = np.reshape(others, tuple(x.shape[i] for i in order))
    return np.transpose(back, tuple(int(i) for i in np.argsort(order)))


def _cumsum(g: Any, y: Any, x: Any, axis: int | None = None) -> Any:
    """x_i is in every later sum: a cumulative sum from the far end."""
    g = np.flip(np.cumsum(np.flip(g, axis), axis=axis), axis)
    return np.reshape(g, x.shape)  # without an axis NumPy flattens


RULES.update({
    np.sum:    (lambda g, y, x, axis=None, keepdims=False: spread(g, x, axis, keepdims),),
    np.mean:   (lambda g, y, x, axis=None, keepdims=False:
                spread(g / _count(x, axis), x, axis, keepdims),),
    np.var:    (_var,),
    np.max:    (_extreme,),
    np.min:    (_extreme,),
    np.prod:   (_prod,),
    np.cumsum: (_cumsum,),
})


@composed(np.std)
def std(x: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Any:
    return np.sqrt(np.var(x, axis=axis, ddof=ddof, keepdims=keepdims))
