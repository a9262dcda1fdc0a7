"""`minillm export`: a trained model as a folder that `load_pretrained`, or `transformers`, opens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from minillm.cli.open_model import MODEL_HELP, open_model
from minillm.errors import UserError
from minillm.models import GPT, Llama, save_huggingface, save_pretrained
from minillm.text import BPETokenizer


def export(
    name: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    folder: Annotated[Path, typer.Argument(help="The folder to write: config.json, model.safetensors and "
                                           "tokenizer.json.")],
    huggingface: Annotated[bool, typer.Option(
        "--huggingface", help="Write it as `transformers` reads it: a GPT or a Llama with a BPE "
        "tokenizer.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model that the folder "
                                            "holds.")] = False,
) -> None:
    """Write a model and its tokenizer, such as the best of a run, into a folder of their own.

    The folder appears when it is complete. Python opens it with minillm.models.load_pretrained; every
    command that takes a model takes it too.

    Example:  minillm export runs/lm my-model   |   minillm export runs/gpt my-gpt --huggingface
    """
    model, tokenizer = open_model(name)
    if huggingface and not isinstance(model, GPT | Llama):
        raise UserError(f"{name!r} is a {type(model).__name__}, which transformers has not: leave out "
                        "--huggingface, or train with --model gpt or llama")
    if huggingface and not isinstance(tokenizer, BPETokenizer):
        raise UserError(f"{name!r} has a {type(tokenizer).__name__}, which transformers has not: leave out "
                        "--huggingface, or train with --tokenizer bpe")
    save: Any = save_huggingface if huggingface else save_pretrained
    try:
        save(folder, model, tokenizer, overwrite=overwrite)
    except ValueError as error:
        raise UserError(f"{name!r} cannot be written: {error}") from error
    reader = "transformers and minillm read" if huggingface else "minillm reads"
    typer.echo(f"{folder}: {type(model).__name__} of {model.n_params:,} parameters, with its tokenizer of "
               f"{tokenizer.vocab_size:,} tokens; {reader} it")
