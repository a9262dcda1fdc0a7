"""Known ways to get Adam wrong, as formulas: a failure that one of them explains gets named."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from .adam_reference import Case, State, as_type, each_tensor
from .compare import Broken, Unsupported

f32 = np.float32
STEP_IN_FLOAT32 = "step in float32"


def formula(state: State, step: int, options: Mapping[str, Any], wrong: str = "") -> State:
    """One step in float32, by the plain formula, with the mistake `wrong` made."""
    return each_tensor(state, lambda i, tensors: _one(tensors, step, wrong, **options))


def _one(tensors: Any, t: int, wrong: str, *, lr: Any, beta1: float, beta2: float, eps: float,
         weight_decay: float = 0.0, decoupled: bool = True, amsgrad: bool = False, maximize: bool = False,
         grad_scale: Any = None, found_inf: Any = None, **_: Any) -> tuple[Any, ...]:
    p, g, m, v, largest, master = as_type(tensors, f32)
    theta, alpha, lam = p if master is None or wrong == "master" else master, float(lr), weight_decay
    if found_inf is not None and float(found_inf) != 0 and wrong != "found_inf":
        return p, m, v, largest, master
    if wrong == "weight_decay":
        lam = 0.0
    if wrong == "decoupled":
        decoupled = not decoupled
    if grad_scale is not None and wrong != "grad_scale":
        g = g * f32(grad_scale) if wrong == "scale times" else g / f32(grad_scale)
    if maximize and wrong != "maximize":
        g = -g
    if wrong == "negated":
        g = -g
    if wrong == "betas":
        beta1, beta2 = beta2, beta1
    before, old_m, old_v = theta, m, v
    if lam and decoupled and wrong != "decay after":
        theta = theta - (lam if wrong == "decay without lr" else alpha * lam) * theta
    elif lam and not decoupled:
        g = g + lam * theta
    a, b = ((f32(1) - f32(beta1), f32(1) - f32(beta2)) if wrong == "float32"
            else (f32(1 - beta1), f32(1 - beta2)))
    m = beta1 * m + (g if wrong == "dampening" else a * g)
    v = beta2 * v + b * (np.abs(g) if wrong == "square" else g * g)
    used = v
    if amsgrad and largest is not None:
        largest = np.maximum(largest, v)
        used = v if wrong == "amsgrad" else largest
    if wrong == "from zero":
        t -= 1
    c1: Any
    c2: Any
    c1, c2 = (1.0, 1.0) if wrong == "bias" else (1 - beta1**t, 1 - beta2**t)
    if wrong == "bias of m":
        c1 = 1.0
    if wrong == "bias of v":
        c2 = 1.0
    if wrong == STEP_IN_FLOAT32:
        c1, c2 = f32(1) - f32(beta1) ** f32(t), f32(1) - f32(beta2) ** f32(t)
    m_hat, v_hat = (old_m if wrong == "old m" else m) / f32(c1), used / f32(c2)
    if wrong == "eps inside":
        bottom = np.sqrt(v_hat + f32(eps))
    elif wrong == "eps before":
        bottom = (np.sqrt(used) + f32(eps)) / f32(np.sqrt(c2))
    elif wrong == "no root":
        bottom = v_hat + f32(eps)
    else:
        bottom = np.sqrt(v_hat) + f32(eps)
    update = f32(alpha) / bottom * m_hat
    theta = theta + update if wrong == "sign" else theta - update
    if lam and decoupled and wrong == "decay after":
        theta = theta - alpha * lam * theta
    if wrong in ("nothing", "rebound"):
        theta = before
    if wrong in ("moments", "rebound"):
        m, v = old_m, old_v
    return theta, m, v, largest, None if master is None else theta


MISTAKES: Mapping[str, str] = {
    "bias": "the bias corrections 1 - beta^t are missing",
    "bias of m": "m is not divided by 1 - beta1^t",
    "bias of v": "v is not divided by 1 - beta2^t",
    "from zero": "steps are counted from 0: the first step is step 1",
    "eps inside": "eps stands inside the root: it belongs outside, sqrt(v_hat) + eps",
    "eps before": "eps is added before the bias correction of v: it belongs to sqrt(v_hat), corrected",
    "no root": "the square root of v is missing",
    "square": "v takes the gradient's absolute value, not its square",
    "dampening": "m takes the whole gradient, not (1 - beta1) of it",
    "float32": "1 - beta was formed in float32, where 1 - 0.999 is off by 5e-5: form it in double",
    "sign": "the step goes up the gradient, not down",
    "weight_decay": "weight_decay has no effect",
    "decoupled": "decoupled and coupled decay are the wrong way round",
    "decay after": "decay after the update: decoupled decay comes before it",
    "decay without lr": "decoupled decay is not multiplied by the learning rate",
    "amsgrad": "amsgrad has no effect: the largest v so far must be used",
    "maximize": "maximize has no effect",
    "grad_scale": "grad_scale has no effect",
    "scale times": "the gradient was multiplied by grad_scale: it must be divided",
    "found_inf": "found_inf has no effect: nothing may change when it is not 0",
    "master": "the master weights are not used: the step starts from the rounded params",
    "nothing": "the params were not updated: write them in place, p[...] = or p -=",
    "moments": "m and v were not written back: m[...] = changes the array, m = only the name",
    "rebound": "no array was changed: write in place, p[...] = or p -=; what is returned is not looked at",
    "negated": "the gradient has the opposite sign",
    "betas": "beta1 and beta2 are the wrong way round",
    "old m": "the update takes m from before this step",
}


def likely_cause(kernel: Any) -> str:
    """The first mistake whose formula gives what the kernel gave, where the right formula does not.

    Where several do, as they may in a first step, the kernel is asked to take a third.
    """
    for call in list(kernel.calls):
        if not any(len(p) for p in call.state.params) or explains(call):
            continue
        found = [wrong for wrong in MISTAKES if explains(call, wrong)]
        if len(found) > 1:
            p, g, m = (lists[0].dtype.name for lists in call.state[:3])
            state = Case(dtypes=(p, g, m), options=call.options, master=call.state.master is not None).draw()
            with suppress(Broken, Unsupported):
                kernel(state, 3, call.options)
                found = [wrong for wrong in found if explains(kernel.calls[-1], wrong)] or found
        if found:
            return f"it looks as if {MISTAKES[found[0]]}"
    return ""


def explains(call: Any, wrong: str = "") -> bool:
    """Whether the formula with a mistake, or the right one, gives what a call gave, up to rounding."""
    with np.errstate(all="ignore"):
        want = formula(call.state, int(call.step), call.options, wrong)
        for name, rtol in (("params", 0.0), ("exp_avg", 1e-5), ("exp_avg_sq", 1e-5), ("master", 0.0)):
            lists = (getattr(state, name) or [] for state in (call.state, call.result, want))
            for before, got, right in zip(*lists, strict=True):
                old, a, b = (x.astype(np.float64) for x in (before, got, right))
                eps = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}[before.dtype.name]
                tolerance = max(rtol, eps) * np.abs(b) + (2e-5 * np.abs(b - old) if not rtol else 1e-12)
                if not np.all((np.abs(a - b) <= tolerance) | (np.isnan(a) & np.isnan(b))):
                    return False
    return True
