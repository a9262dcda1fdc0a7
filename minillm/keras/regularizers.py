"""Penalties on weights that are added to the loss (article 3.3), in Keras's convention (no 1/2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minillm import formulas

from ._names import only, pick

__all__ = ["L1", "L1L2", "L2", "get", "l1", "l1_l2", "l2"]
__getattr__ = only(__name__, __all__)

Regularizer = Callable[[Any], Any]


class L1L2:
    """l1 sum|w| + l2 sum w^2.

    Args:
        l1, l2: strengths, >= 0; 0 leaves a penalty out.

    Raises:
        ValueError: a strength is negative or not finite.

    Source: article section 3.3. Formulas: `l1_penalty`, `l2_penalty`.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        for name, value in (("l1", l1), ("l2", l2)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} = {value} must be finite and not negative")
        self.l1, self.l2 = float(l1), float(l2)

    def __call__(self, w: Any) -> Any:
        total = 0.0
        if self.l1:
            total = total + formulas.l1_penalty(w, lam=self.l1)
        if self.l2:
            total = total + formulas.l2_penalty(w, lam=self.l2)
        return total


class L1(L1L2):
    """l1 sum|w|. Args: l1: the strength, >= 0."""

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)


class L2(L1L2):
    """l2 sum w^2. Args: l2: the strength, >= 0."""

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)


l1, l2, l1_l2 = L1, L2, L1L2
_TABLE: dict[str, Callable[[], Regularizer]] = {"l1": L1, "l2": L2, "l1_l2": lambda: L1L2(0.01, 0.01)}


def get(identifier: str | Regularizer | None) -> Regularizer | None:
    """The penalty of a name, with strength 0.01; a function of the weight is itself.

    Raises:
        ValueError: the name is unknown.
        TypeError: it is neither a name nor a function.
    """
    if identifier is None or callable(identifier):
        return identifier
    if not isinstance(identifier, str):
        raise TypeError(f"a regularizer is a name, such as 'l2', or regularizers.L2(0.01), "
                        f"not {identifier!r}")
    made: Regularizer = pick("regularizer", identifier, _TABLE)()
    return made
