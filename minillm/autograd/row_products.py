"""Products of matrices in which a row's bits depend on that row and the other matrix, and on nothing else.

BLAS sums up in an order that follows from the shapes of a call, so a row of (N, K) @ (K, M) comes out
differently for different N. Here every call has the same shape: (TILE, K) @ (K, M), the last tile filled
with zeros. What remains is the row's place in its tile. BLAS takes the rows of a matrix in blocks, by the
same code at each place, if TILE is a multiple of the block; `places_agree` tries it out, once for every
shape. Where places differ, a row goes to place 0 of a tile of its own: TILE times the work, the same bits.
Many rows go WIDE at a time where that is tried out to give the bits of a tile.

Source: He et al. 2025, Defeating Nondeterminism in LLM Inference (Thinking Machines): batch invariance as the
condition, fixed tiles as the means.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

# Rows of a call. A row alone costs as much as TILE of them, and many rows are the dearer the smaller TILE is.
# With 8 the places agree in float32 and float64 for OpenBLAS's Haswell, Zen, SkylakeX and Prescott kernels,
# with one thread and two; with 16 they do not on Haswell in float32.
TILE = 8
WIDE = 64


def rows_product(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x @ w, each row of x by itself.

    Args:
        x: (..., N, K). Its rows are what the promise is about.
        w: (..., K, M); leading axes broadcast with x's.

    Returns:
        (..., N, M). A row is the same, bit for bit, in every batch.

    Raises:
        ValueError: the shapes do not fit, as np.matmul says it.
    """
    K, M = w.shape[-2:]
    dtype = np.result_type(x, w)
    if x.shape[-1] != K or 0 in (K, M, x.size) or dtype.kind != "f":
        return np.matmul(x, w)  # raises, is empty, or is exact
    w = _plain(w.astype(dtype, copy=False))
    if x.dtype != dtype or np.may_share_memory(x, w):
        x = x.astype(dtype)  # a copy: NumPy has another BLAS routine for x @ x.T
    shape = (*x.shape[:-1], M)
    if w.ndim == 2:  # one product for the whole batch
        x = np.ascontiguousarray(x.reshape(-1, K))  # else NumPy may leave BLAS for code of its own
    used = rows_a_tile(w)
    if w.ndim > 2:
        y = np.matmul(into_tiles(x, used), w[..., None, :, :])  # (..., n, TILE, M or 2)
        return np.ascontiguousarray(out_of_tiles(y, used, x.shape[-2])[..., :M])
    y = np.empty((len(x), w.shape[1]), dtype)
    wide = len(x) // WIDE * WIDE if used == TILE and len(x) >= WIDE and _agree(WIDE, w) else 0
    if wide:
        np.matmul(x[:wide].reshape(-1, WIDE, K), w, out=y[:wide].reshape(-1, WIDE, w.shape[1]))
    if wide < len(x):
        y[wide:] = out_of_tiles(np.matmul(into_tiles(x[wide:], used), w), used, len(x) - wide)
    return y[:, :M].reshape(shape)


def _plain(w: np.ndarray) -> np.ndarray:
    """w in C order or Fortran order, and with two columns at least: one would be a matter for other code."""
    if w.shape[-1] == 1:
        return np.concatenate([w, np.zeros_like(w)], axis=-1)
    (K, M), (down, along) = w.shape[-2:], (s // w.itemsize for s in w.strides[-2:])
    plain = (along == 1 and down >= M) or (down == 1 and along >= K)
    return w if plain and w.flags.aligned else np.ascontiguousarray(w)


def rows_a_tile(*matrices: np.ndarray) -> int:
    """How many rows of a tile may be used: TILE, or 1 if a row's place matters to one of these products."""
    return TILE if all(_agree(TILE, w) for w in matrices) else 1


def _agree(rows: int, w: np.ndarray) -> bool:
    return places_agree(rows, *w.shape[-2:], w.dtype.char, w.strides[-1] != w.itemsize)


def into_tiles(x: np.ndarray, used: int) -> np.ndarray:
    """(..., N, K) -> (..., n, TILE, K), `used` rows of x in each tile; the rest is 0."""
    *stack, N, K = x.shape
    n = -(-N // used)
    if n * TILE == N and x.flags.c_contiguous:
        return x.reshape(*stack, n, TILE, K)
    tiles = np.zeros((*stack, n, TILE, K), x.dtype)
    if used == TILE:
        tiles.reshape(*stack, n * TILE, K)[..., :N, :] = x
    else:
        tiles[..., 0, :] = x
    return tiles


def out_of_tiles(y: np.ndarray, used: int, N: int) -> np.ndarray:
    """The way back: (..., n, TILE, M) -> (..., N, M)."""
    y = y[..., :used, :]
    return y.reshape(*y.shape[:-3], -1, y.shape[-1])[..., :N, :]


@functools.lru_cache(maxsize=1024)
def places_agree(rows: int, K: int, M: int, dtype: str, fortran: bool) -> bool:
    """Whether (rows, K) @ (K, M) gives a row at each place the bits that a tile gives it at place 0.

    Tried with equal rows, and at least 256 sums. The first use of a shape pays for these products, and for
    matrices of random numbers to make them with.

    Args:
        fortran: the second matrix is in Fortran order.
    """
    some = np.random.default_rng(0).standard_normal(4099).astype(dtype)  # a prime number: no row is repeated
    n = -(-256 // M)
    w = np.resize(some, (n, M, K)).mT if fortran else np.resize(some, (n, K, M))
    x = np.broadcast_to(np.resize(some[::-1], (n, 1, K)), (n, max(rows, TILE), K)).copy()
    return bool((np.matmul(x[:, :rows], w) == np.matmul(x[:, :TILE], w)[:, :1]).all())


def matmul(a: Any, b: Any) -> Any:
    """np.matmul, each row of a (or a vector a) by itself."""
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim == 0 or b.ndim == 0:
        return np.matmul(a, b)  # raises
    y = rows_product(a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b)  # (..., N, M)
    if b.ndim == 1:
        y = y[..., 0]  # (..., N)
    if a.ndim == 1:
        y = y[0] if b.ndim == 1 else y[..., 0, :]  # (), (..., M)
    return y


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """np.tensordot; the axes of a that stay are the rows."""
    a, b = np.asarray(a), np.asarray(b)
    if isinstance(axes, int):
        of_a, of_b = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        of_a, of_b = ([i % s.ndim for i in np.atleast_1d(x)] for x, s in zip(axes, (a, b), strict=True))
    if [a.shape[i] for i in of_a] != [b.shape[i] for i in of_b]:
        return np.tensordot(a, b, axes)  # raises
    free_a = [i for i in range(a.ndim) if i not in of_a]
    free_b = [i for i in range(b.ndim) if i not in of_b]
    K = int(np.prod([a.shape[i] for i in of_a]))
    shape = [a.shape[i] for i in free_a] + [b.shape[i] for i in free_b]
    rows = a.transpose(*free_a, *of_a).reshape(int(np.prod(shape[:len(free_a)])), K)
    columns = b.transpose(*of_b, *free_b).reshape(K, int(np.prod(shape[len(free_a):])))
    return rows_product(rows, columns).reshape(shape)
