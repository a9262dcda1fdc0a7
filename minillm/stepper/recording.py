"""`trace`: run a function once and keep every step, forwards and backwards, to walk through at leisure.

The engine tells an observer of each op that it computes and of each derivative that it passes back
(`autograd.state`), so that what is shown is what was computed, and not a second copy of it.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import numpy as np

from minillm.autograd.rules import RULES
from minillm.autograd.state import state
from minillm.autograd.tensor import Tensor, op_name, output
from minillm.autograd.walk import backward_pass

from .naming import Again, loop_of, named_alike, unpacked_names
from .rule_text import rule_text
from .source import Place, assigned_name, places

LIMIT = 20_000  # steps that a recording may have


@dataclass
class Value:
    """A number or array of the computation: a node of the graph.

    Attributes:
        index: its place in `Recording.values`.
        name: of the variable that holds it, or "".
        kind: "input" (an argument that is differentiated), "constant" or "computed".
        data: the numbers, a copy.
        made_by: the step that computed it, or None.
        gradient: d(result)/d(this) in the end, or None where none came.
        was: where an array was changed in place, as by `w.data -= ...`, the value that it was before.
    """

    index: int
    name: str
    kind: str
    data: np.ndarray
    made_by: int | None = None
    gradient: np.ndarray | None = None
    was: int | None = None


@dataclass
class Step:
    """One step: an op computed, or a derivative passed back.

    Attributes:
        index: its place in `Recording.steps`.
        direction: "forward" or "backward".
        op: name of the op.
        places: where in the source, from the traced function inwards; the last is the expression itself.
        inputs: the op's arguments as values, constants too; None for what is no number, such as an axis.
        value: forward, the value computed; backward, the value whose gradient is passed on.
        argument: backward, which of the inputs receives; None where a gradient is complete and
            begins to be passed on.
        incoming: backward, dL/dy of the op's result y.
        local: backward, dy/dx where it is of y's shape, else None.
        contribution: backward, what this step adds to dL/dx: incoming times the derivative.
        accumulated: backward, dL/dx after this step.
        rule: backward, the line of the derivative table at work.
        item: of x[2] and of the loop that takes it, 2; else None.
    """

    index: int
    direction: str
    op: str
    places: tuple[Place, ...]
    inputs: tuple[int | None, ...]
    value: int
    argument: int | None = None
    incoming: np.ndarray | None = None
    local: np.ndarray | None = None
    contribution: np.ndarray | None = None
    accumulated: np.ndarray | None = None
    rule: str = ""
    item: int | None = None


@dataclass(repr=False)
class Recording:
    """A computation, step by step.

    Attributes:
        function: what was traced.
        values: all numbers and arrays, in the order in which they came up.
        steps: all steps, forward ones first.
        inputs: the arguments' values, by name.
        outputs: what the function returned, those that are Tensors.
        result: what the backward steps differentiate: the first output, summed where it is an array.
    """

    function: Callable[..., Any]
    values: list[Value] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    outputs: list[int] = field(default_factory=list)
    result: int | None = None

    @property
    def forward_steps(self) -> list[Step]:
        return [s for s in self.steps if s.direction == "forward"]

    def gradient(self, name: str) -> np.ndarray | None:
        """d(result)/d(argument), as the engine's `backward` gives it.

        Raises:
            KeyError: no argument has that name.
        """
        if name not in self.inputs:
            known = ", ".join(map(repr, self.inputs)) or "none: no argument is an array of floats or a Tensor"
            raise KeyError(f"no argument {name!r} to differentiate by; there are {known}")
        index = self.inputs[name]
        gradients = [g for g in (self.values[i].gradient for i in self.versions(index)) if g is not None]
        return functools.reduce(np.add, gradients) if gradients else None

    def versions(self, index: int) -> list[int]:
        """A value, and what it became each time that it was changed in place."""
        found = [index]
        for v in self.values[index + 1:]:
            if v.was == found[-1]:
                found.append(v.index)
        return found

    @functools.cached_property
    def alike(self) -> dict[int, Again]:
        """Which is which of the values whose variables have one name; see `naming.named_alike`."""
        return named_alike(self)

    def uses(self, value: int) -> list[int]:
        """The steps that a number goes through, in order: where it comes from and all that it goes into."""
        return [s.index for s in self.steps if s.value == value or value in s.inputs]

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        forward = len(self.forward_steps)
        shapes = ", ".join(f"{n} {self.values[i].data.shape}" for n, i in self.inputs.items())
        result = "" if self.result is None else f"; result of shape {self.values[self.result].data.shape}"
        return (f"<Recording of {name}({shapes}): {forward} steps forward, {len(self.steps) - forward} back"
                f"{result}; .to_html(path), .gradient(name), or show it in a notebook>")

    def to_html(self, path: str | os.PathLike[str] | None = None, *, title: str | None = None,
                lang: str = "en") -> str:
        """One HTML file to step through it, without a network; see `minillm.stepper.page.to_html`."""
        from .page import to_html

        return to_html(self, path, title=title, lang=lang)

    def _repr_html_(self) -> str:
        """What a notebook shows: the same page, in a frame."""
        from .page import in_notebook

        return in_notebook(self)


def trace(f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Recording:
    """Compute f(*args, **kwargs) and d(result)/d(arguments), and record every step of both.

    Args:
        f: any function that computes with Tensors, NumPy functions among them.
        args, kwargs: its arguments. Arrays of floats, and Tensors that require a gradient, are what is
            differentiated; where there are neither arrays of floats nor Tensors, floats, which f gets as
            Tensors without axes. All else is passed as it is.

    Returns:
        The recording. If f returns several values, the first that depends on an argument is
        differentiated; if that is an array, its sum. What f goes back over itself (`backward`, `grad`) and
        what other Tensors were computed from before are not part of it.

    Warns:
        UserWarning: f computed nothing with Tensors, and there is no step.

    Raises:
        TypeError: f is not callable.
        ValueError: there are more than 20,000 steps.
        What f raises.
    """
    if not callable(f):
        raise TypeError(f"f must be a function, not {type(f).__name__}")
    recorder = Recorder(f)
    if not any(_is_array(a) for a in (*args, *kwargs.values())):
        args = tuple(map(_without_axes, args))
        kwargs = {name: _without_axes(a) for name, a in kwargs.items()}
    names = argument_names(f, args)
    given = [recorder.argument(name, a) for name, a in zip(names, args, strict=True)]
    named = {name: recorder.argument(name, a) for name, a in kwargs.items()}
    before, state.observer = state.observer, recorder
    try:
        returned = f(*given, **named)
        recorder.finish(returned)
    finally:
        state.observer = before
    if not recorder.recording.steps:
        warnings.warn("nothing was computed with Tensors, so there is no step: give arrays of floats, such "
                      "as np.array([1.0, 2.0]), or floats", stacklevel=2)
    return recorder.recording


def _is_array(x: Any) -> bool:
    return isinstance(x, Tensor) or (isinstance(x, np.ndarray) and x.dtype.kind == "f")


def _without_axes(x: Any) -> Any:
    return np.array(x) if isinstance(x, float | np.floating) else x


def argument_names(f: Callable[..., Any], args: tuple[Any, ...]) -> list[str]:
    """What f calls its arguments; `args[0]` and so on where it does not say."""
    try:
        bound = inspect.signature(f).bind_partial(*args)
    except (TypeError, ValueError):
        return [f"args[{i}]" for i in range(len(args))]
    names: list[str] = []
    for name, value in bound.arguments.items():
        rest = bound.signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        names += [f"{name}[{i}]" for i in range(len(value))] if rest else [name]
    return names


class Recorder:
    """The engine's observer while a function is traced."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.recording = Recording(f)
        self._code = _code_of(f)
        self._values: dict[int, int] = {}  # id of a Tensor -> index of its value
        self._alive: list[Any] = []  # an id is of one object only while that lives
        self._made: dict[int, int] = {}  # id of a node of the graph -> the step that computed it
        self._received: dict[int, set[int]] = {}  # id of a Tensor -> its values that received gradients
        self._going_back = False

    # ---- values --------------------------------------------------------------------------------------

    def argument(self, name: str, x: Any) -> Any:
        """The argument as f gets it: arrays of floats become Tensors that require a gradient."""
        if isinstance(x, Tensor):
            t = Tensor(x.data, requires_grad=x.requires_grad, name=name)
        elif _is_array(x):
            t = Tensor(x.copy(), requires_grad=True, name=name)
        else:
            return x
        self.recording.inputs[name] = self._add(t, name, "input")
        return t

    def _add(self, t: Any, name: str, kind: str, made_by: int | None = None) -> int:
        index = len(self.recording.values)
        data = np.array(t.data if isinstance(t, Tensor) else t)
        self.recording.values.append(Value(index, name, kind, data, made_by))
        if isinstance(t, Tensor):
            self._values[id(t)] = index
            self._alive.append(t)
        return index

    def _index(self, x: Any) -> int:
        """The value that an op was given; one that no step made is a constant."""
        if isinstance(x, Tensor):
            if id(x) in self._values:
                return self._now(x, self.recording.values[self._values[id(x)]])
            return self._add(x, x.name or "", "constant")
        return self._add(x, "", "constant")

    def _now(self, x: Tensor, known: Value) -> int:
        """The value of a Tensor that came up before: a new one where its array was changed in place."""
        data = np.asarray(x.data)
        if data.shape == known.data.shape and data.dtype == known.data.dtype \
                and data.tobytes() == known.data.tobytes():  # NaN is not equal to itself
            return known.index
        index = self._add(x, known.name, "input" if known.kind == "input" else "constant")
        self.recording.values[index].was = known.index
        return index

    # ---- forwards --------------------------------------------------------------------------------------

    def after(self, out: Tensor, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An op was computed."""
        if self._going_back:
            return
        if len(self.recording.steps) >= LIMIT:
            raise ValueError(f"more than {LIMIT:,} steps: trace a smaller computation (shorter sequences, "
                             "fewer layers)")
        where = places(sys._getframe(1), self._code) if self._code is not None else ()
        given = tuple(self._index(a) if isinstance(a, Tensor | np.ndarray | float) else None for a in args)
        index = len(self.recording.steps)
        at = args[1] if op_name(op) == "getitem" and len(args) > 1 else None
        item = at if isinstance(at, int) and not isinstance(at, bool) else None
        value = self._add(out, _variable(where, item), "computed", index)
        self.recording.steps.append(Step(index, "forward", op_name(op), where, given, value, item=item))
        self._made[id(out)] = index
        if out.op is output:
            self._made[id(out.args[0])] = index
            self._values[id(out.args[0])] = value

    # ---- backwards -------------------------------------------------------------------------------------

    def finish(self, returned: Any) -> None:
        """Note the outputs; go back from the first that depends on an argument."""
        outputs = list(_tensors_in(returned))
        self.recording.outputs = [self._index(t) for t in outputs]
        for index, name in unpacked_names(self.recording.steps).items():
            self.recording.values[self.recording.steps[index].value].name = name
        root = next((t for t in outputs if t.requires_grad), None)
        if root is None:
            return
        self.recording.result = self._computed(root)
        self._going_back = True
        seed = np.ones_like(root.data)
        self._sums: dict[int, np.ndarray] = {}
        self.recording.values[self.recording.result].gradient = seed
        for leaf, g in backward_pass(root, seed).values():
            versions = self._received.get(id(leaf)) or {self._index(leaf)}
            for i in versions:
                self.recording.values[i].gradient = self._sums[i] if len(versions) > 1 else np.array(g)

    def _computed(self, t: Tensor) -> int:
        """The value that a Tensor had when a step computed it; of one that none did, the value it has."""
        return self.recording.steps[self._made[id(t)]].value if id(t) in self._made else self._index(t)

    def before_backward(self, t: Tensor, g: Any) -> None:
        """The gradient of a node is complete: it begins to be passed on."""
        if not self._going_back or id(t) not in self._made:
            return
        self._incoming = g
        if isinstance(g, list):  # of several outputs; each has its own value
            return
        made = self.recording.steps[self._made[id(t)]]
        value = made.value
        self.recording.values[value].gradient = np.array(g)
        self._step(made, value, None, np.array(g), None, None, None, "")

    def after_backward(self, t: Tensor, i: int, d: Any) -> None:
        """A derivative was passed to an argument."""
        if not self._going_back or id(t) not in self._made:
            return
        made = self.recording.steps[self._made[id(t)]]
        a = t.args[i]
        to = made.inputs[i]
        # Of a Tensor changed in place, each value has gradients of its own.
        key = -1 if to is None else to
        self._received.setdefault(id(a), set()).add(key)
        d = np.array(d)
        self._sums[key] = self._sums[key] + d if key in self._sums else d
        incoming = None if isinstance(self._incoming, list) else np.array(self._incoming)
        self._step(made, made.value, i, incoming, _local(t, i), d, self._sums[key].copy(),
                   rule_text(t.op, i))

    def _step(self, made: Step, value: int, argument: int | None, incoming: Any, local: Any,
              contribution: Any, accumulated: Any, rule: str) -> None:
        steps = self.recording.steps
        steps.append(Step(len(steps), "backward", made.op, made.places, made.inputs, value, argument,
                          incoming, local, contribution, accumulated, rule, made.item))


def _tensors_in(returned: Any) -> Iterator[Tensor]:
    """The Tensors among what a function returned, in tuples, lists and dicts too."""
    if isinstance(returned, Tensor):
        yield returned
    elif isinstance(returned, dict):
        yield from _tensors_in(list(returned.values()))
    elif isinstance(returned, tuple | list):
        for part in returned:
            yield from _tensors_in(part)


def _variable(where: tuple[Place, ...], item: int | None) -> str:
    """The variable that what is computed there goes to, or ""."""
    if not where:
        return ""
    loop = loop_of(where[-1]) if item is not None else None
    return loop[0].id if loop is not None else assigned_name(where[-1]) or ""


def _local(t: Tensor, i: int) -> np.ndarray | None:
    """dy/dx_i, elementwise, for an op that is; in y's shape."""
    op: Any = t.op
    rules = RULES.get(op)
    if not isinstance(op, np.ufunc) or op.signature is not None or not isinstance(rules, tuple):
        return None
    arrays = [a.data if isinstance(a, Tensor) else a for a in t.args]
    local = rules[i](np.ones_like(t.data), t.data, *arrays, **t.kwargs)
    return np.broadcast_to(np.asarray(local), t.shape).copy()


def _code_of(f: Any) -> CodeType | None:
    """The code object of a function, a method, or an object that can be called; None for a built-in."""
    f = inspect.unwrap(f)
    if not inspect.isroutine(f):
        f = inspect.unwrap(type(f).__call__)
    return getattr(getattr(f, "__func__", f), "__code__", None)


__all__ = ["Recording", "Step", "Value", "trace"]
