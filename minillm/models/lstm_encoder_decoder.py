"""Two LSTMs: one reads the source, the other writes the target and attends to the states of the first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm import nn
from minillm.autograd import Tensor
from minillm.autograd.devices import beside
from minillm.autograd.fused import attention
from minillm.autograd.tensor import unwrap
from minillm.formulas import additive_scores, attention_weights
from minillm.nn.cache import check_rows, checked_rows, first_positions

from .encoder_decoder import EncoderDecoder, check_config, real
from .reading import check_begun

State = list[tuple[Any, Any]]  # (h, c), each (B, H), for each LSTM layer
SCORES = ("additive", "dot", "general")


@dataclass(frozen=True)
class LSTMEncoderDecoderConfig:
    """Sizes of an `LSTMEncoderDecoder`; the defaults train in minutes on a CPU.

    Attributes:
        source_vocab_size, target_vocab_size: numbers of tokens; the second is V.
        embedding_dim: D, width of a token's vector.
        hidden_dim: H, width of each LSTM layer, of encoder and decoder.
        num_layers: L, LSTM layers of the encoder and of the decoder.
        bidirectional: the encoder reads both ways, with H / 2 numbers each.
        attention: how a state of the decoder and one of the encoder are compared: "additive" (Bahdanau),
            "dot" or "general" (Luong).
        input_feeding: the decoder's input at each step has the last step's attentional state beside the
            token, so that it knows what it has looked at; steps are computed one by one then.
        dropout: probability to drop an activation, on the connections upwards.
        shared: one token table for source and target; they need one vocabulary then.

    Raises:
        ValueError: a size is below 1, hidden_dim is odd and bidirectional, dropout is outside [0, 1), or
            there is no such attention.

    Source: Bahdanau, Cho & Bengio 2015; Luong, Pham & Manning 2015.
    """

    source_vocab_size: int
    target_vocab_size: int
    embedding_dim: int = 64
    hidden_dim: int = 128
    num_layers: int = 1
    bidirectional: bool = True
    attention: str = "additive"
    input_feeding: bool = False
    dropout: float = 0.0
    shared: bool = False

    def __post_init__(self) -> None:
        check_config(self, ("source_vocab_size", "target_vocab_size", "embedding_dim", "hidden_dim",
                            "num_layers"), attention=SCORES)
        if self.bidirectional and self.hidden_dim % 2:
            raise ValueError(f"hidden_dim = {self.hidden_dim} must be even: each direction has half of it")

    @property
    def _weights(self) -> tuple[int, int, int]:
        """Numbers that a token of the source goes through, the keys of attention, and a target's token."""
        D, H, L, V = self.embedding_dim, self.hidden_dim, self.num_layers, self.target_vocab_size
        above = (L - 1) * 4 * H * (2 * H + 1)
        if self.bidirectional:  # two layers of H / 2, each reading all of the layer below
            h = H // 2
            source = 2 * 4 * h * (D + h + 1) + (L - 1) * 2 * 4 * h * (H + h + 1)
        else:
            source = 4 * H * (D + H + 1) + above
        first = D + H * self.input_feeding
        target = 4 * H * (first + H + 1) + above + (2 * H + 1) * H + (H + 1) * V
        keys = 0 if self.attention == "dot" else H * H
        return source, keys, target + (H * H + 2 * H if self.attention == "additive" else 0)

    @property
    def n_params(self) -> int:
        """V D a table, 4H (D + H + 1) an LSTM layer, H^2 a projection of attention, 2 H^2, and H V on top."""
        tables = self.source_vocab_size + (0 if self.shared else self.target_vocab_size)
        return tables * self.embedding_dim + sum(self._weights)

    def flops(self, source_len: int, target_len: int) -> int:
        """Floating-point operations of forward and backward for one pair of texts.

        6 for each weight of a matrix and token that goes through it, and 12 H for each pair of a step of
        the decoder and a state of the encoder.

        Source: counted as in Chowdhery et al. 2022, PaLM, appendix B.
        """
        source, keys, target = self._weights
        return 6 * ((source + keys) * source_len + target * target_len
                    + 2 * self.hidden_dim * source_len * target_len)

    def memory_bytes(self, batch_size: int, source_len: int, target_len: int, *,
                     training: bool = True) -> int:
        """Estimate of the memory that the model takes, in float32.

        Training with Adam: 16 bytes a parameter (itself, its gradient, two moments) and, kept for backward,
        4 bytes of 2 D + 12 H L numbers for each token, 8 H + 3 V more for one of the target, and for each
        pair of a step and a state of the encoder 5, with additive attention 5 H more. Otherwise 4 bytes a
        parameter, and the encoder's states and keys. tests/models/test_encoder_decoder.py holds it to what
        is really taken.
        """
        D, H, L, V = self.embedding_dim, self.hidden_dim, self.num_layers, self.target_vocab_size
        B, S, T = batch_size, source_len, target_len
        if not training:
            return 4 * (self.n_params + B * (S * H * (1 + (self.attention != "dot")) + 2 * L * H))
        pair = 5 + 5 * H * (self.attention == "additive")
        kept = (2 * D + 12 * H * L) * (S + T) + (8 * H + 3 * V) * T + pair * S * T
        return 16 * self.n_params + 4 * B * kept


