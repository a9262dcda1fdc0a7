"""Dropout as one product. `np.where` on a random mask mispredicts a branch at every other element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm.autograd.devices import beside
from minillm.autograd.tensor import Tensor, unwrap
from minillm.formulas import dropout as composite

from .op import FusedOp


def forward(x: np.ndarray, keep: np.ndarray, *, p: float, save: bool) -> tuple[np.ndarray, Any]:
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(float)
    scale = np.multiply(keep, dtype.type(1 / (1 - p)), dtype=dtype)  # 0 or 1 / (1 - p)
    return x * scale, scale if save else None


def backward(g: np.ndarray, scale: np.ndarray, x: np.ndarray, keep: np.ndarray, *, p: float,
             needs: Sequence[bool]) -> tuple[np.ndarray, None]:
    return g * scale, None


_fused = FusedOp(forward, backward, composite)


def dropout(x: Any, keep: Any, *, p: float = 0.5) -> Tensor:
    """keep * x / (1 - p): inverted dropout (article 3.3), with the gradient keep * g / (1 - p).

    For finite x; of an infinite one that is dropped this product makes nan (the formula makes 0).

    Args:
        x: activations, any shape.
        keep: the mask, x's shape, boolean: True with probability 1 - p.
        p: probability to drop, in [0, 1).

    Returns:
        x's shape and dtype.

    Source: article section 3.3; Srivastava et al. 2014.
    """
    return _fused(x, beside(keep, unwrap(x)), p=p)
