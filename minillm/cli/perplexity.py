"""`minillm perplexity`: how well a model predicts a text."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from minillm.cli.open_model import MODEL_HELP, open_model
from minillm.errors import UserError
from minillm.formulas import bits_per_character
from minillm.formulas import perplexity as perplexity_of
from minillm.generate.text import check_known
from minillm.models.likelihood import token_losses
from minillm.text import CharTokenizer, Tokenizer, read_text


def perplexity(
    name: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    file: Annotated[Path, typer.Argument(help="A UTF-8 text; special tokens in it are read as text.")],
    window: Annotated[int | None, typer.Option("--window", help="Tokens read at once. Left out: what the "
                                               "model can read, at most 1024.")] = None,
    stride: Annotated[int | None, typer.Option("--stride", help="Tokens that each window predicts, with "
                                               "those before as context. Left out: half a window.")] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", help="Read so many of the text's tokens "
                                               "only.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Measure how well a model predicts a text: the lower, the better.

    Perplexity per token depends on how long a model's tokens are. Bits per byte and per character do not:
    they compare any two models on one text. Before the text comes what texts began with in training, such as
    <|begin_of_text|>; without such a token the text's first one is not predicted and does not count.

    Example:  minillm perplexity runs/lm my-text.txt   |   minillm perplexity smollm2 my-text.txt --window 512
    """
    if tokens is not None and tokens < 2:
        raise UserError(f"tokens = {tokens} must be at least 2: the first may not be predicted")
    text = read_text(file)
    model, tokenizer = open_model(name)
    try:
        figures = measure(model, tokenizer, text, window=window, stride=stride, tokens=tokens)
    except ValueError as error:
        raise UserError(str(error)) from error
    if json:
        typer.echo(jsonlib.dumps(figures, indent=2))
        return
    for label, key in (("perplexity per token", "perplexity"), ("bits per character", "bits_per_character"),
                       ("bits per byte", "bits_per_byte")):
        typer.echo(f"{label:21} {figures[key]:.4g}")
    typer.echo(f"{'predicted':21} {figures['tokens']} tokens, {figures['characters']} characters, "
               f"{figures['bytes']} bytes")


def measure(model: Any, tokenizer: Tokenizer, text: str, *, window: int | None = None,
            stride: int | None = None, tokens: int | None = None) -> dict[str, float]:
    """The figures that the command prints.

    Args:
        model, tokenizer: a language model in eval mode and what it was trained with.
        text: as a user's file has it.
        window, stride: see `models.likelihood.token_losses`. The tokenizer's `prefix` is at the beginning of
            the first window; its `suffix` is not read.
        tokens: how many of the text's first tokens are read; None: all.

    Returns:
        nats_per_token, perplexity, bits_per_character, bits_per_byte; tokens, characters and bytes, which
        were predicted.

    Raises:
        ValueError: the text has one token only and nothing before it, holds a character that the model never
            saw (all such are one token, whose probability is that of no text), or an option is out of range.
    """
    prefix: tuple[int, ...] = ()
    if isinstance(tokenizer, CharTokenizer):
        text = text[:tokens]
        check_known(tokenizer, text, "no probability of this text can be measured")
        ids = tokenizer.encode(text)
        characters, n_bytes = len(ids) - 1, len(text[1:].encode("utf-8", "surrogatepass"))
    else:
        ids, prefix = tokenizer.encode(text, special=False)[:tokens], tokenizer.prefix
        predicted = tokenizer.decode_bytes(ids if prefix else ids[1:])
        # a character whose bytes are spread over tokens counts where its first byte is
        characters, n_bytes = sum(byte & 0xC0 != 0x80 for byte in predicted), len(predicted)
    ids = np.concatenate([np.array(prefix, np.int64), ids])
    if len(ids) < 2:
        raise ValueError("the text is a single token, and the first is not predicted: use a longer text")
    losses = token_losses(model, ids, window=window, stride=stride)[max(0, len(prefix) - 1):]
    nats = float(losses.mean())
    return {"nats_per_token": nats, "perplexity": float(perplexity_of(nats)),
            "bits_per_character": float(bits_per_character(nats, len(losses) / max(characters, 1))),
            "bits_per_byte": float(bits_per_character(nats, len(losses) / max(n_bytes, 1))),
            "tokens": len(losses), "characters": characters, "bytes": n_bytes}
