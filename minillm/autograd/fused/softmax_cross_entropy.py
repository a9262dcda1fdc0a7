"""Softmax and cross-entropy in one: the gradient is p - y, and the probabilities are never kept.

Twice: in NumPy for the CPU, and as one call of a kernel (see `registry.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm import formulas
from minillm.autograd.devices import as_array, beside, is_foreign, to_host
from minillm.autograd.state import state
from minillm.autograd.tensor import Tensor, apply_fused, unwrap
from minillm.formulas.cross_entropy import check_labels

from .op import FusedOp
from .registry import AUTO, chosen, kernel
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


@functools.wraps(formulas.softmax_cross_entropy)
def composite(logits: Any, labels: Any, **options: Any) -> Any:
    # The formula looks at the labels themselves, so it has them on the CPU.
    return formulas.softmax_cross_entropy(logits, to_host(labels), **options)


def kernel_forward(logits: Any, labels: Any, *, save: bool, **options: Any) -> tuple[Any, Any]:
    run = kernel("softmax_cross_entropy", logits)
    assert run is not None
    loss, _, gradient = run(logits, labels, gradient=save, **options)
    return loss, gradient


def kernel_backward(g: Any, saved: Any, logits: Any, labels: Any, *, needs: Sequence[bool],
                    **_: Any) -> tuple[Any, None]:
    # A product with 1 would double the traffic, and to ask a GPU whether g is 1 would wait for it.
    return (saved[...] if g is state.seed else saved * g), None


_fused = FusedOp(forward, backward, composite)
_kernel = FusedOp(kernel_forward, kernel_backward, composite, anywhere=True)


def softmax_cross_entropy(logits: Any, labels: Any, *, ignore_index: int = -100,
                          label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of softmax(logits) against integer labels (article 4.1), fused.

        L = -1/N sum_i sum_j q_ij log softmax(x_i)_j,   dL/dx_ij = (softmax(x_i)_j - q_ij) / N

    with q_i the one-hot of label i, or (1 - e) one-hot + e/K over the K classes that are not masked
    out (logit -inf) for label smoothing e. N counts the labels that are not `ignore_index`; with none
    the loss and its gradient are 0. Stable for logits of any finite size; a logit of -inf is a class
    of probability 0. A loss beyond the dtype's range is inf; its gradient is finite all the same.

    On a GPU this is one call of `kernels.softmax_cross_entropy`, which gives loss and gradient together,
    the loss in float32 for float16 logits. A wrong label that is on the GPU itself makes the loss nan
    there; to find it sooner would wait for the GPU.

    Args:
        logits: (..., V), float.
        labels: (...), integers in [0, V) or `ignore_index`; on the CPU, or where logits are.
        ignore_index: the label of positions that do not count.
        label_smoothing: e in [0, 1).

    Returns:
        The loss in nats, a scalar Tensor.

    Raises:
        ValueError: shapes do not agree, a label is out of range, or e is.
        TypeError: labels are not integers, or logits not floats.

    Source: article section 4.1; label smoothing: Szegedy et al. 2016, section 7.
    """
    if type(labels) is not np.ndarray:
        labels = as_array(unwrap(labels))
    x = logits.data if isinstance(logits, Tensor) else (logits := as_array(logits))
    if x.dtype.kind != "f":
        raise TypeError(f"logits must be floats, not {x.dtype}")
    options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
    if type(x) is np.ndarray and chosen.backend is AUTO:  # the common case first: small models live on this
        return apply_fused(_fused, (logits, labels), options)
    if type(x) is not np.ndarray and not is_foreign(labels):
        check_labels(x, labels, ignore_index, label_smoothing)
        labels = beside(labels, x)
    return (_fused if kernel("softmax_cross_entropy", x) is None else _kernel)(logits, labels, **options)
