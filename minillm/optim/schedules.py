"""Learning-rate schedules: the factor on the learning rate as a function of the step."""

from __future__ import annotations

from dataclasses import dataclass

from minillm import formulas


@dataclass(frozen=True)
class WarmupCosine:
    """Linear warmup, then half a cosine down to `floor`: `formulas.warmup_cosine`.

    Args:
        total: steps in all, > warmup.
        warmup: steps of the rise, >= 0.
        floor: the factor at the end, in [0, 1]; 1 keeps the rate constant after the warmup.

    Raises:
        ValueError: an option is out of range.
    """

    total: int
    warmup: int = 0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < self.total:
            raise ValueError(f"warmup = {self.warmup} must be in [0, total) with total = {self.total}")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor = {self.floor} is outside [0, 1]")

    def __call__(self, step: int) -> float:
        return float(formulas.warmup_cosine(step, warmup=self.warmup, total=self.total, floor=self.floor))
