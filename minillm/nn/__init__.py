"""Layers and the Module that holds them."""

from . import init
from .attention import MultiHeadAttention
from .cache import KVCache
from .init import manual_seed
from .layers import Dropout, Embedding, Linear
from .lstm import LSTM, LSTMLayer
from .lstm_encoder import LSTMEncoder
from .module import Module, parameter
from .norms import LayerNorm, RMSNorm
from .sequential import Sequential
from .transformer import (
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = ["LSTM", "Dropout", "Embedding", "KVCache", "LayerNorm", "Linear", "LSTMEncoder", "LSTMLayer",
           "Module", "MultiHeadAttention", "RMSNorm", "Sequential", "TransformerDecoder",
           "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer", "init",
           "manual_seed", "parameter"]
