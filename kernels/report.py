"""`python -m kernels.report`: what each kernel compiles to, and whether it keeps its limits, without a GPU.

    python -m kernels.report [--backend triton|cuda] [--target sm_80|sm_90|gfx942] [--kernel NAME]
                             [--variant WORDS] [--json FILE]

NVIDIA's kernels are also run on the CPU, instruction by instruction (`kernels.aot.emulator`), which counts
the bytes that they ask for and checks their results. The exit status is 1 if a kernel misses a limit, 2 if
nothing could be compiled.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from .aot import gates, nvrtc
from .aot.gates import Result
from .aot.table import TARGETS, Entry, entries

COLUMNS = ("variant", "threads", "regs", "spill", "shared", "16 B ld/st", "narrow", "model", "code", "")
ROW = "  {:<33}{:>7}{:>5}{:>6}{:>8}{:>11}{:>9}{:>8}{:>8}  {}"
LEGEND = """
threads  of a block, x blocks of a cluster          regs    registers a thread (gfx942: vector registers)
spill    bytes of spill stores and loads            shared  bytes a block, static and dynamic
16 B     loads/stores of 16 bytes in the text       narrow  loads/stores of fewer bytes in the text
model    bytes an element that the formula needs    code    bytes an element that the compiled code asks for
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m kernels.report",
                                     description="What each kernel compiles to, without a GPU.")
    parser.add_argument("--backend", choices=list(TARGETS))
    parser.add_argument("--target", choices=sorted({t for targets in TARGETS.values() for t in targets}))
    parser.add_argument("--kernel", help="part of the kernel's name: adam, cross_entropy, total, ...")
    parser.add_argument("--variant", help="part of the variant's name: bfloat16, 50257, amsgrad, ...")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table as JSON")
    given = parser.parse_args(arguments)
    chosen = [e for e in entries() if given.backend in (None, e.backend) and given.target in (None, e.target)
              and (given.kernel or "") in e.kernel and (given.variant or "") in e.variant]
    if not chosen:
        print("no kernel of the table is so named", file=sys.stderr)
        return 2
    lacking = {b: gates.missing(b) for b in dict.fromkeys(e.backend for e in chosen)}
    results = gates.run(e for e in chosen if not lacking[e.backend])
    print(table(results), end="")
    for reason in filter(None, lacking.values()):
        print(f"missing: {reason}")
    if given.json is not None:
        given.json.write_text(json.dumps([as_json(r) for r in results], indent=1) + "\n", encoding="utf-8")
    if not results:
        return 2
    return 0 if all(r.ok for r in results) else 1


def table(results: Iterable[Result]) -> str:
    """Results as text, a paragraph for each kernel, backend and target."""
    results = list(results)
    lines: list[str] = []
    for (kernel, backend, target), group in groupby(results, lambda r: _group(r.entry)):
        lines += [f"{kernel}, {_compiler(backend, results)}, {target}", ROW.format(*COLUMNS).rstrip()]
        notes: list[str] = []
        for result in group:
            lines.append(_row(result, notes).rstrip())
            lines += [f"      {failure}" for failure in result.failures]
        lines += [f"    [{i}] {note}" for i, note in enumerate(notes, 1)] + [""]
    failed = sum(not r.ok for r in results)
    if results:
        lines += [*LEGEND.strip().splitlines(), "", f"{len(results)} kernels, {failed or 'none'} failed."]
    return "".join(f"{line}\n" for line in lines)


def as_json(result: Result) -> dict[str, Any]:
    """One result as JSON's types."""
    e, launch = result.entry, result.launch
    return {"kernel": e.kernel, "backend": e.backend, "target": e.target, "variant": e.variant,
            "compiled": result.name, "threads": launch and launch.block, "cluster": launch and launch.cluster,
            **(result.resources._asdict() if result.resources else {}),
            **(result.widths._asdict() if result.widths else {}),
            "elements": result.elements, "model_bytes": result.model, "code_bytes": result.code,
            "narrow_bytes": result.narrow, "limits": {"registers": e.registers, "spills": e.spills,
                                                      "requests": e.requests, "width": e.width},
            "accepted_because": e.why, "failures": result.failures}


def _group(entry: Entry) -> tuple[str, str, str]:
    return entry.kernel.split()[0], entry.backend, entry.target


def _compiler(backend: str, results: list[Result]) -> str:
    if backend == "cuda":
        return f"CUDA C by {nvrtc.compiler()}"
    return f"Triton {next((r.version for r in results if r.version), '')}".rstrip()


def _row(result: Result, notes: list[str]) -> str:
    entry, launch = result.entry, result.launch
    part = entry.kernel.partition(" ")[2]
    name = f"{part} {entry.variant}".strip()
    verdict = "ok" if result.ok else "FAILS"
    if entry.why:
        if entry.why not in notes:
            notes.append(entry.why)
        verdict += f" [{notes.index(entry.why) + 1}]"
    threads = "" if launch is None else f"{launch.block}" + f"x{launch.cluster}" * (launch.cluster > 1)
    got, widths = result.resources, result.widths
    if got is None or widths is None:
        return ROW.format(name, threads, *[""] * 7, verdict)
    bytes_ = ["-" if n is None else f"{n / result.elements:.2f}" for n in (result.model, result.code)]
    return ROW.format(name, threads, got.registers, got.spills, got.shared,
                      f"{widths.wide_loads}/{widths.wide_stores}",
                      f"{widths.narrow_loads}/{widths.narrow_stores}", *bytes_, verdict)


if __name__ == "__main__":
    sys.exit(main())
