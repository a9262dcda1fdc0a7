"""The wire between grader and worker: one frame is a header, a small JSON object and numeric arrays.

    header (32 bytes): magic, kind, number of arrays, bytes of JSON, request, bytes of the body
    body: the JSON, then for each array: length of its name, its name, length of its .npy, the .npy

Nothing is unpickled and no header is evaluated. A size is checked before a byte of it is kept, so that what
a worker says costs the grader at most what the grader allowed.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

HEADER = struct.Struct("<4sBxHIQQ4x")
MAGIC = b"MLc1"
NPY = b"\x93NUMPY\x01\x00"
META_BYTES = 1 << 16  # of the JSON
META_KEYS = 100
NAME_BYTES = 200
MOST_ARRAYS = 1000
OVERHEAD = 1 << 16  # bytes that a frame may have beside its arrays' elements, the JSON included
DTYPES = "b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16".split()

# From the grader: what to set up, a case to run, the student's tests to run, what a called function gave.
SETUP, RUN, TEST, RETURN = 1, 2, 3, 4
# From the worker: the door is shut, the module is loaded, a case's arrays, what went wrong, a call to answer.
READY, LOADED, ARRAYS, ERROR, CALL = 11, 12, 13, 14, 15

_HEADER_TEXT = re.compile(
    rb"\{'descr': '([<|])(\w{2,3})', 'fortran_order': (True|False), 'shape': \(([0-9, ]{0,800})\), \} *\n")

Meta = dict[str, "str | int | float | bool | None"]


class FrameError(ValueError):
    """What came is no frame, or a larger one than was allowed."""


@dataclass
class Frame:
    """What one side says to the other.

    Attributes:
        kind: one of the numbers above.
        request: the number that a request had and its reply must have.
        arrays: plain NumPy arrays of kind b, i, u, f or c.
        meta: a flat JSON object.
    """

    kind: int
    request: int = 0
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    meta: Meta = field(default_factory=dict)


def encode(frame: Frame) -> bytes:
    """The bytes of a frame.

    Raises:
        FrameError: an array is not numeric, or there are too many, or their names are too long.
    """
    meta = json.dumps(frame.meta).encode()
    if len(meta) > META_BYTES or len(frame.arrays) > MOST_ARRAYS:
        raise FrameError(f"{len(frame.arrays)} arrays and {len(meta)} bytes of JSON are too many for a frame")
    parts = [meta]
    for name, array in frame.arrays.items():
        said = name.encode()
        if len(said) > NAME_BYTES:
            raise FrameError(f"{name[:20]}...: a name has at most {NAME_BYTES} bytes")
        if array.dtype.str[1:] not in DTYPES or array.dtype.str[0] not in "<|":
            raise FrameError(f"{name}: an array of dtype {array.dtype} cannot be sent")
        text = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}".encode()
        text += b" " * (-(len(NPY) + 2 + len(text) + 1) % 64) + b"\n"
        size = len(NPY) + 2 + len(text) + array.nbytes
        parts += [struct.pack("<H", len(said)), said, struct.pack("<Q", size), NPY,
                  struct.pack("<H", len(text)), text, array.tobytes()]
    body = b"".join(parts)
    return HEADER.pack(MAGIC, frame.kind, len(frame.arrays), len(meta), frame.request, len(body)) + body


class Decoder:
    """Frames out of the bytes that arrive, in pieces of any size.

    Args:
        limit: the largest body, in bytes; may be changed between frames.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept = bytearray()

    def __len__(self) -> int:
        """Bytes that belong to no whole frame yet."""
        return len(self._kept)

    def feed(self, data: bytes) -> Frame | None:
        """Take bytes in; the next frame if it is complete.

        Raises:
            FrameError: this is no frame; nothing after it can be read.
        """
        self._kept += data
        if len(self._kept) < HEADER.size:
            return None
        kind, count, meta, request, size = read_header(bytes(self._kept[:HEADER.size]), self.limit)
        end = HEADER.size + size
        if len(self._kept) < end:
            return None
        body = bytes(self._kept[HEADER.size:end])
        del self._kept[:end]
        return _decode(kind, count, meta, request, body)


