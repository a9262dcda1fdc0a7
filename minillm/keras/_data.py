"""Checks on arrays that come from the user: what is wrong is said once, before anything is trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.autograd import Tensor
from minillm.formulas.checks import first_outside

FLOAT = np.float32  # Keras's floatx


def numbers(a: Any, name: str) -> np.ndarray:
    """`a` as an array of finite numbers.

    Raises:
        TypeError: it holds no numbers, or rows of different lengths.
        ValueError: one is nan or infinite.
    """
    if a is None:
        raise TypeError(f"{name} is missing")
    if isinstance(a, Tensor):
        a = a.data
    try:
        array = np.asarray(a)
    except ValueError:
        raise TypeError(f"{name} is not an array: its rows have different lengths") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers, not {array.dtype}"
                        + (": turn text into ids first, see minillm.text" * (array.dtype.kind in "USO")))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        at = _first(~np.isfinite(array))
        raise ValueError(f"{name}[{_shown(at)}] = {array[at]} is not a finite number")
    return array


def floats(a: Any, name: str) -> np.ndarray:
    """`a` as float32."""
    return numbers(a, name).astype(FLOAT, copy=False)


def integers(a: Any, name: str) -> np.ndarray:
    """`a` as integers; whole numbers in a float array will do, as in Keras."""
    array = numbers(a, name)
    if array.dtype.kind in "iu":
        return array
    broken = array != np.trunc(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
    if broken.any():
        at = _first(broken)
        raise TypeError(f"{name} must hold integers, but {name}[{_shown(at)}] = {array[at]}")
    return array.astype(np.int64)


def check_range(a: np.ndarray, stop: int, name: str, what: str, allowed: Any = False) -> None:
    """Every element in [0, stop), or `allowed` there."""
    wrong = ((a < 0) | (a >= stop)) & ~np.asarray(allowed)
    if wrong.any():
        raise ValueError(f"{first_outside(name, a, wrong, stop)}, {what}")


def check_lengths(x: np.ndarray, y: Any, x_name: str, y_name: str) -> None:
    n = len(np.asarray(y)) if np.ndim(y) else 0
    if len(x) != n:
        raise ValueError(f"{x_name} has {len(x)} samples and {y_name} has {n}: "
                         f"shapes {x.shape} and {np.shape(y)}")


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def _shown(at: tuple[int, ...]) -> str:
    return ", ".join(map(str, at))
