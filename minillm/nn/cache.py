"""The keys and values of what a transformer has read, so that a new token costs one position and not all."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.autograd.devices import as_array
from minillm.autograd.tensor import unwrap


class LayerCache:
    """The keys and values of one layer: a part of a `KVCache`."""

    def __init__(self, owner: KVCache, keys: Any, values: Any) -> None:
        self._owner, self.keys, self.values = owner, keys, values  # (B, H_kv, max_length, d) each

    def extend(self, k: Any, v: Any) -> tuple[Any, Any]:
        """Write new positions behind what is there; return all of them so far.

        Args:
            k, v: (B, H_kv, T, d).

        Returns:
            (keys, values): (B, H_kv, length + T, d) each, views of the cache.
        """
        begin, end = self._owner.length, self._owner.length + k.shape[2]
        self.keys[:, :, begin:end] = unwrap(k)
        self.values[:, :, begin:end] = unwrap(v)
        return self.keys[:, :, :end], self.values[:, :, :end]


class KVCache:
    """Room for the keys and values of `max_length` positions, in all layers, taken once.

    2 n_layer B H_kv max_length d numbers. A model reads on behind what the cache holds: it gives each
    layer its new keys and values (`layers[i].extend`) and then counts them (`advance`).

    Args:
        n_layer: number of layers.
        batch_size: B, rows.
        n_kv_head: H_kv, heads of keys and values.
        max_length: positions that there is room for.
        head_dim: d, size of a head.
        dtype: of the keys and values.
        start: (B,), index of each row's first token that is no padding, for rows of unequal length that
            are padded on the left; None: no padding.
        like: an array; the cache lies where it does. None: on the CPU.

    Raises:
        ValueError: a size is below 1, or start is not (B,) or outside [0, max_length).

    Source: Pope et al. 2022, Efficiently Scaling Transformer Inference, section 3.
    """

    def __init__(self, n_layer: int, batch_size: int, n_kv_head: int, max_length: int, head_dim: int, *,
                 dtype: Any = np.float32, start: Any = None, like: Any = None) -> None:
        for name, size in (("n_layer", n_layer), ("batch_size", batch_size), ("n_kv_head", n_kv_head),
                           ("max_length", max_length), ("head_dim", head_dim)):
            if size < 1:
                raise ValueError(f"{name} = {size} must be at least 1")
        self.max_length, self.length = max_length, 0
        self.start = first_positions(start, batch_size, max_length)
        like = np.empty(0) if like is None else like
        shape = (batch_size, n_kv_head, max_length, head_dim)
        self.layers = [LayerCache(self, *(np.empty_like(like, dtype, shape=shape) for _ in range(2)))
                       for _ in range(n_layer)]

    @property
    def batch_size(self) -> int:
        return len(self.start)

    @property
    def nbytes(self) -> int:
        """Bytes that the cache takes, used or not."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.layers)

    def room_for(self, ids: Any) -> None:
        """Raise ValueError where ids (B, T) are of another batch or go beyond max_length."""
        check_rows(ids, self.batch_size)
        if self.length + ids.shape[1] > self.max_length:
            raise ValueError(f"the cache holds {self.length} of max_length = {self.max_length} positions: "
                             f"there is no room for {ids.shape[1]} more")

    def positions(self, T: int) -> np.ndarray:
        """The places in their texts of the next T tokens: (T,), or (B, T) where rows begin later; >= 0."""
        places = np.arange(self.length, self.length + T)
        return places if not self.start.any() else np.maximum(places - self.start[:, None], 0)

    def mask(self, T: int) -> np.ndarray | None:
        """(B, 1, 1, length + T), False where a key is padding; None where none is."""
        if not self.start.any():
            return None
        return (np.arange(self.length + T) >= self.start[:, None])[:, None, None]

    def advance(self, T: int) -> None:
        """Count T positions that all layers have been extended by."""
        self.length += T

    def take(self, rows: Any) -> None:
        """Keep these rows, in this order, some perhaps several times; the others are forgotten.

        Args:
            rows: (B',), indices in [0, B).

        Raises:
            ValueError: rows is empty, or an index is out of range.
        """
        rows = checked_rows(rows, self.batch_size)
        if np.array_equal(rows, np.arange(self.batch_size)):
            return
        for layer in self.layers:
            layer.keys, layer.values = (self._taken(a, rows) for a in (layer.keys, layer.values))
        self.start = self.start[rows]

    def _taken(self, array: Any, rows: np.ndarray) -> Any:
        used = array[rows, :, :self.length]  # a copy
        if len(rows) != len(array):
            array = np.empty_like(array, shape=(len(rows), *array.shape[1:]))
        array[:, :, :self.length] = used
        return array

    def __repr__(self) -> str:
        return (f"KVCache({len(self.layers)} layers, {self.batch_size} rows, {self.length} of "
                f"{self.max_length} positions)")


def first_positions(start: Any, batch_size: int, max_length: int) -> np.ndarray:
    """`start` of a cache as an array (B,), zeros for None, after checking it."""
    if start is None:
        return np.zeros(batch_size, np.int64)
    given = np.asarray(start)
    if given.shape != (batch_size,) or given.dtype.kind not in "iu":
        raise ValueError(f"start must be ({batch_size},) integers, not {given.dtype} of {given.shape}")
    if ((given < 0) | (given >= max_length)).any():
        raise ValueError(f"start = {given.tolist()} must lie in [0, {max_length})")
    return given.astype(np.int64)


def check_rows(ids: Any, batch_size: int) -> None:
    """Raise ValueError unless ids are (B, T), T at least 1."""
    if ids.ndim != 2 or len(ids) != batch_size or ids.shape[1] == 0:
        raise ValueError(f"ids must be ({batch_size}, T) with T at least 1, as the cache is, not {ids.shape}")


def checked_rows(rows: Any, batch_size: int) -> np.ndarray:
    """`rows` of `take` as an array, after checking it."""
    rows = as_array(rows)
    if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu":
        raise ValueError(f"rows must be (B',) integers, at least one, not {rows.dtype} of {rows.shape}")
    if rows.min() < 0 or rows.max() >= batch_size:
        raise ValueError(f"rows = {rows.tolist()} must lie in [0, {batch_size})")
    return rows
