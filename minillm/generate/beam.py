"""Beam search: of all texts, one that the model finds probable, by keeping the best few prefixes."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from minillm import formulas
from minillm.autograd import no_grad
from minillm.autograd.devices import to_host

from .batch import LanguageModel, check_length, checked_prompts
from .filters import forbid

_LARGEST_LOG = 400.0  # of a divisor: scores stay far from where float64 ends, at e^709


@dataclass(frozen=True)
class Hypothesis:
    """A text that beam search found.

    Attributes:
        ids: without the prompt; an end token is the last.
        log_p: log of their probability after the prompt, in nats.
        score: log_p over the length penalty, by which texts are ranked.
        reason: "eos" or "length".
    """

    ids: list[int]
    log_p: float
    score: float
    reason: str


def beam_search(model: LanguageModel, prompt: Any, n_tokens: int, *, n_beams: int = 4, n_best: int = 1,
                eos: Collection[int] = (), length_penalty: float = 1.0,
                normalisation: Literal["power", "gnmt"] = "power", early_stopping: bool = False,
                forbidden: Collection[int] = ()) -> list[Hypothesis]:
    """The most probable texts after a prompt, as far as n_beams prefixes of each length show.

        score = log p(ids | prompt) / penalty(len(ids))

    Each step takes the best continuations of the prefixes, by log p. Those among the first n_beams that end
    are kept as results, the n_beams best of them by score; the n_beams best that do not end go on.

    Args:
        model: see `LanguageModel`, an encoder-decoder `given` one source too; put it in eval mode.
        prompt: (T,), at least one id.
        n_tokens: longest text.
        n_beams: 1 is greedy search.
        n_best: how many texts to return, at most n_beams.
        eos: ids that end a text.
        length_penalty: alpha of `length_divisor`; 0 ranks by probability, more favours longer texts.
        normalisation: which `length_divisor`.
        early_stopping: True ends the search when n_beams texts have ended. False goes on until no prefix
            can still become one of the n_beams best, which is transformers' "never".
        forbidden: ids that are not used; the others share their probability.

    Returns:
        At most n_best texts, best score first. There are fewer where fewer are possible.

    Raises:
        ValueError: the prompt is empty, an option is out of range, the text is too long for the model, or
            the model gives a score that is nan or infinite.

    Source: Graves 2012; Wu et al. 2016, section 7. Ends as in Hugging Face's transformers.
    """
    text, = checked_prompts([prompt])
    for name, value in (("n_tokens", n_tokens), ("n_beams", n_beams), ("n_best", n_best)):
        if value < 1:
            raise ValueError(f"{name} = {value} must be at least 1")
    if n_best > n_beams:
        raise ValueError(f"n_best = {n_best} must be at most n_beams = {n_beams}")
    check_length_penalty(length_penalty, n_tokens, normalisation)
    if model.max_length is not None:
        check_length(len(text), n_tokens, model.max_length)
    eos = frozenset(eos)
    early = early_stopping or n_beams == 1  # a single beam that has ended is the result
    cache = model.new_cache(1, len(text) + n_tokens - 1)
    ids = np.array([text])  # (R, T), what each of the R beams reads next
    beams: list[list[int]] = [[]]
    sums = np.zeros(1)  # (R,), log p of each beam
    found: list[Hypothesis] = []
    for length in range(1, n_tokens + 1):
        with no_grad():
            log_p = sums[:, None] + _log_probabilities(to_host(model.next_logits(ids, cache).data), forbidden)
        V = log_p.shape[1]
        divisor = length_divisor(length, length_penalty, normalisation)
        going: list[tuple[int, int, float]] = []  # (beam, token, log p)
        # Enough to find n_beams that do not end, whatever else does.
        for rank, place in enumerate(_largest(log_p.ravel(), (1 + len(eos)) * n_beams)):
            beam, token = divmod(int(place), V)
            total = float(log_p[beam, token])
            if token not in eos and length < n_tokens:
                going.append((beam, token, total))
            elif rank < n_beams:
                reason = "eos" if token in eos else "length"
                found.append(Hypothesis([*beams[beam], token], total, total / divisor, reason))
        found = sorted(found, key=lambda h: -h.score)[:n_beams]
        going = going[:n_beams]
        if not going:
            break
        if len(found) == n_beams:
            hope = going[0][2] / _best_divisor(length, n_tokens, length_penalty, normalisation)
            if early or hope <= found[-1].score:
                break
        rows = np.array([beam for beam, _, _ in going])
        beams = [[*beams[beam], token] for beam, token, _ in going]
        sums = np.array([total for _, _, total in going])
        ids = np.array([[token] for _, token, _ in going])
        cache.take(rows)
    return found[:n_best]


def length_divisor(length: int, alpha: float, normalisation: str = "power") -> float:
    """What log p of a text of `length` tokens, the end token included, is divided by.

        power: length^alpha, as in Hugging Face's transformers;   gnmt: ((5 + length) / 6)^alpha

    Raises:
        ValueError: normalisation is neither.

    Source: gnmt: Wu et al. 2016, equation 14.
    """
    if normalisation == "power":
        return float(length ** alpha)
    if normalisation == "gnmt":
        return float(((5 + length) / 6) ** alpha)
    raise ValueError(f"normalisation = {normalisation!r} must be 'power' or 'gnmt'")


def check_length_penalty(alpha: float, n_tokens: int, normalisation: str = "power") -> None:
    """Raise ValueError if the `length_divisor` of a text of up to `n_tokens` is no number to divide by."""
    if not math.isfinite(alpha):
        raise ValueError(f"length_penalty = {alpha} must be finite")
    length_divisor(1, alpha, normalisation)  # which normalisation
    base = n_tokens if normalisation == "power" else (5 + n_tokens) / 6
    if abs(alpha) * math.log(base) > _LARGEST_LOG:
        largest = _LARGEST_LOG / math.log(base)
        raise ValueError(f"length_penalty = {alpha} is too far from 0 for {n_tokens} tokens: it must be in "
                         f"[-{largest:.4g}, {largest:.4g}]")


def _best_divisor(length: int, n_tokens: int, alpha: float, normalisation: str) -> float:
    """The largest divisor of a text that is longer than `length`: log p < 0 only falls as it grows."""
    return max(length_divisor(n, alpha, normalisation) for n in (length + 1, n_tokens))


def _log_probabilities(logits: np.ndarray, forbidden: Collection[int]) -> np.ndarray:
    """log softmax of (R, V) in float64, without the forbidden ids."""
    x = logits.astype(np.float64)
    if not (x < np.inf).all():
        at = np.unravel_index(int(np.argmin(x < np.inf)), x.shape)
        raise ValueError(f"logits[{', '.join(map(str, at))}] = {x[at]} must be a number below infinity")
    if len(forbidden):
        x = forbid(x, forbidden)
    if not (x > -np.inf).any(axis=-1).all():
        raise ValueError("no token is left: every logit is -inf or forbidden")
    return formulas.log_softmax(x)


def _largest(x: np.ndarray, k: int) -> np.ndarray:
    """The places of the k largest numbers above -inf, the largest first, of equals the first."""
    if k < len(x):
        border = np.partition(x, len(x) - k)[len(x) - k]
        candidates = np.flatnonzero(x >= border)
    else:
        candidates = np.arange(len(x))
    order = candidates[np.argsort(-x[candidates], kind="stable")][:k]
    return order[x[order] > -np.inf]
