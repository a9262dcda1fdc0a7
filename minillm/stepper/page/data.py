"""A recording as the page's JSON: numbers, formulas and code, each stored once and referred to by number."""

from __future__ import annotations

import ast
import functools
from typing import Any

from minillm.stepper.equation import equation_of
from minillm.stepper.formula import MathML, Plain, formula
from minillm.stepper.naming import line_at_work
from minillm.stepper.recording import Recording, Step
from minillm.stepper.source import Place, expression, statement, syntax_tree

from .arrays import Arrays
from .code import Functions
from .equation import described

# What an op is called where the program writes it with a sign.
_SIGNS: dict[type[ast.AST], str] = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide", ast.Pow: "power",
    ast.MatMult: "matmul", ast.USub: "negative", ast.FloorDiv: "floor_divide", ast.Mod: "remainder",
    ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater", ast.GtE: "greater_equal"}
_ALIASES = {"amax": "max", "amin": "min", "abs": "absolute", "true_divide": "divide", "dot": "matmul"}
# The letters that the tables of derivative rules give to an op's arguments.
_RULE_NAMES = {"x": 0, "a": 0, "b": 1, "lo": 1, "hi": 2}
_RULE_NAMES_OF = {"where": {"c": 0, "a": 1, "b": 2}}
NUMBERS = 500_000  # of all arrays together, roughly: some megabytes
LONGEST_TITLE = 16  # characters in a box of the graph


class Formulas:
    """Formulas as MathML and as text."""

    def __init__(self) -> None:
        self.stored: list[dict[str, str]] = []
        self._numbers: dict[tuple[str, str], int] = {}

    def add(self, mathml: str, text: str) -> int:
        """The number of a formula."""
        key = (mathml, text)
        if key not in self._numbers:
            self._numbers[key] = len(self.stored)
            self.stored.append({"mathml": mathml, "text": text})
        return self._numbers[key]

    def of(self, node: ast.AST, now: ast.AST | None = None) -> int:
        """The number of a syntax tree's formula."""
        return self.add(formula(node, MathML(), now), formula(node, Plain(), now))

    def word(self, text: str) -> int:
        """The number of a plain word."""
        writer = MathML()
        return self.add(writer.word(text), text)


