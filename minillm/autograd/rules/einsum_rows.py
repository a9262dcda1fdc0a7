"""np.einsum by way of np.matmul and np.sum, for `batch_invariant`, where these compute each row by itself.

NumPy's own einsum reads in pieces of 8192 numbers, wherever a row happens to begin.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minillm.autograd.tensor import apply


def parse(subscripts: str, operands: tuple[Any, ...]) -> tuple[list[str], str]:
    """The subscripts of each operand and of the result, with `...` spelled out in capital letters."""
    text = subscripts.replace(" ", "")
    inputs, arrow, result = text.partition("->")
    names = inputs.split(",")
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in text]
    ranks = [x.ndim - len(s.replace("...", "")) if "..." in s else 0
             for s, x in zip(names, operands, strict=True)]
    dots = "".join(spare[:max(ranks)])
    if not arrow:  # NumPy's implied result: broadcast axes, then letters that occur once, sorted
        letters = inputs.replace("...", "").replace(",", "")
        result = "..." + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    names = [s.replace("...", dots[len(dots) - r:]) for s, r in zip(names, ranks, strict=True)]
    return names, result.replace("...", dots)


def einsum_by_rows(subscripts: str, operands: tuple[Any, ...]) -> Any:
    """np.einsum of Tensors; two operands are one product, in which the first one's own letters are the rows.

    Any other number of operands, or an axis that is stretched, takes the memory of all letters together.
    """
    if subscripts.partition("->")[0].count(",") + 1 != len(operands):
        return apply(np.einsum, (subscripts, *operands))  # raises
    names, result = parse(subscripts, operands)
    for i, (own, x) in enumerate(zip(names, operands, strict=True)):
        if x.ndim != len(own):
            return apply(np.einsum, (subscripts, *operands))  # raises
        unique = "".join(dict.fromkeys(own))
        if unique != own:  # a diagonal: numbers are picked, none are added
            operands = (*operands[:i], apply(np.einsum, (f"{own}->{unique}", x)), *operands[i + 1:])
            names[i] = unique
    sizes: dict[str, set[int]] = {}
    for own, x in zip(names, operands, strict=True):
        for letter, n in zip(own, x.shape, strict=True):
            sizes.setdefault(letter, set()).add(n)
    if any(len(n - {1}) > 1 for n in sizes.values()) or not set(result) <= set(sizes):
        return apply(np.einsum, (subscripts, *operands))  # raises
    if len(operands) == 2 and all(len(n) == 1 for n in sizes.values()):
        return _product(names, result, operands, {letter: n.copy().pop() for letter, n in sizes.items()})
    order = result + "".join(letter for letter in sizes if letter not in result)
    product: Any = 1
    for own, x in zip(names, operands, strict=True):
        product = product * _ordered(x, own, order)
    return np.sum(product, axis=tuple(range(len(result), len(order))))


def _ordered(x: Any, own: str, order: str) -> Any:
    """x with its axes in this order, and axes of length 1 for the letters that it does not have."""
    x = np.transpose(x, tuple(own.index(letter) for letter in order if letter in own))
    return np.reshape(x, tuple(x.shape[[c for c in order if c in own].index(letter)] if letter in own else 1
                               for letter in order))


def _product(names: list[str], result: str, operands: tuple[Any, ...], sizes: dict[str, int]) -> Any:
    """Two operands: (batch, rows, K) @ (batch, K, columns)."""
    inside = [own if set(own) <= set(other + result) else "".join(c for c in own if c in other + result)
              for own, other in zip(names, reversed(names), strict=True)]
    a, b = (x if kept == own else np.sum(x, axis=tuple(i for i, c in enumerate(own) if c not in kept))
            for x, own, kept in zip(operands, names, inside, strict=True))
    of_a, of_b = inside
    batch = [c for c in of_a if c in of_b and c in result]
    rows, columns = [c for c in of_a if c not in of_b], [c for c in of_b if c not in of_a]
    summed = [c for c in of_a if c in of_b and c not in result]

    def matrix(x: Any, own: str, first: list[str], second: list[str]) -> Any:
        shape = [math.prod(sizes[c] for c in group) for group in (batch, first, second)]
        x = np.transpose(x, tuple(own.index(c) for c in (*batch, *first, *second)))
        return np.reshape(x, tuple(shape))

    y = np.matmul(matrix(a, of_a, rows, summed), matrix(b, of_b, summed, columns))
    y = np.reshape(y, tuple(sizes[c] for c in (*batch, *rows, *columns)))
    order = [*batch, *rows, *columns]
    return np.transpose(y, tuple(order.index(c) for c in result))
