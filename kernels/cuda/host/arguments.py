"""What a kernel is given, as C sees it: numbers by value, arrays as the addresses of guarded copies."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from kernels.arrays import FLOATS, View, is_array, view, writable
from kernels.guards import CANARY, StrayWrite, guarded


class Argument(NamedTuple):
    """One argument, as `Call` in runtime.h describes it."""

    value: np.ndarray  # what is copied into the parameter
    kind: str  # f float, i integer; F, I: an array of such
    size: int  # bytes; of an array: of an element


@contextmanager
def prepared(kernel: str, args: Sequence[Any], names: Sequence[str]) -> Iterator[list[Argument]]:
    """The arguments for one launch. Arrays are copied back at the end, unless the launch or a check fails.

    Args:
        kernel: its name, for messages.
        args: NumPy scalars, and arrays (or `View`s) on the CPU.
        names: of its parameters, for messages.

    Raises:
        TypeError, ValueError: an argument that no kernel can take.
        StrayWrite: the kernel wrote outside its arrays, or to one that is read-only.
    """
    known = len(names) == len(args) == len(set(names))
    names = names if known else [f"args[{i}]" for i in range(len(args))]
    views = [_view(kernel, i, arg) for i, arg in enumerate(args)]
    fixed = {i: f"{names[i]}, which is {'read-only' if v.size else 'empty'}" for i, v in enumerate(views)
             if v is not None and not (v.size and writable(v.owner))}
    # An empty array has no byte to guard: the kernel gets something in its place.
    used = [view(np.array([CANARY], np.uint16)) if v is not None and not v.size else v for v in views]
    free = [v for i, v in enumerate(used) if v is not None and i not in fixed]
    with guarded(used, names) as moved:
        yield [_number(kernel, i, arg) if v is None or seen is None else _address(v, seen.address)
               for i, (arg, v, seen) in enumerate(zip(args, views, moved, strict=True))]
        for i, what in fixed.items():
            before, after = used[i], moved[i]
            assert before is not None
            assert after is not None
            if not any(_overlap(before, v) for v in free) and _bytes(before) != _bytes(after):
                raise StrayWrite(f"{kernel}: the kernel wrote to {what}")


def _view(kernel: str, i: int, arg: Any) -> View | None:
    """The argument as an array; None if it is none."""
    if isinstance(arg, np.generic) or not (isinstance(arg, View) or is_array(arg)):
        return None
    try:
        if isinstance(arg, np.ndarray) and arg.dtype == np.bool_:
            arg = arg.view(np.uint8)
        seen = arg if isinstance(arg, View) else view(arg)
    except TypeError as error:
        raise TypeError(f"args[{i}] of {kernel}: {error}") from None
    if seen.device != "cpu":
        raise ValueError(f"args[{i}] of {kernel} is on {seen.device}, and this launch is on the CPU")
    if seen.size and min(seen.strides, default=1) < 0:
        raise ValueError(f"args[{i}] of {kernel} runs backwards: pass np.ascontiguousarray of it")
    return seen


def _number(kernel: str, i: int, arg: Any) -> Argument:
    known = isinstance(arg, np.generic) and (arg.dtype.kind in "iufb" or arg.dtype.name == "bfloat16")
    if not known:
        raise TypeError(f"args[{i}] of {kernel} must be a NumPy number, such as np.int32(3), or an array, "
                        f"not {type(arg).__name__}")
    return Argument(np.array(arg), "i" if arg.dtype.kind in "iub" else "f", arg.itemsize)


def _address(v: View, address: int) -> Argument:
    return Argument(np.array(address, np.uint64), "F" if v.dtype in FLOATS else "I", v.itemsize)


def _overlap(a: View, b: View) -> bool:
    return a.address < b.address + b.nbytes and b.address < a.address + a.nbytes


def _bytes(v: View) -> bytes:
    return ctypes.string_at(v.address, v.nbytes)
