"""One training step of the demo's model: minillm's own `Trainer` beside torch eager.

The step is all of it: the next window of text, embedding, dropout, LSTM, dropout, dense layer,
cross-entropy, backward, clipping by norm, Adam, and the state carried on. Both start from the same
weights, and before anything is timed both train a few steps without dropout and must agree.

Run by `engine.py`, which sets the threads; prints one JSON object.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from step_profile import lstm_profile, step_profile
from timing import Step, compare, rounds_of

from minillm.autograd import Tensor
from minillm.autograd.fused import lstm
from minillm.tasks.language_modelling import LanguageModelling

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))
CHECKED_STEPS = 5
TOLERANCE = 1e-4  # on losses in nats and gradient norms, float32, over the checked steps
PAUSE = 0.03  # seconds for which OpenBLAS's and OpenMP's idle threads may go on spinning


@dataclass(frozen=True)
class Contestant:
    """`step` trains on the next window and returns (loss, gradient norm)."""

    step: Callable[[], tuple[float, float]]


def torch_step(trainer: Any, config: LanguageModelling, adam: str) -> Contestant:
    """The same step as `trainer`'s, from its weights and its place in the text.

    Written as in torch's own word-language-model example. `bias_hh`, torch's second bias, stays 0:
    the model is then the same.
    """
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(THREADS)
    if config.num_layers != 1:
        raise SystemExit("the step is written for one LSTM layer")
    V, D, H = trainer.model.config.vocab_size, config.embedding_dim, config.hidden_dim

    class LanguageModel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(V, D)
            self.lstm = nn.LSTM(D, H, batch_first=True)
            self.dropout = nn.Dropout(config.dropout)
            self.output = nn.Linear(H, V)

        def forward(self, ids: Any, state: Any) -> tuple[Any, Any]:
            hs, state = self.lstm(self.dropout(self.embedding(ids)), state)  # (B, T, H)
            return self.output(self.dropout(hs)), state  # (B, T, V)

    model = LanguageModel()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.from_numpy(_in_torchs_layout(name, trainer.model.state_dict(), H)))
    model.lstm.bias_hh_l0.requires_grad_(False)
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(params, lr=config.lr, **{adam: True})
    schedule, clip = trainer.optimizer.schedule, config.clip
    batches = copy.deepcopy(trainer.batches)
    hidden: Any = None
    done = 0

    def step() -> tuple[float, float]:
        nonlocal hidden, done
        if batches.at_epoch_start:
            hidden = None
        x, y = (torch.from_numpy(a) for a in batches.next_window())  # (B, T)
        model.train()
        logits, hidden = model(x, hidden)  # (B, T, V)
        loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(params, clip)
        done += 1
        optimizer.param_groups[0]["lr"] = config.lr * schedule(done)
        optimizer.step()
        hidden = tuple(s.detach() for s in hidden)
        return loss.item(), norm.item()

    return Contestant(step)


def _in_torchs_layout(name: str, ours: dict[str, np.ndarray], H: int) -> np.ndarray:
    """minillm keeps kernels as Keras does, (inputs, outputs); torch transposed. Gate orders agree."""
    if name == "lstm.bias_hh_l0":
        return np.zeros(4 * H, np.float32)
    same = {"embedding.weight": "embedding.weight", "lstm.bias_ih_l0": "lstm.layers.0.b",
            "output.bias": "output.bias"}
    turned = {"lstm.weight_ih_l0": "lstm.layers.0.W", "lstm.weight_hh_l0": "lstm.layers.0.U",
              "output.weight": "output.weight"}
    return ours[same[name]] if name in same else np.ascontiguousarray(ours[turned[name]].T)


def check(name: str, ours: Contestant, theirs: Contestant) -> None:
    """Train both for a few steps.

    Raises:
        SystemExit: a loss or a gradient norm differs by more than TOLERANCE.
    """
    for i in range(CHECKED_STEPS):
        a, b = ours.step(), theirs.step()
        if not np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE):
            raise SystemExit(f"step {i + 1}: loss and gradient norm {a}, but {b} in {name}: "
                             "nothing was timed")


def lstm_steps(config: LanguageModelling, with_torch: bool) -> dict[str, Step]:
    """The LSTM alone, forward and backward over (B, T, D), all gradients."""
    rng = np.random.default_rng(0)
    B, T, D, H = config.batch_size, config.seq_len, config.embedding_dim, config.hidden_dim
    shapes = [(B, T, D), (B, H), (B, H), (D, 4 * H), (H, 4 * H), (4 * H,)]
    arrays = [rng.uniform(-0.1, 0.1, s).astype(np.float32) for s in shapes]
    gradient = rng.uniform(-0.1, 0.1, (B, T, H)).astype(np.float32)
    needs = [True, False, False, True, True, True]  # as in training: the state is carried, not learned
    tensors = [Tensor(a, requires_grad=n) for a, n in zip(arrays, needs)]

    def ours() -> None:
        for t in tensors:
            t.grad = None
        hs, _ = lstm(*tensors)
        hs.backward(gradient)

    steps: dict[str, Step] = {"minillm": ours}
    if with_torch:
        import torch

        layer = torch.nn.LSTM(D, H, batch_first=True)
        x = torch.from_numpy(arrays[0]).requires_grad_()
        state = tuple(torch.from_numpy(a)[None] for a in arrays[1:3])
        g = torch.from_numpy(gradient)

        def theirs() -> None:
            x.grad = None
            layer.zero_grad()
            layer(x, state)[0].backward(g)

        steps["torch eager"] = theirs
    return steps


def measure(rounds: int, calls: int) -> dict[str, Any]:
    """Check, time in turn, and say where our time goes."""
    config = LanguageModelling()
    names = {"torch eager, Adam foreach": "foreach", "torch eager, Adam fused": "fused"}
    absent = []
    if importlib.util.find_spec("torch") is None:
        absent, names = ["torch eager (torch is not installed)"], {}
    with tempfile.TemporaryDirectory() as folder:
        quiet = replace(config, dropout=0.0)
        for name, adam in names.items():
            trainer = quiet.start(os.path.join(folder, f"check {adam}"))
            theirs = torch_step(trainer, quiet, adam)
            check(name, Contestant(trainer.train_step), theirs)
            trainer.run_folder.close()
        trainer = config.start(os.path.join(folder, "run"))
        steps: dict[str, Step] = {"minillm": trainer.train_step}
        for name, adam in names.items():
            steps[name] = torch_step(trainer, config, adam).step
        seconds = rounds_of(steps, rounds=rounds, calls=calls, pause=PAUSE)
        profile = step_profile(trainer, steps=max(4, rounds // 2))
        trainer.run_folder.close()
    base = min(names, key=lambda name: float(np.median(seconds[name]))) if names else "minillm"
    alone = lstm_steps(config, with_torch=bool(names))
    alone_seconds = rounds_of(alone, rounds=rounds, calls=calls, pause=PAUSE)
    tokens = config.batch_size * config.seq_len
    sizes = {k: v for k, v in asdict(config).items() if k in (
        "batch_size", "seq_len", "embedding_dim", "hidden_dim", "num_layers", "dropout", "clip")}
    return {
        "rounds": rounds, "calls": calls, "threads": THREADS, "clock": "wall time", "dtype": "float32",
        "sizes": {**sizes, "vocab_size": trainer.model.config.vocab_size,
                  "parameters": trainer.model.n_params},
        "absent": absent, "base": base, "contestants": compare(seconds, base),
        "tokens_per_s": {n: round(tokens / float(np.median(s))) for n, s in seconds.items()},
        "profile": profile,
        "lstm": {"base": list(alone)[-1], "contestants": compare(alone_seconds, list(alone)[-1]),
                 "profile": lstm_profile(alone["minillm"], config, repeats=max(4, rounds // 2))},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The training-step part of engine.py; prints JSON.")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--calls", type=int, default=3)
    options = parser.parse_args()
    print(json.dumps(measure(options.rounds, options.calls)))
