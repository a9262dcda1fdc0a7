"""compile, fit, evaluate, predict: Keras's training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minillm import nn
from minillm.autograd import Tensor, no_grad

from . import _data, optimizers
from ._names import pick
from ._report import Means, Report, level_of
from .callbacks import Callback, History, Logs
from .losses import Loss
from .losses import get as get_loss

# Strings only: the one metric of the article's task. "accuracy" picks by the labels' shape, as Keras does.
METRICS = {"accuracy": None, "acc": None, "categorical_accuracy": False, "sparse_categorical_accuracy": True}


class Trainable(nn.Module, ABC):
    """The part of a model that trains it; `Sequential` is the part that has layers."""

    name: str
    stop_training = False

    def __init__(self) -> None:
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: Loss | None = None
        self.metrics: list[str] = []
        self.history: History | None = None

    # What Sequential provides.
    named_weights: Any
    weights: Any
    losses: Any

    @abstractmethod
    def shape_of_output(self, shape: Any) -> Any: ...
    @abstractmethod
    def _as_input(self, x: Any, name: str) -> np.ndarray: ...
    @abstractmethod
    def _run(self, x: Any, training: bool) -> Any: ...

    def compile(self, optimizer: Any, loss: Any, metrics: Sequence[str] | None = None) -> None:
        """Choose how to train.

        Args:
            optimizer: "adam", "adamw", "sgd", or one of `keras.optimizers`.
            loss: "categorical_crossentropy", "sparse_categorical_crossentropy", one of
                `keras.losses`, or a function of (y_true, y_pred) that returns a Tensor.
            metrics: a list of "accuracy", "categorical_accuracy", "sparse_categorical_accuracy".

        Raises:
            ValueError, TypeError: a name is unknown.
        """
        if isinstance(metrics, str):
            raise TypeError(f"metrics is a list: metrics=[{metrics!r}]")
        for metric in metrics or ():
            pick("metric", metric, METRICS)
        self.optimizer, self.loss = optimizers.get(optimizer), get_loss(loss)
        self.metrics = list(metrics or ())

    def fit(self, x: Any, y: Any = None, batch_size: int | None = None, epochs: int = 1,
            verbose: int | str = "auto", callbacks: Iterable[Callback] | Callback | None = None,
            validation_split: float = 0.0, validation_data: Any = None, shuffle: bool = True, *,
            initial_epoch: int = 0) -> History:
        """Train.

        Args:
            x: (N, ...), the samples. y: their labels, in the loss's form.
            batch_size: samples in a step, 32 if left out; the last batch may be smaller.
            epochs: the number of the last epoch, counted from 1.
            verbose: 0 silent, 1 with a running count on a terminal, 2 a line per epoch; "auto" is 1.
            callbacks: such as `EarlyStopping`.
            validation_split: this part of the samples, taken from the end before shuffling, only
                validates; in [0, 1).
            validation_data: (x, y) to validate on after each epoch.
            shuffle: draw a new order in each epoch, from the common generator.
            initial_epoch: where to go on counting.

        Returns:
            A `History`: `history["loss"]` holds an epoch's mean over batches, weighted by their sizes
            (dropout on, weights moving), penalties included; "val_loss" is measured after the epoch.

        Raises:
            ValueError, TypeError: x and y do not fit each other or the model, or an option is out of
                range; nothing is trained.
            FloatingPointError: the loss or a gradient is not finite; the weights are those before
                that step.
        """
        loss = self._compiled("fit")
        _check_count("epochs", epochs)
        _check_count("initial_epoch", initial_epoch)
        level = level_of(verbose)
        n_first = self._split(x, validation_split) if validation_split and validation_data is None else None
        if n_first is not None:
            _data.check_lengths(np.asarray(x), y, "x", "y")
            x, validation_data = np.asarray(x), (np.asarray(x)[n_first:], np.asarray(y)[n_first:])
            x, y = x[:n_first], np.asarray(y)[:n_first]
        xs, ys = self._prepared(x, y, "x", "y")
        held_out = None if validation_data is None else self._prepared(
            *_pair(validation_data), "validation x", "validation y")
        size, n = _batch_size(batch_size), len(xs)
        steps = -(-n // size)
        self.history = history = History()
        history.params = {"verbose": verbose, "epochs": epochs, "steps": steps}
        watchers = [*([callbacks] if isinstance(callbacks, Callback) else callbacks or ()), history]
        for c in watchers:
            if not isinstance(c, Callback):
                raise TypeError(f"callbacks holds {c!r:.60}, which is no Callback")
            c.model = self
        self.stop_training, logs = False, {}
        report = Report(level, epochs, steps)
        for c in watchers:
            c.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            means = Means()
            report.begin(epoch)
            for c in watchers:
                c.on_epoch_begin(epoch)
            order = nn.init.generator().permutation(n) if shuffle else np.arange(n)
            for step in range(steps):
                rows = order[step * size:(step + 1) * size]
                self._train_step(loss, xs[rows], ys[rows], means, f"epoch {epoch + 1}, step {step + 1}")
                report.step(step, means)
                for c in watchers:
                    c.on_train_batch_end(step, means.result())
                if self.stop_training:
                    break
            logs = means.result()
            if held_out is not None:
                tested = self._test(loss, *held_out, size)
                logs = {**logs, **{f"val_{name}": value for name, value in tested.items()}}
            report.end(logs)
            for c in watchers:
                c.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        for c in watchers:
            c.on_train_end(logs)
        return history

    def evaluate(self, x: Any, y: Any = None, batch_size: int | None = None, verbose: int | str = "auto", *,
                 return_dict: bool = False) -> Any:
        """Mean loss (penalties included) and metrics over a data set, without dropout.

        Args:
            x, y, batch_size, verbose: as for `fit`.
            return_dict: give {"loss": ..., "accuracy": ...}.

        Returns:
            The loss; with metrics, the list [loss, accuracy, ...].

        Raises:
            ValueError, TypeError: as `fit`.
        """
        loss, level = self._compiled("evaluate"), level_of(verbose)
        xs, ys = self._prepared(x, y, "x", "y")
        logs = self._test(loss, xs, ys, _batch_size(batch_size))
        Report(level, 1, 0).end(logs)
        return logs if return_dict else self._flat(logs)

    @no_grad()
    def predict(self, x: Any, batch_size: int | None = None, verbose: int | str = 0) -> np.ndarray:
        """The model's output for each sample, without dropout.

        Args:
            x: (N, ...).
            batch_size: samples at a time, 32 if left out; it changes no result.
            verbose: accepted and not used.

        Returns:
            (N, ...), float32.
        """
        xs, size = self._as_input(x, "x"), _batch_size(batch_size)
        shape = self.shape_of_output(xs.shape)
        parts = [self._run(xs[i:i + size], training=False) for i in range(0, len(xs), size)]
        return np.concatenate([p.data for p in parts]) if parts else np.zeros(shape, _data.FLOAT)

    def train_on_batch(self, x: Any, y: Any = None, *, return_dict: bool = False) -> Any:
        """One step; returns what `evaluate` does, measured on the way, before the weights move.

        Raises:
            ValueError, TypeError, FloatingPointError: as `fit`.
        """
        loss, means = self._compiled("train_on_batch"), Means()
        self._train_step(loss, *self._prepared(x, y, "x", "y"), means, "train_on_batch")
        return means.result() if return_dict else self._flat(means.result())

    def test_on_batch(self, x: Any, y: Any = None, *, return_dict: bool = False) -> Any:
        """`evaluate` on one batch."""
        loss, (xs, ys) = self._compiled("test_on_batch"), self._prepared(x, y, "x", "y")
        logs = self._test(loss, xs, ys, len(xs))
        return logs if return_dict else self._flat(logs)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """`predict` on one batch."""
        return self.predict(x, batch_size=max(1, len(x)))

    # ---- a step --------------------------------------------------------------------------------

    def _train_step(self, loss: Loss, x: np.ndarray, y: np.ndarray, means: Means, at: str) -> None:
        named = self.named_weights
        params = [w for _, w in named]
        for w in params:
            w.grad = None
        total = self._losses(loss, x, y, means, training=True)
        if not np.isfinite(total.data):
            raise FloatingPointError(f"the loss is {total.item()} at {at}: lower learning_rate, or clip "
                                     "gradients with global_clipnorm=1.0 in the optimizer")
        total.backward()
        for name, w in named:
            if w.grad is not None and not np.isfinite(w.grad).all():
                raise FloatingPointError(f"the gradient of {name} is not finite at {at}: lower learning_rate")
        assert self.optimizer is not None
        self.optimizer.apply(params)

    @no_grad()
    def _test(self, loss: Loss, x: np.ndarray, y: np.ndarray, size: int) -> Logs:
        means = Means()
        for i in range(0, len(x), size):
            self._losses(loss, x[i:i + size], y[i:i + size], means, training=False)
        return means.result()

    def _losses(self, loss: Loss, x: np.ndarray, y: np.ndarray, means: Means,
                training: bool) -> Tensor:
        """The loss with all penalties, as in article 3.3; it and the metrics are noted in `means`."""
        p = self._run(x, training)
        total = loss.call(y, p)
        for penalty in self.losses:
            total = total + penalty
        means.add("loss", total.item() * len(x), len(x))
        for metric in self.metrics:
            labels = y.argmax(-1) if y.shape == p.shape else y
            right = p.data.argmax(-1) == labels
            means.add(metric, float(right.sum()), right.size)
        return total

    # ---- checks --------------------------------------------------------------------------------

    def _compiled(self, method: str) -> Loss:
        if self.loss is None:
            raise ValueError(f"call {self.name}.compile(optimizer=..., loss=...) before {method}")
        return self.loss

    def _prepared(self, x: Any, y: Any, x_name: str, y_name: str) -> tuple[np.ndarray, np.ndarray]:
        """x and y checked against the model, the loss and each other."""
        assert self.loss is not None
        xs = self._as_input(x, x_name)
        if xs.ndim == 0 or len(xs) == 0:
            raise ValueError(f"{x_name} has no samples: its shape is {xs.shape}")
        if y is None:
            raise TypeError(f"{y_name} is missing: the labels of {x_name}")
        _data.check_lengths(xs, y.data if isinstance(y, Tensor) else y, x_name, y_name)
        shape = self.shape_of_output(xs.shape)
        ys = self.loss.prepare(y, shape, y_name)
        for metric in self.metrics:
            sparse = METRICS[metric]
            if sparse is not None and sparse == (ys.shape == shape):
                raise ValueError(f"metric {metric!r} does not fit labels of shape {ys.shape} for outputs "
                                 f"of shape {shape}: use 'accuracy'")
        return xs, ys

    @staticmethod
    def _split(x: Any, fraction: float) -> int:
        n = len(x)
        if not 0 < fraction < 1 or not 0 < int(n * (1 - fraction)) < n:
            raise ValueError(f"validation_split = {fraction} of {n} samples leaves none to train or to "
                             "validate on")
        return int(n * (1 - fraction))

    def _flat(self, logs: Logs) -> Any:
        return [logs["loss"], *(logs[m] for m in self.metrics)] if self.metrics else logs["loss"]


def _pair(data: Any) -> tuple[Any, Any]:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"validation_data is a pair (x, y), not {type(data).__name__}"
                        + (f" of {len(data)}" if isinstance(data, tuple | list) else ""))
    return data[0], data[1]


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"{name} = {value!r:.60} must be an integer, not negative")


def _batch_size(value: Any) -> int:
    if value is None:
        return 32
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"batch_size = {value!r} must be a positive integer")
    return int(value)
