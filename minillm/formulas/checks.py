"""One line on indices that do not fit, in the same words everywhere."""

from __future__ import annotations

import numpy as np


def check_indices(name: str, indices: np.ndarray, n: int) -> None:
    """Refuse what is no index into an axis of length n.

    Args:
        name: of the argument, for the message.
        indices: any shape.
        n: the axis's length.

    Raises:
        TypeError: the indices are not integers.
        ValueError: one is outside [0, n), as in `ids[1, 0] = 512 is outside [0, 512)`.
    """
    check_integers(name, indices)
    if indices.size and not within(indices, n):
        raise ValueError(first_outside(name, indices, (indices < 0) | (indices >= n), n))


def check_integers(name: str, values: np.ndarray) -> None:
    """Raise a TypeError unless the dtype is one of integers; bool is not."""
    if values.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, not {values.dtype}")


def within(indices: np.ndarray, n: int) -> bool:
    """Whether all of at least one index are in [0, n)."""
    # `item` of `argmin` is `min` without its preparations, which take longer than a small batch.
    return indices.item(indices.argmin()) >= 0 and indices.item(indices.argmax()) < n


def first_outside(name: str, indices: np.ndarray, wrong: np.ndarray, n: int) -> str:
    """`name[i, j] = v is outside [0, n)`, for the first place where `wrong` is True."""
    at = np.unravel_index(int(np.argmax(wrong)), indices.shape)
    place = f"[{', '.join(map(str, at))}]" if at else ""
    return f"{name}{place} = {indices[at]} is outside [0, {n})"
