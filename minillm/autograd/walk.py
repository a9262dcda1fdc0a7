"""Reverse-mode differentiation: the walk back over the graph, and the two ways to ask for it.

For a node y = f(x_1, ..., x_n) and the gradient g = dL/dy, each rule of f gives g . dy/dx_i, the
vector-Jacobian product. A node may be used more than once; its gradient is the sum over its uses,
so it may be passed on only when all of them have come in. That is what the topological order is for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from .devices import as_array, beside
from .rules import RULES, AllArguments
from .rules.shapes import cast
from .state import state
from .tensor import Tensor, output, unwrap


def topological_order(root: Tensor, stop: Collection[int] = ()) -> list[Tensor]:
    """The computed Tensors below `root`, every one after all of its inputs; `root` comes last.

    The walk does not go below Tensors whose ids are in `stop`, nor list them.

    Depth first with a stack of our own: a chain of 100,000 ops needs no recursion. Each node is
    opened once and closed once, so the work is linear in nodes and edges.
    """
    order: list[Tensor] = []
    opened: set[int] = set(stop)
    stack: list[Any] = [root] if root.op is not None else []
    while stack:
        t = stack[-1]
        if t is None:  # all that was put on top of the node below has been dealt with: close it
            stack.pop()
            order.append(stack.pop())
        elif id(t) in opened:  # it was also found on another way
            stack.pop()
        else:
            opened.add(id(t))
            stack.append(None)
            for a in t.args:
                if type(a) is Tensor and a.op is not None and id(a) not in opened:
                    stack.append(a)
    return order


def unbroadcast(g: Any, like: Any) -> Any:
    """Undo broadcasting and type promotion: sum g over the axes that NumPy had stretched.

    The one place where this happens: a rule may return its gradient in the shape and dtype of the
    *output*, and it arrives here in those of the input `like`.
    """
    shape = like.shape
    if g.shape != shape:
        extra = g.ndim - len(shape)
        if extra > 0:
            g = np.add.reduce(g, axis=0 if extra == 1 else tuple(range(extra)))
        if 1 in shape:
            stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
            if stretched:
                g = np.add.reduce(g, axis=stretched, keepdims=True)
    return g if g.dtype == like.dtype else cast(g, like.dtype)


def _products(t: Tensor, g: Any, arrays: list[Any], needs: list[bool]) -> Sequence[Any]:
    """g . dy/dx for each argument of the node `t` that needs it, on arrays."""
    op: Any = t.op
    rules = RULES.get(op)
    if rules is None:
        return op.backward(g, t.saved, *arrays, needs=needs, **t.kwargs)
    y, kwargs = t.data, t.kwargs
    if type(rules) is AllArguments:
        return rules.rule(g, y, *arrays, **kwargs)
    return [rules[i](g, y, *arrays, **kwargs) if n else None for i, n in enumerate(needs)]


def _recorded_products(t: Tensor, g: Any, needs: list[bool]) -> Sequence[Any]:
    """The same for any op on Tensors, so that the gradient is on the tape too (`create_graph=True`)."""
    op: Any = t.op
    rules = RULES.get(op)
    if type(rules) is AllArguments:
        return rules.rule(g, t, *t.args, **t.kwargs)
    if rules is not None:
        return [rules[i](g, t, *t.args, **t.kwargs) if n else None for i, n in enumerate(needs)]
    # A fused op's backward is written for arrays: differentiate its composite formula instead.
    # Of copies of its arguments, since one of these may itself be computed from another.
    inputs = [np.positive(a) if n else a for a, n in zip(t.args, needs, strict=True)]
    outputs = op.composite(*inputs, **t.kwargs)
    pairs = zip(outputs, g, strict=True) if type(g) is list else [(outputs, g)]
    total: Any = sum((y * gy).sum() for y, gy in pairs if gy is not None)
    wanted = [x for x, n in zip(inputs, needs, strict=True) if n]
    seed = Tensor(np.ones_like(total.data))
    found = backward_pass(total, seed, wanted=wanted, create_graph=True, below_wanted=False)
    return [found[id(x)][1] if id(x) in found else None for x in inputs]


def backward_pass(root: Tensor, g: Any, *, wanted: Iterable[Tensor] | None = None,
                  create_graph: bool = False, below_wanted: bool = True) -> dict[int, tuple[Tensor, Any]]:
    """Walk back from `root`, whose gradient is g.

    With `below_wanted=False`, no wanted Tensor depends on another, and the walk ends at them.

    Returns:
        id -> (Tensor, gradient), for the leaves below `root`, or for `wanted` where that is given.
    """
    targets = None if wanted is None else {id(x): x for x in wanted}
    order = topological_order(root, () if targets is None or below_wanted else targets)
    if root.op is None and (targets is None or id(root) in targets):
        return {id(root): (root, g if create_graph else g.copy())}
    on_the_way = None if targets is None else _leading_to(targets, order)
    if on_the_way is not None and id(root) not in on_the_way:
        return {}
    observer = state.observer if state.unusual else None  # one look, for most walks
    grads: dict[int, Any] = {id(root): g}
    mine: set[int] = set()  # ids whose gradient is a sum made here: it may be added to in place
    leaves: list[Tensor] = []
    found: dict[int, tuple[Tensor, Any]] = {}
    for t in reversed(order):
        key = id(t)
        if key not in grads:
            continue
        g = grads.pop(key)
        if targets is not None and key in targets:
            found[key] = t, g if create_graph else g.copy()  # the op may have kept g for itself
        if t.op is output:  # one of several outputs: wait at the join for the others
            slots = grads.setdefault(id(t.args[0]), [None] * t.kwargs["count"])
            slots[t.kwargs["index"]] = g
            continue
        if observer is not None:
            observer.before_backward(t, g)
        arrays, needs = [], []
        for a in t.args:  # one loop for both: in a small op this is most of the work
            if type(a) is Tensor:
                arrays.append(a.data)
                needs.append(a.requires_grad and (on_the_way is None or id(a) in on_the_way))
            else:
                arrays.append(a)
                needs.append(False)
        products = _recorded_products(t, g, needs) if create_graph else _products(t, g, arrays, needs)
        for i, d in enumerate(products):
            if d is None or not needs[i]:
                continue
            a = t.args[i]
            x = a.data
            if d.shape != x.shape or d.dtype is not x.dtype:
                d = unbroadcast(d, a)
            if observer is not None:
                observer.after_backward(t, i, d)
            key = id(a)
            if key not in grads:
                if a.op is None:
                    leaves.append(a)
                    if not create_graph and (d is g or d.base is not None):
                        d = d.copy()  # a leaf's gradient belongs to the user, who may scale it
                grads[key] = d
            elif key in mine:
                np.add(grads[key], d, out=grads[key])
            else:
                grads[key] = grads[key] + d
                if not create_graph and d.ndim:  # a sum of 0-d arrays is a scalar
                    mine.add(key)
    for a in leaves if targets is None else targets.values():
        if id(a) in grads:
            found[id(a)] = a, grads[id(a)]
    return found


def _leading_to(targets: Collection[int], order: list[Tensor]) -> set[int]:
    """The ids of the nodes in `order` from which a target is reached: nothing else needs work."""
    reached = set(targets)
    for t in order:
        if any(id(a) in reached for a in t.args):
            reached.add(id(t))
    return reached


def _seed(output: Tensor, gradient: Any) -> Any:
    if not isinstance(output, Tensor):
        raise TypeError(f"gradients are taken of a Tensor, not of {type(output).__name__}")
    if not output.requires_grad:
        raise TypeError("this Tensor does not depend on any Tensor with requires_grad=True "
                        "(or was computed under no_grad)")
    if gradient is None:
        if output.size != 1:
            raise ValueError(f"the gradient of shape {output.shape} needs `gradient` of that shape; "
                             "or reduce to a scalar first, with .sum() or .mean()")
        one = np.asarray(1, output.dtype).reshape(output.shape)
        if type(output.data) is not np.ndarray:
            one = state.seed = beside(one, output.data)
        return one
    g = gradient if isinstance(gradient, Tensor) else beside(as_array(gradient, output.dtype), output.data)
    if g.shape != output.shape:
        raise ValueError(f"gradient has shape {g.shape}, but the Tensor has {output.shape}")
    return g if g.dtype == output.dtype else cast(g, output.dtype)


def backward(output: Tensor, gradient: Any = None) -> None:
    """See `Tensor.backward`."""
    seed = unwrap(_seed(output, gradient))
    for leaf, d in backward_pass(output, seed).values():  # on arrays, so nothing is recorded
        total = d if leaf.grad is None else leaf.grad + d
        leaf.grad = total if type(total) is np.ndarray else as_array(total)


def grad(output: Tensor, inputs: Tensor | Sequence[Tensor], gradient: Any = None,
         create_graph: bool = False) -> Any:
    """d(output)/d(inputs) as Tensors, without touching any `.grad`.

    Args:
        output: a Tensor; a scalar unless `gradient` is given.
        inputs: one Tensor or a sequence of them; they need not be leaves.
        gradient: the vector v of v . J, of output's shape; 1 for a scalar.
        create_graph: record the computation of the gradient, so that it can be differentiated again.

    Returns:
        A Tensor of the input's shape, or a list of them in the inputs' order. Zero where `output`
        does not depend on the input.

    Raises:
        TypeError, ValueError: as `Tensor.backward`; also if an input does not require a gradient.
    """
    wanted: list[Any] = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for i, x in enumerate(wanted):
        if not (isinstance(x, Tensor) and x.requires_grad):
            raise TypeError(f"inputs[{i}] does not require a gradient: Tensor(x, requires_grad=True)")
    seed = _seed(output, gradient)
    if create_graph:
        seed = seed if isinstance(seed, Tensor) else Tensor(seed)
        found = backward_pass(output, seed, wanted=wanted, create_graph=True)
    else:
        found = backward_pass(output, unwrap(seed), wanted=wanted)
    grads = [found[id(x)][1] if id(x) in found else np.zeros_like(x.data) for x in wanted]
    # On the way, one array may be the gradient of several, or what a fused op has saved: hand out copies.
    tensors = [d if isinstance(d, Tensor) else Tensor(d if x.op is None else d.copy())
               for d, x in zip(grads, wanted)]
    return tensors[0] if isinstance(inputs, Tensor) else tensors
