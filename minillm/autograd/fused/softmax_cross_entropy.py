"""Softmax and cross-entropy in one: the gradient is p - y, and the probabilities are never kept."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm.autograd.tensor import Tensor, unwrap
from minillm.formulas import softmax_cross_entropy as composite
from minillm.formulas.cross_entropy import check_labels

from .op import FusedOp
from .sums import mean, row_sums


@functools.lru_cache(maxsize=32)
def _row_starts(n: int, vocab: int) -> np.ndarray:
    starts = np.arange(0, n * vocab, vocab)
    starts.flags.writeable = False  # it is shared
    return starts


def forward(logits: np.ndarray, labels: np.ndarray, *, save: bool, ignore_index: int = -100,
            label_smoothing: float = 0.0) -> tuple[Any, Any]:
    every = check_labels(logits, labels, ignore_index, label_smoothing)
    vocab = logits.shape[-1]
    x = logits.reshape(labels.size, vocab)  # (N, V)
    y = labels.reshape(-1)  # (N,)
    if y.dtype != np.intp:
        y = y.astype(np.intp)
    if not every:
        kept = y != ignore_index
        x, y = x[kept], y[kept]
    n = len(y)
    if n == 0:
        return np.zeros((), logits.dtype), None
    at = _row_starts(n, vocab) + y  # the labels' places in p, flat: one axis is indexed faster
    # (N, V) in one block; from here on in place
    z = np.subtract(x, np.maximum.reduce(x, axis=1, keepdims=True), order="C")
    flat = z.reshape(-1)  # (N V,)
    z_label = flat.take(at)
    if label_smoothing:
        finite = np.isfinite(x)  # not z: a finite logit far below the maximum still counts
        share = (label_smoothing / finite.sum(axis=1)).astype(x.dtype)  # (N,)
        smoothing = (np.where(finite, z, 0) * share[:, None]).sum(axis=1)  # scaled first: no sum overflows
    p = np.exp(z, out=z)
    s = row_sums(p)  # (N,)
    log_s = np.log(s)
    losses = log_s - z_label
    if label_smoothing:
        losses = (1 - label_smoothing) * losses + label_smoothing * log_s - smoothing
    loss = mean(losses)
    if not save:
        return loss, None
    # dL/dlogits = (p - q) / N, with q the (smoothed) target distribution.
    p *= np.divide(1 / n, s, out=s)[:, None]
    if label_smoothing:
        p -= np.where(finite, (share / n)[:, None], 0)
    flat[at] -= (1 - label_smoothing) / n
    if every:
        return loss, p.reshape(logits.shape)
    gradient = np.zeros((kept.size, vocab), logits.dtype)
    gradient[kept] = p
    return loss, gradient.reshape(logits.shape)


def backward(g: np.ndarray, saved: Any, logits: np.ndarray, labels: np.ndarray, *,
             needs: Sequence[bool], **_: Any) -> tuple[Any, None]:
    if saved is None:
        return np.zeros_like(logits), None
    return (saved if g.item() == 1 else saved * g), None  # 1 if the loss is all there is


_fused = FusedOp(forward, backward, composite)


def softmax_cross_entropy(logits: Any, labels: Any, *, ignore_index: int = -100,
                          label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of softmax(logits) against integer labels (article 4.1), fused.

        L = -1/N sum_i sum_j q_ij log softmax(x_i)_j,   dL/dx_ij = (softmax(x_i)_j - q_ij) / N

    with q_i the one-hot of label i, or (1 - e) one-hot + e/K over the K classes that are not masked
    out (logit -inf) for label smoothing e. N counts the labels that are not `ignore_index`; with none
    the loss and its gradient are 0. Stable for logits of any finite size; a logit of -inf is a class
    of probability 0. A loss beyond the dtype's range is inf; its gradient is finite all the same.

    Args:
        logits: (..., V), float.
        labels: (...), integers in [0, V) or `ignore_index`.
        ignore_index: the label of positions that do not count.
        label_smoothing: e in [0, 1).

    Returns:
        The loss in nats, a scalar Tensor.

    Raises:
        ValueError: shapes do not agree, a label is out of range, or e is.
        TypeError: labels are not integers, or logits not floats.

    Source: article section 4.1; label smoothing: Szegedy et al. 2016, section 7.
    """
    labels = np.asarray(unwrap(labels))
    logits = logits if isinstance(logits, Tensor) else np.asarray(logits)
    if logits.dtype.kind != "f":
        raise TypeError(f"logits must be floats, not {logits.dtype}")
    return _fused(logits, labels, ignore_index=ignore_index, label_smoothing=label_smoothing)
