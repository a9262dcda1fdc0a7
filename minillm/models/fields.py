"""The fields of somebody's configuration, each checked as it is taken out."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minillm.errors import UserError
from minillm.weights.mapped_file import shown

_LARGEST_FILE = 1 << 26  # bytes
_LARGEST_SIZE = 2**31 - 1


class Fields:
    """A mapping from a file, whose errors name the file and the field.

    Args:
        values: field -> value.
        where: the file, as messages name it.
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def get(self, name: str, default: Any = None) -> Any:
        """The value; `default` where it is missing or null."""
        value = self.values.get(name)
        return default if value is None else value

    def size(self, name: str, default: int | None = None) -> int:
        """An integer in [1, 2^31)."""
        value = self.get(name, default)
        if value is None:
            raise UserError(f"{self.where} has no {name}: use a model's whole configuration")
        if type(value) is not int or not 1 <= value <= _LARGEST_SIZE:  # True is an int too
            raise self.wrong(name, f"a whole number from 1 to {_LARGEST_SIZE}")
        return value

    def positive(self, name: str, default: float | None = None) -> float:
        """A finite number above 0."""
        value = self.get(name, default)
        if value is None:
            raise UserError(f"{self.where} has no {name}: use a model's whole configuration")
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise self.wrong(name, "a number above 0")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.get(name, default)
        if type(value) is not bool:
            raise self.wrong(name, "true or false")
        return value

    def text(self, name: str) -> str:
        """A string."""
        value = self.get(name)
        if not isinstance(value, str):
            raise self.wrong(name, "a text")
        return value

    def only(self, name: str, *allowed: Any) -> None:
        """Refuse all values but these: what the model computes. A field that is missing is the first."""
        value = self.get(name, allowed[0])
        plain = isinstance(value, str | int | float)  # not an array, which cannot be compared as a whole
        if not plain or value not in allowed or isinstance(value, bool) is not isinstance(allowed[0], bool):
            raise UserError(f"{self.where}: {name} = {shown(str(value))} is not computed here: use a model "
                            f"with {' or '.join(map(str, allowed))}")

    def absent(self, *names: str) -> None:
        """Refuse fields that would change what is computed, unless they are null, false or 0."""
        for name in names:
            value = self.values.get(name)
            if value is not None and not (isinstance(value, int) and value == 0):
                raise UserError(f"{self.where}: {name} = {shown(str(value))} is not supported: use a model "
                                "without it")

    def wrong(self, name: str, right: str) -> UserError:
        return UserError(f"{self.where}: {name} is {shown(str(self.values.get(name)))}, it should be {right}")


def read_json(path: str | os.PathLike[str]) -> Fields:
    """The JSON object in a file.

    Raises:
        UserError: it is missing, cannot be read, too long, no JSON, or no object.
    """
    path = Path(path)
    where = repr(str(path))

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise UserError(f"{where} has more than {_LARGEST_FILE} bytes: it is no configuration")
        data = json.loads(path.read_bytes().decode("utf-8"), parse_constant=refuse)
    except FileNotFoundError:
        raise UserError(f"there is no file {where}: name a model's folder") from None
    except OSError as error:
        raise UserError(f"cannot read {where} ({error.strerror or error}): check its permissions") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is damaged or no JSON ({shown(str(error))}): use another copy") from None
    if not isinstance(data, dict):
        raise UserError(f"{where} is damaged, it is no JSON object: use another copy")
    return Fields(data, where)
