"""Compiles Triton kernels in a process of its own: jobs as JSON in, one line of JSON out for each.

    python -m kernels.aot.triton_worker < jobs.json

Its own process because Triton chooses between compiling and interpreting once, when it is imported. Each
argument is specialised by Triton's own code for launches (16-byte alignment, the integer 1, None), so that
what is compiled here is what a launch compiles.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from typing import Any


class _Pointer:
    """An array argument, as far as a compiler looks at it."""

    def __init__(self, dtype: str, address: int) -> None:
        self.dtype, self.address = dtype, address

    def data_ptr(self) -> int:
        return self.address

    def ptr_range(self) -> int:
        """Bytes. The AMD backend asks: arrays below 2 GB get 32-bit offsets, but logits may be larger."""
        return 1 << 40


def compile_job(job: dict[str, Any]) -> dict[str, Any]:
    """One kernel for one target.

    Args:
        job: "module", "kernel"; "args", where an array is {"dtype", "address"}; "constants"; "options" of
            the launch; "target", sm_* or gfx*.

    Returns:
        "asm" (PTX or AMD's assembly), "log" (what ptxas said), "shared" (bytes), "params" (the arguments
        that are left to pass, in order), or "error".
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler.compiler import make_backend
    from triton.runtime.jit import create_function_from_signature

    name = job["target"]
    amd = name.startswith("gfx")
    target = GPUTarget("hip", name, 64) if amd else GPUTarget("cuda", int(name.removeprefix("sm_")), 32)
    backend = make_backend(target)
    kernel = getattr(importlib.import_module(job["module"]), job["kernel"])
    args = {key: _Pointer(**value) if isinstance(value, dict) else value
            for key, value in {**job["args"], **job["constants"]}.items()}
    bind = create_function_from_signature(kernel.signature, kernel.params, backend)
    bound, specialised, _ = bind(**args, **job["options"])
    options, signature, constants, attributes = kernel._pack_args(backend, job["options"], bound, specialised,
                                                                  None)
    key = repr((job["module"], job["kernel"], name, signature, constants, attributes, options.__dict__))
    if key not in _done:
        _done[key] = _compile(ASTSource(kernel, signature, constants, attributes), target, options, amd)
    return {**_done[key], "params": [p for p, kind in signature.items() if kind != "constexpr"]}


_done: dict[str, dict[str, Any]] = {}  # launches that differ in numbers only share a kernel


def _compile(source: Any, target: Any, options: Any, amd: bool) -> dict[str, Any]:
    import triton

    with contextlib.redirect_stdout(io.StringIO()) as log:
        compiled = triton.compile(source, target=target, options=options.__dict__)
    return {"asm": compiled.asm["amdgcn" if amd else "ptx"], "log": log.getvalue(),
            "shared": compiled.metadata.shared, "version": triton.__version__}


def results(jobs: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """`compile_job` of each job; what goes wrong becomes {"error": one line}."""
    for job in jobs:
        try:
            yield compile_job(job)
        except Exception as problem:  # a compiler's own exceptions are of many kinds
            lines = str(problem).strip().splitlines() or [""]
            yield {"error": f"{type(problem).__name__}: {lines[-1]}"}


if __name__ == "__main__":
    # Read by Triton when it is imported. ptxas's report is printed only where the cache has no result.
    os.environ.update(TRITON_INTERPRET="0", TRITON_ALWAYS_COMPILE="1", TRITON_DUMP_PTXAS_LOG="1")
    if importlib.util.find_spec("torch") is None:
        os.environ["AMDGCN_USE_BUFFER_OPS"] = "0"  # Triton 3.6 asks torch for the size of every array
    out = sys.stdout
    # stdout is for results only, and nothing that is compiled here is of use to anybody else.
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache
        for result in results(json.load(sys.stdin)):
            out.write(json.dumps(result) + "\n")
            out.flush()
