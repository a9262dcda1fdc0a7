"""`minillm step`: walk through an equation, or a function of one's own, forwards and backwards."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from minillm.errors import UserError
from minillm.formulas import LEDGER
from minillm.stepper import Recording, trace
from minillm.stepper.kernel_view import KernelView
from minillm.stepper.recording_view import RecordingView
from minillm.stepper.terminal import View, print_all, walk

ALIASES = {"adam": "adam_step", "lstm": "lstm_cell", "sgd": "gradient_descent_step", "3.3": "dropout",
           "4.1": "softmax_cross_entropy", "5.1": "lstm_cell"}


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
) -> None:
    """Step through a computation: formula, code line and numbers, then the gradients on their way back.

    Examples:  minillm step adam   |   minillm step 4.1 --plain   |   minillm step my.py:f --args "[1.0, 2.0]"
    """
    if lang not in ("en", "zh"):
        raise UserError(f"lang = {lang!r} must be en or zh")
    if seed < 0:
        raise UserError(f"seed = {seed} must not be negative")
    view: View
    if what.startswith("triton:"):
        if html is not None or args is not None:
            raise UserError("a kernel is stepped in the terminal, with an example of its own: leave out "
                            "--html and --args")
        view = KernelView(_kernel(what.removeprefix("triton:"), seed), lang)
    else:
        recording = record(what, args, seed)
        if not recording.steps:
            raise UserError(f"{what} computed nothing with Tensors: give it floats, as in "
                            "--args '[1.0, 2.0]'")
        if html is not None:
            _write_page(recording, html, lang)
            return
        view = RecordingView(recording, lang)
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
        return trace(function, *given)
    except (TypeError, ValueError, IndexError, ArithmeticError, AttributeError) as error:
        raise UserError(f"{what} cannot be computed with these arguments: {type(error).__name__}: {error}") \
            from error


def _kernel(name: str, seed: int) -> Any:
    """The recording of a shipped Triton kernel on a small example."""
    key, rng = name.lower().replace("-", "_"), np.random.default_rng(seed)
    kernels = importlib.import_module("kernels")
    testing = importlib.import_module("kernels.testing")

    def random(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    try:
        with testing.recording_kernels() as found:
            if key in ("cross_entropy", "softmax_cross_entropy"):
                kernels.softmax_cross_entropy(random(2, 10), np.array([3, 1]), backend="triton")
            elif key in ("adam", "adam_step"):
                p, g, m = ([random(6)] for _ in range(3))
                kernels.adam_step(p, g, m, [np.abs(random(6))], 3, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8,
                                  backend="triton")
            else:
                raise UserError(f"no kernel is named {name!r}: there are triton:cross-entropy and "
                                "triton:adam")
    except ImportError as error:
        raise UserError(f"Triton is missing: pip install triton ({error})") from error
    except RuntimeError as error:  # kernels.backends.BackendUnavailable: no Triton, or it compiles
        raise UserError(" ".join(str(error).split())) from error
    return found


def _equation(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    key = name.lower().replace("-", "_")
    key = ALIASES.get(key, key)
    if key not in LEDGER:
        of_section = [row.name for row in LEDGER.values() if row.section == name]
        if of_section:
            key = of_section[0]
        else:
            near = get_close_matches(key, [*LEDGER, *ALIASES], n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else "`minillm formulas` lists them"
            raise UserError(f"no equation is named {name!r}: {hint}")
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
    except Exception as error:  # whatever the learner's file does
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


def _write_page(recording: Recording, path: Path, lang: str) -> None:
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"html = {str(path)!r} must end in .html")
    recording.to_html(path, lang=lang)
    typer.echo(f"{path}: {len(recording.steps)} steps; open it in a browser.")