class SourceAttention(nn.Module):
    """A state of the decoder reads the states of the encoder: their mean, weighted by how they fit.

        additive   a_ts = v . tanh(h_t W + m_s U + b)
        dot        a_ts = h_t . m_s
        general    a_ts = h_t . (m_s W)
        context    c_t = sum_s p_ts m_s,   p_t = softmax(a_t)

    Parameters: additive: query (H, H) with a bias, key (H, H), score (H,); general: key (H, H).

    Source: Bahdanau, Cho & Bengio 2015, section 3.1; Luong, Pham & Manning 2015, section 3.1.
    """

    def __init__(self, kind: str, H: int, rng: np.random.Generator | None, dtype: Any) -> None:
        self.kind = kind
        additive = kind == "additive"
        self.query = nn.Linear(H, H, rng=rng, dtype=dtype) if additive else None
        self.key = None if kind == "dot" else nn.Linear(H, H, bias=False, rng=rng, dtype=dtype)
        self.score = nn.parameter(nn.init.glorot_uniform((H, 1), rng, dtype)[:, 0]) if additive else None

    def keys(self, memory: Any) -> Any:
        """What queries are compared with, once for a source: (B, S, H) -> (B, S, H)."""
        return memory if self.key is None else self.key(memory)

    def forward(self, h: Any, keys: Any, memory: Any, mask: Any) -> Any:
        """(B, T, H) -> context (B, T, H); mask (B, S), True where a state may be read, or None."""
        if self.query is None:  # a product: fused attention with one head
            seen = None if mask is None else mask[:, None, None]  # (B, 1, 1, S)
            q, k, v = (np.expand_dims(x, 1) for x in (h, keys, memory))  # (B, 1, T, H), (B, 1, S, H)
            return np.squeeze(attention(q, k, v, causal=False, mask=seen, scale=1.0), 1)  # (B, T, H)
        a = additive_scores(self.query(h), keys, self.score)  # (B, T, S)
        seen = None if mask is None else beside(mask[:, None], unwrap(a))  # (B, 1, S)
        return attention_weights(a, seen) @ memory  # (B, T, H)


class Memory:
    """What the decoder needs of a source: the encoder's states, their keys, padding and last state."""

    def __init__(self, states: Any, keys: Any, mask: np.ndarray | None, begin: State) -> None:
        # (B, S, H), (B, S, H), (B, S) or None, (h, c) of each layer, (B, H) each
        self.states, self.keys, self.mask, self.begin = states, keys, mask, begin

    def take(self, rows: np.ndarray) -> Memory:
        """These rows of it, as arrays."""
        states = unwrap(self.states)[rows]
        keys = states if self.keys is self.states else unwrap(self.keys)[rows]
        return Memory(states, keys, None if self.mask is None else self.mask[rows], _rows(self.begin, rows))


class LSTMSourceCache:
    """What an LSTM decoder has read: its state after the target so far, and the source.

    Args:
        memory: of the source.
        batch_size: B, rows.
        fed: (B, H), zeros: the attentional state before the first step.
        start: (B,), index of each target's first token that is no padding; None: no padding.

    Attributes:
        state: (h, c), each (B, H), for each layer.
        length: positions of the target read so far.
    """

    def __init__(self, memory: Memory, batch_size: int, fed: Any, start: Any = None) -> None:
        self.start = first_positions(start, batch_size, np.iinfo(np.int64).max)
        self.memory, self.state, self.fed, self.length = memory, memory.begin, fed, 0

    @property
    def batch_size(self) -> int:
        """B, rows."""
        return len(self.start)

    def take(self, rows: Any) -> None:
        """Keep these rows of target and source; see `nn.KVCache.take`."""
        rows = checked_rows(rows, self.batch_size)
        if np.array_equal(rows, np.arange(self.batch_size)):
            return
        self.memory, self.state = self.memory.take(rows), _rows(self.state, rows)
        self.start, self.fed = self.start[rows], unwrap(self.fed)[rows]


