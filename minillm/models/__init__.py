"""Models: each a readable file with its configuration."""

from .lstm_lm import LSTMConfig, LSTMLanguageModel

__all__ = ["LSTMConfig", "LSTMLanguageModel"]
