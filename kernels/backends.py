"""Which backends this machine has, and which one an array gets."""

from __future__ import annotations

import importlib
from types import ModuleType

from .arrays import View

BACKENDS = ("numpy", "triton", "cuda")


class BackendUnavailable(RuntimeError):
    """The backend cannot run here; the message says what would make it run."""


def choose(backend: str | None, array: View, owner: str) -> str:
    """The backend to use for `array`: the one asked for, or the one that suits its device and library.

    On the CPU that is "numpy". On a GPU it is "triton" for torch's arrays and "cuda" for CuPy's, since
    torch brings Triton along and CuPy brings NVRTC.

    Args:
        backend: "numpy", "triton", "cuda" or None.
        array: says where the data is.
        owner: the caller's library.

    Raises:
        ValueError: there is no such backend, or it cannot reach the array.
    """
    on_gpu = array.device != "cpu"
    if backend is None:
        return "numpy" if not on_gpu else "triton" if owner == "torch" else "cuda"
    if backend not in BACKENDS:
        raise ValueError(f"backend = {backend!r} must be one of {', '.join(map(repr, BACKENDS))}, or None")
    if backend == "numpy" and on_gpu:
        raise ValueError(f"backend 'numpy' computes on the CPU, but the arrays are on {array.device}: "
                         "leave backend out, or move them")
    return backend


def load(backend: str, kernel: str) -> ModuleType:
    """The module of one kernel on one backend, e.g. `kernels.triton.adam`.

    Raises:
        BackendUnavailable: what it needs is not installed.
    """
    return importlib.import_module(f".{backend}.{kernel}", "kernels")
