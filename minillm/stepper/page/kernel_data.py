"""A recording of kernels as the page's JSON: lines, accesses by element, variables, and where arrays lie."""

from __future__ import annotations

import ast
import itertools
import linecache
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from minillm.formulas import LEDGER
from minillm.stepper.formula import MathML, Plain, formula
from minillm.stepper.kernel import KernelSteps, node_at_work, ranges_of, statement_of
from minillm.stepper.source import Place

from .arrays import Arrays, number
from .code import Functions
from .data import NUMBERS, Formulas
from .equation import described

if TYPE_CHECKING:
    from kernels.testing.kernel_steps import Access, KernelStep, Line

ROWS = 8  # of a block that are shown, at most
TOUCHED = 1024  # elements of one load or store that are drawn, at most; fewer in a long recording
OFF = 64  # masked-off elements that are drawn, at most
WIDTH = 16  # elements in a row of an array with one axis


class KernelData:
    """What the page shows of kernels, as plain lists, dicts, texts and numbers: `json`."""

    def __init__(self, shown: KernelSteps) -> None:
        self.shown = shown
        self.arrays = Arrays(NUMBERS // (4 * len(shown.steps) + 1), rows=ROWS)
        self.formulas, self.functions = Formulas(), Functions()
        self._lines: dict[tuple[str, int], dict[str, Any]] = {}
        accesses = sum(len(s.accesses) for s in shown.steps)
        self._drawn = max(OFF, min(TOUCHED, NUMBERS // max(accesses, 1)))
        self._touched = {(s.launch, a.array) for s in shown.steps for a in s.accesses}
        programs = self._programs()
        row = LEDGER[shown.equation] if shown.equation is not None else None
        self.json: dict[str, Any] = {
            "function": shown.title, "equation": described(row) if row else None,
            "about": {lang: shown.about(lang) for lang in ("en", "zh")},
            "programs": programs, "launches": [self._launch(i) for i in range(len(shown.recording.launches))],
            "steps": [self._step(i) for i in range(len(shown.steps))],
            "functions": self.functions.found, "formulas": self.formulas.stored,
            "arrays": self.arrays.stored}

    def _programs(self) -> list[dict[str, Any]]:
        """Which steps belong to each program of each launch, one stretch after the other."""
        launches = [(s.launch, self.shown.launch(s).kernel) for s in self.shown.steps]
        times = Counter(kernel for _, kernel in dict.fromkeys(launches))
        seen: dict[str, list[int]] = {}
        found: list[dict[str, Any]] = []
        for i, (s, (launch, kernel)) in enumerate(zip(self.shown.steps, launches, strict=True)):
            if not found or (found[-1]["launch"], found[-1]["program"]) != (s.launch, s.program):
                of_kernel = seen.setdefault(kernel, [])
                if launch not in of_kernel:
                    of_kernel.append(launch)
                found.append({"launch": launch, "program": s.program, "kernel": kernel, "first": i,
                              "time": of_kernel.index(launch) + 1 if times[kernel] > 1 else None})
            found[-1]["last"] = i
        return found

    def _launch(self, index: int) -> list[dict[str, Any]]:
        """The arrays that the launch touches: how many elements there are from the first to the last, how
        far apart rows lie in memory (`row`), and how many of a row's places belong to the array. An array of
        one axis, or whose rows do not lie one after the other, is `flat`: rows of 16 elements.
        """
        found = []
        for name, view in self.shown.recording.launches[index].arrays.items():
            if (index, name) in self._touched:
                span = view.nbytes // view.itemsize
                flat = len(view.shape) < 2 or view.strides[-1] != 1 or view.strides[-2] < view.shape[-1]
                found.append({"name": name, "shape": list(view.shape), "dtype": view.dtype, "span": span,
                              "flat": flat, "row": WIDTH if flat else view.strides[-2],
                              "columns": WIDTH if flat else view.shape[-1]})
        return found

    def _step(self, index: int) -> dict[str, Any]:
        s = self.shown.steps[index]
        return {"launch": s.launch, "program": s.program, "depth": s.depth, "function": s.function,
                "places": [self._place(line) for line in s.places], "formula": self._formula(s),
                "head": _head(s), "holds": self._holds(index),
                "bound": [self._bound(name, v) for name, v in s.bound.items()],
                "accesses": [self._access(a) for a in s.accesses]}

    def _holds(self, index: int) -> bool:
        """Whether what is inside the block that this line is the head of comes next."""
        s = self.shown.steps[index]
        node = statement_of(s)
        if not isinstance(node, ast.If | ast.While | ast.For):
            return False
        later = itertools.islice(self.shown.steps, index + 1, None)
        after = next((t for t in later if t.depth <= s.depth), None)
        if after is None or (after.launch, after.program, after.depth) != (s.launch, s.program, s.depth):
            return False
        return node.body[0].lineno <= after.line <= (node.body[-1].end_lineno or 0)

    def _place(self, at: Line) -> dict[str, Any]:
        """The whole of the lines, without their margins."""
        key = (at.file, at.line)
        if key not in self._lines:
            first, last = (linecache.getline(at.file, n).rstrip() for n in (at.line, at.end_line))
            margin = len(first) - len(first.lstrip())
            self._lines[key] = self.functions.place(
                Place(at.file, at.function, at.line, at.end_line, margin, len(last)))
        return self._lines[key]

    def _formula(self, s: KernelStep) -> int | None:
        node = node_at_work(s)
        return None if node is None else self.formulas.add(formula(node, MathML()), formula(node, Plain()))

    def _bound(self, name: str, value: Any) -> dict[str, Any]:
        label = self.formulas.of(ast.Name(name))
        return {"name": name, "label": label, "parts": [self._part(v) for v in _flat(value)]}

    def _part(self, value: Any) -> dict[str, Any]:
        """A number, an array, or a pointer: into which argument, and where to."""
        if isinstance(value, tuple):
            array, offsets = value
            text = ranges_of(offsets) if array else hex(int(np.ravel(offsets)[0]))
            return {"pointer": array, "text": text,
                    "data": self.arrays.add(offsets) if array and np.size(offsets) > 1 else None}
        return {"data": self.arrays.add(np.asarray(value))}

    def _access(self, a: Access) -> dict[str, Any]:
        kept = np.broadcast_to(True if a.mask is None else a.mask, a.offsets.shape)
        at, values = a.offsets[kept], a.values[kept]
        off = np.setdiff1d(a.offsets[~kept], at)
        return {"kind": a.kind, "array": a.array, "offsets": self.arrays.add(a.offsets),
                "values": self.arrays.add(a.values),
                "mask": None if a.mask is None else self.arrays.add(kept),
                "size": int(a.offsets.size), "count": int(at.size), "where": ranges_of(at),
                "touched": at[:self._drawn].tolist(),
                "numbers": [number(v) for v in values[:self._drawn].tolist()],
                **({} if a.before is None or a.after is None else {
                    "operation": a.operation, "before": self.arrays.add(a.before),
                    "found": [number(v) for v in a.before[kept][:self._drawn].tolist()],
                    "left": [number(v) for v in a.after[kept][:self._drawn].tolist()]}),
                "off": off[:OFF].tolist(), "offWhere": ranges_of(off)}


def _flat(value: Any) -> list[Any]:
    """The parts of a tuple that is no pointer, in order; of all else, itself."""
    if isinstance(value, tuple) and not (len(value) == 2 and isinstance(value[0], str)):
        return [part for v in value for part in _flat(v)]
    return [value]


def _head(s: KernelStep) -> str:
    """The word that a line begins with where it says what runs next, else ""."""
    word = s.text.partition(" ")[0]
    return word if word in ("if", "elif", "for", "while", "return") else ""
