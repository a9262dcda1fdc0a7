r"""Blocks of quantised weights to floats: ggml's formats, those that published GGUF files mostly use.

A row is cut into blocks of 32 or 256 weights. A block holds small integers q and one or more
scales; each weight is an affine function of its q. Notation, for weight i of a block: bytes are
laid out in the order listed, little-endian; `half` is an IEEE float16; q_i needs `unpack`'s order.

Source of all layouts: ggml (github.com/ggml-org/ggml), the structs `block_*` of ggml-common.h and
the functions `dequantize_row_*` of ggml-quants.c. Sums and products are float32 in the same order,
so the results are the same to the last bit (where the C compiler fuses no multiply-add).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minillm.weights.mapped_file import bfloat16, float_dtype

_CHUNK = 1 << 18  # weights decoded at a time: the temporaries stay in the processor's cache
_FOUR = np.uint8(4)

Blocks = NDArray[np.uint8]  # (N, bytes a block)
Floats = NDArray[np.float32]  # (N, weights a block)


class Format(NamedTuple):
    """One of ggml's types: a block of `n_bytes` bytes holds `n_weights` weights.

    `stored`: the NumPy type of a plain one, None for a quantised one, and uint16 for BF16.
    """

    name: str
    n_weights: int
    n_bytes: int
    stored: np.dtype[Any] | None
    decode: Callable[[Blocks], NDArray[Any]]


def dequantize(blocks: Blocks, kind: str, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """The weights of raw blocks: (..., n_blocks, bytes a block) -> (..., n_blocks * weights a block).

    `kind`: a name in `FORMATS`. `dtype`: a floating type; what lies beyond its range becomes
    infinite. Beside the result, it takes a few MB, however many blocks there are.

    Raises ValueError for an unknown kind or a wrong last axis, TypeError for other than uint8.
    """
    format = FORMATS.get(kind)
    if format is None:
        raise ValueError(f"kind is {kind!r}: give one of {', '.join(FORMATS)}")
    if blocks.dtype != np.uint8:
        raise TypeError(f"blocks has dtype {blocks.dtype}: give uint8")
    if blocks.ndim < 2 or blocks.shape[-1] != format.n_bytes:
        raise ValueError(
            f"blocks has shape {blocks.shape}: {kind} needs (..., n_blocks, {format.n_bytes})"
        )
    shape = (*blocks.shape[:-2], blocks.shape[-2] * format.n_weights)
    rows = np.ascontiguousarray(blocks).reshape(-1, format.n_bytes)
    return decode(rows, format, float_dtype(dtype)).reshape(shape)


def decode(blocks: Blocks, format: Format, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Blocks (N, bytes) to weights (N, weights), any dtype, a chunk at a time."""
    out = np.empty((len(blocks), format.n_weights), dtype)
    step = max(1, _CHUNK // format.n_weights)
    # A damaged file's scales may be infinite: the weights then are, and no warning is due
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(blocks), step):
            out[start : start + step] = format.decode(blocks[start : start + step])
    return out


def unpack(data: NDArray[np.uint8], bits: int, run: int) -> NDArray[np.uint8]:
    """Fields of `bits` bits (1, 2, 4) out of bytes: (N, n) -> (N, n * 8 // bits).

    The bytes come in runs of `run`. The lowest field of each byte of a run comes first, then the
    next field of each, and so on: with 4 bits and run 16, element i < 16 is the low half of byte i
    and element 16 + i its high half.
    """
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    fields = data.reshape(len(data), -1, 1, run) >> shifts  # (N, runs, fields, run)
    return (fields & np.uint8((1 << bits) - 1)).reshape(len(data), -1)


