"""Names that a Keras user may try: what is not here is refused in one line that lists what is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn


def only(module: str, names: Iterable[str]) -> Callable[[str], NoReturn]:
    """A module's `__getattr__`: says which names there are."""

    def missing(name: str) -> NoReturn:
        raise AttributeError(f"{module} has no {name!r}; it has {', '.join(names)}")

    return missing


def pick(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """The entry of a table that a user named by a string.

    Raises:
        ValueError: there is no such entry.
    """
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}; known are {', '.join(table)}")
    return table[name]


def refuse_options(owner: str, given: Mapping[str, Any], fixed: Mapping[str, Any],
                   known: Iterable[str]) -> None:
    """Options of Keras that are not built here pass at their default value only.

    Args:
        owner: the class that was called.
        given: options that its signature does not name.
        fixed: Keras's other options -> their only value here.
        known: options that its signature names, for the message.

    Raises:
        TypeError: Keras has no such option either.
        ValueError: the option exists in Keras, but not here with this value.
    """
    for name, value in given.items():
        if name not in fixed:
            raise TypeError(f"{owner} has no option {name!r}; it has {', '.join(known)}")
        if getattr(value, "__name__", value) != fixed[name]:
            raise ValueError(f"{owner}({name}={value!r}) is not supported: "
                             f"minillm.keras has {name}={fixed[name]!r} only")
