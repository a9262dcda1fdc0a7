"""`load_model`: a whole model from a file of Keras's or ours."""

from __future__ import annotations

import os
from typing import Any

from minillm.errors import UserError
from minillm.weights.keras_file import KerasFile
from minillm.weights.mapped_file import display

from . import _config, _files
from ._names import only, refuse_options
from .layers import Embedding
from .model import Sequential

__all__ = ["load_model"]
__getattr__ = only(__name__, __all__)


def load_model(filepath: str | os.PathLike[str], compile: bool = False, **options: Any) -> Sequential:
    """A Sequential model from a `.keras` file (Keras 3 or `Sequential.save`), or from a Keras 2 `.h5`.

    Layers and weights are read; what it was compiled with is not, so compile it before training.

    Args:
        filepath: the file.
        compile: False only.
        options: what else Keras knows (custom_objects, safe_mode), at its default value only. Code in a
            file, such as that of a Lambda layer, is never run.

    Raises:
        UserError: the file cannot be read or is damaged; it has layers or options that are not here;
            or its weights are not those of its layers.

    Memory: of the order of the file's length, whatever sizes it claims.
    """
    refuse_options("load_model", {"compile": compile, **options},
                   {"compile": False, "custom_objects": None, "safe_mode": True}, ["filepath"])
    file, where = KerasFile(filepath), display(filepath)
    if file.config is None:
        raise UserError(f"{where} holds weights only: build the model, then call its load_weights")
    name, layers, input_shape = _config.read(file.config, where)
    if input_shape is None and isinstance(layers[0], Embedding):
        input_shape = (None, None)
    if input_shape is None:
        raise UserError(f"{where} holds a model whose input's shape is not known: build it before saving")
    try:
        shape, shapes = input_shape, []
        for layer in layers:
            shapes.append(layer.weight_shapes(shape))
            shape = layer.output_shape(shape)
        # Before anything is built: a config may claim any size, tensors in the file are really there.
        arrays = _files.arrays(file, layers, shapes, where)
        model = Sequential(layers, name)
        model.build(input_shape)
    except (ValueError, TypeError) as error:
        raise UserError(f"{where} holds a model that cannot be built: {error}") from None
    model.set_weights([a for layer in arrays for a in layer])
    return model
