"""CUDA C++ on the CPU: the .cu file that a GPU runs, compiled by g++, one fiber per CUDA thread.

    module = HostModule(Path("scale.cu"), {"T": "float"})
    module.launch("scale", [np.uint64(x.ctypes.data), np.int32(x.size)], grid=4, block=256)

What it runs and what it reports: cuda_on_cpu.h. The order of threads is drawn from a seed: run several.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .build import DYNAMIC, HostUnavailable, cache_folder, compiler, kernels_in, library

__all__ = ["Dim", "HostModule", "HostUnavailable", "cache_folder", "compiler", "default_seed"]

Dim = int | Sequence[int]

# Bounds of CUDA, all compute capabilities since 3.0; 8 blocks is the largest cluster that every sm_90 takes.
_MOST_GRID = (2**31 - 1, 65535, 65535)
_MOST_BLOCK = (1024, 1024, 64)
_MOST_THREADS = 1024
_MOST_CLUSTER = 8


# A library's fibers and, while they run, the process's handler of bad addresses are in one launch's hands.
_one_at_a_time = threading.Lock()


class _Call(ctypes.Structure):
    """A launch, as `Call` in launch.h."""

    _fields_ = [("args", ctypes.c_void_p), ("kinds", ctypes.c_char_p), ("sizes", ctypes.c_void_p),
                ("count", ctypes.c_uint), ("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3),
                ("cluster", ctypes.c_uint), ("shared", ctypes.c_uint), ("seed", ctypes.c_ulonglong)]


def default_seed() -> int:
    """The seed of a launch that names none: MINILLM_CUDA_SEED, or 0.

    Raises:
        ValueError: MINILLM_CUDA_SEED is no integer.
    """
    text = os.environ.get("MINILLM_CUDA_SEED") or "0"
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"MINILLM_CUDA_SEED={text!r} is no integer") from None


class HostModule:
    """The kernels of one .cu file with one set of options, for the CPU.

    Args:
        source: the .cu file; its kernels are `extern "C"`.
        defines: -D macros. PERTURB=1 lets fast_div, fast_sqrt and fast_exp err as much as the GPU's may.
        exact: every operation is rounded once; otherwise a*b + c may be one fused operation.

    Raises:
        HostUnavailable: no g++.
        RuntimeError: the file does not compile: the first error, with file and line.
        FileNotFoundError: there is no such file.
    """

    def __init__(self, source: Path, defines: Mapping[str, str | int] | None = None, *,
                 exact: bool = True) -> None:
        self.source = Path(source).resolve()
        self.kernels = tuple(kernels_in(self.source.read_text()))
        self.library = ctypes.CDLL(str(library(self.source, defines or {}, exact=exact)))

    def launch(self, kernel: str, args: Sequence[np.generic], *, grid: Dim, block: Dim, cluster: int = 1,
               shared: int = 0, stream: int | None = None, seed: int | None = None) -> None:
        """Runs a kernel to its end.

        Args:
            kernel: its name.
            args: NumPy scalars in the kernel's order, of the kernel's types; an address is np.uint64.
            grid, block: blocks and threads, up to 3 dimensions.
            cluster: blocks of a cluster, along x.
            shared: bytes of dynamic shared memory.
            stream: means nothing on the CPU.
            seed: of the order of the threads; None: MINILLM_CUDA_SEED or 0.

        Raises:
            ValueError: no such kernel, or a size that no GPU takes.
            TypeError: an argument that is no NumPy scalar.
            RuntimeError: the kernel did what a GPU leaves undefined: names kernel, block, thread and line.
        """
        if kernel not in self.kernels:
            raise ValueError(f"{self.source.name} has no kernel {kernel!r}; it has {', '.join(self.kernels)}")
        values = [_number(kernel, i, arg) for i, arg in enumerate(args)]
        grids, blocks = _dim("grid", grid, _MOST_GRID), _dim("block", block, _MOST_BLOCK)
        if math.prod(blocks) > _MOST_THREADS:
            raise ValueError(f"block={block} has {math.prod(blocks)} threads; a block has at most "
                             f"{_MOST_THREADS}")
        if not 1 <= cluster <= _MOST_CLUSTER or grids[0] % cluster:
            raise ValueError(f"cluster={cluster} must be between 1 and {_MOST_CLUSTER} and divide the grid's "
                             f"x, which is {grids[0]}")
        if not 0 <= shared <= DYNAMIC:
            raise ValueError(f"shared={shared} bytes is outside [0, {DYNAMIC}]")
        addresses = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        sizes = (ctypes.c_uint * len(values))(*(v.itemsize for v in values))
        kinds = "".join("f" if v.dtype.kind == "f" else "i" for v in values).encode()
        call = _Call(ctypes.addressof(addresses), kinds, ctypes.addressof(sizes), len(values),
                     tuple(grids), tuple(blocks), cluster, shared,
                     (default_seed() if seed is None else seed) % 2**64)
        run = self.library[f"cuda_on_cpu_run_{kernel}"]
        run.restype = ctypes.c_char_p
        with _one_at_a_time:
            message = run(ctypes.byref(call)).decode(errors="replace")
        if message:
            raise RuntimeError(message)


def _number(kernel: str, i: int, arg: Any) -> np.ndarray:
    """The bytes of one argument."""
    if not isinstance(arg, np.generic) or arg.dtype.kind not in "iufb":
        raise TypeError(f"args[{i}] of {kernel} must be a NumPy number, such as np.int32(3), "
                        f"not {type(arg).__name__}")
    return np.array(arg)


def _dim(name: str, given: Dim, most: tuple[int, int, int]) -> list[int]:
    sizes = [given] if isinstance(given, int) else list(given)
    if not 1 <= len(sizes) <= 3 or any(not 1 <= n <= m for n, m in zip(sizes, most, strict=False)):
        raise ValueError(f"{name}={given} must be 1 to 3 sizes, each from 1 to {most}")
    return sizes + [1] * (3 - len(sizes))
