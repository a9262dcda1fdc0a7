"""Embedding lookup: rows of a table, with a gradient that touches only the rows that were read."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.autograd.rules.indexing import scatter_add
from minillm.autograd.tensor import Tensor, unwrap


def embedding(ids: Any, weight: Any) -> Tensor:
    """Rows of `weight`: y_i = weight[ids_i], the product of a one-hot matrix with `weight`.

    The gradient adds up the rows of g by id (sorted and summed run by run) in place of a product
    with an N x V one-hot matrix.

    Args:
        ids: (...), integers in [0, V).
        weight: (V, D).

    Returns:
        (..., D).

    Raises:
        ValueError: an id is outside [0, V).
        TypeError: ids are not integers.

    Source: article section 5.1 (the Embedding layer).
    """
    ids = np.asarray(unwrap(ids))
    vocab = len(weight)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"ids must be integers, not {ids.dtype}")
    if ids.size and (ids.min() < 0 or ids.max() >= vocab):
        where = np.unravel_index(int(np.argmax((ids < 0) | (ids >= vocab))), ids.shape)
        place = f"[{', '.join(map(str, where))}]" if where else ""
        raise ValueError(f"ids{place} = {ids[where]} is outside [0, {vocab})")
    return weight[ids] if isinstance(weight, Tensor) else Tensor(weight)[ids]


__all__ = ["embedding", "scatter_add"]