class LSTMEncoderDecoder(EncoderDecoder, config=LSTMEncoderDecoderConfig):
    """p(target | source) with two LSTMs and attention.

        m_1 ... m_S = encoder(source)
        h_t = decoder(E'[y_t], or (E'[y_t], a_{t-1}) with input feeding), from the encoder's last state
        a_t = tanh((c_t, h_t) W + b),  c_t the context that h_t reads from m;   logits = a_t W' + b'

    Args:
        config: the sizes.
        rng: for the initial parameters and the dropout masks.
        dtype: of the parameters.

    Source: Luong, Pham & Manning 2015, section 3; additive attention: Bahdanau, Cho & Bengio 2015, whose
    decoder reads the context one step later: input feeding gives it the same.
    """

    def __init__(self, config: LSTMEncoderDecoderConfig, *, rng: np.random.Generator | None = None,
                 dtype: Any = np.float32) -> None:
        c = config
        D, H = c.embedding_dim, c.hidden_dim
        self.config = config
        options: dict[str, Any] = {"dropout": c.dropout, "rng": rng, "dtype": dtype}
        self.source_tokens = nn.Embedding(c.source_vocab_size, D, rng=rng, dtype=dtype)
        self.target_tokens = (self.source_tokens if c.shared
                              else nn.Embedding(c.target_vocab_size, D, rng=rng, dtype=dtype))
        self.encoder = nn.LSTMEncoder(D, H, c.num_layers, bidirectional=c.bidirectional, **options)
        self.decoder = nn.LSTM(D + H * c.input_feeding, H, c.num_layers, **options)
        self.attention = SourceAttention(c.attention, H, rng, dtype)
        self.combine = nn.Linear(2 * H, H, rng=rng, dtype=dtype)
        self.output = nn.Linear(H, c.target_vocab_size, rng=rng, dtype=dtype)
        self.dropout = nn.Dropout(c.dropout, rng=rng)

    @property
    def max_length(self) -> None:
        """A target may be as long as one likes."""
        return None

    def _encode(self, source: np.ndarray, lengths: np.ndarray) -> Memory:
        S = source.shape[1]
        states, begin = self.encoder(self.dropout(self.source_tokens(source)), lengths)  # (B, S, H)
        mask = None if (lengths == S).all() else real(S, lengths)  # (B, S)
        return Memory(states, self.attention.keys(states), mask, begin)

    def _logits(self, target_in: np.ndarray, memory: Memory) -> Tensor:
        x = self.dropout(self.target_tokens(target_in))  # (B, T, D)
        if not self.config.input_feeding:
            return self._scores(self._attend(self.decoder(x, memory.begin)[0], memory))  # (B, T, V)
        state, fed, all_fed = memory.begin, self._nothing_fed(len(target_in)), []
        for t in range(x.shape[1]):
            fed, state = self._step(x[:, t], fed, state, memory)
            all_fed.append(fed)
        return self._scores(np.stack(all_fed, axis=1))  # (B, T, V)

    def _step(self, x: Any, fed: Any, state: State, memory: Memory) -> tuple[Any, State]:
        """One step of the decoder: (B, D), (B, H) -> (B, H), and the state after it."""
        x = np.concatenate([x, fed], axis=-1) if self.config.input_feeding else x
        h, state = self.decoder(np.expand_dims(x, 1), state)  # (B, 1, H)
        return np.squeeze(self._attend(h, memory), 1), state

    def _attend(self, h: Any, memory: Memory) -> Any:
        """The attentional state: (B, T, H) -> (B, T, H)."""
        context = self.attention(h, memory.keys, memory.states, memory.mask)
        return np.tanh(self.combine(np.concatenate([context, h], axis=-1)))

    def _scores(self, a: Any) -> Tensor:
        return self.output(self.dropout(a))

    def _nothing_fed(self, B: int) -> Any:
        return np.zeros_like(self.combine.weight.data, shape=(B, self.config.hidden_dim))

    def _new_cache(self, memory: Memory, batch_size: int, max_length: int, start: Any) -> LSTMSourceCache:
        return LSTMSourceCache(memory, batch_size, self._nothing_fed(batch_size), start)

    def _next_logits(self, ids: np.ndarray, cache: LSTMSourceCache) -> Tensor:
        check_rows(ids, cache.batch_size)
        T = ids.shape[1]
        check_begun(cache.start, cache.length + T)
        x = self.target_tokens(np.where(np.arange(T) + cache.length < cache.start[:, None], 0, ids))
        for t in range(T):
            fed, state = self._step(self.dropout(x[:, t]), cache.fed, cache.state, cache.memory)
            waits = cache.start > cache.length + t  # rows that have not begun keep their state
            if waits.any():
                fed = _kept(waits, cache.fed, fed)
                state = [(_kept(waits, h0, h), _kept(waits, c0, c))
                         for (h0, c0), (h, c) in zip(cache.state, state, strict=True)]
            cache.fed, cache.state = fed, state
        cache.length += T
        return self._scores(fed)  # (B, V)


def _rows(state: State, rows: np.ndarray) -> State:
    return [(unwrap(h)[rows], unwrap(c)[rows]) for h, c in state]


def _kept(waits: np.ndarray, before: Any, after: Any) -> Any:
    """`before` in the rows that wait, `after` in the others: (B, H)."""
    before, after = unwrap(before), unwrap(after)
    return np.where(beside(waits, after)[:, None], before, after)
