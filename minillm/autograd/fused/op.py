"""Fused ops: a hand-derived forward and backward in place of a chain of small ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minillm.autograd.tensor import apply_fused

from .registry import register


class FusedOp:
    """A function of arrays with its backward written by hand. Calling it takes Tensors or arrays.

    Args:
        forward: `forward(*arrays, save, **options) -> (value, saved)`; value is an array or, for
            several outputs, a tuple of arrays; `saved` is what backward needs (anything, or None
            where `save` is False). It must not change its inputs.
        backward: `backward(g, saved, *arrays, needs, **options) -> gradients`, one per argument and
            None where `needs[i]` is False. g is an array, or a list with None for outputs that
            nothing depends on. It must change neither g nor saved: a graph may be walked twice.
        composite: the same function written with `np.`, from which second derivatives come, and
            against which the tests hold forward and backward.
        invariant: a forward that computes each row by itself, for `batch_invariant`; left out where
            `forward` does so already, or looks at `state.invariant` itself.
        anywhere: forward and backward take arrays of any library, as kernels do. Otherwise they are for
            NumPy's, and other arrays get the composite.
    """

    def __init__(self, forward: Callable[..., Any], backward: Callable[..., Any],
                 composite: Callable[..., Any], *, invariant: Callable[..., Any] | None = None,
                 anywhere: bool = False) -> None:
        self.forward = forward
        self.invariant = invariant or forward
        self.backward = backward
        self.composite = composite
        self.anywhere = anywhere
        if not anywhere:
            register(composite.__name__, forward, composite)
        self.__name__ = composite.__name__
        self.__doc__ = composite.__doc__

    def __call__(self, *args: Any, **options: Any) -> Any:
        return apply_fused(self, args, options)

    def __repr__(self) -> str:
        return f"<fused op {self.__name__}>"
