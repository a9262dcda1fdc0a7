"""Which implementation of an operation runs where: one table, and the way to overrule it.

    array of NumPy, on the CPU     the op written for it, in place in buffers that stay in cache
    array of CuPy, on a GPU        the kernel of the package `kernels`, if there is one for this
                                   operation and dtype; else the formula itself, op by op
                                   (an optimiser's code serves both)

`implementations()` prints the table, `use_kernels` overrules it for a while.
"""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Any, NamedTuple

import numpy as np

BACKENDS = ("numpy", "triton", "cuda")

# name: (function of `kernels`, kinds of float that it takes: e half, f single)
KERNELS = {"softmax_cross_entropy": ("softmax_cross_entropy", "ef"), "adam": ("adam_step", "f")}

AUTO = "auto"  # by where the array lives


class _State(threading.local):
    """What `use_kernels` says in the current thread."""

    def __init__(self) -> None:
        self.backend: str | None = AUTO
        self.before: list[str | None] = []  # outside of each `use_kernels` that is open


chosen = _State()
_table: dict[str, tuple[str, str]] = {}  # name: what runs on the CPU; the formula


class Implementation(NamedTuple):
    """One line of the table.

    Attributes:
        name: of the operation: "softmax_cross_entropy", "adam", ...
        where: "cpu" or "gpu".
        kind: "fused" (by hand, in place), "kernel" or "formula".
        code: where to read it.
    """

    name: str
    where: str
    kind: str
    code: str


def register(name: str, cpu: Callable[..., Any], formula: Callable[..., Any]) -> None:
    """Enter an operation into the table: its code for the CPU, and for elsewhere without a kernel."""
    _table[name] = (_place(cpu), _place(formula))


def _place(code: Callable[..., Any]) -> str:
    return f"{code.__module__}.{code.__qualname__}"


def implementations() -> list[Implementation]:
    """The table as it holds now, in this thread: every operation, on the CPU and on a GPU.

    For float32 arrays; float64, which no kernel takes, has the formula on a GPU.
    """
    rows = []
    for name, (cpu, formula) in sorted(_table.items()):
        for where in ("cpu", "gpu"):
            auto = chosen.backend == AUTO
            if name in KERNELS and chosen.backend is not None and not (auto and where == "cpu"):
                backend = "" if auto else f", backend {chosen.backend!r}"
                rows.append(Implementation(name, where, "kernel", f"kernels.{KERNELS[name][0]}{backend}"))
            elif where == "cpu" or cpu == formula:
                rows.append(Implementation(name, where, "fused", cpu))
            else:
                rows.append(Implementation(name, where, "formula", formula))
    return rows


def kernel(name: str, array: Any) -> Callable[..., Any] | None:
    """The kernel of the operation `name` for an array, ready to be called; None where there is none.

    Args:
        name: a key of `KERNELS`.
        array: decides by its place and dtype.
    """
    backend = chosen.backend
    if backend is None or (backend == AUTO and type(array) is np.ndarray):
        return None
    function, kinds = KERNELS[name]
    if array.dtype.char not in kinds:
        return None
    package = importlib.import_module("kernels")  # not before it is needed: it has a common name
    asked_for = None if backend == AUTO else backend
    return functools.partial(getattr(package, function), backend=asked_for)


class use_kernels(ContextDecorator):
    """Choose by hand what softmax-cross-entropy and Adam run on; a context manager and a decorator.

    Without it, arrays on the CPU take the NumPy code and arrays on a GPU the kernels.

    Args:
        backend: "numpy", "triton" or "cuda": every float32 array goes through `kernels` with that
            backend, those on the CPU too. There "triton" runs in Triton's interpreter and "cuda" runs
            the CUDA C source itself: slow, and right. None: no kernels; a GPU gets the formulas.

    Raises:
        ValueError: there is no such backend.

    It holds in the current thread. What a backend lacks (Triton, g++, a GPU) is said, in one line, by
    the first operation that needs it.

    Example:
        >>> with use_kernels("triton"):
        ...     loss = softmax_cross_entropy(model(x), y)
    """

    def __init__(self, backend: str | None) -> None:
        if backend is not None and backend not in BACKENDS:
            known = ", ".join(map(repr, BACKENDS))
            raise ValueError(f"backend = {backend!r} must be one of {known}, or None")
        self.backend = backend

    def __enter__(self) -> None:
        chosen.before.append(chosen.backend)
        chosen.backend = self.backend

    def __exit__(self, *exc: object) -> None:
        chosen.backend = chosen.before.pop()
