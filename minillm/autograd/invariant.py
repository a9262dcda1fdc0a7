"""`batch_invariant`: results of a row that do not depend on the batch it is in, bit for bit.

Ops that sum up in an order that depends on the batch have another version here, which `tensor.apply` takes
while the mode is on: products of matrices (see `row_products.py`), and sums over axes. Ops that are
elementwise or only move numbers need none: NumPy gives an element the same bits at every place. Fused ops
bring their own version (`FusedOp(..., invariant=...)`), or ask `state.invariant`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Any

import numpy as np

from .devices import is_foreign
from .row_products import matmul, tensordot
from .state import state


class batch_invariant(ContextDecorator):
    """Compute each row as if it were alone; a context manager and a decorator.

    Inside, what a model says about a sequence does not depend, in a single bit, on the batch size, on the
    row's place in the batch, on left padding, or on how many tokens are read at once: the prompt in one
    piece or token by token through the cache. So greedy and seeded generation give the same text in every
    batch. Without the mode, BLAS sums up in an order that follows from the shapes of a call, and all this
    holds to rounding.

    The price is time: products go to BLAS in tiles of 8 rows (`benchmarks/batch_invariant.py` measures it).

    It covers float32 and float64 in NumPy arrays on the CPU, in one process, with one number of threads:

    - products of Tensors, in which the rows of the *left* operand are what is by itself: `x @ W`, np.matmul,
      np.dot, np.tensordot, np.einsum; sums, means and variances;
    - the fused dense layer, LSTM, attention, norms, activations and embedding, and elementwise functions.

    It does not cover a loss, which is a mean over the batch; nor the backward pass, which is right, but may
    round differently in another batch; nor NumPy's functions of plain arrays; nor a product of a row with
    something whose shape follows the batch's padding, unless it is the fused attention (so an LSTM encoder's
    padded sources are not covered). A mask that hides a row's first keys must hide them from all its queries,
    as left padding does and a sliding window does not.

    Raises:
        NotImplementedError: by an op that sums up, for arrays on a GPU.

    It holds in the current thread and may be nested.

    Source: He et al. 2025, Defeating Nondeterminism in LLM Inference (Thinking Machines).

    Example:
        >>> with batch_invariant(), no_grad():
        ...     assert (model(ids[:1]).data == model(ids).data[:1]).all()
    """

    def __enter__(self) -> None:
        state.open_invariant(1)

    def __exit__(self, *exc: object) -> None:
        state.open_invariant(-1)


def _over_rows(reduction: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction that runs along the last axis of an array in C order: there each row is by itself."""

    def reduce(x: Any, axis: Any = None, *, keepdims: bool = False, **options: Any) -> Any:
        axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        axes = tuple(np.lib.array_utils.normalize_axis_tuple(axes, x.ndim))
        kept = tuple(i for i in range(x.ndim) if i not in axes)
        shape = tuple(x.shape[i] for i in kept)
        n = math.prod(x.shape[i] for i in axes)
        rows = np.ascontiguousarray(x.transpose(*kept, *axes)).reshape(*shape, n)
        y = reduction(rows, axis=-1, **options)
        return np.expand_dims(y, axes) if keepdims else y

    return reduce


_VERSIONS: dict[Any, Callable[..., Any]] = {
    np.matmul: matmul, np.tensordot: tensordot,
    np.sum: _over_rows(np.sum), np.mean: _over_rows(np.mean), np.var: _over_rows(np.var),
}


def version_of(op: Callable[..., Any], arrays: list[Any]) -> Callable[..., Any]:
    """What computes `op` on these arrays while the mode is on.

    Raises:
        NotImplementedError: there would be another version, but not for a GPU.
    """
    version = _VERSIONS.get(op)
    if version is None:
        return op
    for a in arrays:
        if is_foreign(a):
            kind = f"{type(a).__module__}.{type(a).__name__}"
            raise NotImplementedError("batch_invariant() is for NumPy arrays on the CPU, but "
                                      f'{op.__name__} was given {kind}: leave the mode, or use x.to("cpu")')
    return version
