"""The model that a command names: a run folder, or anything that `load_pretrained` knows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from minillm.errors import UserError
from minillm.models import EncoderDecoder, load_pretrained
from minillm.tasks.language_modelling import load_model
from minillm.text import Tokenizer
from minillm.train import RunFolder

MODEL_HELP = ("A run folder of `minillm train lm`, `smollm2`, a .gguf file, a folder with a Hugging Face "
              "checkpoint, or one that `save_pretrained` wrote.")


def open_model(name: str) -> tuple[Any, Tokenizer]:
    """A language model in eval mode, and its tokenizer.

    Raises:
        UserError: there is no such model, its files are damaged, or it has no tokenizer or needs a source.
    """
    if os.path.isfile(Path(name) / "config.json") and "task" in RunFolder.open(name).config:
        model, tokenizer, _ = load_model(name)
        return model, tokenizer
    model, tokenizer = load_pretrained(name)
    if isinstance(model, EncoderDecoder):
        raise UserError(f"{name!r} is an encoder-decoder, which needs a source text: name a language model")
    if tokenizer is None:
        raise UserError(f"{name!r} was saved without a tokenizer: save it with one")
    return model, tokenizer
