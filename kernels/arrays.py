"""Any caller's array as a kernel sees it: address, element type, shape and strides. Nothing is copied.

NumPy, CuPy and torch arrays are read directly; anything else that speaks DLPack is read through NumPy
or CuPy. New arrays are made by the caller's own library, so results are of the caller's kind.
"""

from __future__ import annotations

import ctypes
import importlib
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Sizes of the element types that kernels know, in bytes.
ITEMSIZE = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "uint64": 8, "int32": 4,
            "uint32": 4, "int16": 2, "uint16": 2, "int8": 1, "uint8": 1}
FLOATS = ("float64", "float32", "float16", "bfloat16")
INTEGERS = ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")


@dataclass(frozen=True)
class View:
    """An array without its library.

    Attributes:
        address: of the first element, in bytes.
        dtype: name of the element type, a key of `ITEMSIZE`.
        shape, strides: in elements.
        device: "cpu", "cuda:0", ...
        owner: the caller's array, which keeps the memory alive.
    """

    address: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    device: str
    owner: Any = None

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return ITEMSIZE[self.dtype]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes from the first element to the end of the last, gaps between rows included."""
        if not self.size:
            return 0
        return (1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))) * self.itemsize

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie one after another in C order."""
        return not self.size or all(n == 1 or s == want for n, s, want in
                                    zip(self.shape, self.strides, c_strides(self.shape), strict=True))

    def data_ptr(self) -> int:
        """The address, under the name by which Triton asks for it."""
        return self.address

    def reshaped(self, *shape: int) -> View:
        """A contiguous view with another shape."""
        return View(self.address, self.dtype, shape, c_strides(shape), self.device, self.owner)


