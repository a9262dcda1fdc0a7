"""Adam for many tensors in one launch, on any backend: checks, the pointer table, and the launch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import arrays, backends
from .arrays import View
from .guards import around
from .pointer_table import AdamTensor, pointer_table

LISTS = ("params", "grads", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "master")
STEP_DTYPES = ("int64", "int32", "float32")


@dataclass(frozen=True)
class AdamOptions:
    """What one step does, to all its tensors alike.

    Attributes:
        lr: alpha; a View () float32 if it lives on the device.
        beta1, beta2, eps, weight_decay: as in `adam_step`.
        step: t; a View () if it lives on the device.
        decoupled, amsgrad, maximize, exact: as in `adam_step`.
        grad_scale, found_inf: Views () float32, or None.
        rounding_seed: seed of stochastic rounding, or None.
    """

    lr: float | View
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    step: int | View
    decoupled: bool = True
    amsgrad: bool = False
    maximize: bool = False
    grad_scale: View | None = None
    found_inf: View | None = None
    rounding_seed: int | None = None
    exact: bool = True

    @property
    def corrections(self) -> tuple[float, float]:
        """1 - beta1^t and 1 - beta2^t; only for a step that the host knows."""
        assert isinstance(self.step, int)
        return 1 - self.beta1**self.step, 1 - self.beta2**self.step


def adam_step(params: Sequence[Any], grads: Sequence[Any], exp_avg: Sequence[Any], exp_avg_sq: Sequence[Any],
              step: Any, *, lr: Any, beta1: float, beta2: float, eps: float, weight_decay: float = 0.0,
              decoupled: bool = True, amsgrad: bool = False, max_exp_avg_sq: Sequence[Any] | None = None,
              maximize: bool = False, grad_scale: Any = None, found_inf: Any = None,
              master: Sequence[Any] | None = None, rounding_seed: int | None = None, exact: bool = True,
              backend: str | None = None) -> None:
    """One step of Adam (article 4.3) on lists of arrays, in place, in one launch for each mix of dtypes.

        g = grad / grad_scale,  -g to maximize
        theta = theta - alpha lambda theta           decoupled decay;  coupled: g = g + lambda theta
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2                 amsgrad: the largest v so far takes v's place below
        theta = theta - alpha / (sqrt(v / (1 - beta2^t)) + eps) m / (1 - beta1^t)

    Arithmetic is in float32, whatever the arrays' types.

    Args:
        params: float32, bfloat16 or float16; updated in place. Empty ones are allowed, and any layout
            without gaps that the gradient and the state share.
        grads: of params' shapes; float32, bfloat16 or float16; not changed.
        exp_avg, exp_avg_sq: m and v; float32 or bfloat16; updated in place.
        step: t, counted from 1: an int, or an array () on the device, so that nothing waits for it. It is
            read and not changed.
        lr: alpha >= 0: a number, or a float32 array () on the device.
        beta1, beta2: in [0, 1).
        eps: >= 0, in units of the gradient.
        weight_decay: lambda >= 0.
        decoupled: decay theta itself before the step (AdamW), or add lambda theta to the gradient.
        amsgrad: use the largest v so far; needs `max_exp_avg_sq`, updated in place.
        maximize: go up the gradient.
        grad_scale: float32 array (): gradients are divided by it (a loss scaler's factor).
        found_inf: float32 array (): if it is not 0 nothing changes; the caller does not count the step.
        master: float32 copies of low-precision params. They hold the true value; params get it rounded.
        rounding_seed: an int rounds bfloat16 params without master stochastically, so that small updates
            are not lost: up or down with the probability that keeps the mean. The same seed, step and
            data give the same bits on every backend.
        exact: every operation rounded to nearest, none contracted: bit for bit the formula in float32.
            False allows approximate division, root and fused multiply-add. The test of the CUDA kernel
            injects errors of up to 2 ulp into each quotient and root, and holds a float32 parameter to
            1 ulp of it and 8 ulp of its update (tests/kernels/test_cuda_kernels.py).
        backend: as in `softmax_cross_entropy`.

    A CUDA graph that captures the step needs arrays that keep their addresses, and no more than 64 other
    lists of arrays in the process: so long is the table of addresses kept on the GPU.

    Raises:
        ValueError: lengths, shapes, layouts, devices or options do not fit; nothing is changed then.
        TypeError: an array has an element type that does not belong there.
        kernels.backends.BackendUnavailable: the backend cannot run here; the message says what is missing.

    Source: article section 4.3; Kingma & Ba 2015; Loshchilov & Hutter 2019 (decoupled); Reddi et al. 2018
    (amsgrad). Formulas: `minillm.formulas.adam_step`, `amsgrad_step`, `decoupled_weight_decay`.
    """
    lists = {"params": params, "grads": grads, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq,
             "max_exp_avg_sq": max_exp_avg_sq, "master": master}
    if amsgrad and max_exp_avg_sq is None:
        raise ValueError("amsgrad=True needs max_exp_avg_sq, a list like exp_avg_sq, zeros at first")
    if not amsgrad:
        lists["max_exp_avg_sq"] = None
    tensors = _tensors(lists)
    if not tensors:
        return
    device = tensors[0].p.device
    if rounding_seed is not None and (master is not None or any(t.p.dtype != "bfloat16" for t in tensors)):
        raise ValueError("rounding_seed is for bfloat16 params without master: others need no such rounding")
    options = AdamOptions(
        lr=_scalar("lr", lr, device, ("float32",)), step=_scalar("step", step, device, STEP_DTYPES),
        beta1=float(beta1), beta2=float(beta2), eps=float(eps), weight_decay=float(weight_decay),
        decoupled=bool(decoupled), amsgrad=bool(amsgrad), maximize=bool(maximize),
        grad_scale=_device_scalar("grad_scale", grad_scale, device),
        found_inf=_device_scalar("found_inf", found_inf, device),
        rounding_seed=None if rounding_seed is None else int(rounding_seed), exact=bool(exact))
    _check(options)
    chosen = backends.choose(backend, tensors[0].p, arrays.library(tensors[0].p.owner))
    module = backends.load(chosen, "adam")
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, t in enumerate(tensors):
        if t.p.size:
            groups.setdefault((t.p.dtype, t.g.dtype, t.m.dtype, t.v.dtype), []).append(i)
    for places in groups.values():
        launch(module, [tensors[i] for i in places], places, options)
    arrays.changed(array for name, given in lists.items() if given is not None and name != "grads"
                   for array in given)


def launch(module: Any, tensors: Sequence[AdamTensor], places: Sequence[int], options: AdamOptions) -> None:
    """One launch over tensors of the same dtypes, in guarded copies where they are on the CPU."""
    scalars = {name: view for name in ("lr", "step", "grad_scale", "found_inf")
               if isinstance(view := getattr(options, name), View)}
    views = [view for t in tensors for view in t] + list(scalars.values())
    names = [f"{name}[{i}]" for i in places for name in LISTS] + list(scalars)
    with around(module, views, names) as moved:
        n = len(AdamTensor._fields)
        state: Any = moved
        here = [AdamTensor(*state[i:i + n]) for i in range(0, n * len(tensors), n)]
        changed = dict(zip(scalars, state[n * len(tensors):], strict=True))
        module.update(here, replace(options, **changed), pointer_table(here, places))


def _tensors(lists: dict[str, Sequence[Any] | None]) -> list[AdamTensor]:
    params = lists["params"]
    if params is None or not isinstance(params, list | tuple):
        raise TypeError(f"params must be a list of arrays, not {type(params).__name__}")
    columns: list[Sequence[View | None]] = []
    for name, given in lists.items():
        if given is None and name in ("max_exp_avg_sq", "master"):
            columns.append([None] * len(params))
            continue
        if not isinstance(given, list | tuple) or len(given) != len(params):
            size = len(given) if isinstance(given, list | tuple) else type(given).__name__
            raise ValueError(f"{name} must be a list of {len(params)} arrays, as params is, not {size}")
        columns.append([_member(name, i, array, columns[0][i] if columns else None)
                        for i, array in enumerate(given)])
    rows: Any = zip(*columns, strict=True)
    tensors = [AdamTensor(*row) for row in rows]
    spans = []  # of what is written to
    for i, t in enumerate(tensors):
        spans += [(view.address, view.address + view.nbytes, f"{name}[{i}]")
                  for name, view in zip(LISTS, (t.p, None, t.m, t.v, t.vmax, t.master), strict=True)
                  if view is not None and view.size]
        if t.p.device != tensors[0].p.device:
            raise ValueError(f"params[{i}] is on {t.p.device}, params[0] on {tensors[0].p.device}: "
                             "one call is for one device")
        for name, view in (("exp_avg_sq", t.v), ("max_exp_avg_sq", t.vmax)):
            if view is not None and view.dtype != t.m.dtype:
                raise TypeError(f"{name}[{i}] is {view.dtype}, but exp_avg[{i}] is {t.m.dtype}: "
                                "they must have the same type")
    for (_, end, one), (begin, _, other) in itertools.pairwise(sorted(spans)):
        if begin < end:
            raise ValueError(f"{one} and {other} share memory: each needs its own")
    return tensors


def _member(name: str, i: int, array: Any, p: View | None) -> View:
    if not arrays.is_array(array) or isinstance(array, np.generic):
        raise TypeError(f"{name}[{i}] is {type(array).__name__}, not an array; "
                        "leave out params without a gradient")
    seen = arrays.view(array)
    allowed = {"params": ("float32", "bfloat16", "float16"), "grads": ("float32", "bfloat16", "float16"),
               "master": ("float32",)}.get(name, ("float32", "bfloat16"))
    if seen.dtype not in allowed:
        raise TypeError(f"{name}[{i}] is {seen.dtype}; it must be {' or '.join(allowed)}")
    if name != "grads" and not arrays.writable(array):
        raise ValueError(f"{name}[{i}] is read-only, but is updated in place: pass a writable array")
    p = p or seen
    if seen.shape != p.shape or seen.device != p.device:
        raise ValueError(f"{name}[{i}] is {seen.shape} on {seen.device}; "
                         f"params[{i}] is {p.shape} on {p.device}")
    dense = arrays.dense_strides(seen)
    if dense is None or dense != arrays.dense_strides(p):
        raise ValueError(f"{name}[{i}] has strides {seen.strides} for shape {seen.shape}: it must have "
                         f"no gaps, and the layout of params[{i}], {p.strides}")
    return seen


def _scalar(name: str, value: Any, device: str, dtypes: tuple[str, ...]) -> Any:
    if isinstance(value, int | float | np.generic):
        if name == "step" and int(value) != value:
            raise ValueError(f"step = {value} must be a whole number")
        return int(value) if name == "step" else float(value)
    return _device_scalar(name, value, device, dtypes)


def _device_scalar(name: str, value: Any, device: str, dtypes: tuple[str, ...] = ("float32",)) -> View | None:
    if value is None and name in ("grad_scale", "found_inf"):
        return None
    if not arrays.is_array(value):
        raise TypeError(f"{name} = {value!r:.60} must be a 0-d {' or '.join(dtypes)} array")
    seen = arrays.view(value)
    if seen.size != 1 or seen.dtype not in dtypes or seen.device != device:
        raise ValueError(f"{name} is {seen.dtype} {seen.shape} on {seen.device}; it must be a single "
                         f"{' or '.join(dtypes)} on {device}")
    return seen.reshaped()


def _check(o: AdamOptions) -> None:
    for name, value in (("beta1", o.beta1), ("beta2", o.beta2)):
        if not 0 <= value < 1:
            raise ValueError(f"{name} = {value} is outside [0, 1)")
    for name, number in (("lr", o.lr), ("eps", o.eps), ("weight_decay", o.weight_decay)):
        if not isinstance(number, View) and not 0 <= number < math.inf:
            raise ValueError(f"{name} = {number} must be finite and not negative")
    if not isinstance(o.step, View) and o.step < 1:
        raise ValueError(f"step = {o.step} must be at least 1: Adam's first step is step 1")
