"""Keras's layers as a thin face over `minillm.nn`: built at the first call, weights in Keras's order."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import numpy as np

from minillm import nn
from minillm.autograd import Tensor

from . import _data, activations, regularizers
from ._names import only, refuse_options

__all__ = ["LSTM", "Dense", "Dropout", "Embedding", "Input", "InputLayer", "Layer"]
__getattr__ = only(__name__, __all__)

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


class InputLayer:
    """What `Input` returns: the shape of a model's input. It has no weights."""

    def __init__(self, shape: Any, batch_size: int | None = None, dtype: Any = None,
                 name: str | None = None) -> None:
        self.input_shape: Shape = (batch_size, *shape)
        self.name = name or "input_layer"


def Input(shape: Any, batch_size: int | None = None, dtype: Any = None,
          name: str | None = None) -> InputLayer:
    """The shape of one sample, as a model's first entry: the model is then built at once.

    Args:
        shape: such as (T,), or (None,) for sequences of any length.
        batch_size: shown by `summary` only.
        dtype: accepted and not used: the first layer decides.
        name: of the input.
    """
    return InputLayer(shape, batch_size, dtype, name)


class Embedding(Layer):
    """Lookup table, `nn.Embedding`: (N, ...) integers in [0, input_dim) -> (N, ..., output_dim).

    Args:
        input_dim, output_dim: V and D.
        embeddings_regularizer: penalty on the table.
        mask_zero: False only.
        input_length: accepted and not used, as in Keras 3.

    Weights: embeddings (V, D).

    Source: article section 5.1.
    """

    _names: ClassVar = {"weight": "embeddings"}
    _known = ("input_dim", "output_dim", "embeddings_regularizer")
    _fixed: ClassVar = {"embeddings_initializer": "uniform", "embeddings_constraint": None,
                        "mask_zero": False, "weights": None, "lora_rank": None}

    def __init__(self, input_dim: int, output_dim: int, *, embeddings_regularizer: Penalty = None,
                 input_length: int | None = None, **options: Any) -> None:
        super().__init__(penalties={"embeddings": embeddings_regularizer}, **options)
        self.input_dim = _positive("input_dim", input_dim)
        self.output_dim = _positive("output_dim", output_dim)

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape, self.output_dim)

    def _make(self, shape: Shape) -> nn.Module:
        return nn.Embedding(self.input_dim, self.output_dim)

    def _as_input(self, x: Any) -> np.ndarray:
        return self.check(x, "x")

    def check(self, x: Any, name: str) -> np.ndarray:
        """x as ids, all of them in range: said once for a whole data set, with its own index."""
        ids = _data.integers(x, name)
        _data.check_range(ids, self.input_dim, name, "the input_dim of Embedding")
        return ids

    def call(self, x: Any) -> Any:
        assert self.core is not None
        return self.core(_data.integers(x, "x"))


class LSTM(Layer):
    """One LSTM layer, `nn.LSTM`: (N, T, D) -> (N, H), the last hidden state, or (N, T, H).

    Args:
        units: H.
        return_sequences: give the hidden states of all steps.
        use_bias: whether there is a bias.
        unit_forget_bias: start the forget gate's bias at 1.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties on W, U and b.

    Weights: kernel (D, 4H), recurrent_kernel (H, 4H), bias (4H,); gates i, f, g, o.

    Source: article section 5.1.
    """

    _names: ClassVar = {"W": "kernel", "U": "recurrent_kernel", "b": "bias"}
    _known = ("units", "return_sequences", "use_bias", "unit_forget_bias", "kernel_regularizer",
              "recurrent_regularizer", "bias_regularizer")
    _fixed: ClassVar = {
        "activation": "tanh", "recurrent_activation": "sigmoid", "kernel_initializer": "glorot_uniform",
        "recurrent_initializer": "orthogonal", "bias_initializer": "zeros", "kernel_constraint": None,
        "recurrent_constraint": None, "bias_constraint": None, "dropout": 0.0, "recurrent_dropout": 0.0,
        "seed": None, "return_state": False, "go_backwards": False, "stateful": False, "unroll": False,
        "use_cudnn": "auto"}

    def __init__(self, units: int, *, return_sequences: bool = False, use_bias: bool = True,
                 unit_forget_bias: bool = True, kernel_regularizer: Penalty = None,
                 recurrent_regularizer: Penalty = None, bias_regularizer: Penalty = None,
                 **options: Any) -> None:
        super().__init__(penalties={"kernel": kernel_regularizer, "bias": bias_regularizer,
                                    "recurrent_kernel": recurrent_regularizer}, **options)
        self.units = _positive("units", units)
        self.return_sequences = return_sequences
        self.use_bias, self.unit_forget_bias = use_bias, unit_forget_bias

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 3:
            raise ValueError(f"{self.name} needs (batch, time, features), but its input has shape {shape}: "
                             "an Embedding, or an LSTM with return_sequences=True, comes before it")
        if shape[1] == 0:
            raise ValueError(f"{self.name} needs at least one time step, but its input has shape {shape}")
        _same_features(self, "W", shape)
        return (shape[0], shape[1], self.units) if self.return_sequences else (shape[0], self.units)

    def _make(self, shape: Shape) -> nn.Module:
        lstm = nn.LSTM(_features(self, shape), self.units)
        if not (self.use_bias and self.unit_forget_bias):
            lstm.b.data[...] = 0
        lstm.b.requires_grad = self.use_bias  # a bias that does not learn stays 0
        return lstm

    def call(self, x: Any) -> Any:
        assert self.core is not None
        hs, (h, _) = self.core(x)  # (N, T, H), (N, H)
        return hs if self.return_sequences else h


