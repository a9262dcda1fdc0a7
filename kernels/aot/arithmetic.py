"""What each PTX instruction that only computes does to numbers: for `instructions.py`.

Approximate instructions are exact here, and directed rounding (.rz, .rm) is to nearest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .ptx import BYTES
from .values import NUMPY, UINT, as_bits, as_numbers


class Meaning(NamedTuple):
    """A function of numbers, the types that its operands have, and that of its result."""

    function: Callable[..., Any]
    operands: tuple[str, ...]
    result: str


def meaning(name: tuple[str, ...]) -> Meaning | None:
    """What an instruction computes, by the parts of its name; None if it is not one of these."""
    op, kind = name[0], name[-1]
    if op in ("mul", "mad") and "wide" in name:
        wide = kind[0] + str(16 * BYTES[kind])
        return Meaning(_wide_product, (kind, kind, wide)[:2 + (op == "mad")], wide)
    if op in ("mul", "mad") and "hi" in name:
        return Meaning(_high_product, (kind,) * (2 + (op == "mad")), kind)
    if op in _CONVERSIONS:
        return _CONVERSIONS[op](name)
    if op in ("min", "max"):
        quiet, loud = (np.fmin, np.minimum) if op == "min" else (np.fmax, np.maximum)
        return Meaning(loud if "NaN" in name else quiet, (kind, kind), kind)
    if op in ("shl", "shr"):
        return Meaning(_left if op == "shl" else _right, (kind, "u32"), kind)
    if op in _SAME:
        count, function = _SAME[op]
        return Meaning(function, (kind,) * count, kind)
    return {"bfe": Meaning(_bfe, (kind, "u32", "u32"), kind),
            "bfi": Meaning(_bfi, (kind, kind, "u32", "u32"), kind),
            "prmt": Meaning(_prmt, ("b32",) * 3, "b32"),
            "lop3": Meaning(_lop3, ("b32",) * 4, "b32"),
            "shf": Meaning(_funnel(name), ("b32",) * 3, "b32"),
            "selp": Meaning(lambda a, b, p: np.where(p, a, b), (_bits_of(kind), _bits_of(kind), "pred"),
                            _bits_of(kind))}.get(op)


def compare(how: str, x: Any, y: Any) -> Any:
    """setp's comparison: false where a number is NaN, but for those that end in u (unordered)."""
    if how in ("num", "nan"):
        nan = np.isnan(x) | np.isnan(y)
        return nan if how == "nan" else ~nan
    unordered = how.endswith("u")
    result = _COMPARE[how.removesuffix("u")](x, y)
    if np.asarray(x).dtype.kind != "f":
        return result
    nan = np.isnan(x) | np.isnan(y)
    return result | nan if unordered else result & ~nan


_COMPARE = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
            "ge": np.greater_equal, "lo": np.less, "ls": np.less_equal, "hi": np.greater,
            "hs": np.greater_equal}


def _fma(a: Any, b: Any, c: Any) -> Any:
    if a.dtype == np.float32:
        return (a.astype(np.float64) * b + c).astype(np.float32)
    return a * b + c


def _divide(a: Any, b: Any) -> Any:
    if a.dtype.kind == "f":
        return a / b
    quotient = np.abs(a.astype(object)) // np.maximum(np.abs(b.astype(object)), 1)
    return np.where((a < 0) != (b < 0), -quotient, quotient).astype(a.dtype)


def _remainder(a: Any, b: Any) -> Any:
    return a - _divide(a, b) * b


# Instructions whose operands and result have one type: how many operands, and what is done.
_SAME: dict[str, tuple[int, Callable[..., Any]]] = {
    "mov": (1, lambda a: a), "neg": (1, np.negative), "abs": (1, np.abs), "not": (1, np.invert),
    "ex2": (1, np.exp2), "lg2": (1, np.log2), "sqrt": (1, np.sqrt), "rsqrt": (1, lambda a: 1 / np.sqrt(a)),
    "rcp": (1, lambda a: 1 / a), "tanh": (1, np.tanh), "add": (2, np.add), "sub": (2, np.subtract),
    "mul": (2, np.multiply), "div": (2, _divide), "rem": (2, _remainder), "and": (2, np.bitwise_and),
    "or": (2, np.bitwise_or), "xor": (2, np.bitwise_xor), "copysign": (2, lambda a, b: np.copysign(b, a)),
    "fma": (3, _fma), "mad": (3, _fma),
}


def _wide_product(a: Any, b: Any, c: Any = 0) -> Any:
    wide = np.dtype(f"{a.dtype.kind}{2 * a.dtype.itemsize}")
    return a.astype(wide) * b.astype(wide) + np.asarray(c).astype(wide)


def _high_product(a: Any, b: Any, c: Any = 0) -> Any:
    bits = 8 * a.dtype.itemsize
    product = np.asarray(a).astype(object) * np.asarray(b).astype(object)
    high = np.frompyfunc(lambda p: (p >> bits) % (1 << bits), 1, 1)(product)
    return np.asarray(high).astype(UINT[a.dtype.itemsize]).view(a.dtype) + c


