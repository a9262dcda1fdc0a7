"""Softmax and its logarithm: from scores of any size to probabilities, without overflow."""

from __future__ import annotations

from typing import Any

import numpy as np

from .ledger import equation

_KERNELS = ("kernels.triton.cross_entropy:rows", "kernels.cuda.cross_entropy:rows")
_TEST = "tests/formulas/test_softmax.py::"


def _shift(x: Any, axis: int) -> Any:
    """The largest score, which softmax does not depend on; 0 where all are -inf."""
    m = np.max(x, axis=axis, keepdims=True)
    return np.where(m == -np.inf, 0, m)


def _below(x: Any, m: Any) -> Any:
    """x - m <= 0. Where the difference is beyond the dtype it is -inf: e^-inf is 0, as it should be."""
    with np.errstate(over="ignore"):
        return x - m


@equation(
    "-", r"\mathrm{lse}(x) = m + \log\sum_{j=1}^{V} e^{x_j - m},\quad m = \max_j x_j",
    title="log-sum-exp", title_zh="LogSumExp（指数和的对数）",
    symbols={"x": "logits", "V": "vocabulary size", "m": "the largest logit"},
    symbols_zh={"x": "logits（未归一化的分数）", "V": "词表大小", "m": "最大的 logit"},
    example=lambda rng: (rng.standard_normal((3, 5)),),
    test=_TEST + "test_logsumexp_against_torch",
    source="Blanchard, Higham & Higham 2021, Accurately computing the log-sum-exp and softmax functions",
    lesson="02_likelihood_and_cross_entropy")
def logsumexp(x: Any, axis: int = -1, keepdims: bool = False) -> Any:
    """log of the sum of exponentials along `axis`.

        lse(x) = m + log sum_j exp(x_j - m),   m = max_j x_j

    Every exponent is at most 0, so nothing overflows; -inf counts as an absent class.

    Args:
        x: (..., V, ...), float.
        axis: the axis to reduce.
        keepdims: keep it with length 1.

    Returns:
        x's shape without `axis` (or with 1 there), in nats.

    Source: Blanchard, Higham & Higham 2021.
    """
    m = _shift(x, axis)
    lse = m + np.log(np.sum(np.exp(_below(x, m)), axis=axis, keepdims=True))
    return lse if keepdims else np.squeeze(lse, axis=axis)


@equation(
    "-", r"p_j = \frac{e^{x_j - m}}{\sum_{k=1}^{V} e^{x_k - m}}",
    title="softmax", title_zh="Softmax 函数",
    symbols={"x": "logits", "p": "probabilities", "V": "vocabulary size", "m": "the largest logit"},
    symbols_zh={"x": "logits（未归一化的分数）", "p": "概率", "V": "词表大小", "m": "最大的 logit"},
    example=lambda rng: (rng.standard_normal((3, 5)),),
    test=_TEST + "test_softmax_is_a_distribution",
    source="article section 5.1 (activation='softmax')", lesson="02_likelihood_and_cross_entropy",
    fused="minillm.autograd.fused:softmax_cross_entropy", kernels=_KERNELS)
def softmax(x: Any, axis: int = -1) -> Any:
    """Probabilities that are proportional to exp(x).

        p_j = exp(x_j - m) / sum_k exp(x_k - m),   m = max_k x_k

    Args:
        x: (..., V, ...), float; -inf gets probability 0.
        axis: along which the probabilities sum to 1.

    Returns:
        x's shape, in [0, 1].

    Source: article section 5.1.
    """
    e = np.exp(_below(x, _shift(x, axis)))
    return e / np.sum(e, axis=axis, keepdims=True)


@equation(
    "-", r"\log p_j = x_j - \mathrm{lse}(x)",
    title="log-softmax", title_zh="对数 Softmax",
    symbols={"x": "logits", "p": "probabilities"},
    symbols_zh={"x": "logits（未归一化的分数）", "p": "概率"},
    example=lambda rng: (rng.standard_normal((3, 5)),),
    test=_TEST + "test_log_softmax_of_huge_logits",
    source="article section 4.1 with 5.1", lesson="02_likelihood_and_cross_entropy",
    fused="minillm.autograd.fused:softmax_cross_entropy", kernels=_KERNELS)
def log_softmax(x: Any, axis: int = -1) -> Any:
    """log softmax(x), exact where softmax itself would round to 0.

        log p_j = x_j - lse(x) = (x_j - m) - log sum_k exp(x_k - m),   m = max_k x_k

    The form on the right loses no digits when all logits are large and close together.

    Args:
        x: (..., V, ...), float.
        axis: along which the probabilities sum to 1.

    Returns:
        x's shape, in nats, at most 0.

    Source: article sections 4.1 and 5.1.
    """
    z = _below(x, _shift(x, axis))
    return z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))
