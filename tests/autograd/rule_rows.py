"""One line for each differentiable function: its name, its reference in torch, where it is drawn."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rule_checks import APART, SIGNED, Row, row

from minillm.autograd.rules.indexing import scatter_add
from minillm.autograd.rules.shapes import _concatenate, cast

SHAPE = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
FILLED = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3)
WITH_AXIS = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
ONE = SHAPE.map(lambda s: ([s], {}))


def broadcast(n: int) -> st.SearchStrategy[Any]:
    shapes = hnp.mutually_broadcastable_shapes(num_shapes=n, max_dims=3, min_side=0, max_side=3)
    return shapes.map(lambda s: (list(s.input_shapes), {}))


def unary(f: Any, reference: Any, domain: Any = (-2.0, 2.0)) -> Row:
    return row(f, f, reference, ONE, domain)


def binary(f: Any, reference: Any, domain: Any = (-2.0, 2.0)) -> Row:
    return row(f, f, reference, broadcast(2), domain)


# ---- arithmetic --------------------------------------------------------------------------------

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


SCALAR_BOUNDS = st.tuples(SHAPE, st.sampled_from([(-0.71, None), (None, 0.61), (-0.51, 0.937), (0.937, -0.51)])).map(
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


# ---- products ----------------------------------------------------------------------------------

MATMUL = hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, min_side=0,
                                           max_side=3).map(lambda s: (list(s.input_shapes), {}))
DOT = st.sampled_from([((), ()), ((), (3,)), ((2, 3), ()), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)),
                       ((2, 3), (3, 4)), ((2, 0), (0, 4)), ((2, 1, 3), (3,)), ((3,), (2, 3, 4)),
                       ((2, 3), (4, 3, 1)), ((2, 4, 3), (2, 3, 2))]).map(lambda s: (list(s), {}))
EINSUM = [
    "ij,jk->ik", "ij,jk", "ij->ji", "ba", "i,i->", "i,i", "i,j->ij", "ij->", "ij->j", "ij,kl->i", "ii", "ii->i",
    "ii,i->i", "iij,jk->ik", "iii->i", "iii", "ij,ji", "ij,ij,ij->i", "bij,bjk->bik", "b i j , b k j -> b i k",
    "...ij,...jk->...ik", "...ij,jk", "...,...", "i...->...i", "i...,i...->...", "...ii->...i", "...i,...i",
    "i,ij,j", "Ab,bC", "ij,j...->i...", ",i->i", "ijk,k->ij",
]


@st.composite
def einsum_shapes(draw: Any) -> Any:
    form = draw(st.sampled_from(EINSUM))
    terms = form.replace(" ", "").partition("->")[0].split(",")
    size = {c: draw(st.integers(0, 3)) for c in sorted(set(form) - set(" .,->"))}
    dots = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=2))
    shapes = []
    for term in terms:
        shape: list[int] = []
        rank = draw(st.integers(0, len(dots)))
        for part in term.replace("...", "."):
            if part == ".":
                shape += [1 if draw(st.booleans()) else n for n in dots[len(dots) - rank:]]
            else:  # one operand may have size 1 where another is longer
                alone = sum(part in t for t in terms) == 1 or term.count(part) > 1
                shape.append(size[part] if alone or draw(st.integers(0, 3)) else 1)
        shapes.append(tuple(shape))
    return shapes, {"form": form}


@st.composite
def tensordot_shapes(draw: Any) -> Any:
    shared = draw(st.lists(st.integers(0, 3), max_size=2))
    free_a, free_b = (draw(st.lists(st.integers(0, 3), max_size=2)) for _ in "ab")
    if draw(st.booleans()):
        return [(*free_a, *shared), (*shared, *free_b)], {"axes": len(shared)}
    of_a = draw(st.permutations(range(len(free_a) + len(shared))))[:len(shared)]
    of_b = draw(st.permutations(range(len(free_b) + len(shared))))[:len(shared)]

    def shape(free: list[int], at: list[int]) -> tuple[int, ...]:
        rest = iter(free)
        return tuple(shared[at.index(i)] if i in at else next(rest) for i in range(len(free) + len(at)))

    shapes = [shape(free_a, of_a), shape(free_b, of_b)]
    signed = [i - len(shapes[0]) if draw(st.booleans()) else i for i in of_a]
    if len(shared) == 1 and draw(st.booleans()):
        return shapes, {"axes": (signed[0], of_b[0])}
    return shapes, {"axes": (signed, of_b)}


def torch_tensordot(a: Any, b: Any, axes: Any) -> Any:
    if isinstance(axes, int):
        return torch.tensordot(a, b, axes)
    of_a, of_b = ([x] if isinstance(x, int) else x for x in axes)
    return torch.tensordot(a, b, ([i % a.ndim for i in of_a], [i % b.ndim for i in of_b]))


def torch_dot(a: Any, b: Any) -> Any:
    if not a.ndim or not b.ndim:
        return a * b
    return torch.tensordot(a, b, ([a.ndim - 1], [max(b.ndim - 2, 0)]))


PRODUCTS = [
    row(np.matmul, np.matmul, torch.matmul, MATMUL),
    row(np.matmul, operator.matmul, torch.matmul, MATMUL, name="matmul as an operator"),
    row(np.einsum, lambda *xs, form: np.einsum(form, *xs), lambda *xs, form: torch.einsum(form, *xs),
        einsum_shapes()),
    row(np.tensordot, np.tensordot, torch_tensordot, tensordot_shapes()),
    row(np.dot, np.dot, torch_dot, DOT, exact=False),
    row(np.outer, np.outer, lambda a, b: torch.outer(a.reshape(-1), b.reshape(-1)),
        st.tuples(WITH_AXIS, SHAPE).map(lambda s: (list(s), {}))),
]


# ---- reductions --------------------------------------------------------------------------------

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


def axes_of(ndim: int, axis: Any) -> tuple[int, ...]:
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(i % ndim for i in axes)


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


def one_axis(none: bool = False) -> st.SearchStrategy[Any]:
    def choose(shape: tuple[int, ...]) -> Any:
        axis = st.integers(-len(shape), len(shape) - 1)
        return (axis | st.none() if none else axis).map(lambda a: ([shape], {"axis": a}))

    return WITH_AXIS.flatmap(choose)


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


# ---- shapes ------------------------------------------------------------------------------------

@st.composite
def shaped(draw: Any, options: Any, shapes: Any = SHAPE) -> Any:
    """A shape, and options that `options(draw, shape)` draws for it."""
    shape = draw(shapes)
    return [shape], options(draw, shape)


def axis_in(draw: Any, ndim: int) -> int:
    return draw(st.integers(-ndim, ndim - 1))


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
    row(cast.op, lambda x, dtype: x.astype(dtype), lambda x, dtype: x,
        SHAPE.map(lambda s: ([s], {"dtype": np.float64})), name="astype"),
    row((np.concatenate, _concatenate.op), lambda *xs, axis: np.concatenate(xs, axis), torch_concatenate,
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
    row(np.expand_dims, np.expand_dims, lambda x, axis: x.reshape(np.expand_dims(np.empty(x.shape), axis).shape),
        shaped(places_to_add)),
    row(np.broadcast_to, np.broadcast_to, lambda x, shape: torch.broadcast_to(x, shape), shaped(wider)),
    row(np.flip, np.flip, lambda x, axis: torch.flip(x, axes_of(x.ndim, axis)), shaped(to_flip)),
    row(np.tril, np.tril, lambda x, k: torch.tril(x.broadcast_to((x.shape * 2 + x.shape)[-max(2, x.ndim):]), k),
        shaped(diagonal, WITH_AXIS)),
    row(np.triu, np.triu, lambda x, k: torch.triu(x.broadcast_to((x.shape * 2 + x.shape)[-max(2, x.ndim):]), k),
        shaped(diagonal, WITH_AXIS)),
    row(np.pad, np.pad, torch_pad, shaped(widths, WITH_AXIS)),
]


# ---- indexing ----------------------------------------------------------------------------------

def any_index(draw: Any, shape: tuple[int, ...]) -> Any:
    """Ints, slices of either direction, None, `...`, masks, integer arrays with repeats, or several."""
    kind = draw(st.sampled_from(["basic", "arrays", "rows", "mask", "mixed", "list"]))
    if kind == "basic" or not shape or not all(shape):
        return draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    if kind == "arrays":
        return draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, min_side=0,
                                                                                   max_side=4)))
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
    sizes = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0 if n else 0, max_side=3 if n else 0)
    assume(n)
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


INDEXING = [
    row(operator.getitem, lambda x, index: x[index], torch_at,
        shaped(lambda draw, shape: {"index": any_index(draw, shape)})),
    row(scatter_add.op, scatter_add, torch_scatter_add, scattered(), name="scatter_add"),
    row(np.take, np.take, torch_take, shaped(picks, WITH_AXIS)),
    row(np.take_along_axis, np.take_along_axis, torch_take_along_axis, shaped(picks_along, WITH_AXIS)),
    row(np.sort, np.sort, lambda x, axis: torch.sort(x.reshape(-1) if axis is None else x, -1 if axis is None
                                                     else axis).values, one_axis(none=True), APART),
]

ROWS = [*ARITHMETIC, *PRODUCTS, *REDUCTIONS, *SHAPES, *INDEXING]
