"""Hypothesis strategies for cases: `@given(cross_entropy_cases())` draws what a property is tried on.

Hypothesis is not needed for anything else of this package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from kernels.tuning import ADAM_TILE

from . import adam, adam_reference, cross_entropy, cross_entropy_reference

# Sizes at which a block, a warp or a 16-byte group begins or ends, and those in between.
_EDGES = [n + d for n in (4, 8, 16, 32, 64, 128, 256, 1024) for d in (-1, 0, 1)]


def cross_entropy_cases(kinds: Sequence[tuple[str, Mapping[str, Any]]] | None = None, *, max_rows: int = 6,
                        max_vocab: int = 300) -> st.SearchStrategy[cross_entropy_reference.Case]:
    """Cases of softmax cross-entropy.

    Args:
        kinds: pairs of (dtype, options) to choose from; None is every dtype with every set of options.
        max_rows, max_vocab: of the logits.
    """
    pairs = kinds or [(d, o) for o in cross_entropy.OPTIONS for d in cross_entropy.DTYPES]
    vocab = st.one_of(st.integers(1, max_vocab), st.sampled_from([n for n in _EDGES if n <= max_vocab]))
    return st.builds(
        lambda kind, **rest: cross_entropy_reference.Case(dtype=kind[0], options=dict(kind[1]), **rest),
        kind=st.sampled_from(list(pairs)), rows=st.integers(1, max_rows), vocab=vocab,
        seed=st.integers(0, 2**16), spread=st.sampled_from([0.5, 3.0, 20.0]),
        masked=st.sampled_from([0.0, 0.2, 0.9]), ignored=st.sampled_from([0.0, 0.3]),
        gap=st.integers(0, 9), shift=st.integers(0, 9), labels=st.sampled_from(["int64", "int32"]))


def adam_cases(kinds: Sequence[tuple[tuple[str, str, str], Mapping[str, Any]]] | None = None, *,
               max_tensors: int = 5) -> st.SearchStrategy[adam_reference.Case]:
    """Cases of Adam: sizes around a tile and small ones, empty tensors among them, at least one of 33.

    Args:
        kinds: pairs of (dtypes of params, grads and moments, options); None is all.
        max_tensors: of one call.
    """
    pairs = kinds or [(d, o) for o in adam.OPTIONS for d in adam.DTYPES]
    sizes = st.one_of(st.integers(0, 70), st.sampled_from([ADAM_TILE - 1, ADAM_TILE, ADAM_TILE + 1]))
    lists = st.lists(sizes, max_size=max_tensors - 2).map(lambda several: (5, 33, *several))
    return st.builds(
        lambda kind, **rest: adam_reference.Case(dtypes=kind[0], options=dict(kind[1]), **rest),
        kind=st.sampled_from(list(pairs)), sizes=lists, step=st.sampled_from([1, 2, 3, 10, 1000]),
        scale=st.sampled_from([1e-3, 0.3, 30.0]), seed=st.integers(0, 2**16))
