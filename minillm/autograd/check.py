"""`check_gradients`: is a derivative right? Compare it with differences of the function itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .tensor import Tensor
from .walk import grad


def check_gradients(f: Callable[..., Any], args: Sequence[Any], order: int = 2, *, eps: float = 1e-6,
                    rtol: float = 1e-5, atol: float = 1e-6, seed: int = 0) -> None:
    """Check the derivatives of `f` at `args`, up to `order`, against central differences.

    Random projections keep it cheap: with random v (of the output's shape) and u (of the inputs', each
    as large as its input: a step that is small for one may be beyond the domain of another),

        u . (v . J)   against   v . (f(x + eps u) - f(x - eps u)) / (2 eps)

    which a wrong entry of J changes with probability one. For order 2 the same is done to the
    function x -> v . J(x), which is taken from the tape with `create_graph=True`.

    Args:
        f: a function of Tensors that returns a Tensor (or a tuple of them).
        args: where to check. Float arrays are cast to float64 and differentiated; all else is
            passed as it is. Stay away from kinks: there the two sides differ.
        order: 1 or 2 (more works, and loses digits).
        eps: step of the differences, relative to the largest element of each argument (or to 1, if
            that is larger).
        rtol, atol: tolerances.
        seed: of the projections.

    Raises:
        AssertionError: names the order, both numbers and their difference.
        ValueError: no argument is a float array.
    """
    rng = np.random.default_rng(seed)
    args = [a.data if isinstance(a, Tensor) else a for a in args]
    places = [i for i, a in enumerate(args) if _is_float(a)]
    if not places:
        raise ValueError("check_gradients needs at least one float array among args")
    points = [np.array(args[i], np.float64) for i in places]
    _check(_function_of(f, args, places), points, 1, order, rng, eps, rtol, atol)


def _is_float(a: Any) -> bool:
    return isinstance(a, np.ndarray | np.floating | float) and np.asarray(a).dtype.kind == "f"


def _function_of(f: Callable[..., Any], args: Sequence[Any], places: list[int]) -> Callable[..., Any]:
    """f of its float arguments alone; several outputs are flattened into one vector."""

    def g(*tensors: Tensor) -> Tensor:
        full = list(args)
        for i, t in zip(places, tensors, strict=True):
            full[i] = t
        y = f(*full)
        if isinstance(y, Tensor):
            return y
        joined: Any = np.concatenate([np.reshape(part, -1) for part in y])
        return joined

    return g


def _check(f: Callable[..., Tensor], points: list[np.ndarray], level: int, order: int,
           rng: np.random.Generator, eps: float, rtol: float, atol: float) -> None:
    xs = [Tensor(p, requires_grad=True) for p in points]
    y = f(*xs)
    v = rng.standard_normal(y.shape)
    us = [max(1.0, float(np.abs(p).max(initial=0.0))) * rng.standard_normal(p.shape) for p in points]
    ahead, behind = (f(*(Tensor(p + s * eps * u, requires_grad=True)
                         for p, u in zip(points, us, strict=True))).data for s in (1, -1))
    numerical = float((v * (ahead - behind)).sum() / (2 * eps))
    products = grad(y, xs, v) if y.requires_grad else [Tensor(np.zeros_like(p)) for p in points]
    ours = float(sum((u * d.data).sum() for u, d in zip(us, products, strict=True)))
    allowed = atol + rtol * max(abs(numerical), abs(ours))
    if not abs(ours - numerical) <= allowed:  # `not <=` also catches nan
        raise AssertionError(f"order {level}: the tape gives {ours:.9g}, differences give {numerical:.9g} "
                             f"(difference {abs(ours - numerical):.3g}, allowed {allowed:.3g})")
    if level < order and y.requires_grad:
        def first_derivative(*tensors: Tensor) -> Tensor:
            z = f(*tensors)
            grads = grad(z, list(tensors), v, create_graph=True)
            joined: Any = np.concatenate([np.reshape(d, -1) for d in grads])
            return joined

        _check(first_derivative, points, level + 1, order, rng, eps, max(rtol, 1e-4), max(atol, 1e-5))
