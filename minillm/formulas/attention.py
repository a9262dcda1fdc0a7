"""Attention: each query takes the mean of the values, weighted by how its scores with the keys compare.

Twice: as it is defined, and tile by tile with a running softmax, which is how it is computed without ever
holding a T x S matrix (FlashAttention).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .attention_scores import attention_weights, dot_scores
from .ledger import equation

_TEST = "tests/formulas/test_attention.py::"
_FUSED = "minillm.autograd.fused:attention"
_SYMBOLS = {"q": "query of position t", "k": "key of position s", "v": "value of position s",
            "d": "size of a head", "T, S": "numbers of queries and of keys", "c": "soft cap, if there is one"}
_SYMBOLS_ZH = {"q": "位置 t 的查询", "k": "位置 s 的键", "v": "位置 s 的值", "d": "每个注意力头的维数",
               "T, S": "查询的个数、键的个数", "c": "得分的软上限（如果设置了）"}


def _example(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    return (rng.standard_normal((2, 4, 3, 2)), rng.standard_normal((2, 2, 5, 2)),
            rng.standard_normal((2, 2, 5, 3)))


@equation(
    "-", r"o_t = \sum_{s \in V_t} p_{ts} v_s,\quad p_{ts} = \frac{e^{a_{ts}}}{\sum_{r \in V_t} e^{a_{tr}}},"
    r"\quad a_{ts} = \frac{q_t \cdot k_s}{\sqrt{d}}",
    title="scaled dot-product attention", title_zh="缩放点积注意力",
    symbols={**_SYMBOLS, "V_t": "the positions that t sees", "p": "attention weights", "o": "output"},
    symbols_zh={**_SYMBOLS_ZH, "V_t": "位置 t 能看到的所有位置", "p": "注意力权重", "o": "输出"},
    source="Vaswani et al. 2017, section 3.2.1; grouped queries: Ainslie et al. 2023; cap: Gemma Team 2024",
    example=_example, fused=_FUSED, test=_TEST + "test_attention_by_hand",
    lesson="07_attention_and_transformer")
def attention(q: Any, k: Any, v: Any, *, causal: bool = True, mask: Any = None, scale: float | None = None,
              softcap: float | None = None) -> Any:
    """The values, averaged with weights softmax(scale q . k) over the keys that a query sees.

    The queries are the *last* T of the S positions: with causal=True query t sees the keys s <= t + S - T.
    For T = S that is the usual triangle; for T = 1 (a new token, S of them in the cache) it is everything.
    (torch's `is_causal` counts from the first position instead, which differs where T != S.)

    Args:
        q: (B, H, T, d), queries.
        k: (B, H_kv, S, d), keys; H_kv divides H, and query head h has key head h // (H / H_kv).
        v: (B, H_kv, S, e), values.
        causal: no query sees a later position.
        mask: boolean, True where a query may see a key; it broadcasts to (B, H, T, S). Padding of the
            keys is a mask (B, 1, 1, S). None: all.
        scale: of the scores; None is 1 / sqrt(d).
        softcap: c > 0 replaces each score a by c tanh(a / c); None: no cap.

    Returns:
        (B, H, T, e). A query that sees no key gets 0, and gives no gradient.

    Source: Vaswani et al. 2017, section 3.2.1; grouped queries: Ainslie et al. 2023; cap: Gemma Team 2024.
    """
    T, S = q.shape[2], k.shape[2]
    k, v = _repeat_heads(k, q.shape[1]), _repeat_heads(v, q.shape[1])  # (B, H, S, d), (B, H, S, e)
    a = dot_scores(q, k, scale=scale, softcap=softcap)  # (B, H, T, S)
    return attention_weights(a, _seen(a, S - T, causal, mask)) @ v  # (B, H, T, e)


@equation(
    "-", r"m' = \max(m, \max_{s \in \mathrm{tile}} a_{ts}) \\ "
    r"l' = e^{m - m'} l + \sum_{s \in \mathrm{tile}} e^{a_{ts} - m'} \\ "
    r"o' = e^{m - m'} o + \sum_{s \in \mathrm{tile}} e^{a_{ts} - m'} v_s,"
    r"\qquad o_t = o / l \text{ after the last tile}",
    title="attention by tiles, with a running softmax", title_zh="分块注意力（在线 Softmax）",
    symbols={**_SYMBOLS, "a": "scores of a tile of keys", "m": "largest score so far",
             "l": "sum of exponentials so far", "o": "sum of weighted values so far"},
    symbols_zh={**_SYMBOLS_ZH, "a": "一块键的得分", "m": "到目前为止的最大得分",
                "l": "到目前为止的指数之和", "o": "到目前为止值的加权和"},
    source="Dao et al. 2022, FlashAttention, algorithm 1; running softmax: Milakov & Gimelshein 2018",
    example=lambda rng: (*_example(rng), 2), fused=_FUSED,
    test=_TEST + "test_tiled_attention_equals_attention", lesson="07_attention_and_transformer")
def tiled_attention(q: Any, k: Any, v: Any, tile: int = 64, *, causal: bool = True, mask: Any = None,
                    scale: float | None = None, softcap: float | None = None) -> Any:
    """What `attention` gives, from one pass over tiles of keys: no more than T x tile scores at a time.

    When a tile brings a larger score, what has been summed so far is scaled down by e^(m - m').

    Args:
        q: (B, H, T, d). k: (B, H_kv, S, d). v: (B, H_kv, S, e).
        tile: number of keys at a time, >= 1.
        causal, mask, scale, softcap: as for `attention`.

    Returns:
        (B, H, T, e).

    Source: Dao et al. 2022, FlashAttention, algorithm 1; running softmax: Milakov & Gimelshein 2018.
    """
    H, T, S = q.shape[1], q.shape[2], k.shape[2]
    k, v = _repeat_heads(k, H), _repeat_heads(v, H)  # (B, H, S, d), (B, H, S, e)
    if mask is not None:
        mask = np.broadcast_to(mask, (*q.shape[:3], S))
    l = np.zeros_like(q[..., :1])  # (B, H, T, 1)
    m, o = l - np.inf, np.zeros_like(q[..., :1] * v[:, :, :1])  # (B, H, T, 1), (B, H, T, e)
    for start in range(0, S, tile):
        end = start + tile
        a = dot_scores(q, k[:, :, start:end], scale=scale, softcap=softcap)  # (B, H, T, tile)
        seen = _seen(a, S - T - start, causal, None if mask is None else mask[..., start:end])
        if seen is not None:
            a = np.where(seen, a, -np.inf)
        largest = np.maximum(m, np.max(a, axis=-1, keepdims=True))
        shift = np.where(largest == -np.inf, 0, largest)  # nothing seen yet: every e^(-inf - 0) is 0
        e, shrink = np.exp(a - shift), np.exp(m - shift)
        l = shrink * l + np.sum(e, axis=-1, keepdims=True)
        o = shrink * o + e @ v[:, :, start:end]
        m = largest
    return o / np.where(l == 0, 1, l)  # 1 in place of 0, where a query sees nothing


def _repeat_heads(x: Any, H: int) -> Any:
    """(B, H_kv, S, d) -> (B, H, S, d), every head H / H_kv times in a row."""
    B, H_kv, S, d = x.shape
    if H_kv == H:
        return x
    groups = np.broadcast_to(np.expand_dims(x, 2), (B, H_kv, H // H_kv, S, d))
    return np.reshape(groups, (B, H, S, d))


def _seen(a: Any, offset: int, causal: bool, mask: Any) -> Any:
    """Which keys each query sees, as booleans of a's shape or one that broadcasts to it; None: all."""
    if not causal:
        return mask
    triangle = np.tril(np.ones_like(a, bool), offset)  # s <= t + offset
    return triangle if mask is None else triangle & mask
