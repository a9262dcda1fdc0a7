"""The walk back: order, accumulation, work in linear time, ownership of gradients, higher orders."""

import sys
from collections import Counter

import numpy as np
import pytest

from minillm import Tensor, check_gradients, grad, no_grad
from minillm.autograd import walk
from minillm.autograd.rules import RULES


def leaf(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


# ---- linear time -------------------------------------------------------------------------------

def chain(n):
    x = y = Tensor(1.0, requires_grad=True)
    for _ in range(n):
        y = y + 0.5
    return x, y, 1.0


def diamond(n):
    x = y = Tensor(1.0, requires_grad=True)
    for _ in range(n):
        y = y + y
    return x, y, 2.0**n


def fan_in(n):
    x = Tensor(1.0, requires_grad=True)
    return x, sum([x * i for i in range(n)]), n * (n - 1) / 2


def fan_out(n):
    x = Tensor(1.0, requires_grad=True)
    middle = x * 1
    y = middle
    for _ in range(n):
        y = y * 1 + middle
    return x, y, n + 1.0


def joined(n):
    x = Tensor(np.ones(2), requires_grad=True)
    return x, np.concatenate([x * i for i in range(n)]).sum(), n * (n - 1) / 2


def ladder(n):
    """Every node is reached by 2^n paths from above."""
    x = a = b = Tensor(1.0, requires_grad=True)
    for _ in range(n):
        a, b = a * 0.5 + b * 0.5, a * 0.25 + b * 0.75
    return x, a, 1.0


GRAPHS = [chain, diamond, fan_in, fan_out, joined, ladder]


@pytest.mark.parametrize(("graph", "n"), [
    (chain, 100_000), (diamond, 60), (fan_in, 10_000), (fan_out, 10_000), (joined, 10_000), (ladder, 1000),
], ids=lambda p: getattr(p, "__name__", p))
def test_large_graphs(graph, n):
    x, y, expected = graph(n)
    y.backward()
    np.testing.assert_allclose(x.grad, expected, rtol=1e-9)


def lines_run(f):
    """How many lines of walk.py f runs: a clock that no other process disturbs."""
    count = 0

    def local(frame, event, arg):
        nonlocal count
        count += event == "line"
        return local

    before = sys.gettrace()
    sys.settrace(lambda frame, event, arg: local if frame.f_code.co_filename == walk.__file__ else None)
    try:
        f()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda g: g.__name__)
def test_work_is_linear(graph):
    small, large = (lines_run(graph(n)[1].backward) for n in (100, 400))
    assert 100 < small
    assert large < 4.2 * small


@pytest.mark.parametrize("create_graph", [False, True])
def test_each_rule_runs_once_per_edge(monkeypatch, create_graph):
    calls = Counter()

    def counted(i):
        def rule(g, y, a, b):
            calls[i] += 1
            return g
        return rule

    monkeypatch.setitem(RULES, np.add, (counted(0), counted(1)))
    x, y, _ = diamond(60)
    grad(y, x, create_graph=create_graph)
    assert calls == {0: 60, 1: 60}


def test_order_puts_inputs_first():
    rng = np.random.default_rng(0)
    for _ in range(20):
        nodes = [leaf()]
        for _ in range(60):
            i, j = rng.integers(0, len(nodes), 2)
            nodes.append(nodes[i] * nodes[j])
        order = walk.topological_order(nodes[-1])
        place = {id(t): i for i, t in enumerate(order)}
        assert len(place) == len(order)
        assert order[-1] is nodes[-1]
        for t in order:
            for a in t.args:
                assert a.op is None or place[id(a)] < place[id(t)]


# ---- accumulation, ownership -------------------------------------------------------------------

def test_a_gradient_is_the_sum_over_all_uses():
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    a = x * 2
    y = (a * x + a + x[1:].sum() + a[0]).sum()  # 2x^2 + 2x + 3(x1 + x2) + 6 x0
    y.backward()
    np.testing.assert_allclose(x.grad, 4 * x.data + 2 + np.array([6, 3, 3]))


def test_a_sum_is_not_made_in_an_array_that_others_hold():
    """The gradient of each of these sums is passed on as it is, to both summands at once."""
    x, w, seed = leaf(3), leaf(3), np.ones(3)
    u, v = x * 2, w * 3
    ((u + v) + u).backward(seed)
    assert (x.grad.tolist(), w.grad.tolist(), seed.tolist()) == ([4.0] * 3, [3.0] * 3, [1.0] * 3)


