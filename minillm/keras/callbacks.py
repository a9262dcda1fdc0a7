"""What may watch and stop `fit`."""

from __future__ import annotations

import math
from typing import Any

from ._names import only, pick

__all__ = ["Callback", "EarlyStopping", "History"]
__getattr__ = only(__name__, __all__)

Logs = dict[str, float]


class Callback:
    """Base class: `fit` calls these; each does nothing until a subclass says what.

    Attributes:
        model: set by `fit`. `self.model.stop_training = True` ends the training after the epoch.
    """

    model: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch; `logs` are that epoch's."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After an epoch and its validation; `logs` holds loss, val_loss, ..."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a step; `logs` holds the means of the epoch so far."""


class History(Callback):
    """What `fit` returns.

    Attributes:
        history: name -> one value per epoch; names are sorted, as in Keras: accuracy, loss, val_...
        epoch: numbers of the epochs, from 0.
        params: epochs, steps (per epoch) and verbose.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.params: dict[str, Any] = {}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class EarlyStopping(Callback):
    """Stop when a value has not improved for `patience` epochs (article 2.2: before overfitting).

    Args:
        monitor: name of the value.
        min_delta: a change of less is no improvement.
        patience: how many epochs without improvement end the training.
        verbose: 1 says when it stops.
        mode: "min", "max", or "auto": max for an accuracy, else min.
        baseline: a value that has to be beaten as well.
        restore_best_weights: go back to the weights of the best epoch at the end.
        start_from_epoch: epochs before this one do not count.

    Raises:
        ValueError: the mode is unknown; in `fit`, `monitor` is not among the values of an epoch.

    Source: Prechelt 1998; Keras's rules for counting.
    """

    def __init__(self, monitor: str = "val_loss", min_delta: float = 0, patience: int = 0, verbose: int = 0,
                 mode: str = "auto", baseline: float | None = None, restore_best_weights: bool = False,
                 start_from_epoch: int = 0) -> None:
        self.monitor, self.patience, self.verbose = monitor, patience, verbose
        self.min_delta, self.baseline = abs(min_delta), baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        auto = -1 if monitor.endswith(("acc", "accuracy")) else 1
        self._sign = pick("mode", mode, {"auto": auto, "min": 1, "max": -1})
        self.on_train_begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best: float | None = None
        self.best_weights: Any = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        if self.monitor not in logs:
            raise ValueError(f"EarlyStopping monitors {self.monitor!r}, but an epoch has {', '.join(logs)}"
                             + (": give fit validation_data" * self.monitor.startswith("val_")))
        if epoch < self.start_from_epoch:
            return
        value = logs[self.monitor]
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights = self.model.get_weights()
            self.best_epoch = epoch
        self.wait += 1
        if self._improves(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._improves(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _improves(self, value: float, best: float | None) -> bool:
        reference = math.inf if best is None else self._sign * best
        return self._sign * value < reference - (self.min_delta if best is not None else 0)

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
