"""The article's model as a language model: Embedding -> LSTM -> Dense, at every position."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from minillm import nn
from minillm.autograd import Tensor, no_grad
from minillm.nn.cache import check_rows, checked_rows, first_positions

from .checks import check_dropout, check_sizes, check_types
from .reading import check_begun

State = list[tuple[Any, Any]]  # (h, c), each (B, H), for each LSTM layer


@dataclass(frozen=True)
class LSTMConfig:
    """Sizes of an `LSTMLanguageModel`.

    Attributes:
        vocab_size: V, number of tokens.
        embedding_dim: D, width of a token's vector.
        hidden_dim: H, width of each LSTM layer.
        num_layers: LSTM layers, one on top of the other.
        dropout: probability to drop an activation before each LSTM layer and before the output
            (Zaremba, Sutskever & Vinyals 2014: on the connections upwards, not on those in time).

    Raises:
        ValueError: a value is of another type, a size is below 1, or dropout is outside [0, 1).
    """

    vocab_size: int
    embedding_dim: int = 64
    hidden_dim: int = 256
    num_layers: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        check_sizes(self, "vocab_size", "embedding_dim", "hidden_dim", "num_layers")
        check_dropout(self)

    @property
    def n_params(self) -> int:
        """V D for the table, 4H (D + H + 1) for each LSTM layer (D = H above the first), (H + 1) V on top."""
        V, D, H = self.vocab_size, self.embedding_dim, self.hidden_dim
        return V * D + 4 * H * (D + H + 1) + (self.num_layers - 1) * 4 * H * (2 * H + 1) + (H + 1) * V

    def flops_per_token(self) -> int:
        """Floating-point operations of forward and backward for each token: 6 for each weight of a matrix.

        Source: counted as in Chowdhery et al. 2022, PaLM, appendix B.
        """
        return 6 * (self.n_params - self.vocab_size * self.embedding_dim)

    def memory_bytes(self, batch_size: int, T: int) -> int:
        """Estimate of the memory that a training step with Adam takes, in float32, on windows of T.

        16 bytes a parameter (itself, its gradient, two moments) and, kept for backward, 4 bytes of
        2 D + 12 H num_layers + 3 V numbers for each token. tests/models/test_memory.py holds it to what is
        really taken.
        """
        token = 2 * self.embedding_dim + 12 * self.hidden_dim * self.num_layers + 3 * self.vocab_size
        return 16 * self.n_params + 4 * batch_size * T * token


class LSTMCache:
    """What an `LSTMLanguageModel` has read: the states of its layers, however long the text was.

    Args:
        batch_size: B, rows.
        start: (B,), index of each row's first token that is no padding; None: no padding.

    Attributes:
        state: (h, c), each (B, H), for each layer; None before the first token.
        length: positions read.
    """

    def __init__(self, batch_size: int, start: Any = None) -> None:
        self.start = first_positions(start, batch_size, np.iinfo(np.int64).max)
        self.state: State | None = None
        self.length = 0

    @property
    def batch_size(self) -> int:
        return len(self.start)

    def take(self, rows: Any) -> None:
        """Keep these rows, in this order, some perhaps several times; see `nn.KVCache.take`."""
        rows = checked_rows(rows, self.batch_size)
        self.start = self.start[rows]
        if self.state is not None:
            self.state = [(h[rows], c[rows]) for h, c in self.state]


class LSTMLanguageModel(nn.Module):
    """p(next token | all before it), with the past in the LSTM's state.

    Args:
        config: the sizes.
        rng: for the initial parameters and the dropout masks.
        dtype: of the parameters.

    Source: article section 5.1, with a prediction at every position in place of the last alone.
    """

    def __init__(self, config: LSTMConfig, *, rng: np.random.Generator | None = None,
                 dtype: Any = np.float32) -> None:
        c = config
        self.config = config
        self.embedding = nn.Embedding(c.vocab_size, c.embedding_dim, rng=rng, dtype=dtype)
        self.lstm = nn.LSTM(c.embedding_dim, c.hidden_dim, c.num_layers, dropout=c.dropout, rng=rng,
                            dtype=dtype)
        self.dropout = nn.Dropout(c.dropout, rng=rng)
        self.output = nn.Linear(c.hidden_dim, c.vocab_size, rng=rng, dtype=dtype)

    def forward(self, ids: Any, state: State | None = None) -> tuple[Tensor, State]:
        """Scores for the token after each position.

        Args:
            ids: (B, T), integers in [0, V).
            state: what the last call returned, to read on where it stopped; None starts anew.

        Returns:
            (logits (B, T, V), state). The state is on the tape: `detach` it for truncated
            backpropagation through time.
        """
        x = self.dropout(self.embedding(ids))  # (B, T, D)
        hs, state = self.lstm(x, state)  # (B, T, H)
        return self.output(self.dropout(hs)), state  # (B, T, V)

    max_length: int | None = None  # of a text: as long as one likes

    def new_cache(self, batch_size: int, max_length: int | None = None, start: Any = None) -> LSTMCache:
        """An empty cache for `next_logits`; see `CausalLM.new_cache`. Any max_length takes the same."""
        return LSTMCache(batch_size, start)

    @no_grad()
    def next_logits(self, ids: Any, cache: LSTMCache) -> Tensor:
        """Read on behind what the cache holds; scores for the token after the last.

        Args, returns and errors are those of `CausalLM.next_logits`; there is room for any length.
        """
        ids = np.asarray(ids)
        check_rows(ids, cache.batch_size)
        begin, end = cache.length, cache.length + ids.shape[1]
        check_begun(cache.start, end)
        # A row's state stays zero until the row begins: read in stretches in which no row does.
        borders = [begin, *(int(s) for s in np.unique(cache.start) if begin < s < end), end]
        for a, b in pairwise(borders):
            x = self.embedding(ids[:, a - begin:b - begin])  # (B, t, D)
            rows = np.flatnonzero(cache.start <= a)
            if len(rows) == cache.batch_size:
                hs, state = self.lstm(x, cache.state)  # (B, t, H)
                cache.state = detach(state)
            elif len(rows):
                before = cache.state
                _, state = self.lstm(x[rows], None if before is None else [(h[rows], c[rows])
                                                                           for h, c in before])
                cache.state = [(_placed(h, rows, ids), _placed(c, rows, ids)) for h, c in detach(state)]
        cache.length = end
        return self.output(hs[:, -1])  # (B, V)


def _placed(some: Any, rows: np.ndarray, ids: np.ndarray) -> Any:
    """`some` in these rows, zeros in the others: (B', H) -> (B, H)."""
    all_rows = np.zeros_like(some, shape=(len(ids), some.shape[1]))
    all_rows[rows] = some
    return all_rows


def detach(state: State) -> State:
    """The same state as plain arrays, where they are: the gradient stops there (truncated BPTT)."""
    return [(_array(h), _array(c)) for h, c in state]


def _array(x: Any) -> Any:
    array = x.data if isinstance(x, Tensor) else x
    # A copy: a view would keep the hidden states of all steps alive.
    return np.ascontiguousarray(array) if type(array) is np.ndarray else array.copy()
