"""Likely causes that any exercise may have: a wrong array compared with simple changes of the right one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .compare import Name, array, both, close, difference

_FUNCTIONS: tuple[tuple[str, Any, str, str], ...] = (
    ("exp", np.exp, "it is e to the power of the right answer: a logarithm is missing",
     "它是 e 的（正确答案）次方：漏了取对数"),
    ("log", np.log, "it is the logarithm of the right answer: an exponential is missing",
     "它是正确答案的对数：漏了取指数"),
    ("square", np.square, "it is the square of the right answer: a square root is missing",
     "它是正确答案的平方：漏了开方"),
    ("root", np.sqrt, "it is the square root of the right answer", "它是正确答案的平方根：多开了一次方"),
    ("inverse", np.reciprocal, "it is one over the right answer", "它是正确答案的倒数"),
)


@dataclass(frozen=True)
class Cause:
    """A likely cause.

    Attributes:
        key: its name: "sign", "transposed", ...
        en, zh: what to say.
    """

    key: str
    en: str
    zh: str


def likely_cause(pairs: Sequence[tuple[np.ndarray, np.ndarray]], arguments: Sequence[tuple[Any, ...]],
                 rtol: float = 1e-6, atol: float = 1e-9) -> Cause | None:
    """One mistake that explains the results of all cases, or None: a sign, a transpose, a missing mean, a
    constant factor, a missing unbroadcast, and more.

    Args:
        pairs: (got, right) of one output, a pair for each case; arrays of any shape. Some may agree.
        arguments: what the function was called with in each case, in the same order: their shapes tell which
            axis a factor is the length of.
        rtol, atol: |a - b| may be atol + rtol |b| where two numbers count as equal.

    Returns:
        The cause: a key such as "transposed", and what to say in English and Chinese.
    """
    if not pairs or any(g.dtype.kind not in "biuf" or w.dtype.kind not in "biuf" for g, w in pairs):
        return None

    def same(a: np.ndarray, b: np.ndarray) -> bool:
        return a.shape == b.shape and bool(np.all(close(a, b, rtol, atol)))

    with np.errstate(all="ignore"):
        if any(g.shape != w.shape for g, w in pairs):
            pairs = [(g, w) for g, w in pairs if g.shape != w.shape]
            return _of_shapes(pairs, same)
        if any(not w.size for _, w in pairs):
            return None
        wrong = [(i, g.astype(float), w.astype(float)) for i, (g, w) in enumerate(pairs) if not same(g, w)]
        if not wrong:
            return None
        return (_of_scale(wrong, arguments, rtol, same) or _of_places(wrong, same)
                or _of_functions(wrong, arguments, same))


def _of_shapes(pairs: Sequence[tuple[np.ndarray, np.ndarray]], same: Any) -> Cause | None:
    if all(g.ndim > 1 and same(g.T, w) for g, w in pairs):
        return Cause("transposed", "it is the transpose of the right answer", "它是正确答案的转置")
    if all(g.size == w.size and same(g.reshape(w.shape), w) for g, w in pairs):
        return Cause("reshaped", "the numbers are right and only the shape is not: look at keepdims, reshape "
                     "and indexing", "数值是对的，只是形状不对：看看 keepdims、reshape 和下标")
    if all(_summed(g, w, same) for g, w in pairs):
        return Cause("unbroadcast", "a broadcast was not undone: what was repeated along an axis on the way "
                     "forward has its gradient summed along that axis on the way back",
                     "广播没有还原：前向时沿某个轴复制过的量，反向时要把梯度沿该轴求和")
    if all(w.ndim == 0 and g.ndim and (same(g.mean(), w) or same(g.sum(), w)) for g, w in pairs):
        mean = all(same(g.mean(), w) for g, w in pairs)
        return Cause("not_reduced", f"the {'mean' if mean else 'sum'} over all elements is missing",
                     f"最后漏了对所有元素求{'平均' if mean else '和'}")
    return None


def _summed(got: np.ndarray, want: np.ndarray, same: Any) -> bool:
    try:
        if np.broadcast_shapes(got.shape, want.shape) != got.shape:
            return False
    except ValueError:
        return False
    ones = (1,) * (got.ndim - want.ndim) + want.shape
    axes = tuple(i for i, n in enumerate(ones) if n == 1 and got.shape[i] != 1)
    return same(got.sum(axes, keepdims=True).reshape(want.shape), want)


def _of_scale(wrong: list[tuple[int, np.ndarray, np.ndarray]], arguments: Sequence[tuple[Any, ...]],
              rtol: float, same: Any) -> Cause | None:
    factors = []
    for _, got, want in wrong:
        at = int(np.argmax(np.abs(want)))
        factor = got.reshape(-1)[at] / want.reshape(-1)[at] if want.reshape(-1)[at] else math.nan
        if not math.isfinite(factor) or factor == 0 or not same(got / factor, want):
            return _of_offset(wrong)
        factors.append(factor)
    if all(math.isclose(f, -1, rel_tol=1e-6) for f in factors):
        return Cause("sign", "the sign is flipped", "符号反了")
    for power, key, en, zh in ((1, "mean", "the mean is missing: divide by {n}", "漏了求平均：还要除以{n}"),
                               (-1, "mean_twice", "it is divided by {n} once too often", "多除了一次{n}")):
        where = _size([f**power for f in factors], [arguments[i] for i, _, _ in wrong])
        if where is not None:
            return Cause(key, en.format(n=where[0]), zh.format(n=where[1]))
    if len(factors) > 1 and max(factors) - min(factors) > 1e-6 * abs(factors[0]):
        return None
    f = factors[0]
    for base in (2, 10):
        if math.isclose(f, 1 / math.log(base), rel_tol=1e-6):
            return Cause("log_base", f"it is a logarithm to base {base}; the natural one is meant",
                         f"用了以 {base} 为底的对数，这里要用自然对数")
    if len(wrong) == 1 and wrong[0][2].size == 1:
        return None  # one number is always some factor of another
    return Cause("factor", f"it is {f:.6g} times the right answer: a constant factor is missing or too much",
                 f"它是正确答案的 {f:.6g} 倍：漏了或多了一个常数因子")


def _size(factors: list[float], arguments: Sequence[tuple[Any, ...]]) -> tuple[str, str] | None:
    """The axis whose length the factors are, for all cases."""
    shapes = [[array(a).shape if _is_array(a) else () for a in args] for args in arguments]
    for k in range(min(map(len, shapes))):
        for axis in range(min(len(s[k]) for s in shapes)):
            if shapes[0][k][axis] > 1 and all(math.isclose(f, s[k][axis], rel_tol=1e-6)
                                              for f, s in zip(factors, shapes, strict=True)):
                return (f"{shapes[0][k][axis]}, the length of axis {axis} of argument {k + 1}",
                        f" {shapes[0][k][axis]}（第 {k + 1} 个参数的第 {axis} 轴的长度）")
        total = [math.prod(s[k]) for s in shapes]
        if total[0] > 1 and np.allclose(factors, total, rtol=1e-6):
            return (f"{total[0]}, the number of elements of argument {k + 1}",
                    f" {total[0]}（第 {k + 1} 个参数的元素个数）")
    return None


def _of_offset(wrong: list[tuple[int, np.ndarray, np.ndarray]]) -> Cause | None:
    if all(not np.any(got) for _, got, _ in wrong):
        return Cause("zeros", "it is all zeros: is the result ever written?", "全是零：结果写进去了吗？")
    if any(want.size < 2 for _, _, want in wrong):
        return None
    offsets = [got - want for _, got, want in wrong]
    if all(np.ptp(o) <= 1e-6 * abs(o.flat[0]) for o in offsets):
        by = offsets[0].flat[0]
        return Cause("offset", f"every element is off by the same amount ({by:.6g})",
                     f"每个数都差同一个值（{by:.6g}）")
    return None


def _of_places(wrong: list[tuple[int, np.ndarray, np.ndarray]], same: Any) -> Cause | None:
    if all(g.ndim == 2 and g.shape[0] == g.shape[1] and same(g.T, w) for _, g, w in wrong):
        return Cause("transposed", "it is the transpose of the right answer", "它是正确答案的转置")
    for axis in range(min(g.ndim for _, g, _ in wrong)):
        if any(g.shape[axis] < 2 for _, g, _ in wrong):
            continue
        if all(same(np.flip(g, axis), w) for _, g, w in wrong):
            return Cause("reversed", f"it is in reverse order along axis {axis}", f"沿第 {axis} 轴的顺序反了")
        if any(g.shape[axis] < 3 for _, g, _ in wrong):
            continue
        for by in (1, -1):
            inner = slice(1, None) if by == 1 else slice(None, -1)
            if all(same(np.take(g, range(g.shape[axis])[inner], axis), np.take(
                    w, range(w.shape[axis])[slice(None, -1) if by == 1 else slice(1, None)], axis))
                   for _, g, w in wrong):
                en, zh = ("late", "晚") if by == 1 else ("early", "早")
                return Cause("shifted", f"it is one step too {en} along axis {axis}",
                             f"沿第 {axis} 轴{zh}了一位")
    return None


def _of_functions(wrong: list[tuple[int, np.ndarray, np.ndarray]], arguments: Sequence[tuple[Any, ...]],
                  same: Any) -> Cause | None:
    for key, f, en, zh in _FUNCTIONS:
        if all(same(g, f(w)) for _, g, w in wrong):
            return Cause(key, en, zh)
    for k in range(min(len(arguments[i]) for i, _, _ in wrong)):
        given = [arguments[i][k] for i, _, _ in wrong]
        if all(_is_array(a) and same(g, array(a)) for a, (_, g, _) in zip(given, wrong, strict=True)):
            return Cause("unchanged", f"it is argument {k + 1}, unchanged",
                         f"它就是第 {k + 1} 个参数，没有变")
    return None


def _is_array(a: Any) -> bool:
    return hasattr(a, "dtype") and hasattr(a, "shape") and array(a).dtype.kind in "biuf"


def swapped(got: Any, want: Any, rtol: float, atol: float, names: Sequence[Name] = ()) -> Cause | None:
    """The right parts in another order."""
    if not isinstance(got, tuple | list) or not isinstance(want, tuple | list) or len(got) != len(want) > 1:
        return None
    if len(want) > 4:
        return None
    for order in itertools.permutations(range(len(want))):
        if order != tuple(range(len(want))) and all(
                difference(got[i], want[j], rtol, atol) is None for i, j in enumerate(order)):
            en, zh = both(names or [f"result[{i}]" for i in range(len(want))])
            return Cause("order", f"all parts are right, but in another order; the order is {en}",
                         f"各部分都对，但次序不对；次序应为 {zh}")
    return None
