"""Where the time of a training step goes: timers around its pieces.

Nothing of this depends on how a piece works inside. Forward, timers stand around the modules; backward,
the engine's own observer says which op is about to be walked through, and it is charged to the module
in which it was computed.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np

from minillm.autograd import walk
from minillm.autograd.tensor import output, state
from minillm.tasks import next_token
from minillm.train import trainer as trainer_module

REST = "the rest"


class Stopwatch:
    """Seconds by piece. A piece inside another stops the other's watch."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open = [REST]
        self._since = time.perf_counter()

    def _charge(self) -> None:
        now = time.perf_counter()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    @contextlib.contextmanager
    def piece(self, name: str) -> Iterator[None]:
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def switch(self, name: str) -> None:
        """From now on the innermost open piece is called `name`."""
        self._charge()
        self._open[-1] = name

    @property
    def innermost(self) -> str:
        return self._open[-1]

    def lap(self) -> dict[str, float]:
        """The seconds since the last lap; start anew."""
        self._charge()
        seconds, self.seconds = self.seconds, defaultdict(float)
        return seconds

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.piece(name):
                return function(*args, **kwargs)
        return timed


class Owners:
    """An observer of the engine: remembers in which piece each op was computed, and charges it."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch
        self.owner: dict[int, str] = {}

    def after(self, out: Any, op: Any, args: Any, kwargs: Any) -> None:
        if out.op is not None:
            node = out.args[0] if out.op is output else out
            self.owner[id(node)] = self.watch.innermost.removesuffix(", forward")

    def before_backward(self, t: Any, g: Any) -> None:
        self.watch.switch(f"{self.owner.get(id(t), 'other ops')}, backward")

    def after_backward(self, t: Any, i: int, d: Any) -> None:
        pass


def step_profile(trainer: Any, steps: int) -> dict[str, float]:
    """Piece -> its share of the trainer's step, from the largest; the shares add up to 1."""
    model = trainer.model
    pieces = {"embedding": model.embedding, "dropout": model.dropout, "output layer": model.output}
    layers = model.lstm.layers
    pieces |= {"LSTM" if len(layers) == 1 else f"LSTM {i}": m for i, m in enumerate(layers)}
    if len(layers) > 1:
        pieces["dropout between LSTMs"] = model.lstm.dropout
    trainer.train_step()
    watch = Stopwatch()
    owners = Owners(watch)
    with contextlib.ExitStack() as stack:
        def wrap(thing: Any, attribute: str, name: str) -> None:
            timed = watch.around(name, getattr(thing, attribute))
            stack.enter_context(mock.patch.object(thing, attribute, timed))

        for name, module in pieces.items():
            wrap(module, "forward", f"{name}, forward")
        wrap(next_token, "softmax_cross_entropy", "cross-entropy, forward")
        wrap(walk, "backward", "the walk itself")
        wrap(trainer_module, "clip_grad_norm", "clipping")
        wrap(trainer.optimizer, "step", "Adam")
        wrap(trainer.batches, "next_window", "next window")
        stack.callback(setattr, state, "observer", state.observer)
        state.observer = owners
        laps = []
        watch.lap()
        for _ in range(steps):
            owners.owner.clear()
            trainer.train_step()
            laps.append(watch.lap())
    return _shares(_medians(laps))


def _medians(laps: list[dict[str, float]]) -> dict[str, float]:
    """Piece by piece: one disturbed step then changes nothing."""
    names = {name for lap in laps for name in lap}
    return {name: float(np.median([lap.get(name, 0.0) for lap in laps])) for name in names}


def _shares(seconds: dict[str, float]) -> dict[str, float]:
    total = sum(seconds.values())
    return {name: round(s / total, 4) for name, s in sorted(seconds.items(), key=lambda item: -item[1])}


class TimedNumPy:
    """Stands in for the name `np` of a module: times some of its functions, passes on the others."""

    def __init__(self, watch: Stopwatch, pieces: dict[str, str]) -> None:
        for function, piece in pieces.items():
            setattr(self, function, watch.around(piece, getattr(np, function)))

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def lstm_profile(step: Callable[[], Any], config: Any, repeats: int) -> dict[str, float] | None:
    """The LSTM alone: piece -> share of forward and backward; None for an LSTM of another kind.

    The products of the recurrence and the tanh are timed where they happen. The large products over
    all steps at once (dx, dW, dU) are timed alone, with the same sizes. What is left is elementwise
    work and rearranging.
    """
    try:
        module = importlib.import_module("minillm.autograd.fused.lstm_arrays")
    except ModuleNotFoundError:
        return None
    watch, laps = Stopwatch(), []
    gemm, bulk = "products in the recurrence", "products over all steps"
    timed = TimedNumPy(watch, {"matmul": gemm, "dot": gemm, "tanh": "tanh"})
    N, D, H = config.batch_size * config.seq_len, config.embedding_dim, config.hidden_dim
    dz, x, h = (np.ones((N, n), np.float32) for n in (4 * H, D, H))
    W = np.ones((D, 4 * H), np.float32)
    step()
    for _ in range(repeats):
        watch.lap()
        with mock.patch.object(module, "np", timed):
            step()
        lap = watch.lap()
        with watch.piece(bulk):
            dz @ W.T, x.T @ dz, h.T @ dz
        lap[bulk] = watch.lap()[bulk]
        laps.append(lap)
    seconds = _medians(laps)
    seconds["elementwise and rearranging (the rest)"] = max(0.0, seconds.pop(REST) - seconds[bulk])
    return _shares(seconds)
