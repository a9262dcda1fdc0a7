"""Softmax cross-entropy with its gradient, on any backend: checks, allocation, and three launches.

    scales   (1/D, 1/N) from the labels           only for reduction="mean"
    rows     loss, lse and gradient of every row   the kernel that moves the data
    total    the sum of the rows' losses           unless reduction="none"

No value comes back to the host between them, so a GPU's queue is never drained.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from minillm.formulas.checks import first_outside

from . import arrays, backends
from .arrays import View
from .guards import around
from .tuning import MAX_VOCAB

REDUCTIONS = ("mean", "sum", "none")


def softmax_cross_entropy(logits: Any, labels: Any, *, ignore_index: int = -100,
                          label_smoothing: float = 0.0, z_loss: float = 0.0,
                          class_weights: Any = None, softcap: float | None = None,
                          reduction: str = "mean", grad_loss: Any = None, out: Any = None,
                          gradient: bool = True, backend: str | None = None) -> tuple[Any, Any, Any]:
    """Cross-entropy of softmax(logits) against integer labels, and its gradient, in one pass over the logits.

        x = c tanh(logits / c)                           with a softcap c, else the logits
        lse = log sum_j exp(x_j)
        l = (1-e) w_y (lse - x_y) + (e/K) sum_j w_j (lse - x_j)
        loss = sum_i l_i / D + sum_i zeta lse_i^2 / N    reduction "mean"
        dl/dx_j = (sum_k q_k) p_j - q_j,   q_j = (1-e) w_y [j = y] + (e/K) w_j

    with D the sum of the kept labels' weights and N their number; "sum" has D = N = 1, and "none" gives
    each row's own l + zeta lse^2. A logit of -inf is a class that is not there: K counts the others.
    Arithmetic is in float32 (float64 for float64 logits) and results are rounded once. The label's
    gradient keeps its relative accuracy as its probability goes to 1.

    Args:
        logits: (..., V), float32, float16 or bfloat16 (float64 on "numpy"); of NumPy, CuPy, torch or
            anything with DLPack. Rows may lie any distance apart; another layout is copied.
        labels: (...), integers in [0, V) or `ignore_index`.
        ignore_index: label of rows that do not count: their loss, lse and gradient are 0 and their logits
            are not read.
        label_smoothing: e in [0, 1).
        z_loss: zeta >= 0, in nats per nats^2.
        class_weights: (V,), w >= 0; None is 1 for all.
        softcap: c > 0, in the unit of the logits, or None. -inf stays -inf.
        reduction: "mean", "sum" or "none".
        grad_loss: upstream gradient dL/dloss, () or, for "none", (...); a factor on dlogits. None is 1.
        out: where dlogits go; `out=logits` overwrites them. By default a new array.
        gradient: False computes no gradient, and dlogits is None: half the traffic, for evaluation.
        backend: "numpy", "triton", "cuda", or None: what suits the array's device. On CPU arrays "triton"
            runs in Triton's interpreter and "cuda" runs the CUDA C source on the CPU: right, but slow.

    Returns:
        (loss, lse, dlogits): loss () or (...) and lse (...), in nats, float32 or wider; dlogits (..., V)
        in the logits' dtype. All of the logits' library and on their device. Nothing waits for the GPU.

    Raises:
        ValueError: shapes, devices or options do not fit, or (on the CPU) a label is out of range. On a GPU
            such a label makes its row NaN, and with it the mean; nothing outside the row is read.
        TypeError: labels are not integers, or logits no floats that the backend knows.
        kernels.backends.BackendUnavailable: the backend cannot run here; the message says what is missing.

    Source: article sections 4.1 and 5.1; Szegedy et al. 2016 (e); Chowdhery et al. 2022 (zeta).
    """
    x = Rows.of("logits", logits)
    y = row_labels(labels, x, ignore_index)
    options = check_options(ignore_index, label_smoothing, z_loss, softcap)
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction = {reduction!r} must be one of {', '.join(map(repr, REDUCTIONS))}")
    chosen = backend_for(backend, x)
    wide = "float64" if x.rows.dtype == "float64" else "float32"
    weights = factors_of("class_weights", class_weights, x, wide, [(x.vocab,)])
    shapes = [(), x.shape[:-1]] if reduction == "none" else [()]
    grad = factors_of("grad_loss", grad_loss, x, wide, shapes)
    dx = Rows.of("out", _out(out, x)) if gradient else None
    if dx is not None and out is not None:
        for name, other in (("labels", y), ("class_weights", weights), ("grad_loss", grad)):
            if other is not None and overlap(dx.rows, other):
                raise ValueError(f"out overlaps {name}: pass memory of its own, or out=logits")
    fresh = arrays.empty if x.vocab else arrays.zeros  # no class, so every label is ignored
    losses, lse = (fresh(x.owner, (len(x),), wide) for _ in range(2))
    factors = launch_scales(chosen, x, y, weights, ignore_index, wide) if reduction == "mean" else None
    launch_rows(chosen, x.rows, y, None if dx is None else dx.rows, arrays.view(losses), arrays.view(lse),
                scales=factors, weights=weights, grad=grad, **options)
    if dx is not None and out is not None:
        arrays.changed([out])
    loss = losses.reshape(x.shape[:-1]) if reduction == "none" else launch_total(chosen, losses)
    return (arrays.as_kind(loss, logits), arrays.as_kind(lse.reshape(x.shape[:-1]), logits),
            None if dx is None else arrays.as_kind(dx.owner if out is None else out, logits))


def launch_scales(backend: ModuleType, x: Rows, y: View, weights: View | None, ignore_index: int,
                  dtype: str) -> View:
    """(1/D, 1/N) on the logits' device, which the mean divides by."""
    out = arrays.view(arrays.zeros(x.owner, (2,), dtype))
    if len(x):
        names = ("labels", "class_weights", "scales")
        with around(backend, (y, weights, out), names) as (y_, weights_, out_):
            backend.scales(y_, weights_, out_, ignore_index=ignore_index, vocab=x.vocab)
    return out


