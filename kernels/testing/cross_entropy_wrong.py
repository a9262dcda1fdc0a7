"""Known ways to get softmax cross-entropy wrong, as formulas: a failure that one of them explains gets named.

Each is the right formula with one thing changed, so that it can be read as a list of things not to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .compare import Broken, Unsupported

f32 = np.float32
Outputs = tuple[Any, Any, Any]


def formula(x: np.ndarray, y: np.ndarray, *, ignore_index: int | None = -100, label_smoothing: float = 0.0,
            z_loss: float = 0.0, class_weights: Any = None, softcap: float | None = None,
            reduction: str = "mean", grad_loss: Any = None, wrong: str = "", setting: Any = None,
            **_: Any) -> Outputs:
    """(loss, lse, dlogits) in float32, by the plain formula, with the mistake `wrong` made.

    `setting` is how, for a mistake in `SETTINGS`.
    """
    setting = SETTINGS[wrong][0] if setting is None and wrong in SETTINGS else setting
    R, V = x.shape
    e, z, c = (0.0 if wrong == name else value for name, value in
               (("label_smoothing", label_smoothing), ("z_loss", z_loss), ("softcap", softcap or 0.0)))
    w = np.ones(V, f32) if class_weights is None or wrong == "class_weights" else class_weights
    kept = np.ones(R, bool) if wrong == "ignored" else y != ignore_index
    labels = np.where((y >= 0) & (y < V), y, 0)
    if wrong == "shifted":
        labels = (labels + setting) % V
    rows = np.arange(R)
    raw = x.astype(f32)
    X = np.where(raw == -np.inf, raw, c * np.tanh(raw / c)) if c else raw
    if wrong == "tail" and V > 16:
        X = np.where(np.arange(V) >= V // 16 * 16, f32(-np.inf), X)
    m = np.zeros(R, f32) if wrong == "maximum" else X.max(axis=1)
    if wrong == "global maximum":
        m = np.full(R, X.max())
    padding = -V % setting if wrong == "padding" else 0
    if padding:
        m = np.maximum(m, 0)
    E = np.exp(X - m[:, None])
    if wrong == "blocks":
        E = np.where((X[:, :1] == -np.inf), np.nan, E)
    s = E.sum(axis=1) + (padding * np.exp(-m) if padding else 0)
    log = np.log2 if wrong == "log2" else np.log
    lse = m + log(s)
    p = E / s[:, None]
    if wrong in ("lse alone", "not added back"):
        lse = lse - m
    if wrong == "axis":
        E = np.exp(X - X.max(axis=0))
        p = E / E.sum(axis=0)
    there = np.ones_like(X, bool) if wrong == "absent" else X != -np.inf
    K = there.sum(axis=1)
    if wrong == "others":
        K = K - 1
    share = np.where(there, (e / np.maximum(K, 1))[:, None] * w, 0)
    if wrong == "others":
        share[rows, labels] = 0
    one = np.where(np.arange(V) == labels[:, None], ((1 - e) * w[labels])[:, None], 0)
    q = one + share
    of_sum = lse + m if wrong == "lse alone" else lse
    ce = np.sum(np.where(q > 0, q * (of_sum[:, None] - X), 0), axis=1)
    of_label = p[rows, labels]
    if wrong in ("probability", "axis"):
        ce = -np.log(of_label) * w[labels]
    if wrong == "p + eps":
        ce = -np.log(of_label + f32(setting)) * w[labels]
    if wrong == "clipped":
        ce = -np.log(np.clip(of_label, f32(setting), f32(1 - setting))) * w[labels]
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
    losses = np.where(kept, each, (each if wrong == "times zero" else 0) * (0 * zero_over_zero))
    if wrong in ("sum", "loss of the sum"):
        losses = losses / ce_scale
    if wrong in ("sum", "gradient of the sum"):
        ce_scale = z_scale = 1.0
    d = ce_scale * d + z_scale * dz
    if c and wrong != "cap gradient":
        d = np.where(X == -np.inf, 0, d * (1 - (X / f32(c)) ** 2))
    if grad_loss is not None and wrong != "upstream":
        d = d * np.broadcast_to(grad_loss, (R,))[:, None]
    if wrong in ("sign", "negated"):
        d = -d
    if wrong in ("sign of the loss", "negated"):
        losses = -losses
    d = np.where(kept[:, None], d, (d if wrong == "times zero" else 0) * (0 * zero_over_zero))
    loss = losses if reduction == "none" else losses.sum()
    if wrong == "low loss":
        loss = np.asarray(loss).astype(x.dtype).astype(f32)
    zeros = lse * 0 if wrong == "times zero" else 0
    return loss, np.where(kept, lse, zeros), d


# The mistake, and what is said of it.
MISTAKES: Mapping[str, str] = {
    "maximum": "the maximum was not subtracted before exp",
    "global maximum": "the maximum of all logits was subtracted: each row needs its own",
    "sum": "loss and gradient are the sum over the rows, not their mean: divide both by the number of rows",
    "loss of the sum": "the loss is the sum over the rows, not their mean",
    "sign of the loss": "the loss has the opposite sign: it is lse - x_y, or -log p",
    "negated": "loss and gradient have the opposite sign",
    "axis": "softmax was taken over axis 0: each row is a distribution, so it is axis 1",
    "lse alone": "lse lacks the maximum that was subtracted: it is m + log(sum)",
    "not added back": "the maximum that was subtracted was not added back: lse = m + log(sum)",
    "shifted": "the labels are off by one",
    "padding": "columns that fill up the last block count as logits of 0: load them with other=-inf",
    "minus one": "the target was not subtracted: dlogits is softmax alone, without - 1 at the label",
    "gradient of the sum": "the gradient was not divided by the number of rows, as the mean's must be",
    "sign": "the gradient has the opposite sign",
    "columns": "the mean was taken over the classes, not over the rows",
    "times zero": "ignored rows are multiplied by 0, and NaN * 0 is NaN: choose with where",
    "nothing kept": "the mean of nothing is 0 / 0 when every label is ignored",
    "ignored": "ignored rows are counted like others: ignore_index has no effect",
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
    "p + eps": "the loss is log(p + eps), which stops growing at -log(eps): use lse - x_y",
    "clipped": "the loss is log of a clipped probability, which stops growing: use lse - x_y",
    "log2": "log2 was taken for the natural logarithm",
    "low precision": "the label's gradient is p rounded to the logits' type, minus 1: its digits are lost. "
                     "Subtract in float32 and round once, or better: sum the other classes' p",
    "low loss": "the loss was rounded to the logits' type",
}

# How a mistake may have been made, where there are several ways: eps, elements of a block, a distance.
SETTINGS: Mapping[str, tuple[Any, ...]] = {
    "p + eps": tuple(10.0**-k for k in range(3, 31)), "clipped": tuple(10.0**-k for k in range(3, 31)),
    "padding": tuple(2**k for k in range(3, 17)), "shifted": (-1, 1)}


def likely_cause(kernel: Any) -> str:
    """The first mistake whose formula gives what the kernel gave, where the right formula does not.

    A mistake that explains lse as well goes before one that explains loss and gradient only, as what is
    called lse by a kernel that needs none may be anything.
    """
    with np.errstate(all="ignore"):
        for call in list(kernel.calls):
            if call.result.dlogits is None:
                continue
            if len(call.x) == 0:
                if np.isnan(call.result.loss).any():
                    return "the mean of no rows is 0 / 0: here the loss is 0 (torch gives NaN)"
                continue
            if _explains(call):
                continue
            for with_lse in (True, False):
                if not with_lse and _explains(call, with_lse=False):
                    break
                for wrong, words in MISTAKES.items():
                    for setting in SETTINGS.get(wrong, (None,)):
                        if _explains(call, wrong, setting, with_lse):
                            return f"it looks as if {words}"
            if words := _overflow(kernel, call):
                return f"it looks as if {words}"
            if np.abs(call.x.astype(f32)).max() < 60 and np.isnan(call.result.dlogits.astype(f32)).any():
                return ("NaN comes of no NaN: 0 / 0, or a load beyond a row's end, where NaN lies here: is "
                        "every load masked?")
    return ""


def _overflow(kernel: Any, call: Any) -> str:
    """What a result that is not finite comes of, if exp of a logit is not a finite float32 above 0.

    The numbers depend on the order of the operations, so no formula has the same. The kernel must be right
    on small logits: otherwise something else is wrong.
    """
    loss, _, d = formula(call.x, call.y, **call.options)
    x, got = call.x.astype(f32), call.result
    if not (np.isfinite(d).all() and np.isfinite(loss).all() and np.isfinite(x).all()
            and np.abs(x).max() > np.log(np.finfo(f32).max)):
        return ""
    finite = np.isfinite(got.dlogits.astype(f32)).all()
    if finite and np.isfinite(got.loss).all():
        return ""
    try:
        kernel(np.clip(x, -3, 3).astype(call.x.dtype), call.y, call.options)
    except (Broken, Unsupported):
        return ""
    if not _explains(kernel.calls[-1]):
        return ""
    return MISTAKES["probability"] if finite else "each row's own maximum was not subtracted before exp"


def _explains(call: Any, wrong: str = "", setting: Any = None, with_lse: bool = True) -> bool:
    loss, lse, d = formula(call.x, call.y, wrong=wrong, setting=setting, **call.options)
    tolerance = 2e-6 if call.x.dtype == f32 else {"float16": 2e-3, "bfloat16": 1.2e-2}[call.x.dtype.name]
    got = call.result
    return (np.allclose(got.dlogits.astype(f32), d, rtol=tolerance, atol=2e-7, equal_nan=True)
            and np.shape(got.loss) == np.shape(loss)
            and np.allclose(got.loss, loss, rtol=2e-5, atol=2e-6, equal_nan=True)
            and (not with_lse or (np.shape(got.lse) == np.shape(lse) and np.allclose(
                got.lse, lse, rtol=2e-5, atol=2e-6, equal_nan=True))))
