"""Output layer and cross-entropy together, without ever holding all logits.

With N rows, H features and V classes, the logits take N V numbers, far more than x (N H) once V is large.
Rows are taken in chunks: a chunk's logits are formed, overwritten by their gradient, used for both
products of the backward pass, and overwritten by the next chunk's.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from . import arrays
from .cross_entropy import (
    Rows,
    backend_for,
    check_options,
    factors_of,
    launch_rows,
    launch_scales,
    launch_total,
    row_labels,
)
from .tuning import LINEAR_MIN_ROWS, LINEAR_WEIGHT_ROWS


class LinearCrossEntropy(NamedTuple):
    """What `linear_cross_entropy` returns; the gradients are None with gradient=False, dbias without bias."""

    loss: Any
    dx: Any
    dweight: Any
    dbias: Any


def linear_cross_entropy(x: Any, weight: Any, labels: Any, *, bias: Any = None, ignore_index: int = -100,
                         label_smoothing: float = 0.0, z_loss: float = 0.0, class_weights: Any = None,
                         softcap: float | None = None, reduction: str = "mean", grad_loss: Any = None,
                         gradient: bool = True, chunk_rows: int | None = None,
                         backend: str | None = None) -> LinearCrossEntropy:
    """softmax_cross_entropy(x W^T + b, labels) and its gradients, in memory for a chunk of the logits.

        logits = x W^T + b,   dx = G W,   dW = G^T x,   db = sum_i G_i      with G = dloss/dlogits

    The products are the array library's own; the loss is this package's kernel, in place. From the same
    logits a row gets the same bits in any chunk. dW and db are summed over chunks in float32 or wider.

    Args:
        x: (..., H), float32, float16 or bfloat16 (float64 on "numpy").
        weight: (V, H), x's dtype. For minillm's layers, which hold (H, V), pass its transpose.
        labels: (...), integers in [0, V) or `ignore_index`.
        bias: (V,), x's dtype, or None.
        ignore_index, label_smoothing, z_loss, class_weights, softcap: as in `softmax_cross_entropy`.
        reduction: "mean" or "sum".
        grad_loss: upstream gradient, (); None is 1.
        gradient: False computes the loss alone.
        chunk_rows: rows whose logits are held at once; None: as many as make the logits no larger than x,
            but at least `kernels.tuning.LINEAR_MIN_ROWS`.
        backend: as in `softmax_cross_entropy`.

    Returns:
        (loss, dx, dweight, dbias): loss () float32 or wider, the gradients like their arrays.

    Raises:
        ValueError, TypeError, BackendUnavailable: as `softmax_cross_entropy`; shapes do not fit.

    Source: the products and the loss by the chain rule; chunking as in Liger-Kernel and Wijmans et al. 2024.
    """
    rows, w = Rows.of("x", x), arrays.adopt(weight)
    _check(rows, w, bias, reduction, chunk_rows)
    N, H, V = len(rows), rows.vocab, w.shape[0]
    options = check_options(ignore_index, label_smoothing, z_loss, softcap)
    chunk = max(1, min(N, chunk_rows or max(LINEAR_MIN_ROWS, -(-N * H // max(V, 1)))))
    flat, b = rows.owner.reshape(N, H), None if bias is None else arrays.adopt(bias)
    # All the logits there ever are. Rows begin at cache lines: no vocabulary is slow, and a row's sums are
    # taken in the same order whatever chunk it is in.
    line = 128 // rows.rows.itemsize
    buffer = arrays.empty(flat, (chunk, -(-V // line) * line))[:, :V]
    logits = Rows.of("logits", buffer)
    chosen = backend_for(backend, logits)
    y = row_labels(labels, Rows(buffer, rows.rows, (*rows.shape[:-1], V)), ignore_index)
    wide = "float64" if rows.rows.dtype == "float64" else "float32"
    weights = factors_of("class_weights", class_weights, logits, wide, [(V,)])
    grad = factors_of("grad_loss", grad_loss, logits, wide, [()])
    losses, lse = (arrays.zeros(flat, (N,), wide) for _ in range(2))  # with V = 0 nothing else is written
    every = Rows(flat, rows.rows, (N, V))
    scales = launch_scales(chosen, every, y, weights, ignore_index, wide) if reduction == "mean" else None
    dx = arrays.empty(flat, (N, H)) if gradient else None
    dw = arrays.zeros(flat, (V, H), wide) if gradient else None
    db = arrays.zeros(flat, (V,), wide) if gradient and b is not None else None
    labels_1d = y.owner.reshape(N)
    for start in range(0, N, chunk):
        part = slice(start, min(start + chunk, N))
        G = buffer[:part.stop - start]
        _product(flat[part], w.T, G)
        if b is not None:
            G += b
        seen = arrays.view(G)
        launch_rows(chosen, seen, arrays.view(labels_1d[part]), seen if gradient else None,
                    arrays.view(losses[part]), arrays.view(lse[part]), scales=scales, weights=weights,
                    grad=grad, **options)
        if dx is None or dw is None:
            continue
        _product(G, w, dx[part])
        for first in range(0, V, LINEAR_WEIGHT_ROWS):  # in pieces, so that the product needs little memory
            piece = slice(first, first + LINEAR_WEIGHT_ROWS)
            dw[piece] += arrays.astype(_product(G[:, piece].T, flat[part]), wide)
        if db is not None:
            db += arrays.astype(G, wide).sum(0)
    dtype = rows.rows.dtype
    return LinearCrossEntropy(
        arrays.as_kind(launch_total(chosen, losses), x),
        None if dx is None else arrays.as_kind(dx.reshape(rows.shape), x),
        None if dw is None else arrays.as_kind(arrays.astype(dw, dtype), x),
        None if db is None else arrays.as_kind(arrays.astype(db, dtype), x))


def _product(a: Any, b: Any, out: Any = None) -> Any:
    """a @ b, into `out` if given. NumPy has no product of 16-bit floats: they go through float32."""
    kind, dtype = arrays.library(a), arrays.view(a).dtype
    if kind == "torch":
        return sys.modules["torch"].matmul(a, b, out=out)
    if kind == "numpy" and dtype in ("float16", "bfloat16"):
        result = arrays.astype(arrays.astype(a, "float32") @ arrays.astype(b, "float32"), dtype)
        if out is None:
            return result
        out[...] = result
        return out
    xp = sys.modules[kind]
    return xp.matmul(a, b, out=out)


def _check(x: Rows, weight: Any, bias: Any, reduction: str, chunk_rows: int | None) -> None:
    given = {"weight": weight} if bias is None else {"weight": weight, "bias": arrays.adopt(bias)}
    for name, array in given.items():
        seen = arrays.view(array)
        if arrays.library(array) != arrays.library(x.owner):
            raise ValueError(f"{name} is an array of {arrays.library(array)}, x of "
                             f"{arrays.library(x.owner)}: pass both of one library")
        if seen.dtype != x.rows.dtype or seen.device != x.rows.device:
            raise ValueError(f"{name} is {seen.dtype} on {seen.device}; "
                             f"x is {x.rows.dtype} on {x.rows.device}")
    if len(weight.shape) != 2 or weight.shape[1] != x.vocab:
        raise ValueError(f"weight must be (V, {x.vocab}) for x {x.shape}, not {tuple(weight.shape)}")
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ValueError(f"bias must have shape ({weight.shape[0]},), not {tuple(bias.shape)}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction = {reduction!r} must be 'mean' or 'sum': with 'none' each row's own "
                         "gradient would have to be kept")
    if chunk_rows is not None and chunk_rows < 1:
        raise ValueError(f"chunk_rows = {chunk_rows} must be at least 1")
