"""Scaled dot-product attention, with a causal mask."""

import math
from typing import Any

import numpy as np


# GIVE minillm.formulas.softmax:_shift


# GIVE minillm.formulas.softmax:_below


# GIVE minillm.formulas.cross_entropy_rows:soft_cap


# TAKE minillm.formulas.attention_scores:dot_scores


def causal_mask(T: int, S: int) -> Any:
    """Which keys each query sees, if the queries are the last T of S positions: s <= t + S - T.

    Args:
        T: number of queries, <= S.
        S: number of keys.

    Returns:
        Booleans (T, S), True where query t sees key s.
    """
    # BEGIN SOLUTION
    return np.tril(np.ones((T, S), bool), S - T)
    # END SOLUTION


# TAKE minillm.formulas.attention_scores:attention_weights


def attention(q: Any, k: Any, v: Any, *, causal: bool = True, mask: Any = None) -> Any:
    """The values, averaged with weights softmax(q . k / sqrt(d)) over the keys that a query sees.

    Args:
        q: (..., T, d), queries, the last T of S positions.
        k: (..., S, d), keys.
        v: (..., S, e), values.
        causal: no query sees a later position.
        mask: boolean, True where a query may see a key; it broadcasts to (..., T, S). None: all.

    Returns:
        (..., T, e); 0 for a query that sees no key.
    """
    # BEGIN SOLUTION
    seen = causal_mask(q.shape[-2], k.shape[-2]) if causal else None  # (T, S)
    if mask is not None:
        seen = mask if seen is None else seen & mask
    return attention_weights(dot_scores(q, k), seen) @ v
    # END SOLUTION
