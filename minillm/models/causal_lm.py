"""What GPT and Llama share: how a text is read, as a whole or on and on with a cache."""

from __future__ import annotations

from typing import Any

from minillm import nn
from minillm.autograd import Tensor, no_grad
from minillm.nn.cache import KVCache

from .reading import checked_ids


class CausalLM(nn.Module):
    """p(next token | the tokens so far).

        logits = model(ids)                       # all positions at once, for training
        cache = model.new_cache(B, max_length)    # for generation:
        logits = model.next_logits(ids, cache)    # after the prompt, then after each token that was chosen

    A kind defines `_hidden` (the blocks), `_logits` (the output layer) and `_kv_heads`. Other language
    models, `LSTMLanguageModel` and an encoder-decoder that is `given` its source, have `max_length`,
    `new_cache` and `next_logits` to the same effect.

    Attributes:
        config: its sizes; it has vocab_size, block_size and n_layer.
        tokens: the token table.
    """

    config: Any
    tokens: nn.Embedding

    @property
    def max_length(self) -> int:
        """Longest text that the model can read."""
        return self.config.block_size

    def forward(self, ids: Any, mask: Any = None) -> Tensor:
        """Scores for the token after each position.

        Args:
            ids: (B, T), integers in [0, V), T at most block_size.
            mask: (B, T) boolean, False where a token is padding, on the left; None: no padding.

        Returns:
            (B, T, V). Positions count from a row's first token that is no padding.

        Raises:
            ValueError: a shape does not fit, or T is beyond block_size.
        """
        return self._logits(self._hidden(checked_ids(ids, self.max_length), mask))  # (B, T, V)

    def new_cache(self, batch_size: int, max_length: int, start: Any = None) -> KVCache:
        """An empty cache for `next_logits`.

        Args:
            batch_size: B, texts side by side.
            max_length: positions to make room for, at most block_size.
            start: (B,), index of each row's first token that is no padding; None: no padding.

        Raises:
            ValueError: max_length is beyond block_size, or an argument does not fit `nn.KVCache`.
        """
        if max_length > self.max_length:
            raise ValueError(f"max_length = {max_length} is beyond the model's block_size = "
                             f"{self.max_length}")
        n_kv_head, d = self._kv_heads()
        table = self.tokens.weight
        return KVCache(self.config.n_layer, batch_size, n_kv_head, max_length, d, dtype=table.dtype,
                       start=start, like=table.data)

    @no_grad()
    def next_logits(self, ids: Any, cache: KVCache) -> Tensor:
        """Read on behind what the cache holds; scores for the token after the last.

        Args:
            ids: (B, T), the next tokens; where the texts begin at different places, padded on the left.
            cache: of `new_cache`; it grows by T. Nothing is recorded for backward.

        Returns:
            (B, V).

        Raises:
            ValueError: ids do not fit the cache, it has no room for them, or a row is all padding so far,
                which has no next token. The cache is as it was then.
        """
        ids = checked_ids(ids, self.max_length)
        x = self._hidden(ids, cache=cache)  # (B, T, C)
        cache.advance(ids.shape[1])
        return self._logits(x[:, -1])  # (B, V)

    def _kv_heads(self) -> tuple[int, int]:
        """H_kv, heads of keys and values in each block, and d, the size of one."""
        raise NotImplementedError(f"{type(self).__name__} defines no _kv_heads")

    def _hidden(self, ids: Any, mask: Any = None, cache: KVCache | None = None) -> Tensor:
        """What the blocks make of ids (B, T): (B, T, C)."""
        raise NotImplementedError(f"{type(self).__name__} defines no _hidden")

    def _logits(self, x: Any) -> Tensor:
        """(..., C) -> (..., V)."""
        raise NotImplementedError(f"{type(self).__name__} defines no _logits")
