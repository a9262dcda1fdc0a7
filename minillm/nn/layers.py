"""The article's layers: embedding, LSTM, dense; and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.autograd import Tensor
from minillm.autograd.fused import dropout, embedding, linear, lstm

from . import init
from .module import Module, parameter

State = tuple[Any, Any]  # (h, c), each (B, H)


class Linear(Module):
    """Dense layer: y = x W + b.

    Args:
        in_features, out_features: D and E.
        bias: whether there is a b.
        rng: for the initial W (Glorot uniform); b starts at 0.
        dtype: of the parameters.

    Parameters: weight (D, E), bias (E,). Shapes: (..., D) -> (..., E).

    Source: article section 5.1 (Dense).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *,
                 rng: np.random.Generator | None = None, dtype: Any = np.float32) -> None:
        self.weight = parameter(init.glorot_uniform((in_features, out_features), rng, dtype))
        self.bias = parameter(np.zeros(out_features, dtype)) if bias else None

    def forward(self, x: Any) -> Tensor:
        W, b = self.weight, self.bias
        if x.shape[-1] != W.data.shape[0]:
            raise ValueError(f"Linear expects {W.shape[0]} features in the last axis, "
                             f"but x has shape {x.shape}")
        return x @ W if b is None else linear(x, W, b)

    def _options(self) -> str:
        d, e = self.weight.shape
        return f"{d}, {e}" + (", bias=False" if self.bias is None else "")


class Embedding(Module):
    """Lookup table: y = weight[ids].

    Args:
        num_embeddings, embedding_dim: V and D.
        rng: for the initial table, U(-0.05, 0.05) as in Keras.
        dtype: of the table.

    Parameters: weight (V, D). Shapes: (...) integers in [0, V) -> (..., D).

    Source: article section 5.1 (Embedding).
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *,
                 rng: np.random.Generator | None = None, dtype: Any = np.float32) -> None:
        self.weight = parameter(init.uniform((num_embeddings, embedding_dim), 0.05, rng, dtype))

    def forward(self, ids: Any) -> Tensor:
        return embedding(ids, self.weight)

    def _options(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"


class LSTM(Module):
    """One LSTM layer over sequences, batch first.

    Args:
        input_size, hidden_size: D and H.
        rng: for the initial values: W Glorot uniform, U orthogonal, b 0 but 1 for the forget gate,
            so that the cell remembers from the start (Jozefowicz et al. 2015).
        dtype: of the parameters.

    Parameters: W (D, 4H), U (H, 4H), b (4H,), gates in the order i, f, g, o as in Keras.

    Source: article section 5.1 (LSTM); `formulas.lstm`.
    """

    def __init__(self, input_size: int, hidden_size: int, *, rng: np.random.Generator | None = None,
                 dtype: Any = np.float32) -> None:
        H = hidden_size
        self.W = parameter(init.glorot_uniform((input_size, 4 * H), rng, dtype))
        self.U = parameter(init.orthogonal((H, 4 * H), rng, dtype))
        b = np.zeros(4 * H, dtype)
        b[H:2 * H] = 1
        self.b = parameter(b)

    def forward(self, x: Any, state: State | None = None) -> tuple[Tensor, State]:
        """Run over x.

        Args:
            x: (B, T, D).
            state: (h, c), each (B, H), to start from; zeros if left out.

        Returns:
            (hs, (h, c)): the hidden states of all steps (B, T, H), and the state after the last.

        Raises:
            ValueError: x is not (B, T, D).
        """
        D, H = self.W.shape[0], self.U.shape[0]
        if x.ndim != 3 or x.shape[2] != D:
            raise ValueError(f"LSTM expects x of shape (B, T, {D}), not {x.shape}")
        zeros = np.zeros((x.shape[0], H), self.W.dtype)
        h0, c0 = (zeros, zeros) if state is None else state
        hs, c = lstm(x, h0, c0, self.W, self.U, self.b)  # (B, T, H), (B, H)
        return hs, (hs[:, -1] if x.shape[1] else h0, c)

    def _options(self) -> str:
        return f"{self.W.shape[0]}, {self.U.shape[0]}"


class Dropout(Module):
    """Drop activations with probability p while training; pass everything through in evaluation.

    Args:
        p: in [0, 1).
        rng: draws the masks.

    Raises:
        ValueError: p is outside [0, 1).

    Source: article section 3.3; `formulas.dropout`.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"dropout p = {p} is outside [0, 1)")
        self.p = p
        self.rng = init.generator(rng)

    def forward(self, x: Any) -> Any:
        if not self.training or self.p == 0:
            return x
        # 16 random bits decide on an activation: half the time of `random`, p exact to 2^-17
        keep = self.rng.integers(0, 1 << 16, x.shape, np.uint16) >= round(self.p * (1 << 16))
        return dropout(x, keep, p=self.p)

    def _options(self) -> str:
        return f"p={self.p}"


class Sequential(Module):
    """Layers one after the other. An LSTM hands on its hidden states.

    Args:
        layers: Modules that take one argument.
    """

    def __init__(self, *layers: Module) -> None:
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, LSTM):
                x = x[0]
        return x