def test_backward_adds_to_what_is_there():
    x = leaf(3)
    y = (x**2).sum()
    y.backward()
    first = x.grad
    kept = first.copy()
    y.backward()
    np.testing.assert_array_equal(x.grad, 2 * kept)
    np.testing.assert_array_equal(first, kept)
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0] * 3


def test_a_gradient_stays_an_array_of_the_leafs_shape_and_dtype():
    for shape in [(), (1,), (2, 3), (0,)]:
        for dtype in (np.float32, np.float64):
            x = Tensor(np.ones(shape, dtype), requires_grad=True)
            for _ in range(3):
                (x * 2.0 + x).sum().backward()
                assert type(x.grad) is np.ndarray
                assert (x.grad.shape, x.grad.dtype) == (shape, dtype)


@pytest.mark.parametrize("f", [
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: np.concatenate([a, b]),
    lambda a, b: np.stack([a, b]),
    lambda a, b: a + (b + a), lambda a, b: np.reshape(a, -1) + b, lambda a, b: (+a) + np.transpose(b),
    lambda a, b: np.broadcast_to(a, (2, 3)) + b[None], lambda a, b: a[:, None].squeeze() + np.flip(b),
    lambda a, b: np.einsum("i->i", a) + b, lambda a, b: np.sum(a) + b, lambda a, b: np.where(True, a, b) + b,
    lambda a, b: np.split(np.concatenate([a, b]), 2)[0] + b])
def test_gradients_share_no_memory(f):
    a, b = leaf(3, seed=1), leaf(3, seed=2)
    v = np.ones(f(a, b).shape)
    f(a, b).backward(v)
    want = a.grad.copy(), b.grad.copy()
    a.grad *= 100
    np.testing.assert_array_equal(b.grad, want[1])
    b.grad *= 100
    np.testing.assert_array_equal(a.grad, 100 * want[0])
    assert (v == 1).all()
    a.grad = b.grad = None
    y = f(a, b)
    y.backward()  if y.size == 1 else y.backward(v)
    np.testing.assert_array_equal(a.grad, want[0])
    y.backward() if y.size == 1 else y.backward(v)
    np.testing.assert_array_equal(a.grad, 2 * want[0])
    assert not np.shares_memory(a.grad, b.grad)


def test_the_gradient_of_a_leaf_itself():
    x, v = leaf(3), np.ones(3)
    x.backward(v)
    x.grad *= 2
    assert v.tolist() == [1.0] * 3
    assert grad(x, x, v).tolist() == [1.0] * 3


def test_gradients_of_interior_tensors_share_no_memory():
    x, seed = leaf(3), np.ones(3)
    u, v = x * 2, x * 3
    y = u + v
    ds = grad(y, [u, v, y], seed)
    for i, d in enumerate(ds):
        d.data *= 10**i
    assert [d.tolist() for d in ds] == [[1.0] * 3, [10.0] * 3, [100.0] * 3]
    assert seed.tolist() == [1.0] * 3


def test_only_leaves_that_require_a_gradient_get_one():
    x, c = leaf(2), Tensor([1.0, 2.0])
    y = x * c
    y.sum().backward()
    assert c.grad is None
    assert y.grad is None


# ---- grad --------------------------------------------------------------------------------------

def test_grad_leaves_grad_alone():
    x, w = leaf(3), leaf(3)
    d = grad((x * w).sum(), x)
    assert type(d) is Tensor
    assert not d.requires_grad
    np.testing.assert_array_equal(d.data, w.data)
    assert x.grad is None
    assert w.grad is None


def test_grad_of_several_inputs_in_order_and_of_one_that_is_not_used():
    x, w, unused = leaf(3), leaf(3), leaf(2, 2)
    for create_graph in (False, True):
        ds = grad((x * w).sum(), [w, unused, x], create_graph=create_graph)
        assert type(ds) is list
        np.testing.assert_array_equal(ds[0].data, x.data)
        np.testing.assert_array_equal(ds[1].data, np.zeros((2, 2)))
        np.testing.assert_array_equal(ds[2].data, w.data)
    assert grad(x.sum(), ()) == []


@pytest.mark.parametrize("create_graph", [False, True])
def test_grad_of_an_interior_tensor(create_graph):
    x = leaf(3)
    a = x * 2
    b = np.tanh(a)
    y = (a * b).sum()
    da, db, dx, dy = grad(y, [a, b, x, y], create_graph=create_graph)
    np.testing.assert_allclose(db.data, a.data)
    np.testing.assert_allclose(da.data, b.data + a.data * (1 - b.data**2))
    np.testing.assert_allclose(dx.data, 2 * da.data)
    assert dy.tolist() == 1.0