def _left(a: Any, n: Any) -> Any:
    bits = 8 * a.dtype.itemsize
    return np.where(n < bits, np.left_shift(a, np.minimum(n, bits - 1).astype(a.dtype)), a.dtype.type(0))


def _right(a: Any, n: Any) -> Any:
    bits = 8 * a.dtype.itemsize
    shifted = np.right_shift(a, np.minimum(n, bits - 1).astype(a.dtype))
    return shifted if a.dtype.kind == "i" else np.where(n < bits, shifted, a.dtype.type(0))


def _bfe(a: Any, position: Any, length: Any) -> Any:
    position, length = position.astype(np.int64) & 0xFF, length.astype(np.int64) & 0xFF
    field = (a.astype(np.int64) >> np.minimum(position, 63)) & ((1 << np.minimum(length, 62)) - 1)
    if a.dtype.kind == "i":
        sign = 1 << np.maximum(length - 1, 0)
        field = (field ^ sign) - sign
    return field.astype(a.dtype)


def _bfi(a: Any, b: Any, position: Any, length: Any) -> Any:
    position, length = (n.astype(np.uint64) & np.uint64(0xFF) for n in (position, length))
    ones = (np.uint64(1) << np.minimum(length, np.uint64(63))) - np.uint64(1)
    mask = (ones << position).astype(b.dtype)
    return b & ~mask | a << position.astype(a.dtype) & mask


def _prmt(a: Any, b: Any, select: Any) -> Any:
    both = a.astype(np.uint64) | b.astype(np.uint64) << np.uint64(32)
    result = np.zeros((), np.uint64)
    for k in range(4):
        pick = select.astype(np.uint64) >> np.uint64(4 * k) & np.uint64(15)
        byte = both >> (pick & np.uint64(7)) * np.uint64(8) & np.uint64(0xFF)
        sign = np.where(byte & np.uint64(0x80), np.uint64(0xFF), np.uint64(0))
        result = result | np.where(pick & np.uint64(8), sign, byte) << np.uint64(8 * k)
    return result.astype(np.uint32)


def _lop3(a: Any, b: Any, c: Any, table: Any) -> Any:
    result = np.zeros((), np.uint32)
    for k in range(8):
        term = (a if k & 4 else ~a) & (b if k & 2 else ~b) & (c if k & 1 else ~c)
        result = result | np.where(int(table) >> k & 1, term, np.uint32(0))
    return result


def _funnel(name: tuple[str, ...]) -> Callable[..., Any]:
    """shf: b and a as 64 bits, shifted left (the upper half is wanted) or right (the lower)."""
    def shift(a: Any, b: Any, n: Any) -> Any:
        both = a.astype(np.uint64) | b.astype(np.uint64) << np.uint64(32)
        n = n.astype(np.uint64)
        n = n & np.uint64(31) if "wrap" in name else np.minimum(n, np.uint64(32))
        return ((both << n) >> np.uint64(32) if "l" in name else both >> n).astype(np.uint32)
    return shift


# ---- Conversions -----------------------------------------------------------------------------------------

def _bits_of(kind: str) -> str:
    return f"b{8 * BYTES[kind]}"


def _cvt(name: tuple[str, ...]) -> Meaning:
    to, source = name[-2:]
    if to in ("bf16x2", "f16x2"):  # two numbers side by side, the first in the upper half
        half = to.removesuffix("x2")

        def pair(high: Any, low: Any) -> Any:
            upper, lower = as_bits(high, half), as_bits(low, half)
            return upper.astype(np.uint32) << np.uint32(16) | lower
        return Meaning(pair, (source, source), "b32")

    rounding = next((_ROUNDINGS[part] for part in name if part in _ROUNDINGS), np.trunc)

    def convert(x: Any) -> Any:
        if x.dtype.kind == "f" and to[0] in "us":
            info = np.iinfo(NUMPY[to])
            return np.where(np.isnan(x), 0, np.clip(rounding(x).astype(np.float64), info.min, info.max))
        if x.dtype.kind == "f" and _ROUNDINGS.keys() & set(name):
            x = rounding(x)
        if "sat" in name:
            x = np.where(np.isnan(x), x.dtype.type(0), np.clip(x, 0, 1))
        return x

    return Meaning(lambda x: convert(x).astype(np.float32 if to == "bf16" else NUMPY[to]), (source,), to)


_ROUNDINGS: dict[str, Callable[[Any], Any]] = {
    "rzi": np.trunc, "rni": np.rint, "rmi": np.floor, "rpi": np.ceil}


def compare_halves(how: str, kind: str, x: Any, y: Any) -> list[Any]:
    """setp of two 2-byte numbers in one register: the lower halves, then the upper."""
    halves = [[as_numbers((v >> np.uint32(16 * k)).astype(np.uint16), kind) for v in (x, y)] for k in (0, 1)]
    return [compare(how, *half) for half in halves]


_CONVERSIONS: dict[str, Callable[[tuple[str, ...]], Meaning]] = {"cvt": _cvt}
