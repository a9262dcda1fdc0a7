"""Initial values of parameters, and where their randomness comes from."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

import numpy as np

_empty = ContextVar("_empty", default=False)
_generator = np.random.default_rng()


def manual_seed(seed: int) -> np.random.Generator:
    """Seed the generator that layers use when they are given none; return it."""
    global _generator
    _generator = np.random.default_rng(seed)
    return _generator


def generator(rng: np.random.Generator | None = None) -> np.random.Generator:
    """`rng` itself, or the common generator (seeded by `manual_seed`, else by the system)."""
    return _generator if rng is None else rng


@contextmanager
def empty() -> Iterator[None]:
    """Inside, initial values are not drawn: parameters hold whatever their memory held.

    For a model whose parameters are all read from a file next: to draw them first would take longer
    than to read them, and more memory, since draws are float64.
    """
    before = _empty.set(True)
    try:
        yield
    finally:
        _empty.reset(before)


def is_empty() -> bool:
    """Whether `empty` holds here: what a model would write over its parameters would be lost."""
    return _empty.get()


def _drawn(draw: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """An initialisation that `empty` leaves out; its arguments `shape` and `dtype` go by these names."""
    signature = inspect.signature(draw)

    @wraps(draw)
    def initial(*args: Any, **options: Any) -> np.ndarray:
        if not _empty.get():
            return draw(*args, **options)
        given = signature.bind(*args, **options)
        given.apply_defaults()
        return np.empty(given.arguments["shape"], given.arguments["dtype"])

    return initial


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[0], shape[-1]) if len(shape) > 1 else (shape[0], shape[0])


@_drawn
def glorot_uniform(shape: tuple[int, ...], rng: np.random.Generator | None = None,
                   dtype: Any = np.float32) -> np.ndarray:
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)), shape (fan_in, fan_out).

    Source: Glorot & Bengio 2010, equation 16; Keras's default for Dense and LSTM kernels.
    """
    fan_in, fan_out = _fans(shape)
    limit = math.sqrt(6 / (fan_in + fan_out))
    return generator(rng).uniform(-limit, limit, shape).astype(dtype)


@_drawn
def glorot_normal(shape: tuple[int, ...], rng: np.random.Generator | None = None,
                  dtype: Any = np.float32) -> np.ndarray:
    """N(0, 2 / (fan_in + fan_out)), shape (fan_in, fan_out): "xavier normal" in torch.

    Source: Glorot & Bengio 2010, equation 12.
    """
    fan_in, fan_out = _fans(shape)
    return normal(shape, math.sqrt(2 / (fan_in + fan_out)), rng, dtype)


@_drawn
def he_uniform(shape: tuple[int, ...], rng: np.random.Generator | None = None,
               dtype: Any = np.float32) -> np.ndarray:
    """U(-a, a) with a = sqrt(6 / fan_in), shape (fan_in, fan_out): "kaiming uniform" in torch.

    Its variance 2 / fan_in keeps the size of activations from layer to layer where relu drops half of them.

    Source: He et al. 2015, equation 10, as a uniform distribution.
    """
    return uniform(shape, math.sqrt(6 / _fans(shape)[0]), rng, dtype)


@_drawn
def he_normal(shape: tuple[int, ...], rng: np.random.Generator | None = None,
              dtype: Any = np.float32) -> np.ndarray:
    """N(0, 2 / fan_in), shape (fan_in, fan_out), for layers before a relu: "kaiming normal" in torch.

    Source: He et al. 2015, equation 10.
    """
    return normal(shape, math.sqrt(2 / _fans(shape)[0]), rng, dtype)


@_drawn
def orthogonal(shape: tuple[int, int], rng: np.random.Generator | None = None,
               dtype: Any = np.float32) -> np.ndarray:
    """A matrix with orthonormal rows or columns (whichever are fewer): it keeps norms through time.

    Source: Saxe, McClelland & Ganguli 2014; Keras's default for recurrent kernels.
    """
    rows, columns = shape
    a = generator(rng).standard_normal((max(shape), min(shape)))
    q, r = np.linalg.qr(a)
    q *= np.sign(np.diag(r))  # makes the distribution uniform over orthogonal matrices
    return (q if rows >= columns else q.T).astype(dtype)


@_drawn
def uniform(shape: tuple[int, ...], limit: float, rng: np.random.Generator | None = None,
            dtype: Any = np.float32) -> np.ndarray:
    """U(-limit, limit)."""
    return generator(rng).uniform(-limit, limit, shape).astype(dtype)


@_drawn
def normal(shape: tuple[int, ...], std: float, rng: np.random.Generator | None = None,
           dtype: Any = np.float32) -> np.ndarray:
    """N(0, std^2)."""
    return (std * generator(rng).standard_normal(shape)).astype(dtype)


@_drawn
def truncated_normal(shape: tuple[int, ...], std: float, rng: np.random.Generator | None = None,
                     dtype: Any = np.float32, *, bound: float = 2.0) -> np.ndarray:
    """N(0, std^2), with what is beyond bound * std drawn again, so that no weight begins far out.

        Var = std^2 (1 - 2 b phi(b) / (2 Phi(b) - 1)),   phi and Phi the normal density and distribution

    Args:
        shape: of the array.
        std: of the distribution before it is cut; for bound 2 it is 0.88 std after.
        rng: draws; None: the common generator.
        dtype: of the array.
        bound: b > 0, in units of std.

    Raises:
        ValueError: bound is not above 0.

    Source: Devlin et al. 2019 (BERT) and Keras's TruncatedNormal; variance: Johnson, Kotz & Balakrishnan
    1994, section 13.10.1.
    """
    if not bound > 0:
        raise ValueError(f"bound = {bound} must be > 0, in units of std")
    rng = generator(rng)
    x = rng.standard_normal(shape)
    while (far := np.abs(x) > bound).any():
        x[far] = rng.standard_normal(int(far.sum()))
    return (std * x).astype(dtype)
