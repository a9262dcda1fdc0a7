"""Mutants: the shipped sources with one line broken, each of which the properties must notice.

    python -m kernels.testing.mutants [words]

prints mutant, what it breaks, the property that noticed, and how long that took. A mutant is a textual change
to a copy of a Triton or CUDA C source, run on the CPU in a process of its own, as a broken kernel may end it.
The shipped sources are tried first: where a backend cannot run, or its own source is noticed, its mutants are
not run. Linux only: the processes are forks.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import kernels
from kernels import backends, tuning
from kernels.backends import BackendUnavailable

from . import adam, cross_entropy, raw
from .adam_reference import Case as AdamCase
from .cross_entropy_kernel import CrossEntropy
from .cross_entropy_reference import Case as RowsCase
from .memory import Memory
from .mutant_table import HERE, MUTANTS, Mutant
from .output import without_reader

LIMIT = 120  # seconds a mutant may take before it counts as hanging, which is noticed too


class Verdict(NamedTuple):
    """What became of a mutant: the property that noticed it ("" for none), its words, and seconds."""

    killed_by: str
    words: str
    seconds: float


# Properties in the order in which they are tried, the cheap ones first.
ROWS_PROPERTIES = ("agreement", "ignored_and_masked", "label_gradient", "loss_near_zero", "all_ignored",
                   "ignored_rows", "row_strides", "in_place", "minus_inf_blocks", "huge_logits",
                   "label_minus_inf", "linear_in_upstream", "overflow_by_stride")
ADAM_PROPERTIES = ("agreement", "found_inf", "maximize", "device_step", "non_finite", "unaligned",
                   "odd_sizes", "master_weights", "stochastic_rounding", "rounding_keeps_non_finite",
                   "unbiased_rounding")
# What a change raises that is not even a kernel.
NO_MUTANT = ("does not compile", "SyntaxError", "NameError", "AttributeError", "InterpreterError")
SEEDS = (0, 1, 2)  # of the order in which threads run


# ---- One mutant, in this process ----------------------------------------------------------------------

def attempt(mutant: Mutant | None, like: Mutant) -> Verdict:
    """Try a mutant, or for None the shipped source, on the cases of `like`; the process is spent after it."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        module = _loaded(mutant, like, Path(folder))
        for name, value in like.tuning.items():
            setattr(tuning, name, value)
        backends.load = lambda backend, kernel: module
        for seed in SEEDS if like.backend == "cuda" else SEEDS[:1]:
            os.environ["MINILLM_CUDA_SEED"] = str(seed)
            for name, check in _checks(like, module):
                try:
                    check()
                except BackendUnavailable:
                    raise  # no kernel has run, so nothing was noticed
                except Exception as error:  # Broken, or what a raw check's kernel raised
                    words = f"{type(error).__name__}: {error}".partition("\n")[0]
                    if any(word in words for word in NO_MUTANT):
                        raise RuntimeError(f"{like.name} is no mutant, but an error: {words}") from error
                    return Verdict(name, words, time.perf_counter() - begin)
    return Verdict("", "", time.perf_counter() - begin)


def _loaded(mutant: Mutant | None, like: Mutant, folder: Path) -> Any:
    """The backend's module of the kernel, with the mutant's source in place of the shipped one."""
    if mutant is not None and mutant.backend == "cuda":
        from kernels.cuda import module as cuda

        for path in [*cuda.HERE.glob("*.cu"), *cuda.HERE.glob("*.cuh")]:
            (folder / path.name).write_text(path.read_text())
        (folder / "host").symlink_to(cuda.HERE / "host")
        (folder / Path(mutant.file).name).write_text(mutant.source())
        cuda.HERE = folder
        cuda._load.cache_clear()
    elif mutant is not None:
        package: ModuleType = importlib.import_module("kernels.triton")
        (folder / Path(mutant.file).name).write_text(mutant.source())
        package.__path__.insert(0, str(folder))
    module: Any = importlib.import_module(f"kernels.{like.backend}.{like.kernel}")
    if like.how:
        module.rows = functools.partial(module.rows, **like.how)
    return module


def _checks(like: Mutant, module: Any) -> Iterator[tuple[str, Any]]:
    if like.kernel == "cross_entropy":
        rows = CrossEntropy(
            functools.partial(kernels.softmax_cross_entropy, backend=like.backend), strict=True)
        table = {p.name: p for p in cross_entropy.PROPERTIES}
        case = RowsCase(**{"rows": 3, "vocab": 37, "dtype": like.dtype, "options": like.options, **like.more})
        for name in ROWS_PROPERTIES:
            plain = name in ("label_gradient", "loss_near_zero", "overflow_by_stride")
            one = case.but(options={}) if plain and "grad_loss" in like.options else case
            yield name, functools.partial(table[name].check, rows, one)
        yield "scales_and_total", functools.partial(raw.scales_and_total, module, Memory(), 300, True)
        yield "labels_out_of_range", functools.partial(raw.labels_out_of_range, module, Memory())
        return
    step = adam.Adam(functools.partial(kernels.adam_step, backend=like.backend), strict=True)
    several = {p.name: p for p in adam.PROPERTIES}
    kinds = (like.dtype, "float32" if like.dtype == "float32" else "bfloat16", "float32")
    tensors = AdamCase(**{"dtypes": kinds, "options": like.options, **like.more})
    for name in ADAM_PROPERTIES:
        dtypes = several[name].dtypes
        if (dtypes is None or like.dtype in dtypes) and not ("rounding" in name and tensors.master):
            yield name, functools.partial(several[name].check, step, tensors)
    yield "elements_beyond_2_to_the_31", functools.partial(raw.elements_beyond_2_to_the_31, module, Memory())


