"""`FusedOp`: several outputs, arguments that depend on one another, what is saved."""

import numpy as np
import pytest

from minillm import Tensor, check_gradients, grad, no_grad
from minillm.autograd.fused import FusedOp


def leaf(*shape):
    return Tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)


def sums_and_products(a, b):
    return a + b, a * b, a


def _forward(a, b, *, save):
    return (a + b, a * b, a.copy()), ("saved" if save else None)


def _backward(g, saved, a, b, *, needs):
    assert saved == "saved"
    zero = np.zeros_like(a)
    s, p, q = (zero if x is None else x for x in g)
    return (s + p * b + q if needs[0] else None), (s + p * a if needs[1] else None)


three = FusedOp(_forward, _backward, sums_and_products)


@pytest.mark.parametrize("used", [(0,), (1,), (2,), (0, 1), (0, 2), (0, 1, 2), (1, 1, 0)])
def test_fused_op_with_several_outputs(used):
    rng = np.random.default_rng(0)

    def f(op, a, b):
        outputs = op(a, b)
        y = outputs[used[0]] ** 2
        for i in used[1:]:
            y = y * outputs[i]
        return y

    a, b = rng.standard_normal((2, 3))
    s, t = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
    for x in ((s, t), (s, b)):
        inputs = [t for t in x if isinstance(t, Tensor)]
        ours, plain = (grad(f(op, *x).sum(), inputs) for op in (three, sums_and_products))
        for d, e in zip(ours, plain, strict=True):
            np.testing.assert_allclose(d.data, e.data)
    check_gradients(lambda a, b: f(three, a, b), (a, b), order=3)


def test_fused_op_of_arguments_that_depend_on_one_another():
    """The second derivative must not go through an argument to the others, or it counts them twice."""
    x = np.array([0.3, -0.5])
    check_gradients(lambda x: three(x, x * x)[1], (x,), order=3)
    check_gradients(lambda x: three(*three(x, x**3)[:2])[1], (x,), order=2)
    check_gradients(lambda x: three(x, x)[1], (x,), order=2)


def test_fused_op_runs_once_for_all_its_outputs():
    calls = []

    def backward(g, saved, a, b, *, needs):
        calls.append([x is not None for x in g])
        return _backward(g, saved, a, b, needs=needs)

    op = FusedOp(_forward, backward, sums_and_products)
    s, p, _ = op(leaf(2), leaf(2))
    (s * p + p).sum().backward()
    assert calls == [[True, True, False]]


def test_fused_op_saves_nothing_without_a_tape():
    seen = []

    def forward(a, *, save):
        seen.append(save)
        return a * 2, None

    op = FusedOp(forward, None, lambda a: a * 2)
    x = leaf(2)
    op(x.data)
    with no_grad():
        op(x)
    op(x)
    assert seen == [False, False, True]
