"""A row of the ledger for the page, its LaTeX as MathML where latex2mathml is installed."""

from __future__ import annotations

import importlib
import re
from typing import Any

from minillm.formulas import Equation
from minillm.stepper.equation import lines

_GREEK = "alpha|beta|gamma|epsilon|zeta|theta|lambda|mu|sigma|Phi|nabla"


def described(row: Equation) -> dict[str, Any]:
    """What the page shows of a row; what the letters mean, by language."""
    return {"name": row.name, "section": row.section, "source": row.source,
            "lines": [{"latex": line, "mathml": mathml(line)} for line in lines(row.latex)],
            "symbols": [{"symbol": symbol, "mathml": mathml(_latex(symbol)),
                         "meaning": {"en": meaning, "zh": row.symbols_zh[symbol]}}
                        for symbol, meaning in row.symbols.items()]}


def mathml(latex: str) -> str:
    """LaTeX as a <math> element; "" without latex2mathml, or where it does not know a command."""
    try:
        convert = importlib.import_module("latex2mathml.converter").convert
    except ImportError:
        return ""
    try:
        found: str = convert(latex, display="block")
    except Exception:  # its errors share no base class; the page then shows the LaTeX
        return ""
    return "" if "\\" in found else found


def _latex(symbol: str) -> str:
    """The ledger's symbols are plain words: theta_t, y_ij, m_hat."""
    symbol = re.sub(r"\b(\w)_(hat|bar)\b", r"\\\2{\1}", symbol)
    symbol = re.sub(rf"(?<![\\a-zA-Z])({_GREEK})(?![a-zA-Z])", r"\\\1 ", symbol)
    symbol = re.sub(r"_(\w{2,})\b", r"_{\1}", symbol)
    return re.sub(r"(?<![\\a-zA-Z{])(lse|erfc)\b", r"\\mathrm{\1}", symbol)
