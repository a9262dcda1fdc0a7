"""`minillm generate`: text from a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from minillm.errors import UserError
from minillm.generate import generate as stream
from minillm.generate.sampling import check_options
from minillm.tasks.language_modelling import load_model


def generate(
    run: Annotated[Path, typer.Argument(help="A run folder of `minillm train lm`.")],
    prompt: Annotated[str | None, typer.Option("--prompt", help="What the text begins with. "
                                               "Left out: a new line.")] = None,
    length: Annotated[int, typer.Option("--length", help="Characters to write.")] = 400,
    temperature: Annotated[float, typer.Option("--temperature", help="Below 1 safer, above wilder; 0: "
                                               "always the likeliest.")] = 0.7,
    top_p: Annotated[float, typer.Option("--top-p", help="Draw from the likeliest characters that "
                                         "together have this probability.")] = 1.0,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Draw from the k likeliest.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same text.")] = 0,
) -> None:
    """Let a trained model go on after a prompt, and print the text as it comes.

    Example:  minillm generate runs/lm --prompt "The " --temperature 0.7 --top-p 0.95 --seed 1
    """
    if length < 1:
        raise UserError(f"length = {length} must be at least 1")
    if seed < 0:
        raise UserError(f"seed = {seed} must not be negative")
    if prompt == "":
        raise UserError('the prompt is empty: give at least one character, as in --prompt "The "')
    try:
        check_options(temperature, top_k, top_p)
    except ValueError as error:
        raise UserError(str(error)) from error
    model, tokenizer, _ = load_model(run)
    if prompt is None:
        prompt = "\n" if "\n" in tokenizer.characters else tokenizer.characters[0]
    ids = tokenizer.encode(prompt)
    unknown = sorted({c for c, i in zip(prompt, ids, strict=True) if i == tokenizer.unk_id})
    if unknown:
        raise UserError(f"the model never saw {unknown[0]!r}: use a prompt of characters from its text")
    sys.stdout.write(prompt)
    try:
        for token in stream(model, ids, length, rng=np.random.default_rng(seed), temperature=temperature,
                            top_k=top_k, top_p=top_p, forbidden=(tokenizer.unk_id,)):
            sys.stdout.write(tokenizer.decode([token]))
            sys.stdout.flush()
    except KeyboardInterrupt:  # the reader has seen enough
        pass
    finally:
        sys.stdout.write("\n")
