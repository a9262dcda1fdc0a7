"""The dense layer as one op: the bias is added in place, and a batch is one large product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm.autograd.row_products import rows_product
from minillm.formulas import linear as composite

from .op import FusedOp
from .sums import column_sums


def forward(x: np.ndarray, W: np.ndarray, b: np.ndarray | None, *, save: bool) -> tuple[np.ndarray, None]:
    try:
        y = _rows(x).dot(W)  # (N, E); for two matrices `dot` is `@`, with less ado
        if b is not None:
            if b.dtype == y.dtype:
                y += b
            else:  # NumPy promotes
                y = y + b
        return (y if x.ndim == 2 else y.reshape(*x.shape[:-1], W.shape[1])), None
    except (ValueError, IndexError):  # caught: to check first would cost a small layer more than its bias
        raise ValueError(_message(x, W, b)) from None


def _message(x: np.ndarray, W: np.ndarray, b: np.ndarray | None) -> str:
    if b is None:
        return f"linear needs x (..., D) and W (D, E), not {x.shape} and {W.shape}"
    return f"linear needs x (..., D), W (D, E) and b (E,), not {x.shape}, {W.shape} and {b.shape}"


def invariant_forward(x: np.ndarray, W: np.ndarray, b: np.ndarray | None, *,
                      save: bool) -> tuple[np.ndarray, None]:
    if x.shape[-1:] != W.shape[:1] or (b is not None and b.shape != W.shape[1:]):
        return forward(x, W, b, save=save)  # says what is wrong
    y = rows_product(x, W)  # (..., E)
    return y if b is None else y + b, None


def backward(g: np.ndarray, saved: None, x: np.ndarray, W: np.ndarray, b: np.ndarray | None, *,
             needs: Sequence[bool]) -> tuple[Any, ...]:
    """dx = G W^T, dW = x^T G, db = the sum of G's rows."""
    rows = _rows(g)  # (N, E)
    dx = rows.dot(W.T) if needs[0] else None  # (N, D)
    return (dx if dx is None or x.ndim == 2 else dx.reshape(x.shape),
            _rows(x).T.dot(rows) if needs[1] else None,
            column_sums(rows) if needs[2] else None)


def _rows(x: np.ndarray) -> np.ndarray:
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])


linear = FusedOp(forward, backward, composite, invariant=invariant_forward)
