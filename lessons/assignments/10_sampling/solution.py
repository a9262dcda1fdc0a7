"""From logits to the next token: temperature, top-k, top-p, and the draw."""

from typing import Any

import numpy as np


# GIVE minillm.formulas.softmax:_shift


# GIVE minillm.formulas.softmax:_below


# GIVE minillm.formulas.softmax:softmax


# TAKE minillm.generate.filters:temper


# TAKE minillm.generate.filters:keep_top_k


def keep_top_p(logits: np.ndarray, top_p: float) -> np.ndarray:
    """The nucleus: the fewest most probable tokens that together have at least top_p.

    Of equals at the border, those with the smaller ids are kept; the most probable token always is.

    Args:
        logits: (B, V); -inf is a token that is never drawn.
        top_p: in (0, 1]; 1 cuts nothing.

    Source: Holtzman et al. 2020, section 3.1.
    """
    # BEGIN SOLUTION
    if top_p >= 1:
        return logits
    p = softmax(logits)
    order = np.argsort(-p, axis=-1, kind="stable")
    sorted_p = np.take_along_axis(p, order, axis=-1)
    before = np.cumsum(sorted_p, axis=-1) - sorted_p  # what lies before a token
    needed = before < top_p
    needed[:, 0] = True
    nucleus = np.zeros(p.shape, bool)
    np.put_along_axis(nucleus, order, needed, axis=-1)
    return np.where(nucleus, logits, -np.inf)
    # END SOLUTION


# TAKE minillm.generate.sampling:draw


def next_token(logits: np.ndarray, u: np.ndarray, *, temperature: float = 1.0, top_k: int | None = None,
               top_p: float = 1.0) -> np.ndarray:
    """A token for each row: temperature, top-k, top-p, softmax, draw.

    Args:
        logits: (B, V).
        u: (B,), in [0, 1), what decides.
        temperature: >= 0; 0 takes the most probable token, the first of equals.
        top_k: >= 1, or None for all.
        top_p: in (0, 1].

    Returns:
        (B,), ids.
    """
    # BEGIN SOLUTION
    if temperature == 0:
        return np.argmax(logits, axis=-1)
    x = temper(logits, temperature)
    if top_k is not None:
        x = keep_top_k(x, top_k)
    x = keep_top_p(x, top_p)
    return draw(softmax(x), u)
    # END SOLUTION
