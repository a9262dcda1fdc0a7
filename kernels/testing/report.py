"""The judge: runs a table of properties on somebody's kernel and says in plain words which of them broke."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernels.backends import BackendUnavailable

from .compare import Broken, Unsupported


@dataclass(frozen=True)
class Property:
    """One thing that is true of every right kernel.

    Attributes:
        name: of the function that checks it.
        words: what holds, in a sentence.
        check: takes (kernel, case) and raises `Broken`.
        options: sets of options to run it with; None is what the judge was asked to use.
        dtypes: element types it makes sense for; None is all.
        strict: asked of the shipped kernels only, not of a learner's.
    """

    name: str
    words: str
    check: Callable[[Any, Any], None]
    options: tuple[Mapping[str, Any], ...] | None = None
    dtypes: tuple[str, ...] | None = None
    strict: bool = False


@dataclass(frozen=True)
class Failure:
    """A property that broke.

    Attributes:
        name, words: of the property.
        case: with which it can be run again.
        broken: what was wrong, and where.
        cause: what a known wrong version suggests, or "".
    """

    name: str
    words: str
    case: Any
    broken: Broken
    cause: str = ""

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.words}", f"    {self.broken.what}"]
        if self.broken.where:
            lines.append(f"    {self.broken.where}: got {self.broken.got}, wanted {self.broken.wanted}")
        if self.broken.ulps is not None:
            lines.append(f"    largest error: {self.broken.ulps:.3g} ulp of the output's type")
        if self.cause:
            lines.append(f"    likely cause: {self.cause}")
        lines.append(f"    again with: {self.case}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Outcome:
    """What came of one property: how many cases passed, the first that failed, options the kernel lacks."""

    name: str
    words: str
    passed: int
    failure: Failure | None = None
    unsupported: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """One of "pass", "FAIL" and "not supported"."""
        return "FAIL" if self.failure else "pass" if self.passed else "not supported"


@dataclass(frozen=True)
class Report:
    """What the judge found; `str()` of it is a table for people.

    Attributes:
        kernel: its name.
        outcomes: one for each property, in order.
    """

    kernel: str
    outcomes: tuple[Outcome, ...]

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Every property that broke, with its first failing case."""
        return tuple(o.failure for o in self.outcomes if o.failure)

    @property
    def ok(self) -> bool:
        """No property broke, and at least one was tried."""
        return not self.failures and any(o.passed for o in self.outcomes)

    def __str__(self) -> str:
        wide = max(len(o.name) for o in self.outcomes)
        lines = [f"{self.kernel}: {'ok' if self.ok else 'not ok'}", ""]
        for o in self.outcomes:
            note = f"  (not supported: {', '.join(o.unsupported)})" if o.unsupported and o.passed else ""
            if o.verdict == "not supported":
                note = f"  ({', '.join(o.unsupported)})"
            lines.append(f"  {o.name:{wide}}  {o.verdict:13}  {o.words}{note}")
        told: dict[str, str] = {}
        for failure in self.failures:
            text = str(failure.broken) + failure.cause
            if text in told:
                lines += ["", f"{failure.name}: the same as in {told[text]}, with {failure.case}"]
            else:
                lines += ["", str(failure)]
                told[text] = failure.name
        return "\n".join(lines)


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
            if self.strict:
                raise Broken(f"the kernel raised {type(error).__name__}: {_line(error)}") from error
            named = [name for name in options if name in str(error)]
            if isinstance(error, TypeError) and (named or "unexpected keyword" in str(error)):
                raise Unsupported(", ".join(named) or _line(error)) from error
            raise Broken(f"the kernel raised {type(error).__name__}: {_line(error)}") from error


def accepts(fn: Callable[..., Any], name: str) -> bool:
    """Whether fn takes a keyword of that name, as far as its signature tells."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.kind == p.VAR_KEYWORD or (p.name == name and p.kind != p.POSITIONAL_ONLY)
               for p in parameters)


def judge(title: str, kernel: Kernel, properties: Iterable[Property],
          cases: Callable[[Property], Iterable[Any]], diagnose: Callable[[Kernel], str]) -> Report:
    """Run every property on its cases, in order; the first case that fails ends the property.

    Args:
        title: the kernel's name, for the report.
        kernel: what to judge.
        properties: in the order of the report.
        cases: those of a property, the smallest first.
        diagnose: reads kernel.calls and names a likely cause, or "".
    """
    outcomes = []
    for p in properties:
        if p.strict and not kernel.strict:
            continue
        passed, failure, unsupported = 0, None, dict[str, None]()
        for case in cases(p):
            kernel.calls.clear()
            try:
                p.check(kernel, case)
                passed += 1
            except Unsupported as missing:
                unsupported[str(missing)] = None
            except Broken as broken:
                failure = Failure(p.name, p.words, case, broken, diagnose(kernel))
                break
        outcomes.append(Outcome(p.name, p.words, passed, failure, tuple(unsupported)))
    return Report(title, tuple(outcomes))


def element_types(dtypes: Iterable[str], probe: Callable[[str], Any]) -> tuple[list[str], Outcome | None]:
    """The element types that a kernel takes and gives back as it should, and what to say of the others.

    A kernel that was written for float32 alone breaks one property that way, and not each of them.

    Args:
        dtypes: to try.
        probe: makes a plain call with one; raises `Broken` if its results are of the wrong types.
    """
    given, usable, failure = list(dtypes), [], None
    words = "results are of the types that they should be, for logits of every type"
    for dtype in given:
        try:
            probe(dtype)
        except Unsupported:
            pass
        except Broken as broken:
            failure = failure or Failure("element_types", words, f"dtypes=({dtype!r},)", broken,
                                         "written for one type: judge it with dtypes=('float32',)")
            continue
        usable.append(dtype)
    if failure is None or not usable:
        return given, None
    return usable, Outcome("element_types", words, len(usable), failure)


def title_of(fn: Callable[..., Any]) -> str:
    """A function's name for people."""
    return str(getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None) or type(fn).__name__)


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200]
