"""What the host functions would launch, recorded instead of launched: the gates compile and run just that.

Arrays are NumPy's, but their views say that they lie on a GPU, so the host side takes the way it takes there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from kernels.arrays import View, c_strides

DEVICE = "cuda:0"


@dataclass(frozen=True)
class Launch:
    """One launch.

    Attributes:
        kernel: its name.
        job: what compiles it: for Triton a job of `triton_worker` without its target; for CUDA C "source"
            (a path) and "options" (NVRTC's).
        args: by name (Triton) or numbered, addresses as np.uint64.
        grid, block, cluster, shared: as launched; block is 0 where the compiler decides (Triton's warps).
    """

    kernel: str
    job: dict[str, Any]
    args: dict[str, Any]
    grid: int
    block: int
    cluster: int = 1
    shared: int = 0


def as_on_gpu(array: np.ndarray, dtype: str | None = None) -> View:
    """A view of a contiguous NumPy array that claims to lie on a GPU; bfloat16 is given as uint16."""
    strides = c_strides(array.shape)
    return View(array.ctypes.data, dtype or array.dtype.name, array.shape, strides, DEVICE, array)


def aligned(array: np.ndarray, offset: int = 0) -> np.ndarray:
    """A copy whose address is a multiple of 256, plus `offset` bytes, as GPU allocators align theirs."""
    room = np.zeros(array.nbytes + 512 + offset, np.uint8)
    start = -room.ctypes.data % 256 + offset
    copy = room[start:start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def record(backend: str, kernel: str, target: str, call: Callable[[ModuleType], object]) -> list[Launch]:
    """The launches that `call(host module)` makes on a GPU of the target architecture.

    Args:
        backend: "triton" or "cuda".
        kernel: module of that backend: "cross_entropy" or "adam".
        target: "sm_80", "sm_90", "gfx942".
        call: calls the module's host functions.
    """
    module = importlib.import_module(f"kernels.{backend}.{kernel}")
    made: list[Launch] = []
    with (_triton if backend == "triton" else _cuda)(module, target, made):
        call(module)
    return made


@contextmanager
def _triton(module: ModuleType, target: str, made: list[Launch]) -> Iterator[None]:
    lanes = 64 if target.startswith("gfx") else 32

    def note(launch: Any) -> None:
        options = launch.options(lanes)
        args = {name: _address(value) for name, value in launch.args.items()}
        job = {"module": launch.kernel.fn.__module__, "kernel": launch.kernel.fn.__name__,
               "args": {name: {"dtype": value.dtype, "address": value.address}
                        if isinstance(value, View) else value for name, value in launch.args.items()},
               "constants": launch.constants, "options": options}
        made.append(Launch(job["kernel"], job, args, launch.grid, options["num_warps"] * lanes))

    with mock.patch("kernels.triton.launch.Launch.__call__", note):
        yield


@contextmanager
def _cuda(module: ModuleType, target: str, made: list[Launch]) -> Iterator[None]:
    from kernels.cuda import module as compiler

    class Recorder:
        def __init__(self, source: str, defines: dict[str, str | int], exact: bool) -> None:
            options = compiler.options(defines, exact=exact, arch=int(target.removeprefix("sm_")))
            self.job = {"source": str(Path(compiler.HERE) / source), "options": list(options)}

        def launch(self, kernel: str, args: Sequence[np.generic], *, grid: int, block: int, cluster: int = 1,
                   shared: int = 0, stream: int | None = None) -> None:
            numbered = {str(k): value for k, value in enumerate(args)}
            made.append(Launch(kernel, self.job, numbered, grid, block, cluster, shared))

    def load(source: str, defines: dict[str, str | int], *, exact: bool, device: str) -> Recorder:
        return Recorder(source, defines, exact)

    with mock.patch.object(module, "load", load), \
            mock.patch("kernels.cuda.cross_entropy.architecture", return_value=target):
        yield


def _address(value: Any) -> Any:
    return np.uint64(value.address) if isinstance(value, View) else value


def parameters(launch: Launch, names: Sequence[str] | None) -> list[np.generic]:
    """The values that the compiled kernel takes, in its order.

    Args:
        launch: the launch.
        names: for Triton, the arguments that its compiler left to pass.
    """
    if names is None:
        return list(launch.args.values())
    return [_scalar(launch.args[name]) for name in names]


def _scalar(value: Any) -> np.generic:
    """As Triton passes it: a float is float32, an int the smaller of int32 and int64 that holds it."""
    if isinstance(value, np.generic):
        return value
    if isinstance(value, float):
        return np.float32(value)
    return np.int32(value) if -1 << 31 <= value < 1 << 31 else np.int64(value)
