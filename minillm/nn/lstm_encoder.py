"""LSTM layers over whole rows of unequal length, in one direction or in both."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.autograd.devices import beside
from minillm.autograd.fused import lstm

from .layers import Dropout, as_array
from .lstm import LSTMLayer, State
from .module import Module

CLOSED = 1e4  # a gate's score that is 0 or 1 after the sigmoid, exactly, in any dtype


class LSTMEncoder(Module):
    """LSTM layers on top of each other that read whole rows, with padding on the right.

        forwards    h_t, c_t = LSTM(x_t, h_{t-1}, c_{t-1}),   t = 1, ..., n
        backwards   h_t, c_t = LSTM'(x_t, h_{t+1}, c_{t+1}),  t = n, ..., 1

    A row of n tokens gets what it would get alone: padding comes after its last token in both directions
    and changes nothing. With both directions each has H / 2 numbers, side by side, so that a state sees the
    whole row and is as wide as one of a single direction.

    Args:
        input_size, hidden_size: D of the first layer, and H of all.
        num_layers: L.
        bidirectional: read in both directions; H has to be even.
        dropout: probability to drop an activation on its way from one layer to the next.
        rng: for the initial values and the dropout masks.
        dtype: of the parameters.

    Parameters: those of each `LSTMLayer`, as `forwards.0.W` and `backwards.0.W`.

    Raises:
        ValueError: num_layers is below 1, hidden_size is odd and bidirectional, or dropout is outside [0, 1).

    Source: article section 5.1 (LSTM); both directions: Schuster & Paliwal 1997, Graves & Schmidhuber 2005.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, *, bidirectional: bool = False,
                 dropout: float = 0.0, rng: np.random.Generator | None = None,
                 dtype: Any = np.float32) -> None:
        if num_layers < 1:
            raise ValueError(f"num_layers = {num_layers} must be at least 1")
        if bidirectional and hidden_size % 2:
            raise ValueError(f"hidden_size = {hidden_size} must be even: each direction has half of it")
        H = hidden_size // 2 if bidirectional else hidden_size
        widths = [input_size, *[hidden_size] * (num_layers - 1)]
        self.forwards = [LSTMLayer(d, H, rng=rng, dtype=dtype) for d in widths]
        self.backwards = [LSTMLayer(d, H, rng=rng, dtype=dtype) for d in widths] if bidirectional else []
        self.dropout = Dropout(dropout, rng=rng)

    def forward(self, x: Any, lengths: Any = None) -> tuple[Any, list[State]]:
        """Read rows.

        Args:
            x: (B, T, D).
            lengths: (B,), number of real positions of each row, in [1, T]; None: all.

        Returns:
            (hs, state): the top layer's hidden states (B, T, H), of no meaning where there is padding, and
            each layer's (h, c) after the last position it reads, (B, H) each.

        Raises:
            ValueError: x is not (B, T, D), or lengths do not fit it.
        """
        if np.ndim(x) != 3:
            raise ValueError(f"x must be (B, T, D), not {np.shape(x)}")
        B, T, _ = np.shape(x)
        if lengths is not None:
            lengths = np.asarray(lengths)
            if lengths.shape != (B,) or (B and not (lengths.min() >= 1 and lengths.max() <= T)):
                raise ValueError(f"lengths must be ({B},) numbers in [1, {T}], not {lengths.tolist()}")
            if (lengths == T).all():
                lengths = None
        state = []
        for i, layer in enumerate(self.forwards):
            x = self.dropout(x) if i else x
            hs, (h, c) = _read(layer, x, lengths)  # (B, T, H)
            if self.backwards:
                back, (h_back, c_back) = _read(self.backwards[i], _reversed(x, lengths), lengths)
                hs = np.concatenate([hs, _reversed(back, lengths)], axis=-1)  # (B, T, H/2) twice
                h, c = np.concatenate([h, h_back], axis=-1), np.concatenate([c, c_back], axis=-1)
            x = hs
            state.append((h, c))
        return x, state


def _read(layer: LSTMLayer, x: Any, lengths: np.ndarray | None) -> tuple[Any, State]:
    """The layer over x, and its state after each row's last real position.

    The fused op gives c after the last step only. One more input, 1 where there is padding, closes the input
    gate there and opens the forget gate, so that c stays what it is: c_t = 1 c_{t-1} + 0 g_t.
    """
    if lengths is None:
        return layer(x)
    x = as_array(x, layer.W.dtype)
    (B, T, _), H = x.shape, layer.U.shape[0]
    padding = (np.arange(T) >= lengths[:, None]).astype(layer.W.dtype)[:, :, None]  # (B, T, 1)
    gates = np.repeat(np.array([-CLOSED, CLOSED, 0, 0], layer.W.dtype), H)[None]  # i, f, g, o: (1, 4H)
    like = layer.W.data
    zeros = beside(np.zeros((B, H), layer.W.dtype), like)
    hs, c = lstm(np.concatenate([x, beside(padding, like)], axis=-1), zeros, zeros,
                 np.concatenate([layer.W, beside(gates, like)]), layer.U, layer.b)
    return hs, (hs.reshape(B * T, H)[np.arange(B) * T + lengths - 1], c)


def _reversed(x: Any, lengths: np.ndarray | None) -> Any:
    """Each row backwards, its padding left where it is: (B, T, D) -> (B, T, D)."""
    if lengths is None:
        return np.flip(x, axis=1)
    B, T, D = x.shape
    t, n = np.arange(T), lengths[:, None]
    from_ = np.where(t < n, n - 1 - t, t) + T * np.arange(B)[:, None]  # (B, T), rows of (B T, D)
    return x.reshape(B * T, D)[from_]
