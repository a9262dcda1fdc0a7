"""Seeds and one-hot labels."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from minillm import nn
from minillm.formulas.checks import first_outside

from ._names import only

__all__ = ["set_random_seed", "to_categorical"]
__getattr__ = only(__name__, __all__)


def set_random_seed(seed: int) -> None:
    """Seed Python's, NumPy's and minillm's generators: the same script then gives the same bits.

    Args:
        seed: >= 0 and below 2^32.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (user code that draws its data with np.random.* counts on it)
    nn.manual_seed(seed)


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """One-hot rows of integer labels.

    Args:
        x: (...) integers in [0, num_classes); a last axis of length 1 is dropped, as in Keras.
        num_classes: V; the largest label plus 1 if left out.

    Returns:
        (..., V), float64.

    Raises:
        TypeError: the labels are not integers.
        ValueError: a label is outside [0, num_classes).
    """
    labels = np.asarray(x)
    if labels.dtype.kind == "f" and (labels == np.trunc(labels)).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iub":
        raise TypeError(f"to_categorical needs integer labels, not {labels.dtype}")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    classes = num_classes or int(labels.max(initial=-1)) + 1
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        raise ValueError(first_outside("x", labels, wrong, classes))
    return np.eye(classes)[labels.astype(np.int64)]  # (..., V)