class Dense(Layer):
    """Dense layer with an activation: activation(x W + b), (N, ..., D) -> (N, ..., units).

    Args:
        units: width of the output.
        activation: linear (None), relu, sigmoid, softmax, tanh, or a function of a Tensor.
        use_bias: whether there is a bias.
        kernel_regularizer, bias_regularizer: penalties on W and b.

    Weights: kernel (D, units), bias (units,).

    Source: article section 5.1.
    """

    _names: ClassVar = {"weight": "kernel", "bias": "bias"}
    _known = ("units", "activation", "use_bias", "kernel_regularizer", "bias_regularizer")
    _fixed: ClassVar = {"kernel_initializer": "glorot_uniform", "bias_initializer": "zeros",
                        "kernel_constraint": None, "bias_constraint": None, "lora_rank": None}

    def __init__(self, units: int, activation: str | activations.Activation | None = None,
                 use_bias: bool = True, *, kernel_regularizer: Penalty = None,
                 bias_regularizer: Penalty = None, **options: Any) -> None:
        super().__init__(penalties={"kernel": kernel_regularizer, "bias": bias_regularizer}, **options)
        self.units = _positive("units", units)
        self.activation = activations.get(activation)
        self.use_bias = use_bias

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) < 2:
            raise ValueError(f"{self.name} needs (batch, ..., features), but its input has shape {shape}")
        _same_features(self, "weight", shape)
        return (*shape[:-1], self.units)

    def _make(self, shape: Shape) -> nn.Module:
        return nn.Linear(_features(self, shape), self.units, self.use_bias)

    def call(self, x: Any) -> Any:
        assert self.core is not None
        return self.activation(self.core(x))


class Dropout(Layer):
    """Inverted dropout, `nn.Dropout`, while training; any shape.

    Args:
        rate: probability to drop, in [0, 1).
        seed: of its own generator; else the common one (`utils.set_random_seed`).

    Raises:
        ValueError: the rate is out of range.

    Source: article section 3.3.
    """

    _known = ("rate", "seed")
    _fixed: ClassVar = {"noise_shape": None}

    def __init__(self, rate: float, *, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= rate < 1:
            raise ValueError(f"rate = {rate} is outside [0, 1)")
        self.rate, self.seed = rate, seed

    def _make(self, shape: Shape) -> nn.Module:
        rng = None if self.seed is None else np.random.default_rng(self.seed)
        return nn.Dropout(self.rate, rng=rng).train(self.training)

    def call(self, x: Any) -> Any:
        assert self.core is not None
        return self.core(x)


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} = {value!r} must be a positive integer")
    return int(value)


def _features(layer: Layer, shape: Shape) -> int:
    """Width of the last axis, which has to be known for weights to be made."""
    if shape[-1] is None:
        raise ValueError(f"{layer.name} needs to know the last axis of its input, whose shape is {shape}")
    return shape[-1]


def _same_features(layer: Layer, attribute: str, shape: Shape) -> None:
    """A built layer takes inputs of the width that it was built for."""
    if layer.core is not None:
        d = getattr(layer.core, attribute).shape[0]
        if shape[-1] != d:
            raise ValueError(f"{layer.name} was built for {d} features in the last axis, but its input "
                             f"has shape {shape}")
