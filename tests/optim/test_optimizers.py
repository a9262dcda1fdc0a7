"""Optimisers: bit for bit the formulas, and close to torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minillm import Tensor, formulas, optim
from minillm.optim.optimizer import CHUNK

torch = pytest.importorskip("torch")

SHAPES = [(3, 4), (5,), (), (2, 1, 3)]
BORDERS = [[(CHUNK - 1,)], [(CHUNK,)], [(CHUNK + 1,)], [(CHUNK - 3,), (2, 3), (CHUNK,)], [(2 * CHUNK + 5,)]]


class Leaf:
    """One parameter of a case: ours, and the arrays that the formulas go on from."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> None:
        self.p = Tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True)
        self.theta = self.p.data.copy()
        self.state = [np.zeros(shape, dtype) for _ in range(2)]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        g = np.asarray(rng.standard_normal(self.p.shape).astype(self.p.dtype))
        self.p.grad = g.copy()
        return g


def sgd(x: Leaf, g: np.ndarray, t: int, alpha: float, momentum: float = 0.0, nesterov: bool = False) -> None:
    if not momentum:
        x.theta = formulas.gradient_descent_step(x.theta, g, alpha=alpha)
    else:
        x.theta, x.state[0] = formulas.momentum_step(x.theta, g, x.state[0], alpha=alpha, mu=momentum,
                                                     nesterov=nesterov)


def adam(x: Leaf, g: np.ndarray, t: int, alpha: float, weight_decay: float = 0.0, **options: float) -> None:
    if weight_decay:
        x.theta = formulas.decoupled_weight_decay(x.theta, alpha=alpha, lam=weight_decay)
    x.theta, *x.state = formulas.adam_step(x.theta, g, *x.state, t, alpha=alpha, **options)


# The optimiser, its options, and the formula that it has to equal.
Rule = tuple[Callable[..., optim.Optimizer], dict[str, Any], Callable[..., None], dict[str, Any]]
RULES: dict[str, Rule] = {
    "SGD": (optim.SGD, {"lr": 0.1}, sgd, {"alpha": 0.1}),
    "momentum": (optim.SGD, {"lr": 0.1, "momentum": 0.9}, sgd, {"alpha": 0.1, "momentum": 0.9}),
    "Nesterov": (optim.SGD, {"lr": 0.1, "momentum": 0.7, "nesterov": True}, sgd,
                 {"alpha": 0.1, "momentum": 0.7, "nesterov": True}),
    "Adam": (optim.Adam, {}, adam, {"alpha": 1e-3}),
    "Adam, all options": (optim.Adam, {"lr": 0.02, "beta1": 0.7, "beta2": 0.9, "eps": 1e-3}, adam,
                          {"alpha": 0.02, "beta1": 0.7, "beta2": 0.9, "eps": 1e-3}),
    "Adam with decay": (optim.Adam, {"weight_decay": 0.3}, adam, {"alpha": 1e-3, "weight_decay": 0.3}),
    "AdamW": (optim.AdamW, {"lr": 0.1}, adam, {"alpha": 0.1, "weight_decay": 0.01}),
}


def identical(found: Any, expected: Any) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == np.asarray(expected).tobytes()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_equal_the_formula_bit_for_bit(name: str, dtype: Any, rng: np.random.Generator) -> None:
    make, options, formula, same = RULES[name]
    leaves = [Leaf(shape, dtype, rng) for shape in SHAPES]
    optimizer = make([x.p for x in leaves], **options)
    for t in range(1, 8):
        for x in leaves:
            formula(x, x.draw(rng), t, **same)
        optimizer.step()
        for x in leaves:
            identical(x.p.data, np.asarray(x.theta))
    assert optimizer.step_count == 7


