"""What an assignment's checks.py declares: scenarios to run, and misconceptions to recognise."""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Scenario:
    """One test of an assignment: numbers go in, the student's module is used, numbers come out.

    Only `run` enters the worker, as source; so it must stand alone: it may use `np`, its two arguments and
    what it imports itself. `inputs`, `compare` and the reference stay with the grader.

    Attributes:
        inputs: inputs(rng) -> {name: array}; they must depend on rng, or they could be learnt by heart.
            Strings may be given and returned as uint8 arrays (`text.encode()`).
        run: run(student, inputs) -> {name: array-like}; `student` is the module that was handed in.
        compare: compare(got, want, inputs) -> None where they agree, or (English, Chinese) on what is wrong.
            None: each array has want's shape and |got - want| <= atol + rtol |want|.
        rtol, atol: how near is equal.
        cases: how many inputs are drawn; all must be right.
        in_part: credit for each case, in place of all or nothing.
        seconds: wall clock for one case; None for the assignment's limit.
        speed: ((ratio, share), ...): the share of the points for taking at most `ratio` times the reference's
            time, in rising order of ratio, such as ((1.5, 1.0), (4.0, 0.5)); empty where time does not count.
            Only a right answer is timed.
        mutation: names of functions of the reference that the student's *tests* are about (see mutation.py);
            then `inputs` and `run`, if given, are only the public check on the student's own machine.
        versions: keys of the misconceptions that the tests are shown, right and wrong ones; () for all.
    """

    inputs: Callable[[np.random.Generator], Arrays] | None = None
    run: Callable[[ModuleType, Arrays], Mapping[str, Any]] | None = None
    compare: Callable[[Arrays, Arrays, Arrays], tuple[str, str] | None] | None = None
    rtol: float = 1e-6
    atol: float = 1e-9
    cases: int = 3
    in_part: bool = False
    seconds: float | None = None
    speed: tuple[tuple[float, float], ...] = ()
    mutation: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.mutation and self.run is None:
            raise ValueError("a scenario has inputs and run, or mutation")
        if self.versions and not self.mutation:
            raise ValueError("versions are for a scenario with mutation")
        if self.run is not None and self.inputs is None:
            raise ValueError("a scenario with run needs inputs")
        if self.cases < 1:
            raise ValueError(f"cases = {self.cases} must be at least 1")
        ratios = [ratio for ratio, _ in self.speed]
        if ratios != sorted(ratios) or any(not 0 < share <= 1 for _, share in self.speed):
            raise ValueError("speed: rising ratios, each with a share in (0, 1]")

    def run_source(self) -> str:
        """The text of `run`, renamed to `run`, which is all that the worker sees of the test.

        Raises:
            ValueError: it is not a `def`, or uses a name that it does not have there.
        """
        assert self.run is not None
        text = textwrap.dedent(inspect.getsource(self.run))
        tree = ast.parse(text)
        function = tree.body[0]
        if not isinstance(function, ast.FunctionDef):
            raise ValueError("run must be a function written with def")
        function.name, function.decorator_list, function.returns = "run", [], None
        for argument in function.args.args:
            argument.annotation = None
        code = compile(tree, "<run>", "exec")
        body = next(c for c in code.co_consts if inspect.iscode(c))
        unknown = sorted(_globals(body) - {"np", *dir(builtins)})
        if unknown:
            raise ValueError(f"run uses {', '.join(unknown)}, which it does not have in the worker: pass it "
                             "in `inputs`, or define or import it inside run")
        return ast.unparse(tree) + "\n"


def _globals(code: Any) -> set[str]:
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for inner in code.co_consts:
        if inspect.iscode(inner):
            names |= _globals(inner)
    return names


@dataclass(frozen=True)
class Misconception:
    """A way to be wrong that students really are, as a small change of the solution's text.

    Attributes:
        key: a short name, unique in the assignment.
        edits: old -> new: each old text stands in the solution exactly once; "" for new deletes it.
        en, zh: what a good tutor says; never the solution itself.
        equivalent: True for a *right* variant: it must get full points, and a student's tests must accept it.
    """

    key: str
    edits: Mapping[str, str]
    en: str
    zh: str
    equivalent: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+", self.key):
            raise ValueError(f"misconception {self.key!r}: a key has lower-case letters, digits and _")
        if not self.edits:
            raise ValueError(f"misconception {self.key}: no edits")
        if not self.equivalent and (not self.en.strip() or not re.search(r"[\u4e00-\u9fff]", self.zh)):
            raise ValueError(f"misconception {self.key}: needs its text in English and in Chinese")

    def applied(self, solution: str) -> str:
        """The solution with the mistake in it.

        Raises:
            ValueError: an old text does not stand there exactly once.
        """
        for old, new in self.edits.items():
            found = solution.count(old)
            if found != 1:
                raise ValueError(f"misconception {self.key}: {old!r} stands {found} times in the solution, "
                                 "not once")
            solution = solution.replace(old, new)
        return solution
