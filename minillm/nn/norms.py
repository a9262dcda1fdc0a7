"""Normalisation layers: LayerNorm and RMSNorm."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.autograd import Tensor
from minillm.autograd.fused import layer_norm, rms_norm

from .module import Module, parameter


class LayerNorm(Module):
    """gamma (x - mu) / sqrt(sigma^2 + eps) + beta along the last axis: `formulas.layer_norm`.

    Args:
        dim: C, length of the last axis.
        eps: > 0, in the unit of x squared.
        bias: whether there is a beta.
        dtype: of the parameters.

    Parameters: weight (C,), ones; bias (C,), zeros. Shapes: (..., C) -> (..., C).

    Source: Ba, Kiros & Hinton 2016.
    """

    def __init__(self, dim: int, *, eps: float = 1e-5, bias: bool = True, dtype: Any = np.float32) -> None:
        self.eps = eps
        self.weight = parameter(np.ones(dim, dtype))
        self.bias = parameter(np.zeros(dim, dtype)) if bias else None

    def forward(self, x: Any) -> Tensor:
        return layer_norm(x, self.weight, self.bias, eps=self.eps)

    def _options(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps:g}"


class RMSNorm(Module):
    """gamma x / sqrt(mean(x^2) + eps) along the last axis: `formulas.rms_norm`.

    Args:
        dim: C, length of the last axis.
        eps: > 0, in the unit of x squared.
        dtype: of the parameter.

    Parameters: weight (C,), ones. Shapes: (..., C) -> (..., C).

    Source: Zhang & Sennrich 2019.
    """

    def __init__(self, dim: int, *, eps: float = 1e-6, dtype: Any = np.float32) -> None:
        self.eps = eps
        self.weight = parameter(np.ones(dim, dtype))

    def forward(self, x: Any) -> Tensor:
        return rms_norm(x, self.weight, eps=self.eps)

    def _options(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps:g}"
