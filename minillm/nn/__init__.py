"""Layers and the Module that holds them."""

from . import init
from .init import manual_seed
from .layers import Dropout, Embedding, Linear
from .lstm import LSTM, LSTMLayer
from .module import Module, parameter
from .norms import LayerNorm, RMSNorm
from .sequential import Sequential

__all__ = ["LSTM", "Dropout", "Embedding", "LSTMLayer", "LayerNorm", "Linear", "Module", "RMSNorm",
           "Sequential", "init", "manual_seed", "parameter"]
