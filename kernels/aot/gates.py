"""Compile the table's kernels, run them on the CPU, and hold each against its limits.

For NVIDIA's targets everything is checked: registers, spills, widths, bytes against the model, and results.
For AMD's only what the assembly says: registers, spills, widths.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernels.tuning import MOST_THREADS

from . import amdgcn, emulator, launches, nvrtc, ptx
from .launches import Launch
from .problems import Problem, Work
from .ptx import Resources, Widths
from .table import Entry
from .values import EmulationError


@dataclass
class Result:
    """What a kernel of the table came to.

    Attributes:
        entry: of the table.
        launch: as the host side makes it.
        resources: registers, spills, stack and shared memory (static and dynamic together).
        widths: instructions that access global memory, as the text has them.
        model, code: bytes of the model, and bytes that the code asked for; None for AMD's targets.
        narrow: bytes that it asked for in accesses below 16 bytes, of all arrays; None for AMD's.
        elements: that the bytes are about.
        version: of Triton; "" for CUDA C.
        failures: what does not hold, one line each.
    """

    entry: Entry
    launch: Launch | None = None
    resources: Resources | None = None
    widths: Widths | None = None
    model: int | None = None
    code: int | None = None
    narrow: int | None = None
    elements: int = 1
    version: str = ""
    failures: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the compiled kernel; "" before there is one."""
        return self.launch.kernel if self.launch else ""

    @property
    def ok(self) -> bool:
        """Whether every limit holds."""
        return not self.failures


def missing(backend: str) -> str | None:
    """What a backend's gates lack on this machine, in one line; None if nothing."""
    if backend == "triton" and importlib.util.find_spec("triton") is None:
        return "the Triton kernels cannot be compiled: pip install triton (Linux)"
    if backend == "cuda" and nvrtc.compiler() is None:
        return "the CUDA kernels cannot be compiled: pip install nvidia-cuda-nvrtc"
    return None


def run(entries: Iterable[Entry], path: Sequence[str] = ()) -> list[Result]:
    """Every entry's result; Triton's kernels are compiled in one process.

    Args:
        entries: of the table.
        path: folders in which the compiling process looks for modules first.
    """
    made: list[tuple[Entry, Problem, list[Launch]]] = []
    for entry in entries:
        problem = entry.problem()
        recorded = launches.record(entry.backend, entry.module, entry.target, problem.call)
        made.append((entry, problem, recorded))
    jobs = [{**launch.job, "target": entry.target}
            for entry, _, recorded in made if entry.backend == "triton" for launch in recorded[:1]]
    compiled = iter(compile_triton(jobs, path))
    results = []
    for entry, problem, recorded in made:
        if len(recorded) != 1:
            results.append(Result(entry, failures=[f"{len(recorded)} launches where there should be one"]))
        given = next(compiled) if entry.backend == "triton" and recorded else None
        if len(recorded) == 1:
            results.append(judge(entry, problem, recorded[0], given))
    return results


