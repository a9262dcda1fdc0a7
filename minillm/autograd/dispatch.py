"""What happens when NumPy meets a Tensor: `np.f(tensor)` arrives here through NumPy's protocols."""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any

import numpy as np

from .rules import COMPOSED, RULES
from .rules.registry import AllArguments, EachArgument
from .tensor import apply, op_name, unwrap

# Piecewise constant functions: their derivative is zero wherever it exists, so they give plain
# arrays, as comparisons do.
CONSTANT = {
    np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal, np.isnan, np.isinf,
    np.isfinite, np.logical_and, np.logical_or, np.logical_not, np.logical_xor, np.signbit, np.floor,
    np.ceil, np.rint, np.trunc, np.argmax, np.argmin, np.argsort, np.argpartition, np.nonzero,
    np.flatnonzero, np.count_nonzero, np.any, np.all, np.shape, np.ndim, np.size, np.zeros_like,
    np.ones_like, np.full_like, np.empty_like, np.array_equal, np.allclose, np.isclose, np.searchsorted,
    np.unique, np.bincount, np.round, np.array_repr, np.array_str, np.array2string, np.result_type,
    np.can_cast, np.min_scalar_type, np.shares_memory, np.may_share_memory,
}
REDUCTIONS = {np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min}


def call_ufunc(ufunc: np.ufunc, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if method == "__call__" and not kwargs and ufunc in RULES:
        return apply(ufunc, args)
    if "out" in kwargs:
        raise TypeError(f"np.{ufunc.__name__} cannot write into a Tensor or from one into an array "
                        "(out=): use the result, or x.data")
    if method == "reduce" and ufunc in REDUCTIONS:
        if len(args) == 1:
            kwargs = {"axis": 0, **kwargs}  # np.add.reduce(x) is x.sum(axis=0), not x.sum()
        return call_function(REDUCTIONS[ufunc], args, kwargs)
    if method != "__call__":
        raise TypeError(f"np.{ufunc.__name__}.{method} has no derivative rule")
    if ufunc in CONSTANT:
        return ufunc(*map(unwrap, args), **kwargs)
    if ufunc not in RULES:
        raise _unsupported(ufunc)
    raise TypeError(f"np.{ufunc.__name__} on Tensors takes no option {next(iter(kwargs))!r}")


def call_function(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if func in CONSTANT or (func is np.where and len(args) == 1):
        return func(*_unwrap_all(args), **{k: unwrap(v) for k, v in kwargs.items()})
    # NumPy's own defaults, given by name, change nothing.
    kwargs = {k: v for k, v in kwargs.items() if v is not None or k == "axis"}
    if func in COMPOSED:
        _check_options(func, COMPOSED[func], 0, args, kwargs)
        return COMPOSED[func](*args, **kwargs)
    if func not in RULES:
        raise _unsupported(func)
    rules = RULES[func]
    several = isinstance(rules, AllArguments | EachArgument)
    rule = rules.rule if several else next(r for r in rules if r is not None)
    _check_options(func, rule, 2, args, kwargs)
    return apply(func, args, kwargs)


def _unsupported(func: Any) -> TypeError:
    module = getattr(func, "__module__", None) or "numpy"
    return TypeError(f"{module}.{op_name(func)} has no derivative rule for Tensors; write it with "
                     "functions that have one (see minillm.autograd.rules), or use x.data")


def _unwrap_all(args: tuple[Any, ...]) -> list[Any]:
    return [type(a)(map(unwrap, a)) if type(a) in (list, tuple) else unwrap(a) for a in args]


def _check_options(func: Any, ours: Any, skip: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse what our version does not know, now, rather than at the time of backward.

    A positional argument must mean the same to NumPy and to us: np.sum(x, 0, float) would not.
    """
    known, allowed = _options(func, ours, skip)
    for option in kwargs:
        if option not in known:
            raise TypeError(f"np.{op_name(func)} on Tensors takes no option {option!r}")
    if len(args) > allowed:
        raise TypeError(f"np.{op_name(func)} on Tensors takes {allowed} positional arguments: "
                        "give the others by name")


@functools.cache
def _options(func: Any, ours: Any, skip: int) -> tuple[set[str], float]:
    """The options that our version knows by name, and how many arguments may come by position."""
    names = list(inspect.signature(ours).parameters.values())[skip:]
    known = {p.name for p in names}
    try:
        theirs = list(inspect.signature(func).parameters)
    except ValueError:  # a few C functions tell no signature; they take arrays only
        return known, math.inf
    allowed = 0
    for mine, other in zip(names, theirs, strict=False):
        is_array = mine.default is inspect.Parameter.empty
        if mine.kind is inspect.Parameter.VAR_POSITIONAL:
            return known, math.inf
        if mine.kind is inspect.Parameter.KEYWORD_ONLY or not (is_array or mine.name == other):
            break
        allowed += 1
    return known, allowed
