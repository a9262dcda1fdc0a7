"""The rows of rules/arithmetic.py: name, reference in torch, domain."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rule_checks import APART, ONE, SHAPE, SIGNED, Row, broadcast, row


def unary(f: Any, reference: Any, domain: Any = (-2.0, 2.0)) -> Row:
    return row(f, f, reference, ONE, domain)


def binary(f: Any, reference: Any, domain: Any = (-2.0, 2.0)) -> Row:
    return row(f, f, reference, broadcast(2), domain)


@st.composite
def bounds(draw: Any) -> Any:
    """x and array bounds for clip, of which one may be missing."""
    shapes, _ = draw(broadcast(3))
    missing = draw(st.sampled_from(["", "lo", "hi"]))
    return (shapes, {}) if not missing else (shapes[:2], {"missing": missing})


def clip_between(x: Any, a: Any, b: Any = None, missing: str = "") -> Any:
    return np.clip(x, *((None, a) if missing == "lo" else (a, b)))


def torch_clip(x: Any, *bounds: Any, missing: str = "") -> Any:
    x, *bounds = torch.broadcast_tensors(x, *bounds)
    return torch.clamp(x, *((None, *bounds) if missing == "lo" else bounds))


@st.composite
def where(draw: Any) -> Any:
    shapes, _ = draw(broadcast(3))
    return shapes[1:], {"c": draw(hnp.arrays(bool, shapes[0]))}


PAIRS = [(-0.71, None), (None, 0.61), (-0.51, 0.937), (0.937, -0.51)]
SCALAR_BOUNDS = st.tuples(SHAPE, st.sampled_from(PAIRS)).map(
    lambda t: ([t[0]], {"lo": t[1][0], "hi": t[1][1]}))

ARITHMETIC = [
    binary(np.add, torch.add),
    binary(np.subtract, torch.subtract),
    binary(np.multiply, torch.multiply),
    binary(np.divide, torch.divide, SIGNED),
    binary(np.power, torch.pow, [(0.3, 2.0), (-2.0, 2.0)]),
    binary(np.logaddexp, torch.logaddexp),
    binary(np.maximum, torch.maximum, APART),
    binary(np.minimum, torch.minimum, APART),
    unary(np.negative, torch.negative),
    unary(np.positive, torch.positive),
    unary(np.reciprocal, torch.reciprocal, SIGNED),
    unary(np.square, torch.square),
    unary(np.sqrt, torch.sqrt, (0.3, 3.0)),
    unary(np.exp, torch.exp),
    unary(np.exp2, torch.exp2),
    unary(np.expm1, torch.expm1),
    unary(np.log, torch.log, (0.3, 3.0)),
    unary(np.log2, torch.log2, (0.3, 3.0)),
    unary(np.log10, torch.log10, (0.3, 3.0)),
    unary(np.log1p, torch.log1p, (-0.7, 3.0)),
    unary(np.tanh, torch.tanh),
    unary(np.sinh, torch.sinh),
    unary(np.cosh, torch.cosh),
    unary(np.sin, torch.sin),
    unary(np.cos, torch.cos),
    unary(np.arctan, torch.arctan),
    unary(np.absolute, torch.abs, APART),
    unary(np.sign, torch.sign, APART),
    row(np.where, lambda a, b, c: np.where(c, a, b),
        lambda a, b, c: torch.where(torch.from_numpy(c), a, b), where()),
    row(np.clip, clip_between, torch_clip, bounds(), APART),
    row(np.clip, lambda x, lo, hi: np.clip(x, lo, hi), lambda x, lo, hi: torch.clamp(x, lo, hi),
        SCALAR_BOUNDS, APART, name="clip by scalars"),
]
