"""Initial values of parameters, and where their randomness comes from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_generator = np.random.default_rng()


def manual_seed(seed: int) -> np.random.Generator:
    """Seed the generator that layers use when they are given none; return it."""
    global _generator
    _generator = np.random.default_rng(seed)
    return _generator


def generator(rng: np.random.Generator | None = None) -> np.random.Generator:
    """`rng` itself, or the common generator (seeded by `manual_seed`, else by the system)."""
    return _generator if rng is None else rng


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[0], shape[-1]) if len(shape) > 1 else (shape[0], shape[0])


def glorot_uniform(shape: tuple[int, ...], rng: np.random.Generator | None = None,
                   dtype: Any = np.float32) -> np.ndarray:
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)), shape (fan_in, fan_out).

    Source: Glorot & Bengio 2010, equation 16; Keras's default for Dense and LSTM kernels.
    """
    fan_in, fan_out = _fans(shape)
    limit = math.sqrt(6 / (fan_in + fan_out))
    return generator(rng).uniform(-limit, limit, shape).astype(dtype)


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


def uniform(shape: tuple[int, ...], limit: float, rng: np.random.Generator | None = None,
            dtype: Any = np.float32) -> np.ndarray:
    """U(-limit, limit)."""
    return generator(rng).uniform(-limit, limit, shape).astype(dtype)


def normal(shape: tuple[int, ...], std: float, rng: np.random.Generator | None = None,
           dtype: Any = np.float32) -> np.ndarray:
    """N(0, std^2)."""
    return (std * generator(rng).standard_normal(shape)).astype(dtype)