@pytest.mark.parametrize("name", ["Nesterov", "AdamW"])
@pytest.mark.parametrize("shapes", BORDERS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chunk_borders(name: str, shapes: list[tuple[int, ...]], dtype: Any,
                       rng: np.random.Generator) -> None:
    make, options, formula, same = RULES[name]
    leaves = [Leaf(shape, dtype, rng) for shape in shapes]
    optimizer = make([x.p for x in leaves], **options)
    for t in (1, 2):
        for x in leaves:
            formula(x, x.draw(rng), t, **same)
        optimizer.step()
    for x in leaves:
        identical(x.p.data, x.theta)


def test_groups_and_dtypes_keep_their_own_options(rng: np.random.Generator) -> None:
    leaves = [Leaf(shape, dtype, rng) for shape, dtype in
              [((4,), np.float64), ((3, 2), np.float32), ((CHUNK + 2,), np.float64), ((), np.float32)]]
    params = [x.p for x in leaves]
    optimizer = optim.Adam([{"params": [("a", params[0]), ("b", params[1])], "lr": 0.5},
                            {"params": params[2:], "beta1": 0.5, "weight_decay": 0.1}], lr=0.1)
    own = [{"alpha": 0.5}] * 2 + [{"alpha": 0.1, "beta1": 0.5, "weight_decay": 0.1}] * 2
    for t in (1, 2, 3):
        for x, options in zip(leaves, own, strict=True):
            adam(x, x.draw(rng), t, **options)
        optimizer.step()
    for x in leaves:
        identical(x.p.data, np.asarray(x.theta))


def test_momentum_in_one_group_only(rng: np.random.Generator) -> None:
    still, moving = Leaf((3,), np.float64, rng), Leaf((3,), np.float64, rng)
    optimizer = optim.SGD([{"params": [still.p]}, {"params": [moving.p], "momentum": 0.9}], lr=0.1)
    for t in (1, 2, 3):
        sgd(still, still.draw(rng), t, 0.1)
        sgd(moving, moving.draw(rng), t, 0.1, momentum=0.9)
        optimizer.step()
    identical(still.p.data, still.theta)
    identical(moving.p.data, moving.theta)


TORCH: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "Nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.7, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=1e-3, eps=1e-8),
    "Adam, all options": lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.7, 0.9), eps=1e-3),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.01),
}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_against_torch(name: str, dtype: Any, rtol: float, rng: np.random.Generator) -> None:
    make, options, _, _ = RULES[name]
    leaves = [Leaf(shape, dtype, rng) for shape in SHAPES]
    theirs = [torch.tensor(x.p.data, requires_grad=True) for x in leaves]
    ours, other = make([x.p for x in leaves], **options), TORCH[name](theirs)
    for _ in range(20):
        for x, p in zip(leaves, theirs, strict=True):
            p.grad = torch.tensor(x.draw(rng))
        ours.step(), other.step()
    for x, p in zip(leaves, theirs, strict=True):
        np.testing.assert_allclose(x.p.data, p.detach().numpy(), rtol=rtol, atol=rtol)