def c_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of a C-contiguous array."""
    return tuple(math.prod(shape[i + 1:]) for i in range(len(shape)))


def dense_strides(seen: View) -> tuple[int, ...] | None:
    """The strides of the axes longer than 1, if the elements fill memory without gaps, in any order."""
    if not seen.size:
        return ()
    axes = sorted((s, n) for n, s in zip(seen.shape, seen.strides, strict=True) if n > 1)
    expected = 1
    for stride, n in axes:
        if stride != expected:
            return None
        expected *= n
    return tuple(s for n, s in zip(seen.shape, seen.strides, strict=True) if n > 1)


def is_array(array: Any) -> bool:
    """Whether `view` can read it."""
    return isinstance(array, np.ndarray | np.generic) or hasattr(array, "__dlpack_device__")


def library(array: Any) -> str:
    """The name of the library that made the array: "numpy", "cupy", "torch", "jax", ...

    Raises:
        TypeError: it is no array.
    """
    if not is_array(array):
        raise TypeError(f"{type(array).__name__} is no array: give one of NumPy, CuPy or torch, "
                        "or one with DLPack")
    if isinstance(array, np.ndarray | np.generic):
        return "numpy"  # scalars of ml_dtypes too
    return type(array).__module__.partition(".")[0]


def adopt(array: Any) -> Any:
    """The array as one of NumPy, CuPy or torch, over the same memory.

    torch's own graph is left behind. What is no array is returned as it is.
    """
    if not is_array(array):
        return array
    name = library(array)
    if name == "torch":
        return array.detach()
    if name == "numpy":
        return np.asarray(array)
    if name == "cupy":
        return array
    on_cpu = array.__dlpack_device__()[0] == 1  # kDLCPU
    return (np if on_cpu else importlib.import_module("cupy")).from_dlpack(array)


def view(array: Any) -> View:
    """The caller's array as the kernels see it; no copy.

    Raises:
        TypeError: it is no array, or of an element type that no kernel knows.
    """
    array = adopt(array)
    kind = library(array)
    if kind == "torch":
        dtype, place = str(array.dtype).removeprefix("torch."), array.device
        if place.type not in ("cpu", "cuda") or str(array.layout) != "torch.strided":
            raise TypeError(f"a torch tensor must be dense and on a CPU or a CUDA device, "
                            f"not {str(array.layout).removeprefix('torch.')} on {place.type}")
        device = "cpu" if place.type == "cpu" else f"{place.type}:{place.index or 0}"
        seen = View(array.data_ptr(), dtype, tuple(array.shape), tuple(array.stride()), device, array)
    else:
        if any(s % array.itemsize for s in array.strides):
            raise TypeError(f"an array with strides of {array.strides} bytes does not step by whole "
                            f"elements of {array.itemsize} bytes: pass a contiguous copy")
        strides = tuple(s // array.itemsize for s in array.strides)
        address = array.ctypes.data if kind == "numpy" else array.data.ptr
        device = "cpu" if kind == "numpy" else f"cuda:{array.device.id}"
        seen = View(address, array.dtype.name, array.shape, strides, device, array)
    if kind != "torch" and not array.dtype.isnative:
        raise TypeError(f"element type {array.dtype} is not in this machine's byte order: pass array.astype("
                        f"'{array.dtype.newbyteorder('=').str[1:]}')")
    if seen.address % ITEMSIZE.get(seen.dtype, 1) and seen.size:
        raise TypeError(f"the {seen.dtype} array does not begin at a multiple of {seen.itemsize} bytes: "
                        "pass a copy")
    if seen.dtype not in ITEMSIZE:
        raise TypeError(f"element type {seen.dtype} is none of {', '.join(ITEMSIZE)}")
    return seen


def writable(array: Any) -> bool:
    """Whether the array may be written to; only NumPy, and what is read through it, has others."""
    array = adopt(array)
    return not isinstance(array, np.ndarray) or array.flags.writeable


def changed(arrays: Iterable[Any]) -> None:
    """Tell torch that its tensors were written to, so that its autograd refuses values saved before."""
    for array in arrays:
        if library(array) == "torch":
            sys.modules["torch"].autograd.graph.increment_version(array)


def current_stream(library: str, device: str) -> int:
    """The handle of the CUDA stream that "torch" or "cupy" would launch on now."""
    index = int(device.partition(":")[2])
    if library == "torch":
        return int(sys.modules["torch"].cuda.current_stream(index).cuda_stream)
    cupy = importlib.import_module("cupy")
    with cupy.cuda.Device(index):
        return int(cupy.cuda.get_current_stream().ptr)


def empty(like: Any, shape: Sequence[int], dtype: str | None = None) -> Any:
    """An uninitialised array of the same library and on the same device as `like`."""
    return _make("empty", like, shape, dtype)


def zeros(like: Any, shape: Sequence[int], dtype: str | None = None) -> Any:
    """An array of zeros of the same library and on the same device as `like`."""
    return _make("zeros", like, shape, dtype)


def full(like: Any, shape: Sequence[int], dtype: str, value: float) -> Any:
    """An array of one value, of the same library and on the same device as `like`."""
    return _make("full", like, shape, dtype, value)


def _make(how: str, like: Any, shape: Sequence[int], dtype: str | None, *value: float) -> Any:
    kind, dtype = library(like), dtype or view(like).dtype
    if kind == "torch":
        torch = sys.modules["torch"]
        return getattr(torch, how)(tuple(shape), *value, dtype=getattr(torch, dtype), device=like.device)
    if kind == "numpy":
        return getattr(np, how)(tuple(shape), *value, dtype=numpy_dtype(dtype))
    cupy = importlib.import_module("cupy")
    with like.device:
        return getattr(cupy, how)(tuple(shape), *value, dtype=numpy_dtype(dtype))


def astype(array: Any, dtype: str) -> Any:
    """The array with another element type; itself if it has that one."""
    if view(array).dtype == dtype:
        return array
    if library(array) == "torch":
        return array.to(getattr(sys.modules["torch"], dtype))
    return array.astype(numpy_dtype(dtype))


def contiguous(array: Any) -> Any:
    """The array in C order; itself if it is."""
    if library(array) == "torch":
        return array.contiguous()
    return array if view(array).contiguous else array.copy(order="C")


def as_kind(made: Any, like: Any) -> Any:
    """`made`, of NumPy, CuPy or torch, as an array of `like`'s library, if that reads DLPack; else itself."""
    name = library(like)
    if name in ("numpy", "cupy", "torch"):
        return made
    module = sys.modules[name]
    convert = getattr(getattr(module, "dlpack", module), "from_dlpack", None)  # jax has it in jax.dlpack
    return made if convert is None else convert(made)


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype of that name; bfloat16 is that of ml_dtypes.

    Raises:
        ImportError: bfloat16 without ml_dtypes, in one line that says what to install.
    """
    if name != "bfloat16":
        return np.dtype(name)
    try:
        return np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    except ImportError:
        raise ImportError("NumPy has no bfloat16 of its own: pip install ml_dtypes") from None


def numpy_has(name: str) -> bool:
    """Whether NumPy has a dtype of that name here."""
    try:
        numpy_dtype(name)
    except ImportError:
        return False
    return True


def as_numpy(array: Any) -> np.ndarray:
    """A CPU array as a NumPy array over the same memory, bfloat16 included.

    Raises:
        TypeError: the array is on a GPU.
    """
    if isinstance(array, np.ndarray):
        return array
    seen = array if isinstance(array, View) else view(array)
    if seen.device != "cpu":
        raise TypeError(f"the array is on {seen.device}, where NumPy cannot read it: copy it to the CPU")
    if not seen.size:
        return np.empty(seen.shape, numpy_dtype(seen.dtype))
    memory: Any = (ctypes.c_char * seen.nbytes).from_address(seen.address)
    memory.owner = seen.owner  # it lives as long as somebody looks at the memory
    raw = np.frombuffer(memory, np.uint8)
    dtype = numpy_dtype(seen.dtype)
    strides = tuple(s * seen.itemsize for s in seen.strides)
    return np.ndarray(seen.shape, dtype, buffer=raw, strides=strides)

