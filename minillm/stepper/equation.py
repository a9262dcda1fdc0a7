"""The ledger's row of a function that is stepped through, and its formula line by line."""

from __future__ import annotations

import inspect
import re
from typing import Any

from minillm.formulas import LEDGER, Equation


def equation_of(function: Any) -> Equation | None:
    """The row of the ledger whose reference a function is, or None."""
    function = inspect.unwrap(function)
    return next((row for row in LEDGER.values() if row.reference is function), None)


def lines(latex: str) -> list[str]:
    """A formula of several lines as those; one with an environment, such as a matrix, is one line."""
    if r"\begin" in latex:
        return [latex]
    return [part.strip() for line in latex.split(r"\\") for part in re.split(r",\s*\\quad\b", line)]
