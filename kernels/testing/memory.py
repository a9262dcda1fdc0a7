"""Where a tested kernel's arrays lie: between guard zones, any row stride, any alignment, CPU or GPU."""

from __future__ import annotations

import importlib
import mmap
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernels import arrays

from .compare import Broken

ZONE = 256  # bytes on either side of every array
# What they hold: as float32 and bfloat16 a signalling NaN, which no arithmetic leaves as it is, so that a
# kernel which works in place beyond an end is seen too; as an integer, a label that is no class.
CANARY = 0x7FA1
ALIGNMENT = 64


class Memory:
    """The CPU's memory, and NumPy arrays in it. Subclasses have a GPU's, and its library's arrays."""

    name = "cpu"

    def place(self, values: Any, *, gap: int = 0, shift: int = 0) -> Placed:
        """The values in guarded memory.

        Args:
            values: a NumPy array.
            gap: unused elements between neighbouring rows (the last axis is a row).
            shift: how many elements the first one lies behind an aligned address.
        """
        values = np.asarray(values)
        shape, item = values.shape, values.dtype.itemsize
        stride = (shape[-1] if shape else 1) + gap
        rows = int(np.prod(shape[:-1])) if shape else 1
        size = ((rows - 1) * stride + (shape[-1] if shape else 1)) * item if values.size else 0
        length = size + 2 * ZONE + 2 * ALIGNMENT + shift * item
        buffer = np.full(length // 2 + 1, CANARY, np.uint16).view(np.uint8)
        start = ZONE + (-self._misalignment(buffer) - ZONE) % ALIGNMENT + shift * item
        steps = [item * (stride if shape else 1)]
        for n in shape[:0:-1][1:]:
            steps.append(steps[-1] * n)
        strides = (*steps[::-1], item) if len(shape) > 1 else (item,) * len(shape)
        window = np.ndarray(shape, values.dtype, buffer, start if size else 0, strides)
        window[...] = values
        inside = np.zeros(len(buffer), bool)
        if size:
            for i in range(item):
                np.ndarray(shape, bool, inside, start + i, strides)[...] = True
        handle = self._upload(buffer)
        array = self._window(handle, start if size else 0, window)
        return Placed(self, handle, array, window, inside, buffer.copy())

    def scalar(self, value: float, dtype: str) -> Any:
        """An array () of this memory."""
        return self.place(np.array(value, arrays.numpy_dtype(dtype))).array

    def sparse(self, rows: int, vocab: int, stride: int, dtype: str) -> Any:
        """(rows, vocab) whose rows lie `stride` elements apart, of which only touched pages take memory."""
        kind = arrays.numpy_dtype(dtype)
        size = ((rows - 1) * stride + vocab) * kind.itemsize
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
        pages = np.frombuffer(mmap.mmap(-1, size, flags=flags), np.uint8)
        return np.ndarray((rows, vocab), kind, pages, 0, (stride * kind.itemsize, kind.itemsize))

    def fill(self, array: Any, values: np.ndarray) -> None:
        """Overwrite an array of this memory with the values."""
        array[...] = values

    def release(self) -> None:
        """Give back what the library keeps for later arrays."""

    def host(self, array: Any) -> np.ndarray:
        """Any array's values as a NumPy array of its own."""
        return to_host(array)

    def _misalignment(self, buffer: np.ndarray) -> int:
        return int(buffer.ctypes.data) % ALIGNMENT

    def _upload(self, buffer: np.ndarray) -> Any:
        return buffer

    def _window(self, handle: Any, start: int, like: np.ndarray) -> Any:
        return like

    def _download(self, handle: Any) -> np.ndarray:
        return handle


@dataclass
class Placed:
    """An array between guard zones.

    Attributes:
        array: what the kernel gets.
    """

    memory: Memory
    handle: Any
    array: Any
    window: np.ndarray
    inside: np.ndarray
    before: np.ndarray = field(repr=False)

    def values(self) -> np.ndarray:
        """What is in the array now, as a NumPy array of its own."""
        return to_host(self.array)

    def check(self, name: str, unchanged: bool) -> None:
        """Whether the kernel kept to its array.

        Raises:
            Broken: bytes outside it changed, or inside it although it is an input.
        """
        now = self.memory._download(self.handle)
        changed = now != self.before
        stray = changed & ~self.inside
        if stray.any():
            at = int(np.argmax(stray))
            first, last = (int(f(np.flatnonzero(self.inside))) for f in (np.min, np.max)) \
                if self.inside.any() else (0, -1)
            place = (f"{first - at} bytes before its start" if at < first else f"{at - last} bytes after its "
                     "end" if at > last else "between its rows")
            raise Broken(f"a stray write: memory beside {name} changed, {place} ({int(stray.sum())} bytes)")
        if unchanged and changed.any():
            raise Broken(f"{name} is an input, but was changed")


class TorchMemory(Memory):
    """torch's arrays, on the CPU or a GPU."""

    def __init__(self, device: str = "cuda") -> None:
        self.torch, self.device = importlib.import_module("torch"), device
        self.name = f"torch {device}"

    def _misalignment(self, buffer: np.ndarray) -> int:
        return 0 if self.device != "cpu" else super()._misalignment(buffer)

    def _upload(self, buffer: np.ndarray) -> Any:
        return self.torch.from_numpy(buffer).to(self.device)

    def _window(self, handle: Any, start: int, like: np.ndarray) -> Any:
        dtype, item = getattr(self.torch, like.dtype.name), like.dtype.itemsize
        strides = tuple(s // item for s in like.strides)
        if not like.size:
            return self.torch.empty(like.shape, dtype=dtype, device=self.device)
        flat = handle[start:start + (len(handle) - start) // item * item].view(dtype)
        return flat.as_strided(like.shape, strides)

    def _download(self, handle: Any) -> np.ndarray:
        return handle.cpu().numpy()

    def sparse(self, rows: int, vocab: int, stride: int, dtype: str) -> Any:
        flat = self.torch.empty((rows - 1) * stride + vocab, dtype=getattr(self.torch, dtype),
                                device=self.device)
        return flat.as_strided((rows, vocab), (stride, 1))

    def fill(self, array: Any, values: np.ndarray) -> None:
        raw = self.torch.from_numpy(np.ascontiguousarray(values).view(np.uint8).reshape(-1).copy())
        array.copy_(raw.view(array.dtype).reshape(array.shape))

    def release(self) -> None:
        if self.device != "cpu":
            self.torch.cuda.empty_cache()


class CupyMemory(Memory):
    """CuPy's arrays on the current GPU."""

    name = "cupy"

    def __init__(self) -> None:
        self.cupy = importlib.import_module("cupy")

    def _misalignment(self, buffer: np.ndarray) -> int:
        return 0

    def _upload(self, buffer: np.ndarray) -> Any:
        return self.cupy.asarray(buffer)

    def _window(self, handle: Any, start: int, like: np.ndarray) -> Any:
        return self.cupy.ndarray(like.shape, like.dtype, handle.data + start, like.strides)

    def _download(self, handle: Any) -> np.ndarray:
        return self.cupy.asnumpy(handle)

    def sparse(self, rows: int, vocab: int, stride: int, dtype: str) -> Any:
        kind = arrays.numpy_dtype(dtype)
        flat = self.cupy.empty(((rows - 1) * stride + vocab) * kind.itemsize, np.uint8)
        return self.cupy.ndarray((rows, vocab), kind, flat.data, (stride * kind.itemsize, kind.itemsize))

    def fill(self, array: Any, values: np.ndarray) -> None:
        array[...] = self.cupy.asarray(values)

    def release(self) -> None:
        self.cupy.get_default_memory_pool().free_all_blocks()


def to_host(array: Any) -> np.ndarray:
    """The values of any library's array as a NumPy array of its own, bfloat16 included."""
    if isinstance(array, int | float | np.generic | np.ndarray):
        return np.array(array)
    if not arrays.is_array(array):
        return np.array(array)
    name = arrays.library(array)
    if name == "torch":
        array = array.detach().cpu().contiguous()
    elif name == "cupy":
        return np.array(importlib.import_module("cupy").asnumpy(array))
    else:
        array = arrays.adopt(array)
        if arrays.view(array).device != "cpu":
            return to_host(array)
    return np.array(arrays.as_numpy(array))


