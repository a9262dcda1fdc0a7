"""The tape's backward: a topological order, and one walk back along it."""

import math
from typing import Any

import numpy as np


class Node:
    """A number that remembers how it was computed.

    Attributes:
        data: the number.
        inputs: the Nodes that it was computed from; () for a leaf.
        local: d(self)/d(input), one number for each input, in the same order.
        grad: dL/d(self), once `backward` has walked.
    """

    def __init__(self, data: float, inputs: tuple["Node", ...] = (), local: tuple[float, ...] = ()) -> None:
        self.data, self.inputs, self.local, self.grad = data, inputs, local, 0.0


def add(a: Node, b: Node) -> Node:
    """a + b."""
    return Node(a.data + b.data, (a, b), (1.0, 1.0))


def mul(a: Node, b: Node) -> Node:
    """a b."""
    return Node(a.data * b.data, (a, b), (b.data, a.data))


def tanh(a: Node) -> Node:
    """tanh a."""
    y = math.tanh(a.data)
    return Node(y, (a,), (1 - y * y,))


def topological_order(root: Node) -> list[Node]:
    """The Nodes below `root`, leaves too, each once and after all of its inputs; `root` comes last.

    Each node is opened once and each edge looked at once, without recursion: a chain of 20,000 operations
    is no more trouble than one of five.
    """
    # BEGIN SOLUTION
    order: list[Node] = []
    opened: set[int] = set()
    stack = [(root, False)]
    while stack:
        v, close = stack.pop()
        if close:  # all that was put on top of it has been dealt with
            order.append(v)
        elif id(v) not in opened:
            opened.add(id(v))
            stack.append((v, True))
            for u in v.inputs:
                stack.append((u, False))
    return order
    # END SOLUTION


def backward(root: Node) -> None:
    """Set `grad` of every Node below `root` to d(root)/d(node); d(root)/d(root) is 1.

        dL/da = sum over all v that use a of dL/dv * dv/da

    What an earlier walk has left in `grad` does not count. A node has its turn when all that use it have
    had theirs: `topological_order` from its end.
    """
    # BEGIN SOLUTION
    order = topological_order(root)
    for v in order:
        v.grad = 0.0
    root.grad = 1.0
    for v in reversed(order):
        for u, d in zip(v.inputs, v.local, strict=True):
            u.grad += v.grad * d
    # END SOLUTION


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of an array that was broadcast, from the gradient of what it was broadcast to.

    Sums g over the axes that NumPy put in front, and over those that it stretched from length 1.

    Args:
        g: an array, of a shape to which `shape` broadcasts.
        shape: of the input.

    Returns:
        An array of that shape.
    """
    # BEGIN SOLUTION
    front = g.ndim - len(shape)
    g = np.sum(g, axis=tuple(range(front)))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1)
    return np.sum(g, axis=stretched, keepdims=True)
    # END SOLUTION
