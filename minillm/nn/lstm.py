"""The article's LSTM: one layer, and layers on top of each other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from minillm.autograd import Tensor
from minillm.autograd.devices import beside
from minillm.autograd.fused import lstm

from . import init
from .layers import Dropout, as_array
from .module import Module, parameter

State = tuple[Any, Any]  # (h, c), each (B, H)


class LSTMLayer(Module):
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
            ValueError: x is not (B, T, D), or the state not (B, H).
        """
        D, H = self.W.shape[0], self.U.shape[0]
        x = as_array(x, self.W.dtype)
        if x.ndim != 3 or x.shape[2] != D:
            raise ValueError(f"LSTM expects x of shape (B, T, {D}), not {x.shape}")
        zeros = np.zeros((x.shape[0], H), self.W.dtype)
        h0, c0 = (beside(a, self.W.data) for a in ((zeros, zeros) if state is None else state))
        hs, c = lstm(x, h0, c0, self.W, self.U, self.b)  # (B, T, H), (B, H)
        return hs, (hs[:, -1] if x.shape[1] else h0, c)

    def _options(self) -> str:
        return f"{self.W.shape[0]}, {self.U.shape[0]}"


class LSTM(Module):
    """LSTM layers on top of each other: each reads the hidden states of the one below.

    Args:
        input_size, hidden_size: D of the first layer, and H of all.
        num_layers: L.
        dropout: probability to drop an activation on its way from one layer to the next; never on
            the way from one step to the next (Zaremba, Sutskever & Vinyals 2014).
        rng: for the initial values and the dropout masks.
        dtype: of the parameters.

    Parameters: those of each `LSTMLayer`, as `layers.0.W`.

    Raises:
        ValueError: num_layers is below 1, or dropout is outside [0, 1).

    Source: article section 5.1 (LSTM).
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, *, dropout: float = 0.0,
                 rng: np.random.Generator | None = None, dtype: Any = np.float32) -> None:
        if num_layers < 1:
            raise ValueError(f"num_layers = {num_layers} must be at least 1")
        widths = [input_size, *[hidden_size] * num_layers]
        self.layers = [LSTMLayer(d, h, rng=rng, dtype=dtype) for d, h in pairwise(widths)]
        self.dropout = Dropout(dropout, rng=rng)

    def forward(self, x: Any, state: list[State] | None = None) -> tuple[Tensor, list[State]]:
        """Run over x.

        Args:
            x: (B, T, D).
            state: (h, c) of each layer, each (B, H), to start from; zeros if left out.

        Returns:
            (hs, state): the top layer's hidden states of all steps (B, T, H), and the (h, c) of each
            layer after the last.

        Raises:
            ValueError: x is not (B, T, D), or the state has another number of layers or shape.
        """
        if state is not None and len(state) != len(self.layers):
            raise ValueError(f"the state has (h, c) of {len(state)} layers, but the LSTM has "
                             f"{len(self.layers)}")
        after = []
        for i, layer in enumerate(self.layers):
            x = self.dropout(x) if i else x
            x, s = layer(x, None if state is None else state[i])  # (B, T, H)
            after.append(s)
        return x, after

    def _options(self) -> str:
        (D, _), H, L = self.layers[0].W.shape, self.layers[0].U.shape[0], len(self.layers)
        return f"{D}, {H}" + (f", {L}" if L > 1 else "") + (f", dropout={p}" if (p := self.dropout.p) else "")

    def __repr__(self) -> str:
        return f"LSTM({self._options()})"
