"""How the matrices of a transformer begin: schemes, and how the residual stream grows with depth in each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minillm import nn

# name: standard deviation of a matrix (D, E) in a model of width C and n_layer blocks; `last` is True for
# those that write into the residual stream, of which each block has two.
SCHEMES: dict[str, Callable[[int, int, int, int, bool], float]] = {
    # Radford et al. 2019, section 2.3: the stream does not grow with depth
    "gpt2": lambda D, E, C, n_layer, last: 0.02 / math.sqrt(2 * n_layer) if last else 0.02,
    # GPT-1 and Llama: the same for all
    "normal": lambda D, E, C, n_layer, last: 0.02,
    # Glorot & Bengio 2010: the variance is kept both ways
    "glorot": lambda D, E, C, n_layer, last: math.sqrt(2 / (D + E)),
    # Nguyen & Salazar 2019, and 2 / (n_layer sqrt(C)) into the stream (Wang & Komatsuzaki 2021): GPT-NeoX's
    "small": lambda D, E, C, n_layer, last: 2 / (n_layer * math.sqrt(C)) if last else math.sqrt(2 / (5 * C)),
}


def set_matrices(model: nn.Module, scheme: str, *, n_layer: int, into_stream: tuple[str, ...],
                 rng: np.random.Generator | None) -> None:
    """Draw all matrices anew from N(0, std^2); the embedding tables from N(0, 0.02^2), but as a matrix
    (C, C) in "small".

    Args:
        model: its parameter `tokens.weight` is (V, C).
        scheme: a key of `SCHEMES`.
        n_layer: blocks of the model.
        into_stream: ends of the names of the matrices that write into the residual stream.
        rng: draws.
    """
    if nn.init.is_empty():
        return
    std = SCHEMES[scheme]
    named: list[tuple[str, Any]] = list(model.named_parameters())
    C = dict(named)["tokens.weight"].shape[1]
    for name, p in named:
        if p.ndim == 2:
            table = name in ("tokens.weight", "positions.weight")
            D, E = (C, C) if table else p.shape
            s = 0.02 if table and scheme != "small" else std(D, E, C, n_layer, name.endswith(into_stream))
            p.data[...] = nn.init.normal(p.shape, s, rng, p.dtype)
