"""Softmax cross-entropy from logits, and its gradient (article 4.1 and 5.1)."""

from typing import Any

import numpy as np


# GIVE minillm.formulas.softmax:_shift


# GIVE minillm.formulas.softmax:_below


# TAKE minillm.formulas.softmax:softmax


# TAKE minillm.formulas.softmax:log_softmax


def softmax_cross_entropy(logits: Any, labels: Any, *, ignore_index: int = -100) -> Any:
    """Cross-entropy straight from logits: no probability is formed, so none is rounded to 0.

        L = -1/N sum_i log p[i, y_i]

    N counts the labels that are not ignored; with none, L is 0.

    Args:
        logits: (R, V).
        labels: (R,), integers in [0, V) or ignore_index.
        ignore_index: the label of rows that do not count.

    Returns:
        The loss in nats, a scalar.
    """
    # BEGIN SOLUTION
    kept = labels != ignore_index
    x, y = logits[kept], labels[kept]  # (N, V), (N,)
    N = len(y)
    if N == 0:
        return 0.0
    log_p = log_softmax(x)
    return -np.sum(log_p[np.arange(N), y]) / N
    # END SOLUTION


def softmax_cross_entropy_grad(logits: Any, labels: Any, *, ignore_index: int = -100) -> Any:
    """dL/dlogits of `softmax_cross_entropy`.

        dL/dx_ij = (p_ij - [j = y_i]) / N,   and 0 in rows that do not count

    Args:
        logits: (R, V).
        labels: (R,), integers in [0, V) or ignore_index.
        ignore_index: the label of rows that do not count.

    Returns:
        (R, V).
    """
    # BEGIN SOLUTION
    kept = np.flatnonzero(labels != ignore_index)  # (N,)
    dx = np.zeros_like(logits)
    p = softmax(logits[kept])
    p[np.arange(len(kept)), labels[kept]] -= 1
    dx[kept] = p / max(len(kept), 1)
    return dx
    # END SOLUTION
