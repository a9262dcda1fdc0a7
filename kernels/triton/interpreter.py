"""Triton's interpreter without torch: a kernel, run as NumPy operations on CPU memory.

Triton decides on import, by TRITON_INTERPRET, whether `@triton.jit` compiles or interprets. So `prepare`
comes before the first import of Triton: with no GPU and no choice made, it chooses the interpreter.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from kernels.arrays import View
from kernels.backends import BackendUnavailable

_one_at_a_time = threading.Lock()  # the interpreter keeps the program's index in a global


_patches: _Patches | None = None

# Called as `watch(kernel, args)` around each launch where somebody wants to see its lines (kernels.testing).
watch: Callable[[Any, dict[str, Any]], AbstractContextManager[None]] | None = None


def prepare() -> None:
    """Choose between interpreter and compiler, import Triton, and mend the interpreter's bfloat16.

    Raises:
        BackendUnavailable: Triton is not installed.
    """
    global _patches
    if importlib.util.find_spec("triton") is None:
        raise BackendUnavailable("backend 'triton' needs Triton: pip install triton (Linux), "
                                 "or backend='numpy'")
    if "triton" not in sys.modules and "TRITON_INTERPRET" not in os.environ and not gpu_present():
        os.environ["TRITON_INTERPRET"] = "1"
    theirs: Any = importlib.import_module("triton.runtime.interpreter")
    if not isinstance(theirs._convert_float, _Rounding):  # once a process
        theirs._convert_float = _Rounding(theirs)
        theirs._patch_lang = _patches = _Patches(theirs)


def gpu_present() -> bool:
    """Whether this process can use a GPU: as torch says if it is loaded, else as NVIDIA's management library.

    Not cuInit of the driver: children of a process that has called it cannot use CUDA.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        return bool(torch.cuda.is_available())
    count = ctypes.c_uint(0)
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        found = nvml.nvmlInit_v2() == 0 and nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0
    except (OSError, AttributeError):
        return False
    return found and count.value > 0


def run(kernel: Any, args: dict[str, Any], constants: dict[str, Any], grid: int) -> None:
    """Interpret `kernel` for every program of the grid, one after another.

    Raises:
        BackendUnavailable: Triton was imported to compile, so that it cannot interpret any more.
    """
    from triton.runtime.interpreter import InterpretedFunction

    if not isinstance(kernel, InterpretedFunction):
        raise BackendUnavailable("CPU arrays need Triton's interpreter, but Triton was imported without it: "
                                 "set TRITON_INTERPRET=1 before the first import of triton")
    host = {name: _argument(value) for name, value in args.items()}
    # An exp that overflows and a row that holds nothing but NaN are no news to a kernel.
    with _one_at_a_time, np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert _patches is not None
        with _patches.kept(), nullcontext() if watch is None else watch(kernel, args):
            kernel[(grid,)](**host, **constants)


def _argument(value: Any) -> Any:
    """An argument as a GPU gets it: arrays by address, and Python's floats as float32, not as doubles."""
    if isinstance(value, View):
        return _Tensor(value)
    if isinstance(value, float):
        import triton.language as tl
        from triton.runtime.interpreter import TensorHandle

        return tl.tensor(TensorHandle(np.array([value], np.float32), tl.float32), tl.float32)
    return value


class _Tensor:
    """What the interpreter asks of a tensor, answered for memory that already is the CPU's."""

    def __init__(self, view: View) -> None:
        self.view, self.dtype = view, view.dtype

    def data_ptr(self) -> int:
        return self.view.address

    # The interpreter copies storages to the CPU and back: here a storage is its own copy.
    def untyped_storage(self) -> _Tensor:
        return self

    def cpu(self) -> _Tensor:
        return self

    def copy_(self, other: _Tensor) -> None:
        pass

    def new_empty(self, *shape: int, device: str) -> _Tensor:
        return _Tensor(self.view)

    def set_(self, *storage_and_layout: Any) -> None:
        pass

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return self.view.shape

    def stride(self) -> tuple[int, ...]:
        return self.view.strides


def _checked_multiple_of(pointer: Any, multiple: Any) -> Any:
    """`tl.multiple_of` for pointers: on a GPU a promise not kept ends in a misaligned address, here in this.

    Raises:
        ValueError: the address is no such multiple.
    """
    multiple = getattr(multiple, "value", multiple)
    if (pointer.handle.data % np.uint64(multiple)).any():
        raise ValueError(f"address {int(pointer.handle.data.flat[0]):#x} is no multiple of {multiple} bytes")
    return pointer


class _Patches:
    """The interpreter's own patch of `triton.language`, made once a launch instead of at every call.

    It is made anew, in milliseconds, for each call of a `@triton.jit` function by another: most of the time.
    """

    def __init__(self, interpreter: Any) -> None:
        self.interpreter, self.theirs = interpreter, interpreter._patch_lang
        self.done: set[int] | None = None  # modules whose functions have been called in this launch

    @contextmanager
    def kept(self) -> Iterator[None]:
        """For one launch."""
        builder = self.interpreter.interpreter_builder
        options, self.done = builder.options, set()
        # Integers that overflow are looked for at every operation, and then nothing is done about them.
        builder.options = replace(options, sanitize_overflow=False)
        try:
            yield
        finally:
            builder.options, self.done = options, None

    def __call__(self, fn: Any) -> Any:
        if self.done is not None and id(fn.__globals__) in self.done:
            return self.interpreter._LangPatchScope()  # with nothing to undo
        scope = self.theirs(fn)
        if self.done is not None:
            self.done.add(id(fn.__globals__))
            scope.set_attr(self.interpreter.tl, "multiple_of", _checked_multiple_of)
        # A number is an array of one element here, which Triton 3.6 cannot make an index of in NumPy 2.4.
        scope.set_attr(self.interpreter.tl.tensor, "__index__", lambda x: int(x.handle.data.item()))
        return scope


class _Rounding:
    """Conversions to and from bfloat16 as a GPU does them, in place of the interpreter's.

    The interpreter drops the low half of a float32. A GPU rounds to nearest, ties to even: half of the last
    place that stays is added before the low half goes, or just less than half where that place is even. A
    carry runs on into the exponent, as it should. NaN must not, and keeps a bit in its mantissa.
    """

    def __init__(self, interpreter: Any) -> None:
        self.theirs = interpreter._convert_float
        self.float32, self.bfloat16 = interpreter.tl.float32, interpreter.tl.bfloat16

    def __call__(self, data: np.ndarray, source: Any, target: Any, mode: Any) -> np.ndarray:
        if (source, target) == (self.bfloat16, self.float32):
            return data.view(np.uint16).astype(np.uint32) << np.uint32(16)
        if (source, target) != (self.float32, self.bfloat16):
            return np.asarray(self.theirs(data, source, target, mode))
        bits = np.ascontiguousarray(data).view(np.uint32)
        last_place = (bits >> np.uint32(16)) & np.uint32(1)
        rounded = (bits + np.uint32(0x7FFF) + last_place) >> np.uint32(16)
        quiet_nan = (bits >> np.uint32(16)) | np.uint32(0x40)
        return np.where(np.isnan(data), quiet_nan, rounded).astype(np.uint16)

