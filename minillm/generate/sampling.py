"""From logits to the next token."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from minillm import formulas

from . import filters


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. The filters come in this order, each on what the last one left:

    forbidden, repetition penalty, temperature, top-k, top-p, min-p; then softmax, and a draw.

    Attributes:
        temperature: > 0 sharpens (< 1) or flattens (> 1); 0 takes the most probable token, the first of
            equals: greedy search.
        top_k: >= 1, draw from the k most probable tokens; None for all.
        top_p: in (0, 1], draw from the fewest most probable tokens that together have at least top_p.
        min_p: in [0, 1], draw from the tokens with at least min_p times the probability of the likeliest.
        repetition_penalty: > 0; above 1 makes tokens of the text so far, prompt included, less likely.
        forbidden: ids that must not be drawn.

    Raises:
        ValueError: an option is out of range.

    Source: see each filter in filters.py; the order is that of transformers.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    forbidden: Collection[int] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < np.inf:
            raise ValueError(f"temperature = {self.temperature} must be finite and not negative")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k = {self.top_k} must be at least 1")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p = {self.top_p} is outside (0, 1]")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p = {self.min_p} is outside [0, 1]")
        if not 0 < self.repetition_penalty < np.inf:
            raise ValueError(f"repetition_penalty = {self.repetition_penalty} must be finite and positive")

    def distribution(self, logits: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
        """The probabilities that the next token of each row is drawn from.

        Args:
            logits: (..., V).
            seen: boolean, of the logits' shape: the tokens that each row's text holds; needed for a
                repetition penalty other than 1.

        Returns:
            The logits' shape, float64; each row sums to 1.

        Raises:
            ValueError: logits has no axis, a logit is nan or +inf (-inf is a token that is never drawn), seen
                is missing or has another shape, a forbidden id is out of range, or no token is left in a row.
        """
        x = np.array(logits, np.float64)
        if x.ndim == 0:
            raise ValueError("logits must have shape (..., V), not ()")
        broken = ~(x < np.inf)  # nan, too
        if broken.any():
            at = np.unravel_index(int(np.argmax(broken)), x.shape)
            raise ValueError(f"logits[{', '.join(map(str, at))}] = {x[at]} must be a number below infinity")
        if len(self.forbidden):
            x = filters.forbid(x, self.forbidden)
        if not (x > -np.inf).any(axis=-1).all():
            raise ValueError("no token is left to draw: every logit is -inf or forbidden")
        if self.repetition_penalty != 1:
            if seen is None or np.shape(seen) != x.shape:
                given = "missing" if seen is None else f"of shape {np.shape(seen)}"
                raise ValueError(f"seen is {given}: a repetition penalty needs a boolean array {x.shape}")
            x = filters.penalise_repetition(x, seen, self.repetition_penalty)
        if self.temperature == 0:
            return (np.arange(x.shape[-1]) == np.argmax(x, axis=-1)[..., None]).astype(np.float64)
        x = filters.temper(x, self.temperature)
        if self.top_k is not None:
            x = filters.keep_top_k(x, self.top_k)
        if self.top_p < 1:
            x = filters.keep_top_p(x, self.top_p)
        if self.min_p > 0:
            x = filters.keep_min_p(x, self.min_p)
        return formulas.softmax(x)


def next_token_distribution(logits: np.ndarray, *, temperature: float = 1.0, top_k: int | None = None,
                            top_p: float = 1.0, min_p: float = 0.0, repetition_penalty: float = 1.0,
                            seen: np.ndarray | None = None, forbidden: Collection[int] = ()) -> np.ndarray:
    """The probabilities that the next token is drawn from: softmax of the filtered logits.

    Args:
        logits: (..., V), any number of rows.
        temperature, top_k, top_p, min_p, repetition_penalty, forbidden: see `Sampling`.
        seen: boolean, of the logits' shape: the tokens that the text holds, for the repetition penalty.

    Returns:
        The logits' shape, float64; each row sums to 1.

    Raises:
        ValueError: see `Sampling` and `Sampling.distribution`.

    Source: see filters.py.
    """
    options = Sampling(temperature, top_k, top_p, min_p, repetition_penalty, forbidden)
    return options.distribution(logits, seen)


def draw(p: np.ndarray, u: np.ndarray) -> np.ndarray:
    """A token for each row, by the inverse of the distribution function: one number in [0, 1) decides.

        token = min {j : p_0 + ... + p_j > u (p_0 + ... + p_{V-1})}

    Args:
        p: (B, V), not negative, a positive number in each row.
        u: (B,), in [0, 1).

    Returns:
        (B,), ids; never one with p_j = 0.
    """
    cumulative = np.cumsum(p, axis=1)
    return (cumulative <= (u * cumulative[:, -1])[:, None]).sum(axis=1)


def generators(rng: int | np.random.Generator | Sequence[int | np.random.Generator], n_rows: int
               ) -> list[np.random.Generator]:
    """A random generator for each row of a batch, so that a row draws the same numbers in any company.

    Args:
        rng: a seed, from which row i gets child i; or a seed or a generator for each row. A row with a seed
            of its own draws what a batch of that row alone draws with this seed.
        n_rows: B.

    Raises:
        ValueError: a seed is negative, or there is not one for each row.
    """
    if isinstance(rng, np.random.Generator):
        rng = [rng]
    if isinstance(rng, int | np.integer):
        return [_child(rng, i) for i in range(n_rows)]
    if len(rng) != n_rows:
        raise ValueError(f"rng has {len(rng)} seeds or generators, the batch {n_rows} rows: give one for "
                         "each, or a single seed")
    return [one if isinstance(one, np.random.Generator) else _child(one, 0) for one in rng]


def _child(seed: int, i: int) -> np.random.Generator:
    if seed < 0:
        raise ValueError(f"rng = {seed} must not be negative")
    # PCG64 by name: what default_rng makes may be another generator in a later NumPy.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(i,))))