def test_grad_does_no_work_for_others(monkeypatch):
    """With respect to the input only, no weight's gradient is computed (and the reverse)."""
    x, w = leaf(3), leaf(3)
    y = (np.tanh(x) * w + np.exp(w)).sum()

    def never(*_):
        raise AssertionError("this derivative was not asked for")

    with monkeypatch.context() as patch:
        patch.setitem(RULES, np.exp, (never,))
        patch.setitem(RULES, np.multiply, (RULES[np.multiply][0], never))
        grad(y, x)
    with monkeypatch.context() as patch:
        patch.setitem(RULES, np.tanh, (never,))
        grad(y, w)


def test_third_derivative():
    x = Tensor([0.3, -0.7], requires_grad=True)
    d1 = grad(np.sin(x).sum(), x, create_graph=True)
    d2 = grad(d1.sum(), x, create_graph=True)
    d3 = grad(d2.sum(), x, create_graph=True)
    np.testing.assert_allclose(d3.data, -np.cos(x.data))
    d3.sum().backward()
    np.testing.assert_allclose(x.grad, np.sin(x.data))
    check_gradients(lambda x, w: np.tanh(x @ w).sum(axis=0), (np.ones((2, 2)) * 0.3, np.eye(2) + 0.1),
                    order=3)


def test_a_gradient_can_be_part_of_a_loss():
    x, w = leaf(4), leaf(4)
    penalty = (grad((np.tanh(x * w)).sum(), x, create_graph=True) ** 2).sum()
    penalty.backward()
    t = np.tanh(x.data * w.data)
    s = 1 - t**2
    np.testing.assert_allclose(w.grad, 2 * w.data * s * (s - 2 * w.data * x.data * t * s))


def test_create_graph_of_a_long_chain_does_not_recurse():
    x = Tensor(0.5, requires_grad=True)
    y = x
    for _ in range(5000):
        y = y * 1.0
    d = grad(y * x, x, create_graph=True)
    assert grad(d, x).item() == 2.0


def test_under_no_grad_the_gradient_is_not_recorded():
    x = leaf(3)
    y = (x**3).sum()
    with no_grad():
        d = grad(y, x, create_graph=True)
    assert not d.requires_grad
    np.testing.assert_allclose(d.data, 3 * x.data**2)


def test_a_gradient_given_as_a_tensor():
    x, v = leaf(3), leaf(3)
    np.testing.assert_array_equal(grad(x * 2, x, v).data, 2 * v.data)
    d = grad(np.square(x), x, v, create_graph=True)  # 2 x v, to be differentiated by v as well
    np.testing.assert_allclose(grad(d.sum(), v).data, 2 * x.data)
    x.backward(Tensor(np.ones(3, np.float32)))
    assert x.grad.dtype == np.float64


# ---- refusals ----------------------------------------------------------------------------------

x2 = Tensor(np.ones(2), requires_grad=True)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: (x2 * 2).backward(), ValueError,
     r"the gradient of shape \(2,\) needs `gradient` of that shape; .*\.sum\(\)"),
    (lambda: (x2 * 2).backward(np.ones(3)), ValueError,
     r"gradient has shape \(3,\), but the Tensor has \(2,\)"),
    (lambda: Tensor(1.0).backward(), TypeError, "does not depend on any Tensor with requires_grad=True"),
    (lambda: Tensor([1, 2]).backward(), TypeError, "does not depend on any Tensor"),
    (lambda: grad(x2.sum(), Tensor(1.0)), TypeError, r"inputs\[0\] does not require a gradient"),
    (lambda: grad(x2.sum(), [x2, 3.0]), TypeError, r"inputs\[1\] does not require a gradient"),
    (lambda: grad(3.0, x2), TypeError, "gradients are taken of a Tensor, not of float"),
    (lambda: grad(x2, x2), ValueError, "needs `gradient`"),
])
def test_refusals(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_shapes_that_do_not_broadcast_are_both_named():
    with pytest.raises(ValueError, match=r"\(2,3\) .*\(4,\)"):
        Tensor(np.ones((2, 3))) + Tensor(np.ones(4))
    with pytest.raises(ValueError, match=r"matmul: .*size 4 is different from 3"):
        Tensor(np.ones((2, 3))) @ Tensor(np.ones((4, 2)))
