"""Products of matrices and tensors. Each is linear in each argument, so each rule is a product too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minillm.autograd.state import state
from minillm.autograd.tensor import apply

from .einsum_rows import einsum_by_rows, parse
from .registry import RULES, EachArgument, array, composed, constant


def _matmul_left(g: Any, y: Any, a: Any, b: Any) -> Any:
    """Y = A B: dL/dA = G B^T."""
    b = array(b)
    if b.ndim == 1:
        return np.expand_dims(g, -1) * b  # (..., n)
    if a.ndim == 1:
        return np.squeeze(b @ np.expand_dims(g, -1), -1)  # (..., n)
    return g @ b.mT


def _matmul_right(g: Any, y: Any, a: Any, b: Any) -> Any:
    """Y = A B: dL/dB = A^T G."""
    a = array(a)
    if a.ndim == 1:
        return g * a if b.ndim == 1 else np.expand_dims(a, -1) * np.expand_dims(g, -2)
    if b.ndim == 1:
        return np.squeeze(a.mT @ np.expand_dims(g, -1), -1)
    if b.ndim == 2 and a.ndim > 2:  # one large product in place of a batch of small ones and a sum
        rows = math.prod(g.shape[:-1])  # not -1, which an empty array leaves open
        return np.reshape(a, (rows, a.shape[-1])).T @ np.reshape(g, (rows, g.shape[-1]))
    return a.mT @ g


def _einsum(i: int, g: Any, y: Any, subscripts: str, *operands: Any) -> Any:
    """The gradient of an operand is an einsum of g with the other operands, into its own letters."""
    names, result = parse(subscripts, operands)
    k = i - 1  # argument 0 is the subscripts
    x, own = operands[k], names[k]
    terms = [result, *names[:k], *names[k + 1:]]
    arrays = [g, *operands[:k], *operands[k + 1:]]
    longest = {c: 1 for term in terms for c in term}
    for term, a in zip(terms, arrays, strict=True):
        longest.update({c: n for c, n in zip(term, a.shape, strict=True) if n != 1})
    spare = iter(c for c in "abcdefghijklmnopqrstuvwxyz" if c not in "".join(names) + result)
    target = ""
    for axis, letter in enumerate(own):
        if letter in target:  # a diagonal, as in "ii": delta_ij places g on it
            twin = next(spare)
            terms.append(letter + twin)
            arrays.append(constant(np.eye(x.shape[axis], dtype=x.dtype), x))
            letter = twin
        elif longest.get(letter, 1) == 1:  # summed away in this operand alone: spread g over it
            terms.append(letter)
            arrays.append(constant(np.ones(x.shape[axis], dtype=x.dtype), x))
        target += letter
    return np.einsum(",".join(terms) + "->" + target, *arrays)


def _axes(axes: Any, a: Any, b: Any) -> tuple[list[int], list[int]]:
    """The contracted axes of both operands, non-negative."""
    if isinstance(axes, int):
        return list(range(a.ndim - axes, a.ndim)), list(range(axes))
    of_a, of_b = ([x] if isinstance(x, int) else list(x) for x in axes)
    return [i % a.ndim for i in of_a], [i % b.ndim for i in of_b]


def _tensordot_left(g: Any, y: Any, a: Any, b: Any, axes: Any = 2) -> Any:
    a, b = array(a), array(b)
    of_a, of_b = _axes(axes, a, b)
    free_a = [i for i in range(a.ndim) if i not in of_a]
    free_b = [i for i in range(b.ndim) if i not in of_b]
    n = len(free_b)
    d = np.tensordot(g, b, (list(range(g.ndim - n, g.ndim)), free_b))  # (free a, contracted by b)
    places = free_a + [of_a[of_b.index(j)] for j in sorted(of_b)]
    return np.transpose(d, tuple(int(i) for i in np.argsort(places)))


def _tensordot_right(g: Any, y: Any, a: Any, b: Any, axes: Any = 2) -> Any:
    a, b = array(a), array(b)
    of_a, of_b = _axes(axes, a, b)
    free_a = [i for i in range(a.ndim) if i not in of_a]
    free_b = [i for i in range(b.ndim) if i not in of_b]
    d = np.tensordot(a, g, (free_a, list(range(len(free_a)))))  # (contracted by a, free b)
    places = [of_b[of_a.index(j)] for j in sorted(of_a)] + free_b
    return np.transpose(d, tuple(int(i) for i in np.argsort(places)))


RULES.update({
    np.matmul:    (_matmul_left, _matmul_right),
    np.einsum:    EachArgument(_einsum),
    np.tensordot: (_tensordot_left, _tensordot_right),
})


@composed(np.einsum)
def einsum(subscripts: Any, *operands: Any, optimize: Any = False) -> Any:
    if not isinstance(subscripts, str):
        raise TypeError("einsum on Tensors takes its subscripts as a string: np.einsum('ij,jk', a, b)")
    if state.invariant:
        return einsum_by_rows(subscripts, tuple(map(array, operands)))
    return apply(np.einsum, (subscripts, *map(array, operands)))


@composed(np.dot)
def dot(a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return a * b
    if np.ndim(a) <= 2 and np.ndim(b) <= 2:
        return np.matmul(a, b)
    return np.tensordot(a, b, ((-1,), (-1 if np.ndim(b) == 1 else -2,)))


@composed(np.outer)
def outer(a: Any, b: Any) -> Any:
    return np.reshape(a, (-1, 1)) * np.reshape(b, (1, -1))
