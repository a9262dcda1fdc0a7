"""How long to train and how often to look, and who is told what is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class TrainerSettings:
    """How long to train, and how often to look.

    Attributes:
        steps: updates in all.
        clip: largest joint 2-norm of the gradients.
        log_every: steps between two lines of metrics.
        eval_every: steps between two evaluations; each also writes a checkpoint.
        patience: stop after this many evaluations without a better validation loss; 0 never stops.
        accumulate: parts that a batch is cut into, by rows; their gradients are added up, so that a step
            takes the memory of one part and is, but for rounding, that of the whole batch.
        sample_every: steps between two samples; 0: none.

    Raises:
        ValueError: a number is below 1 (patience, sample_every: below 0), or clip is not positive.
    """

    steps: int
    clip: float = 1.0
    log_every: int = 10
    eval_every: int = 100
    patience: int = 0
    accumulate: int = 1
    sample_every: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "eval_every", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        if not self.clip > 0:
            raise ValueError(f"clip = {self.clip} must be positive")
        for name in ("patience", "sample_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)} must not be negative")


class Reporter(Protocol):
    """Who is told what happens (`progress.py` shows it in a terminal)."""

    def step(self, record: dict[str, Any]) -> None: ...
    def evaluated(self, record: dict[str, Any]) -> None: ...
    def sampled(self, record: dict[str, Any]) -> None: ...
