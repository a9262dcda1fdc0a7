"""The transformer as it was first: an encoder of the source, and a decoder that attends to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm import nn
from minillm.autograd import Tensor
from minillm.autograd.devices import beside
from minillm.autograd.fused import embedding
from minillm.autograd.tensor import unwrap
from minillm.formulas import sinusoidal_positions
from minillm.nn.cache import checked_rows

from .checks import check_multiple, check_positive
from .encoder_decoder import EncoderDecoder, check_config, real
from .reading import checked_ids, places


@dataclass(frozen=True)
class TransformerEncoderDecoderConfig:
    """Sizes of a `TransformerEncoderDecoder`; the defaults train in minutes on a CPU.

    Attributes:
        source_vocab_size, target_vocab_size: numbers of tokens; the second is V.
        block_size: largest number of positions of a source and of a target.
        n_encoder_layer, n_decoder_layer: layers.
        n_embd: C, width of the residual streams.
        n_head, n_kv_head: heads of queries, and of keys and values; None: as many.
        hidden_dim: F, width of the feed-forward networks; None: 4 C.
        dropout: probability to drop an activation or an attention weight.
        activation: of the feed-forward networks, "relu", "gelu" or "gelu_tanh".
        norm_first: pre-norm (True), which trains without warm-up, or post-norm (False), the original.
        final_norm: a norm after the last layer of either stack; None: as norm_first (torch's
            nn.Transformer has one in any case).
        positions: "sinusoidal" (computed) or "learned" (a table for the source, a table for the target).
        shared: one token table for source and target; they need one vocabulary then.
        tied: the target's token table is the output layer too.
        bias: whether linear layers and norms have one (the output layer has none).
        qk_norm, softcap: of all attention, see `nn.MultiHeadAttention`.
        norm_eps: of the layer norms.

    Raises:
        ValueError: a size is below 1 or does not divide, or an option is not one of these.

    Source: Vaswani et al. 2017; with shared=True, tied=True and norm_first=False it is theirs.
    """

    source_vocab_size: int
    target_vocab_size: int
    block_size: int = 256
    n_encoder_layer: int = 3
    n_decoder_layer: int = 3
    n_embd: int = 128
    n_head: int = 4
    n_kv_head: int | None = None
    hidden_dim: int | None = None
    dropout: float = 0.0
    activation: str = "relu"
    norm_first: bool = True
    final_norm: bool | None = None
    positions: str = "sinusoidal"
    shared: bool = False
    tied: bool = True
    bias: bool = True
    qk_norm: bool = False
    softcap: float | None = None
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        check_config(self, ("source_vocab_size", "target_vocab_size", "block_size", "n_encoder_layer",
                            "n_decoder_layer", "n_embd", "n_head", "kv_heads", "mlp_dim"),
                     activation=("relu", "gelu", "gelu_tanh"), positions=("sinusoidal", "learned"))
        check_multiple(self, "n_embd", "n_head")
        if self.n_kv_head is not None:
            check_multiple(self, "n_head", "n_kv_head")
        if self.positions == "sinusoidal" and self.n_embd % 2:
            raise ValueError(f"n_embd = {self.n_embd} must be even: sinusoidal positions are pairs")
        check_positive(self, "norm_eps", "softcap")

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_head if self.n_kv_head is None else self.n_kv_head

    @property
    def mlp_dim(self) -> int:
        """Width of the feed-forward networks."""
        return 4 * self.n_embd if self.hidden_dim is None else self.hidden_dim

    @property
    def has_final_norm(self) -> bool:
        """Whether the stacks end with a norm."""
        return self.norm_first if self.final_norm is None else self.final_norm

    @property
    def _tables(self) -> int:
        """Numbers in the tables that are looked up."""
        vocabulary = self.source_vocab_size + (0 if self.shared else self.target_vocab_size)
        return (vocabulary + 2 * self.block_size * (self.positions == "learned")) * self.n_embd

    @property
    def _layers(self) -> tuple[int, int]:
        """Numbers in the parameters of an encoder layer and of a decoder layer."""
        C, F, bias, d = self.n_embd, self.mlp_dim, int(self.bias), self.n_embd // self.n_head
        E = self.kv_heads * d
        attention = 2 * C * (C + E) + bias * 2 * (C + E) + 2 * d * self.qk_norm
        mlp, norm = 2 * C * F + bias * (F + C), (1 + bias) * C
        return attention + mlp + 2 * norm, 2 * attention + mlp + 3 * norm

    @property
    def n_params(self) -> int:
        """The tables, 2 C (C + E) an attention with E = H_kv d, 2 C F a network, norms, biases, and C V."""
        encoder, decoder = self._layers
        norms = 2 * (1 + self.bias) * self.n_embd * self.has_final_norm
        return (self._tables + self.n_encoder_layer * encoder + self.n_decoder_layer * decoder + norms
                + (0 if self.tied else self.target_vocab_size * self.n_embd))

    def flops(self, source_len: int, target_len: int) -> int:
        """Floating-point operations of forward and backward for one pair of texts.

        6 for each weight of a matrix and token that goes through it (a decoder layer's keys and values of
        the source: its tokens), and 12 C for each pair of a query and a key, counted without the causal half.

        Source: counted as in Chowdhery et al. 2022, PaLM, appendix B.
        """
        C, S, T = self.n_embd, source_len, target_len
        encoder, decoder = self._layers
        of_source = 2 * C * self.kv_heads * (C // self.n_head)  # weights that read the memory
        weights = (self.n_encoder_layer * encoder * S + self.n_decoder_layer * (decoder - of_source) * T
                   + self.n_decoder_layer * of_source * S + self.target_vocab_size * C * T)
        pairs = self.n_encoder_layer * S * S + self.n_decoder_layer * T * (T + S)
        return 6 * weights + 12 * C * pairs

    def memory_bytes(self, batch_size: int, source_len: int, target_len: int, *,
                     training: bool = True) -> int:
        """Estimate of the memory that the model takes, in float32.

        Training with Adam: 16 bytes a parameter (itself, its gradient, two moments) and, kept for backward,
        4 bytes of 15 C + 3 F numbers for each layer and token, 7 C more for a decoder's, F more with gelu,
        and 3 V for each token of the target. Dropout adds 4 C + 2 F (a decoder's 6 C + 2 F), and 9 for each
        weight of attention. Otherwise 4 bytes a parameter and the keys and values of source and target.
        tests/models/test_encoder_decoder.py holds it to what is really taken.
        """
        C, F, V = self.n_embd, self.mlp_dim, self.target_vocab_size
        B, S, T = batch_size, source_len, target_len
        encoder, decoder = self.n_encoder_layer, self.n_decoder_layer
        if not training:
            kept = 2 * decoder * self.kv_heads * (C // self.n_head) * (S + T)
            return 4 * (self.n_params + B * kept)
        layer = 15 * C + (3 if self.activation == "relu" else 4) * F
        kept = encoder * layer * S + decoder * ((layer + 7 * C) * T + 2 * C * S) + 3 * V * T
        if self.dropout:
            kept += encoder * (4 * C + 2 * F) * S + decoder * (6 * C + 2 * F) * T
            kept += 9 * self.n_head * (encoder * S * S + decoder * T * (T + S))
        return 16 * self.n_params + 4 * B * kept


class Memory:
    """What the decoder layers read of a source: keys and values of each, (B, H_kv, S, d), and its padding."""

    def __init__(self, keys_values: list[tuple[Any, Any]], mask: np.ndarray | None) -> None:
        self.keys_values, self.mask = keys_values, mask  # mask (B, S), True where a token is real; None: all

    def take(self, rows: np.ndarray) -> Memory:
        """These rows of it."""
        kept = [(unwrap(k)[rows], unwrap(v)[rows]) for k, v in self.keys_values]
        return Memory(kept, None if self.mask is None else self.mask[rows])


class SourceKVCache(nn.KVCache):
    """The keys and values of what the decoder has read of the target, and of its source.

    Args:
        memory: of the source.
        args, options: those of `nn.KVCache`.
    """

    def __init__(self, memory: Memory, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.memory = memory

    @property
    def nbytes(self) -> int:
        """Bytes that both take."""
        return super().nbytes + sum(unwrap(a).nbytes for pair in self.memory.keys_values for a in pair)

    def take(self, rows: Any) -> None:
        """Keep these rows of target and source; see `nn.KVCache.take`."""
        rows = checked_rows(rows, self.batch_size)
        if not np.array_equal(rows, np.arange(self.batch_size)):
            self.memory = self.memory.take(rows)
        super().take(rows)


class TransformerEncoderDecoder(EncoderDecoder, config=TransformerEncoderDecoderConfig):
    """p(target | source) with a transformer.

        x = sqrt(C) E[ids] + positions -> encoder layers -> memory
        y = sqrt(C) E'[ids] + positions -> decoder layers that attend to the memory -> y E'^T

    Args:
        config: the sizes.
        rng: for the initial parameters and the dropout masks.
        dtype: of the parameters.

    Token tables (and learned positions) begin as N(0, 1/C), so that sqrt(C) E has variance 1; matrices are
    Glorot uniform.

    Source: Vaswani et al. 2017.
    """

    def __init__(self, config: TransformerEncoderDecoderConfig, *, rng: np.random.Generator | None = None,
                 dtype: Any = np.float32) -> None:
        c = config
        self.config = config

        def table(n: int) -> nn.Embedding:
            made = nn.Embedding(n, c.n_embd, rng=rng, dtype=dtype)
            if not nn.init.is_empty():
                made.weight.data[...] = nn.init.normal((n, c.n_embd), c.n_embd**-0.5, rng, dtype)
            return made

        def norm() -> nn.LayerNorm | None:
            return (nn.LayerNorm(c.n_embd, eps=c.norm_eps, bias=c.bias, dtype=dtype) if c.has_final_norm
                    else None)

        options: dict[str, Any] = {
            "dropout": c.dropout, "activation": c.activation, "norm_first": c.norm_first, "bias": c.bias,
            "norm_eps": c.norm_eps, "n_kv_head": c.kv_heads, "qk_norm": c.qk_norm, "softcap": c.softcap,
            "rng": rng, "dtype": dtype}
        sizes = c.n_embd, c.n_head, c.mlp_dim
        self.source_tokens = table(c.source_vocab_size)
        self.target_tokens = self.source_tokens if c.shared else table(c.target_vocab_size)
        learned = c.positions == "learned"
        self.source_positions = table(c.block_size) if learned else None
        self.target_positions = table(c.block_size) if learned else None
        self.dropout = nn.Dropout(c.dropout, rng=rng)
        self.encoder = nn.TransformerEncoder([nn.TransformerEncoderLayer(*sizes, **options)
                                              for _ in range(c.n_encoder_layer)], norm())
        self.decoder = nn.TransformerDecoder([nn.TransformerDecoderLayer(*sizes, **options)
                                              for _ in range(c.n_decoder_layer)], norm())
        self.output = None if c.tied else nn.Linear(c.n_embd, c.target_vocab_size, bias=False, rng=rng,
                                                    dtype=dtype)

    @property
    def max_length(self) -> int:
        """Longest target that the model can read."""
        return self.config.block_size

    def _encode(self, source: np.ndarray, lengths: np.ndarray) -> Memory:
        S = source.shape[1]
        if S > self.config.block_size:
            raise ValueError(f"source has {S} positions, the model block_size = {self.config.block_size}")
        mask = None if (lengths == S).all() else real(S, lengths)  # (B, S)
        x = self._embedded(source, np.arange(S), self.source_tokens, self.source_positions)
        return Memory(self.decoder.keys_values(self.encoder(x, mask)), mask)

    def _logits(self, target_in: np.ndarray, memory: Memory) -> Tensor:
        return self._scores(self._decode(target_in, memory, None))  # (B, T, V)

    def _new_cache(self, memory: Memory, batch_size: int, max_length: int, start: Any) -> SourceKVCache:
        c, table = self.config, self.target_tokens.weight
        return SourceKVCache(memory, c.n_decoder_layer, batch_size, c.kv_heads, max_length,
                             c.n_embd // c.n_head, dtype=table.dtype, start=start, like=table.data)

    def _next_logits(self, ids: np.ndarray, cache: SourceKVCache) -> Tensor:
        y = self._decode(ids, cache.memory, cache)  # (B, T, C)
        cache.advance(ids.shape[1])
        return self._scores(y[:, -1])  # (B, V)

    def _decode(self, ids: np.ndarray, memory: Memory, cache: SourceKVCache | None) -> Any:
        ids = checked_ids(ids, self.config.block_size)
        positions, seen = places(ids, None, cache)
        y = self._embedded(ids, positions, self.target_tokens, self.target_positions)  # (B, T, C)
        return self.decoder(y, memory.keys_values, mask=seen, memory_mask=memory.mask, cache=cache)

    def _embedded(self, ids: np.ndarray, positions: np.ndarray, tokens: nn.Embedding,
                  table: nn.Embedding | None) -> Any:
        C, dtype = self.config.n_embd, tokens.weight.dtype
        if table is None:
            e: Any = sinusoidal_positions(positions.astype(np.float64), C).astype(dtype)
            return self.dropout(tokens(ids) * math.sqrt(C) + beside(e, tokens.weight.data))  # (B, T, C)
        return self.dropout((tokens(ids) + embedding(positions, table.weight)) * math.sqrt(C))  # (B, T, C)

    def _scores(self, y: Any) -> Tensor:
        return self.target_tokens.attend(y) if self.output is None else self.output(y)
