"""The rows of rules/indexing.py: name, reference in torch, domain."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rule_checks import APART, SHAPE, WITH_AXIS, one_axis, row, shaped

from minillm.autograd.rules.indexing import scatter_add


def any_index(draw: Any, shape: tuple[int, ...]) -> Any:
    """Ints, slices of either direction, None, `...`, masks, integer arrays with repeats, or several."""
    kind = draw(st.sampled_from(["basic", "arrays", "rows", "mask", "mixed", "list"]))
    if kind == "basic" or not shape or not all(shape):
        return draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    if kind == "arrays":
        result = hnp.array_shapes(max_dims=2, min_side=0, max_side=4)
        return draw(hnp.integer_array_indices(shape, result_shape=result))
    rows = hnp.arrays(draw(st.sampled_from([np.int8, np.uint8, np.int64])),
                      hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4),
                      elements=st.integers(0, shape[0] - 1))
    if kind == "rows":
        i = draw(rows)
        return i if i.dtype.kind == "u" or draw(st.booleans()) else i - i.dtype.type(shape[0])
    if kind == "list":
        return draw(st.lists(st.integers(-shape[0], shape[0] - 1), max_size=4))
    if kind == "mask":
        return draw(hnp.arrays(bool, shape[:draw(st.integers(1, len(shape)))]))
    rest = draw(hnp.basic_indices(shape[1:], allow_newaxis=True, allow_ellipsis=True))
    first = draw(rows | hnp.arrays(bool, shape[:1]))
    return (first, *(rest if isinstance(rest, tuple) else (rest,)))


def torch_at(x: Any, index: Any) -> Any:
    """torch knows neither negative steps nor all mixed forms: pick by position."""
    places = np.array(np.arange(x.numel()).reshape(x.shape)[index])
    return x.reshape(-1)[torch.tensor(places)]


@st.composite
def scattered(draw: Any) -> Any:
    shape = draw(SHAPE)
    index = any_index(draw, shape)
    return [np.empty(shape)[index].shape], {"index": index, "shape": shape}


def torch_scatter_add(g: Any, index: Any, shape: Any) -> Any:
    places = np.array(np.arange(int(np.prod(shape))).reshape(shape)[index])
    flat = torch.zeros(int(np.prod(shape)), dtype=g.dtype)
    return flat.index_add(0, torch.tensor(places).reshape(-1), g.reshape(-1)).reshape(shape)


def picks(draw: Any, shape: tuple[int, ...]) -> Any:
    axis = draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    n = int(np.prod(shape)) if axis is None else shape[axis]
    assume(n)
    sizes = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)
    return {"indices": draw(hnp.arrays(int, sizes, elements=st.integers(-n, n - 1))), "axis": axis}


def torch_take(x: Any, indices: Any, axis: int | None) -> Any:
    places = np.take(np.arange(x.numel()).reshape(x.shape), indices, axis)
    return x.reshape(-1)[torch.tensor(places)]


def picks_along(draw: Any, shape: tuple[int, ...]) -> Any:
    axis = draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    n = int(np.prod(shape)) if axis is None else shape[axis]
    assume(n)
    picked = draw(st.integers(0, 4))
    if axis is None:
        sizes: tuple[int, ...] = (picked,)
    else:  # the other axes broadcast both ways
        sizes = tuple(picked if i == axis % len(shape) else
                      draw(st.integers(0, 3)) if m == 1 else draw(st.sampled_from([m, 1]))
                      for i, m in enumerate(shape))
    return {"indices": draw(hnp.arrays(int, sizes, elements=st.integers(-n, n - 1))), "axis": axis}


def torch_take_along_axis(x: Any, indices: Any, axis: int | None) -> Any:
    n = x.numel() if axis is None else x.shape[axis]
    return torch.take_along_dim(x, torch.from_numpy(indices % n), axis)


def torch_sort(x: Any, axis: int | None) -> Any:
    return (torch.sort(x.reshape(-1)) if axis is None else torch.sort(x, axis)).values


INDEXING = [
    row(operator.getitem, lambda x, index: x[index], torch_at,
        shaped(lambda draw, shape: {"index": any_index(draw, shape)})),
    row(scatter_add.op, scatter_add, torch_scatter_add, scattered(), name="scatter_add"),
    row(np.take, np.take, torch_take, shaped(picks, WITH_AXIS)),
    row(np.take_along_axis, np.take_along_axis, torch_take_along_axis, shaped(picks_along, WITH_AXIS)),
    row(np.sort, np.sort, torch_sort, one_axis(none=True), APART),
]
