"""Softmax cross-entropy of single rows with every option, and its gradient: what the GPU kernels compute.

The label's own term is kept out of the sum r of the others, so that neither the loss nor the label's
gradient is a difference of nearly equal numbers when the label's probability is close to 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .ledger import equation
from .softmax import _below, _shift

_TEST = "tests/formulas/test_cross_entropy_rows.py::"
_KERNELS = ("kernels.triton.cross_entropy:rows", "kernels.cuda.cross_entropy:rows")
_FUSED = "minillm.autograd.fused:softmax_cross_entropy"
_SYMBOLS = {"x_ij": "logit of class j in row i", "y": "label of the row", "w_j": "class weight",
            "e": "label smoothing", "K": "number of classes whose logit is not -inf",
            "zeta": "z-loss strength",
            "lse": "log-sum-exp of the row"}
_SYMBOLS_ZH = {"x_ij": "第 i 行第 j 类的 logit", "y": "该行的类别标签", "w_j": "第 j 类的权重",
               "e": "标签平滑的强度", "K": "logit 不为 -inf 的类别数", "zeta": "z 损失的强度",
               "lse": "该行的 LogSumExp（指数和的对数）"}


@equation(
    "-", r"\mathrm{cap}(x) = c \tanh(x / c)", title="soft cap on logits", title_zh="logits 软上限",
    symbols={"x": "logits", "c": "the cap"}, symbols_zh={"x": "logits（未归一化的分数）", "c": "上限"},
    source="Gemma Team 2024, Gemma 2, section 2",
    example=lambda rng: (3 * rng.standard_normal((3, 5)), 4.0), kernels=_KERNELS,
    test=_TEST + "test_soft_cap_by_hand")
def soft_cap(x: Any, c: float) -> Any:
    """c tanh(x / c): nearly x where |x| is far below c, and never beyond c.

    A logit of -inf stays -inf: a class that is masked out stays out.

    Args:
        x: logits, any shape.
        c: the cap, > 0, in the unit of the logits.

    Returns:
        x's shape, in (-c, c), or -inf.

    Source: Gemma Team 2024, Gemma 2, section 2.
    """
    return np.where(x == -np.inf, x, c * np.tanh(x / c))


@equation(
    "-", r"L_z = \zeta\,\mathrm{lse}(x)^2", title="z-loss", title_zh="z 损失",
    symbols={"x": "logits of one row", "zeta": "strength", "lse": "log-sum-exp"},
    symbols_zh={"x": "一行 logits", "zeta": "强度", "lse": "LogSumExp（指数和的对数）"},
    source="Chowdhery et al. 2022, PaLM, section 5", example=lambda rng: (rng.standard_normal((3, 5)), 0.1),
    kernels=_KERNELS, test=_TEST + "test_z_loss_by_hand")
def z_loss(x: Any, zeta: float = 1e-4) -> Any:
    """zeta lse(x)^2: keeps the softmax's normaliser near 1, so that logits do not drift.

    Args:
        x: (..., V), logits.
        zeta: strength, >= 0.

    Returns:
        x's shape without its last axis, in nats.

    Source: Chowdhery et al. 2022, PaLM, section 5.
    """
    m = _shift(x, -1)
    lse = m + np.log(np.sum(np.exp(_below(x, m)), axis=-1, keepdims=True))
    return np.sum(zeta * lse**2, axis=-1)


@equation(
    "-", r"\ell = (1-e)\,w_y\,(\mathrm{lse}(x) - x_y)"
    r" + \frac{e}{K}\sum_{j:\,x_j>-\infty} w_j\,(\mathrm{lse}(x) - x_j)",
    title="cross-entropy of one row, smoothed and weighted", title_zh="单行交叉熵（标签平滑与类别权重）",
    symbols=_SYMBOLS, symbols_zh=_SYMBOLS_ZH, fused=_FUSED, kernels=_KERNELS,
    source="article section 4.1; Szegedy et al. 2016, section 7",
    example=lambda rng: (rng.standard_normal((4, 5)), rng.integers(0, 5, 4), rng.uniform(0.5, 2, 5), 0.1),
    test=_TEST + "test_rows_against_torch", lesson="15_softmax_cross_entropy_in_triton")
def cross_entropy_rows(x: Any, y: Any, w: Any = None, e: float = 0.0) -> Any:
    """Each row's cross-entropy, from logits, with class weights and label smoothing.

        l = (1-e) w_y nll + (e/K) sum_j w_j (lse - x_j),   nll = lse - x_y

    The sum goes over the K classes whose logit is not -inf. nll is log(1 + r / exp(x_y - m)), with r the
    sum of exp(x_j - m) over the classes other than y: exact to rounding however close p_y is to 1.

    Args:
        x: (N, V), logits.
        y: (N,), labels in [0, V).
        w: (V,), class weights; None is 1 for all.
        e: label smoothing in [0, 1).

    Returns:
        (N,), in nats.

    Source: article section 4.1; Szegedy et al. 2016, section 7.
    """
    _, _, _, nll, x_y, _ = _parts(x, y)
    w_y = 1 if w is None else w[y]
    loss = (1 - e) * w_y * nll
    if not e:
        return loss
    kept, share = _smoothing(x, w, e)  # (N, V)
    # lse - x_j = nll - (x_j - x_y): the reference x_y keeps the digits of logits that share an offset
    reference = np.where(x_y == -np.inf, 0, x_y)
    distance = np.where(kept, x - reference[:, None], 0)
    return loss + np.sum(share, axis=1) * nll - np.sum(share * distance, axis=1)


@equation(
    "-", r"\frac{\partial \ell}{\partial x_j} = a\,p_j - q_j,\quad "
    r"q_j = (1-e)\,w_y\,[j=y] + \frac{e}{K} w_j,\quad a = \sum_j q_j,\qquad "
    r"\frac{\partial L_z}{\partial x_j} = 2\zeta\,\mathrm{lse}(x)\,p_j",
    title="gradient of one row's cross-entropy", title_zh="单行交叉熵的梯度",
    symbols={**_SYMBOLS, "p_j": "softmax of the row", "q_j": "the target", "a": "the target's total weight"},
    symbols_zh={**_SYMBOLS_ZH, "p_j": "该行的 softmax 概率", "q_j": "目标", "a": "目标的总权重"},
    fused=_FUSED, kernels=_KERNELS, source="article sections 4.1 and 5.1, by the chain rule",
    example=lambda rng: (rng.standard_normal((4, 5)), rng.integers(0, 5, 4), rng.uniform(0.5, 2, 5),
                         0.1, 0.1),
    test=_TEST + "test_gradient_is_the_derivative", lesson="15_softmax_cross_entropy_in_triton")
def cross_entropy_rows_gradient(x: Any, y: Any, w: Any = None, e: float = 0.0, zeta: float = 0.0) -> Any:
    """d(cross_entropy_rows + z_loss)/dx, by hand.

        dl/dx_j = a p_j - q_j + 2 zeta lse p_j,   p_j = exp(x_j - m) / s,   a = sum_j q_j
        q_j = (1-e) w_y [j = y] + (e/K) w_j [x_j > -inf]

    At the label, a p_y - q_y is formed as (a - q_y) - a r / s, where r / s = 1 - p_y is summed and not
    subtracted: as p_y -> 1 it keeps all its digits.

    Args:
        x: (N, V), logits.
        y: (N,), labels in [0, V).
        w: (V,), class weights; None is 1 for all.
        e: label smoothing in [0, 1).
        zeta: strength of the z-loss, >= 0.

    Returns:
        (N, V).

    Source: article sections 4.1 and 5.1, by the chain rule.
    """
    p, r_over_s, lse, _, _, of_label = _parts(x, y)
    one = (1 - e) * (np.ones_like(p[:, 0]) if w is None else w[y])  # (N,): the label's own share
    if e:
        _, share = _smoothing(x, w, e)  # (N, V)
        rest = np.sum(np.where(of_label, 0, share), axis=1)  # a - q_y
        a = one + np.sum(share, axis=1)
    else:
        share, rest, a = 0, 0 * one, one
    at_label = rest - a * r_over_s
    dx = np.where(of_label, at_label[:, None], a[:, None] * p - share)
    if zeta:
        dx = dx + (2 * zeta * lse)[:, None] * p
    return dx


def _parts(x: Any, y: Any) -> tuple[Any, ...]:
    """p (N, V), r / s, lse, nll, x_y (N,) and the place of the label (N, V)."""
    of_label = np.arange(x.shape[1]) == y[:, None]  # (N, V)
    m = _shift(x, 1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exp = np.exp(_below(x, m))
        e_y = np.sum(np.where(of_label, exp, 0), axis=1)
        r = np.sum(np.where(of_label, 0, exp), axis=1)
        s, x_y = r + e_y, np.sum(np.where(of_label, x, 0), axis=1)
        lse = m[:, 0] + np.log(s)
        near = e_y >= r
        # `where` keeps r / e_y in range on the side that is not taken: its derivative must not be nan
        nll = np.where(near, np.log1p(r / np.where(near, e_y, 1)), np.log(s) + (m[:, 0] - x_y))
        return exp / s[:, None], r / s, lse, nll, x_y, of_label


def _smoothing(x: Any, w: Any, e: float) -> tuple[Any, Any]:
    """Which classes are not -inf, and (e/K) w_j for those, else 0: both (N, V)."""
    kept = np.not_equal(x, -np.inf)
    K = np.sum(kept, axis=1).astype(x.dtype)  # (N,)
    with np.errstate(divide="ignore"):
        return kept, np.where(kept, (e / K)[:, None] * (1 if w is None else w), 0)
