"""Hugging Face's safetensors: one file, or a folder of several with an index.

A file (github.com/huggingface/safetensors, "Format"): a u64 length, a JSON header of that length,
then the data.

    {"__metadata__": {str: str}, name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}

Offsets count from the end of the header. The tensors fill the data without gap or overlap. Large
models come as several such files and `model.safetensors.index.json`:

    {"metadata": {...}, "weight_map": {name of tensor: name of file}}

The header is parsed here and not by the `safetensors` package, which does not map BF16 to NumPy and
gives no line that says what is wrong with a file.
"""

import json
import math
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minillm.errors import UserError
from minillm.weights.mapped_file import (
    TensorInfo,
    bfloat16,
    check_apart,
    display,
    find,
    float_dtype,
    map_file,
    shown,
)

# BOOL as bytes: a bool array over a byte other than 0 and 1 would misbehave
_STORED = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|u1",
}  # fmt: skip

_MAX_HEADER = 100_000_000  # bytes; the format's own limit
_MAX_AXES = 64  # NumPy's own limit
_MAX_BYTES = 2**63 - 1  # what NumPy lets an array's lengths multiply to, those of 0 left out
_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


class Safetensors:
    """A safetensors checkpoint, mapped: nothing but headers is read until it is asked for.

    `path`: a `.safetensors` file, an index (`....index.json`), or a folder. In a folder,
    `model.safetensors` comes first, then its index, then the only `.safetensors` file there is.

    tensors: name -> TensorInfo (whose offset counts in the tensor's own file).
    metadata: the header's `__metadata__`, str to str; the index's has no part in it.

    Opening takes at most 64 bytes of memory per byte of the headers and the index plus 64 KiB,
    whatever they claim. Files outside the folder are not opened: an index may name plain file
    names only (they may be links, as in Hugging Face's cache).

    Raises UserError, in one line that says what is wrong, for files that are missing, unreadable,
    not safetensors, cut short or damaged, and for dtypes that NumPy cannot hold (8-bit floats).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._shown = display(path)
        self.tensors: dict[str, TensorInfo] = {}
        self.metadata: dict[str, str] = {}
        self._maps: dict[str, mmap.mmap] = {}  # by tensor
        start = _locate(Path(path))
        if start.name.endswith(".json"):
            self._open_index(start)
        else:
            data, self.tensors, self.metadata = _open(start)
            self._maps = dict.fromkeys(self.tensors, data)

    def read(self, name: str, dtype: DTypeLike | None = np.float32) -> NDArray[Any]:
        """A tensor as a new array of its shape.

        dtype: a floating type; what lies beyond its range becomes infinite. None keeps the stored
        type; BF16 then becomes float32.

        Raises UserError for a name that the checkpoint has not, TypeError for another dtype.
        """
        stored = self.raw(name)
        kind = self.tensors[name].type
        values: NDArray[Any] = stored
        if kind == "BF16":
            values = bfloat16(stored)
        elif kind == "BOOL":
            values = stored != 0
        wanted = values.dtype.newbyteorder("=") if dtype is None else float_dtype(dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(wanted, copy=values is stored)

    def raw(self, name: str) -> NDArray[Any]:
        """A tensor as it is stored: a read-only view of the mapped file, which copies nothing.

        Its shape, its own dtype; uint16 for BF16 and uint8 for BOOL.
        """
        info = find(self.tensors, name, self._shown)
        # by bytes: frombuffer takes no count of 0 at the very end of a buffer
        data = np.frombuffer(self._maps[name], np.uint8)[info.offset : info.offset + info.n_bytes]
        return data.view(_STORED[info.type]).reshape(info.shape)

    def __repr__(self) -> str:
        return f"Safetensors({self._shown}, {len(self.tensors)} tensors)"

    def _open_index(self, path: Path) -> None:
        where = display(path)
        data = map_file(path, "JSON index")
        if len(data) > _MAX_HEADER:
            raise UserError(f"{where} is {len(data)} bytes long: an index has at most {_MAX_HEADER}")
        index = _parse(data[:], where)
        weight_map = index.get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise UserError(f"{where} is no index of safetensors files: it has no \"weight_map\"")
        for name, file in weight_map.items():
            _check_plain(file, name, where)
        for file in dict.fromkeys(weight_map.values()):  # each once, in order
            data, tensors, metadata = _open(path.with_name(file))
            self.metadata.update(metadata)
            self._maps |= {name: data for name in tensors if weight_map.get(name) == file}
            self.tensors |= {name: tensors[name] for name in tensors if weight_map.get(name) == file}
        for name, file in weight_map.items():
            if name not in self.tensors:
                raise UserError(f"{where} says that {shown(file)} holds {shown(name)}: it does not")


def _locate(path: Path) -> Path:
    """The file to begin with: `path` itself, or what a folder holds."""
    try:
        if not path.is_dir():
            return path
        for name in (_SINGLE, _INDEX):
            if (path / name).is_file():
                return path / name
        found = [file for file in path.iterdir() if file.suffix == ".safetensors"]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {display(path)} ({reason}): name a checkpoint's folder") from None
    if len(found) == 1:
        return found[0]
    raise UserError(
        f"the folder {display(path)} holds {len(found)} .safetensors files and neither {_SINGLE} nor"
        f" {_INDEX}: name the file to read"
    )


def _check_plain(file: Any, name: str, where: str) -> None:
    """Refuse a shard's name that could lead out of the folder, on any system."""
    if not isinstance(file, str):
        raise UserError(f"{where} is damaged: the file of {shown(name)} is no string")
    if any(character in file for character in "/\\:\0") or not file.endswith(".safetensors"):
        raise UserError(
            f"{where} puts {shown(name)} into {shown(file)}: give a plain file name, of a"
            " .safetensors file in the index's own folder"
        )


