"""The rows of rules/reductions.py: name, reference in torch, domain."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rule_checks import APART, SIGNED, axes_of, one_axis, row


@st.composite
def reduced(draw: Any, *, least: int = 1, ddof: bool = False) -> Any:
    """A shape, and axes of it to reduce: None, an int or a tuple; of at least `least` elements."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=min(least, 1), max_side=3))
    choices = [st.none(), hnp.valid_tuple_axes(len(shape), min_size=0)]
    if shape:
        choices.append(st.integers(-len(shape), len(shape) - 1))
    options = {"axis": draw(st.one_of(choices)), "keepdims": draw(st.booleans())}
    axes = axes_of(len(shape), options["axis"])
    assume(np.prod([shape[i] for i in axes]) >= least)
    if least:  # axes that are not reduced may be empty nevertheless
        shape = tuple(0 if i not in axes and not draw(st.integers(0, 3)) else n for i, n in enumerate(shape))
    if ddof:
        options["ddof"] = draw(st.integers(0, max(0, int(np.prod([shape[i] for i in axes])) - 1)))
    return [shape], options


def last(reduce: Any) -> Any:
    """A torch function of the last axis, given any axes in NumPy's way."""

    def f(x: Any, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        axes = axes_of(x.ndim, axis)
        rest = [i for i in range(x.ndim) if i not in axes]
        n = int(np.prod([x.shape[i] for i in axes]))
        flat = x.permute((*rest, *axes)).reshape([x.shape[i] for i in rest] + [n])
        y = reduce(flat, **options)
        return y.reshape([1 if i in axes else m for i, m in enumerate(x.shape)]) if keepdims else y

    return f


def torch_var(x: Any, ddof: int = 0) -> Any:  # torch.var warns of what it need not
    return ((x - x.mean(-1, keepdim=True))**2).sum(-1) / (x.shape[-1] - ddof)


def torch_cumsum(x: Any, axis: int | None) -> Any:
    return torch.cumsum(x.reshape(-1), 0) if axis is None else torch.cumsum(x, axis)


REDUCTIONS = [
    row(np.sum, np.sum, last(lambda x: x.sum(-1)), reduced(least=0)),
    row(np.mean, np.mean, last(lambda x: x.mean(-1)), reduced()),
    row(np.var, np.var, last(torch_var), reduced(ddof=True)),
    row(np.std, np.std, last(lambda x: torch_var(x).sqrt()), reduced(least=2), APART),
    row(np.max, np.max, last(lambda x: x.amax(-1)), reduced(), APART),
    row(np.min, np.min, last(lambda x: x.amin(-1)), reduced(), APART),
    row(np.prod, np.prod, last(lambda x: x.prod(-1)), reduced(least=0), SIGNED),
    row(np.cumsum, np.cumsum, torch_cumsum, one_axis(none=True)),
]
