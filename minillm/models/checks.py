"""What every model's configuration is asked before it is used: types, ranges, and that sizes divide."""

from __future__ import annotations

import dataclasses
import math
import operator
import typing
from collections.abc import Collection
from types import NoneType, UnionType
from typing import Any

import numpy as np

LARGEST_SIZE = 2**31 - 1


def check_types(config: Any, optional: Collection[str] = ()) -> None:
    """Make each field of a dataclass, frozen or not, a plain value of the type that it is declared with.

    NumPy's numbers become Python's, an integer may stand for a float, 0 and 1 for a bool. So what is written
    to a file as JSON is read back as the same. Fields that are declared as Any are left alone.

    Args:
        config: changed in place.
        optional: fields that may be None though their type does not say so.

    Raises:
        ValueError: a value is of another type, or a float is not finite.
    """
    hints = _hints(type(config))
    for field in dataclasses.fields(config):
        name, hint = field.name, hints[field.name]
        value = getattr(config, name)
        if hint is not Any and not (value is None and name in optional):
            object.__setattr__(config, name, _plain(name, value, hint))


def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _plain(name: str, value: Any, hint: Any) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
    kind, = (kind for kind in kinds if kind is not NoneType)
    is_bool = isinstance(value, bool | np.bool_)
    if value is None and NoneType in kinds:
        return None
    if kind is bool and (is_bool or (type(value) is int and value in (0, 1))):
        return bool(value)
    if kind is int and isinstance(value, int | np.integer) and not is_bool:
        return operator.index(value)
    if kind is str and isinstance(value, str):
        return str(value)
    if kind is float and isinstance(value, int | float | np.integer | np.floating) and not is_bool:
        number = _float(value)
        if math.isfinite(number):
            return number
    right = {int: "a whole number", float: "a finite number", bool: "True or False", str: "a text"}[kind]
    raise ValueError(f"{name} = {value!r} must be {right}" + (", or None" if NoneType in kinds else ""))


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond 1e308
        return math.inf


def check_sizes(config: Any, *names: str) -> None:
    """Raise ValueError for a size outside [1, 2^31)."""
    for name in names:
        size = getattr(config, name)
        if size < 1:
            raise ValueError(f"{name} = {size} must be at least 1")
        if size > LARGEST_SIZE:
            raise ValueError(f"{name} = {size} must be at most {LARGEST_SIZE}")


def check_dropout(config: Any) -> None:
    """Raise ValueError for a dropout outside [0, 1)."""
    if not 0 <= config.dropout < 1:
        raise ValueError(f"dropout = {config.dropout} is outside [0, 1)")


def check_positive(config: Any, *names: str) -> None:
    """Raise ValueError for a number that is not above 0; None is, where the field may be None."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not value > 0:
            optional = ", or None" if NoneType in typing.get_args(_hints(type(config))[name]) else ""
            raise ValueError(f"{name} = {value} must be > 0{optional}")


def check_multiple(config: Any, name: str, of: str, way_out: str = "") -> None:
    """Raise ValueError unless one size is a multiple of another; `way_out` is what else would do."""
    size, part = getattr(config, name), getattr(config, of)
    if size % part:
        raise ValueError(f"{name} = {size} must be a multiple of {of} = {part}{way_out}")


def check_choices(config: Any, **known: Any) -> None:
    """Raise ValueError for a value that is none of those known."""
    for name, values in known.items():
        if getattr(config, name) not in values:
            raise ValueError(f"{name} = {getattr(config, name)!r} must be one of {', '.join(values)}")
