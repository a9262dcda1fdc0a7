"""Checkpoints: one safetensors file, replaced in one atomic step, so that a kill costs none."""

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from minillm.errors import UserError
from minillm.files import write_atomically

FORMAT = "minillm-checkpoint"
VERSION = "1"

_MAX_HEADER = 100_000_000  # bytes; safetensors' own limit, beyond which it would not read the file
_ARRAY = "__ndarray__"
_ARRAY_TYPES = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
}


def save_checkpoint(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]
) -> None:
    """Write `arrays` and `state` to one safetensors file, in place of the one at `path`.

    `arrays`: name -> array of any shape (0-d and empty ones too), dtype bool, integer or float.
    `state`: anything JSON holds (with str keys), NumPy scalars, and small arrays of those dtypes.
    It lies in the file's metadata as JSON, next to the format's name and version. `load_checkpoint`
    gives back the same: integers of any size (a NumPy Generator's `bit_generator.state`), floats to
    the last bit, NaN and infinities included. Only tuples become lists, and scalars Python's.

    A process killed at any moment leaves the old file or the new one whole (`write_atomically`).
    Safe for one writer a folder: `RunFolder` keeps others out.

    Raises UserError if the file cannot be written (full disk, missing folder, no permission): the
    old one is untouched. TypeError or ValueError, naming the entry, for what cannot be kept.
    """
    tensors = {name: _storable(name, array) for name, array in arrays.items()}
    # allow_nan: Python's NaN and Infinity, which only this module reads
    text = json.dumps(_to_plain(state, "state"), separators=(",", ":"))
    data = save(tensors, {"format": FORMAT, "version": VERSION, "state": text})
    header = int.from_bytes(data[:8], "little")
    if header > _MAX_HEADER:
        raise ValueError(
            f"state takes {header} bytes as JSON, above the format's {_MAX_HEADER}: move its large"
            " arrays to `arrays`"
        )
    write_atomically(path, data)


def load_checkpoint(
    path: str | os.PathLike[str],
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """(arrays, state) as `save_checkpoint` was given them; the arrays are writable copies.

    No pickle: nothing in the file is ever run. No more memory is taken than the file is long,
    whatever its header says. Both come from one open file, so a run that saves meanwhile does not
    mix two checkpoints.

    Raises UserError, in one line, for a file that is missing, unreadable, cut short, not
    safetensors, another program's, or of another format version.
    """
    path = Path(path)
    shown = repr(str(path))
    damaged = f"{shown} is damaged or cut short: use another copy, or start a new run"
    try:
        _check_length(path, damaged)
        with safe_open(path, framework="np") as file:
            state = _read_state(file.metadata() or {}, shown, damaged)
            names = file.keys()  # older safetensors cannot be iterated over
            arrays = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {shown}: check the path, or train first") from None
    except OSError as error:
        raise UserError(
            f"cannot read the checkpoint {shown} ({error.strerror or error}): name a file you can"
            " read"
        ) from error
    except (SafetensorError, ValueError) as error:
        raise UserError(damaged) from error
    return arrays, state


def _storable(name: str, array: Any) -> NDArray[Any]:
    """The array C-contiguous, as safetensors needs it (it would write a transposed one wrongly)."""
    array = np.asarray(array)
    if name == "__metadata__":
        raise ValueError("arrays has the name '__metadata__', which the format keeps for itself")
    if array.dtype.name not in _ARRAY_TYPES:
        raise TypeError(f"arrays[{name!r}] has dtype {array.dtype}: give bool, integers or floats")
    return np.asarray(array, order="C")


def _to_plain(value: Any, where: str) -> Any:
    """`value` as what JSON gives back unchanged; an array becomes a tagged object."""
    if isinstance(value, np.ndarray):
        if value.dtype.name not in _ARRAY_TYPES:
            raise TypeError(f"{where} has dtype {value.dtype}: give bool, integers or floats")
        flat = value.ravel().tolist()
        return {_ARRAY: flat, "dtype": value.dtype.name, "shape": list(value.shape)}
    if isinstance(value, np.generic) and value.dtype.name in _ARRAY_TYPES:
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_to_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key == _ARRAY:
                raise TypeError(f"{where} has the key {key!r}: give str keys other than {_ARRAY!r}")
        return {key: _to_plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise TypeError(
        f"{where} is a {type(value).__name__}: give None, bool, int, float, str, list, dict or a"
        " NumPy array"
    )


def _from_plain(value: dict[str, Any]) -> Any:
    if _ARRAY not in value:
        return value
    if value["dtype"] not in _ARRAY_TYPES:
        raise ValueError(f"dtype {value['dtype']!r}")
    return np.array(value[_ARRAY], dtype=value["dtype"]).reshape(value["shape"])


def _check_length(path: Path, damaged: str) -> None:
    """The first 8 bytes promise a header's length: believe it only of a file that is so long."""
    with open(path, "rb") as file:
        start = file.read(9)
        size = os.fstat(file.fileno()).st_size
    if len(start) < 9:
        raise UserError(damaged)
    (length,) = struct.unpack("<Q", start[:8])
    if start[8:] != b"{" or length > _MAX_HEADER:
        raise UserError(f"{str(path)!r} is not a safetensors file: name a run's checkpoint")
    if length > size - 8:
        raise UserError(damaged)


def _read_state(metadata: Mapping[str, str], shown: str, damaged: str) -> dict[str, Any]:
    if metadata.get("format") != FORMAT:
        raise UserError(
            f"{shown} is a safetensors file, but no checkpoint of minillm: name a run's checkpoint"
        )
    if metadata.get("version") != VERSION:
        raise UserError(
            f"{shown} has format version {metadata.get('version')!r}, this minillm reads"
            f" {VERSION!r}: use the minillm that wrote it, or start a new run"
        )
    try:
        state = json.loads(metadata["state"], object_hook=_from_plain)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(damaged) from error
    if not isinstance(state, dict):
        raise UserError(damaged)
    return state
