"""Attention as one op: scores, softmax and weighted sum tile by tile in one buffer that is used again.

A tile is some heads of some rows of the batch, and some of their queries with all keys that these see. For
backward only the output and each query's log-sum-exp are kept, and the weights are computed again
(FlashAttention's way); where all weights together are small, they are kept, which is faster.

    a = scale q k^T (capped)     p = exp(a - lse)            o = p v
    dv = p^T g                   da = p (g v^T - g . o)      dq = scale da k      dk = scale da^T q
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minillm import formulas
from minillm.autograd.devices import as_array, beside
from minillm.autograd.tensor import Tensor, unwrap

from .attention_rows import forward_by_rows
from .op import FusedOp
from .sums import row_sums

# What one buffer of scores may take, unless a single query of one group of heads takes more: forward has
# one buffer, backward two, or three with a cap. Half a level 2 cache; larger ones are slower.
TILE_BYTES = 2**19
KEEP_BYTES = 2**20  # weights of all heads up to this size are kept: backward takes 2/3 of the time then
QUERIES = 64  # of a head in a tile, with a causal mask: keys that are later than all of these are left out

Tile = tuple[slice, slice, slice, int]  # rows of the batch, heads of keys, queries; and how many keys


class Tiles:
    """How a (B, H, T, S) array of scores is cut up. Iterated over, it gives the tiles."""

    def __init__(self, q: np.ndarray, k: np.ndarray, causal: bool, dtype: np.dtype) -> None:
        self.B, self.H, self.T, self.d = q.shape
        _, self.H_kv, self.S, _ = k.shape
        self.G = self.H // self.H_kv  # heads of queries that share a head of keys
        self.offset = self.S - self.T  # query t is the position t + offset
        self.causal = causal
        self.bytes = self.B * self.H * self.T * self.S * dtype.itemsize
        row = max(1, self.G * self.S * dtype.itemsize)  # one query's scores in one group of heads
        self.t = max(1, min(self.T, TILE_BYTES // row, QUERIES if causal else self.T))
        self.h = max(1, min(self.H_kv, TILE_BYTES // (row * self.t)))
        self.b = max(1, min(self.B, TILE_BYTES // (row * self.t * self.h)) if self.h == self.H_kv else 1)
        self.size = self.b * self.h * self.G * self.t * self.S  # of the largest tile

    def __iter__(self) -> Iterator[Tile]:
        for b in range(0, self.B, self.b):
            for h in range(0, self.H_kv, self.h):
                for t in range(0, self.T, self.t):
                    end = min(t + self.t, self.T)
                    keys = min(max(end + self.offset, 0), self.S) if self.causal else self.S
                    yield slice(b, b + self.b), slice(h, h + self.h), slice(t, end), keys

    def grouped(self, x: np.ndarray) -> np.ndarray:
        """(B, H, T, e) -> (B, H_kv, G, T, e), a view."""
        return x.reshape(self.B, self.H_kv, self.G, *x.shape[2:])


def _scores(q: np.ndarray, k: np.ndarray, scale: float, softcap: float | None,
            buffer: np.ndarray) -> np.ndarray:
    """(b, h, G, t, d), (b, h, s, d) -> (b, h, G t, s), in the buffer; with a cap c, tanh(a / c)."""
    b, h, G, t, d = q.shape
    s = k.shape[2]
    scaled = np.multiply(q, scale if softcap is None else scale / softcap, dtype=buffer.dtype)
    a = buffer[:b * h * G * t * s].reshape(b, h, G * t, s)
    np.matmul(scaled.reshape(b, h, G * t, d), k.mT, out=a)
    return a if softcap is None else np.tanh(a, out=a)


def _hide(a: np.ndarray, tiles: Tiles, tile: Tile, hidden: np.ndarray | None) -> None:
    """-inf for what a query does not see: what `hidden` says, and what is later than itself."""
    b, h, rows, s = tile
    t = rows.stop - rows.start
    a = a.reshape(*a.shape[:2], tiles.G, t, s)
    if tiles.causal:
        first = max(rows.start + tiles.offset + 1, 0)  # the first key that some query here does not see
        if first < s:
            corner = a[..., first:]
            np.minimum(corner, _triangle(t, s - first, rows.start + tiles.offset - first, a.dtype.char),
                       out=corner)
    if hidden is not None:
        np.copyto(a, -np.inf, where=hidden[b, h, :, rows, :s])


@functools.lru_cache(maxsize=16)
def _triangle(t: int, s: int, offset: int, dtype: str) -> np.ndarray:
    """inf where j <= i + offset, -inf elsewhere: with np.minimum, a mask in one pass."""
    limit = np.where(np.tri(t, s, offset, dtype=bool), np.inf, -np.inf).astype(dtype)
    limit.flags.writeable = False  # it is shared
    return limit


def _hidden(mask: np.ndarray | None, tiles: Tiles) -> np.ndarray | None:
    """What `mask` does not show, (B, H_kv, G, T, S); no more memory than the mask."""
    if mask is None:
        return None
    return tiles.grouped(np.broadcast_to(~mask, (tiles.B, tiles.H, tiles.T, tiles.S)))


def _row_maxima(a: np.ndarray) -> np.ndarray:
    """(..., s) -> (..., 1), by way of argmax: for short rows np.max takes five times as long."""
    rows = a.reshape(-1, a.shape[-1])
    at = rows.argmax(axis=1)
    at += np.arange(0, a.size, a.shape[-1])
    return rows.reshape(-1).take(at).reshape(*a.shape[:-1], 1)


def forward(q: np.ndarray, k: np.ndarray, v: np.ndarray, *, save: bool, causal: bool, mask: Any,
            scale: float, softcap: float | None) -> tuple[np.ndarray, Any]:
    dtype = np.result_type(q, k, v)
    tiles = Tiles(q, k, causal, dtype)
    hidden = _hidden(mask, tiles)
    out = np.empty_like(q, dtype, shape=(*q.shape[:3], v.shape[3]))  # (B, H, T, e), laid out as q is
    lse = np.empty((*q.shape[:3], 1), dtype)
    q5, out5, lse5 = map(tiles.grouped, (q, out, lse))
    keep = save and softcap is None and tiles.bytes <= KEEP_BYTES
    kept: list[np.ndarray] = []
    buffer = np.empty(0 if keep else tiles.size, dtype)
    for tile in tiles:
        b, h, rows, s = tile
        part = (b, h, slice(None), rows)
        qt = q5[part]  # (b, h, G, t, d)
        if s == 0:
            out5[part] = 0
            kept.append(buffer)
            continue
        if keep:
            buffer = np.empty(math.prod(qt.shape[:4]) * s, dtype)
        a = _scores(qt, k[b, h, :s], scale, softcap, buffer)  # (b, h, G t, s)
        if softcap is not None:
            a *= softcap
        _hide(a, tiles, tile, hidden)
        m = _row_maxima(a)  # (b, h, G t, 1)
        m[m == -np.inf] = 0
        a -= m
        p = np.exp(a, out=a)
        l = row_sums(p.reshape(-1, s)).reshape(m.shape)
        l[l == 0] = 1  # nothing is seen: p = 0, here and in backward
        if keep:
            p /= l
            kept.append(p)
        o = p @ v[b, h, :s]  # (b, h, G t, e)
        if not keep:
            o /= l
            m += np.log(l)
            lse5[part] = m.reshape(*qt.shape[:4], 1)
        out5[part] = o.reshape(out5[part].shape)
    return out, (out, lse, kept if keep else None) if save else None


def backward(g: np.ndarray, saved: Any, q: np.ndarray, k: np.ndarray, v: np.ndarray, *,
             needs: Sequence[bool], causal: bool, mask: Any, scale: float,
             softcap: float | None) -> tuple[Any, ...]:
    out, lse, kept = saved
    dtype = out.dtype
    tiles = Tiles(q, k, causal, dtype)
    hidden = _hidden(mask, tiles)
    dq, dk, dv = np.zeros_like(q, dtype), np.zeros_like(k, dtype), np.zeros_like(v, dtype)
    g_out = np.einsum("bhte,bhte->bht", g, out)[..., None]  # (B, H, T, 1)
    q5, g5, lse5, g_out5, dq5 = map(tiles.grouped, (q, g, lse, g_out, dq))
    buffer, second = np.empty((2, tiles.size), dtype)
    third = np.empty(0 if softcap is None else tiles.size, dtype)
    for i, tile in enumerate(tiles):
        b, h, rows, s = tile
        if s == 0:
            continue
        part = (b, h, slice(None), rows)
        qt, kt, vt = q5[part], k[b, h, :s], v[b, h, :s]
        if kept is not None:
            p = kept[i]  # (b, h, G t, s)
        else:
            p = _scores(qt, kt, scale, softcap, buffer)
            if softcap is not None:
                slope = np.multiply(p, p, out=third[:p.size].reshape(p.shape))
                np.subtract(1, slope, out=slope)  # d(c tanh(a / c))/da
                p *= softcap
            _hide(p, tiles, tile, hidden)
            p -= lse5[part].reshape(*p.shape[:3], 1)
            np.exp(p, out=p)
        gt = g5[part].reshape(*p.shape[:3], -1)  # (b, h, G t, e)
        if needs[2]:
            dv[b, h, :s] += p.mT @ gt  # summed over the heads of a group too
        da = np.matmul(gt, vt.mT, out=second[:p.size].reshape(p.shape))
        da -= g_out5[part].reshape(*p.shape[:3], 1)
        da *= p
        if softcap is not None:
            da *= slope
        if needs[0]:
            dq5[part] = (da @ kt).reshape(qt.shape)
        if needs[1]:
            dk[b, h, :s] += da.mT @ qt.reshape(*p.shape[:3], tiles.d)
    dq *= scale
    dk *= scale
    return dq, dk, dv


_fused = FusedOp(forward, backward, formulas.attention, invariant=forward_by_rows)


def attention(q: Any, k: Any, v: Any, *, causal: bool = True, mask: Any = None, scale: float | None = None,
              softcap: float | None = None) -> Tensor:
    """Scaled dot-product attention (see `formulas.attention`), fused: no memory of size T x S.

        p_t = softmax over the keys that t sees of scale q_t . k_s,   o_t = sum_s p_ts v_s

    The queries are the last T of the S positions: with causal=True query t sees the keys s <= t + S - T.

    Args:
        q: (B, H, T, d), queries.
        k: (B, H_kv, S, d), keys; H_kv divides H, and query head h has key head h // (H / H_kv).
        v: (B, H_kv, S, e), values.
        causal: no query sees a later position.
        mask: boolean, True where a query may see a key; it broadcasts to (B, H, T, S). Padding of the
            keys is a mask (B, 1, 1, S). None: all.
        scale: of the scores; None is 1 / sqrt(d).
        softcap: c > 0 replaces each score a by c tanh(a / c); None: no cap.

    Returns:
        (B, H, T, e), in memory in q's order of axes. A query that sees no key gets 0 and gives no gradient.

    Raises:
        ValueError: a shape does not fit; the argument, its shape and the right one are named.
        TypeError: the mask is not boolean.

    Source: Vaswani et al. 2017, section 3.2.1; tiles and recomputation: Dao et al. 2022, FlashAttention.
    """
    if np.ndim(q) != 4 or np.ndim(k) != 4:
        raise ValueError(f"q must be (B, H, T, d) and k (B, H_kv, S, d), not {np.shape(q)} and {np.shape(k)}")
    (B, H, T, d), (_, H_kv, S, _) = np.shape(q), np.shape(k)
    if H_kv == 0 or H % H_kv:
        raise ValueError(f"k has {H_kv} heads, which do not divide the {H} heads of q")
    if np.shape(k) != (B, H_kv, S, d):
        raise ValueError(f"k must have shape {(B, H_kv, S, d)} for q of {np.shape(q)}, not {np.shape(k)}")
    if np.ndim(v) != 4 or np.shape(v)[:3] != (B, H_kv, S):
        raise ValueError(f"v must have shape ({B}, {H_kv}, {S}, e) for k of {np.shape(k)}, not {np.shape(v)}")
    if S == 0 or d == 0:
        raise ValueError(f"k must have a position and a number a head at least, not {np.shape(k)}")
    if softcap is not None and not softcap > 0:
        raise ValueError(f"softcap = {softcap} must be > 0, or None")
    if mask is not None:
        mask = _checked(mask, (B, H, T, S), unwrap(q))
    # NumPy's own float64 would widen float32
    scale = 1 / math.sqrt(d) if scale is None else float(scale)
    softcap = None if softcap is None else float(softcap)
    return _fused(q, k, v, causal=causal, mask=mask, scale=scale, softcap=softcap)


def _checked(mask: Any, shape: tuple[int, ...], like: Any) -> Any:
    """The mask as an array where the queries are."""
    mask = as_array(unwrap(mask))
    if mask.dtype != bool:
        raise TypeError(f"mask must be boolean, True where a query may see a key, not {mask.dtype}")
    try:
        fits = np.broadcast_shapes(mask.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"mask must broadcast to (B, H, T, S) = {shape}, which {mask.shape} does not")
    return beside(mask, like)
