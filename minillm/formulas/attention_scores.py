"""Attention's two halves: how well a query and a key fit (three scores), and the weights that follow.

Additive scores came first (Bahdanau), with an LSTM's state for the query; then products of the two (Luong),
which are one matrix product; scaled by 1 / sqrt(d) the product is the transformer's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .cross_entropy_rows import soft_cap
from .ledger import equation
from .softmax import _below, _shift

_TEST = "tests/formulas/test_attention_scores.py::"
_SYMBOLS = {"a": "scores", "q": "query of position t", "k": "key of position s"}
_SYMBOLS_ZH = {"a": "得分", "q": "位置 t 的查询", "k": "位置 s 的键"}


@equation(
    "-", r"a_{ts} = v^\top \tanh(q_t + k_s),\quad q_t = W h_t,\quad k_s = U m_s",
    title="additive scores", title_zh="加性注意力得分",
    symbols={**_SYMBOLS, "v": "weights of the score", "h_t": "state of the decoder",
             "m_s": "state of the encoder", "W, U": "projections"},
    symbols_zh={**_SYMBOLS_ZH, "v": "计算得分的权重向量", "h_t": "解码器的状态", "m_s": "编码器的状态",
                "W, U": "投影矩阵"},
    example=lambda rng: (rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 5, 4)),
                         rng.standard_normal(4)),
    source="Bahdanau, Cho & Bengio 2015, section 3.1 and appendix A.1.2",
    test=_TEST + "test_additive_scores_by_hand", lesson="07_attention_and_transformer")
def additive_scores(q: Any, k: Any, v: Any) -> Any:
    """v . tanh(q_t + k_s): a network with one hidden layer says how well t and s fit.

    Queries and keys come projected, W h_t and U m_s: the keys of a source are projected once, not at
    every step.

    Args:
        q: (..., T, A), projected queries.
        k: (..., S, A), projected keys.
        v: (A,).

    Returns:
        (..., T, S). T x S x A numbers are held on the way.

    Source: Bahdanau, Cho & Bengio 2015, section 3.1 and appendix A.1.2.
    """
    return np.tanh(np.expand_dims(q, -2) + np.expand_dims(k, -3)) @ v  # (..., T, S, A) -> (..., T, S)


@equation(
    "-", r"a_{ts} = \beta\,q_t \cdot k_s",
    title="dot-product scores", title_zh="点积注意力得分",
    symbols={**_SYMBOLS, r"\beta": "scale: 1 in Luong et al., 1 / sqrt(d) in Vaswani et al.",
             "d": "length of a query"},
    symbols_zh={**_SYMBOLS_ZH, r"\beta": "缩放系数：Luong 等人取 1，Vaswani 等人取 1 / sqrt(d)",
                "d": "查询向量的维数"},
    example=lambda rng: (rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 5, 4))),
    source="Luong, Pham & Manning 2015, section 3.1; scaled: Vaswani et al. 2017, section 3.2.1",
    test=_TEST + "test_products_as_scores_by_hand", lesson="07_attention_and_transformer")
def dot_scores(q: Any, k: Any, *, scale: float | None = None, softcap: float | None = None) -> Any:
    """scale q_t . k_s, capped if asked for.

    Args:
        q: (..., T, d), queries.
        k: (..., S, d), keys.
        scale: of the products; None is 1 / sqrt(d).
        softcap: c > 0 replaces each score a by c tanh(a / c); None: no cap.

    Returns:
        (..., T, S).

    Source: Luong, Pham & Manning 2015, section 3.1; scaled: Vaswani et al. 2017, section 3.2.1.
    """
    a = (q * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)) @ np.swapaxes(k, -1, -2)
    return a if softcap is None else soft_cap(a, softcap)


@equation(
    "-", r"a_{ts} = q_t^\top W k_s",
    title="general scores", title_zh="双线性注意力得分",
    symbols={**_SYMBOLS, "W": "matrix of the score"},
    symbols_zh={**_SYMBOLS_ZH, "W": "计算得分的权重矩阵"},
    example=lambda rng: (rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 5, 3)),
                         rng.standard_normal((4, 3))),
    source="Luong, Pham & Manning 2015, section 3.1", test=_TEST + "test_products_as_scores_by_hand",
    lesson="07_attention_and_transformer")
def general_scores(q: Any, k: Any, W: Any) -> Any:
    """q_t W k_s: a product of two states that need be neither alike nor of one length.

    Args:
        q: (..., T, d), queries.
        k: (..., S, e), keys.
        W: (d, e).

    Returns:
        (..., T, S).

    Source: Luong, Pham & Manning 2015, section 3.1.
    """
    return dot_scores(q @ W, k, scale=1.0)


@equation(
    "-", r"p_{ts} = \frac{e^{a_{ts}}}{\sum_{r \in V_t} e^{a_{tr}}}\ (s \in V_t),\quad "
    r"p_{ts} = 0\ (s \notin V_t)",
    title="attention weights", title_zh="注意力权重",
    symbols={"a": "scores", "V_t": "the positions that t sees", "p": "weights"},
    symbols_zh={"a": "得分", "V_t": "位置 t 能看到的所有位置", "p": "注意力权重"},
    example=lambda rng: (rng.standard_normal((2, 3, 4)),
                         np.array([[True, False, True, True], [False] * 4, [True] * 4])),
    source="Bahdanau, Cho & Bengio 2015, section 3.1; Vaswani et al. 2017, section 3.2.1",
    test=_TEST + "test_attention_weights_by_hand", lesson="07_attention_and_transformer")
def attention_weights(a: Any, seen: Any = None) -> Any:
    """Softmax of the scores over the keys that a query sees.

    Args:
        a: (..., T, S), scores.
        seen: boolean, True where a query sees a key; it broadcasts to a's shape. None: all.

    Returns:
        a's shape; a row sums to 1, or is 0 where the query sees no key.

    Source: Bahdanau, Cho & Bengio 2015, section 3.1; Vaswani et al. 2017, section 3.2.1.
    """
    if seen is not None:
        a = np.where(seen, a, -np.inf)
    e = np.exp(_below(a, _shift(a, -1)))
    l = np.sum(e, axis=-1, keepdims=True)
    return e / np.where(l == 0, 1, l)  # 1 in place of 0, where a query sees nothing
