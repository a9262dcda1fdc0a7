"""What every layer of Keras's has: options, a build at the first call, weights in Keras's order."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import numpy as np

from minillm import nn
from minillm.autograd import Tensor

from . import _data, regularizers
from ._names import refuse_options

Shape = tuple[int | None, ...]  # as Keras writes it: None is a length that is not fixed
Penalty = Any  # a name, a regularizer or None


class Layer(nn.Module):
    """Base class: options now, weights when the shape of the input is known.

    Subclasses name the attributes of `core` that hold their weights, in Keras's order, and define
    `output_shape`, `_make` and `call`.

    Args:
        name: shown by `summary`; the class's name in lower case if left out.
        input_shape: shape of one sample, for a model's first layer; it is then built at once.
        options: what else Keras knows, at its default value only.

    Attributes:
        core: the `minillm.nn` module that does the work; None before the layer is built.
        built: whether there are weights.

    Raises:
        TypeError, ValueError: an option that does not exist, or not with this value.
    """

    _names: ClassVar[dict[str, str]] = {}  # attribute of core -> Keras's name of the weight
    _known: ClassVar[tuple[str, ...]] = ()
    _fixed: ClassVar[dict[str, Any]] = {}

    def __init__(self, *, name: str | None = None, input_shape: Any = None,
                 penalties: dict[str, Penalty] | None = None, **options: Any) -> None:
        owner = type(self).__name__
        fixed = {"trainable": True, "dtype": None, "activity_regularizer": None, **self._fixed}
        refuse_options(owner, options, fixed, [*self._known, "name", "input_shape"])
        self._named = name is not None
        self.name = name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", owner).lower()
        self.input_shape: Shape | None = None if input_shape is None else (None, *input_shape)
        self.penalties = {k: regularizers.get(v) for k, v in (penalties or {}).items()}
        self.core: nn.Module | None = None
        self.built = False
        self.training = False

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`.

        Raises:
            ValueError: the layer cannot take that shape.
        """
        return shape

    def weight_shapes(self, shape: Shape) -> list[tuple[int, ...]]:
        """Shapes of the weights that `build` would make, without making them.

        Raises:
            ValueError: the width of the input is not known.
        """
        return []

    def _make(self, shape: Shape) -> nn.Module | None:
        """The module with the weights."""
        return None

    def call(self, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no call")

    def build(self, shape: Shape) -> None:
        """Make the weights for inputs of `shape` (None, ...), unless they are there."""
        self.output_shape(shape)
        if not self.built:
            self.core = self._make(shape)
            self.built = True

    def forward(self, x: Any, training: bool | None = None) -> Any:
        """The layer's output.

        Args:
            x: an array or Tensor.
            training: whether dropout drops; as it was left (False at first) if not given.
        """
        if not isinstance(x, Tensor):
            x = self._as_input(x)
        if not self.built:
            self.build((None, *x.shape[1:]))
        if training is not None:
            self.train(training)
        return self.call(x)

    def _as_input(self, x: Any) -> Any:
        return Tensor(_data.floats(x, "x"))

    @property
    def named_weights(self) -> list[tuple[str, Tensor]]:
        """(name, Tensor) of each weight in Keras's order; none before the layer is built."""
        pairs = [(name, getattr(self.core, attribute, None)) for attribute, name in self._names.items()]
        return [(name, w) for name, w in pairs if isinstance(w, Tensor) and w.requires_grad]

    @property
    def weights(self) -> list[Tensor]:
        return [w for _, w in self.named_weights]

    trainable_weights = trainable_variables = variables = weights

    @property
    def trainable(self) -> bool:
        """True: every weight learns."""
        return True

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if not value:
            raise ValueError(f"{self.name}.trainable = False is not supported: every weight learns here")

    @property
    def losses(self) -> list[Any]:
        """The penalties on the weights, as scalars on the tape."""
        pairs = [(self.penalties.get(name), w) for name, w in self.named_weights]
        return [penalty(w) for penalty, w in pairs if penalty is not None]

    def count_params(self) -> int:
        return self.n_params

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the weights, in Keras's shapes and order."""
        return [w.data.copy() for w in self.weights]

    def set_weights(self, weights: Any) -> None:
        """Write arrays, in the order of `get_weights`, into the weights.

        Raises:
            ValueError: their number or a shape does not fit, or the layer is not built; nothing is
                written then.
        """
        named = [(f"{self.name}/{name}", w) for name, w in self.named_weights]
        write_weights(self.name, named, weights, self.built)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def write_weights(owner: str, named: list[tuple[str, Tensor]], arrays: Any, built: bool) -> None:
    arrays = [np.asarray(a.data if isinstance(a, Tensor) else a) for a in arrays]
    if not built:
        raise ValueError(f"{owner} has no weights yet: call it on a batch first, or build it with the "
                         "shape of its input")
    if len(arrays) != len(named):
        raise ValueError(f"{owner} has {len(named)} weights ({', '.join(n for n, _ in named) or 'none'}), "
                         f"but {len(arrays)} arrays were given")
    for i, (a, (name, w)) in enumerate(zip(arrays, named)):
        if a.shape != w.shape:
            raise ValueError(f"weights[{i}] has shape {a.shape}, but {name} has {w.shape}")
    for a, (_, w) in zip(arrays, named):
        w.data[...] = a
