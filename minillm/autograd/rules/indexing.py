"""Reading elements by index. To read x[i] twice is to use it twice: the rule scatters and *adds*."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from minillm.autograd.devices import as_array, is_foreign

from .registry import RULES, axis_index, composed, primitive


def _picks_once(index: Any) -> bool:
    """Whether the index can name no element twice: ints, slices, None, `...` and boolean masks."""
    items = index if type(index) is tuple else (index,)
    return all(isinstance(i, int | slice | np.integer) or i is None or i is Ellipsis
               or (hasattr(i, "dtype") and i.dtype.kind == "b") for i in items)


@primitive
def scatter_add(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with g added at `index`: the adjoint of x[index]."""
    if type(g) is not np.ndarray and is_foreign(g):
        return _scatter_elsewhere(g, index, shape)
    out = np.zeros(shape, g.dtype)
    if _picks_once(index):
        out[index] = g
    elif type(index) is np.ndarray and len(shape) == 2:
        _add_rows(out, index, g)
    else:
        np.add.at(out, index, g)
    return out


def _scatter_elsewhere(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """The same on a GPU. It adds in no fixed order: where many meet, the last bits vary from run to run."""
    out = np.zeros(shape, g.dtype, like=g)
    if _picks_once(index):
        out[index] = g
    else:
        np.add.at(out, index, g)
    return out


def _add_rows(out: np.ndarray, rows: np.ndarray, g: np.ndarray) -> None:
    """out[rows] += g, rows in any order and repeated: sort, then sum each run (an embedding's case)."""
    flat = rows.reshape(-1).astype(np.intp)  # in uint8, say, the number of rows may not exist
    if flat.size:
        flat %= len(out)
        order = np.argsort(flat, kind="stable")
        ordered = flat[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        out[ordered[starts]] = np.add.reduceat(g.reshape(flat.size, -1)[order], starts, axis=0)


def _along(index: np.ndarray, axis: int, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """`take_along_axis` as plain advanced indexing: every other axis runs along itself."""
    ndim = len(shape)
    grid = [np.arange(n).reshape((-1,) + (1,) * (ndim - i - 1)) for i, n in enumerate(shape)]
    return tuple(index if i == axis % ndim else grid[i] for i in range(ndim))


def _take_along_axis(g: Any, y: Any, x: Any, indices: Any, axis: int | None = -1) -> Any:
    indices = as_array(indices)
    if axis is None:
        return np.reshape(scatter_add(g, indices, (x.size,)), x.shape)
    return scatter_add(g, _along(indices, axis, x.shape), x.shape)


def _sort(g: Any, y: Any, x: Any, axis: int | None = -1) -> Any:
    """Send each gradient back to where its element came from."""
    if axis is None:
        order = np.argsort(np.argsort(np.ravel(x), kind="stable"), kind="stable")
        return np.reshape(g[order], x.shape)
    order = np.argsort(np.argsort(x, axis=axis, kind="stable"), axis=axis, kind="stable")
    return np.take_along_axis(g, order, axis=axis)


RULES.update({
    operator.getitem:   (lambda g, y, x, index: scatter_add(g, index, x.shape),),
    scatter_add.op:     (lambda g, y, x, index, shape: x_at(g, index),),  # type: ignore[attr-defined]
    np.take_along_axis: (_take_along_axis,),
    np.sort:            (_sort,),
})


def x_at(x: Any, index: Any) -> Any:
    return x[index]


@composed(np.take)
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    indices = as_array(indices)
    if axis is None:
        return np.reshape(x, -1)[indices]
    return x[(slice(None),) * axis_index("take", axis, x.shape) + (indices,)]
