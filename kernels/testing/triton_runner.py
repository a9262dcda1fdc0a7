"""Run one's own Triton kernel on arrays of the CPU, with guards around each: no GPU and no torch needed."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels import arrays
from kernels.arrays import View
from kernels.guards import guarded


def run_triton(kernel: Any, grid: int | Sequence[int], /, *args: Any, **more: Any) -> None:
    """Launch a kernel under `@triton.jit`: in Triton's interpreter for the CPU's arrays, or on a GPU.

    On the CPU every array is copied to where NaN lies before and after it, so that a wrong mask is an error
    with its place, and not a crash. In a file (Triton reads the source of kernels):

        import numpy as np
        from kernels.testing import run_triton
        import kernels.triton  # before triton: without a GPU it chooses the interpreter
        import triton
        import triton.language as tl

        @triton.jit
        def scale(x, n, a, BLOCK: tl.constexpr):
            i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
            tl.store(x + i, a * tl.load(x + i, mask=i < n), mask=i < n)

        x = np.arange(1000, dtype=np.float32)
        run_triton(scale, 4, x, len(x), 2.0, BLOCK=256)

    Args:
        kernel: the function under `@triton.jit`.
        grid: number of programs, along axis 0.
        args, more: the kernel's arguments in order or by name: arrays of NumPy, torch or CuPy as pointers,
            numbers, None. `num_warps` may be given too.

    Raises:
        kernels.guards.StrayWrite: the kernel wrote outside its arrays; which, where, how many bytes.
        BackendUnavailable: no Triton, or it was imported to compile.
        TypeError: the arguments do not fit, or none is an array.
        ValueError: the grid has more than one axis, or no program.
    """
    launch = importlib.import_module("kernels.triton.launch")
    programs = [grid] if isinstance(grid, int) else list(grid)
    if len(programs) != 1 or programs[0] < 1:
        raise ValueError(f"grid = {grid} must be one number, of programs along axis 0, and at least 1")
    warps = more.pop("num_warps", 4)
    signature = inspect.signature(kernel.fn)
    try:
        bound = signature.bind(*args, **more)
    except TypeError as error:
        raise TypeError(f"{kernel.fn.__name__}{signature}: {error}") from None
    bound.apply_defaults()
    constant = {name for name, p in signature.parameters.items() if "constexpr" in str(p.annotation)}
    constants = {name: value for name, value in bound.arguments.items() if name in constant}
    values = {name: _argument(value) for name, value in bound.arguments.items() if name not in constant}
    names = [name for name, value in values.items() if isinstance(value, View)]
    if not names:
        raise TypeError(f"{kernel.fn.__name__}: none of the arguments is an array")
    with guarded([values[name] for name in names], names) as moved:
        launch.Launch(kernel, {**values, **dict(zip(names, moved, strict=True))}, constants, programs[0],
                      warps)()


def _argument(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return arrays.view(value) if arrays.is_array(value) else value
