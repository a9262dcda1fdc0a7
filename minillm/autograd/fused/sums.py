"""Sums over an axis of a matrix as products with ones: BLAS is several times faster at them than np.sum."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np


def row_sums(x: np.ndarray) -> np.ndarray:
    """s_i = sum_j x_ij = (x 1)_i: (M, N) -> (M,)."""
    return x.dot(_ones(x.shape[1], x.dtype.char))


def column_sums(x: np.ndarray) -> np.ndarray:
    """s_j = sum_i x_ij = (1^T x)_j: (M, N) -> (N,)."""
    return _ones(x.shape[0], x.dtype.char).dot(x)


def total(x: np.ndarray) -> Any:
    """s = sum_i x_i = x . 1: (N,) -> ()."""
    return x.dot(_ones(len(x), x.dtype.char))


@functools.lru_cache(maxsize=32)
def _ones(n: int, dtype: str) -> np.ndarray:
    ones = np.ones(n, dtype)
    ones.flags.writeable = False  # it is shared
    return ones
