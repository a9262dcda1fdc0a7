"""The language modelling loss: cross-entropy of the next token, for models with a state and without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm import formulas
from minillm.autograd import no_grad
from minillm.autograd.fused import softmax_cross_entropy
from minillm.models import LSTMLanguageModel
from minillm.models.lstm_lm import detach
from minillm.nn import Module
from minillm.train import Batch, Loss, State


@dataclass(frozen=True)
class NextToken:
    """Mean cross-entropy of the labels y given x, over batches (x, y), each (B, T).

        L = mean_i (nll_i + zeta lse_i^2), with label smoothing e in nll

    An `LSTMLanguageModel` carries its state from one batch to the next (truncated backpropagation through
    time); GPT and Llama see the window alone.

    Attributes:
        model: `model(x) -> logits (B, T, V)`, or an LSTMLanguageModel.
        label_smoothing: e in [0, 1).
        z_loss: zeta >= 0. Both are for training: in eval mode the loss is the plain cross-entropy.

    Raises:
        ValueError: a strength is out of range.

    Source: article section 4.1; Szegedy et al. 2016, section 7; z-loss: Chowdhery et al. 2022, section 5.
    """

    model: Module
    label_smoothing: float = 0.0
    z_loss: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing = {self.label_smoothing} is outside [0, 1)")
        if not 0 <= self.z_loss < np.inf:
            raise ValueError(f"z_loss = {self.z_loss} must be finite and not negative")

    def loss(self, batch: Batch, state: State | None) -> Loss:
        """See `Loss`; the state is {"0.h": (B, H), "0.c": (B, H), "1.h": ...} for the LSTM's layers."""
        x, y = batch
        logits, state = self._forward(x, state)  # (B, T, V)
        if not (self.model.training and (self.label_smoothing or self.z_loss)):
            total = softmax_cross_entropy(logits, y)
            return Loss(total, float(total), state)
        total = softmax_cross_entropy(logits, y, label_smoothing=self.label_smoothing)
        with no_grad():
            nats = float(softmax_cross_entropy(logits, y)) if self.label_smoothing else float(total)
        if self.z_loss:
            total = total + formulas.z_loss(logits, self.z_loss).mean()
        return Loss(total, nats, state)

    def count(self, batch: Batch) -> int:
        """B T, the number of labels."""
        return batch[1].size

    def _forward(self, x: Any, state: State | None) -> tuple[Any, State | None]:
        if not isinstance(self.model, LSTMLanguageModel):
            return self.model(x), None
        layers = None if state is None else [(state[f"{i}.h"], state[f"{i}.c"])
                                             for i in range(len(state) // 2)]
        logits, after = self.model(x, layers)
        return logits, {f"{i}.{name}": array for i, layer in enumerate(detach(after))
                        for name, array in zip("hc", layer, strict=True)}
