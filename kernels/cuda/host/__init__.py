"""CUDA C++ on the CPU: the .cu file that a GPU runs, compiled by g++, one fiber per CUDA thread.

    module = HostModule(Path("scale.cu"), {"T": "float"})
    module.launch("scale", [x, np.int32(x.size), np.float32(2)], grid=4, block=256)

An array goes in as a copy between canaries: a stray write is reported with the array's name, and harms
nobody. np.uint64(x.ctypes.data) instead is the bare address, for a caller with guards of his own.

What it runs and what it reports: cuda_on_cpu.h. The order of threads is drawn from a seed: run several.
"""

from __future__ import annotations

import ctypes
import math
import operator
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np

from kernels.arrays import View

from .arguments import Argument, prepared
from .build import DYNAMIC, HostUnavailable, cache_folder, compiler, kernels_in, library, parameters_in

__all__ = ["Dim", "HostModule", "HostUnavailable", "cache_folder", "compiler", "default_seed", "sizes"]

Dim = SupportsIndex | Sequence[SupportsIndex]

# Bounds of CUDA, all compute capabilities since 3.0; 8 blocks is the largest cluster that every sm_90 takes.
_MOST_GRID = (2**31 - 1, 65535, 65535)
_MOST_BLOCK = (1024, 1024, 64)
_MOST_THREADS = 1024
_MOST_CLUSTER = 8


# A library's fibers and, while they run, the process's handler of bad addresses are in one launch's hands.
_one_at_a_time = threading.Lock()


class _Call(ctypes.Structure):
    """A launch, as `Call` in runtime.h."""

    _fields_ = [("args", ctypes.c_void_p), ("kinds", ctypes.c_char_p), ("sizes", ctypes.c_void_p),
                ("count", ctypes.c_uint), ("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3),
                ("cluster", ctypes.c_uint), ("shared", ctypes.c_uint), ("seed", ctypes.c_ulonglong),
                ("seconds", ctypes.c_double), ("interrupted", ctypes.c_uint)]


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
        text = self.source.read_text(encoding="utf-8", errors="replace")
        self.kernels, self._parameters = tuple(kernels_in(text)), parameters_in(text)
        self.library = ctypes.CDLL(str(library(self.source, defines or {}, exact=exact)))

    def launch(self, kernel: str, args: Sequence[np.generic | np.ndarray | View], *, grid: Dim, block: Dim,
               cluster: int = 1, shared: int = 0, stream: int | None = None, seed: int | None = None,
               seconds: float | None = None) -> None:
        """Runs a kernel to its end.

        Args:
            kernel: its name.
            args: in the kernel's order: NumPy scalars of the kernel's types, and arrays, which come back
                changed only if nothing was raised. np.uint64 is an address as it is, without guards.
            grid, block: blocks and threads, up to 3 dimensions.
            cluster: blocks of a cluster, along x.
            shared: bytes of dynamic shared memory.
            stream: means nothing on the CPU.
            seed: of the order of the threads; None: MINILLM_CUDA_SEED or 0.
            seconds: the longest it may take; None: until it ends or Ctrl-C ends it.

        Raises:
            ValueError: no such kernel, or a size that no GPU takes.
            TypeError: an argument that is no NumPy scalar and no array, or a size that is no integer.
            StrayWrite: the kernel wrote outside its arrays, or to a read-only one: names the array.
            RuntimeError: the kernel did what a GPU leaves undefined, or took too long: names kernel, block,
                thread and, where it can, line.
        """
        if kernel not in self.kernels:
            have = f"it has {', '.join(self.kernels)}" if self.kernels else "it has none: they are __global__"
            raise ValueError(f"{self.source.name} has no kernel {kernel!r}; {have}")
        grids, blocks = sizes("grid", grid, _MOST_GRID), sizes("block", block, _MOST_BLOCK, _MOST_THREADS)
        if not 1 <= cluster <= _MOST_CLUSTER or grids[0] % cluster:
            raise ValueError(f"cluster={cluster} must be between 1 and {_MOST_CLUSTER} and divide the grid's "
                             f"x, which is {grids[0]}")
        if not 0 <= shared <= DYNAMIC:
            raise ValueError(f"shared={shared} bytes is outside [0, {DYNAMIC}]")
        if seconds is not None and not 0 < seconds < 1e9:
            raise ValueError(f"seconds={seconds} must be above 0 and below 1e9; None sets no limit")
        with prepared(kernel, args, self._parameters.get(kernel, [])) as given:
            call = _call(given)
            call.grid, call.block = _three(grids), _three(blocks)
            call.cluster, call.shared, call.seconds = cluster, shared, seconds or 0
            call.seed = (default_seed() if seed is None else seed) % 2**64
            self._run(kernel, call)

    def _run(self, kernel: str, call: _Call) -> None:
        run = self.library[f"cuda_on_cpu_run_{kernel}"]
        run.restype = ctypes.c_char_p
        with _one_at_a_time:
            message = run(ctypes.byref(call)).decode(errors="replace")
        if call.interrupted:  # Ctrl-C, which the launch has kept from Python
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                raise KeyboardInterrupt(message)
            signal.raise_signal(signal.SIGINT)  # the caller's own handler
        if message:
            raise RuntimeError(message)


def _call(given: Sequence[Argument]) -> _Call:
    """The arguments of a launch; `given` must outlive it."""
    addresses = (ctypes.c_void_p * len(given))(*(a.value.ctypes.data for a in given))
    widths = (ctypes.c_uint * len(given))(*(a.size for a in given))
    kinds = "".join(a.kind for a in given).encode()
    call = _Call(ctypes.addressof(addresses), kinds, ctypes.addressof(widths), len(given))
    call.kept = addresses, widths
    return call


def _three(size: tuple[int, ...]) -> tuple[int, ...]:
    return size + (1,) * (3 - len(size))


def sizes(name: str, given: Dim, most: Sequence[int] = (),
          most_together: int | None = None) -> tuple[int, ...]:
    """A grid or a block as 1 to 3 integers.

    Raises:
        TypeError: something that is no integer, such as n / 256.
        ValueError: too many sizes, or one that no GPU takes.
    """
    several: Any = given if isinstance(given, Sequence) else (given,)
    try:
        made = tuple(operator.index(n) for n in several)
    except TypeError:
        raise TypeError(f"{name}={given!r} must be an integer or 1 to 3 of them; rounded up, n / m is "
                        "-(-n // m)") from None
    shown = f"{name}={made[0] if len(made) == 1 else made}"
    if not 1 <= len(made) <= 3 or min(made) < 1:
        raise ValueError(f"{shown} must be 1 to 3 sizes of at least 1")
    if most_together and math.prod(made) > most_together:
        raise ValueError(f"{shown} has {math.prod(made)} threads; a {name} has at most {most_together}")
    for axis, n, limit in zip("xyz", made, most, strict=False):
        if n > limit:
            raise ValueError(f"{shown} is too large along {axis}, where a {name} has at most {limit}")
    return made