def compile_triton(jobs: list[dict[str, Any]], path: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Results of `triton_worker` for its jobs, in order.

    Raises:
        RuntimeError: the process ended before it had done them all; its last words.
    """
    if not jobs:
        return []
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, root, *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, "-m", "kernels.aot.triton_worker"], input=json.dumps(jobs),
                          text=True, capture_output=True, env=env, check=False)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    if len(results) != len(jobs):
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"the process that compiles with Triton ended after {len(results)} of {len(jobs)} "
                           f"kernels: {last[0]}")
    return results


@functools.cache
def _cuda(source: str, options: tuple[str, ...]) -> nvrtc.Compiled:
    return nvrtc.compile_cuda(Path(source), options)


def judge(entry: Entry, problem: Problem, launch: Launch, compiled: dict[str, Any] | None = None) -> Result:
    """One compiled kernel against its entry.

    Args:
        entry: its limits.
        problem: its arrays and what it must move.
        launch: what the host side launches for the problem.
        compiled: for Triton, the worker's result; CUDA C is compiled here.
    """
    result = Result(entry, launch)
    try:
        if compiled is None:
            text, log = _cuda(launch.job["source"], tuple(launch.job["options"]))
            names, dynamic = None, launch.shared
        elif "error" in compiled:
            raise ValueError(f"does not compile: {compiled['error']}")
        else:
            text, log, names, dynamic = (compiled[k] for k in ("asm", "log", "params", "shared"))
            result.version = compiled["version"]
        if entry.target.startswith("gfx"):
            result.resources, result.widths = amdgcn.resources(text), amdgcn.global_widths(text)
            moving = amdgcn.global_widths(text, entry.width)
            result.failures = text_failures(entry, launch, result.resources, moving)
            return result
        kernel = next(k for k in ptx.parse(text) if k.name == launch.kernel)
        said = ptx.resources(log, launch.kernel)
        result.resources = said._replace(shared=said.shared + dynamic)
        result.widths = ptx.global_widths(kernel)
        result.failures = text_failures(entry, launch, result.resources, result.widths)
        _run(result, problem, kernel, names, dynamic)
    except (ValueError, EmulationError) as reason:
        result.failures.append(str(reason))
    return result


def text_failures(entry: Entry, launch: Launch, got: Resources, widths: Widths) -> list[str]:
    """Limits that what the compilers say breaks."""
    failures = []
    if launch.block > MOST_THREADS:
        failures.append(f"{launch.block} threads a block, a GPU takes {MOST_THREADS}")
    if got.registers > entry.registers:
        failures.append(f"{got.registers} registers a thread, the limit is {entry.registers}")
    if got.spills > entry.spills:
        failures.append(f"{got.spills} bytes of spills, the limit is {entry.spills}")
    if got.stack > entry.spills:
        failures.append(f"{got.stack} bytes of local memory a thread, the limit is {entry.spills}")
    if entry.target.startswith("gfx") and entry.amd is not None:
        least_loads, least_stores, most_loads, most_stores = entry.amd
        if widths.wide_loads < least_loads or widths.wide_stores < least_stores:
            failures.append(f"{widths.wide_loads} loads and {widths.wide_stores} stores of {entry.width} "
                            f"bytes, there should be {least_loads} and {least_stores} at least")
        if widths.narrow_loads > most_loads or widths.narrow_stores > most_stores:
            failures.append(f"{widths.narrow_loads} loads and {widths.narrow_stores} stores of fewer than "
                            f"{entry.width} bytes, the limits are {most_loads} and {most_stores}")
    return failures


def _run(result: Result, problem: Problem, kernel: ptx.Kernel, names: Sequence[str] | None,
         dynamic: int) -> None:
    """Run the problem's works one after another, and hold what each moved against its model."""
    launch = result.launch
    assert launch is not None
    arrays = [emulator.Array(name, array) for name, array in problem.arrays.items()]
    result.elements = problem.elements
    program = emulator.Program(kernel)
    for number, work in enumerate(problem.works):
        for array in arrays:
            array.moved.clear()
        program.run(launches.parameters(launch, names), arrays, grid=launch.grid, block=launch.block,
                    cluster=launch.cluster, shared=dynamic, only=work.programs)
        result.failures += bytes_failures(work, arrays, launch, problem.edges, result.entry)
        if not number:
            result.model = sum(sum(b) for b in work.model.values())
            result.code = sum(a.bytes(op) for a in arrays for op in ("ld", "st") if a.name in work.model)
            result.narrow = sum(a.bytes(op, below=16) for a in arrays for op in ("ld", "st"))
    wrong = problem.wrong()
    if wrong:
        result.failures.append(wrong)


def bytes_failures(work: Work, arrays: Iterable[emulator.Array], launch: Launch, edges: int,
                   entry: Entry) -> list[str]:
    """What a work's programs moved otherwise than its model says.

    Beside the model each warp may read scalars: of an array of the model one element (the label's logit) and,
    where rows are not aligned, the elements at the ends of the row; of other arrays 128 bytes.

    Args:
        work: with its model.
        arrays: after the programs have run.
        launch: for the number of warps.
        edges: bytes at either end of a row outside its 16-byte groups.
        entry: for the width of accesses, and how many times as many bytes as the model's may be asked for.
    """
    failures = []
    programs = len(work.programs)
    warps = programs * launch.cluster * max(1, launch.block // 32)
    for array in arrays:
        model = work.model.get(array.name)
        for op, does, wanted in (("ld", "reads", model.read if model else 0),
                                 ("st", "writes", model.written if model else 0)):
            asked, narrow = array.bytes(op), array.bytes(op, below=entry.width)
            if model is None:
                allowed = 128 * (warps if op == "ld" else programs)
            else:
                allowed = (4 + 2 * edges) * warps if op == "ld" and wanted \
                    else 2 * edges * programs * launch.cluster
            where = f"{work.name} {does} {asked} bytes of {array.name}, the model says {wanted}"
            if asked > wanted * entry.requests + allowed:
                failures.append(f"{where} and {allowed} for scalars")
            elif asked < wanted:
                failures.append(f"{where}: the model is wrong, or the kernel")
            elif model is not None and array.name not in work.narrow and narrow > allowed:
                widths = sorted({width for kind, width in array.moved if kind == op and width < entry.width})
                failures.append(f"{work.name} {does} {narrow} bytes of {array.name} only "
                                f"{' or '.join(map(str, widths))} at a time; {allowed} may be narrow")
    return failures
