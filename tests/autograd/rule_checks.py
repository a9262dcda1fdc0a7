"""The factory behind test_rules.py: what a declared row is, how its inputs are drawn and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minillm import Tensor, check_gradients

Domain = Any  # APART, or (lo, hi) or SIGNED for all arrays, or a list with one of them for each

# All elements of all arrays differ by far more than a step of check_gradients, and none is 0: for
# functions with kinks (abs, max, sort, ...).
APART = "apart"
SIGNED = "signed"  # 0.5 to 2 on either side of 0


@dataclass(frozen=True)
class Case:
    """One drawn input: float arrays to differentiate, and options passed as they are."""

    arrays: tuple[np.ndarray, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One declared op.

    Attributes:
        keys: the rows of RULES and COMPOSED that it covers.
        f: the function, written with `np.`: takes arrays or Tensors.
        reference: the same in torch; None where torch lacks it.
        cases: where Cases are drawn from.
        exact: on Tensors, the forward is NumPy's own function, bit for bit.
    """

    keys: tuple[Any, ...]
    f: Callable[..., Any]
    reference: Callable[..., Any] | None
    cases: st.SearchStrategy[Case]
    name: str
    exact: bool = True


def row(keys: Any, f: Callable[..., Any], reference: Callable[..., Any] | None,
        shapes: st.SearchStrategy[Any], domain: Domain = (-2.0, 2.0), *, name: str = "",
        exact: bool = True) -> Row:
    """Declare an op; `shapes` draws (shapes of the arrays, options)."""
    keys = keys if isinstance(keys, tuple) else (keys,)
    name = name or getattr(keys[0], "__name__", str(keys[0]))
    return Row(keys, f, reference, cases(shapes, domain), name, exact)


# ---- drawing -----------------------------------------------------------------------------------

def _reversed(a: np.ndarray) -> np.ndarray:
    backwards = (slice(None, None, -1),) * a.ndim
    return a[backwards].copy()[backwards]


def _sliced(a: np.ndarray) -> np.ndarray:
    return np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C": lambda a: a, "transposed": lambda a: a.T.copy().T, "reversed": _reversed, "sliced": _sliced}


@st.composite
def cases(draw: Any, shapes: st.SearchStrategy[Any], domain: Domain) -> Case:
    sizes, options = draw(shapes)
    n = len(sizes)
    dtypes = draw(st.lists(st.sampled_from([np.float64, np.float32]), min_size=n, max_size=n))
    layouts = draw(st.lists(st.sampled_from(sorted(LAYOUTS)), min_size=n, max_size=n))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    arrays = []
    for values, dtype, layout in zip(_values(rng, sizes, domain), dtypes, layouts, strict=True):
        a = np.asarray(LAYOUTS[layout](np.asarray(values, dtype)))
        a.setflags(write=False)  # an op that writes into its inputs raises
        arrays.append(a)
    return Case(tuple(arrays), options)


def _values(rng: np.random.Generator, sizes: Sequence[tuple[int, ...]], domain: Domain) -> list[Any]:
    if domain == APART:
        counts = [int(np.prod(s)) for s in sizes]
        total = sum(counts)
        grid = (rng.permutation(total) + 0.3) / max(total, 1) * 4 - 2
        parts = np.split(grid, np.cumsum(counts)[:-1])
        return [p.reshape(s) for p, s in zip(parts, sizes, strict=True)]
    domains = domain if isinstance(domain, list) else [domain] * len(sizes)
    return [np.asarray(rng.uniform(0.5, 2, s)) * rng.choice([-1, 1], s) if d == SIGNED else rng.uniform(*d, s)
            for d, s in zip(domains, sizes, strict=True)]


# ---- shapes -------------------------------------------------------------------------------------

SHAPE = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
WITH_AXIS = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
ONE = SHAPE.map(lambda s: ([s], {}))


def broadcast(n: int) -> st.SearchStrategy[Any]:
    shapes = hnp.mutually_broadcastable_shapes(num_shapes=n, max_dims=3, min_side=0, max_side=3)
    return shapes.map(lambda s: (list(s.input_shapes), {}))


@st.composite
def shaped(draw: Any, options: Any, shapes: Any = SHAPE) -> Any:
    """A shape, and options that `options(draw, shape)` draws for it."""
    shape = draw(shapes)
    return [shape], options(draw, shape)


def axis_in(draw: Any, ndim: int) -> int:
    return draw(st.integers(-ndim, ndim - 1))


def axes_of(ndim: int, axis: Any) -> tuple[int, ...]:
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(i % ndim for i in axes)


def one_axis(none: bool = False) -> st.SearchStrategy[Any]:
    def choose(shape: tuple[int, ...]) -> Any:
        axis = st.integers(-len(shape), len(shape) - 1)
        return (axis | st.none() if none else axis).map(lambda a: ([shape], {"axis": a}))

    return WITH_AXIS.flatmap(choose)


# ---- checking ----------------------------------------------------------------------------------

def parts_of(y: Any) -> list[Any]:
    return list(y) if isinstance(y, list | tuple) else [y]


def close(ours: Any, reference: Any, single: bool) -> None:
    """Equal to rounding, relative to the largest element."""
    scale = max(1.0, float(np.abs(reference).max(initial=0.0)))
    np.testing.assert_allclose(ours, reference, rtol=0, atol=(1e-5 if single else 1e-12) * scale)


def check_forward_and_backward(row: Row, case: Case) -> None:
    """Forward against NumPy, forward and backward against torch in float64."""
    xs = [Tensor(a, requires_grad=True) for a in case.arrays]
    ours = parts_of(row.f(*xs, **case.options))
    numpy = [np.asarray(p) for p in parts_of(row.f(*case.arrays, **case.options))]
    single = any(a.dtype == np.float32 for a in case.arrays)
    assert len(ours) == len(numpy)
    for y, expected in zip(ours, numpy, strict=True):
        assert type(y) is Tensor
        assert type(y.data) is np.ndarray
        assert (y.dtype, y.shape) == (expected.dtype, expected.shape)
        if row.exact:
            np.testing.assert_array_equal(y.data, expected)
        else:
            close(y.data, expected, single)
    rng = np.random.default_rng(0)
    vs = [rng.standard_normal(y.shape) for y in ours]
    for y, v in zip(ours, vs, strict=True):
        y.backward(v)
    grads = [np.zeros_like(x.data) if x.grad is None else x.grad for x in xs]
    for x, d in zip(xs, grads, strict=True):
        assert type(d) is np.ndarray
        assert (d.dtype, d.shape) == (x.dtype, x.shape)
        assert d.flags.writeable
    if row.reference is None:
        return
    ts = [torch.tensor(np.array(a, np.float64, order="C"), requires_grad=True) for a in case.arrays]
    theirs = parts_of(row.reference(*ts, **case.options))
    for y, t in zip(ours, theirs, strict=True):
        assert y.shape == tuple(t.shape)
        close(y.data, t.detach().numpy(), single)
    torch.autograd.backward(theirs, [torch.from_numpy(np.asarray(v)) for v in vs])
    for d, t in zip(grads, ts, strict=True):
        close(d, np.zeros(d.shape) if t.grad is None else t.grad.numpy(), single)


def check_second_order(row: Row, case: Case) -> None:
    """First and second derivatives against differences."""
    check_gradients(lambda *xs: row.f(*xs, **case.options), case.arrays, order=2)