def launch_rows(backend: ModuleType, x: View, y: View, dx: View | None, loss: View, lse: View, *,
                scales: View | None, weights: View | None, grad: View | None, **options: Any) -> None:
    """The kernel over all rows of x, in guarded copies where the arrays are on the CPU."""
    names = ("logits", "labels", "dlogits", "loss", "lse", "scales", "class_weights", "grad_loss")
    if x.size:
        with around(backend, (x, y, dx, loss, lse, scales, weights, grad), names) as moved:
            x_, y_, dx_, loss_, lse_, scales_, weights_, grad_ = moved
            backend.rows(x_, y_, dx_, loss_, lse_, scales=scales_, grad=grad_, weights=weights_, **options)


def launch_total(backend: ModuleType, losses: Any) -> Any:
    """The sum of the rows' losses, an array () beside them."""
    out = arrays.zeros(losses, ())
    if losses.shape[0]:
        with around(backend, (arrays.view(losses), arrays.view(out)), ("loss", "total")) as (losses_, out_):
            backend.total(losses_, out_)
    return out


def check_options(ignore_index: int, label_smoothing: float, z_loss: float,
                  softcap: float | None) -> dict[str, Any]:
    """The options of `rows`, as Python's own numbers.

    Raises:
        ValueError: one is out of range.
    """
    if not -2**63 <= ignore_index < 2**63:
        raise ValueError(f"ignore_index = {ignore_index} is no 64-bit integer")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing = {label_smoothing} is outside [0, 1)")
    if not 0 <= z_loss < math.inf:
        raise ValueError(f"z_loss = {z_loss} must be finite and not negative")
    if softcap is not None and not 0 < softcap < math.inf:
        raise ValueError(f"softcap = {softcap} must be finite and positive; None is no cap")
    return {"ignore_index": int(ignore_index), "label_smoothing": float(label_smoothing),
            "z_loss": float(z_loss), "softcap": None if softcap is None else float(softcap)}


@dataclass(frozen=True)
class Rows:
    """An array of logits as rows.

    Attributes:
        owner: the array, of NumPy, CuPy or torch; a copy if its own layout has no single row stride.
        rows: (R, V) view of it.
        shape: the caller's.
    """

    owner: Any
    rows: View
    shape: tuple[int, ...]

    @classmethod
    def of(cls, name: str, array: Any) -> Rows:
        array = arrays.adopt(array)
        seen = arrays.view(array)
        if not seen.shape:
            raise ValueError(f"{name} must be (..., V), not a single number")
        if seen.dtype not in arrays.FLOATS:
            raise TypeError(f"{name} must be floats, not {seen.dtype}")
        stride = row_stride(seen)
        if stride is None:
            if name == "out":
                raise ValueError(f"out has strides {seen.strides}; its columns must be adjacent and its rows "
                                 "a single distance apart: leave it out, or pass a contiguous array")
            array = arrays.contiguous(array)
            seen, stride = arrays.view(array), seen.shape[-1]
        R = math.prod(seen.shape[:-1])
        rows = View(seen.address, seen.dtype, (R, seen.shape[-1]), (stride, 1), seen.device, array)
        return cls(array, rows, seen.shape)

    @property
    def vocab(self) -> int:
        return self.shape[-1]

    def __len__(self) -> int:
        return self.rows.shape[0]


