"""Known ways to get softmax cross-entropy wrong, as formulas: a failure that one of them explains gets named.

Each is the right formula with one thing changed, so that it can be read as a list of things not to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

f32 = np.float32
Outputs = tuple[Any, Any, Any]


def formula(x: np.ndarray, y: np.ndarray, *, ignore_index: int | None = -100, label_smoothing: float = 0.0,
            z_loss: float = 0.0, class_weights: Any = None, softcap: float | None = None,
            reduction: str = "mean", grad_loss: Any = None, wrong: str = "", **_: Any) -> Outputs:
    """(loss, lse, dlogits) in float32, by the plain formula, with the mistake `wrong` made."""
    R, V = x.shape
    e, z, c = (0.0 if wrong == name else value for name, value in
               (("label_smoothing", label_smoothing), ("z_loss", z_loss), ("softcap", softcap or 0.0)))
    w = np.ones(V, f32) if class_weights is None or wrong == "class_weights" else class_weights
    kept = np.ones(R, bool) if wrong == "ignored" else y != ignore_index
    labels = np.where((y >= 0) & (y < V), y, 0)
    rows = np.arange(R)
    raw = x.astype(f32)
    X = np.where(raw == -np.inf, raw, c * np.tanh(raw / c)) if c else raw
    if wrong == "tail":
        X = np.where(np.arange(V) >= V // 16 * 16, f32(-np.inf), X)
    m = np.zeros(R, f32) if wrong == "maximum" else X.max(axis=1)
    E = np.exp(X - m[:, None])
    if wrong == "blocks":
        E = np.where((X[:, :1] == -np.inf), np.nan, E)
    s = E.sum(axis=1)
    log = np.log2 if wrong == "log2" else np.log
    lse = m + log(s)
    p = E / s[:, None]
    there = np.ones_like(X, bool) if wrong == "absent" else X != -np.inf
    K = there.sum(axis=1)
    if wrong == "others":
        K = K - 1
    share = np.where(there, (e / np.maximum(K, 1))[:, None] * w, 0)
    if wrong == "others":
        share[rows, labels] = 0
    one = np.where(np.arange(V) == labels[:, None], ((1 - e) * w[labels])[:, None], 0)
    q = one + share
    ce = np.sum(np.where(q > 0, q * (lse[:, None] - X), 0), axis=1)
    if wrong == "probability":
        ce = -np.log(p[rows, labels]) * w[labels]
    a = q.sum(axis=1)
    d = a[:, None] * p - (0 if wrong == "minus one" else q)
    if wrong == "low precision":
        rounded = (a[:, None] * p).astype(x.dtype)
        d = np.where(q != 0, (rounded.astype(f32) - q).astype(x.dtype).astype(f32), rounded.astype(f32))
    dz = 2 * z * lse[:, None] * p
    if wrong == "z gradient":
        dz = 0 * dz
    D, N = np.sum(np.where(kept, w[labels], 0)), kept.sum()
    if wrong == "unweighted":
        D = N
    if wrong == "all rows":
        D = N = R
    if wrong == "columns":
        D = N = V
    zero_over_zero = np.nan if wrong == "nothing kept" else 0.0
    ce_scale, z_scale = (1.0, 1.0) if reduction != "mean" else (
        (1 / D, 1 / N) if N else (zero_over_zero, zero_over_zero))
    each = ce_scale * ce + (z_scale * z * lse**2 if z else 0)
    losses = np.where(kept, each, 0 * zero_over_zero)
    if wrong == "gradient of the sum":
        ce_scale = z_scale = 1.0
    d = ce_scale * d + z_scale * dz
    if c and wrong != "cap gradient":
        d = np.where(X == -np.inf, 0, d * (1 - (X / f32(c)) ** 2))
    if grad_loss is not None and wrong != "upstream":
        d = d * np.broadcast_to(grad_loss, (R,))[:, None]
    if wrong == "sign":
        d = -d
    d = np.where(kept[:, None], d, 0 * zero_over_zero)
    loss = losses if reduction == "none" else losses.sum()
    if wrong == "low loss":
        loss = np.asarray(loss).astype(x.dtype).astype(f32)
    return loss, np.where(kept, lse, 0), d


# The mistake, and what is said of it.
MISTAKES: Mapping[str, str] = {
    "maximum": "the maximum was not subtracted before exp",
    "minus one": "the target was not subtracted: dlogits is softmax alone, without - 1 at the label",
    "gradient of the sum": "the gradient was not divided by the number of rows, as the mean's must be",
    "sign": "the gradient has the opposite sign",
    "columns": "the mean was taken over the classes, not over the rows",
    "ignored": "ignored rows are counted like others: ignore_index has no effect",
    "nothing kept": "the mean of nothing is 0 / 0 when every label is ignored",
    "unweighted": "the mean divides by the number of rows, not by the sum of the labels' weights",
    "all rows": "the mean counts ignored rows",
    "class_weights": "class_weights have no effect",
    "label_smoothing": "label_smoothing has no effect",
    "others": "label smoothing leaves the label out of the classes that share it (K - 1, not K)",
    "absent": "label smoothing counts classes whose logit is -inf",
    "z_loss": "z_loss has no effect",
    "z gradient": "the z-loss has no gradient",
    "softcap": "softcap has no effect",
    "cap gradient": "softcap's derivative 1 - (x/c)^2 is missing",
    "upstream": "grad_loss has no effect on the gradient",
    "blocks": "exp(-inf - -inf) is NaN where a row begins with -inf: guard the running maximum",
    "tail": "the last columns are left out when the vocabulary is not a multiple of the block",
    "probability": "the loss is log of a probability, which underflows: use lse - x_y",
    "log2": "log2 was taken for the natural logarithm",
    "low precision": "the label's gradient is p rounded to the logits' type, minus 1: its digits are lost. "
                     "Subtract in float32 and round once, or better: sum the other classes' p",
    "low loss": "the loss was rounded to the logits' type",
}


def likely_cause(calls: Sequence[Any]) -> str:
    """The first mistake whose formula gives what the kernel gave, where the right formula does not."""
    for call in calls:
        with np.errstate(all="ignore"):
            if len(call.x) == 0 or call.result.dlogits is None or _explains(call, formula):
                continue
            for wrong, words in MISTAKES.items():
                if _explains(call, formula, wrong):
                    return f"it looks as if {words}"
            if _overflows(call):
                return f"it looks as if {MISTAKES['maximum']}"
    return ""


def _overflows(call: Any) -> bool:
    """Whether a result is not finite where it should be, and exp of a logit is not a finite float32 above 0.

    What comes of that depends on the order of the operations, so no formula has the same numbers.
    """
    loss, _, d = formula(call.x, call.y, **call.options)
    wanted, got = np.append(d, loss), np.append(call.result.dlogits.astype(f32), call.result.loss)
    x = call.x.astype(f32)
    return bool(np.isfinite(wanted).all() and not np.isfinite(got).all()
                and np.isfinite(x).all() and np.abs(x).max() > np.log(np.finfo(f32).max))


def _explains(call: Any, function: Callable[..., Outputs], wrong: str = "") -> bool:
    loss, _, d = function(call.x, call.y, wrong=wrong, **call.options)
    tolerance = 2e-6 if call.x.dtype == f32 else {"float16": 2e-3, "bfloat16": 1.2e-2}[call.x.dtype.name]
    return (np.allclose(call.result.dlogits.astype(f32), d, rtol=tolerance, atol=2e-7, equal_nan=True)
            and np.allclose(call.result.loss, loss, rtol=2e-5, atol=2e-6, equal_nan=True))


