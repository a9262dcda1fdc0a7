"""An LSTM over a whole sequence as one op; `lstm_arrays.py` does the work."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.autograd.tensor import Tensor
from minillm.formulas import lstm as composite

from .lstm_arrays import lstm_backward, lstm_forward
from .op import FusedOp


def forward(*arrays: np.ndarray, save: bool) -> tuple[tuple[np.ndarray, np.ndarray], Any]:
    x, h0, c0, W, U, b = _same_dtype(arrays)
    hs, c, saved = lstm_forward(x, h0, c0, W, U, b, save=save)
    return (hs, c), saved


def backward(g: list[Any], saved: Any, *arrays: np.ndarray, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    d_hs, d_c = g
    x, h0, c0, W, U, b = _same_dtype(arrays)
    return lstm_backward(saved, d_hs, d_c, x, h0, c0, W, U, b, needs)


def _same_dtype(arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """As NumPy promotes: all in the widest dtype."""
    dtype = np.result_type(*arrays)
    return [a if a.dtype == dtype else a.astype(dtype) for a in arrays]


_fused = FusedOp(forward, backward, composite)


def lstm(x: Any, h0: Any, c0: Any, W: Any, U: Any, b: Any) -> tuple[Tensor, Tensor]:
    """An LSTM along a sequence, with hand-derived backpropagation through time.

        (i, f, g, o) = (sigma, sigma, tanh, sigma)(x_t W + h_{t-1} U + b)
        c_t = f * c_{t-1} + i * g,   h_t = o * tanh(c_t)

    and backwards, with dh_t and dc_t the gradients that arrive at step t:

        dc_t <- dc_t + dh_t * o * (1 - tanh(c_t)^2)
        dz = (dc_t * g * i (1 - i),  dc_t * c_{t-1} * f (1 - f),  dc_t * i * (1 - g^2),
              dh_t * tanh(c_t) * o (1 - o))
        dh_{t-1} = dz U^T,   dc_{t-1} = dc_t * f,   dW = sum x_t^T dz,   dU = sum h_{t-1}^T dz

    Args:
        x: (B, T, D).
        h0, c0: (B, H), the state before the sequence.
        W: (D, 4H). U: (H, 4H). b: (4H,), gates in the order i, f, g, o.

    Returns:
        (hs, c): hidden states of all steps (B, T, H), and the last cell state (B, H).

    Raises:
        ValueError: a shape does not fit; the argument, its shape and the right one are named.

    Source: article section 5.1; Hochreiter & Schmidhuber 1997; Gers et al. 2000.
    """
    if np.ndim(x) != 3 or np.ndim(U) != 2:
        raise ValueError(f"x must be (B, T, D) and U (H, 4H), not {np.shape(x)} and {np.shape(U)}")
    (B, _, D), H = np.shape(x), np.shape(U)[0]
    right = {"h0": (h0, (B, H)), "c0": (c0, (B, H)), "W": (W, (D, 4 * H)), "U": (U, (H, 4 * H)),
             "b": (b, (4 * H,))}
    for name, (array, shape) in right.items():
        if np.shape(array) != shape:
            raise ValueError(f"{name} must have shape {shape} for x of {np.shape(x)} and H = {H}, "
                             f"not {np.shape(array)}")
    hs, c = _fused(x, h0, c0, W, U, b)
    return hs, c
