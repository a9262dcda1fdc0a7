"""From logits to the next token: temperature, top-k, top-p."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from minillm import formulas
from minillm.autograd import no_grad
from minillm.autograd.devices import to_host


def next_token_distribution(logits: np.ndarray, *, temperature: float = 1.0, top_k: int | None = None,
                            top_p: float = 1.0, forbidden: Collection[int] = ()) -> np.ndarray:
    """The probabilities that the next token is drawn from.

        p = softmax(logits / temperature), cut to the top_k most probable tokens, then to the
        smallest set of most probable tokens that together have at least top_p, and rescaled.

    Args:
        logits: (V,).
        temperature: > 0 sharpens (< 1) or flattens (> 1); 0 takes the most probable token.
        top_k: >= 1, or None for all.
        top_p: in (0, 1].
        forbidden: ids that must not be drawn.

    Returns:
        (V,), float64, sums to 1.

    Raises:
        ValueError: logits is not (V,), a logit is nan or +inf (-inf is a token that is never drawn),
            an option or a forbidden id is out of range, or no token is left.

    Source: temperature: Ackley et al. 1985; top-k: Fan et al. 2018; top-p: Holtzman et al. 2020.
    """
    check_options(temperature, top_k, top_p)
    x = np.array(logits, np.float64)
    if x.ndim != 1:
        raise ValueError(f"logits must have shape (V,), not {x.shape}")
    broken = ~(x < np.inf)  # nan, too
    if broken.any():
        i = int(np.argmax(broken))
        raise ValueError(f"logits[{i}] = {x[i]} must be a number below infinity")
    for i in forbidden:
        if not 0 <= i < len(x):
            raise ValueError(f"forbidden id {i} is outside [0, {len(x)})")
        x[i] = -np.inf
    if not (x > -np.inf).any():
        raise ValueError("no token is left to draw: every logit is -inf or forbidden")
    if temperature == 0:
        return (np.arange(len(x)) == np.argmax(x)).astype(np.float64)
    with np.errstate(over="ignore"):  # below the largest logit -inf is right, so it comes off first
        p = formulas.softmax((x - x.max()) / temperature)
    order = np.argsort(-p, kind="stable")
    keep = np.ones(len(p), bool)
    if top_p < 1:  # the sum may round to 1 before the last token, and 1 is to cut nothing
        keep[1:] = np.cumsum(p[order])[:-1] < top_p  # what lies before a token is not yet enough
    if top_k is not None:
        keep[top_k:] = False
    p[order[~keep]] = 0
    return p / p.sum()


def check_options(temperature: float, top_k: int | None, top_p: float) -> None:
    """Raise ValueError, in one line, for options that `next_token_distribution` cannot use."""
    if not 0 <= temperature < np.inf:
        raise ValueError(f"temperature = {temperature} must be finite and not negative")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k = {top_k} must be at least 1")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p = {top_p} is outside (0, 1]")


def generate(model: Any, prompt: np.ndarray, n_tokens: int, *, rng: np.random.Generator,
             temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0,
             forbidden: Collection[int] = ()) -> Iterator[int]:
    """Let a language model go on after `prompt`, token by token.

    The model's state is carried, so each token costs one step, however long the text is.

    Args:
        model: `model(ids (1, T), state) -> (logits (1, T, V), state)`; put it in eval mode.
        prompt: (T,), at least one id.
        n_tokens: how many to draw.
        rng: the same generator state gives the same tokens.
        temperature, top_k, top_p, forbidden: see `next_token_distribution`.

    Yields:
        The ids, each as soon as it is drawn.

    Raises:
        ValueError: the prompt is empty, or an option is out of range.
    """
    if len(prompt) == 0:
        raise ValueError("the prompt is empty: give at least one token")
    check_options(temperature, top_k, top_p)
    ids, state = np.asarray(prompt)[None], None  # (1, T)
    for _ in range(n_tokens):
        with no_grad():
            logits, state = model(ids, state)
        p = next_token_distribution(to_host(logits.data[0, -1]), temperature=temperature, top_k=top_k,
                                    top_p=top_p, forbidden=forbidden)
        # By the inverse of the distribution function: one number a token, on every NumPy release.
        cumulative = np.cumsum(p)
        token = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        yield token
        ids = np.array([[token]])
