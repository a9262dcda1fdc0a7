"""The judge: runs a table of properties on somebody's kernel, each in a process of its own."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from kernels.arrays import numpy_has
from kernels.backends import BackendUnavailable

from . import isolate
from .compare import Broken, Unsupported
from .report import Failure, Outcome, Property

MOST_TIMEOUTS = 2  # properties that may take too long before the rest is left out
TYPES = ("float32", "float16", "bfloat16")


@dataclass
class Kernel:
    """Somebody's function, called with care.

    Attributes:
        fn: the function.
        strict: it is one of the shipped kernels: no warning is hidden, and bits must match the formula's.
        calls: what it was given and gave back since the list was last cleared, for the diagnosis.
    """

    fn: Callable[..., Any]
    strict: bool = False
    calls: list[Any] = field(default_factory=list)

    hints: ClassVar[Mapping[str, str]] = {}  # part of an exception's text: its likely cause
    judged_by: ClassVar[str] = ""  # name of the judge that calls it

    def call(self, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """fn(*args, **options).

        Raises:
            Unsupported: it has no such option, or says so.
            Broken: it raised anything else.
        """
        for name in options:
            if not accepts(self.fn, name):
                raise Unsupported(name)
        try:
            with warnings.catch_warnings() if not self.strict else nullcontext():
                if self.strict:
                    return self.fn(*args, **options)
                warnings.simplefilter("ignore")
                with np.errstate(all="ignore"):
                    return self.fn(*args, **options)
        except BackendUnavailable:
            raise
        except NotImplementedError as error:
            raise Unsupported(_line(error) or ", ".join(options)) from error
        except Exception as error:
            named = [name for name in options if name in str(error)]
            refusal = isinstance(error, TypeError) and (named or "unexpected keyword" in str(error))
            if refusal and not self.strict:
                raise Unsupported(", ".join(named) or _line(error)) from error
            text = f"{type(error).__name__}: {_line(error)}"
            cause = next((words for part, words in {**_HINTS, **self.hints}.items() if part in text), "")
            raise Broken(f"the kernel raised {text}", cause=cause) from error


_INTERPRET = ("Triton compiles for a GPU, and the arrays are the CPU's: set TRITON_INTERPRET=1 before the "
              "first import of triton, or import kernels.triton before it")
_HINTS = {"StrayWrite": "a store without its mask: is every one masked where the index reaches the length?",
          "active drivers": _INTERPRET, "cannot be accessed from Triton": _INTERPRET}


def accepts(fn: Callable[..., Any], name: str) -> bool:
    """Whether fn takes a keyword of that name, as far as its signature tells."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.kind == p.VAR_KEYWORD or (p.name == name and p.kind != p.POSITIONAL_ONLY)
               for p in parameters)


# ---- The judge ---------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Judge:
    """How to judge.

    Attributes:
        kernel: what to judge.
        diagnose: reads kernel.calls and names a likely cause, or "".
        only: names of properties; empty is all.
        isolated: each property in a child process, which a crash or an endless loop ends.
        limit: seconds that a case may take then.
    """

    kernel: Kernel
    diagnose: Callable[[Any], str]
    only: Sequence[str] = ()
    isolated: bool = False
    limit: float = 60.0

    def __call__(self, properties: Iterable[Property],
                 cases: Callable[[Property], Iterable[Any]]) -> tuple[Outcome, ...]:
        """Run every property on its cases, in order; the first case that fails ends the property.

        Args:
            properties: in the order of the report.
            cases: those of a property, the smallest first.
        """
        outcomes: list[Outcome] = []
        timeouts = 0
        for p in properties:
            if (p.strict and not self.kernel.strict) or (self.only and p.name not in self.only):
                continue
            if timeouts == MOST_TIMEOUTS:
                outcomes.append(Outcome(p.name, p.words, 0, skipped=f"{timeouts} others took too long"))
                continue
            tried = list(cases(p))
            try:
                found = self.run(functools.partial(self._try, p, tried))
            except isolate.Ended as end:
                timeouts += end.slow
                cause = "a loop that never ends, or a deadlock" if end.slow else p.crash
                failure = self._failure(p, tried[end.at], Broken(end.words), cause)
                outcomes.append(Outcome(p.name, p.words, end.at, failure))
                continue
            wrong = found["failed"]
            failed = None if wrong is None else self._failure(
                p, tried[wrong["index"]], Broken(*wrong["broken"]), wrong["cause"])
            lacks = found["unsupported"] if tried else ["for other element types"]
            outcomes.append(Outcome(p.name, p.words, found["passed"], failed, tuple(lacks)))
        return tuple(outcomes)

    def run(self, work: Callable[[isolate.Progress], Any]) -> Any:
        """What `work` returns, here or in a child."""
        return isolate.in_child(work, self.limit) if self.isolated else work(lambda index: None)

    def again(self, name: str, argument: str) -> str:
        """The call that runs one property with one more argument, to paste."""
        title = title_of(self.kernel.fn)
        strict = ", strict=True" if self.kernel.strict else ""
        return (f"{self.kernel.judged_by}({title if title.isidentifier() else 'fn'}, only={name!r}, "
                f"{argument}{strict})")

    def _failure(self, p: Property, case: Any, broken: Broken, cause: str) -> Failure:
        return Failure(p.name, p.words, case, broken, cause, self.again(p.name, f"case={case}"))

    def _try(self, p: Property, cases: Sequence[Any], progress: isolate.Progress) -> dict[str, Any]:
        """Which cases pass, in values that JSON holds."""
        passed, unsupported = 0, dict[str, None]()
        for index, case in enumerate(cases):
            progress(index)
            self.kernel.calls.clear()
            try:
                p.check(self.kernel, case)
                passed += 1
            except Unsupported as missing:
                unsupported[str(missing)] = None
            except Broken as broken:
                return {"passed": passed, "unsupported": list(unsupported), "failed": {
                    "index": index, "broken": values_of(broken),
                    "cause": broken.cause or self.diagnose(self.kernel)}}
        return {"passed": passed, "unsupported": list(unsupported), "failed": None}


