"""What is done to the scores before a token is drawn: each filter a function from logits to logits.

A filter takes logits (..., V), any number of rows, and returns new ones; what it takes away is -inf. No row
influences another. `Sampling` in sampling.py says in which order they come.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from minillm import formulas


def forbid(logits: np.ndarray, ids: Collection[int]) -> np.ndarray:
    """Logits (..., V) in which `ids` are -inf. Raises ValueError for an id outside [0, V)."""
    V = logits.shape[-1]
    for i in ids:
        if not 0 <= i < V:
            raise ValueError(f"forbidden id {i} is outside [0, {V})")
    x = logits.copy()
    x[..., list(ids)] = -np.inf
    return x


def penalise_repetition(logits: np.ndarray, seen: np.ndarray, penalty: float) -> np.ndarray:
    """Make tokens that were there before less likely (penalty > 1) or more (penalty < 1).

        x_j -> x_j / penalty if x_j > 0, else x_j penalty,   for each token j of the text so far

    Args:
        logits: (..., V).
        seen: boolean, of the logits' shape: which tokens the text of each row holds.
        penalty: > 0; 1 changes nothing.

    Source: Keskar et al. 2019, CTRL, section 4.1, with the product for scores below 0 as in transformers.
    """
    return np.where(seen, np.where(logits > 0, logits / penalty, logits * penalty), logits)


def temper(logits: np.ndarray, temperature: float) -> np.ndarray:
    """(logits - their largest) / temperature, for temperature > 0.

    The largest comes off first, which softmax does not see: then nothing overflows but to -inf, and there
    that is right.

    Source: Ackley, Hinton & Sejnowski 1985.
    """
    with np.errstate(over="ignore"):
        return (logits - logits.max(axis=-1, keepdims=True)) / temperature


def keep_top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """The k largest logits of each row; of equals at the border, those with the smaller ids.

    Source: Fan, Lewis & Dauphin 2018, Hierarchical Neural Story Generation.
    """
    V = logits.shape[-1]
    if k >= V:
        return logits
    border = np.partition(logits, V - k, axis=-1)[..., V - k, None]  # (..., 1)
    above, at = logits > border, logits == border
    room = k - above.sum(axis=-1, keepdims=True)
    return np.where(above | at & (np.cumsum(at, axis=-1) <= room), logits, -np.inf)


def keep_top_p(logits: np.ndarray, top_p: float) -> np.ndarray:
    """The nucleus: the fewest most probable tokens that together have at least top_p.

    Of equals at the border, those with the smaller ids are kept; the most probable token always is.

    Source: Holtzman et al. 2020, section 3.1.
    """
    if top_p >= 1:  # a sum may round to 1 before the last token, and 1 is to cut nothing
        return logits
    p = formulas.softmax(logits)
    x = np.full_like(logits, -np.inf)
    # V tokens with less than (1 - top_p) / V each have less than 1 - top_p together, so none of them is
    # needed, and sorting the few others is much less work. Half of that leaves room for rounding.
    least = (1 - top_p) / (2 * logits.shape[-1])
    for row in np.ndindex(p.shape[:-1]):
        likely = np.flatnonzero(p[row] >= least)
        order = likely[np.argsort(-p[row][likely], kind="stable")]
        before = np.cumsum(p[row][order])[:-1]
        nucleus = order[:1 + int((before < top_p).sum())]  # what lies before a token is not yet enough
        x[row][nucleus] = logits[row][nucleus]
    return x


def keep_min_p(logits: np.ndarray, min_p: float) -> np.ndarray:
    """The tokens with p_j >= min_p max_i p_i, for min_p in [0, 1]: a nucleus that is wide where p is flat.

    Source: Nguyen et al. 2024, arXiv:2407.01082.
    """
    with np.errstate(over="ignore"):
        share = np.exp(logits - logits.max(axis=-1, keepdims=True))  # p_j / max p, exactly 1 at the top
    return np.where(share >= min_p, logits, -np.inf)
