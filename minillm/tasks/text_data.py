"""From a text to tokens, and to batches for training and for evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.errors import UserError
from minillm.text import BPETokenizer, BPTTBatches, ByteTokenizer, CharTokenizer, RandomWindows, Tokenizer
from minillm.train import HeldOut

TOKENIZER_KINDS = ("char", "byte", "bpe")

EVAL_LANES = 16  # stretches of the text that an evaluation reads side by side
EVAL_SEQ_LEN = 128  # for a model whose state is carried from window to window
_EVAL_LOGITS = 1 << 24  # that many in a window at most: fewer lanes where the vocabulary is large


def train_tokenizer(kind: str, text: str, vocab_size: int) -> Tokenizer:
    """A tokenizer of a `TOKENIZER_KINDS`, learned on `text`; `vocab_size` is for BPE.

    Raises:
        UserError: the text is empty, or vocab_size too small.
    """
    if kind == "char":
        return CharTokenizer.train(text)
    if kind == "byte":
        return ByteTokenizer()
    try:
        return BPETokenizer.train(text, vocab_size=vocab_size)
    except ValueError as error:
        raise UserError(str(error)) from error


def encode(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """The ids (N,) of a text, in which nothing is a special token."""
    if isinstance(tokenizer, CharTokenizer):
        return tokenizer.encode(text)
    return tokenizer.encode(text, special=False)


def training_batches(ids: np.ndarray, sequences: int, seq_len: int, windows: str, seed: int) -> Any:
    """Batches (x, y) of (sequences, seq_len): "random" windows, or "contiguous" lanes through the text.

    Raises:
        UserError: the text is too short.
    """
    if windows == "random":
        return RandomWindows(ids, sequences, seq_len, seed=seed)
    return BPTTBatches(ids, sequences, seq_len, shift_seed=seed)


def evaluation_data(tokenizer: Tokenizer, text: str, seq_len: int) -> HeldOut:
    """All of a text, in windows of seq_len that follow on each other and do not overlap.

    Each token but the first is a label once. A model with a state carries it over; one without sees none
    of the tokens before a window's first, so its loss is that of contexts of 1 to seq_len tokens.

    Bits per character are nats per token / log 2 * tokens / characters, whatever the tokenizer: a text's
    whole code length, shared out to its characters. A character tokenizer pays for a character that it
    never saw as one class, `<unk>`, whichever it is: a text full of them looks cheaper than it is.
    """
    ids = encode(tokenizer, text)
    fit = max(1, _EVAL_LOGITS // (seq_len * tokenizer.vocab_size))
    lanes = max(1, min(EVAL_LANES, fit, (len(ids) - 1) // seq_len))
    return HeldOut(BPTTBatches(ids, lanes, seq_len, keep_tail=True), len(ids) / max(1, len(text)))
