"""The article's layers but the LSTM: embedding, dense; and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.autograd import Tensor
from minillm.autograd.fused import dropout, embedding, linear

from . import init
from .module import Module, parameter


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
        x = as_array(x, W.dtype)
        return linear(x, W, b)

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

    def attend(self, x: Any) -> Tensor:
        """x weight^T, the table as an output layer (tied weights): (..., D) -> (..., V).

        Source: Press & Wolf 2017.
        """
        return linear(x, self.weight.T, None)

    def _options(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"


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
        x = as_array(x)
        if min(self.p, 1 - self.p) >= 2**-7:
            # 16 random bits decide on an activation: half the time of `random`, p exact to 2^-17
            keep = self.rng.integers(0, 1 << 16, x.shape, np.uint16) >= round(self.p * (1 << 16))
        else:  # too coarse: p = 0.999995 would drop everything, and p = 1e-6 nothing
            keep = self.rng.random(x.shape) >= self.p
        return dropout(x, keep, p=self.p)

    def _options(self) -> str:
        return f"p={self.p}"


def as_array(x: Any, dtype: Any = None) -> Any:
    """x itself if it is an array of some kind; a list or number as an array of `dtype`."""
    return x if hasattr(x, "ndim") else np.asarray(x, dtype)
