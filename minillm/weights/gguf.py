"""GGUF files, version 2 and 3, little-endian: metadata, tensor table, and tensors as floats.

The format (github.com/ggml-org/ggml, docs/gguf.md):

    "GGUF"  u32 version  u64 n_tensors  u64 n_metadata
    n_metadata times   string key,  u32 value type,  value
    n_tensors times    string name, u32 n_dims, u64 dims[n_dims], u32 ggml type, u64 offset
    zeros up to a multiple of `general.alignment` (32 if the metadata does not say)
    the tensors' data; offsets count from here and are multiples of the alignment

A string is a u64 length and that many bytes; an array is a u32 element type, a u64 count and the
elements. `dims` runs from the contiguous axis outwards: the reverse of NumPy's shape.
"""

import os
import struct
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minillm.errors import UserError
from minillm.weights.mapped_file import (
    TensorInfo,
    check_apart,
    display,
    find,
    float_dtype,
    map_file,
    shown,
)
from minillm.weights.quantized import FORMATS, Format, decode, n_bytes

# ggml's numbers of types. Those without an entry in FORMATS are only called by their names.
_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1",
    10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
    16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S",
    22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip

_BOOL, _STRING, _ARRAY = 7, 8, 9
# A metadata value's type -> how struct reads it and how NumPy does
_NUMBERS = {
    0: ("<B", "u1"), 1: ("<b", "i1"), 2: ("<H", "<u2"), 3: ("<h", "<i2"), 4: ("<I", "<u4"),
    5: ("<i", "<i4"), 6: ("<f", "<f4"), 10: ("<Q", "<u8"), 11: ("<q", "<i8"), 12: ("<d", "<f8"),
}  # fmt: skip

_MAX_DIMS = 4  # ggml's own limit
_MAX_NESTING = 4  # arrays of arrays; nothing known writes even two
_SMALLEST_ENTRY = 8 + 4 + 1  # bytes: an empty key, its type, one byte of value
_SMALLEST_TENSOR = 8 + 4 + 4 + 8  # an empty name, no dims, its type and offset