def test_steps_on_a_real_loss_go_down(rng: np.random.Generator) -> None:
    x = Tensor(rng.standard_normal((20, 3)))
    y = x.data @ np.array([1.0, -2, 3])
    w = Tensor(np.zeros(3), requires_grad=True)
    optimizer = optim.Adam([w], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        assert w.grad is None
        np.square(x @ w - y).mean().backward()
        optimizer.step()
    np.testing.assert_allclose(w.data, [1, -2, 3], atol=1e-3)


# ---- penalties, clipping, schedules -------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_penalties_are_those_of_the_formulas(dtype: Any, rng: np.random.Generator) -> None:
    """The step equals one whose loss has the penalty written into it, and `penalty` is its value."""
    start = rng.standard_normal((CHUNK + 4,)).astype(dtype)
    start[:2] = 0  # the kink of l1
    g = rng.standard_normal(start.shape).astype(dtype)
    l1, l2 = 0.03, 0.2
    p, q = (Tensor(start.copy(), requires_grad=True) for _ in range(2))
    penalised = optim.SGD([p], lr=0.5, l1=l1, l2=l2)
    loss = (q * g).sum() + formulas.l1_penalty(q, lam=l1) + formulas.l2_penalty(q, lam=l2)
    assert penalised.penalty() == pytest.approx(float(loss.data - (q.data * g).sum()), rel=1e-4)
    loss.backward()
    p.grad = g.copy()
    penalised.step(), optim.SGD([q], lr=0.5).step()
    np.testing.assert_allclose(p.data, q.data, rtol=1e-5, atol=1e-6 if dtype is np.float32 else 1e-15)
    assert (p.grad == g).all()  # the user's gradient stays as it was


def test_penalties_by_group() -> None:
    a, b = (Tensor(np.array([-2.0, 1.0]), requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([{"params": [a], "l2": 0.5}, {"params": [b]}], lr=1.0, l1=0.25)
    assert optimizer.penalty() == 0.25 * 3 + 0.5 * 5 + 0.25 * 3
    a.grad = b.grad = np.zeros(2)
    optimizer.step()
    assert a.data.tolist() == [-2 + 0.25 + 2, 1 - 0.25 - 1]
    assert b.data.tolist() == [-2 + 0.25, 1 - 0.25]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("max_norm", [0.5, 3.0, 1e6, math.inf])
def test_clip_grad_norm(dtype: Any, max_norm: float, rng: np.random.Generator) -> None:
    leaves = [Leaf(shape, dtype, rng) for shape in SHAPES]
    grads = [x.draw(rng) for x in leaves]
    theirs = [torch.tensor(x.p.data, requires_grad=True) for x in leaves]
    for p, g in zip(theirs, grads, strict=True):
        p.grad = torch.tensor(g)
    without = Tensor(np.zeros(3), requires_grad=True)
    norm = optim.clip_grad_norm([*(x.p for x in leaves), without], max_norm)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, max_norm)), rel=1e-5)
    assert without.grad is None
    for x, p, g in zip(leaves, theirs, grads, strict=True):
        if norm <= max_norm:
            identical(x.p.grad, g)
        assert x.p.grad.dtype == dtype
        np.testing.assert_allclose(x.p.grad, p.grad.numpy(), rtol=1e-5, atol=1e-7)
    if max_norm < norm:
        clipped = formulas.clip_by_norm(*grads, max_norm=max_norm)
        for x, g in zip(leaves, clipped, strict=True):
            np.testing.assert_allclose(x.p.grad, g, rtol=1e-6)


