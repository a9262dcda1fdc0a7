"""A softmax cross-entropy kernel under test: called in guarded memory, its results looked over and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .compare import Broken, agree, round_to, same_bits
from .cross_entropy_reference import Expected, expected
from .judge import Kernel
from .memory import Memory, to_host


class Result(NamedTuple):
    """What a kernel gave back, as NumPy arrays; dlogits is None without a gradient."""

    loss: np.ndarray
    lse: np.ndarray
    dlogits: Any


@dataclass
class CrossEntropy(Kernel):
    """A kernel with the signature of `kernels.softmax_cross_entropy`, called in guarded memory."""

    memory: Memory = field(default_factory=Memory)

    judged_by: ClassVar[str] = "check_softmax_cross_entropy"
    hints: ClassVar[Mapping[str, str]] = {
        "ZeroDivisionError": "the mean of no rows is 0 / 0: here it is 0",
        "not enough values to unpack": "logits have two axes, (rows, classes), and there may be no rows"}

    def __call__(self, x: np.ndarray, y: np.ndarray, options: Mapping[str, Any] | None = None, *,
                 gap: int = 0, shift: int = 0, in_place: bool = False, out_gap: int | None = None) -> Result:
        """(loss, lse, dlogits) for NumPy logits (R, V) and labels (R,).

        Args:
            options: keywords, arrays among them as NumPy arrays.
            gap, shift: where the logits lie; see `Memory.place`.
            in_place: pass out=logits.
            out_gap: pass an `out` of its own memory, with this gap between rows.
        """
        given = dict(options or {})
        inputs = {"logits": self.memory.place(x, gap=gap, shift=shift), "labels": self.memory.place(y)}
        for name in ("class_weights", "grad_loss"):
            if given.get(name) is not None:
                inputs[name] = self.memory.place(given[name])
        keywords = {k: inputs[k].array if k in inputs else v for k, v in given.items()}
        out = None
        if in_place:
            out = inputs["logits"]
        elif out_gap is not None:
            nothing = round_to(np.full(x.shape, np.nan), x.dtype.name)  # what is not written stays NaN
            out = self.memory.place(nothing, gap=out_gap, shift=shift)
        if out is not None:
            keywords["out"] = out.array
        returned = self.call((inputs["logits"].array, inputs["labels"].array), keywords)
        result = read_result(returned, x, given)
        self.calls.append(Call(x, y, given, result))
        for name, placed in inputs.items():
            placed.check(name, unchanged=placed is not out)
        if out is not None:
            out.check("out", unchanged=False)
            same_bits("out", out.values(), result.dlogits, "the gradient is not where out= says")
        return result


class Call(NamedTuple):
    """One call, for the diagnosis."""

    x: np.ndarray
    y: np.ndarray
    options: dict[str, Any]
    result: Result


def right(kernel: CrossEntropy, x: np.ndarray, y: np.ndarray, options: Mapping[str, Any], words: str = "",
           gap: int = 0, shift: int = 0) -> Result:
    """The kernel's results, after a look whether loss, lse and gradient are within the bound."""
    got = kernel(x, y, options, gap=gap, shift=shift)
    want: Expected = expected(x, y, **options, strict=kernel.strict)
    agree("loss", got.loss, want.loss, want.loss_error, "float32", f"{words}the loss is wrong".strip())
    agree("lse", got.lse, want.lse, want.lse_error, "float32", f"{words}the log-sum-exp is wrong".strip())
    agree("dlogits", got.dlogits, want.dlogits, want.dlogits_error, x.dtype.name,
          f"{words}the gradient is wrong".strip())
    return got


def read_result(returned: Any, x: np.ndarray, options: Mapping[str, Any]) -> Result:
    """What a kernel returned for logits x, as NumPy arrays.

    Raises:
        Broken: these are not three arrays of the right shapes and types.
    """
    if not isinstance(returned, tuple | list) or len(returned) != 3:
        what = type(returned).__name__
        if isinstance(returned, tuple | list):
            what += f" of {len(returned)} values"
        raise Broken(f"the kernel must return (loss, lse, dlogits), not a {what}")
    loss, lse, d = returned
    loss, lse = to_host(loss), to_host(lse)
    d = None if d is None else to_host(d)
    shape = (len(x),) if options.get("reduction") == "none" else ()
    cause = _shapes(loss.shape, lse.shape, None if d is None else d.shape, shape, x.shape)
    for name, got, want in (("loss", loss, shape), ("lse", lse, (len(x),))):
        if got.shape != want:
            raise Broken(f"{name} has the wrong shape", f"{name}.shape", got.shape, want, cause=cause)
        if got.dtype not in (np.float32, np.float64):
            raise Broken(f"{name} must be float32 or wider", f"{name}.dtype", got.dtype, "float32")
    if d is not None and d.shape != x.shape:
        raise Broken("dlogits has the wrong shape", "dlogits.shape", d.shape, x.shape, cause=cause)
    if d is not None and d.dtype != x.dtype:
        raise Broken("dlogits must have the logits' element type", "dlogits.dtype", d.dtype, x.dtype)
    if d is None and options.get("gradient", True):
        raise Broken("the kernel returned no gradient", "dlogits", None, f"an array {x.shape}")
    return Result(loss, lse, d)


def _shapes(loss: Any, lse: Any, d: Any, of_loss: Any, logits: Any) -> str:
    """What wrong shapes of loss, lse and dlogits look like, or ""."""
    R, V = logits
    if (loss, lse, d) != (of_loss, (R,), logits) and sorted(map(str, (loss, lse, d))) == sorted(
            map(str, (of_loss, (R,), logits))):
        return "it looks as if the results came in another order: they are (loss, lse, dlogits)"
    if lse in ((V,), (1, V)) and R not in (1, V):
        return "it looks as if softmax was taken over axis 0: each row is a distribution, so it is axis 1"
    if lse == (R, 1):
        return "lse was left with an axis of 1, as by keepdims=True: lse[:, 0] drops it"
    if loss == (R,):
        return "it looks as if the loss was not averaged: reduction is 'mean' unless it is given"
    return ""
