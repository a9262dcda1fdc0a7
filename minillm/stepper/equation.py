"""The ledger's row of a function that is stepped through."""

from __future__ import annotations

import inspect
from typing import Any

from minillm.formulas import LEDGER, Equation


def equation_of(function: Any) -> Equation | None:
    """The row of the ledger whose reference a function is, or None."""
    function = inspect.unwrap(function)
    return next((row for row in LEDGER.values() if row.reference is function), None)
