"""Text: corpora and their split, tokenizers, batches."""

from minillm.text.batches import BPTTBatches
from minillm.text.bpe import BPETokenizer
from minillm.text.byte_level import AddedToken, StreamDecoder
from minillm.text.bytes_tokenizer import ByteTokenizer
from minillm.text.corpus import Split, load_default, read_text, split, unique_paragraphs
from minillm.text.pretokenize import pretokenize
from minillm.text.random_windows import RandomWindows
from minillm.text.sources import Corpus, read_sources
from minillm.text.tokenizer import CharTokenizer
from minillm.text.tokenizer_json import load_tokenizer_json, save_tokenizer_json
from minillm.text.tokenizers import Tokenizer, tokenizer_from_json

__all__ = [
    "AddedToken",
    "BPETokenizer",
    "BPTTBatches",
    "ByteTokenizer",
    "CharTokenizer",
    "Corpus",
    "RandomWindows",
    "Split",
    "StreamDecoder",
    "Tokenizer",
    "load_default",
    "load_tokenizer_json",
    "pretokenize",
    "read_sources",
    "read_text",
    "save_tokenizer_json",
    "split",
    "tokenizer_from_json",
    "unique_paragraphs",
]
