"""What both encoder-decoders share: how they are called, and how the second half becomes a language model."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np

from minillm import nn
from minillm.autograd import Tensor, no_grad

from .checks import check_choices, check_dropout, check_sizes, check_types


class TargetCache(Protocol):
    """What a decoder has read: the target so far, and the source that all of it is about."""

    length: int

    @property
    def batch_size(self) -> int:
        """B, rows."""

    def take(self, rows: Any) -> None:
        """Keep these rows of target and source, in this order; see `nn.KVCache.take`."""


class EncoderDecoder(nn.Module):
    """p(target | source): an encoder reads the source, and a decoder that looks at it writes the target.

    There are two kinds, `LSTMEncoderDecoder` and `TransformerEncoderDecoder`, with one interface:

        logits = model(source, target_in, source_mask)     # all positions at once, for training
        given = model.given(source, source_mask)           # a language model of the target, for generation

    A kind names its configuration as it is defined, `class A(EncoderDecoder, config=AConfig)`, by which
    `EncoderDecoder.of` finds it.
    """

    config: Any
    _kinds: ClassVar[dict[type, type[EncoderDecoder]]] = {}

    def __init_subclass__(cls, config: type, **options: Any) -> None:
        super().__init_subclass__(**options)
        EncoderDecoder._kinds[config] = cls

    @staticmethod
    def of(config: Any, *, rng: np.random.Generator | None = None, dtype: Any = np.float32) -> EncoderDecoder:
        """The model that a configuration describes, of the kind that it belongs to.

        Args:
            config: `LSTMEncoderDecoderConfig` or `TransformerEncoderDecoderConfig`.
            rng: for the initial parameters and the dropout masks.
            dtype: of the parameters.

        Raises:
            TypeError: it is another configuration.
        """
        kind = EncoderDecoder._kinds.get(type(config))
        if kind is None:
            known = ", ".join(sorted(c.__name__ for c in EncoderDecoder._kinds))
            raise TypeError(f"config is a {type(config).__name__}, it must be one of {known}")
        return kind(config, rng=rng, dtype=dtype)  # type: ignore[call-arg]

    def forward(self, source: Any, target_in: Any, source_mask: Any = None) -> Tensor:
        """Scores for the token after each position of the target (teacher forcing).

        Args:
            source: (B, S), ids in [0, source_vocab_size).
            target_in: (B, T), ids in [0, target_vocab_size): the target behind its beginning-of-text token,
                without its last. Padding on the right needs no mask, only labels that do not count.
            source_mask: (B, S) boolean, True where a token is real, anywhere in a row; None: all are. What
                stands elsewhere does not matter, it need not even be an id.

        Returns:
            (B, T, V).

        Raises:
            ValueError: a shape does not fit, an id is out of range, or a row of the source has no token.
            TypeError: ids are not integers, or the mask is not boolean.
        """
        source, lengths = packed(source, source_mask)
        target_in = np.asarray(target_in)
        if target_in.ndim != 2 or target_in.shape[0] != len(source) or not target_in.shape[1]:
            raise ValueError(f"target_in must be ({len(source)}, T) with T at least 1, as the source has "
                             f"{len(source)} rows, not {target_in.shape}")
        return self._logits(target_in, self._encode(source, lengths))

    @no_grad()
    def given(self, source: Any, source_mask: Any = None) -> Given:
        """The decoder as a language model of the target, with the source read, once.

        Args:
            source: (B, S), ids.
            source_mask: (B, S) boolean, True where a token is real; None: all are.

        Raises:
            ValueError, TypeError: as `forward`.
        """
        source, lengths = packed(source, source_mask)
        memory = self._encode(source, lengths)
        # copies, laid out for reading; views would keep all that the encoder computed
        return Given(self, memory.take(np.arange(len(source))), len(source))

    @property
    def max_length(self) -> int | None:
        """Longest target that the model can read; None: any."""
        raise NotImplementedError(f"{type(self).__name__} defines no max_length")

    def _encode(self, source: np.ndarray, lengths: np.ndarray) -> Any:
        """What the decoder needs of the source: ids (B, S), padded on the right to (B,) lengths."""
        raise NotImplementedError(f"{type(self).__name__} defines no _encode")

    def _logits(self, target_in: np.ndarray, memory: Any) -> Tensor:
        """(B, T) ids and what `_encode` made -> (B, T, V)."""
        raise NotImplementedError(f"{type(self).__name__} defines no _logits")

    def _new_cache(self, memory: Any, batch_size: int, max_length: int, start: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no _new_cache")

    def _next_logits(self, ids: Any, cache: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} defines no _next_logits")


class Given:
    """An encoder-decoder whose source is given: what is left is a language model of the target.

    It is used as `GPT` is: `new_cache`, then `next_logits` with the beginning-of-text token (or a longer
    beginning), then with each token that was chosen. Made by `EncoderDecoder.given`.
    """

    def __init__(self, model: EncoderDecoder, memory: Any, batch_size: int) -> None:
        self._model, self._memory, self._rows = model, memory, batch_size

    @property
    def max_length(self) -> int | None:
        """Longest target that the model can read; None: any."""
        return self._model.max_length

    def new_cache(self, batch_size: int, max_length: int, start: Any = None) -> TargetCache:
        """An empty cache for `next_logits`, of the target; it holds what was read of the source too.

        Args:
            batch_size: B, the number of rows of the source.
            max_length: positions to make room for, at most the model's max_length.
            start: (B,), index of each target's first token that is no padding; None: no padding.

        Raises:
            ValueError: batch_size is another, or max_length is too long.
        """
        if batch_size != self._rows:
            raise ValueError(f"batch_size = {batch_size} must be the source's number of rows, {self._rows}")
        if self.max_length is not None and max_length > self.max_length:
            raise ValueError(f"max_length = {max_length} is beyond the model's block_size = "
                             f"{self.max_length}")
        return self._model._new_cache(self._memory, batch_size, max_length, start)

    @no_grad()
    def next_logits(self, ids: Any, cache: Any) -> Tensor:
        """Read on behind what the cache holds; scores for the token after the last.

        Args:
            ids: (B, T), the next tokens of the target; where targets begin at different places, padded on
                the left.
            cache: of `new_cache`; it grows by T. Nothing is recorded for backward.

        Returns:
            (B, V).

        Raises:
            ValueError: as `CausalLM.next_logits`.
        """
        return self._model._next_logits(np.asarray(ids), cache)


def packed(source: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """The real tokens of each row moved to its front, in their order, and how many they are.

    Wherever the padding was, it is now on the right, no longer than needed, and its ids are 0.

    Args:
        source: (B, S), integers.
        mask: (B, S) boolean, True where a token is real; None: all are.

    Returns:
        (ids (B, S'), lengths (B,)), S' the largest length.

    Raises:
        ValueError: source is not (B, S), the mask has another shape, or a row has no token.
        TypeError: the mask is not boolean.
    """
    source = np.asarray(source)
    if source.ndim != 2 or not source.size:
        raise ValueError(f"source must be (B, S) with a token in each row, not {source.shape}")
    if mask is None:
        return source, np.full(len(source), source.shape[1])
    mask = np.asarray(mask)
    if mask.shape != source.shape:
        raise ValueError(f"source_mask must have the shape of source, {source.shape}, not {mask.shape}")
    if mask.dtype != bool:
        raise TypeError(f"source_mask must be boolean, True where a token is real, not {mask.dtype}")
    lengths = mask.sum(axis=1)
    if not lengths.all():
        raise ValueError(f"source_mask[{int(lengths.argmin())}] marks no token as real: each row needs one")
    order = np.argsort(~mask, axis=1, kind="stable")[:, :lengths.max()]  # real ones first
    ids = np.take_along_axis(source, order, axis=1)
    return np.where(real(ids.shape[1], lengths), ids, 0), lengths


def real(S: int, lengths: np.ndarray) -> np.ndarray:
    """(B, S), True where a row has a token."""
    return np.arange(S) < lengths[:, None]


def check_config(config: Any, sizes: tuple[str, ...], **choices: tuple[str, ...]) -> None:
    """Raise ValueError for what neither kind can have; `sizes` and `choices` are fields to check."""
    check_types(config)
    check_sizes(config, *sizes)
    check_dropout(config)
    check_choices(config, **choices)
    if config.shared and config.source_vocab_size != config.target_vocab_size:
        raise ValueError(f"shared needs one vocabulary, not source_vocab_size = {config.source_vocab_size} "
                         f"and target_vocab_size = {config.target_vocab_size}")
