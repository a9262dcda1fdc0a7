"""Forward and backward of a small MLP: hand-written NumPy, minillm, torch, HIPS autograd, MyGrad.

    h = tanh(x W1 + b1),   z = h W2 + b2,   L = mean cross-entropy of softmax(z)

64 features, 64 hidden units, 10 classes, batch 32, float64, one thread. At this size a step takes
tens of microseconds, so what is measured is what an engine adds to each operation. Each contestant is
written as its users would write it, with the choices that make it fast; each gives the loss and
leaves the gradients of W1, b1, W2, b2.

Run by `engine.py`, which sets the threads; prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from timing import Step, compare, rounds_of

from minillm import Tensor, nn
from minillm.autograd.fused import softmax_cross_entropy

D, H, V, B = 64, 64, 10, 32
TOLERANCE = 1e-10  # on losses and gradients, before anything is timed


@dataclass(frozen=True)
class Problem:
    """x (B, D), labels (B,), and W1 (D, H), b1 (H,), W2 (H, V), b2 (V,)."""

    x: np.ndarray
    labels: np.ndarray
    params: list[np.ndarray]

    @classmethod
    def make(cls) -> Problem:
        rng = np.random.default_rng(0)
        params = [rng.standard_normal(shape) / 8 for shape in [(D, H), (H,), (H, V), (V,)]]
        return cls(rng.standard_normal((B, D)), rng.integers(0, V, B), params)

    def copies(self) -> list[np.ndarray]:
        return [p.copy() for p in self.params]


@dataclass(frozen=True)
class Contestant:
    """`step` does forward and backward; `result` gives the loss and gradients of the last step."""

    step: Step
    result: Callable[[], tuple[float, list[np.ndarray]]]


def hand_written(problem: Problem) -> Contestant:
    """What a careful programmer writes: derivatives by hand, in place wherever nothing is lost."""
    x, labels = problem.x, problem.labels
    W1, b1, W2, b2 = problem.copies()
    rows = np.arange(B)
    out: list[Any] = []

    def step() -> None:
        h = x @ W1  # (B, H)
        h += b1
        np.tanh(h, out=h)
        z = h @ W2  # (B, V)
        z += b2
        z -= z.max(axis=1, keepdims=True)
        z_label = z[rows, labels]  # (B,)
        p = np.exp(z, out=z)
        s = p.sum(axis=1)  # (B,)
        loss = (np.log(s) - z_label).sum() / B
        s *= B
        p /= s[:, None]
        p[rows, labels] -= 1 / B  # dL/dz = (softmax(z) - one-hot) / B
        dW2 = h.T @ p
        db2 = p.sum(axis=0)
        dh = p @ W2.T  # (B, H)
        h *= h
        np.subtract(1, h, out=h)
        dh *= h  # dL/d(x W1 + b1), as tanh' = 1 - tanh^2
        dW1 = x.T @ dh
        db1 = dh.sum(axis=0)
        out[:] = loss, dW1, db1, dW2, db2

    return Contestant(step, lambda: (float(out[0]), out[1:]))


def minillm_layers(problem: Problem) -> Contestant:
    """With the layers of `minillm.nn`."""
    hidden = nn.Linear(D, H, dtype=np.float64)
    output = nn.Linear(H, V, dtype=np.float64)
    params = [hidden.weight, hidden.bias, output.weight, output.bias]
    return _minillm(problem, params, lambda x, labels: softmax_cross_entropy(
        output(np.tanh(hidden(x))), labels))


def minillm_formula(problem: Problem) -> Contestant:
    """The formula as it stands, on Tensors."""
    W1, b1, W2, b2 = params = [Tensor(p, requires_grad=True) for p in problem.copies()]
    return _minillm(problem, params, lambda x, labels: softmax_cross_entropy(
        np.tanh(x @ W1 + b1) @ W2 + b2, labels))


def _minillm(problem: Problem, params: list[Any], loss_of: Callable[..., Any]) -> Contestant:
    for p, value in zip(params, problem.params):
        p.data[...] = value
    out: list[Any] = []

    def step() -> None:
        for p in params:
            p.grad = None
        loss = loss_of(problem.x, problem.labels)
        loss.backward()
        out[:] = [loss]

    return Contestant(step, lambda: (float(out[0]), [p.grad for p in params]))


def torch_eager(problem: Problem) -> Contestant:
    """With one addmm a layer, which is faster than `torch.nn`'s layers and than `x @ W + b`."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(1)
    W1, b1, W2, b2 = params = [torch.tensor(p, requires_grad=True) for p in problem.copies()]
    x, labels = torch.tensor(problem.x), torch.tensor(problem.labels)
    out: list[Any] = []

    def step() -> None:
        for p in params:
            p.grad = None
        h = torch.tanh(torch.addmm(b1, x, W1))  # (B, H)
        loss = F.cross_entropy(torch.addmm(b2, h, W2), labels)
        loss.backward()
        out[:] = [loss]

    return Contestant(step, lambda: (out[0].item(), [p.grad.numpy() for p in params]))


