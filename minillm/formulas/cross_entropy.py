"""Cross-entropy (article 4.1): from one-hot targets, from labels, and straight from logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from .checks import check_indices, check_integers, first_outside, within
from .ledger import equation
from .softmax import log_softmax

_TEST = "tests/formulas/test_cross_entropy.py::"
_FUSED = "minillm.autograd.fused:softmax_cross_entropy"
_KERNELS = ("kernels.triton.cross_entropy:rows", "kernels.cuda.cross_entropy:rows")
_LATEX = r"L(\theta) = -\frac{1}{N}\sum_{i=1}^{N} \sum_{j=1}^{V} y_{ij} \log p(x_i; \theta)_j"
_SYMBOLS = {"N": "number of samples", "V": "vocabulary size",
            "y_ij": "one-hot code of the j-th word of sample i",
            "p(x_i; theta)_j": "the model's probability for word j in sample i"}
_SYMBOLS_ZH = {"N": "样本数量", "V": "词表大小", "y_ij": "第 i 个样本的第 j 个词的 one-hot 编码",
               "p(x_i; theta)_j": "模型预测第 i 个样本为第 j 个词的概率"}


def _distribution(rng: np.random.Generator, n: int, v: int) -> np.ndarray:
    p = rng.uniform(0.1, 1, (n, v))
    return p / p.sum(1, keepdims=True)


@equation(
    "4.1", _LATEX, title="cross-entropy, one-hot targets", title_zh="交叉熵（one-hot 形式）",
    symbols=_SYMBOLS, symbols_zh=_SYMBOLS_ZH, fused=_FUSED, kernels=_KERNELS,
    source="article section 4.1", lesson="02_likelihood_and_cross_entropy",
    example=lambda rng: (np.eye(5, dtype=int)[rng.integers(0, 5, 4)], _distribution(rng, 4, 5)),
    test=_TEST + "test_one_hot_form_by_hand")
def cross_entropy(y: Any, p: Any) -> Any:
    """How many nats the model's probabilities need for the true words, on average.

        L = -1/N sum_i sum_j y_ij log p_ij

    0 log 0 is 0: a word that does not occur costs nothing, whatever its probability.

    Args:
        y: (N, V), one-hot (or any distribution over V) in each row.
        p: (N, V), probabilities.

    Returns:
        The loss in nats, a scalar; inf if a true word has probability 0.

    Raises:
        ValueError: y and p differ in shape, which NumPy might broadcast.

    Source: article section 4.1.
    """
    if np.shape(y) != np.shape(p):
        raise ValueError(f"y and p must have the same shape (N, V), not {np.shape(y)} and {np.shape(p)}")
    N = len(y)
    log_p = np.log(np.where(y == 0, 1, p))
    return -1 / N * np.sum(y * log_p)


@equation(
    "4.1", r"L(\theta) = -\frac{1}{N}\sum_{i=1}^{N} \log p(x_i; \theta)_{y_i}",
    title="cross-entropy, labels", title_zh="交叉熵（类别标签形式）",
    symbols={**_SYMBOLS, "y_i": "index of the true word of sample i"},
    symbols_zh={**_SYMBOLS_ZH, "y_i": "第 i 个样本的正确词在词表中的编号"},
    fused=_FUSED, kernels=_KERNELS, lesson="02_likelihood_and_cross_entropy",
    source="article section 4.1: the inner sum has one term that is not 0",
    example=lambda rng: (rng.integers(0, 5, 4), _distribution(rng, 4, 5)),
    test=_TEST + "test_label_form_equals_one_hot_form")
def cross_entropy_of_labels(y: Any, p: Any) -> Any:
    """The same loss, with the index of the true word in place of its one-hot row.

        L = -1/N sum_i log p_{i, y_i}

    Args:
        y: (N,), integers in [0, V).
        p: (N, V), probabilities.

    Returns:
        The loss in nats, a scalar.

    Raises:
        ValueError: y's shape is not (N,), or a label is outside [0, V).
        TypeError: labels are not integers.

    Source: article section 4.1.
    """
    y = np.asarray(y)
    if p.ndim != 2 or y.shape != p.shape[:1]:
        raise ValueError(f"y must be (N,) and p (N, V), not {y.shape} and {p.shape}")
    check_indices("y", y, p.shape[-1])
    N = len(y)
    return -1 / N * np.sum(np.log(p[np.arange(N), y]))


@equation(
    "4.1", r"L = -\frac{1}{N}\sum_{i:\,y_i\ne\mathrm{ignore}} \sum_{j=1}^{V} q_{ij}"
    r"\bigl(x_{ij} - \mathrm{lse}(x_i)\bigr)",
    title="softmax cross-entropy", title_zh="Softmax 交叉熵（由 logits 计算）",
    symbols={"x_ij": "logit of word j in sample i", "lse": "log-sum-exp",
             "q_ij": "one-hot target, smoothed by e: (1-e) one-hot + e/K",
             "N": "number of labels that are not ignored"},
    symbols_zh={"x_ij": "第 i 个样本的第 j 个词的 logit", "lse": "LogSumExp（指数和的对数）",
                "q_ij": "以 e 平滑后的 one-hot 目标：(1-e) one-hot + e/K", "N": "未被忽略的标签数量"},
    fused=_FUSED, kernels=_KERNELS, lesson="02_likelihood_and_cross_entropy",
    source="article sections 4.1 and 5.1; label smoothing: Szegedy et al. 2016",
    example=lambda rng: (rng.standard_normal((4, 5)), rng.integers(0, 5, 4)),
    test=_TEST + "test_logits_form_equals_label_form")
def softmax_cross_entropy(logits: Any, labels: Any, *, ignore_index: int = -100,
                          label_smoothing: float = 0.0) -> Any:
    """Cross-entropy straight from logits: no probability is formed, so none is rounded to 0.

        L = -1/N sum_i sum_j q_ij (x_ij - lse(x_i))

    with q the one-hot target, smoothed by e: (1 - e) one-hot + e/K over the K classes whose logit is
    not -inf. N counts the labels that are not ignored; with none, L is 0. A loss beyond the dtype's
    range is inf; its gradient is finite all the same.

    Args:
        logits: (..., V).
        labels: (...), integers in [0, V) or ignore_index.
        ignore_index: the label of positions that do not count.
        label_smoothing: e in [0, 1).

    Returns:
        The loss in nats, a scalar.

    Raises:
        ValueError: shapes do not agree, a label is out of range, or e is.
        TypeError: labels are not integers.

    Source: article sections 4.1 and 5.1; label smoothing: Szegedy et al. 2016, section 7.
    """
    labels = np.asarray(labels)
    check_labels(logits, labels, ignore_index, label_smoothing)
    V = logits.shape[-1]
    y = labels.reshape(-1).astype(int)  # (N,)
    kept = y != ignore_index
    x, y = np.reshape(logits, (len(y), V))[kept], y[kept]  # (N, V), (N,)
    N = len(y)
    if N == 0:
        return np.sum(x)
    log_p = log_softmax(x)
    loss = -log_p[np.arange(N), y]  # (N,)
    if label_smoothing:
        e, finite = label_smoothing, np.isfinite(x)
        K = np.sum(finite, axis=1).astype(x.dtype)
        loss = (1 - e) * loss - np.sum(np.where(finite, log_p, 0) * (e / K)[:, None], axis=1)
    return np.sum(loss / N)  # scaled before they are summed, losses do not overflow


def check_labels(logits: Any, labels: np.ndarray, ignore_index: int, label_smoothing: float) -> bool:
    """Whether every label is a class and none is to be ignored.

    Raises:
        ValueError, TypeError: one line on labels that do not fit the logits.
    """
    if logits.ndim == 0 or logits.shape[:-1] != labels.shape:
        raise ValueError(f"labels must have the shape of logits without its last axis: "
                         f"logits {logits.shape}, labels {labels.shape}")
    check_integers("labels", labels)
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing = {label_smoothing} is outside [0, 1)")
    vocab = logits.shape[-1]
    if not labels.size:
        return True
    if within(labels, vocab) and not 0 <= ignore_index < vocab:
        return True
    wrong = ((labels < 0) | (labels >= vocab)) & (labels != ignore_index)
    if wrong.any():
        raise ValueError(f"{first_outside('labels', labels, wrong, vocab)} "
                         f"and is not ignore_index = {ignore_index}")
    return not (labels == ignore_index).any()
