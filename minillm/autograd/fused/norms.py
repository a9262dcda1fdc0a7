"""Layer and RMS normalisation, each as one op: a few passes over the rows, sums as products with BLAS.

    layer norm:  h = (x - mu) r, r = 1 / sqrt(sigma^2 + eps), y = gamma h + beta
                 dx = r (gamma g - mean(gamma g) - h mean(gamma g h))
    RMS norm:    h = x r,        r = 1 / sqrt(mean(x^2) + eps), y = gamma h
                 dx = r (gamma g - h mean(gamma g h))
    both:        dgamma = sum over rows of g h,  dbeta = sum over rows of g

Between forward and backward r is kept, and h by layer norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm import formulas
from minillm.autograd.state import state

from .op import FusedOp
from .sums import column_sums, row_sums


def layer_forward(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray | None, *, save: bool,
                  eps: float = 1e-5) -> tuple[np.ndarray, Any]:
    _check_sizes(x, gamma=gamma, beta=beta)
    dtype = np.result_type(*(a for a in (x, gamma, beta) if a is not None))
    rows = _rows(x, dtype)  # (N, C)
    h = rows - _means(rows)
    r = _scale(h, eps)  # (N, 1)
    h *= r
    y = np.multiply(h, gamma, out=None if save else h)
    if beta is not None:
        y += beta
    return y.reshape(x.shape), (h, r) if save else None


def layer_backward(g: np.ndarray, saved: Any, x: np.ndarray, gamma: np.ndarray, beta: np.ndarray | None, *,
                   needs: Sequence[bool], eps: float = 1e-5) -> tuple[Any, ...]:
    h, r = saved
    g = _rows(g, h.dtype)  # (N, C)
    gh = g * h
    dgamma = column_sums(gh) if needs[1] else None
    dx = None
    if needs[0]:
        gamma = gamma.astype(h.dtype, copy=False)
        dx = g * gamma
        dx -= _means(g, gamma)
        dx -= np.multiply(h, _means(gh, gamma), out=gh)
        dx *= r
        dx = dx.reshape(x.shape)
    return dx, dgamma, column_sums(g) if needs[2] else None


def rms_forward(x: np.ndarray, gamma: np.ndarray, *, save: bool, eps: float = 1e-6) -> tuple[np.ndarray, Any]:
    _check_sizes(x, gamma=gamma)
    rows = _rows(x, np.result_type(x, gamma))  # (N, C)
    r = _scale(rows, eps)  # (N, 1)
    y = rows * r
    y *= gamma
    return y.reshape(x.shape), r if save else None


def rms_backward(g: np.ndarray, r: np.ndarray, x: np.ndarray, gamma: np.ndarray, *, needs: Sequence[bool],
                 eps: float = 1e-6) -> tuple[Any, ...]:
    g = _rows(g, r.dtype)  # (N, C)
    h = _rows(x, r.dtype) * r
    gh = g * h
    dgamma = column_sums(gh) if needs[1] else None
    dx = None
    if needs[0]:
        gamma = gamma.astype(r.dtype, copy=False)
        h *= _means(gh, gamma)
        dx = np.multiply(g, gamma, out=gh)
        dx -= h
        dx *= r
        dx = dx.reshape(x.shape)
    return dx, dgamma


def _check_sizes(x: np.ndarray, **weights: np.ndarray | None) -> None:
    if x.ndim == 0:
        raise ValueError("x must have an axis to normalise, (..., C), not the shape ()")
    for name, w in weights.items():
        if w is not None and w.shape != x.shape[-1:]:
            raise ValueError(f"{name} must have shape {x.shape[-1:]} for x of {x.shape}, not {w.shape}")


def _rows(x: np.ndarray, dtype: Any) -> np.ndarray:
    """(..., C) -> (N, C), in `dtype`."""
    return x.reshape(x.size // max(1, x.shape[-1]), x.shape[-1]).astype(dtype, copy=False)


def _means(x: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The mean of each row, or of each row's products with weights (C,): (N, C) -> (N, 1)."""
    sums = row_sums(x) if weights is None else x.dot(weights)
    return (sums / x.shape[1])[:, None]


def _scale(h: np.ndarray, eps: float) -> np.ndarray:
    """1 / sqrt(mean(h^2) + eps) of each row: (N, C) -> (N, 1)."""
    r = row_sums(h * h) if state.invariant else np.einsum("nc,nc->n", h, h)
    r /= h.shape[1]
    r += eps
    np.sqrt(r, out=r)
    return np.divide(1, r, out=r)[:, None]


_layer_norm = FusedOp(layer_forward, layer_backward, formulas.layer_norm)
rms_norm = FusedOp(rms_forward, rms_backward, formulas.rms_norm)


def layer_norm(x: Any, gamma: Any, beta: Any = None, *, eps: float = 1e-5) -> Any:
    """gamma (x - mu) / sqrt(sigma^2 + eps) + beta along the last axis, fused: see `formulas.layer_norm`.

    Args:
        x: (..., C).
        gamma: (C,). beta: (C,), or None for 0.
        eps: > 0, in the unit of x squared.

    Returns:
        A Tensor of x's shape.

    Raises:
        ValueError: gamma's or beta's shape is not (C,).

    Source: Ba, Kiros & Hinton 2016, Layer Normalization.
    """
    return _layer_norm(x, gamma, beta, eps=eps)
