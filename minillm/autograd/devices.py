"""Where an array lives: NumPy's on the CPU, those of another library (CuPy) on a GPU; and the way between.

Nothing here imports a GPU library, but for the one that `moved` is asked for by name. An array of
another library counts as one if it follows NumPy's protocols, so that formulas written with `np.` run
on it, and speaks DLPack, so that kernels can read it.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

_PROTOCOLS = ("__array_ufunc__", "__array_function__", "__dlpack_device__")

_known: dict[type, bool] = {}


def is_foreign(x: Any) -> bool:
    """Whether x is an array of another library than NumPy that formulas and kernels can work on."""
    kind = type(x)
    found = _known.get(kind)
    if found is None:
        found = not issubclass(kind, np.ndarray | np.generic) and all(hasattr(kind, p) for p in _PROTOCOLS)
        _known[kind] = found
    return found


def as_array(x: Any, dtype: Any = None) -> Any:
    """An array of any library as it is; a list, a number or anything else as a NumPy array."""
    return x if is_foreign(x) else np.asarray(x, dtype)


def beside(x: Any, like: Any) -> Any:
    """x itself, but a NumPy array is copied to the GPU where a foreign `like` lives."""
    if type(like) is np.ndarray or not isinstance(x, np.ndarray | np.generic) or not is_foreign(like):
        return x
    return np.asarray(x, like=like)


def to_host(x: Any) -> np.ndarray:
    """x as a NumPy array: itself if it is one, else a copy, for which a GPU must finish its work.

    Raises:
        TypeError: the library has no `get`, CuPy's way to do this.
    """
    if not is_foreign(x):
        return np.asarray(x)
    if not hasattr(x, "get"):
        raise TypeError(f"{type(x).__module__}.{type(x).__name__} has no get() to copy it to the CPU")
    copy: np.ndarray = x.get()
    return copy


def device_of(x: Any) -> str:
    """"cpu", or "cuda:0" and the like; of a library that is not CuPy, what it says itself."""
    if not is_foreign(x):
        return "cpu"
    device = getattr(x, "device", "unknown")
    return f"cuda:{device.id}" if hasattr(device, "id") else str(device)


def moved(x: Any, device: str) -> Any:
    """The array x on `device`: itself if it is there, else a copy.

    Args:
        x: a NumPy or CuPy array.
        device: "cpu", "cuda" or "cuda:1".

    Raises:
        ValueError: there is no such name of a device.
        ImportError: "cuda" without CuPy; the message says what to install.
        RuntimeError: CuPy cannot use that GPU.
    """
    if device == "cpu":
        return to_host(x)
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number.isdecimal() or device == "cuda"):
        raise ValueError(f"device = {device!r} must be 'cpu', 'cuda' or 'cuda:' and a number")
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        raise ImportError(f"device {device!r} needs CuPy: pip install cupy-cuda13x") from None
    try:
        with cupy.cuda.Device(int(number)) if number else cupy.cuda.Device():
            return cupy.asarray(x)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
