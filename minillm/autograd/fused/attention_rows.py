"""Attention's forward for `batch_invariant`: a query's bits depend on itself and the keys that it sees.

Keys count from the first one that a row of the batch sees (so left padding is gone), and are cut into tiles
of KEYS, the last one filled with zeros. Queries go in tiles of `row_products.TILE`. Every product is one of
these two, whatever the batch, the number of queries and the number of keys:

    scores (TILE, d) @ (d, KEYS)        output (TILE, KEYS) @ (KEYS, e)

The maximum is the same in any order. Sums run along a tile, then from tile to tile; a tile that a query sees
nothing of adds zeros, which changes no bit of a sum that began at +0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minillm.autograd.row_products import into_tiles, out_of_tiles, rows_a_tile

KEYS = 64  # in a tile
SCORES_BYTES = 2**21  # what the scores of one block may take, unless TILE queries of one row take more


def forward_by_rows(q: np.ndarray, k: np.ndarray, v: np.ndarray, *, save: bool, causal: bool, mask: Any,
                    scale: float, softcap: float | None) -> tuple[np.ndarray, Any]:
    dtype = np.result_type(q, k, v)
    (B, H, T, d), (H_kv, S), e = q.shape, k.shape[1:3], v.shape[3]
    G = H // H_kv  # heads of queries that share a head of keys
    if mask is not None:
        mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
        mask = np.broadcast_to(mask, (B, *mask.shape[1:3], S))
    first = _first_keys(mask, B)  # (B,)
    keys, values = _tiles_of_keys(k, first, d, dtype), _tiles_of_keys(v, first, max(e, 2), dtype)
    used = rows_a_tile(keys[0, 0, 0].T, values[0, 0, 0])
    seen = None if mask is None else _from_first(mask, first, keys.shape[2] * KEYS)
    out = np.zeros_like(q, dtype, shape=(B, H, T, e))  # laid out as q is
    lse = np.zeros((B, H, T, 1), dtype)
    q5, out5, lse5 = (x.reshape(B, H_kv, G, *x.shape[2:]) for x in (q, out, lse))
    for b, t in _blocks(B, T, H * keys.shape[2] * KEYS * dtype.itemsize):
        place = np.arange(T)[t] + (S - T) if causal else np.full(len(range(T)[t]), S - 1)
        last = np.tile(place, G) - first[b, None]  # (b, G t), the last key that a query may see
        n = int(last.max(initial=-1)) // KEYS + 1
        if n <= 0:
            continue  # nothing is seen
        shape = q5[b, :, :, t].shape  # (b, h, G, t, d)
        x = np.multiply(q5[b, :, :, t], scale if softcap is None else scale / softcap, dtype=dtype)
        x = into_tiles(x.reshape(*shape[:2], -1, d), used)[:, :, :, None]  # (b, h, r, 1, TILE, d)
        a = np.matmul(x, keys[b, :, None, :n].mT)  # (b, h, r, n, TILE, KEYS)
        if softcap is not None:
            np.tanh(a, out=a)
            a *= softcap
        limit = into_tiles(last[:, None, :, None], used)[:, :, :, None]  # (b, 1, r, 1, TILE, 1)
        np.copyto(a, -np.inf, where=np.arange(n * KEYS).reshape(n, 1, KEYS) > limit)
        if seen is not None:
            hidden = _hidden(seen, b, t, shape, n)  # (b, h, G t, n KEYS)
            hidden = into_tiles(hidden, used).reshape(*a.shape[:3], a.shape[4], n, KEYS)
            np.copyto(a, -np.inf, where=hidden.swapaxes(-2, -3))
        m = a.max(axis=(-3, -1), keepdims=True)  # (b, h, r, 1, TILE, 1)
        m[m == -np.inf] = 0
        a -= m
        p = np.exp(a, out=a)
        sums = np.add.reduce(p, axis=-1, keepdims=True)  # (b, h, r, n, TILE, 1)
        l = np.zeros_like(m[:, :, :, 0])  # (b, h, r, TILE, 1)
        o = np.zeros((*l.shape[:-1], max(e, 2)), dtype)  # (b, h, r, TILE, e)
        for i in range(n):
            l += sums[:, :, :, i]
            o += np.matmul(p[:, :, :, i], values[b, :, None, i])
        l[l == 0] = 1  # nothing is seen: p = 0
        o /= l
        out5[b, :, :, t] = out_of_tiles(o[..., :e], used, shape[2] * shape[3]).reshape(*shape[:4], e)
        l = m[:, :, :, 0] + np.log(l)
        lse5[b, :, :, t] = out_of_tiles(l, used, shape[2] * shape[3]).reshape(*shape[:4], 1)
    return out, (out, lse, None) if save else None


def _blocks(B: int, T: int, query_bytes: int) -> Iterator[tuple[slice, slice]]:
    """Rows of the batch, and queries, computed at a time; `query_bytes`: scores of one query in all heads."""
    t = max(1, min(T, max(8, SCORES_BYTES // query_bytes)))
    b = max(1, min(B, SCORES_BYTES // (query_bytes * t)))
    for i in range(0, B, b):
        for j in range(0, T, t):
            yield slice(i, i + b), slice(j, j + t)


def _first_keys(mask: np.ndarray | None, B: int) -> np.ndarray:
    """The first key that some query of a row may see: (B,)."""
    if mask is None:
        return np.zeros(B, int)
    first: np.ndarray = mask.any(axis=(1, 2)).argmax(axis=1)
    return first


def _tiles_of_keys(x: np.ndarray, first: np.ndarray, e: int, dtype: np.dtype) -> np.ndarray:
    """Keys or values from the first one on: (B, H_kv, S, e) -> (B, H_kv, n, KEYS, e), zeros behind them."""
    B, H_kv, S, _ = x.shape
    n = -(-(S - int(first.min(initial=S - 1))) // KEYS)
    tiles = np.zeros((max(B, 1), H_kv, n, KEYS, e), dtype)
    flat = tiles.reshape(*tiles.shape[:2], n * KEYS, e)
    for b in range(B):
        flat[b, :, :S - first[b], :x.shape[3]] = x[b, :, first[b]:]
    return tiles


def _from_first(mask: np.ndarray, first: np.ndarray, length: int) -> np.ndarray:
    """The mask with each row's keys counted from its first: (B, H or 1, T or 1, length)."""
    shifted = np.zeros((*mask.shape[:3], length), bool)
    for b, f in enumerate(first):
        shifted[b, :, :, :mask.shape[3] - f] = mask[b, :, :, f:]
    return shifted


def _hidden(seen: np.ndarray, b: slice, t: slice, shape: tuple[int, ...], n: int) -> np.ndarray:
    """What a block's queries do not see of the first n tiles: (b, h, G t, n KEYS)."""
    rows, h, G, queries, _ = shape
    part = seen[b, :, t if seen.shape[2] > 1 else slice(None), :n * KEYS]
    part = np.broadcast_to(part, (rows, h * G, queries, n * KEYS))
    return ~part.reshape(rows, h, G * queries, n * KEYS)