# ---- Each in a process of its own ----------------------------------------------------------------------

def run(chosen: Sequence[Mutant], *, shipped: bool = False) -> Iterator[Verdict]:
    """Try mutants, each in a fresh process. `shipped`: the sources as they are, which must not be noticed.

    Raises:
        ValueError: a mutant is out of date.
        BackendUnavailable: the compiler or the library that the mutants need is missing.
        RuntimeError: what a mutant breaks is not even a kernel, or the machinery failed.
    """
    for mutant in chosen:
        mutant.source()
    command = [sys.executable, "-m", "kernels.testing.mutants", "--these", "shipped" if shipped else "broken",
               *(str(MUTANTS.index(mutant)) for mutant in chosen)]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OPENBLAS_NUM_THREADS": "1"}
    with (tempfile.TemporaryFile("w+") as errors,
          subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
                           cwd=HERE.parent) as process):
        assert process.stdout is not None
        for mutant in chosen:
            line = process.stdout.readline()
            if not line:
                errors.seek(0)
                raise RuntimeError(f"trying {mutant.name} failed:\n{errors.read()[-2000:]}")
            message = json.loads(line)
            if isinstance(message, str):
                raise BackendUnavailable(message)
            yield Verdict(*message)


def _in_children(chosen: Sequence[Mutant], shipped: bool) -> int:
    """What `run` starts: it has imported everything, and forks for each mutant."""
    for name in {m.backend for m in chosen}:
        try:
            importlib.import_module(f"kernels.{name}.cross_entropy" if shipped else f"kernels.{name}")
        except BackendUnavailable as reason:
            print(json.dumps(str(reason)), flush=True)
            return 0
    for mutant in chosen:
        begin = time.perf_counter()
        child = os.fork()
        if child == 0:
            signal.alarm(LIMIT)
            message: Verdict | str
            try:
                message = attempt(None if shipped else mutant, mutant)
            except BackendUnavailable as reason:
                message = str(reason)
            print(json.dumps(message), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if ended_by:
            name = "time" if ended_by == signal.SIGALRM else "crash"
            words = f"signal {ended_by} ended the process"
            print(json.dumps(Verdict(name, words, time.perf_counter() - begin)), flush=True)
        elif status:
            return 1
    return 0


def configurations() -> list[Mutant]:
    """One mutant for each way in which they are tried: on the shipped sources none may be noticed."""
    seen: dict[str, Mutant] = {}
    for m in MUTANTS:
        key = repr((m.backend, m.kernel, m.options, m.dtype, m.how, m.tuning, m.more))
        seen.setdefault(key, m)
    return list(seen.values())


def why_not(chosen: Sequence[Mutant]) -> str:
    """Why mutants of one backend say nothing here: it cannot run, or its shipped source is noticed; or ""."""
    first = {m.kernel: m for m in reversed(chosen)}
    try:
        for m, verdict in zip(first.values(), run(list(first.values()), shipped=True), strict=True):
            if verdict.killed_by:
                return f"the shipped {m.file} is noticed by {verdict.killed_by}: {verdict.words}"
    except BackendUnavailable as reason:
        return str(reason)
    return ""


def main(arguments: Sequence[str]) -> int:
    """Print the table; 1 if a mutant survives, 2 if none could be tried."""
    if arguments and arguments[0] == "--these":
        return _in_children([MUTANTS[int(i)] for i in arguments[2:]], arguments[1] == "shipped")
    parser = argparse.ArgumentParser(
        prog="python -m kernels.testing.mutants",
        description="Break the shipped Triton and CUDA C sources, one line at a time, and print which "
        "property of the judge notices. 'crash' and 'time': the kernel ended its process, or never ended.",
        epilog="exit status: 0 each was noticed, 1 one survived, 2 none could be tried")
    parser.add_argument("words", nargs="*", help="try only mutants with all of these in their names, as in "
                        "'cuda/adam': all by default")
    words = parser.parse_args(arguments).words
    chosen = [m for m in MUTANTS if all(word in m.name for word in words)]
    if not chosen:
        print(f"no mutant has {' and '.join(words)} in its name", file=sys.stderr)
        return 2
    if not hasattr(os, "fork"):
        print("mutants run in forks of this process, which this system does not have: use Linux",
              file=sys.stderr)
        return 2
    tried: list[Mutant] = []
    for backend in dict.fromkeys(m.backend for m in chosen):
        ours = [m for m in chosen if m.backend == backend]
        if reason := why_not(ours):
            print(f"{backend}: {len(ours)} mutants not run: {reason}", file=sys.stderr)
        else:
            tried += ours
    if not tried:
        return 2
    survivors = 0
    width = max(len(m.name) for m in tried)
    print(f"{'mutant: what it breaks':{width}}  {'noticed by':27}  seconds")
    for mutant, verdict in zip(tried, run(tried), strict=True):
        survivors += not verdict.killed_by
        print(f"{mutant.name:{width}}  {verdict.killed_by or 'NOBODY':27}  {verdict.seconds:.2f}", flush=True)
    left = f", {len(chosen) - len(tried)} not run" if len(chosen) > len(tried) else ""
    print(f"{len(tried)} mutants, {survivors} survived{left}")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(without_reader(lambda: main(sys.argv[1:])))
