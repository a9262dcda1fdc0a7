"""Adam in the formula's own operations and order: `minillm.formulas.adam_step`, bit for bit.

The formula itself takes a step that the host knows, and no gradient scale; those cases go beyond it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.adam import AdamOptions
from kernels.arrays import View, as_numpy
from kernels.pointer_table import AdamTensor, Table
from minillm.formulas import decoupled_weight_decay

f32 = np.float32


def update(tensors: Sequence[AdamTensor], options: AdamOptions, table: Table) -> None:
    """One step on all tensors, in place; see `kernels.adam_step`.

    Args:
        tensors: with the same dtypes.
        options: of the step.
        table: tells each tensor's place in the caller's list, which stochastic rounding depends on.
    """
    if options.found_inf is not None and as_numpy(options.found_inf) != 0:
        return
    for tensor, place in zip(tensors, as_numpy(table.rows)[:, 7], strict=True):
        _update(tensor, options, int(place))


def _update(tensor: AdamTensor, o: AdamOptions, place: int) -> None:
    g, m, v = (_flat(view).astype(f32) for view in (tensor.g, tensor.m, tensor.v))
    theta: Any = _flat(tensor.p if tensor.master is None else tensor.master).astype(f32)
    t, (c1, c2) = _step(o)
    alpha = float(as_numpy(o.lr)) if isinstance(o.lr, View) else o.lr
    lam = o.weight_decay
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        if o.grad_scale is not None:
            g = g / as_numpy(o.grad_scale)
        if o.maximize:
            g = -g
        if lam and o.decoupled:
            # a learning rate on the device is a float32, so alpha lambda is a float32 product
            theta = (theta - f32(alpha) * f32(lam) * theta if isinstance(o.lr, View)
                     else decoupled_weight_decay(theta, alpha=alpha, lam=lam))
        elif lam:
            g = g + lam * theta
        m = o.beta1 * m + (1 - o.beta1) * g
        v = o.beta2 * v + (1 - o.beta2) * g**2
        v_used = v
        if tensor.vmax is not None:
            v_used = np.maximum(_flat(tensor.vmax).astype(f32), v)
            _store(tensor.vmax, v_used)
        m_hat = m / f32(c1)
        v_hat = v_used / f32(c2)
        theta = theta - f32(alpha) / (np.sqrt(v_hat) + f32(o.eps)) * m_hat
        _store(tensor.m, m)
        _store(tensor.v, v)
        if tensor.master is not None:
            _store(tensor.master, theta)
        if o.rounding_seed is not None:
            theta = stochastic_bfloat16(theta, o.rounding_seed, t, place)
        _store(tensor.p, theta)


def _flat(view: View) -> np.ndarray:
    """The elements in the order of memory, over the same memory."""
    return as_numpy(view.reshaped(view.size))


def _store(view: View, values: np.ndarray) -> None:
    _flat(view)[...] = values  # a cast rounds to the nearest even


def _step(o: AdamOptions) -> tuple[int, tuple[float, float]]:
    """t, and 1 - beta^t in double precision."""
    if not isinstance(o.step, View):
        return o.step, o.corrections
    t = int(as_numpy(o.step))
    return t, (1 - power(o.beta1, t), 1 - power(o.beta2, t))


def power(beta: float, t: int) -> float:
    """beta^t by squaring: what a kernel does that finds t on the device, rounding for rounding."""
    result = 1.0
    while t > 0:
        if t & 1:
            result *= beta
        beta *= beta
        t >>= 1
    return result


def fmix32(x: Any) -> Any:
    """The finaliser of MurmurHash3: every input bit changes half of the output's.

    Source: Appleby 2011, MurmurHash3.
    """
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x85EBCA6B)
    x = x ^ (x >> np.uint32(13))
    x = x * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def stochastic_bfloat16(x: np.ndarray, seed: int, t: int, place: int) -> np.ndarray:
    """float32 rounded to a bfloat16 up or down at random, with the mean kept.

    The 16 bits that bfloat16 does not have get a random number added, and are cut off: of values a third of
    the way to the next bfloat16, a third go up. The random number is a hash of (seed, t, place, index), so
    that any order of computation gives the same bits.

    Args:
        x: (n,) float32.
        seed: any int; its low 32 bits count.
        t: the step.
        place: of the tensor in the caller's list.

    Returns:
        (n,) float32 whose low 16 bits are 0, except for nan and inf, which stay.

    Source: as in llm.c and torchao; hash: Appleby 2011.
    """
    mask = 0xFFFFFFFF
    with np.errstate(over="ignore"):
        key = fmix32(np.uint32((seed ^ t * 0x85EBCA6B) & mask))
        key = fmix32(key ^ np.uint32(place * 0x9E3779B9 & mask))
        i = np.arange(len(x), dtype=np.uint64)
        low, high = (i & np.uint64(mask)).astype(np.uint32), (i >> np.uint64(32)).astype(np.uint32)
        h = fmix32(low ^ fmix32(high ^ key))
    bits = x.view(np.uint32)
    rounded = (bits + (h & np.uint32(0xFFFF))) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(x), rounded.view(f32), x)
