"""One .cu file with one set of options, compiled where its arrays are: NVRTC and CuPy, or g++ on the CPU.

CuPy loads and launches, but does not compile here: its own compilation appends `-ftz=true`, which flushes
denormals to zero, and its cache does not see a change in an included file.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kernels.backends import BackendUnavailable

from .host import Dim, HostModule, cache_folder, sizes

HERE = Path(__file__).parent
# Bytes of dynamic shared memory that a block gets without asking: 48 KiB, less what a kernel has of static.
STATIC_LIMIT = 40 << 10

# Rounding, by `exact`. Not --use_fast_math: it would also flush denormals and replace logf and tanhf by
# instructions whose relative error has no bound. Kernels name the fast functions that they can bear.
ROUNDING = {True: ("--ftz=false", "--prec-div=true", "--prec-sqrt=true", "--fmad=false"),
            False: ("--ftz=false", "--prec-div=false", "--prec-sqrt=false", "--fmad=true")}


class Module(Protocol):
    """The kernels of one .cu file, ready to launch."""

    def launch(self, kernel: str, args: Sequence[np.generic], *, grid: Dim, block: Dim, cluster: int = 1,
               shared: int = 0, stream: int | None = None) -> None:
        """Start a kernel; on a GPU without waiting for it.

        Args:
            kernel: its name.
            args: NumPy scalars in the kernel's order and of its types; an address is np.uint64.
            grid, block: blocks and threads.
            cluster: blocks of a cluster, as `__cluster_dims__` in the kernel says.
            shared: bytes of dynamic shared memory.
            stream: handle of the CUDA stream, such as torch's current one; None: CuPy's current stream.
        """


def load(source: str, defines: Mapping[str, str | int], *, exact: bool, device: str) -> Module:
    """The kernels of a .cu file of this folder, compiled for a device. Asked again, the same module.

    Args:
        source: the file's name, such as "adam.cu".
        defines: its -D macros.
        exact: every operation rounds once, to nearest; otherwise FMA and approximate / and sqrtf.
        device: "cpu" or "cuda:0", as in `View.device`.

    Raises:
        BackendUnavailable: no g++ (CPU), no CuPy or NVRTC (GPU).
        RuntimeError: the file does not compile; the first error, with file and line.
    """
    return _load(source, tuple(sorted(defines.items())), exact, device)


@functools.cache
def _load(source: str, defines: tuple[tuple[str, str | int], ...], exact: bool, device: str) -> Module:
    if device == "cpu":
        return HostModule(HERE / source, dict(defines), exact=exact)
    return CupyModule(HERE / source, dict(defines), exact=exact, index=int(device.partition(":")[2]))


def options(defines: Mapping[str, str | int], *, exact: bool, arch: int) -> tuple[str, ...]:
    """What NVRTC is told; arch is 90 for sm_90."""
    return (f"--gpu-architecture=sm_{arch}", "--std=c++17", f"-I{HERE}", *ROUNDING[exact],
            *(f"-D{name}={value}" for name, value in defines.items()))


def cubin(source: Path, defines: Mapping[str, str | int], *, exact: bool, arch: int) -> bytes:
    """Machine code of a .cu file for sm_<arch>, by the NVRTC that CuPy finds. No GPU is needed.

    Raises:
        BackendUnavailable: no CuPy or no NVRTC.
        RuntimeError: the file does not compile; the first error, with file and line.
    """
    nvrtc = cupy().cuda.nvrtc
    program = nvrtc.createProgram(source.read_text(), source.name, (), ())
    try:
        nvrtc.compileProgram(program, options(defines, exact=exact, arch=arch))
        return nvrtc.getCUBIN(program)
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program).splitlines()
        first = next((line for line in log if "error" in line), log[0] if log else str(error))
        raise RuntimeError(f"{source.name} does not compile for sm_{arch}: {first.strip()}") from None
    finally:
        nvrtc.destroyProgram(program)


def cached_cubin(source: Path, defines: Mapping[str, str | int], *, exact: bool, arch: int) -> Path:
    """A file with `cubin`, kept under a hash of sources, options and NVRTC's version."""
    used = [source, *sorted(HERE.glob("*.cuh"))]
    parts = [str(cupy().cuda.nvrtc.getVersion()), *options(defines, exact=exact, arch=arch),
             *(path.read_text() for path in used)]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    kept = cache_folder("cubin") / f"{source.stem}-sm{arch}-{key}.cubin"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        code = cubin(source, defines, exact=exact, arch=arch)
        handle, name = tempfile.mkstemp(dir=kept.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(code)
        os.replace(name, kept)
    return kept


def cupy() -> Any:
    """CuPy, if it has NVRTC.

    Raises:
        BackendUnavailable: one of them is not there.
    """
    try:
        found = importlib.import_module("cupy")
        found.cuda.nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:  # RuntimeError: the library was not found
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise BackendUnavailable("CUDA kernels on a GPU need CuPy with NVRTC: "
                                 f"pip install 'cupy-cuda13x[ctk]' ({reason})") from None
    return found


class CupyModule:
    """The kernels of one .cu file on GPU `index`: `cupy.RawModule` with the machine code from `cubin`."""

    def __init__(self, source: Path, defines: Mapping[str, str | int], *, exact: bool, index: int):
        self._cupy = cupy()
        self._device = self._cupy.cuda.Device(index)
        self.arch = int(self._device.compute_capability)
        self._module = self._cupy.RawModule(
            path=str(cached_cubin(source, defines, exact=exact, arch=self.arch)))
        self._functions: dict[str, Any] = {}
        self._granted: dict[str, int] = {}

    def launch(self, kernel: str, args: Sequence[np.generic], *, grid: Dim, block: Dim, cluster: int = 1,
               shared: int = 0, stream: int | None = None) -> None:
        """As `Module.launch`.

        Raises:
            RuntimeError: the GPU has no clusters.
        """
        if cluster > 1 and self.arch < 90:
            raise RuntimeError(f"{kernel} wants a cluster of {cluster} blocks, and this GPU, sm_{self.arch}, "
                               "has none: compile it with clusters of 1")
        on = nullcontext() if stream is None else self._cupy.cuda.Stream.from_external(_Stream(stream))
        with self._device, on:
            if kernel not in self._functions:
                self._functions[kernel] = self._module.get_function(kernel)
            function = self._functions[kernel]
            if shared > self._granted.get(kernel, STATIC_LIMIT):
                function.max_dynamic_shared_size_bytes = self._granted[kernel] = shared
            function(sizes("grid", grid), sizes("block", block), tuple(args), shared_mem=shared)


class _Stream:
    """A stream handle under the protocol that CuPy asks of other libraries' streams."""

    def __init__(self, handle: int):
        self.handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle  # version of the protocol, handle
