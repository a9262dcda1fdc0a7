"""The rows of rules/products.py: name, reference in torch, domain."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rule_checks import SHAPE, WITH_AXIS, row

MATMUL = hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, min_side=0,
                                           max_side=3).map(lambda s: (list(s.input_shapes), {}))
DOT = st.sampled_from([((), ()), ((), (3,)), ((2, 3), ()), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)),
                       ((2, 3), (3, 4)), ((2, 0), (0, 4)), ((2, 1, 3), (3,)), ((3,), (2, 3, 4)),
                       ((2, 3), (4, 3, 1)), ((2, 4, 3), (2, 3, 2))]).map(lambda s: (list(s), {}))
EINSUM = [
    "ij,jk->ik", "ij,jk", "ij->ji", "ba", "i,i->", "i,i", "i,j->ij", "ij->", "ij->j", "ij,kl->i", "ii",
          "ii->i",
    "ii,i->i", "iij,jk->ik", "iii->i", "iii", "ij,ji", "ij,ij,ij->i", "bij,bjk->bik",
          "b i j , b k j -> b i k",
    "...ij,...jk->...ik", "...ij,jk", "...,...", "i...->...i", "i...,i...->...", "...ii->...i", "...i,...i",
    "i,ij,j", "Ab,bC", "ij,j...->i...", ",i->i", "ijk,k->ij",
]


@st.composite
def einsum_shapes(draw: Any) -> Any:
    form = draw(st.sampled_from(EINSUM))
    terms = form.replace(" ", "").partition("->")[0].split(",")
    size = {c: draw(st.integers(0, 3)) for c in sorted(set(form) - set(" .,->"))}
    dots = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=2))
    shapes = []
    for term in terms:
        shape: list[int] = []
        rank = draw(st.integers(0, len(dots)))
        for part in term.replace("...", "."):
            if part == ".":
                shape += [1 if draw(st.booleans()) else n for n in dots[len(dots) - rank:]]
            else:  # one operand may have size 1 where another is longer
                alone = sum(part in t for t in terms) == 1 or term.count(part) > 1
                shape.append(size[part] if alone or draw(st.integers(0, 3)) else 1)
        shapes.append(tuple(shape))
    return shapes, {"form": form}


@st.composite
def tensordot_shapes(draw: Any) -> Any:
    shared = draw(st.lists(st.integers(0, 3), max_size=2))
    free_a, free_b = (draw(st.lists(st.integers(0, 3), max_size=2)) for _ in "ab")
    if draw(st.booleans()):
        return [(*free_a, *shared), (*shared, *free_b)], {"axes": len(shared)}
    of_a = draw(st.permutations(range(len(free_a) + len(shared))))[:len(shared)]
    of_b = draw(st.permutations(range(len(free_b) + len(shared))))[:len(shared)]

    def shape(free: list[int], at: list[int]) -> tuple[int, ...]:
        rest = iter(free)
        return tuple(shared[at.index(i)] if i in at else next(rest) for i in range(len(free) + len(at)))

    shapes = [shape(free_a, of_a), shape(free_b, of_b)]
    signed = [i - len(shapes[0]) if draw(st.booleans()) else i for i in of_a]
    if len(shared) == 1 and draw(st.booleans()):
        return shapes, {"axes": (signed[0], of_b[0])}
    return shapes, {"axes": (signed, of_b)}


def torch_tensordot(a: Any, b: Any, axes: Any) -> Any:
    if isinstance(axes, int):
        return torch.tensordot(a, b, axes)
    of_a, of_b = ([x] if isinstance(x, int) else x for x in axes)
    return torch.tensordot(a, b, ([i % a.ndim for i in of_a], [i % b.ndim for i in of_b]))


def torch_dot(a: Any, b: Any) -> Any:
    if not a.ndim or not b.ndim:
        return a * b
    return torch.tensordot(a, b, ([a.ndim - 1], [max(b.ndim - 2, 0)]))


PRODUCTS = [
    row(np.matmul, np.matmul, torch.matmul, MATMUL),
    row(np.matmul, operator.matmul, torch.matmul, MATMUL, name="matmul as an operator"),
    row(np.einsum, lambda *xs, form: np.einsum(form, *xs), lambda *xs, form: torch.einsum(form, *xs),
        einsum_shapes()),
    row(np.tensordot, np.tensordot, torch_tensordot, tensordot_shapes()),
    row(np.dot, np.dot, torch_dot, DOT, exact=False),
    row(np.outer, np.outer, lambda a, b: torch.outer(a.reshape(-1), b.reshape(-1)),
        st.tuples(WITH_AXIS, SHAPE).map(lambda s: (list(s), {}))),
]