def hips_autograd(problem: Problem) -> Contestant:
    """Without differentiating the shift by the maximum, which cancels."""
    import autograd
    import autograd.numpy as anp
    from autograd.tracer import getval

    params = problem.copies()
    rows = np.arange(B)

    def loss_of(params: list[Any]) -> Any:
        W1, b1, W2, b2 = params
        z = anp.dot(anp.tanh(anp.dot(problem.x, W1) + b1), W2) + b2  # (B, V)
        z = z - np.max(getval(z), axis=1, keepdims=True)
        log_s = anp.log(anp.sum(anp.exp(z), axis=1))  # (B,)
        return anp.sum(log_s - z[rows, problem.labels]) / B

    value_and_grad = autograd.value_and_grad(loss_of)
    out: list[Any] = []

    def step() -> None:
        out[:] = value_and_grad(params)

    return Contestant(step, lambda: (float(out[0]), out[1]))


def mygrad(problem: Problem) -> Contestant:
    """With its fused loss, and its guards on memory off, as its manual advises for speed."""
    import mygrad as mg
    from mygrad.nnet.losses import softmax_crossentropy

    mg.turn_memory_guarding_off()
    W1, b1, W2, b2 = params = [mg.tensor(p) for p in problem.copies()]
    out: list[Any] = []

    def step() -> None:
        loss = softmax_crossentropy(mg.tanh(problem.x @ W1 + b1) @ W2 + b2, problem.labels)
        loss.backward()
        out[:] = [loss]

    return Contestant(step, lambda: (out[0].item(), [p.grad for p in params]))


CONTESTANTS: dict[str, Callable[[Problem], Contestant]] = {
    "NumPy by hand": hand_written,
    "minillm": minillm_layers,
    "minillm, plain formula": minillm_formula,
    "torch eager": torch_eager,
    "HIPS autograd": hips_autograd,
    "MyGrad": mygrad,
}


def check(name: str, got: tuple[float, list[np.ndarray]], want: tuple[float, list[np.ndarray]]) -> None:
    """Refuse to time a contestant that computes something else.

    Raises:
        SystemExit: its loss or a gradient is off by more than TOLERANCE.
    """
    if abs(got[0] - want[0]) > TOLERANCE:
        raise SystemExit(f"{name}: loss {got[0]!r}, but {want[0]!r} by hand: nothing was timed")
    for which, g, w in zip(["W1", "b1", "W2", "b2"], got[1], want[1], strict=True):
        error = float(np.abs(g - w).max()) if g.shape == w.shape else np.inf
        if not error <= TOLERANCE:
            raise SystemExit(f"{name}: the gradient of {which} is off by {error:.1e}: nothing was timed")


def measure(rounds: int, calls: int) -> dict[str, Any]:
    """Check all contestants against the first, then time them in turn."""
    problem = Problem.make()
    contestants: dict[str, Contestant] = {}
    absent = []
    for name, make in CONTESTANTS.items():
        try:
            contestants[name] = make(problem)
        except ModuleNotFoundError as error:
            absent.append(f"{name} ({error.name} is not installed)")
    results = {}
    for name, contestant in contestants.items():
        contestant.step()
        contestant.step()  # twice: gradients must not pile up
        results[name] = contestant.result()
        check(name, results[name], results["NumPy by hand"])
    seconds = rounds_of({n: c.step for n, c in contestants.items()}, rounds=rounds, calls=calls, warm_up=3,
                        clock=time.process_time)
    return {"rounds": rounds, "calls": calls, "threads": 1, "clock": "processor time", "dtype": "float64",
            "sizes": {"features": D, "hidden": H, "classes": V, "batch": B},
            "absent": absent, "contestants": compare(seconds, "NumPy by hand")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The MLP part of engine.py; prints JSON.")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--calls", type=int, default=100)
    options = parser.parse_args()
    print(json.dumps(measure(options.rounds, options.calls)))
