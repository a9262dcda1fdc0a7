"""Launch a kernel where its arrays are: in the interpreter for the CPU's, on the caller's stream for a GPU's.

Triton takes device and stream from torch, so a launch on CuPy's arrays would not wait for CuPy's work, and
without torch there would be none. Here both come from the library that owns the arrays.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kernels.arrays import View, library
from kernels.backends import BackendUnavailable
from kernels.tuning import MOST_THREADS

from . import interpreter

_here = threading.local()  # .device and .stream of the launch that this thread is in
_lock = threading.Lock()


@dataclass(frozen=True)
class Launch:
    """A kernel with all it needs, to be launched or only compiled.

    Attributes:
        kernel: a function under `@triton.jit`.
        args: by name; arrays as `View`s, None for what is left out.
        constants: compile-time arguments by name.
        grid: number of programs.
        warps: of 32 threads, a program; on AMD, where a warp has 64, no more than make 1024 threads.
        fuse: whether a product and a sum may become one FMA, rounded once. False is bit-equal to NumPy.
    """

    kernel: Any
    args: dict[str, Any]
    constants: dict[str, Any]
    grid: int
    warps: int
    fuse: bool = True

    def options(self, lanes: int) -> dict[str, Any]:
        """What Triton's compiler is told for a GPU whose warps have `lanes` threads: 32, or 64 on AMD."""
        return {"num_warps": min(self.warps, MOST_THREADS // lanes), "enable_fp_fusion": self.fuse}

    def __call__(self) -> None:
        """Launch.

        Raises:
            BackendUnavailable: Triton, or what it needs, cannot run where the arrays are.
        """
        views = [a for a in self.args.values() if isinstance(a, View)]
        if views[0].device == "cpu":
            interpreter.run(self.kernel, self.args, self.constants, self.grid)
            return
        if not hasattr(self.kernel, "device_caches"):  # an InterpretedFunction
            raise BackendUnavailable(f"arrays on {views[0].device} need Triton's compiler: start Python "
                                     "without TRITON_INTERPRET=1")
        with _on_device_of(views):
            lanes = importlib.import_module("triton.runtime").driver.active.get_current_target().warp_size
            self.kernel[(self.grid,)](**self.args, **self.constants, **self.options(lanes))


@contextmanager
def _on_device_of(views: list[View]) -> Iterator[None]:
    """Triton's launches of this thread go to the views' device and their library's current stream."""
    index = int(views[0].device.partition(":")[2])
    owner = next((v.owner for v in views if v.owner is not None), None)
    if owner is not None and library(owner) == "torch":
        torch = importlib.import_module("torch")
        device, stream = torch.cuda.device(index), torch.cuda.current_stream(index).cuda_stream
    else:
        cupy = importlib.import_module("cupy")
        device = cupy.cuda.Device(index)
        with device:
            stream = cupy.cuda.get_current_stream().ptr
    _consult_this_module()
    with device:
        _here.device, _here.stream = index, stream
        try:
            yield
        finally:
            _here.device = _here.stream = None


def _consult_this_module() -> None:
    """Make Triton's driver ask `_here` for device and stream before it asks torch; once a driver."""
    from triton.runtime import driver

    with _lock:
        try:
            active: Any = driver.active
        except RuntimeError:  # of Triton: no torch, or none with CUDA
            driver.set_active(cupy_driver())
            active = driver.active
        if getattr(active, "consults_kernels", False):
            return
        their_device, their_stream = active.get_current_device, active.get_current_stream

        def get_current_device() -> int:
            here = getattr(_here, "device", None)
            return their_device() if here is None else here

        def get_current_stream(device: int) -> int:
            here = getattr(_here, "stream", None)
            return their_stream(device) if here is None else here

        active.get_current_device, active.get_current_stream = get_current_device, get_current_stream
        active.consults_kernels = True


def cupy_driver() -> Any:
    """Triton's driver for CUDA, asking CuPy what the original asks torch."""
    from triton.backends.nvidia.driver import CudaDriver, CudaLauncher, CudaUtils

    cupy = importlib.import_module("cupy")

    class CupyDriver(CudaDriver):  # type: ignore[misc]
        def __init__(self) -> None:  # the original's would import torch
            self.utils, self.launcher_cls = CudaUtils(), CudaLauncher
            self.get_current_device = cupy.cuda.runtime.getDevice
            self.set_current_device = cupy.cuda.runtime.setDevice
            self.get_current_stream = lambda device: cupy.cuda.get_current_stream().ptr
            # "90" is (9, 0), "120" is (12, 0)
            self.get_device_capability = lambda d: divmod(int(cupy.cuda.Device(d).compute_capability), 10)

    return CupyDriver()
