"""Builds a .cu file for the CPU: one shared library per file and set of options, kept in a cache.

Five objects: the machine that runs a grid (runtime.cpp), compiled once, and in the order on which the
layout of shared memory rests (shared.h) a canary, the kernels, a canary, the dynamic shared memory.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kernels.backends import BackendUnavailable

HERE = Path(__file__).parent
CANARY = 1024  # bytes; as canary_bytes in shared.h
DYNAMIC = 227 << 10  # the most that a block can have, on sm_90

# No fortified longjmp: it takes the change to another stack for an error.
COMMON = ["-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-w", "-fmax-errors=1", "-fno-strict-aliasing",
          "-fno-extern-tls-init", "-U_FORTIFY_SOURCE"]

# What the compiler checks in the kernels (checks.h). No sanitizer library is linked.
CHECKS = ["-fsanitize=bounds,alignment,signed-integer-overflow,integer-divide-by-zero"]

# All of a file's code in one stretch, in the order of the linker (signals.h).
LAYOUT = ["-fno-reorder-functions", "-fno-reorder-blocks-and-partition"]


class HostUnavailable(BackendUnavailable):
    """CUDA cannot be run on this machine's CPU: there is no g++, or it is not Linux."""


def compiler() -> str | None:
    """The path of g++, or None where CUDA cannot be run on the CPU."""
    return shutil.which("g++") if sys.platform == "linux" else None


def need_compiler() -> str:
    """The path of g++.

    Raises:
        HostUnavailable: there is none; says what to install.
    """
    if sys.platform != "linux":
        raise HostUnavailable(f"CUDA on the CPU needs Linux with g++, and this is {sys.platform}")
    if (path := compiler()) is None:
        raise HostUnavailable("CUDA on the CPU needs g++: install it, for example with apt-get install g++")
    return path


@functools.cache
def _version(path: str) -> str:
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout


@functools.cache
def _fused_multiply_add() -> list[str]:
    """The flag that lets a*b + c be one instruction, where this processor has it and it needs a flag."""
    info = Path("/proc/cpuinfo")
    words = info.read_text().split() if info.exists() else []
    return ["-mfma"] if "fma" in words and os.uname().machine == "x86_64" else []


def cache_folder(kind: str) -> Path:
    """Where compiled kernels are kept: MINILLM_CACHE/kind, or minillm/kind in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MINILLM_CACHE") or Path(home) / "minillm").absolute() / kind


# ---- What the source declares -------------------------------------------------------------------------

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# The name is the first word behind `__global__ void` and its attributes, such as __launch_bounds__(256).
_KERNEL = re.compile(r"__global__\s+(?:(?:void|static|__\w+__\s*\((?:[^()]|\([^()]*\))*\))\s*)*(\w+)\s*\(")
_TEMPLATE = re.compile(r"template\s*<[^;{}]*?>\s*(?:static\s+)?__global__\b")
_INCLUDE = re.compile(r"""^[ \t]*\#[ \t]*include[ \t]*["<]([^">\n]+)[">]""", re.MULTILINE)
_DYNAMIC = re.compile(r"extern\s+__shared__\s[^;{}()]*?(?:\([^)]*\)[^;{}()]*?)?(\w+)\s*\[\s*\]")


def kernels_in(text: str) -> list[str]:
    """Names of the `__global__` functions of a source text, in order; templates have no name to launch by."""
    return list(dict.fromkeys(_KERNEL.findall(_TEMPLATE.sub(" ", _COMMENT.sub(" ", text)))))


def dynamic_in(text: str) -> list[str]:
    """Names of its `extern __shared__ T name[]` arrays."""
    return sorted(set(_DYNAMIC.findall(_COMMENT.sub(" ", text))))


def parameters_in(text: str) -> dict[str, list[str]]:
    """Names of each kernel's parameters. Wrong where macros write them: compare their number."""
    text = _COMMENT.sub(" ", text)
    found: dict[str, list[str]] = {}
    for match in _KERNEL.finditer(text):
        depth, parts = 0, [""]
        for letter in text[match.end():]:
            depth += (letter in "([<{") - (letter in ")]>}")
            if depth < 0:
                break
            if letter == "," and not depth:
                parts.append("")
            else:
                parts[-1] += letter
        words = [re.findall(r"\w+", part.partition("[")[0].partition("=")[0]) for part in parts]
        found.setdefault(match[1], [w[-1] for w in words if w])
    return found


def included(source: Path, folders: Sequence[Path]) -> set[Path]:
    """The file and what it includes, at any depth, as far as it lies beside the includer or in `folders`."""
    found, left = set[Path](), [source]
    while left:
        path = left.pop()
        if path in found:
            continue
        found.add(path)
        for name in _INCLUDE.findall(_text(path)):
            places = (folder / name for folder in (path.parent, *folders))
            left += [place for place in places if place.is_file()][:1]
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