def values_of(broken: Broken) -> list[Any]:
    """The arguments that make a `Broken` again, as JSON holds them."""
    return [broken.what, broken.where, str(broken.got), str(broken.wanted), broken.ulps, broken.cause]


def element_types(judge: Judge, dtypes: Sequence[str],
                  probe: Callable[[str], Any]) -> tuple[Sequence[str], Outcome | None]:
    """The element types that a kernel takes and gives back as it should, and what to say of the others.

    A kernel that was written for float32 alone breaks one property that way, and not each of them. One that
    ends the process is left to the properties.

    Args:
        judge: runs the calls.
        dtypes: to try.
        probe: makes a plain call with one; raises `Broken` if its results are of the wrong types.
    """
    def work(progress: isolate.Progress) -> list[Any]:
        wrong = []
        for i, dtype in enumerate(dtypes):
            progress(i)
            try:
                probe(dtype)
            except Unsupported:
                pass
            except Broken as broken:
                wrong.append((dtype, values_of(broken)))
        return wrong

    try:
        wrong = judge.run(work)
    except isolate.Ended:
        return dtypes, None
    usable = [dtype for dtype in dtypes if dtype not in [name for name, _ in wrong]]
    name, words = "element_types", "results are of the types that they should be, for logits of every type"
    if not wrong or not usable:
        return dtypes, Outcome(name, words, len(usable)) if usable and name in judge.only else None
    again = judge.again(name, f"dtypes={wrong[0][0]!r}")
    types = repr(usable[0]) if len(usable) == 1 else repr(tuple(usable))
    failure = Failure(name, words, f"dtypes={wrong[0][0]!r}", Broken(*wrong[0][1]),
                      f"not written for {wrong[0][0]}: judge it with dtypes={types}", again)
    return usable, Outcome(name, words, len(usable), failure)


# ---- What the judge was asked ------------------------------------------------------------------------

def chosen_properties(properties: Iterable[Property], only: str | Iterable[str],
                      *others: str) -> tuple[str, ...]:
    """`only` as names.

    Raises:
        ValueError: there is no such property.
    """
    names = (only,) if isinstance(only, str) else tuple(only)
    known = [*others, *(p.name for p in properties)]
    for name in names:
        if name not in known:
            raise ValueError(f"only = {name!r} is no property; there are {', '.join(known)}")
    return names


def known_options(sets: Iterable[Mapping[str, Any]], known: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
    """The sets of options, as a tuple.

    Raises:
        ValueError: one names an option that no kernel has.
    """
    checked = tuple(sets)
    for options in checked:
        if not isinstance(options, Mapping):
            raise ValueError(f"options = {options!r} must be dictionaries, as in options=[{{}}]")
        for name in options:
            if name not in known:
                raise ValueError(f"options: {name!r} is no option; there are {', '.join(known)}")
    return checked


def element_type(given: Any) -> str:
    """The name of an element type, given as a name, a NumPy dtype or a scalar's class.

    Raises:
        ValueError: kernels are not judged with such elements.
    """
    try:
        name = given if isinstance(given, str) and given in TYPES else np.dtype(given).name
    except TypeError:
        name = ""
    if name not in TYPES:
        raise ValueError(f"dtypes: {given!r} is none of {', '.join(map(repr, TYPES))}")
    return name


def available(names: Iterable[str]) -> list[str]:
    """Those that NumPy has here, each once."""
    return [name for name in dict.fromkeys(names) if numpy_has(name)]


def isolation(asked: bool | None, device: str) -> bool:
    """Whether to run properties in children: None is wherever that is safe.

    Raises:
        ValueError: it was asked for where it cannot be.
    """
    safe = isolate.possible() and (device == "cpu" or device.endswith(" cpu"))
    if asked and not safe:
        raise ValueError("isolate = True needs os.fork, arrays of the CPU, and a process that has not used a "
                         "GPU and is not on macOS")
    return safe if asked is None else asked


def title_of(fn: Callable[..., Any]) -> str:
    """A function's name for people: without where it was defined, with what a partial sets."""
    if isinstance(fn, functools.partial):
        fixed = ", ".join([*map(repr, fn.args), *(f"{k}={v!r}" for k, v in fn.keywords.items())])
        return f"{title_of(fn.func)}({fixed})"
    name = str(getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None) or type(fn).__name__)
    return name.rpartition("<locals>.")[2]


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200]
