"""Compare a learner's result with the right one, and say the first thing that is wrong, in two languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm.autograd import Tensor

Name = str | tuple[str, str]  # of a result: one for both languages, or (English, Chinese)


@dataclass(frozen=True)
class Difference:
    """The first thing that is wrong with a result.

    Attributes:
        kind: "nothing", "type", "length", "keys", "shape", "nan", "inf", "value" or "dtype".
        en, zh: what it is.
        got, want: the arrays at fault, where they are.
    """

    kind: str
    en: str
    zh: str
    got: np.ndarray | None = None
    want: np.ndarray | None = None


def difference(got: Any, want: Any, rtol: float = 1e-6, atol: float = 1e-9, names: Sequence[Name] = (),
               name: Name = "") -> Difference | None:
    """The first difference between a result and the right one, or None.

    Looked for in this order: nothing returned, another type or number of parts, another shape, nan or inf,
    the first number that is wrong (told with how many are, and the largest error), another dtype.

    Args:
        got: what was computed: an array of any shape, a Tensor, a number, or tuples, lists and dicts of them.
        want: what is right, of the same kinds.
        rtol, atol: |got - want| may be atol + rtol |want|, element by element; whole numbers must be equal.
        names: what the parts are called, where `want` is a tuple: ("loss", "dlogits").
        name: what the result itself is called; "" says "the result".
    """
    what, das = _called(name) if name else ("the result", "结果")
    if want is None:
        return None if got is None else Difference(
            "type", f"{what} should be None, not {kind_of(got)}", f"{das}应为 None，而不是 {kind_of(got)}")
    if got is None:
        return Difference("nothing", f"{what} is None: is a `return` missing?",
                          f"{das}是 None：是不是漏了 `return`？")
    if isinstance(want, dict):
        return _of_dict(got, want, rtol, atol, what, das)
    if isinstance(want, tuple | list):
        return _of_sequence(got, want, rtol, atol, names, what, das)
    if isinstance(want, str | bytes) or not _numeric(want):
        if type(got) is type(want) and bool(got == want):
            return None
        kind = "value" if type(got) is type(want) else "type"
        return Difference(kind, f"{what} is {_short(got)}; it should be {_short(want)}",
                          f"{das}是 {_short(got)}，应为 {_short(want)}")
    if not _numeric(got):
        return Difference("type", f"{what} is {kind_of(got)}; it should be {kind_of(want)}",
                          f"{das}是 {kind_of(got)}，应为 {kind_of(want)}")
    return _of_arrays(array(got), array(want), rtol, atol, what, das)


def array(x: Any) -> np.ndarray:
    """The numbers of an array, a Tensor or a number."""
    return np.asarray(x.data if isinstance(x, Tensor) else x)


def _numeric(x: Any) -> bool:
    if isinstance(x, Tensor | np.ndarray | np.generic | int | float | complex):
        return array(x).dtype.kind in "biufc"
    if isinstance(x, list):  # where an array is wanted, a list of numbers is nearly one
        try:
            return np.asarray(x).dtype.kind in "biufc"
        except ValueError:
            return False
    return False


def kind_of(x: Any) -> str:
    """What something is, for both languages: `array(3, 4)`, `tuple[2]`, `str`."""
    if isinstance(x, Tensor):
        return f"Tensor{x.shape}"
    if isinstance(x, np.ndarray):
        return f"array{x.shape}"
    if isinstance(x, tuple | list):
        return f"{type(x).__name__}[{len(x)}]"
    return type(x).__name__


def _called(name: Name) -> tuple[str, str]:
    """A name as the sentences of both languages begin with it."""
    en, zh = (name, name) if isinstance(name, str) else name
    return en, f"{zh} " if zh[-1:].isascii() else zh


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 70 else text[:67] + "..."


def _of_dict(got: Any, want: dict, rtol: float, atol: float, what: str, das: str) -> Difference | None:
    if not isinstance(got, dict):
        return Difference("type", f"{what} is {kind_of(got)}; it should be a dict",
                          f"{das}是 {kind_of(got)}，应为 dict")
    for key in want:
        if key not in got:
            return Difference("keys", f"{what} lacks the key {key!r}", f"{das}缺少键 {key!r}")
    for key in got:
        if key not in want:
            return Difference("keys", f"{what} has the key {key!r}, which it should not have",
                              f"{das}多了键 {key!r}")
    for key, right in want.items():
        name = "result" if what == "the result" else what
        # A key that says itself what it is, such as 'a.grad', needs nothing around it.
        telling = isinstance(key, str) and what == "the result" and not key.replace("_", "").isalnum()
        found = difference(got[key], right, rtol, atol, (), key if telling else f"{name}[{key!r}]")
        if found is not None:
            return found
    return None


def _of_sequence(got: Any, want: Any, rtol: float, atol: float, names: Sequence[Name], what: str,
                 das: str) -> Difference | None:
    if not isinstance(got, tuple | list) and isinstance(want, tuple) and what == "the result":
        return _not_all_returned(got, len(want), names)
    en, zh = both(names) if names else (f"{len(want)}",) * 2
    if not isinstance(got, tuple | list):
        return Difference("type", f"{what} is {kind_of(got)}; it should be a {type(want).__name__} ({en})",
                          f"{das}是 {kind_of(got)}，应为 {type(want).__name__}（{zh}）")
    if len(got) != len(want):
        return Difference("length", f"{what} has {len(got)} parts; it should have {len(want)}"
                          + (f": {en}" if names else ""),
                          f"{das}有 {len(got)} 个部分，应有 {len(want)} 个" + (f"：{zh}" if names else ""))
    for i, (one, right) in enumerate(zip(got, want, strict=True)):
        part = names[i] if i < len(names) else f"{'result' if what == 'the result' else what}[{i}]"
        found = difference(one, right, rtol, atol, (), part)
        if found is not None:
            return found
    return None


def _not_all_returned(got: Any, n: int, names: Sequence[Name]) -> Difference:
    """One result where a function has more to return."""
    one, one_zh = kind_of(got), f" {kind_of(got)}"
    if _numeric(got):
        shape = array(got).shape
        one, one_zh = (f"one array, of shape {shape}", f"一个数组，形状 {shape}") if shape else (
            "one number", "一个数")
    en = f"the function returned {one}; it should return {n} results"
    zh = f"函数只返回了{one_zh}；应返回 {n} 个结果"
    if names:
        en, zh = f"{en}: {both(names)[0]}", f"{zh}：{'、'.join(_called(name)[1].rstrip() for name in names)}"
        code = both(names)[0]
        if all(isinstance(name, str) and name.isidentifier() for name in names):
            en, zh = f"{en} (`return {code}`)", f"{zh}（写成 `return {code}`）"
    return Difference("type", en, zh)


def both(names: Sequence[Name]) -> tuple[str, str]:
    """A list of names, in English and in Chinese."""
    pairs = [(name, name) if isinstance(name, str) else name for name in names]
    all_ascii = all(zh.isascii() for _, zh in pairs)
    return ", ".join(en for en, _ in pairs), (", " if all_ascii else "、").join(zh for _, zh in pairs)


def close(got: np.ndarray, want: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """Elementwise, whether |got - want| <= atol + rtol |want|; nan is close to nan."""
    if got.dtype.kind in "bui" and want.dtype.kind in "bui":
        return np.asarray(got == want)
    with np.errstate(all="ignore"):
        return np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)


def _of_arrays(got: np.ndarray, want: np.ndarray, rtol: float, atol: float, what: str,
               das: str) -> Difference | None:
    if got.shape != want.shape:
        return Difference("shape", f"{what} has shape {got.shape}; it should have shape {want.shape}",
                          f"{das}的形状是 {got.shape}，应为 {want.shape}", got, want)
    for kind, test, zh_name in (("nan", np.isnan, "nan"), ("inf", np.isinf, "inf")):
        fine = test(want) if want.dtype.kind in "fc" else np.zeros(want.shape, bool)
        if got.dtype.kind in "fc" and np.any(bad := test(got) & ~fine):
            at = _first(bad)
            return Difference(kind, f"{what}{_at(at)} is {_number(got[at])}; it should be "
                              f"{_number(want[at])} ({int(bad.sum())} of {bad.size} are {kind})",
                              f"{das}{_at(at)}{_gap(at)}是 {_number(got[at])}，应为 {_number(want[at])}"
                              f"（{bad.size} 个数中有 {int(bad.sum())} 个是 {zh_name}）", got, want)
    wrong = ~close(got, want, rtol, atol)
    if np.any(wrong):
        return _of_values(got, want, wrong, what, das)
    if got.ndim and got.dtype != want.dtype:
        return Difference("dtype", f"{what} has dtype {got.dtype}; it should have {want.dtype} (the numbers "
                          "are right)", f"{das}的 dtype 是 {got.dtype}，应为 {want.dtype}（数值是对的）",
                          got, want)
    return None


def _of_values(got: np.ndarray, want: np.ndarray, wrong: np.ndarray, what: str, das: str) -> Difference:
    at = _first(wrong)
    mine, right = _told_apart(got[at], want[at])
    en = f"{what}{_at(at)} is {mine}; it should be {right}"
    zh = f"{das}{_at(at)}{_gap(at)}是 {mine}，应为 {right}"
    if wrong.size > 1:
        with np.errstate(all="ignore"):
            off = np.abs(got.astype(complex) - want.astype(complex))
        off = np.where(np.isnan(off), -1.0, off)
        most = tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
        count, error = int(wrong.sum()), _number(off[most])
        en += f". {count} of {wrong.size} are wrong; the largest error is {error}, at {_at(most)}"
        zh += f"。{wrong.size} 个数中有 {count} 个不对；最大误差 {error}，在 {_at(most)} 处"
    return Difference("value", en, zh, got, want)


def _first(wrong: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.ndim else ()


def _at(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""


def _gap(index: tuple[int, ...]) -> str:
    """Between an index and Chinese."""
    return " " if index else ""


def _number(x: Any, digits: int = 6) -> str:
    return str(x) if np.asarray(x).dtype.kind in "bui" else f"{x:.{digits}g}"


def _told_apart(got: Any, want: Any) -> tuple[str, str]:
    """Two numbers that differ, with as many digits as it takes to see it."""
    for digits in (6, 9, 12, 17):
        mine, right = _number(got, digits), _number(want, digits)
        if mine != right:
            break
    return mine, right
