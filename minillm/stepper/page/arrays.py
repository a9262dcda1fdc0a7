"""Arrays for the page: each kept once, to seven digits, and of a large one only a corner."""

from __future__ import annotations

from math import isqrt
from typing import Any

import numpy as np

LARGEST = 24  # rows and columns that are shown, at most
SMALLEST = 4  # and at least, where there are so many
BLOCKS = 4  # indices shown of each axis before the last two


class Arrays:
    """The page's store of arrays: equal arrays have one number, which the steps and values refer to.

    Args:
        numbers: how many of one array's to keep, roughly.
        rows: how many to show of the last axis but one, at most.
    """

    def __init__(self, numbers: int = 10_000, rows: int = LARGEST) -> None:
        self._kept, self._rows = numbers, rows
        self.stored: list[dict[str, Any]] = []
        self._numbers: dict[tuple[str, tuple[int, ...], bytes], int] = {}

    def add(self, x: np.ndarray | None) -> int | None:
        """The number of an array in the store; None for None."""
        if x is None:
            return None
        x = np.asarray(x)
        key = (str(x.dtype), x.shape, x.tobytes())
        if key not in self._numbers:
            self._numbers[key] = len(self.stored)
            self.stored.append(self._described(x))
        return self._numbers[key]

    def _described(self, x: np.ndarray) -> dict[str, Any]:
        """`shape` and `dtype`; `shown`, how many indices of each axis are in `data`; `largest`, the largest
        finite magnitude of the whole array, which the colours are measured by.
        """
        edge = min(max(isqrt(self._kept // BLOCKS ** max(x.ndim - 2, 0)), SMALLEST), LARGEST)
        most = {1: edge, 2: min(edge, self._rows)}  # by how many axes are left
        shown = tuple(min(n, most.get(x.ndim - axis, BLOCKS)) for axis, n in enumerate(x.shape))
        corner = x[tuple(slice(n) for n in shown)]
        return {"shape": list(x.shape), "dtype": str(x.dtype), "shown": list(shown), "largest": _largest(x),
                "data": [number(v) for v in corner.reshape(-1).tolist()]}


def _largest(x: np.ndarray) -> float:
    if x.dtype.kind not in "fiub" or not x.size:
        return 0.0
    magnitude = np.abs(x.astype(float))
    finite = magnitude[np.isfinite(magnitude)]
    return float(f"{finite.max():.7g}") if finite.size else 0.0


def number(v: Any) -> Any:
    """A number for JSON, which has no nan and no infinities: they go as text, as does what is not real."""
    if isinstance(v, bool | int):
        return v if abs(v) < 2**53 else str(v)
    if isinstance(v, float):
        return float(f"{v:.7g}") if np.isfinite(v) else str(v)
    return str(v)