def row_stride(seen: View) -> int | None:
    """The one distance between neighbouring rows of (..., V), in elements; None where there is none."""
    *leading, V = seen.shape
    if not seen.size:
        return V
    if V > 1 and seen.strides[-1] != 1:
        return None
    steps = [(n, s) for n, s in zip(leading, seen.strides[:-1], strict=True) if n > 1]
    for (_, outer), (n, inner) in itertools.pairwise(steps):
        if outer != n * inner:
            return None
    stride = steps[-1][1] if steps else V
    return stride if stride >= V else None  # rows that overlap (broadcast ones) are copied


def overlap(a: View, b: View) -> bool:
    """Whether two views share memory. Rows of one stride may lie in each other's gaps."""
    if not a.size or not b.size or a.device != b.device:
        return False
    if a.address >= b.address + b.nbytes or b.address >= a.address + a.nbytes:
        return False
    if len(a.shape) == len(b.shape) == 2 and a.strides[0] * a.itemsize == b.strides[0] * b.itemsize:
        step = a.strides[0] * a.itemsize
        ahead = (b.address - a.address) % step
        return not a.shape[1] * a.itemsize <= ahead <= step - b.shape[1] * b.itemsize
    return True


def _out(out: Any, x: Rows) -> Any:
    if out is None:
        return arrays.empty(x.owner, x.shape)
    seen = arrays.view(out)
    if (seen.shape, seen.dtype, seen.device) != (x.shape, x.rows.dtype, x.rows.device):
        raise ValueError(f"out is {seen.dtype} {seen.shape} on {seen.device}; it must be like logits, "
                         f"{x.rows.dtype} {x.shape} on {x.rows.device}")
    if not arrays.writable(out):
        raise ValueError("out is read-only: pass a writable array")
    rows = View(seen.address, seen.dtype, x.rows.shape, (row_stride(seen) or x.vocab, 1), seen.device)
    same = (rows.address, rows.strides) == (x.rows.address, x.rows.strides)
    if not same and overlap(rows, x.rows):
        raise ValueError("out overlaps logits without being logits: pass out=logits, or memory of its own")
    return out


def row_labels(labels: Any, x: Rows, ignore_index: int) -> View:
    """(R,) int64 or int32, contiguous, on the logits' device; checked where the host can read them."""
    y = arrays.adopt(labels)
    seen = arrays.view(y) if arrays.is_array(y) else None
    if seen is None or seen.dtype not in arrays.INTEGERS:
        raise TypeError(f"labels must be an array of integers, not {getattr(y, 'dtype', type(y).__name__)}")
    if seen.shape != x.shape[:-1]:
        raise ValueError(f"labels must have the shape of logits without its last axis: logits {x.shape}, "
                         f"labels {seen.shape}")
    _same_device("labels", seen, x)
    if seen.device == "cpu":
        values = arrays.as_numpy(y)
        wrong = ((values < 0) | (values >= x.vocab)) & (values != ignore_index)
        if wrong.any():
            raise ValueError(f"{first_outside('labels', values, wrong, x.vocab)} "
                             f"and is not ignore_index = {ignore_index}")
    if seen.dtype not in ("int64", "int32"):
        y = arrays.astype(y, "int64")
    return arrays.view(arrays.contiguous(y)).reshaped(len(x))


def factors_of(name: str, array: Any, x: Rows, dtype: str, shapes: Sequence[tuple[int, ...]]) -> View | None:
    """An optional array of factors: contiguous, of `dtype`, flattened to () or one axis."""
    if array is None:
        return None
    if isinstance(array, int | float | np.generic):
        array = arrays.full(x.owner, (), dtype, float(array))
    array = arrays.adopt(array)
    seen = arrays.view(array)
    if seen.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"{name} must have shape {wanted}, not {seen.shape}")
    if seen.dtype not in arrays.FLOATS:
        raise TypeError(f"{name} must be floats, not {seen.dtype}")
    _same_device(name, seen, x)
    made = arrays.view(arrays.contiguous(arrays.astype(array, dtype)))
    return made.reshaped(made.size) if seen.shape else made


def _same_device(name: str, seen: View, x: Rows) -> None:
    if seen.device != x.rows.device:
        raise ValueError(f"{name} is on {seen.device}, but logits are on {x.rows.device}: move one of them")


def backend_for(backend: str | None, x: Rows) -> ModuleType:
    name = backends.choose(backend, x.rows, arrays.library(x.owner))
    if name != "numpy" and x.rows.dtype == "float64":
        raise TypeError(f"backend {name!r} computes in float32: pass float32, float16 or bfloat16 logits, "
                        "or backend='numpy'")
    if name != "numpy" and x.vocab > MAX_VOCAB:
        raise ValueError(f"logits have {x.vocab} classes; backend {name!r} takes at most {MAX_VOCAB}")
    return backends.load(name, "cross_entropy")
