"""The article's model as a language model: Embedding -> LSTM -> Dense, at every position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm import nn
from minillm.autograd import Tensor

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
        ValueError: a size is below 1, or dropout is outside [0, 1).
    """

    vocab_size: int
    embedding_dim: int = 64
    hidden_dim: int = 256
    num_layers: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "embedding_dim", "hidden_dim", "num_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout} is outside [0, 1)")

    @property
    def n_params(self) -> int:
        """V D for the table, 4H (D + H + 1) for each LSTM layer (D = H above the first), (H + 1) V on top."""
        V, D, H = self.vocab_size, self.embedding_dim, self.hidden_dim
        return V * D + 4 * H * (D + H + 1) + (self.num_layers - 1) * 4 * H * (2 * H + 1) + (H + 1) * V


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


def detach(state: State) -> State:
    """The same state as plain arrays, where they are: the gradient stops there (truncated BPTT)."""
    return [(_array(h), _array(c)) for h, c in state]


def _array(x: Any) -> Any:
    array = x.data if isinstance(x, Tensor) else x
    # A copy: a view would keep the hidden states of all steps alive.
    return np.ascontiguousarray(array) if type(array) is np.ndarray else array.copy()
