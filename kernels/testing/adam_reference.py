"""Cases for Adam, and what is right for them: the formulas in float32 bit for bit, in float64 with a bound.

The bound, with u = 2^-24, to first order, for kernels that need not match bits (`exact=False`, learners'):

    g         u |g| for the scale, and 2u |lambda theta| with coupled decay
    m, v      3u, 4u of the sum of their terms' sizes, and what g's error brings
    sqrt      half of v's relative error, and 2u
    update    the relative errors of m_hat and of the denominator, and 5u
    theta     2u |theta|, that of the update, and 3u of the decay

twice that is allowed, and one ulp of the type that is stored. 1 - beta and 1 - beta^t have to be formed in
double: in float32, 1 - 0.999 is off by 5e-5 of its value, which the bound does not forgive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from kernels.numpy.adam import stochastic_bfloat16
from minillm.formulas import adam_step, amsgrad_step, decoupled_weight_decay

from .compare import round_to, ulp

f32 = np.float32
U = 2.0**-24
HYPER = {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-4}
Arrays = list[np.ndarray]


class State(NamedTuple):
    """Lists of NumPy arrays, as `kernels.adam_step` takes them."""

    params: Arrays
    grads: Arrays
    exp_avg: Arrays
    exp_avg_sq: Arrays
    max_exp_avg_sq: Arrays | None = None
    master: Arrays | None = None


CHANGED = ("params", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "master")


@dataclass(frozen=True)
class Case:
    """One step, up to its numbers, which `draw` makes from the seed; `kernels.testing.AdamCase`.

    Attributes:
        sizes: elements of each tensor.
        dtypes: of params, of grads, of the moments.
        master: whether there are float32 master weights.
        step: t. State is zero before step 1, drawn for others.
        options: keywords of the kernel beyond lr, beta1, beta2, eps, which they may name too.
        scale: of the gradients.
        seed: of the numbers.
    """

    sizes: tuple[int, ...] = (5, 33)
    dtypes: tuple[str, str, str] = ("float32", "float32", "float32")
    master: bool = False
    step: int = 3
    options: dict[str, Any] = field(default_factory=dict)
    scale: float = 0.3
    seed: int = 0

    def __str__(self) -> str:
        standard = Case()
        always = ("sizes", "dtypes", "step", "seed")
        said = [f"{name}={value!r}" for name, value in vars(self).items()
                if name in always or value != getattr(standard, name)]
        return f"AdamCase({', '.join(said)})"

    def but(self, **changes: Any) -> Case:
        """The case with other fields."""
        return replace(self, **changes)

    def having(self, **options: Any) -> Case:
        """The case with these options as well."""
        return replace(self, options={**self.options, **options})

    def without(self, *names: str) -> Case:
        """The case without these options."""
        return replace(self, options={k: v for k, v in self.options.items() if k not in names})

    def draw(self) -> State:
        """Parameters, gradients and state."""
        rng = np.random.default_rng([self.seed, len(self.sizes)])
        p, g, moments = self.dtypes
        old = self.step > 1
        thetas = [rng.standard_normal(n).astype(f32) for n in self.sizes]
        grads = [round_to(self.scale * rng.standard_normal(n), g) for n in self.sizes]
        m = [round_to(old * self.scale * 0.3 * rng.standard_normal(n), moments) for n in self.sizes]
        v = [round_to(old * self.scale**2 * rng.uniform(0.01, 1, n), moments) for n in self.sizes]
        largest = [round_to(old * self.scale**2 * rng.uniform(0.01, 1, n), moments) for n in self.sizes]
        return State([round_to(theta, p) for theta in thetas], grads, m, v,
                     largest if self.options.get("amsgrad") else None, thetas if self.master else None)

    @property
    def keywords(self) -> dict[str, Any]:
        """What the kernel is called with, but for its lists."""
        return {**HYPER, **self.options}


def formula(state: State, step: int, options: dict[str, Any]) -> State:
    """One step by `minillm.formulas`, in float32, rounded once where it is stored."""
    return each_tensor(state, lambda i, tensors: _float32(i, tensors, step, **options))


def _float32(place: int, tensors: Any, t: int, *, lr: Any, beta1: float, beta2: float, eps: float,
             weight_decay: float = 0.0, decoupled: bool = True, amsgrad: bool = False, maximize: bool = False,
             grad_scale: Any = None, found_inf: Any = None, rounding_seed: int | None = None,
             exact: bool = True) -> tuple[Any, ...]:
    p, g, m, v, largest, master = as_type(tensors, f32)
    if found_inf is not None and float(found_inf) != 0:
        return p, m, v, largest, master
    theta = p if master is None else master
    alpha = float(lr)
    with np.errstate(all="ignore"):
        if grad_scale is not None:
            g = g / f32(grad_scale)
        if maximize:
            g = -g
        if weight_decay and decoupled:
            on_device = isinstance(lr, np.ndarray)  # then alpha lambda is a float32 product
            theta = (theta - f32(alpha) * f32(weight_decay) * theta if on_device
                     else decoupled_weight_decay(theta, alpha=alpha, lam=weight_decay))
        elif weight_decay:
            g = g + weight_decay * theta
        hyper = {"alpha": alpha, "beta1": beta1, "beta2": beta2, "eps": eps}
        if amsgrad:
            theta, m, v, largest = amsgrad_step(theta, g, m, v, largest, t, **hyper)
        else:
            theta, m, v = adam_step(theta, g, m, v, t, **hyper)
    stored = theta if rounding_seed is None else stochastic_bfloat16(theta, rounding_seed, t, place)
    return stored, m, v, largest, None if master is None else theta


class Bound(NamedTuple):
    """What is right in float64, and the tolerances, both with the fields of `State` that change."""

    right: State
    error: State


def expected(state: State, step: int, options: dict[str, Any]) -> Bound:
    """One step in float64, and how far from it a kernel may be."""
    rows = [_float64(_member(state, i), step, **options) for i in range(len(state.params))]
    right = State([r[0] for r in rows], state.grads, [r[1] for r in rows], [r[2] for r in rows],
                  None if state.max_exp_avg_sq is None else [r[3] for r in rows],
                  None if state.master is None else [r[0] for r in rows])

    def stored(name: str, k: int) -> Arrays | None:
        lists = getattr(state, name)
        return None if lists is None else [2 * r[4 + k] + ulp(r[k], a.dtype.name)
                                           for r, a in zip(rows, lists, strict=True)]

    tolerances: Any = (stored("params", 0), [], stored("exp_avg", 1), stored("exp_avg_sq", 2),
                       stored("max_exp_avg_sq", 3), stored("master", 0))
    return Bound(right, State(*tolerances))


def _float64(tensors: Any, t: int, *, lr: Any, beta1: float, beta2: float, eps: float,
             weight_decay: float = 0.0, decoupled: bool = True, amsgrad: bool = False, maximize: bool = False,
             grad_scale: Any = None, found_inf: Any = None, rounding_seed: int | None = None,
             exact: bool = True) -> tuple[Any, ...]:
    p, g, m, v, largest, master = as_type(tensors, np.float64)
    theta, alpha, none = p if master is None else master, float(lr), np.zeros(len(p))
    if found_inf is not None and float(found_inf) != 0:
        return theta, m, v, largest, none, none, none, none
    with np.errstate(all="ignore"):
        if grad_scale is not None:
            g = g / float(grad_scale)
        g_error = U * np.abs(g)
        if maximize:
            g = -g
        decay = 0.0
        if weight_decay and decoupled:
            decay = alpha * weight_decay * np.abs(theta)
            theta = theta - alpha * weight_decay * theta
        elif weight_decay:
            g = g + weight_decay * theta
            g_error = g_error + 2 * U * weight_decay * np.abs(theta) + U * np.abs(g)
        m_error = (1 - beta1) * g_error + 3 * U * (beta1 * np.abs(m) + (1 - beta1) * np.abs(g)) + 2.0**-140
        v_error = ((1 - beta2) * 2 * np.abs(g) * g_error + 4 * U * (beta2 * v + (1 - beta2) * g**2)
                   + 2.0**-126)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        used = v
        if amsgrad:
            used = largest = np.maximum(largest, v)
        c1, c2 = 1 - beta1**t, 1 - beta2**t
        m_hat, v_hat = m / c1, used / c2
        v_hat_error = v_error / c2 + 2 * U * v_hat
        root = np.sqrt(v_hat)
        root_error = np.minimum(np.sqrt(v_hat_error), v_hat_error / np.maximum(root, 1e-300)) + 2 * U * root
        bottom = root + eps
        update = alpha / bottom * m_hat
        error = (alpha * ((m_error / c1 + 2 * U * np.abs(m_hat)) / bottom
                          + np.abs(m_hat) / bottom * (root_error + 2 * U * bottom) / bottom)
                 + 5 * U * np.abs(update))
        theta_error = 2 * U * np.abs(theta) + error + 3 * U * decay
        theta = theta - update
    return theta, m, v, largest, theta_error, m_error, v_error, v_error


def as_type(tensors: Any, dtype: Any) -> Any:
    """The arrays of one tensor with another element type; those that are absent stay None."""
    return [None if a is None else a.astype(dtype) for a in tensors]


def _member(state: State, i: int) -> State:
    values: Any = [None if lists is None else lists[i] for lists in state]
    return State(*values)


def each_tensor(state: State, step: Any) -> State:
    """A step of single tensors on all, the results in the element types of the state."""
    rows: Sequence[Any] = [step(i, _member(state, i)) for i in range(len(state.params))]
    made: dict[str, Any] = {}
    for k, name in enumerate(CHANGED):
        lists = getattr(state, name)
        made[name] = None if lists is None else [
            round_to(row[k], a.dtype.name) for row, a in zip(rows, lists, strict=True)]
    return State(grads=state.grads, **made)
