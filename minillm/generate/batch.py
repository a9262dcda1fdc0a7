"""Token by token: the loop that reads with a cache, draws, and lets rows that have ended go."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from minillm.autograd import no_grad
from minillm.autograd.devices import to_host
from minillm.models.encoder_decoder import Given

from .sampling import Sampling, draw, generators


class LanguageModel(Protocol):
    """What generation needs: `GPT`, `Llama`, `LSTMLanguageModel`, or an encoder-decoder `given` a source."""

    @property
    def max_length(self) -> int | None:
        """Longest text that it can read; None: any."""

    def new_cache(self, batch_size: int, max_length: int, start: Any = None) -> Any:
        """Room for what it has read. start: (B,), where each row begins behind its padding."""

    def next_logits(self, ids: Any, cache: Any) -> Any:
        """The scores (B, V) for the token after `ids` (B, T), which are read behind what the cache holds."""


def generate(model: LanguageModel, prompt: Any, n_tokens: int, *,
             rng: int | np.random.Generator = 0, eos: Collection[int] = (), window: bool = False,
             **sampling: Any) -> Iterator[int]:
    """Let a language model go on after one prompt, token by token.

    What was read is kept in a cache, so each token costs one step, however long the text is.

    Args:
        model: see `LanguageModel`; put it in eval mode.
        prompt: (T,), at least one id.
        n_tokens: how many to draw at most.
        rng: a seed, or a generator; one number a token is taken. The same seed gives the same tokens.
        eos: ids that end the text.
        window: see `Batch`.
        sampling: temperature, top_k, top_p, min_p, repetition_penalty, forbidden: see `Sampling`.

    Yields:
        The ids, each as soon as it is drawn; an id of `eos` is the last.

    Raises:
        ValueError: the prompt is empty, an option is out of range, or the text is too long for the model.
    """
    batch = Batch(model, [prompt], n_tokens, rng=[rng], eos=eos, window=window, **sampling)
    return (token for _, token in batch)


class Batch:
    """Texts that grow together, a token each a step: iterate over it to get (row, token) as they are drawn.

    Prompts of unequal length are padded on the left. Rows that have ended are dropped from the cache and
    cost nothing any more. A row's draws depend on its seed and its logits alone, not on its company.

    Args:
        model: see `LanguageModel`; put it in eval mode.
        prompts: B sequences of ids, each with at least one.
        n_tokens: how many to draw for each row at most.
        rng: a seed, or one (or a generator) for each row: see `generators`.
        eos: ids that end a row.
        window: what happens when a text reaches the model's max_length. False: such a request is refused.
            True: the row is read anew from the last half of max_length on, and goes on; of a longer prompt
            the last max_length tokens are read. The target of an encoder-decoder is refused in any case:
            without its beginning it is nothing that the model learned from.
        sampling: temperature, top_k, top_p, min_p, repetition_penalty, forbidden: see `Sampling`.

    Attributes:
        texts: a list of ids for each row, the prompt and what was drawn.
        reasons: for each row why it ended: "eos", "length" (n_tokens were drawn) or "stop" (`stop` was
            called); None while it grows.

    Raises:
        ValueError: a prompt is empty, an option is out of range, or a text may outgrow the model.
    """

    def __init__(self, model: LanguageModel, prompts: Sequence[Any], n_tokens: int, *,
                 rng: int | np.random.Generator | Sequence[int | np.random.Generator] = 0,
                 eos: Collection[int] = (), window: bool = False, **sampling: Any) -> None:
        self.sampling = Sampling(**sampling)
        self.texts = checked_prompts(prompts)
        if n_tokens < 1:
            raise ValueError(f"n_tokens = {n_tokens} must be at least 1")
        longest, limit = max(map(len, self.texts)), model.max_length
        if limit is not None and isinstance(model, Given):
            check_length(longest, n_tokens, limit, " (window=True is not for an encoder-decoder)" * window)
        elif limit is not None and not window:
            check_length(longest, n_tokens, limit, " (or window=True)")
        self.reasons: list[str | None] = [None] * len(self.texts)
        self._model, self._eos, self._limit = model, frozenset(eos), limit
        self._rngs = generators(rng, len(self.texts))
        self._end = [len(text) + n_tokens for text in self.texts]
        # The last token is drawn and never read.
        self._room = longest + n_tokens - 1 if limit is None else min(longest + n_tokens - 1, limit)
        self._begin = [0] * len(self.texts)  # where in its text each row's cache begins
        self._rows: list[int] = []  # the row of the text in each row of the cache
        self._cache: Any = None
        self._seen: np.ndarray | None = None  # (B, V), for the repetition penalty

    def __iter__(self) -> Iterator[tuple[int, int]]:
        while drawn := self.step():
            yield from drawn

    def stop(self, row: int) -> None:
        """End a row, unless it has ended: its text holds all that was wanted."""
        self.reasons[row] = self.reasons[row] or "stop"

    def step(self) -> list[tuple[int, int]]:
        """Draw a token for each row that has not ended: (row, token), by row; nothing when all have."""
        rows = [row for row, reason in enumerate(self.reasons) if reason is None]
        if not rows:
            return []
        with no_grad():
            logits = to_host(self._read(rows).data)  # (B', V)
        p = self.sampling.distribution(logits, self._tokens_seen(rows, logits.shape))
        if self.sampling.temperature == 0:
            tokens = p.argmax(axis=1)
        else:
            tokens = draw(p, np.array([self._rngs[row].random() for row in rows]))
        drawn = [(row, int(token)) for row, token in zip(rows, tokens, strict=True)]
        for row, token in drawn:
            self.texts[row].append(token)
            if self._seen is not None:
                self._seen[row, token] = True
            if token in self._eos:
                self.reasons[row] = "eos"
            elif len(self.texts[row]) == self._end[row]:
                self.reasons[row] = "length"
        return drawn

    def _read(self, rows: list[int]) -> Any:
        """The scores after the texts of `rows`, with as little reading as the cache allows."""
        full = self._cache is not None and self._cache.length == self._room
        if self._cache is None or full:
            return self._read_anew(rows)
        if rows != self._rows:
            place = {row: i for i, row in enumerate(self._rows)}
            self._cache.take(np.array([place[row] for row in rows]))
            self._rows = rows
        return self._model.next_logits(np.array([self.texts[row][-1:] for row in rows]), self._cache)

    def _read_anew(self, rows: list[int]) -> Any:
        """Read the prompts, or, where the window is full, what it is to begin with.

        A row is cut when it is too long itself, and not when another is: its context is what it would be
        without company.
        """
        for row in rows:
            n = len(self.texts[row])
            if self._limit is not None and n - self._begin[row] > self._limit:
                self._begin[row] = n - (self._limit if self._cache is None else max(1, self._limit // 2))
        parts = [self.texts[row][self._begin[row]:] for row in rows]
        ids, start = left_padded(parts)
        self._rows = rows
        self._cache = self._model.new_cache(len(rows), self._room, start)
        return self._model.next_logits(ids, self._cache)

    def _tokens_seen(self, rows: list[int], shape: tuple[int, ...]) -> np.ndarray | None:
        if self.sampling.repetition_penalty == 1:
            return None
        if self._seen is None:
            self._seen = np.zeros((len(self.texts), shape[1]), bool)
            for row, text in enumerate(self.texts):
                self._seen[row, text] = True
        return self._seen[rows]


def checked_prompts(prompts: Sequence[Any]) -> list[list[int]]:
    """The prompts as lists of ids. Raises ValueError if one is empty or is no sequence of integers."""
    if len(prompts) == 0:
        raise ValueError("there is no prompt: give at least one")
    texts = []
    for i, prompt in enumerate(prompts):
        ids = np.asarray(prompt)
        which = f"prompts[{i}]" if len(prompts) > 1 else "the prompt"
        if ids.size == 0:
            raise ValueError(f"{which} is empty: give at least one token")
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise ValueError(f"{which} must be (T,) integers, not {ids.dtype} of shape {ids.shape}")
        texts.append(ids.tolist())
    return texts


def check_length(prompt: int, n_tokens: int, limit: int, way_out: str = "") -> None:
    """Raise ValueError if `n_tokens` after `prompt` tokens are more than a model of max_length can read."""
    if prompt + n_tokens - 1 > limit:
        room = max(0, limit + 1 - prompt)
        raise ValueError(f"a prompt of {prompt} and n_tokens = {n_tokens} are too long for the model's "
                         f"max_length = {limit}: at most {room} fit behind this prompt{way_out}")


def left_padded(texts: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray | None]:
    """(ids (B, T), start (B,)): the texts side by side, their ends aligned; start is None without padding."""
    T = max(map(len, texts))
    ids = np.array([[*[0] * (T - len(text)), *text] for text in texts])
    start = np.array([T - len(text) for text in texts])
    return ids, start if start.any() else None
