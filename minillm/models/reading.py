"""What a decoder is given to read: tokens, which of them are padding, and what it has read before."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.nn.cache import KVCache


def checked_ids(ids: Any, block_size: int) -> Any:
    """ids as an array, after checking that they are (B, T) with T at most block_size.

    Raises:
        ValueError: they are not.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2:
        raise ValueError(f"ids must be (B, T), not {ids.shape}")
    if ids.shape[1] > block_size:
        raise ValueError(f"ids has {ids.shape[1]} positions, the model block_size = {block_size}")
    return ids


def places(ids: Any, mask: Any, cache: KVCache | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Where each token stands in its text, and which keys are no padding.

    Args:
        ids: (B, T).
        mask: (B, T) boolean, False where a token is padding; None: no padding.
        cache: what was read before, in place of a mask; or None.

    Returns:
        (positions, seen): (T,) or (B, T), counted from a row's first token that is no padding, >= 0; and
        (B, 1, 1, S) boolean or None, for the S keys of attention.

    Raises:
        ValueError: the mask does not have the shape of ids, or the cache has no room for them, or a row
            has not begun.
    """
    T = ids.shape[1]
    if cache is not None:
        cache.room_for(ids)
        check_begun(cache.start, cache.length + T)
        return cache.positions(T), cache.mask(T)
    if mask is None:
        return np.arange(T), None
    mask = np.asarray(mask)
    if mask.shape != ids.shape:
        raise ValueError(f"mask must have the shape of ids, {ids.shape}, not {mask.shape}")
    return np.maximum(np.cumsum(mask, axis=1) - 1, 0), mask[:, None, None]


def check_begun(start: np.ndarray, end: int) -> None:
    """Raise ValueError where a row, whose first token is at start (B,), is all padding before `end`."""
    if start.max() >= end:
        raise ValueError(f"row {start.argmax()} is all padding so far: give it a token")
