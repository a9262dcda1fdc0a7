"""The rows of rules/shapes.py: name, reference in torch, domain."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rule_checks import ONE, SHAPE, WITH_AXIS, axes_of, axis_in, row, shaped

from minillm.autograd.rules.shapes import cast, concatenate, to_device


def new_shape(draw: Any, shape: tuple[int, ...]) -> Any:
    sizes = draw(st.permutations([n for n in shape if n != 1] + [1] * draw(st.integers(0, 2))))
    if 0 not in sizes and sizes and draw(st.booleans()):
        sizes[draw(st.integers(0, len(sizes) - 1))] = -1
    return {"shape": draw(st.sampled_from([tuple(sizes), -1] if 0 not in sizes else [tuple(sizes)]))}


def permutation(draw: Any, shape: tuple[int, ...]) -> Any:
    n = len(shape)
    order = draw(st.permutations(range(n)))
    return {"axes": draw(st.sampled_from([None, tuple(order), [i - n for i in order]]))}


def torch_transpose(x: Any, axes: Any) -> Any:
    return x.permute(tuple(range(x.ndim)[::-1]) if axes is None else tuple(axes))


def moves(draw: Any, shape: tuple[int, ...]) -> Any:
    n = len(shape)
    source, destination = draw(st.permutations(range(n))), draw(st.permutations(range(-n, 0)))
    k = draw(st.integers(0, n))
    if k == 1:
        return {"source": source[0], "destination": destination[0]}
    return {"source": tuple(source[:k]), "destination": tuple(destination[:k])}


def ones_to_drop(draw: Any, shape: tuple[int, ...]) -> Any:
    ones = [i for i, n in enumerate(shape) if n == 1]
    some = tuple(draw(st.lists(st.sampled_from(ones), unique=True))) if ones else ()
    return {"axis": draw(st.sampled_from([None, some, *(i - len(shape) for i in ones)]))}


def places_to_add(draw: Any, shape: tuple[int, ...]) -> Any:
    axis = st.integers(-len(shape) - 1, len(shape))
    pair = st.permutations(range(len(shape) + 2)).map(lambda p: (p[0], p[1] - len(shape) - 2))
    return {"axis": draw(axis | pair)}


def wider(draw: Any, shape: tuple[int, ...]) -> Any:
    shape = tuple(draw(st.integers(0, 3)) if n == 1 else n for n in shape)
    return {"shape": (*draw(hnp.array_shapes(min_dims=0, max_dims=1, min_side=0)), *shape)}


def to_flip(draw: Any, shape: tuple[int, ...]) -> Any:
    return {"axis": draw(st.none() | hnp.valid_tuple_axes(len(shape)))}


def diagonal(draw: Any, shape: tuple[int, ...]) -> Any:
    return {"k": draw(st.integers(-3, 3))}


def matrix(x: Any) -> Any:
    """NumPy repeats a vector in every row, torch refuses it."""
    return x.broadcast_to(x.shape * 2) if x.ndim == 1 else x


def widths(draw: Any, shape: tuple[int, ...]) -> Any:
    width, n = st.integers(0, 2), len(shape)
    pair = st.tuples(width, width)
    forms = [width, pair, st.tuples(pair), st.lists(pair, min_size=n, max_size=n)]
    if n > 1:
        forms.append(st.lists(st.tuples(width), min_size=n, max_size=n))
    return {"pad_width": draw(st.one_of(forms)), "constant_values": draw(st.sampled_from([0, 1.5]))}


def torch_pad(x: Any, pad_width: Any, constant_values: Any) -> Any:
    pairs = np.broadcast_to(pad_width, (x.ndim, 2))[::-1].ravel()  # torch starts with the last axis
    return torch.nn.functional.pad(x, [int(n) for n in pairs], value=constant_values)


@st.composite
def joined(draw: Any) -> Any:
    shape = draw(WITH_AXIS)
    axis = draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    shapes = []
    for _ in range(draw(st.integers(1, 4))):
        s = list(shape)
        s[0 if axis is None else axis] = draw(st.integers(0, 3))
        shapes.append(tuple(s))
    return shapes, {"axis": axis}


def torch_concatenate(*xs: Any, axis: int | None) -> Any:
    return torch.cat([x.reshape(-1) for x in xs]) if axis is None else torch.cat(xs, axis)


@st.composite
def stacked(draw: Any) -> Any:
    shape = draw(SHAPE)
    return [shape] * draw(st.integers(1, 3)), {"axis": draw(st.integers(-len(shape) - 1, len(shape)))}


def cuts(draw: Any, shape: tuple[int, ...]) -> Any:
    axis = axis_in(draw, len(shape))
    indices = st.lists(st.integers(-4, 5), max_size=3).map(sorted)
    sections = st.sampled_from([k for k in (1, 2, 3) if shape[axis] % k == 0])
    return {"indices_or_sections": draw(indices | sections), "axis": axis}


def torch_split(x: Any, indices_or_sections: Any, axis: int) -> Any:
    if isinstance(indices_or_sections, int):
        return torch.tensor_split(x, indices_or_sections, axis)
    n = x.shape[axis]
    ends = [*indices_or_sections, n]
    starts = [0, *indices_or_sections]
    every = [range(n)[a:b] for a, b in zip(starts, ends, strict=True)]
    return [torch.index_select(x, axis, torch.tensor(list(r), dtype=torch.int64)) for r in every]


def sections(draw: Any, shape: tuple[int, ...]) -> Any:
    return {"indices_or_sections": draw(st.integers(1, 4)), "axis": axis_in(draw, len(shape))}


SHAPES = [
    row(to_device.op, lambda x, device: x, lambda x, device: x,
        SHAPE.map(lambda s: ([s], {"device": "cpu"})), name="to"),
    row(cast.op, lambda x, dtype: x.astype(dtype), lambda x, dtype: x,
        SHAPE.map(lambda s: ([s], {"dtype": np.float64})), name="astype"),
    row((np.concatenate, concatenate.op), lambda *xs, axis: np.concatenate(xs, axis), torch_concatenate,
        joined()),
    row(np.stack, lambda *xs, axis: np.stack(xs, axis), lambda *xs, axis: torch.stack(xs, axis), stacked()),
    row(np.split, np.split, torch_split, shaped(cuts, WITH_AXIS)),
    row(np.array_split, np.array_split, torch_split, shaped(sections, WITH_AXIS)),
    row(np.reshape, np.reshape, lambda x, shape: x.reshape(shape), shaped(new_shape)),
    row(np.ravel, np.ravel, torch.ravel, ONE),
    row(np.transpose, np.transpose, torch_transpose, shaped(permutation)),
    row(np.swapaxes, np.swapaxes, lambda x, axis1, axis2: torch.swapaxes(x, axis1, axis2),
        shaped(lambda draw, s: {"axis1": axis_in(draw, len(s)), "axis2": axis_in(draw, len(s))}, WITH_AXIS)),
    row(np.moveaxis, np.moveaxis, torch.moveaxis, shaped(moves)),
    row(np.squeeze, np.squeeze, lambda x, axis: torch.squeeze(x) if axis is None else torch.squeeze(x, axis),
        shaped(ones_to_drop, SHAPE.map(lambda s: (1, *s)))),
    row(np.expand_dims, np.expand_dims,
        lambda x, axis: x.reshape(np.expand_dims(np.empty(x.shape), axis).shape), shaped(places_to_add)),
    row(np.broadcast_to, np.broadcast_to, lambda x, shape: torch.broadcast_to(x, shape), shaped(wider)),
    row(np.flip, np.flip, lambda x, axis: torch.flip(x, axes_of(x.ndim, axis)), shaped(to_flip)),
    row(np.tril, np.tril, lambda x, k: torch.tril(matrix(x), k), shaped(diagonal, WITH_AXIS)),
    row(np.triu, np.triu, lambda x, k: torch.triu(matrix(x), k), shaped(diagonal, WITH_AXIS)),
    row(np.pad, np.pad, torch_pad, shaped(widths, WITH_AXIS)),
]
