"""Models: each a readable file with its configuration."""

from .encoder_decoder import EncoderDecoder
from .gguf_model import load_gguf
from .gpt import GPT, GPTConfig
from .huggingface import load_huggingface, load_huggingface_model, save_huggingface
from .keras_layers import from_keras, load_keras, save_keras, to_keras
from .llama import Llama, LlamaConfig
from .lstm_encoder_decoder import LSTMEncoderDecoder, LSTMEncoderDecoderConfig
from .lstm_lm import LSTMConfig, LSTMLanguageModel
from .pretrained import load_pretrained, save_pretrained
from .smollm2 import find_smollm2, load_smollm2
from .torch_layers import from_torch, to_torch
from .transformer_encoder_decoder import TransformerEncoderDecoder, TransformerEncoderDecoderConfig

__all__ = ["EncoderDecoder", "GPT", "GPTConfig", "LSTMConfig", "LSTMEncoderDecoder",
           "LSTMEncoderDecoderConfig", "LSTMLanguageModel", "Llama", "LlamaConfig",
           "TransformerEncoderDecoder", "TransformerEncoderDecoderConfig", "find_smollm2", "from_keras",
           "from_torch", "load_gguf", "load_huggingface", "load_huggingface_model", "load_keras",
           "load_pretrained", "load_smollm2", "save_huggingface", "save_keras", "save_pretrained", "to_keras",
           "to_torch"]
