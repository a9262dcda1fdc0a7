"""Softmax cross-entropy and its gradient by the formulas: the reference that the GPU kernels are held to.

float64 logits are computed in float64, all others in float32, with one rounding at the end. Rows are
taken in blocks, so that temporary arrays stay small.
"""

from __future__ import annotations

import numpy as np

from kernels.arrays import View, as_numpy
from minillm.formulas import cross_entropy_rows, cross_entropy_rows_gradient, logsumexp, soft_cap, softmax
from minillm.formulas import z_loss as z_penalty

# Logits that are worked on at once: a dozen temporary arrays of these stay in a few MB.
BLOCK = 1 << 17


def rows(x: View, y: View, dx: View | None, loss: View, lse: View, *, scales: View | None = None,
         grad: View | None = None, weights: View | None = None, ignore_index: int, label_smoothing: float,
         z_loss: float, softcap: float | None) -> None:
    """Losses, log-sum-exps and gradients of all rows; see `kernels.cross_entropy` for the formulas.

    Args:
        x: (R, V), logits, any row stride.
        y: (R,), labels.
        dx: (R, V), for the gradient, or None; may be x.
        loss, lse: (R,), written.
        scales: (2,), factors on the cross-entropy and on the z-loss; None is 1.
        grad: () or (R,), a factor on the gradient alone; None is 1.
        weights: (V,), class weights, or None.
        ignore_index, label_smoothing, z_loss, softcap: as in `kernels.softmax_cross_entropy`.
    """
    X, Y, LOSS, LSE = as_numpy(x), as_numpy(y), as_numpy(loss), as_numpy(lse)
    DX = None if dx is None else as_numpy(dx)
    wide = LOSS.dtype  # float32, or float64 for float64 logits
    w = None if weights is None else as_numpy(weights).astype(wide)
    ce, z = (wide.type(1), wide.type(1)) if scales is None else as_numpy(scales).astype(wide)
    g = np.ones(len(Y), wide) if grad is None else np.broadcast_to(as_numpy(grad).astype(wide), Y.shape)
    V = X.shape[1]
    for start in range(0, len(Y), max(1, BLOCK // V)):
        block = slice(start, start + max(1, BLOCK // V))
        LOSS[block] = LSE[block] = 0
        kept = np.flatnonzero(Y[block] != ignore_index) + start
        valid = (Y[kept] >= 0) & (Y[kept] < V)
        raw, labels = X[kept].astype(wide), np.where(valid, Y[kept], 0)  # (n, V), (n,)
        capped = raw if softcap is None else soft_cap(raw, softcap).astype(wide)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            m = logsumexp(capped, axis=1)
            losses = ce * cross_entropy_rows(capped, labels, w, label_smoothing)
            if z_loss:
                losses += z * z_penalty(capped, z_loss)
            LOSS[kept], LSE[kept] = np.where(valid, losses, np.nan), np.where(valid, m, np.nan)
            if DX is None:
                continue
            d = ce * cross_entropy_rows_gradient(capped, labels, w, label_smoothing)
            if z_loss:
                d += z * (2 * z_loss * m[:, None]) * softmax(capped)
            if softcap is not None:
                absent = np.isneginf(raw) & ~np.isneginf(m)[:, None]  # a row of nothing else stays nan
                d = np.where(absent, 0, d * (1 - (capped / wide.type(softcap)) ** 2))
            d *= g[kept, None]
            d[~valid] = np.nan
        result = np.zeros((len(Y[block]), V), DX.dtype)
        with np.errstate(over="ignore"):
            result[kept - start] = d
        DX[block] = result


def scales(y: View, weights: View | None, out: View, *, ignore_index: int, vocab: int) -> None:
    """out = (1/D, 1/N): the sum of the kept labels' weights and their number, inverted; 0 for 1/0."""
    Y = as_numpy(y)
    kept = Y[(Y != ignore_index) & (Y >= 0) & (Y < vocab)]
    D = float(len(kept)) if weights is None else as_numpy(weights).astype(np.float64)[kept].sum()
    as_numpy(out)[...] = [1 / D if D else 0, 1 / len(kept) if len(kept) else 0]


def total(loss: View, out: View) -> None:
    """out = the sum of the rows' losses."""
    as_numpy(out)[...] = as_numpy(loss).sum(dtype=np.float64)
