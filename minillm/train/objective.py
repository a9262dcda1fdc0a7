"""What the training loop asks of a task: batches, and the loss of one. It knows no model and no data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from minillm.autograd import Tensor

Batch = tuple[Any, ...]  # arrays, each (B, ...): row b of all of them is one example
State = dict[str, Any]  # name -> array (B, ...), carried from one batch to the next


class Loss(NamedTuple):
    """What an `Objective` gives for a batch.

    Attributes:
        total: what is minimised, a mean over the batch's labels; a scalar Tensor.
        nats: the cross-entropy alone, without label smoothing and other additions, in nats per label.
        state: to be carried into the next batch, as arrays that are off the tape; None if nothing is.
    """

    total: Tensor
    nats: float
    state: State | None


class Objective(Protocol):
    """The loss of a model on a batch."""

    def loss(self, batch: Batch, state: State | None) -> Loss:
        """The loss on `batch`; `state` is that of the batch before, None at the start of a text."""

    def count(self, batch: Batch) -> int:
        """Labels in `batch`: the weight of its mean loss among others."""


class Batches(Protocol):
    """Training data: batches without end. What `state_dict` gives (JSON) says where it is."""

    @property
    def at_epoch_start(self) -> bool:
        """Whether no state is to be carried into the next batch."""

    def next_window(self) -> Batch: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class EvaluationBatches(Protocol):
    """Data to be read from start to end: `rewind`, then iterate. The state is carried all the way."""

    def rewind(self) -> None: ...
    def __iter__(self) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class HeldOut:
    """Data that is evaluated on, and how many labels its text has for each character.

    The ratio turns nats per label to bits per character, which tokenizers can be compared by.
    """

    batches: EvaluationBatches
    tokens_per_character: float = 1.0


def split_rows(batch: Batch, state: State | None, n: int) -> Iterator[tuple[Batch, State | None]]:
    """`batch` and `state` in n parts of as many rows each, in order.

    Raises:
        ValueError: n does not divide the number of rows.
    """
    rows = len(batch[0])
    if rows % n:
        raise ValueError(f"accumulate = {n} must divide the {rows} rows of a batch")
    for i in range(n):
        part = slice(i * rows // n, (i + 1) * rows // n)
        yield (tuple(array[part] for array in batch),
               None if state is None else {name: array[part] for name, array in state.items()})


def join_rows(states: list[State | None]) -> State | None:
    """The states of the parts as one: the reverse of `split_rows`."""
    given = [state for state in states if state is not None]
    if len(given) < 2:
        return given[0] if given else None
    return {name: np.concatenate([state[name] for state in given]) for name in given[0]}
