"""What a judge says: which properties a kernel has, and of those that broke what is wrong, where, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .compare import Broken


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
        crash: the likely cause where a kernel ends the process in it.
    """

    name: str
    words: str
    check: Callable[[Any, Any], None]
    options: tuple[Mapping[str, Any], ...] | None = None
    dtypes: tuple[str, ...] | None = None
    strict: bool = False
    crash: str = ("an address outside the arrays was read or written: is every load and store masked where "
                  "the index reaches the row's length?")


@dataclass(frozen=True)
class Failure:
    """A property that broke.

    Attributes:
        name, words: of the property.
        case: with which it can be run again.
        broken: what was wrong, and where.
        cause: what a known wrong version suggests, or "".
        again: the call that runs this and nothing else.
    """

    name: str
    words: str
    case: Any
    broken: Broken
    cause: str = ""
    again: str = ""

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.words}", f"    {self.broken.what}"]
        if self.broken.where:
            lines.append(f"    {self.broken.where}: got {self.broken.got}, wanted {self.broken.wanted}")
        if self.broken.ulps is not None:
            lines.append(f"    largest error: {self.broken.size} of the output's type")
        if self.cause:
            lines.append(f"    likely cause: {self.cause}")
        lines.append(f"    again with: {self.again}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Outcome:
    """What came of one property.

    Attributes:
        name, words: of the property.
        passed: how many cases did.
        failure: the first that did not, or None.
        unsupported: what the kernel lacks.
        skipped: why the property was not tried, or "".
    """

    name: str
    words: str
    passed: int
    failure: Failure | None = None
    unsupported: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def verdict(self) -> str:
        """One of "pass", "FAIL", "not supported" and "not run"."""
        if self.skipped:
            return "not run"
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
        wide = max((len(o.name) for o in self.outcomes), default=0)
        lines = [f"{self.kernel}: {'ok' if self.ok else 'not ok'}", ""]
        for o in self.outcomes:
            note = f"  (not supported: {', '.join(o.unsupported)})" if o.unsupported and o.passed else ""
            if o.verdict in ("not supported", "not run"):
                note = f"  ({o.skipped or ', '.join(o.unsupported)})"
            lines.append(f"  {o.name:{wide}}  {o.verdict:13}  {o.words}{note}")
        return "\n".join(lines + self._failures())

    def _failures(self) -> list[str]:
        """Each failure, at length only if neither its words nor its cause were told before."""
        lines: list[str] = []
        told: dict[str, str] = {}
        same: dict[str, list[str]] = {}
        for failure in self.failures:
            text, cause = str(failure.broken), failure.cause
            if text + cause in told:
                same.setdefault(told[text + cause], []).append(failure.name)
            elif cause in told:
                lines += ["", f"{failure.name}: {failure.words}", f"    {text}",
                          f"    likely cause: as in {told[cause]}", f"    again with: {failure.again}"]
                told[text + cause] = failure.name
            else:
                lines += ["", str(failure)]
                told[text + cause] = failure.name
                if cause:
                    told[cause] = failure.name
        for first, names in same.items():
            lines += ["", f"the same as in {first}: {', '.join(names)}"]
        return lines
