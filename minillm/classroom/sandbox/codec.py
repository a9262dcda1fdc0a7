"""A call of a function as numeric arrays and back: arguments, results, and what became of the arguments.

A student's tests run in one worker and the function under test in another; between them pass only arrays.
Beside arrays a call may hold numbers, strings, None, and lists, tuples and dicts of all these.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

SPEC = "spec"  # name of the array with the structure, as JSON in UTF-8
FUNCTION = "function"  # name of the array with the name of the function
SPEC_BYTES = 1 << 16  # lists of thousands of numbers are meant to be arrays
DEPTH = 20

# What a worker runs that is asked to call a function: its result, and its arguments afterwards.
CALL = """
def run(student, inputs):
    from sandbox.codec import answer
    return answer(student, inputs)
"""


def pack(value: Any) -> dict[str, np.ndarray]:
    """Arrays from which `unpack` makes the value again.

    Raises:
        TypeError: something in it is not of the kinds above, or too long.
    """
    arrays: dict[str, np.ndarray] = {}
    spec = json.dumps(_pack(value, arrays, 0))
    if len(spec) > SPEC_BYTES:
        raise TypeError("lists, strings and dicts this long cannot be passed on; arrays can")
    arrays[SPEC] = np.frombuffer(spec.encode(), np.uint8)
    return arrays


def _pack(value: Any, arrays: dict[str, np.ndarray], depth: int) -> list[Any]:
    if depth > DEPTH:
        raise TypeError("lists within lists are too deep to be passed on")
    if value is None or type(value) in (bool, str):
        return ["is", value]
    if type(value) in (int, float):
        return [type(value).__name__, repr(value)]
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise TypeError(f"an array of dtype {array.dtype} cannot be passed on")
        arrays[name := str(len(arrays))] = array
        return ["array" if isinstance(value, np.ndarray) else "scalar", name]
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return [kind, [_pack(v, arrays, depth + 1) for v in value]]
    if isinstance(value, dict):
        return ["dict", [[_pack(one, arrays, depth + 1) for one in item] for item in value.items()]]
    raise TypeError(f"a {type(value).__name__} cannot be passed on: only numbers, strings, arrays, and "
                    "lists, tuples and dicts of them")


def unpack(arrays: Mapping[str, np.ndarray]) -> Any:
    """What `pack` was given.

    Raises:
        ValueError: these arrays do not come from `pack`.
    """
    try:
        if arrays[SPEC].nbytes > SPEC_BYTES:
            raise ValueError("this is no packed value: too long")
        return _unpack(json.loads(arrays[SPEC].tobytes().decode()), arrays, 0)
    except (KeyError, TypeError, IndexError, RecursionError, AttributeError, OverflowError) as error:
        raise ValueError(f"this is no packed value: {type(error).__name__}") from None


def _unpack(spec: Any, arrays: Mapping[str, np.ndarray], depth: int) -> Any:
    kind, value = spec
    if depth > DEPTH:
        raise ValueError("this is no packed value: too deep")
    if kind == "is":
        return value
    if kind == "int":
        return int(value)
    if kind == "float":
        return float(value)
    if kind == "array":
        return arrays[value]
    if kind == "scalar":
        return arrays[value][()]
    if kind == "dict":
        return {_unpack(k, arrays, depth + 1): _unpack(v, arrays, depth + 1) for k, v in value}
    items = [_unpack(v, arrays, depth + 1) for v in value]
    return tuple(items) if kind == "tuple" else items


def answer(student: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """In the worker that holds the function: call it. The grader says which one, and not the caller.

    Only here is taken apart what a student's process has sent: it may be made to take long.
    """
    _, args, keywords = unpack(inputs)
    name = inputs[FUNCTION].tobytes().decode()
    result = getattr(student, name)(*args, **keywords)
    return pack((result, args, keywords))


def write_back(before: Any, after: Any) -> None:
    """Give arrays among the arguments the numbers that the call left in them."""
    for mine, theirs in zip(_arrays(before), _arrays(after), strict=False):
        same = mine.shape == theirs.shape and mine.flags.writeable
        if same and not np.array_equal(mine, theirs, equal_nan=mine.dtype.kind in "fc"):
            mine[...] = theirs


def _arrays(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _arrays(item)
