"""CUDA C to PTX and machine code without a GPU: NVRTC, as CuPy uses it at run time, or nvcc.

NVRTC is a library of the `nvidia-cuda-nvrtc` wheel or of a CUDA installation, called by ctypes, so that
neither CuPy nor a driver is needed.
"""

from __future__ import annotations

import ctypes
import functools
import glob
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Unavailable(RuntimeError):
    """A compiler is missing; the message says in one line what to install."""


class Compiled(NamedTuple):
    """PTX, and what ptxas said about its registers and spills."""

    ptx: str
    log: str


def compile_cuda(source: Path, options: Sequence[str]) -> Compiled:
    """One CUDA C file for one GPU architecture.

    Args:
        source: the .cu file.
        options: as at run time (`kernels.cuda.module.options`), --gpu-architecture=sm_* among them.

    Raises:
        Unavailable: there is neither NVRTC nor nvcc.
        ValueError: the file does not compile; the compiler's first error.
    """
    library = nvrtc()
    if library is not None:
        return _by_nvrtc(library, source, options)
    nvcc = shutil.which("nvcc")
    if nvcc is not None:
        return _by_nvcc(nvcc, source, options)
    raise Unavailable("CUDA C needs NVRTC or nvcc: pip install nvidia-cuda-nvrtc")


def compiler() -> str | None:
    """The name of the CUDA C compiler that would be used, with its version; None if there is none."""
    library = nvrtc()
    if library is not None:
        major, minor = ctypes.c_int(), ctypes.c_int()
        library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return f"NVRTC {major.value}.{minor.value}"
    return "nvcc" if shutil.which("nvcc") else None


@functools.cache
def nvrtc() -> ctypes.CDLL | None:
    """NVRTC from the wheel (nvidia/cu13/lib, nvidia/cuda_nvrtc/lib), else from the system's libraries."""
    found: list[str] = []
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec else ():
        for place in ("cu13", "cuda_nvrtc"):
            found += sorted(glob.glob(os.path.join(folder, place, "lib", "libnvrtc.so.*")))
    for path in [*found, "libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            # It looks for its builtins by name only, so those beside it are loaded first.
            for builtins in glob.glob(os.path.join(os.path.dirname(path), "libnvrtc-builtins.so.*")):
                ctypes.CDLL(builtins)
            library = ctypes.CDLL(path)
            _compile(library, "empty.cu", b"", ["--gpu-architecture=sm_90"])
        except (OSError, ValueError):  # not there, or without its libnvrtc-builtins
            continue
        return library
    return None


def _by_nvrtc(library: ctypes.CDLL, source: Path, options: Sequence[str]) -> Compiled:
    return _compile(library, source.name, source.read_bytes(), [*options, "--ptxas-options=-v"])


def _compile(library: ctypes.CDLL, name: str, text: bytes, options: Sequence[str]) -> Compiled:
    program = ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), text, name.encode(), 0, None, None)
    try:
        encoded = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failed = library.nvrtcCompileProgram(program, len(options), encoded)
        log = _text(library, program, "ProgramLog")
        if failed:
            raise ValueError(f"{name} does not compile: {_first_error(log)}")
        return Compiled(_text(library, program, "PTX"), log)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _text(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> str:
    size = ctypes.c_size_t()
    getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, buffer)
    return buffer.value.decode(errors="replace")


def _by_nvcc(nvcc: str, source: Path, options: Sequence[str]) -> Compiled:
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, *options, "-Xptxas=-v", "--keep", "--keep-dir", folder, "-cubin",
                   "-o", os.path.join(folder, "out.cubin"), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{source.name} does not compile: {_first_error(done.stderr + done.stdout)}")
        ptx = next(Path(folder).glob("*.ptx")).read_text(encoding="utf-8")
    return Compiled(ptx, done.stderr + done.stdout)


def _first_error(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else "no message")
