"""Functions that move elements about without changing them: each rule moves the gradient back."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.autograd.devices import as_array, device_of, moved
from minillm.autograd.tensor import Tensor, apply, unwrap

from .registry import RULES, AllArguments, axis_index, composed, primitive


@primitive
def cast(x: Any, dtype: Any) -> Any:
    """x in another dtype."""
    return x.astype(dtype)


@primitive
def to_device(x: Any, device: str) -> Any:
    """x on another device (see `devices.moved`)."""
    return moved(x, device)


@primitive
def concatenate(*arrays: Any, axis: int | None = 0) -> Any:
    """The arrays joined along an axis, one argument each: so the tape sees them."""
    return np.concatenate(arrays, axis=axis)


def _concatenate(g: Any, y: Any, *arrays: Any, axis: int | None = 0) -> list[Any]:
    """Cut g where the arrays were joined."""
    if axis is None:  # NumPy joined them flattened
        ends = np.cumsum([x.size for x in arrays])
        return [np.reshape(g[end - x.size:end], x.shape) for x, end in zip(arrays, ends, strict=True)]
    before = (slice(None),) * (axis % g.ndim)
    ends = np.cumsum([x.shape[axis] for x in arrays])
    return [g[(*before, slice(end - x.shape[axis], end))] for x, end in zip(arrays, ends, strict=True)]


def _transpose(g: Any, y: Any, x: Any, axes: Any = None) -> Any:
    return np.transpose(g) if axes is None else np.transpose(
        g, tuple(int(i) for i in np.argsort([a % x.ndim for a in axes])))


def _pad(g: Any, y: Any, x: Any, widths: Any, constant_values: Any = 0) -> Any:
    return g[tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))]


RULES.update({
    cast.op:             (lambda g, y, x, dtype: cast(g, x.dtype),),  # type: ignore[attr-defined]
    to_device.op:        (lambda g, y, x, device: to_device(g, device_of(unwrap(x))),),  # type: ignore[attr-defined]
    concatenate.op:      AllArguments(_concatenate),  # type: ignore[attr-defined]
    np.reshape:          (lambda g, y, x, shape: np.reshape(g, x.shape),),
    np.transpose:        (_transpose,),
    np.swapaxes:         (lambda g, y, x, axis1, axis2: np.swapaxes(g, axis1, axis2),),
    np.moveaxis:         (lambda g, y, x, source, destination: np.moveaxis(g, destination, source),),
    np.squeeze:          (lambda g, y, x, axis=None: np.reshape(g, x.shape),),
    np.expand_dims:      (lambda g, y, x, axis: np.reshape(g, x.shape),),
    np.broadcast_to:     (lambda g, y, x, shape: g,),
    np.flip:             (lambda g, y, x, axis=None: np.flip(g, axis),),
    np.tril:             (lambda g, y, x, k=0: np.tril(g, k),),
    np.triu:             (lambda g, y, x, k=0: np.triu(g, k),),
    np.pad:              (_pad,),
})


@composed(np.concatenate)
def concatenate_all(arrays: Any, axis: int | None = 0) -> Any:
    return concatenate(*_common(arrays), axis=axis)


@composed(np.stack)
def stack(arrays: Any, axis: int = 0) -> Any:
    return concatenate(*(np.expand_dims(a, axis) for a in _common(arrays)), axis=axis)


def _common(arrays: Any) -> list[Any]:
    return [a if isinstance(a, Tensor) else as_array(a) for a in arrays]


@composed(np.split)
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    axis = axis_index("split", axis, x.shape)
    if np.ndim(indices_or_sections) == 0 and x.shape[axis] % indices_or_sections:
        raise ValueError(f"np.split: an axis of length {x.shape[axis]} does not divide into "
                         f"{indices_or_sections} equal parts (np.array_split allows it)")
    return array_split(x, indices_or_sections, axis)


@composed(np.array_split)
def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    axis = axis_index("array_split", axis, x.shape)
    # NumPy itself says where the cuts are, on the plain indices of the axis.
    cuts = np.array_split(np.arange(x.shape[axis]), indices_or_sections)
    starts = np.cumsum([0, *(len(c) for c in cuts)])
    if np.ndim(indices_or_sections):
        starts = np.asarray([c[0] if len(c) else 0 for c in cuts])
    before = (slice(None),) * axis
    return [x[(*before, slice(int(s), int(s) + len(c)))] for s, c in zip(starts, cuts, strict=False)]


@composed(np.pad)
def pad(x: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Any:
    if mode != "constant":
        raise TypeError(f"np.pad on Tensors knows mode='constant', not {mode!r}")
    if isinstance(pad_width, dict):  # axis -> widths; the other axes are left alone
        pairs = np.zeros((x.ndim, 2), int)
        for axis, width in pad_width.items():
            pairs[axis] = width
        pad_width = pairs
    widths = tuple((int(a), int(b)) for a, b in np.broadcast_to(pad_width, (x.ndim, 2)))
    return apply(np.pad, (x, widths), {"constant_values": constant_values})


@composed(np.ravel)
def ravel(x: Any) -> Any:
    return np.reshape(x, -1)
