"""Text out of models: sampling, batches, stop strings, beam search."""

from .batch import Batch, LanguageModel, generate
from .beam import Hypothesis, beam_search, length_divisor
from .sampling import Sampling, next_token_distribution
from .text import Generated, Piece, generate_text, stream_text
from .text_stream import TextStream

__all__ = [
    "Batch", "Generated", "Hypothesis", "LanguageModel", "Piece", "Sampling", "TextStream", "beam_search",
    "generate", "generate_text", "length_divisor", "next_token_distribution", "stream_text",
]
