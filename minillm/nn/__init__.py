"""Layers and the Module that holds them."""

from . import init
from .init import manual_seed
from .layers import LSTM, Dropout, Embedding, Linear, Sequential
from .module import Module, parameter

__all__ = ["LSTM", "Dropout", "Embedding", "Linear", "Module", "Sequential", "init", "manual_seed",
           "parameter"]
