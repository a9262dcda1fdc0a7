"""Keras's layers as a thin face over `minillm.nn`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minillm import nn

from . import _data, activations
from ._names import only
from .layer import Layer, Penalty, Shape

__all__ = ["LSTM", "Dense", "Dropout", "Embedding", "Input", "InputLayer", "Layer"]
__getattr__ = only(__name__, __all__)


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

    def weight_shapes(self, shape: Shape) -> list[tuple[int, ...]]:
        return [(self.input_dim, self.output_dim)]

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
    """One LSTM layer, `nn.LSTMLayer`: (N, T, D) -> (N, H), the last hidden state, or (N, T, H).

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

    def weight_shapes(self, shape: Shape) -> list[tuple[int, ...]]:
        H = self.units
        return [(_features(self, shape), 4 * H), (H, 4 * H), *[(4 * H,)] * self.use_bias]

    def _make(self, shape: Shape) -> nn.Module:
        lstm = nn.LSTMLayer(_features(self, shape), self.units)
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

    def weight_shapes(self, shape: Shape) -> list[tuple[int, ...]]:
        return [(_features(self, shape), self.units), *[(self.units,)] * self.use_bias]

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
