"""Gradient clipping: a cap on the length of one step's gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minillm.autograd import Tensor
from minillm.autograd.devices import is_foreign


def clip_grad_norm(params: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients together, in place, so that their joint 2-norm is at most `max_norm`.

        s = min(1, max_norm / ||g||),   g <- s g

    Args:
        params: Tensors; those without a gradient are passed over.
        max_norm: > 0; `math.inf` only measures.

    Returns:
        The norm before clipping. It is not finite if a gradient is not, and nothing is scaled then.

    Raises:
        ValueError: max_norm is not positive.

    Source: Pascanu, Mikolov & Bengio 2013, algorithm 1. Formula: `clip_by_norm`.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm = {max_norm} must be positive")
    grads = [p.grad for p in params if p.grad is not None]
    # vdot is one pass without a temporary; the sum over arrays is in double precision.
    if grads and is_foreign(grads[0]):  # added there: one wait for the GPU, not one for each
        norm = math.sqrt(float(sum(np.vdot(g, g) for g in grads)))
    else:
        norm = math.sqrt(sum(float(np.vdot(g, g)) for g in grads))
    if norm == math.inf:  # squares of float32 overflow from 1.8e19 on: the gradient may be finite
        norm = math.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in grads))
    if max_norm < norm < math.inf:
        for g in grads:
            g *= max_norm / norm
    return norm
