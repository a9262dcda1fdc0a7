"""The dense layer as one op: the bias is added in place, and a batch is one large product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm.formulas import linear as composite

from .op import FusedOp
from .sums import column_sums


def forward(x: np.ndarray, W: np.ndarray, b: np.ndarray, *, save: bool) -> tuple[np.ndarray, None]:
    try:
        y = _rows(x).dot(W)  # (N, E); for two matrices `dot` is `@`, with less ado
        if b.dtype == y.dtype:
            y += b
        else:  # NumPy promotes
            y = y + b
    except (ValueError, IndexError):  # caught: to check first would cost a small layer more than its bias
        raise ValueError(f"linear needs x (..., D), W (D, E) and b (E,), not {x.shape}, {W.shape} "
                         f"and {b.shape}") from None
    return (y if x.ndim == 2 else y.reshape(*x.shape[:-1], len(b))), None


def backward(g: np.ndarray, saved: None, x: np.ndarray, W: np.ndarray, b: np.ndarray, *,
             needs: Sequence[bool]) -> tuple[Any, ...]:
    """dx = G W^T, dW = x^T G, db = the sum of G's rows."""
    rows = _rows(g)  # (N, E)
    dx = rows.dot(W.T) if needs[0] else None  # (N, D)
    return (dx if dx is None or x.ndim == 2 else dx.reshape(x.shape),
            _rows(x).T.dot(rows) if needs[1] else None,
            column_sums(rows) if needs[2] else None)


def _rows(x: np.ndarray) -> np.ndarray:
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])


linear = FusedOp(forward, backward, composite)
