"""`minillm step`: walk through an equation, or a function of one's own, forwards and backwards."""

from __future__ import annotations

import ast
import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from minillm.cli.equation_name import equation_called
from minillm.errors import UserError
from minillm.formulas import LEDGER
from minillm.stepper import KernelSteps, Recording, trace
from minillm.stepper.equation import equation_of
from minillm.stepper.terminal import print_all, walk
from minillm.stepper.views import view_of

# The kernel that does the work (others prepare its numbers or add up what it gives), and what it computes.
_CROSS_ENTROPY, _ADAM = ("one_sweep", "softmax_cross_entropy"), ("update_tiles", "adam_step")
KERNELS = {"cross_entropy": _CROSS_ENTROPY, "softmax_cross_entropy": _CROSS_ENTROPY, "adam": _ADAM,
           "adam_step": _ADAM}


def step(
    what: Annotated[str, typer.Argument(
        help="An equation (adam, 4.1, attention, ...), a kernel (triton:cross-entropy, triton:adam), or a "
             "function of your own (file.py:name).")],
    args: Annotated[str | None, typer.Option("--args", help="Arguments: numbers and lists, as in "
                                             "'[[1.0, 2.0]], 3'. Left out: the equation's example.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="All steps as text, one after the other.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write one HTML file instead.")] = None,
    at: Annotated[int, typer.Option("--at", help="Step to begin at.")] = 1,
    lang: Annotated[str, typer.Option("--lang", help="en or zh.")] = "en",
    seed: Annotated[int, typer.Option("--seed", help="Of the example's numbers.")] = 0,
    all_kernels: Annotated[bool, typer.Option("--all-kernels", help="Of triton:..., the small kernels around "
                                              "the main one too.")] = False,
) -> None:
    """Step through a computation: formula, code line and numbers, then the gradients on their way back.

    Examples:  minillm step adam   |   minillm step 4.1 --plain   |   minillm step my.py:f --args "[1.0, 2.0]"
    """
    if lang not in ("en", "zh"):
        raise UserError(f"lang = {lang!r} must be en or zh")
    if seed < 0:
        raise UserError(f"seed = {seed} must not be negative")
    recording: Recording | KernelSteps
    if what.startswith("triton:"):
        if args is not None:
            raise UserError("a kernel is stepped with an example of its own: leave out --args")
        recording = _kernel(what.removeprefix("triton:"), seed, all_kernels=all_kernels)
    elif all_kernels:
        raise UserError("--all-kernels goes with a kernel: triton:cross-entropy or triton:adam")
    else:
        recording = record(what, args, seed)
    if not recording.steps:
        raise UserError(f"{what} computed nothing with Tensors: give it floats, as in "
                        "--args '[1.0, 2.0]'")
    if html is not None:
        _write_page(recording, html, lang)
        return
    view = view_of(recording, lang)
    if not 1 <= at <= len(view):
        raise UserError(f"at = {at} is outside the steps 1 to {len(view)}")
    console = Console()
    if plain or not (console.is_terminal and sys.stdin.isatty()):
        print_all(view, console)
    else:
        walk(view, console, at - 1)


def record(what: str, args: str | None = None, seed: int = 0) -> Recording:
    """The recording that `minillm step` shows.

    Raises:
        UserError: nothing has that name, or the arguments do not fit.
    """
    function, example = _own(what) if ".py" in what else _equation(what)
    given = _arguments(args) if args is not None else example(np.random.default_rng(seed))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no step, the command says in its own way
            return trace(function, *given)
    except (Exception, SystemExit) as error:  # whatever a learner's function does
        raise UserError(f"{what} cannot be computed with these arguments: {type(error).__name__}: {error}") \
            from error


def _kernel(name: str, seed: int, *, all_kernels: bool = False) -> KernelSteps:
    """The steps of a shipped Triton kernel on a small example; of all kernels that it needs, where asked."""
    key, rng = name.lower().replace("-", "_"), np.random.default_rng(seed)
    if key not in KERNELS:
        raise UserError(f"no kernel is named {name!r}: there are triton:cross-entropy and triton:adam")
    if importlib.util.find_spec("triton") is None:
        raise UserError("Triton is not installed: pip install triton (Linux)")
    kernels = importlib.import_module("kernels")
    testing = importlib.import_module("kernels.testing")

    def random(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    try:
        p, g, m, v = random(6), random(6), random(6), np.abs(random(6))
        with testing.recording_kernels() as found:
            if KERNELS[key] == _CROSS_ENTROPY:
                kernels.softmax_cross_entropy(random(2, 10), np.array([3, 1]), backend="triton")
            else:
                kernels.adam_step([p], [g], [m], [v], 3, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8,
                                  backend="triton")
    except ImportError as error:
        raise UserError(f"Triton cannot be imported: pip install triton ({error})") from error
    except RuntimeError as error:  # kernels.backends.BackendUnavailable: it compiles, say
        raise UserError(" ".join(str(error).split())) from error
    main, equation = KERNELS[key]
    return KernelSteps(found, None if all_kernels else main, equation=equation)


def _equation(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    key = equation_called(name)
    return LEDGER[key].reference, LEDGER[key].example


def _own(what: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The function `name` of `file.py:name`; its file is run."""
    path, _, name = what.rpartition(":")
    if not path or not name.isidentifier():
        raise UserError(f"{what!r} names no function: write file.py:name")
    if not Path(path).is_file():
        raise UserError(f"there is no file {path!r}: write file.py:name")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path!r} is not a Python file: write file.py:name")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the learner's file does
        raise UserError(f"{path!r} cannot be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    function = getattr(module, name, None)
    if not callable(function):
        own = [n for n, f in vars(module).items() if getattr(f, "__module__", "") == module.__name__]
        raise UserError(f"{path!r} has no function {name!r}: it has {', '.join(own) or 'none'}")

    def example(rng: np.random.Generator) -> tuple[Any, ...]:
        raise UserError(f"say what {name} shall be computed with, as in --args '[1.0, 2.0], 3'")

    return function, example


def _arguments(text: str) -> tuple[Any, ...]:
    """Numbers and lists become floats' arrays; integers, strings and None stay what they are."""
    try:
        values = ast.literal_eval(f"({text},)")
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise UserError(f"args = {text!r} must be numbers and lists, as in '[1.0, 2.0], 3'") from None
    return tuple(_argument(v) for v in values)


def _argument(value: Any) -> Any:
    if isinstance(value, float):
        return np.array(value)
    if not isinstance(value, list):
        return value
    try:
        return np.array(value)
    except ValueError:
        raise UserError(f"args: the rows of {value} are not of one length") from None


def _write_page(recording: Recording | KernelSteps, path: Path, lang: str) -> None:
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"html = {str(path)!r} must end in .html")
    recording.to_html(path, lang=lang)
    typer.echo(f"{path}: {len(recording.steps)} steps; open it in a browser.")
    of_ledger = isinstance(recording, KernelSteps) or equation_of(recording.function) is not None
    if of_ledger and importlib.util.find_spec("latex2mathml") is None:
        typer.echo("note: the page shows its equation as LaTeX text; drawn formulas need "
                   "`pip install latex2mathml`", err=True)
