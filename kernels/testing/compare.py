"""How two arrays are compared: in units of the last place, bit by bit, and what is said when they differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.arrays import numpy_dtype

# Bits of the mantissa that are stored, and the exponent of the smallest normal number.
FORMATS = {"float64": (52, -1022), "float32": (23, -126), "float16": (10, -14), "bfloat16": (7, -126)}


class Broken(Exception):
    """A property does not hold.

    Attributes:
        what: the sentence that is wrong about the kernel.
        where: name and first wrong index of the array, or "".
        got, wanted: the two values there, or None.
        ulps: the largest error of the array in units of the last place of its element type, or None.
        cause: what it looks as if, where that is plain at once, or "".
    """

    def __init__(self, what: str, where: str = "", got: Any = None, wanted: Any = None,
                 ulps: float | None = None, cause: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.got, self.wanted, self.ulps = what, where, got, wanted, ulps
        self.cause = cause

    def __str__(self) -> str:
        text = self.what
        if self.where:
            text += f": {self.where} = {self.got}, wanted {self.wanted}"
        if self.ulps is not None:
            text += f" (largest error {self.size})"
        return text

    @property
    def size(self) -> str:
        """The largest error in words; far from the right number its exact size says nothing."""
        if self.ulps is None:
            return ""
        return f"{self.ulps:.3g} ulp" if self.ulps <= 1e6 else "more than 1e6 ulp"


class Unsupported(Exception):
    """The kernel has no such option, or refuses it; the message names it."""


def ulp(values: Any, dtype: str) -> np.ndarray:
    """The distance between neighbouring numbers of `dtype` at |values|, subnormal ones included."""
    bits, lowest = FORMATS[dtype]
    finite = np.where(np.isfinite(values), np.abs(values), 0).astype(np.float64)
    exponent = np.frexp(finite)[1] - 1
    return np.ldexp(1.0, np.where(finite == 0, lowest, np.maximum(exponent, lowest)) - bits)


def agree(name: str, got: Any, want: Any, tolerance: Any, dtype: str, what: str) -> None:
    """Every element within its tolerance; inf and nan where they are wanted and nowhere else.

    Args:
        name: of the array, for the message.
        got, want: of one shape.
        tolerance: absolute, of a shape that broadcasts.
        dtype: whose ulp the error is stated in.
        what: what is wrong if they differ.

    Raises:
        Broken: with the first wrong index.
    """
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if got.shape != want.shape:
        raise Broken(f"{name} has the wrong shape", name + ".shape", got.shape, want.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        finite = np.isfinite(got) & np.isfinite(want)
        right = np.where(finite, np.abs(got - want) <= tolerance,
                         (got == want) | (np.isnan(got) & np.isnan(want)))
    if right.all():
        return
    wrong = finite & ~right
    with np.errstate(over="ignore", invalid="ignore"):
        worst = float(np.max(np.abs(got - want)[wrong] / ulp(want, dtype)[wrong])) if wrong.any() else None
    raise _broken(name, ~right, got, want, what, worst)


def same_bits(name: str, got: Any, want: Any, what: str) -> None:
    """Every element the same, the sign of zero included; nan equals nan.

    Raises:
        Broken: with the first wrong index.
    """
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape or got.dtype != want.dtype:
        raise Broken(f"{name} has the wrong shape or type", name, f"{got.dtype} {got.shape}",
                     f"{want.dtype} {want.shape}")
    a, b = got.astype(np.float64), want.astype(np.float64)  # exact, and knows nan
    with np.errstate(invalid="ignore"):
        different = ~(((a == b) & (np.signbit(a) == np.signbit(b))) | (np.isnan(a) & np.isnan(b)))
    if not different.any():
        return
    worst = None
    if got.dtype.name in FORMATS:
        wrong = different & np.isfinite(a) & np.isfinite(b)
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.abs(a - b) / ulp(b, got.dtype.name)
        worst = float(np.max(error[wrong])) if wrong.any() else None
    raise _broken(name, different, got, want, what, worst)


def all_zero(name: str, got: Any, what: str) -> None:
    """Every element 0.

    Raises:
        Broken: with the first wrong index.
    """
    got = np.asarray(got)
    agree(name, got, np.zeros(got.shape), 0.0, "float32", what)


def round_to(values: Any, dtype: str) -> np.ndarray:
    """The values rounded to the nearest of `dtype`."""
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(numpy_dtype(dtype))


def _broken(name: str, wrong: np.ndarray, got: np.ndarray, want: np.ndarray, what: str,
            ulps: float | None) -> Broken:
    index = tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.ndim else ()
    where = name + (f"[{', '.join(map(str, index))}]" if index else "")
    return Broken(what, where, f"{float(got[index]):.9g}", f"{float(want[index]):.9g}", ulps)
