"""A model's weights in files of Keras's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm.autograd.devices import to_host
from minillm.errors import UserError
from minillm.models.keras_layers import from_cudnn
from minillm.weights.keras_file import KerasFile, write_model, write_weights
from minillm.weights.mapped_file import display

from . import _config
from . import layers as _layers
from .layer import Layer


def save_weights(model: Any, path: str | os.PathLike[str]) -> None:
    write_weights(path, _variables(model))


def save_model(model: Any, path: str | os.PathLike[str]) -> None:
    check_built(model)
    write_model(path, _config.of_model(model), _variables(model))


def load_weights(model: Any, path: str | os.PathLike[str]) -> None:
    check_built(model)
    shapes = [[w.shape for w in layer.weights] for layer in model.layers]
    found = arrays(KerasFile(path), model.layers, shapes, display(path))
    model.set_weights([a for layer in found for a in layer])


def check_built(model: Any) -> None:
    if not model.built or model.input_shape is None:
        raise ValueError(f"{model.name} has no weights yet: call it on a batch first, or build it with the "
                         "shape of its input")


def arrays(file: KerasFile, layers: Sequence[Layer], shapes: Sequence[Sequence[tuple[int, ...]]],
           where: str) -> list[list[np.ndarray]]:
    """Each layer's arrays, of these shapes, from a file.

    Raises:
        UserError: the file has other layers, or a layer has another number of arrays, or of another
            shape or type.
    """
    held = {name: tensors for name, tensors in file.layers.items() if tensors}
    weighted = [i for i, wanted in enumerate(shapes) if wanted]
    groups = dict(zip(held, weighted)) if file.legacy else {_groups(layers)[i]: i for i in weighted}
    if held.keys() != groups.keys() or len(weighted) != len(held):
        names = ", ".join(groups if not file.legacy else [layers[i].name for i in weighted])
        raise UserError(f"{where} has weights of other layers: the file has {', '.join(held) or 'none'}, the "
                        f"model {names or 'none'}")
    found: list[list[np.ndarray]] = [[] for _ in layers]
    for group, i in groups.items():
        there = [file.tensors[name].shape for name in held[group]]
        wanted = [tuple(shape) for shape in shapes[i]]
        cudnn = [*wanted[:2], (2 * wanted[1][1],)] if isinstance(layers[i], _layers.LSTM) else None
        if there not in (wanted, cudnn):
            raise UserError(f"{where} does not fit {layers[i].name}: weights of shapes {_shown(there)} in "
                            f"the file, {_shown(wanted)} in the model")
        found[i] = [file.read(name, None) for name in held[group]]
        if any(a.dtype.kind != "f" for a in found[i]):
            raise UserError(f"{where} does not fit {layers[i].name}: its weights are no floats")
        if there == cudnn:
            found[i] = from_cudnn(found[i])[:len(wanted)]
    return found


def _variables(model: Any) -> dict[str, dict[str, np.ndarray]]:
    check_built(model)
    place = {i: "cell/vars" if isinstance(x, _layers.LSTM) else "vars" for i, x in enumerate(model.layers)}
    return {group: {f"{place[i]}/{n}": to_host(w.data) for n, w in enumerate(model.layers[i].weights)}
            for i, group in enumerate(_groups(model.layers))}


def _groups(layers: Sequence[Layer]) -> list[str]:
    """Keras's names for the layers in a file: the class, and a count from the second one on."""
    groups: list[str] = []
    counts: dict[str, int] = {}
    for layer in layers:
        name = type(layer).__name__.lower()
        n = counts[name] = counts.get(name, -1) + 1
        groups.append(f"{name}_{n}" if n else name)
    return groups


def _shown(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes)) or "none"
