"""Where derivative rules are kept, and how functions of our own join NumPy's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from minillm.autograd.devices import beside
from minillm.autograd.tensor import Tensor, apply, unwrap

Rule = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])

# The table: function -> one rule per argument. A rule takes (g, y, *arguments, **options) and returns
# the vector-Jacobian product g . dy/dargument. It may return it in the shape and dtype of y: the walk
# undoes broadcasting. Rules are written with `np.`: on arrays they are fast, on Tensors they are
# recorded, which is where second derivatives come from.
RULES: dict[Any, Any] = {}

# NumPy functions that are spelled with the help of others; they need no rule of their own.
COMPOSED: dict[Any, Callable[..., Any]] = {}


class EachArgument:
    """Rules for a function of any number of arrays: `rule(i, g, y, *arrays)` for the i-th."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def __getitem__(self, i: int) -> Rule:
        return functools.partial(self.rule, i)


class AllArguments:
    """One rule for a function of many arrays: `rule(g, y, *arrays)` gives all gradients at once."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule


def primitive(function: F) -> F:
    """Let a function of arrays take Tensors too. Its row in `RULES` is under `function.op`."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if any(type(a) is Tensor for a in args):
            return apply(function, args, kwargs)
        return function(*args, **kwargs)

    call.op = function  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def array(x: Any) -> Any:
    """x where it is an array or a Tensor already; the array of a list or a number."""
    return x if hasattr(x, "ndim") else np.asarray(x)


def constant(x: np.ndarray, like: Any) -> Any:
    """x where the array or Tensor `like` lives."""
    return beside(x, unwrap(like))


def axis_index(function: str, axis: int, shape: tuple[int, ...]) -> int:
    """The axis counted from the front.

    Raises:
        AxisError (a ValueError and an IndexError): the shape has no such axis.
    """
    ndim = len(shape)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(f"np.{function}: axis = {axis} is outside [{-ndim}, {ndim}) for the "
                                      f"shape {shape}")
    return axis % ndim


def composed(*numpy_functions: Any) -> Callable[[F], F]:
    """Say that a NumPy function, on Tensors, is this composition of others."""

    def register(function: F) -> F:
        for f in numpy_functions:
            COMPOSED[f] = function
        return function

    return register