def test_clipping_survives_squares_that_overflow() -> None:
    p = Tensor(np.zeros(2, np.float32), requires_grad=True)
    p.grad = np.array([3e20, -4e20], np.float32)
    assert optim.clip_grad_norm([p], 1.0) == pytest.approx(5e20)
    np.testing.assert_allclose(p.grad, [0.6, -0.8], rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_reported_and_kept(value: float) -> None:
    p = Tensor(np.zeros(2), requires_grad=True)
    p.grad = np.array([1.0, value])
    assert not math.isfinite(optim.clip_grad_norm([p], 1.0))
    np.testing.assert_array_equal(p.grad, [1.0, value])


def test_warmup_cosine_is_the_formula() -> None:
    schedule = optim.WarmupCosine(total=20, warmup=4, floor=0.1)
    factors = [schedule(t) for t in range(1, 30)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[11] == pytest.approx(0.55)  # half-way down
    assert all(f == pytest.approx(0.1) for f in factors[19:])
    assert factors == [formulas.warmup_cosine(t, warmup=4, total=20, floor=0.1) for t in range(1, 30)]
    other = torch.optim.lr_scheduler.CosineAnnealingLR(
        torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0), T_max=20)
    assert optim.WarmupCosine(total=20)(7) == pytest.approx(
        other.base_lrs[0] * (1 + math.cos(math.pi * 7 / other.T_max)) / 2)


def test_a_schedule_scales_the_learning_rate(rng: np.random.Generator) -> None:
    x = Leaf((6,), np.float64, rng)
    optimizer = optim.Adam([x.p], lr=0.1, schedule=optim.WarmupCosine(total=6, warmup=2))
    for t in range(1, 7):
        adam(x, x.draw(rng), t, alpha=0.1 * formulas.warmup_cosine(t, warmup=2, total=6))
        optimizer.step()
        identical(x.p.data, x.theta)


# ---- state, and who owns the arrays --------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
def test_a_restored_state_goes_on_bit_for_bit(name: str, rng: np.random.Generator) -> None:
    make, options, _, _ = RULES[name]
    grads = rng.standard_normal((6, 5))

    def run(optimizer: optim.Optimizer, p: Tensor, steps: slice) -> None:
        for g in grads[steps]:
            p.grad = g.copy()
            optimizer.step()

    p = Tensor(np.arange(5.0), requires_grad=True)
    optimizer = make([p], **options, schedule=optim.WarmupCosine(6, warmup=2))
    run(optimizer, p, slice(0, 3))
    q = Tensor(p.data.copy(), requires_grad=True)
    state = optimizer.state_dict()
    run(optimizer, p, slice(3, 6))  # must not reach into the state
    other = make([q], **options, schedule=optim.WarmupCosine(6, warmup=2))
    other.load_state_dict(state)
    assert other.step_count == 3
    run(other, q, slice(3, 6))
    identical(q.data, p.data)


def test_a_foreign_state_is_refused_and_changes_nothing() -> None:
    p = Tensor(np.ones(3), requires_grad=True)
    optimizer = optim.Adam([p])
    p.grad = np.ones(3)
    optimizer.step()
    before = optimizer.state_dict()
    foreign = [optim.SGD([p], momentum=0.5), optim.Adam([Tensor(np.ones(4), requires_grad=True)])]
    for state in (o.state_dict() for o in foreign):
        with pytest.raises(ValueError, match=r"^the state is of another optimiser or model: it has \["):
            optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["step"] == before["step"] == 1
    for name, array in before["buffers"].items():
        identical(after["buffers"][name], array)


@pytest.mark.parametrize("replace", [lambda a: a.copy(), lambda a: a.T, lambda a: a[::-1], lambda a: a * 2],
                         ids=["copy", "transposed view", "reversed view", "other values"])
def test_a_parameter_that_was_given_another_array(replace: Callable[[np.ndarray], np.ndarray]) -> None:
    p = Tensor(np.arange(9.0).reshape(3, 3), requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0)
    p.data = replace(p.data)
    g = np.arange(9.0).reshape(3, 3) ** 2
    p.grad = g
    expected = p.data.copy() - g
    optimizer.step()
    identical(p.data, np.ascontiguousarray(expected))
    p.grad = g
    optimizer.step()
    identical(p.data, expected - g)


def test_two_optimisers_may_take_turns(rng: np.random.Generator) -> None:
    p = Tensor(np.zeros(3), requires_grad=True)
    first, second = optim.SGD([p], lr=1.0), optim.SGD([p], lr=10.0)
    for optimizer in (first, second, first):
        p.grad = np.ones(3)
        optimizer.step()
    assert p.data.tolist() == [-12.0] * 3


def test_parameters_share_one_flat_buffer() -> None:
    params = [Tensor(np.ones(s), requires_grad=True) for s in SHAPES]
    group = optim.SGD(params).groups[0]
    assert all(np.shares_memory(p.data, group.theta) for p in params)
    assert len(group.theta) == sum(p.size for p in params)


def test_a_parameter_without_a_gradient_counts_as_gradient_zero() -> None:
    p, q = (Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([p, q], lr=1.0, l2=0.25)
    p.grad = np.ones(2)
    optimizer.step()
    assert p.data.tolist() == [-0.5, -0.5]
    assert q.data.tolist() == [0.5, 0.5]  # the penalty's gradient alone


def leaf(shape: Any = 2) -> Tensor:
    return Tensor(np.ones(shape), requires_grad=True)


def step_with(grad: np.ndarray | None = None, data: np.ndarray | None = None) -> None:
    p = leaf()
    p.name = "w"
    optimizer = optim.SGD([p])
    p.grad = grad
    p.data = p.data if data is None else data
    optimizer.step()


_twice = leaf()
MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: optim.SGD([]), "the optimiser was given no parameters"),
    "twice": (lambda: optim.SGD([_twice, _twice]), "a parameter was given to the optimiser twice"),
    "twice in groups": (lambda: optim.SGD([{"params": [_twice]}, {"params": [_twice]}]),
        "a parameter was given to the optimiser twice"),
    "no gradient": (lambda: optim.SGD([Tensor(np.ones(1))]),
        "not a parameter: Tensor([1.]); a parameter is a leaf with requires_grad=True"),
    "array": (lambda: optim.SGD([np.ones(1)]),
        "not a parameter: array([1.]); a parameter is a leaf with requires_grad=True"),
    "option": (lambda: optim.SGD([{"params": [leaf()], "beta1": 1}]),
        "unknown option 'beta1' in a parameter group; known are lr, l1, l2, momentum, nesterov"),
    "group": (lambda: optim.SGD([{"lr": 1.0}]),
        "a parameter group is {\"params\": [...], option: value}, not {'lr': 1.0}"),
    "lr": (lambda: optim.SGD([leaf()], lr=-1), "lr = -1 must be finite and not negative"),
    "lr nan": (lambda: optim.SGD([leaf()], lr=math.nan), "lr = nan must be finite and not negative"),
    "l2 in a group": (lambda: optim.Adam([{"params": [leaf()], "l2": -0.5}]),
        "l2 = -0.5 must be finite and not negative"),
    "momentum": (lambda: optim.SGD([leaf()], momentum=1.0), "momentum = 1.0 is outside [0, 1)"),
    "nesterov": (lambda: optim.SGD([leaf()], nesterov=True), "nesterov=True needs momentum > 0"),
    "beta": (lambda: optim.Adam([leaf()], beta2=1.0), "beta2 = 1.0 is outside [0, 1)"),
    "eps": (lambda: optim.Adam([leaf()], eps=0), "eps = 0 must be positive"),
    "decay": (lambda: optim.AdamW([leaf()], weight_decay=-1), "weight_decay = -1 must not be negative"),
    "max_norm": (lambda: optim.clip_grad_norm([leaf()], 0), "max_norm = 0 must be positive"),
    "warmup": (lambda: optim.WarmupCosine(10, warmup=10),
        "warmup = 10 must be in [0, total) with total = 10"),
    "floor": (lambda: optim.WarmupCosine(10, floor=2), "floor = 2 is outside [0, 1]"),
    "unknown": (lambda: optim.Adam([leaf()], weigth_decay=0.5),
        "Adam has no option 'weigth_decay'; it has lr, beta1, beta2, eps, weight_decay, l1, l2, schedule"),
    "unknown to AdamW": (lambda: optim.AdamW([leaf()], momentum=0.5),
        "AdamW has no option 'momentum'; it has lr, beta1, beta2, eps, weight_decay, l1, l2, schedule"),
    "torch's betas": (lambda: optim.Adam([leaf()], betas=(0.5, 0.9)),
        "Adam has no option 'betas'; it has lr, beta1, beta2, eps, weight_decay, l1, l2, schedule "
        "(write beta1=, beta2=)"),
    "torch's decay": (lambda: optim.SGD([leaf()], weight_decay=0.5),
        "SGD has no option 'weight_decay'; it has lr, momentum, nesterov, l1, l2, schedule "
        "(torch's adds weight_decay * theta to the gradient, which is l2=weight_decay / 2)"),
    "lr a word": (lambda: optim.SGD([leaf()], lr="a"), "lr = 'a' must be a number"),
    "lr in a group": (lambda: optim.Adam([{"params": [leaf()], "lr": None}]), "lr = None must be a number"),
    "beta a word": (lambda: optim.Adam([leaf()], beta1="a"), "beta1 = 'a' must be a number"),
    "schedule": (lambda: optim.SGD([leaf()], schedule=0.5), "schedule = 0.5 must be a function of the step"),
    "gradient's shape": (lambda: step_with(grad=np.ones(3)),
        "the gradient of w has shape (3,), but the parameter has (2,)"),
    "data's shape": (lambda: step_with(data=np.ones(3)),
        "w now has shape (3,), but (2,) when the optimiser was made: make a new optimiser"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_messages(name: str) -> None:
    call, message = MISTAKES[name]
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}$"):
        call()


def test_torchs_weight_decay_of_sgd_is_l2_as_the_hint_says(rng: np.random.Generator) -> None:
    start, g = rng.standard_normal((2, 5))
    p, q = Tensor(start.copy(), requires_grad=True), torch.tensor(start, requires_grad=True)
    p.grad, q.grad = g, torch.tensor(g)
    optim.SGD([p], lr=0.1, l2=0.5 / 2).step(), torch.optim.SGD([q], lr=0.1, weight_decay=0.5).step()
    np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-13)


@pytest.mark.parametrize("lr", [np.float32(0.5), np.int64(1), 1, True], ids=repr)
def test_any_real_number_is_a_number(lr: Any) -> None:
    p = leaf()
    p.grad = np.ones(2)
    optim.SGD([p], lr=lr).step()
    assert p.data.tolist() == [1 - float(lr)] * 2
