"""Optimisers on arrays of another library, and on kernels: bit for bit what they are on NumPy's arrays."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from device_array import DeviceArray, asarray

import kernels
from kernels.backends import BackendUnavailable
from minillm import Tensor, keras, optim
from minillm.autograd import use_kernels
from minillm.optim.optimizer import CHUNK

Place = Callable[[np.ndarray], Any]
SHAPES = [(3, 4), (5,), (), (0, 2), (CHUNK + 1,)]
RULES: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, l1=0.01),
    "Nesterov": lambda p: optim.SGD(p, 0.1, momentum=0.7, nesterov=True, l2=0.01),
    "Adam": lambda p: optim.Adam(p),
    "Adam, all options": lambda p: optim.Adam(p, 0.02, beta1=0.7, beta2=0.9, eps=1e-3, weight_decay=0.3,
                                              l1=0.01, l2=0.02, schedule=optim.WarmupCosine(9, 3)),
    "AdamW in groups": lambda p: optim.AdamW([{"params": p[:2], "lr": 0.1}, {"params": p[2:], "l2": 0.1}]),
    "Keras's Adam": lambda p: keras.optimizers.Adam(0.01)._make(p),
}
ADAMS = [name for name in RULES if "Adam" in name]


def run(name: str, place: Place, dtype: Any, steps: int = 4) -> tuple[list[np.ndarray], optim.Optimizer]:
    """Parameters after some steps, the third of which one parameter has no gradient for."""
    rng = np.random.default_rng(0)
    start = [np.asarray(rng.standard_normal(s).astype(dtype)) for s in SHAPES]
    params = [Tensor(place(a), requires_grad=True) for a in start]
    optimizer = RULES[name](params)
    for t in range(steps):
        for i, p in enumerate(params):
            g = np.asarray(rng.standard_normal(p.shape).astype(dtype))
            p.grad = None if (t, i) == (2, 1) else place(g)
        optimizer.step()
    return [p.numpy() for p in params], optimizer


def same_bits(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("backend", [None, "numpy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", RULES)
def test_the_same_bits_there(name, dtype, backend):
    expected, _ = run(name, lambda a: a, dtype)
    with use_kernels(backend):
        ours, optimizer = run(name, asarray, dtype)
    same_bits(ours, expected)
    for group in optimizer.groups:
        assert all(type(a) is DeviceArray for a in (group.theta, group.g, *group.buffers.values()))
        assert all(type(p.data) is DeviceArray for p in group.params)


@pytest.mark.parametrize("backend", ["numpy", "triton", "cuda"])
@pytest.mark.parametrize("name", ADAMS)
def test_the_kernel_gives_the_same_bits(name, backend):
    expected, _ = run(name, lambda a: a, np.float32, steps=3)
    with use_kernels(backend):
        try:
            ours, _ = run(name, lambda a: a, np.float32, steps=3)
        except BackendUnavailable as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
    same_bits(ours, expected)


def test_a_group_is_one_launch(monkeypatch):
    made = []
    original = kernels.adam_step

    def counted(params: Any, *rest: Any, **options: Any) -> None:
        made.append((len(params), params[0].size, options["backend"]))
        original(params, *rest, **options)

    monkeypatch.setattr(kernels, "adam_step", counted)
    total = sum(int(np.prod(s)) for s in SHAPES)
    run("Adam", asarray, np.float32, steps=1)
    assert made == [(1, total, None)]
    run("Adam", asarray, np.float64, steps=1)  # no kernel takes it
    run("Adam", lambda a: a, np.float32, steps=1)
    assert len(made) == 1


def test_parameters_here_and_there_are_apart():
    here, there = np.ones(2, np.float32), asarray(np.ones(3, np.float32))
    params = [Tensor(a, requires_grad=True) for a in (here, there)]
    optimizer = optim.Adam(params, 0.1)
    assert [type(g.theta) for g in optimizer.groups] == [np.ndarray, DeviceArray]
    for p in params:
        p.grad = p.data * 1
    optimizer.step()
    np.testing.assert_array_equal(params[0].data, params[1].numpy()[:2])


def test_a_model_moved_too_late_is_refused():
    p = Tensor(np.ones(2), requires_grad=True, name="w")
    optimizer = optim.SGD([p])
    p.data = asarray(p.data)
    with pytest.raises(ValueError, match="w is on cuda:0 now, but was elsewhere when the optimiser was made"):
        optimizer.step()


def test_state_goes_between_here_and_there():
    _, optimizer = run("Adam", asarray, np.float32)
    state = optimizer.state_dict()
    assert all(type(a) is np.ndarray for a in state["buffers"].values())
    _, here = run("Adam", lambda a: a, np.float32, steps=1)
    here.load_state_dict(state)
    _, there = run("Adam", asarray, np.float32, steps=1)
    there.load_state_dict(here.state_dict())
    assert there.step_count == 4
    same_bits([a.get() for a in there.groups[0].buffers.values()], list(state["buffers"].values()))
    assert there.penalty() == 0.0


@pytest.mark.parametrize("max_norm", [0.5, 1e9])
def test_clipping_there(max_norm):
    rng = np.random.default_rng(0)
    pairs = []
    for place in (lambda a: a, asarray):
        rng = np.random.default_rng(0)
        params = [Tensor(place(np.zeros(s)), requires_grad=True) for s in ((3, 4), (5,))]
        for p in params:
            p.grad = place(rng.standard_normal(p.shape))
        norm = optim.clip_grad_norm(params, max_norm)
        pairs.append((norm, [np.asarray(p.grad.get() if place is asarray else p.grad) for p in params]))
    assert pairs[0][0] == pytest.approx(pairs[1][0], rel=1e-14)
    for a, b in zip(pairs[0][1], pairs[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_clipping_waits_once(monkeypatch):
    params = [Tensor(asarray(np.zeros(s)), requires_grad=True) for s in (3, 4, 5)]
    for p in params:
        p.grad = asarray(np.ones(p.shape))
    waits = []
    original = DeviceArray.__float__
    monkeypatch.setattr(DeviceArray, "__float__", lambda self: waits.append(1) or original(self))
    assert optim.clip_grad_norm(params, 1.0) == pytest.approx(12**0.5)
    assert waits == [1]


def test_a_norm_beyond_float32_is_measured_there_too():
    p = Tensor(asarray(np.zeros(2, np.float32)), requires_grad=True)
    p.grad = asarray(np.full(2, 1e20, np.float32))
    assert optim.clip_grad_norm([p], 1.0) == pytest.approx(2**0.5 * 1e20)
    np.testing.assert_allclose(p.grad.get(), 0.5**0.5, rtol=1e-6)
