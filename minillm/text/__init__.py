"""Text: corpora and their split, tokenizers, batches."""

from minillm.text.batches import BPTTBatches
from minillm.text.corpus import Split, load_default, read_text, split, unique_paragraphs
from minillm.text.tokenizer import CharTokenizer

__all__ = [
    "BPTTBatches",
    "CharTokenizer",
    "Split",
    "load_default",
    "read_text",
    "split",
    "unique_paragraphs",
]