class Data:
    """What the page shows of a recording.

    Attributes:
        titles: a short text for each value, for the graph.
        json: all the rest, as plain lists, dicts, texts and numbers.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.arrays = Arrays(NUMBERS // (4 * len(recording.steps) + 1))
        self.formulas, self.functions = Formulas(), Functions()
        self._lines: dict[tuple[Place, int | None], int | None] = {}
        self._labels: list[int | None] = [None] * len(recording.values)
        self.titles = [_title(ast.Name(v.name), "") if v.name else "" for v in recording.values]
        for s in recording.forward_steps:
            self._label(s)
        steps = [self._step(s) for s in recording.steps]
        values = [self._value(i) for i in range(len(recording.values))]
        row = equation_of(recording.function)
        self.json: dict[str, Any] = {
            "function": getattr(recording.function, "__name__", type(recording.function).__name__),
            "equation": described(row) if row else None,
            "functions": self.functions.found, "formulas": self.formulas.stored,
            "arrays": self.arrays.stored, "values": values, "steps": steps,
            "outputs": recording.outputs, "result": recording.result}

    def _label(self, s: Step) -> None:
        """Name a step's result by its variable or expression, and its nameless inputs as the code does."""
        for i, node in zip(s.inputs, arguments(s), strict=True):
            if i is not None and self._labels[i] is None and node is not None:
                self._labels[i] = self.formulas.of(node)
                self.titles[i] = self.titles[i] or _title(node, "")
        name = self.recording.values[s.value].name
        node = ast.Name(name) if name else expression(s.places[-1]) if s.places else None
        self._labels[s.value] = self.formulas.of(node) if node else self.formulas.word(s.op)
        self.titles[s.value] = _title(node, s.op)

    def _value(self, index: int) -> dict[str, Any]:
        v = self.recording.values[index]
        label = self._labels[index]
        if label is None:
            label = self.formulas.of(ast.Name(v.name)) if v.name.isidentifier() else self.formulas.word(
                v.name or v.kind)
        self.titles[index] = self.titles[index] or v.kind
        return {"name": v.name, "kind": v.kind, "label": label, "again": self.recording.alike.get(index),
                "madeBy": v.made_by, "data": self.arrays.add(v.data), "gradient": self.arrays.add(v.gradient)}

    def _step(self, s: Step) -> dict[str, Any]:
        inputs = [{"value": i, "label": None if node is None else self.formulas.of(node)}
                  for i, node in zip(s.inputs, arguments(s), strict=True)]
        step: dict[str, Any] = {
            "direction": s.direction, "op": s.op, "value": s.value, "inputs": inputs,
            "places": [self.functions.place(p) for p in s.places], "formula": self._formula(s)}
        if s.direction == "backward":
            step |= {"argument": s.argument, "rule": self._rule(s)}
            step |= {part: self.arrays.add(getattr(s, part))
                     for part in ("incoming", "local", "contribution", "accumulated")}
        return step

    def _formula(self, s: Step) -> int | None:
        """The line of code at work; of an `if`, only the expression."""
        if not s.places:
            return None
        key = (s.places[-1], s.item)
        if key not in self._lines:
            found = line_at_work(s)
            self._lines[key] = self.formulas.of(*found) if found else None
        return self._lines[key]

    def _rule(self, s: Step) -> dict[str, Any] | None:
        """A derivative rule: as a formula where it is one, with what its letters stand for."""
        if not s.rule:
            return None
        try:
            node = ast.parse(s.rule, mode="eval").body
        except SyntaxError:  # the name of a function, and what it does
            return {"formula": None, "text": s.rule, "letters": {}}
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        if not used & {"g", "y"}:
            return {"formula": None, "text": s.rule, "letters": {}}
        places = _RULE_NAMES_OF.get(s.op, _RULE_NAMES)
        letters = {name: i for name, i in places.items()
                   if name in used and i < len(s.inputs) and s.inputs[i] is not None}
        return {"formula": self.formulas.of(node), "text": s.rule, "letters": letters}


def arguments(s: Step) -> list[ast.expr | None]:
    """How the program writes each argument of a step's op; None where it cannot be told."""
    none: list[ast.expr | None] = [None] * len(s.inputs)
    if not s.places:
        return none
    node: ast.AST | None = expression(s.places[-1]) or statement(s.places[-1])
    given: list[ast.expr]
    match node:
        case ast.BinOp(left=a, op=op, right=b) if _SIGNS.get(type(op)) == s.op:
            given = [a, b]
        case ast.AugAssign(target=a, op=op, value=b) if _SIGNS.get(type(op)) == s.op:
            given = [a, b]
        case ast.Compare(left=a, ops=[op], comparators=[b]) if _SIGNS.get(type(op)) == s.op:
            given = [a, b]
        case ast.UnaryOp(op=op, operand=a) if _SIGNS.get(type(op)) == s.op:
            given = [a]
        case ast.Subscript(value=a, slice=b) if s.op == "getitem":
            given = [a, b]
        case ast.Call(func=ast.Attribute(value=owner, attr=name), args=args) if _is(name, s.op):
            is_method = not isinstance(owner, ast.Name) or owner.id not in _imported(s.places[-1].file)
            given = [owner, *args] if is_method else args
        case ast.Call(func=ast.Name(id=name), args=args) if _is(name, s.op):
            given = args
        case _:
            return none
    if any(isinstance(a, ast.Starred) for a in given):
        return none
    return [*given, *none][:len(none)]


@functools.lru_cache(maxsize=64)
def _imported(file: str) -> set[str]:
    """The names that a file imports: `np`, and any other module that a function is called from."""
    tree = syntax_tree(file)
    return {alias.asname or alias.name.partition(".")[0] for node in (ast.walk(tree) if tree else ())
            if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names} | {"np", "math"}


def _is(name: str, op: str) -> bool:
    return _ALIASES.get(name, name) == op


def _title(node: ast.AST | None, op: str) -> str:
    """The text in a value's box: its formula where that is short, else the op."""
    text = formula(node, Plain()).strip() if node else op
    return text if len(text) <= LONGEST_TITLE or not op else op