class GGUF:
    """A GGUF file: open it with `GGUF(path)`; nothing but the header is read until it is asked for.

    metadata: key -> int, float, bool, str, a NumPy array (of numbers or bools, in the stored
    dtype), a list of str, or a list of arrays. Bytes of a string that are not UTF-8 become lone
    surrogates: `text.encode("utf-8", "surrogateescape")` gives them back.
    tensors: name -> TensorInfo, in the file's order.
    version: 2 or 3. alignment: in bytes.

    Opening takes at most 32 bytes of memory per byte of the header plus 64 KiB, whatever the file
    claims: counts and lengths are held against what is left of the file before anything is made.

    Raises UserError, in one line that says what is wrong and at which byte, for a file that is
    missing, not GGUF, big-endian, of another version, cut short or damaged, and for tensors of
    types that are not in `FORMATS`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._shown = display(path)
        self._map = map_file(path, "GGUF")
        cursor = _Cursor(self._map, self._shown)
        self.version = self._read_version(cursor)
        n_tensors = cursor.count("the number of tensors", _SMALLEST_TENSOR)
        n_metadata = cursor.count("the number of metadata entries", _SMALLEST_ENTRY)
        self.metadata = self._read_metadata(cursor, n_metadata)
        self.alignment = self._read_alignment()
        table = self._read_table(cursor, n_tensors)
        self.tensors = self._place(table, cursor.at)

    def read(self, name: str, dtype: DTypeLike | None = np.float32) -> NDArray[Any]:
        """A tensor as a new array of its shape, dequantised if need be.

        dtype: a floating type; what lies beyond its range becomes infinite. None keeps the stored
        type of plain tensors and gives float32 for quantised ones and BF16.

        Raises UserError for a name that the file has not, TypeError for another dtype.
        """
        info = find(self.tensors, name, self._shown)
        format = FORMATS[info.type]
        if dtype is not None:
            dtype = float_dtype(dtype)
        elif format.stored is None or info.type == "BF16":
            dtype = np.dtype(np.float32)
        else:
            dtype = format.stored.newbyteorder("=")
        data = np.frombuffer(self._map, np.uint8, info.n_bytes, info.offset)
        return decode(data.reshape(-1, format.n_bytes), format, dtype).reshape(info.shape)

    def raw(self, name: str) -> NDArray[Any]:
        """A tensor as it is stored: a read-only view of the mapped file, which copies nothing.

        A quantised one: uint8, (*shape[:-1], blocks a row, bytes a block), as `dequantize` takes
        it. A plain one: its shape, its own dtype; uint16 for BF16.
        """
        info = find(self.tensors, name, self._shown)
        format = FORMATS[info.type]
        data = np.frombuffer(self._map, np.uint8, info.n_bytes, info.offset)
        if format.stored is not None:
            return data.view(format.stored).reshape(info.shape)
        return data.reshape(*info.shape[:-1], info.shape[-1] // format.n_weights, format.n_bytes)

    def __repr__(self) -> str:
        architecture = self.metadata.get("general.architecture")
        return f"GGUF({self._shown}, architecture={architecture!r}, {len(self.tensors)} tensors)"

    def _read_version(self, cursor: "_Cursor") -> int:
        magic = self._map[:4]
        if magic != b"GGUF":
            raise UserError(
                f"{self._shown} is not a GGUF file: it begins with {magic!r} instead of b'GGUF'"
            )
        cursor.at = 4
        version = cursor.number("<I", "the version")
        if version in (2, 3):
            return version
        if version & 0xFFFF == 0 and version:
            raise UserError(f"{self._shown} is a big-endian GGUF file: use a little-endian one")
        raise UserError(
            f"{self._shown} is of GGUF version {version}, this minillm reads 2 and 3: convert it"
            " with llama.cpp, or use another copy"
        )

    def _read_metadata(self, cursor: "_Cursor", count: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for _ in range(count):
            at = cursor.at
            key = cursor.string("a metadata key", strict=True)
            if key in metadata:
                raise cursor.damaged(f"the metadata key {shown(key)} is there twice", at)
            kind = cursor.number("<I", "the type of a metadata value")
            metadata[key] = cursor.value(kind, f"the metadata {shown(key)}", 0)
        return metadata

    def _read_alignment(self) -> int:
        alignment = self.metadata.get("general.alignment", 32)
        # type, not isinstance: a bool is no alignment
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise UserError(
                f"{self._shown} is damaged: general.alignment is {shown(str(alignment))}, it should"
                " be a power of two"
            )
        return alignment

    def _read_table(self, cursor: "_Cursor", count: int) -> dict[str, TensorInfo]:
        """The tensor table, with offsets as they are written: from the start of the data."""
        table: dict[str, TensorInfo] = {}
        for _ in range(count):
            at = cursor.at
            name = cursor.string("a tensor's name", strict=True)
            if name in table:
                raise cursor.damaged(f"the tensor {shown(name)} is there twice", at)
            what = f"tensor {shown(name)}"
            n_dims = cursor.number("<I", f"the number of axes of {what}")
            if n_dims > _MAX_DIMS:
                raise cursor.damaged(f"{what} has {n_dims} axes, at most {_MAX_DIMS} are allowed", at)
            shape = tuple(cursor.number("<Q", f"the shape of {what}") for _ in range(n_dims))[::-1]
            if 0 in shape:
                raise cursor.damaged(f"{what} has the shape {shape}, an axis of length 0", at)
            format = self._format(cursor.number("<I", f"the type of {what}"), what)
            row = shape[-1] if shape else 1
            if row % format.n_weights:
                raise cursor.damaged(
                    f"{what} has rows of {row} weights, {format.name} stores blocks of"
                    f" {format.n_weights}", at
                )
            offset = cursor.number("<Q", f"the offset of {what}")
            table[name] = TensorInfo(name, format.name, shape, offset, n_bytes(shape, format))
        return table

    def _format(self, number: int, what: str) -> Format:
        name = _TYPES.get(number, "unknown")
        if name in FORMATS:
            return FORMATS[name]
        raise UserError(
            f"{self._shown}: {what} has type {number} ({name}), this minillm reads"
            f" {', '.join(FORMATS)}: use a file quantised to one of these"
        )

    def _place(self, table: dict[str, TensorInfo], header: int) -> dict[str, TensorInfo]:
        """The table with offsets from the start of the file, each held against its length."""
        begin = -(-header // self.alignment) * self.alignment
        size = len(self._map)
        placed: dict[str, TensorInfo] = {}
        for name, info in table.items():
            if info.offset % self.alignment:
                raise UserError(
                    f"{self._shown} is damaged: tensor {shown(name)} has offset {info.offset}, no"
                    f" multiple of the alignment {self.alignment}"
                )
            start = begin + info.offset
            if start + info.n_bytes > size:
                raise UserError(
                    f"{self._shown} is damaged or cut short: tensor {shown(name)} takes"
                    f" {info.n_bytes} bytes from byte {start}, the file has {size}"
                )
            placed[name] = TensorInfo(name, info.type, info.shape, start, info.n_bytes)
        check_apart(placed.values(), self._shown)
        return placed


class _Cursor:
    """A place in the header, which moves on with each thing read and never past the end."""

    def __init__(self, data: Any, path: str) -> None:
        self.data = data
        self.path = path
        self.at = 0

    def damaged(self, problem: str, at: int) -> UserError:
        return UserError(f"{self.path} is damaged: {problem} (at byte {at})")

    def take(self, size: int, what: str) -> int:
        """Step over `size` bytes and return where they begin."""
        start = self.at
        left = len(self.data) - start
        if size > left:
            raise UserError(
                f"{self.path} is damaged or cut short: {what}, at byte {start}, takes {size} bytes"
                f" and {left} are left"
            )
        self.at += size
        return start

    def number(self, code: str, what: str) -> Any:
        return struct.unpack_from(code, self.data, self.take(struct.calcsize(code), what))[0]

    def count(self, what: str, smallest: int) -> int:
        """A u64 that says how many things follow, each of at least `smallest` bytes."""
        at = self.at
        count: int = self.number("<Q", what)
        room = (len(self.data) - self.at) // smallest
        if count > room:
            raise UserError(
                f"{self.path} is damaged or cut short: {what}, at byte {at}, is {count}, the rest of"
                f" the file has room for {room}"
            )
        return count

    def string(self, what: str, strict: bool) -> str:
        length = self.number("<Q", what)
        start = self.take(length, what)
        data: bytes = self.data[start : self.at]
        try:
            return data.decode("utf-8", "strict" if strict else "surrogateescape")
        except UnicodeDecodeError:
            raise self.damaged(f"{what} is not UTF-8: {shown(data)}", start) from None

    def value(self, kind: int, what: str, depth: int) -> Any:
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind][0], what)
        if kind == _STRING:
            return self.string(what, strict=False)
        if kind == _BOOL:
            return bool(self.bools(1, what)[0])
        if kind == _ARRAY:
            return self.array(what, depth)
        raise self.damaged(f"{what} has the unknown type {kind}", self.at)

    def array(self, what: str, depth: int) -> Any:
        if depth == _MAX_NESTING:
            raise self.damaged(f"{what} nests arrays more than {_MAX_NESTING} deep", self.at)
        kind = self.number("<I", what)
        if kind in _NUMBERS:
            dtype = np.dtype(_NUMBERS[kind][1])
            count = self.count(f"the length of {what}", dtype.itemsize)
            start = self.take(count * dtype.itemsize, what)
            return np.frombuffer(self.data, dtype, count, start).astype(dtype.newbyteorder("="))
        if kind == _STRING:
            count = self.count(f"the length of {what}", 8)
            return [self.string(what, strict=False) for _ in range(count)]
        if kind == _BOOL:
            return self.bools(self.count(f"the length of {what}", 1), what)
        if kind == _ARRAY:
            count = self.count(f"the length of {what}", 4 + 8)
            return [self.array(what, depth + 1) for _ in range(count)]
        raise self.damaged(f"{what} is an array of the unknown type {kind}", self.at)

    def bools(self, count: int, what: str) -> NDArray[np.bool_]:
        start = self.take(count, what)
        values = np.frombuffer(self.data, np.uint8, count, start)
        if values.max(initial=0) > 1:
            raise self.damaged(f"{what} has a bool that is neither 0 nor 1", start)
        return values.astype(bool)
