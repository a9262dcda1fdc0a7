"""`Sequential`: layers one after the other, with Keras's ways to look at their weights."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from minillm.autograd import Tensor

from . import _data, _files
from .layer import Layer, Shape, write_weights
from .layers import Embedding, InputLayer
from .training import Trainable


class Sequential(Trainable):
    """A model whose layers follow each other.

    Args:
        layers: `minillm.keras.layers`, maybe with an `Input` in front; more can be `add`ed.
        name: shown by `summary`.

    Weights exist once the shape of the input is known: from `Input`, from `build`, or at the first
    call or `fit`, as in Keras.

    Raises:
        TypeError: an entry is no layer.
        ValueError: a layer stands twice, or a layer cannot take its predecessor's output.

    Source: article section 5.1.
    """

    def __init__(self, layers: Iterable[Any] | None = None, name: str = "sequential") -> None:
        super().__init__()
        self.name = name
        self.layers: list[Layer] = []
        self.input_shape: Shape | None = None
        self.training = False
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Any) -> None:
        """Append a layer (or set the input's shape with an `Input`, before all layers)."""
        if isinstance(layer, InputLayer):
            if self.layers:
                raise ValueError("Input has to come before all layers")
            self.input_shape = layer.input_shape
            return
        if not isinstance(layer, Layer):
            hint = f": write {layer.__name__}(...)" if isinstance(layer, type) else ""
            raise TypeError(f"layers[{len(self.layers)}] is {layer!r:.60}, no layer of minillm.keras{hint}")
        if any(layer is other for other in self.layers):
            raise ValueError(f"{layer.name} stands in the model twice: make two layers")
        same = [x.name for x in self.layers]
        if layer.name in same and not layer._named:
            layer.name = next(n for i in range(1, len(same) + 1) if (n := f"{layer.name}_{i}") not in same)
        self.layers.append(layer)
        if len(self.layers) == 1 and self.input_shape is None:
            self.input_shape = layer.input_shape
        if self.input_shape is not None:
            try:
                self.build(self.input_shape)
            except ValueError:
                self.layers.pop()
                raise

    @property
    def built(self) -> bool:
        return bool(self.layers) and all(layer.built for layer in self.layers)

    def build(self, input_shape: Any) -> None:
        """Make the weights.

        Args:
            input_shape: with the batch first, such as (None, T); None is a length that is not fixed.

        Raises:
            ValueError: a layer cannot take its predecessor's output.
        """
        self.input_shape = shape = tuple(input_shape)
        for layer in self.layers:
            layer.build(shape)
            shape = layer.output_shape(shape)

    def shape_of_output(self, shape: Shape) -> Shape:
        """The output's shape for an input of `shape`; builds the model where it is not built.

        Raises:
            ValueError: there are no layers, or a layer cannot take the shape.
        """
        if not self.layers:
            raise ValueError(f"{self.name} has no layers: add some")
        if not self.built:
            self.build((None, *shape[1:]))
        for layer in self.layers:
            shape = layer.output_shape(shape)
        return shape

    def forward(self, x: Any, training: bool = False) -> Any:
        """The model's output for a batch, on the tape.

        Args:
            x: (N, ...), an array or Tensor.
            training: whether dropout drops.
        """
        if not isinstance(x, Tensor):
            x = self._as_input(x, "x")
        self.shape_of_output(x.shape)
        return self._run(x, training)

    def _run(self, x: Any, training: bool) -> Any:
        self.train(training)
        for layer in self.layers:
            x = layer(x)
        return x

    def _as_input(self, x: Any, name: str) -> np.ndarray:
        first = self.layers[0] if self.layers else None
        return first.check(x, name) if isinstance(first, Embedding) else _data.floats(x, name)

    @property
    def named_weights(self) -> list[tuple[str, Tensor]]:
        """(layer/weight, Tensor) in Keras's order."""
        return [(f"{layer.name}/{name}", w) for layer in self.layers for name, w in layer.named_weights]

    @property
    def weights(self) -> list[Tensor]:
        return [w for _, w in self.named_weights]

    trainable_weights = trainable_variables = variables = weights

    @property
    def non_trainable_weights(self) -> list[Tensor]:
        """None: every weight learns."""
        return []

    @property
    def losses(self) -> list[Any]:
        """The layers' penalties, as scalars on the tape."""
        return [loss for layer in self.layers for loss in layer.losses]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name or index.

        Raises:
            ValueError: there is none.
        """
        if index is not None and -len(self.layers) <= index < len(self.layers):
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(f"no layer {name if index is None else index!r}; "
                         f"there are {', '.join(x.name for x in self.layers)}")

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights, layer by layer, in Keras's shapes and order."""
        return [w.data.copy() for w in self.weights]

    def set_weights(self, weights: Any) -> None:
        """Write arrays, in the order of `get_weights` (of this model or of Keras's), into the weights.

        Raises:
            ValueError: their number or a shape does not fit, or the model is not built; nothing is
                written then.
        """
        write_weights(self.name, self.named_weights, weights, self.built)

    def save_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Write the weights as a `.weights.h5` file, which Keras's `load_weights` takes too.

        Raises:
            UserError: another ending, a path that cannot be written, or h5py is not installed.
            ValueError: the model has no weights yet.
        """
        _files.save_weights(self, filepath)

    def load_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Read the weights from a `.weights.h5`, `.keras` or Keras 2 `.h5` file, Keras's or ours.

        Raises:
            UserError: the file cannot be read, is damaged, or is of another model; nothing is written
                then.
            ValueError: the model has no weights yet.
        """
        _files.load_weights(self, filepath)

    def save(self, filepath: str | os.PathLike[str]) -> None:
        """Write layers and weights as a `.keras` file, which Keras's `load_model` takes too.

        What `compile` was given is not in it.

        Raises:
            UserError: another ending, a path that cannot be written, or h5py is not installed.
            ValueError: the model has no weights yet, or a layer is made with a function of the user's.
        """
        _files.save_model(self, filepath)

    def count_params(self) -> int:
        return self.n_params

    def summary(self, print_fn: Any = print) -> None:
        """Print layers, shapes of their outputs and numbers of parameters.

        Args:
            print_fn: takes each line.
        """
        shape, rows = self.input_shape, [("Layer (type)", "Output Shape", "Param #")]
        for layer in self.layers:
            if not layer.built:
                shape = None
            shape = None if shape is None else layer.output_shape(shape)
            rows.append((f"{layer.name} ({type(layer).__name__})", "?" if shape is None else str(shape),
                         f"{layer.n_params:,}" if layer.built else "0 (unbuilt)"))
        wide = [max(len(row[i]) for row in rows) + 2 for i in range(3)]
        lines = [f"{a:<{wide[0]}}{b:<{wide[1]}}{c:>{wide[2]}}" for a, b, c in rows]
        lines.insert(1, "-" * sum(wide))
        total = f"{self.n_params:,} ({_bytes(sum(w.data.nbytes for w in self.weights))})"
        for line in (f'Model: "{self.name}"', *lines, "-" * sum(wide), f"Total params: {total}",
                     f"Trainable params: {total}", "Non-trainable params: 0 (0.00 B)"):
            print_fn(line)

    def __repr__(self) -> str:
        return f"<Sequential name={self.name}, built={self.built}>"


def _bytes(n: float) -> str:
    units = ["B", "KB", "MB", "GB"]
    while n >= 1024 and len(units) > 1:
        n, units = n / 1024, units[1:]
    return f"{n:.2f} {units[0]}"