# ---- Compiling ----------------------------------------------------------------------------------------


def library(source: Path, defines: Mapping[str, str | int], *, exact: bool) -> Path:
    """The library of a .cu file, from the cache or freshly built.

    Args:
        source: the file; what it includes lies beside it or beside device.cuh.
        defines: its -D macros.
        exact: every operation rounds once; otherwise a*b + c may be fused.

    Raises:
        HostUnavailable: no g++.
        RuntimeError: the file does not compile; the first error, with file and line.
    """
    gxx = need_compiler()
    folders = [source.parent, HERE.parent, HERE, HERE / "include"]
    flags = [*COMMON, *CHECKS, *LAYOUT, "-DMINILLM_ON_CPU", *(f"-I{folder}" for folder in folders),
             *(["-ffp-contract=off"] if exact else ["-ffp-contract=fast", *_fused_multiply_add()]),
             *(f"-D{name}={value}" for name, value in defines.items())]
    text = _text(source)
    kernels, dynamic = kernels_in(text), dynamic_in(text)
    own = included(source, folders) | {*source.parent.glob("*.cuh"), *source.parent.glob("*.h")}

    def make(folder: Path) -> None:
        storage = {
            "begin": [f"alignas(128) thread_local unsigned char cuda_on_cpu_begin[{CANARY}];",
                      "void cuda_on_cpu_text_begin() {}"],
            "end": [f"thread_local unsigned char cuda_on_cpu_end[{CANARY}];",
                    "void cuda_on_cpu_text_end() {}"],
            "dynamic": [f"alignas(1024) thread_local unsigned char cuda_on_cpu_dynamic[{DYNAMIC + CANARY}];",
                        *(f"extern thread_local unsigned char {name}[{DYNAMIC + CANARY}] "
                          '__attribute__((alias("cuda_on_cpu_dynamic")));' for name in dynamic)]}
        for part, code in storage.items():
            (folder / f"{part}.cpp").write_text("\n".join(['extern "C" {', *code, "}\n"]))
        entries = [f"CUDA_ON_CPU_KERNEL({kernel})\n" for kernel in kernels]
        (folder / "kernel.cpp").write_text(
            "".join(['#include "cuda_on_cpu.h"\n', f'#include "{source}"\n', *entries]))
        _run([gxx, *flags, "-c", "kernel.cpp", "-o", "kernel.o"], folder, source)
        _run([gxx, *COMMON, "-c", *(f"{part}.cpp" for part in storage)], folder, source)
        _run([gxx, "-shared", "-Wl,--no-undefined", "-o", "made", "begin.o", "kernel.o", "end.o", "dynamic.o",
              str(_runtime(gxx)), "-lrt"], folder, source)  # rt: timers, before glibc 2.34

    return _kept(f"{source.stem}.so", [gxx, *flags, str(source)], own, make)


def _runtime(gxx: str) -> Path:
    """runtime.cpp as an object file, common to all libraries."""
    source = HERE / "runtime.cpp"
    return _kept("runtime.o", [gxx, *COMMON], set(),
                 lambda folder: _run([gxx, *COMMON, "-c", str(source), "-o", "made"], folder, source))


def _kept(name: str, options: list[str], sources: set[Path], make: Callable[[Path], None]) -> Path:
    """The file of the cache for these options and sources; `make` writes it as "made" in a given folder.

    It is built under a name of its own and renamed: whoever else builds the same sees all of it or nothing.
    """
    sources = sources | {*HERE.glob("*.h"), *HERE.glob("*.cpp"), *HERE.glob("*.py")}
    parts = [*options, _version(options[0]), *(_text(path) for path in sorted(sources))]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    stem, _, ending = name.partition(".")
    kept = cache_folder("cuda_on_cpu") / f"{stem}-{key}.{ending}"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix="build-") as folder:
            make(Path(folder))
            os.replace(Path(folder) / "made", kept)
    return kept


def _run(command: list[str], folder: Path, source: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.splitlines()
        if any("Assembler messages" in line for line in lines):
            code = _COMMENT.sub(lambda m: "\n" * m[0].count("\n"), _text(source))
            at = code[:match.start()].count("\n") + 1 if (match := re.search(r"\basm\b", code)) else "?"
            raise RuntimeError(f"{source.name} does not compile for the CPU: inline PTX, first at "
                               f"{source.name}:{at}: put it behind #ifndef MINILLM_ON_CPU")
        first = next((line for line in lines if "error:" in line or "undefined reference" in line),
                     lines[0] if lines else f"exit status {done.returncode}")
        raise RuntimeError(f"{source.name} does not compile for the CPU: {first.strip()}")
