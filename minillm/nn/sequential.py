"""Layers one after the other."""

from __future__ import annotations

from typing import Any

from .lstm import LSTM, LSTMLayer
from .module import Module


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
            if isinstance(layer, LSTM | LSTMLayer):
                x = x[0]
        return x