def _half(blocks: Blocks, at: int) -> Floats:
    """The float16 at byte `at` of each block, (N, 1)."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _q4_0(blocks: Blocks) -> Floats:
    """w_i = d (q_i - 8).  18 bytes: half d; 16 bytes of 4-bit q, run 16."""
    q = unpack(blocks[:, 2:], 4, 16)
    return _half(blocks, 0) * (q.astype(np.float32) - 8)


def _q4_1(blocks: Blocks) -> Floats:
    """w_i = d q_i + m.  20 bytes: half d; half m; 16 bytes of 4-bit q, run 16."""
    q = unpack(blocks[:, 4:], 4, 16)
    return _half(blocks, 0) * q + _half(blocks, 2)


def _q5_0(blocks: Blocks) -> Floats:
    """w_i = d (q_i - 16), q_i = low_i + 16 high_i.

    22 bytes: half d; 32 single bits high, bit i of the whole; 16 bytes of 4-bit low, run 16.
    """
    q = unpack(blocks[:, 6:], 4, 16) | (unpack(blocks[:, 2:6], 1, 1) << _FOUR)
    return _half(blocks, 0) * (q.astype(np.float32) - 16)


def _q5_1(blocks: Blocks) -> Floats:
    """w_i = d q_i + m, q_i = low_i + 16 high_i.

    24 bytes: half d; half m; 32 single bits high; 16 bytes of 4-bit low, run 16.
    """
    q = unpack(blocks[:, 8:], 4, 16) | (unpack(blocks[:, 4:8], 1, 1) << _FOUR)
    return _half(blocks, 0) * q + _half(blocks, 2)


def _q8_0(blocks: Blocks) -> Floats:
    """w_i = d q_i.  34 bytes: half d; 32 signed bytes q."""
    return _half(blocks, 0) * blocks[:, 2:].view(np.int8)


def _scales_and_mins(packed: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Eight 6-bit scales and eight 6-bit minima out of 12 bytes: two arrays of (N, 8).

    Bytes 0-3 hold scales 0-3 in their low six bits, bytes 4-7 minima 0-3 in theirs. Scale 4 + j
    is the low half of byte 8 + j with the top two bits of byte j above it; minimum 4 + j the high
    half of byte 8 + j with the top two bits of byte 4 + j above it.
    """
    a, b, c = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    top_a, top_b = (a >> 6) << _FOUR, (b >> 6) << _FOUR
    scales = np.concatenate((a & 63, (c & 15) | top_a), axis=1)
    mins = np.concatenate((b & 63, (c >> 4) | top_b), axis=1)
    return scales, mins


def _affine_k(blocks: Blocks, q: NDArray[np.uint8]) -> Floats:
    """w_i = (d s_k) q_i - (d_min m_k), k = i // 32: what Q4_K and Q5_K share."""
    scales, mins = _scales_and_mins(blocks[:, 4:16])
    d = (_half(blocks, 0) * scales)[:, :, None]  # (N, 8, 1)
    m = (_half(blocks, 2) * mins)[:, :, None]
    return (d * q.reshape(-1, 8, 32) - m).reshape(-1, 256)


def _q4_k(blocks: Blocks) -> Floats:
    """w_i = (d s_k) q_i - (d_min m_k), k = i // 32.

    144 bytes: half d; half d_min; 12 bytes of 6-bit s and m (`_scales_and_mins`); 128 bytes of
    4-bit q, run 32.
    """
    return _affine_k(blocks, unpack(blocks[:, 16:], 4, 32))


def _q5_k(blocks: Blocks) -> Floats:
    """w_i = (d s_k) q_i - (d_min m_k), k = i // 32, q_i = low_i + 16 high_i.

    176 bytes: half d; half d_min; 12 bytes of s and m; 32 bytes of single bits high, run 32;
    128 bytes of 4-bit low, run 32.
    """
    high = unpack(blocks[:, 16:48], 1, 32)
    return _affine_k(blocks, unpack(blocks[:, 48:], 4, 32) | (high << _FOUR))


def _q6_k(blocks: Blocks) -> Floats:
    """w_i = (d s_k) (q_i - 32), k = i // 16, q_i = low_i + 16 high_i.

    210 bytes: 128 bytes of 4-bit low, run 64; 64 bytes of 2-bit high, run 32; 16 signed bytes s;
    half d.
    """
    q = unpack(blocks[:, :128], 4, 64) | (unpack(blocks[:, 128:192], 2, 32) << _FOUR)
    d = _half(blocks, 208) * blocks[:, 192:208].view(np.int8)  # (N, 16)
    centred = q.astype(np.float32).reshape(-1, 16, 16) - 32
    return (d[:, :, None] * centred).reshape(-1, 256)


def _plain(name: str, stored: str) -> Format:
    dtype = np.dtype(stored)
    return Format(name, 1, dtype.itemsize, dtype, lambda blocks: blocks.view(dtype))


def _bf16(blocks: Blocks) -> Floats:
    """The upper 16 bits of a float32."""
    return bfloat16(blocks.view("<u2"))


_ALL = [
    _plain("F32", "<f4"),
    _plain("F16", "<f2"),
    Format("BF16", 1, 2, np.dtype("<u2"), _bf16),
    _plain("F64", "<f8"),
    _plain("I8", "|i1"),
    _plain("I16", "<i2"),
    _plain("I32", "<i4"),
    _plain("I64", "<i8"),
    Format("Q4_0", 32, 18, None, _q4_0),
    Format("Q4_1", 32, 20, None, _q4_1),
    Format("Q5_0", 32, 22, None, _q5_0),
    Format("Q5_1", 32, 24, None, _q5_1),
    Format("Q8_0", 32, 34, None, _q8_0),
    Format("Q4_K", 256, 144, None, _q4_k),
    Format("Q5_K", 256, 176, None, _q5_k),
    Format("Q6_K", 256, 210, None, _q6_k),
]

FORMATS = {format.name: format for format in _ALL}


def n_bytes(shape: tuple[int, ...], format: Format) -> int:
    """Bytes of a tensor of that shape, whose last axis is a whole number of blocks."""
    return math.prod(shape) // format.n_weights * format.n_bytes