def read_header(header: bytes, limit: int) -> tuple[int, int, int, int, int]:
    """(kind, number of arrays, bytes of JSON, request, bytes of the body), checked.

    Raises:
        FrameError: it is no header, or speaks of a larger body than `limit`.
    """
    magic, kind, count, meta, request, size = HEADER.unpack(header)
    if magic != MAGIC:
        raise FrameError("this is not a frame")
    if size > limit:
        raise FrameError(f"a frame of {size} bytes; {limit} are allowed")
    if meta > min(META_BYTES, size) or count > MOST_ARRAYS:
        raise FrameError(f"{count} arrays and {meta} bytes of JSON are too many for a frame")
    return kind, count, meta, request, size


def read_frame(fd: int) -> Frame | None:
    """The next frame of a blocking descriptor, or None at its end: for the worker, which trusts us."""
    header = _read(fd, HEADER.size)
    if header is None:
        return None
    kind, count, meta, request, size = read_header(header, 1 << 40)
    body = _read(fd, size)
    return None if body is None else _decode(kind, count, meta, request, body)


def write_frame(fd: int, frame: Frame) -> None:
    """Write to a blocking descriptor."""
    left = memoryview(encode(frame))
    while left:
        left = left[os.write(fd, left):]


def _read(fd: int, size: int) -> bytes | None:
    kept = bytearray()
    while len(kept) < size:
        data = os.read(fd, min(size - len(kept), 1 << 20))
        if not data:
            return None
        kept += data
    return bytes(kept)


def _decode(kind: int, count: int, meta_bytes: int, request: int, body: bytes) -> Frame:
    frame = Frame(kind, request, meta=_decode_meta(body[:meta_bytes]))
    at = meta_bytes
    for _ in range(count):
        if len(body) < at + 2:
            raise FrameError("an array's name is cut off")
        (length,) = struct.unpack_from("<H", body, at)
        start = at + 2 + length
        if length > NAME_BYTES or len(body) < start + 8:
            raise FrameError("an array's name is too long or cut off")
        try:
            name = body[at + 2:start].decode()
        except UnicodeDecodeError:
            raise FrameError("an array's name is not UTF-8") from None
        (size,) = struct.unpack_from("<Q", body, start)
        at = start + 8 + size
        if at > len(body) or name in frame.arrays:
            raise FrameError("an array is cut off, or there twice")
        frame.arrays[name] = decode_array(memoryview(body)[start + 8:at])
    if at != len(body):
        raise FrameError("a frame is longer than its arrays")
    return frame


def _decode_meta(data: bytes) -> Meta:
    def few(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(pairs) > META_KEYS:  # keys of one hash make a dict slow, and the other side chooses them
            raise ValueError
        return dict(pairs)

    try:
        meta = json.loads(data.decode(), object_pairs_hook=few) if data else {}
    except (ValueError, RecursionError):
        raise FrameError("a frame's JSON cannot be read") from None
    if not isinstance(meta, dict) or not all(isinstance(v, str | int | float | None) for v in meta.values()):
        raise FrameError("a frame's JSON is not flat")
    return meta


def decode_array(npy: memoryview) -> np.ndarray:
    """An array from its .npy bytes: version 1.0, little-endian, one of DTYPES, exactly as long as it says.

    Raises:
        FrameError: anything else.
    """
    start = len(NPY) + 2
    if len(npy) < start or npy[:len(NPY)] != NPY:
        raise FrameError("an array is not .npy, version 1.0")
    data = start + int.from_bytes(npy[len(NPY):start], "little")
    found = _HEADER_TEXT.fullmatch(npy[start:data]) if data <= len(npy) else None
    if found is None or found[2].decode() not in DTYPES:
        raise FrameError("an array's .npy header is not that of numbers")
    sizes = [part.strip() for part in found[4].decode().split(",")]
    if sizes[-1] == "":
        sizes.pop()
    if len(sizes) > 32 or not all(re.fullmatch(r"[0-9]{1,15}", s) for s in sizes):
        raise FrameError("an array's shape cannot be read")
    shape = tuple(map(int, sizes))
    dtype = np.dtype("<" + found[2].decode())
    elements = math.prod(shape)
    if elements * dtype.itemsize != len(npy) - data or math.prod(s for s in shape if s) >= 1 << 48:
        raise FrameError("an array's shape and its bytes do not agree")
    truth = dtype.kind == "b"  # a byte of a bool may only be 0 or 1
    read = np.uint8 if truth else dtype
    flat = np.frombuffer(npy, read, elements, data) if elements else np.empty(0, dtype)
    array = flat.reshape(shape, order="F" if found[3] == b"True" else "C")
    return np.asarray(array != 0) if truth else array.copy()
