"""The ledger: every equation, and where the package has it.

`@equation` writes a row when its module is imported; `minillm formulas` prints the rows. The tests
go through the rows too: each function is differentiated at its own `example`, each cell must name
something that exists, and an equation of the article without a row, or with an empty cell, fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])
Example = Callable[[np.random.Generator], tuple[Any, ...]]


@dataclass(frozen=True)
class Equation:
    """One row of the ledger.

    Attributes:
        name: the function's name, unique.
        section: of the article ("4.1"), or "-" where the equation is the field's and not the article's.
        title, title_zh: what it is called.
        latex: the formula.
        symbols, symbols_zh: what each letter stands for, in English and in Chinese.
        function: "module:name" of the reference.
        source: article section or paper.
        fused: "module:name" of the fused op or in-place version, if there is one.
        kernels: "module:name" of the GPU kernels.
        test: "file::test" that checks the values (derivatives are checked for every row).
        lesson: folder of the lesson that steps through it.
        example: arguments inside the domain, away from kinks, from a random generator.
    """

    name: str
    section: str
    title: str
    title_zh: str
    latex: str
    symbols: Mapping[str, str]
    symbols_zh: Mapping[str, str]
    function: str
    source: str
    fused: str
    kernels: tuple[str, ...]
    test: str
    lesson: str
    example: Example
    reference: Callable[..., Any]

    def to_json(self) -> dict[str, Any]:
        """The row without its functions, for `minillm formulas --json`."""
        shown = {k: v for k, v in self.__dict__.items() if k not in ("example", "reference")}
        return {**shown, "symbols": dict(self.symbols), "symbols_zh": dict(self.symbols_zh),
                "kernels": list(self.kernels)}


LEDGER: dict[str, Equation] = {}


def equation(section: str, latex: str, *, title: str, title_zh: str, symbols: Mapping[str, str],
             symbols_zh: Mapping[str, str], example: Example, test: str, source: str, fused: str = "",
             kernels: tuple[str, ...] = (), lesson: str = "") -> Callable[[F], F]:
    """Enter the decorated function into the ledger; see `Equation` for the fields.

    Raises:
        ValueError: the name is taken.
    """

    def register(function: F) -> F:
        name = function.__name__
        if name in LEDGER:
            raise ValueError(f"the ledger already has an equation named {name!r}")
        LEDGER[name] = Equation(name, section, title, title_zh, latex, symbols, symbols_zh,
                                f"{function.__module__}:{name}", source, fused, kernels, test, lesson,
                                example, function)
        return function

    return register


__all__ = ["LEDGER", "Equation", "equation"]
