"""A model's parameters out of a file that has them under their own names: checked first, made, then read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minillm import nn
from minillm.errors import UserError
from minillm.weights import TensorInfo

from .gpt import GPT, GPTConfig
from .llama import Llama, LlamaConfig
from .lstm_encoder_decoder import LSTMEncoderDecoder, LSTMEncoderDecoderConfig
from .lstm_lm import LSTMConfig, LSTMLanguageModel
from .model_folder import CONFIG
from .slots import Slot, Weights, check_slots, fill
from .transformer_encoder_decoder import TransformerEncoderDecoder, TransformerEncoderDecoderConfig


class OwnKind(NamedTuple):
    """A kind of model: its class, its configuration's, and the field that counts the layers of each stack."""

    model: Any
    config: Any
    stacks: Mapping[str, str]  # where the layers' parameters are: "blocks" for blocks.0.norm1.weight


# name in config.json -> kind
MODELS: dict[str, OwnKind] = {
    "GPT": OwnKind(GPT, GPTConfig, {"blocks": "n_layer"}),
    "Llama": OwnKind(Llama, LlamaConfig, {"blocks": "n_layer"}),
    "LSTMLanguageModel": OwnKind(LSTMLanguageModel, LSTMConfig, {"lstm.layers": "num_layers"}),
    "LSTMEncoderDecoder": OwnKind(
        LSTMEncoderDecoder, LSTMEncoderDecoderConfig,
        dict.fromkeys(("encoder.layers", "encoder.forwards", "encoder.backwards", "decoder.layers"),
                      "num_layers")),
    "TransformerEncoderDecoder": OwnKind(
        TransformerEncoderDecoder, TransformerEncoderDecoderConfig,
        {"encoder.layers": "n_encoder_layer", "decoder.layers": "n_decoder_layer"}),
}


class Arrays:
    """Arrays by name, as what `check_slots` and `fill` read from."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays
        self.tensors = {name: TensorInfo(name, _type(a.dtype), a.shape, 0, a.nbytes)
                        for name, a in arrays.items()}

    def raw(self, name: str) -> np.ndarray:
        return self._arrays[name]


def _type(dtype: np.dtype) -> str:
    """As safetensors calls it: "F32", "I64"."""
    return "BOOL" if dtype.kind == "b" else f"{dtype.kind.upper()}{8 * dtype.itemsize}"


def read_model(sizes: Any, weights: Weights, where: str, config_where: str, *, dtype: Any = np.float32
               ) -> nn.Module:
    """The model of a configuration, in eval mode, with all its parameters read.

    Args:
        sizes: the configuration, of a kind in `MODELS`.
        weights: the file.
        where, config_where: the file, and the one with the sizes, as messages name them.
        dtype: of the parameters.

    Raises:
        UserError: as `check_own`; nothing is drawn, and the model is made only when all is sure to fit.
    """
    slots = check_own(sizes, weights, where, config_where)
    with nn.init.empty():
        model = kind_of(sizes).model(sizes, dtype=dtype)
    fill(model, slots, weights)
    return model.eval()


def check_own(sizes: Any, weights: Weights, where: str, config_where: str) -> list[Slot]:
    """The tensors of `weights`, once it is sure that they are all that the configuration asks for.

    Whatever the sizes claim, this takes time and memory in proportion to the file.

    Raises:
        UserError: a parameter has no tensor, a tensor no parameter, or a shape differs.
    """
    held = sum(info.n_elements for info in weights.tensors.values())
    if sizes.n_params != held:  # the sum first: it costs nothing
        given = ", ".join(f"{name} = {value}" for name, value in dataclasses.asdict(sizes).items()
                          if isinstance(value, int))  # flags too
        raise UserError(f"{config_where}: {given} make {sizes.n_params} parameters, but {where} holds "
                        f"{held}: one of the two is wrong")
    return check_slots(own_slots(sizes), weights, where, CONFIG)


def own_slots(sizes: Any) -> Iterator[Slot]:
    """The slots of all parameters under their own names, lazily: no model of so many layers is made.

    Layers above the first are alike, so a model with two at most in each stack tells the rest.
    """
    kind = kind_of(sizes)
    least = {field: min(getattr(sizes, field), 2) for field in kind.stacks.values()}
    with nn.init.empty():
        small = kind.model(dataclasses.replace(sizes, **least))
    for name, p in small.named_parameters():
        shape = tuple(("", length) for length in p.shape)
        yield Slot(name, name, shape)
        for stack, field in kind.stacks.items():
            if name.startswith(f"{stack}.1."):
                for i in range(2, getattr(sizes, field)):
                    other = f"{stack}.{i}.{name.removeprefix(f'{stack}.1.')}"
                    yield Slot(other, other, shape)


def kind_of(sizes: Any) -> OwnKind:
    """The kind of model that a configuration is of."""
    return next(kind for kind in MODELS.values() if type(sizes) is kind.config)