def _open(path: Path) -> tuple[mmap.mmap, dict[str, TensorInfo], dict[str, str]]:
    """The mapped file, its tensors, its metadata."""
    where = display(path)
    data = map_file(path, "safetensors")
    size = len(data)
    if size < 8 + 2 or data[8:9] != b"{":
        raise UserError(f"{where} is not a safetensors file: it does not begin as one, or is cut short")
    length = int.from_bytes(data[:8], "little")
    if length > _MAX_HEADER:
        raise UserError(
            f"{where} is not a safetensors file: its header claims {length} bytes, the format allows"
            f" {_MAX_HEADER}"
        )
    if length > size - 8:
        raise UserError(
            f"{where} is damaged or cut short: its header takes {length} bytes from byte 8, the file"
            f" has {size}"
        )
    header = _parse(data[8 : 8 + length], where)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise UserError(f"{where} is damaged: its __metadata__ is not an object of strings")
    tensors = dict(_entries(header, 8 + length, size, where))
    check_apart(tensors.values(), where)
    held = sum(tensor.n_bytes for tensor in tensors.values())
    if held != size - 8 - length:  # apart, inside, and as long as the data: no gap
        raise UserError(
            f"{where} is damaged: its tensors take {held} bytes, its data {size - 8 - length}"
        )
    return data, tensors, metadata


def _entries(
    header: dict[str, Any], begin: int, size: int, where: str
) -> Iterator[tuple[str, TensorInfo]]:
    for name, entry in header.items():
        what = f"{where} is damaged: tensor {shown(name)}"
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise UserError(f"{what} does not have just dtype, shape and data_offsets")
        kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(kind, str):
            raise UserError(f"{what} has a dtype that is no string")
        if kind not in _STORED:
            raise UserError(
                f"{where}: tensor {shown(name)} has dtype {shown(kind)}, this minillm reads"
                f" {', '.join(_STORED)}"
            )
        if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
            raise UserError(f"{what} needs a shape and two data_offsets of integers, 0 or more")
        itemsize = np.dtype(_STORED[kind]).itemsize
        if len(shape) > _MAX_AXES:  # before they are multiplied: a million of them would take hours
            raise UserError(f"{what} has {len(shape)} axes, at most {_MAX_AXES} are allowed")
        if math.prod(length for length in shape if length) * itemsize > _MAX_BYTES:
            raise UserError(f"{what} claims the shape {shown(str(shape))}, larger than any array")
        start, end = offsets
        n_bytes = math.prod(shape) * itemsize
        if end - start != n_bytes:
            raise UserError(
                f"{what} of shape {shown(str(shape))} and {kind} takes {n_bytes} bytes, its"
                f" data_offsets are {start} and {end}"
            )
        if begin + end > size:
            raise UserError(
                f"{where} is damaged or cut short: tensor {shown(name)} ends at byte {begin + end},"
                f" the file has {size}"
            )
        yield name, TensorInfo(name, kind, tuple(shape), begin + start, n_bytes)


def _counts(values: Any) -> bool:
    # type, not isinstance: a bool is no length
    return isinstance(values, list) and all(type(v) is int and 0 <= v <= _MAX_BYTES for v in values)


def _parse(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object, without what Python lets pass: repeated names, NaN, halves of surrogate pairs."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            # pop takes a name out when it is met first; the one that is missing was met before
            twice = next(name for name, _ in pairs if result.pop(name, result) is result)
            raise UserError(f"{where} is damaged: the name {shown(twice)} is there twice")
        for name, value in pairs:
            name.encode()  # UnicodeEncodeError, which is a ValueError, for half a pair
            if isinstance(value, str):
                value.encode()
        return result

    def no_constant(text: str) -> None:
        raise ValueError(f"{text} is not JSON")

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=once, parse_constant=no_constant)
    except RecursionError:
        raise UserError(f"{where} is damaged: its JSON is nested too deeply") from None
    except ValueError as error:  # no UTF-8, no JSON, or a number of thousands of digits
        raise UserError(f"{where} is damaged: its JSON cannot be read ({shown(str(error))})") from None
    if not isinstance(value, dict):
        raise UserError(f"{where} is damaged: its JSON is not an object")
    return value
