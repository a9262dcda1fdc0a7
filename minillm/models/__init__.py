"""Models: each a readable file with its configuration."""

from .gpt import GPT, GPTConfig
from .llama import Llama, LlamaConfig
from .lstm_lm import LSTMConfig, LSTMLanguageModel

__all__ = ["GPT", "GPTConfig", "LSTMConfig", "LSTMLanguageModel", "Llama", "LlamaConfig"]
