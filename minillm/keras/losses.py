"""Cross-entropy losses with Keras's numerics: from probabilities (clipped) or from logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minillm import formulas
from minillm.autograd import Tensor
from minillm.autograd.fused import softmax_cross_entropy

from . import _data
from ._names import only, pick, refuse_options

__all__ = ["CategoricalCrossentropy", "Loss", "SparseCategoricalCrossentropy", "get"]
__getattr__ = only(__name__, __all__)

EPSILON = 1e-7  # Keras's: probabilities are kept in [EPSILON, 1 - EPSILON], so that no log is infinite
_FIXED = {"axis": -1, "dtype": None, "reduction": "sum_over_batch_size"}


class Loss:
    """Base class: a loss is the mean over all samples (and positions) of a batch.

    `loss(y_true, y_pred)` checks its arguments and returns a scalar Tensor. Subclasses define
    `prepare`, which checks labels against the shape of the predictions, and `call`.
    """

    name = "loss"

    def prepare(self, y: Any, shape: tuple[int, ...], name: str = "y") -> np.ndarray:
        """y as the array that `call` takes, for predictions of `shape` (N, ..., V)."""
        return _data.floats(y, name)

    def call(self, y_true: np.ndarray, y_pred: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} defines no call")

    def __call__(self, y_true: Any, y_pred: Any) -> Tensor:
        if not isinstance(y_pred, Tensor):
            y_pred = Tensor(_data.floats(y_pred, "y_pred"))
        return self.call(self.prepare(y_true, y_pred.shape, "y_true"), y_pred)


class CategoricalCrossentropy(Loss):
    """Cross-entropy against one-hot targets (article 4.1).

        L = -1/N sum_i sum_j y_ij log p_ij

    Args:
        from_logits: predictions are logits; otherwise they are probabilities, which are divided by
            their sum and clipped to [1e-7, 1 - 1e-7]: a probability of 0 costs 16.1 nats, not inf
            (and, as in Keras, a clipped one passes no gradient on).
        label_smoothing: e in [0, 1]; the target becomes (1 - e) y + e/V.

    Shapes: y_true and y_pred (N, ..., V).

    Raises:
        ValueError: shapes differ, or an option is out of range; integer labels are sent to
            `SparseCategoricalCrossentropy`.

    Source: article sections 4.1 and 5.1. Formula: `cross_entropy`.
    """

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0,
                 name: str = "categorical_crossentropy", **options: Any) -> None:
        refuse_options("CategoricalCrossentropy", options, _FIXED, ["from_logits", "label_smoothing"])
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing = {label_smoothing} is outside [0, 1]")
        self.from_logits, self.label_smoothing, self.name = from_logits, label_smoothing, name

    def prepare(self, y: Any, shape: tuple[int, ...], name: str = "y") -> np.ndarray:
        y = _data.floats(y, name)
        if y.shape == shape:
            return y
        if y.shape in (shape[:-1], (*shape[:-1], 1)):
            raise ValueError(f"{name} has shape {y.shape}, as integer labels do, but the model's output "
                             f"has {shape}: use SparseCategoricalCrossentropy, or "
                             f"keras.utils.to_categorical({name}, {shape[-1]})")
        if y.shape[:-1] == shape[:-1]:
            raise ValueError(f"{name} is one-hot over {y.shape[-1]} classes (shape {y.shape}), but the "
                             f"model's output has {shape[-1]} (shape {shape})")
        raise ValueError(f"{name} has shape {y.shape}, but the model's output has {shape}")

    def call(self, y_true: np.ndarray, y_pred: Any) -> Tensor:
        V = y_pred.shape[-1]
        y = y_true.reshape(-1, V).astype(y_pred.dtype, copy=False)  # (N, V)
        p = np.reshape(y_pred, (-1, V))  # (N, V)
        if self.label_smoothing:
            y = y * (1 - self.label_smoothing) + self.label_smoothing / V
        if self.from_logits:
            return -1 / len(y) * np.sum(y * formulas.log_softmax(p))
        return formulas.cross_entropy(y, _clipped(p))


class SparseCategoricalCrossentropy(Loss):
    """Cross-entropy against integer labels: the same loss without the one-hot rows.

        L = -1/N sum_i log p_{i, y_i}

    Args:
        from_logits: predictions are logits (fused with softmax); otherwise probabilities, treated as
            in `CategoricalCrossentropy`.
        ignore_class: a label whose positions do not count, in the loss or in N.

    Shapes: y_true (N, ...) or (N, ..., 1), integers in [0, V); y_pred (N, ..., V).

    Raises:
        ValueError: shapes do not agree, or a label is out of range; one-hot rows are sent to
            `CategoricalCrossentropy`.
        TypeError: labels are not integers.

    Source: article sections 4.1 and 5.1. Formulas: `cross_entropy_of_labels`, `softmax_cross_entropy`.
    """

    def __init__(self, from_logits: bool = False, ignore_class: int | None = None,
                 name: str = "sparse_categorical_crossentropy", **options: Any) -> None:
        refuse_options("SparseCategoricalCrossentropy", options, _FIXED, ["from_logits", "ignore_class"])
        self.from_logits, self.ignore_class, self.name = from_logits, ignore_class, name

    def prepare(self, y: Any, shape: tuple[int, ...], name: str = "y") -> np.ndarray:
        V, shown = shape[-1], np.shape(y)
        y = np.asarray(y)
        if y.shape == shape and V != 1:
            raise ValueError(f"{name} has the shape of the model's output, {shape}, as one-hot rows do: "
                             f"use CategoricalCrossentropy, or {name}.argmax(-1)")
        if y.shape == (*shape[:-1], 1):
            y = y[..., 0]
        if y.shape != shape[:-1]:
            raise ValueError(f"{name} has shape {shown}, but integer labels for the model's output "
                             f"{shape} have shape {shape[:-1]}")
        y = _data.integers(y, name)
        ignored = False if self.ignore_class is None else y == self.ignore_class
        _data.check_range(y, V, name, f"the model's {V} classes", ignored)
        return y

    def call(self, y_true: np.ndarray, y_pred: Any) -> Tensor:
        if self.from_logits:
            ignore = -1 if self.ignore_class is None else self.ignore_class
            return softmax_cross_entropy(y_pred, y_true, ignore_index=ignore)
        y, p = y_true.reshape(-1), np.reshape(y_pred, (-1, y_pred.shape[-1]))  # (N,), (N, V)
        if self.ignore_class is not None:
            kept = y != self.ignore_class
            y, p = y[kept], p[kept]
        return formulas.cross_entropy_of_labels(y, _clipped(p)) if len(y) else np.sum(p)


class _Function(Loss):
    """A user's own `f(y_true, y_pred)`: the mean of what it returns."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function = function
        self.name = getattr(function, "__name__", "loss")

    def call(self, y_true: np.ndarray, y_pred: Any) -> Tensor:
        return np.mean(self.function(y_true, y_pred))


def _clipped(p: Any) -> Any:
    """p / sum(p), kept off 0 and 1, as Keras does."""
    return np.clip(p / np.sum(p, axis=-1, keepdims=True), EPSILON, 1 - EPSILON)


_TABLE: dict[str, Callable[[], Loss]] = {"categorical_crossentropy": CategoricalCrossentropy,
                                         "sparse_categorical_crossentropy": SparseCategoricalCrossentropy}


def get(identifier: Any) -> Loss:
    """A loss from its name, a `Loss`, or a function of (y_true, y_pred).

    Raises:
        ValueError: the name is unknown.
        TypeError: it is none of these.
    """
    if isinstance(identifier, str):
        made: Loss = pick("loss", identifier, _TABLE)()
        return made
    if isinstance(identifier, Loss):
        return identifier
    if callable(identifier) and not isinstance(identifier, type):
        return _Function(identifier)
    raise TypeError(f"loss is a name, such as 'categorical_crossentropy', or a Loss such as "
                    f"CategoricalCrossentropy(), not {identifier!r}")
