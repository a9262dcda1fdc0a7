"""nanoGPT's configuration for a CPU: minillm's GPT beside torch eager, same weights, same windows.

    python benchmarks/gpt.py                        time of a training step, and what takes it
    python benchmarks/gpt.py --steps 2000           and the losses after so many steps of each
    python benchmarks/gpt.py --out FILE             write the figures as JSON

4 layers, 4 heads, 128 wide, windows of 64 characters, 12 at a time, no dropout. A step is all of it: forward,
cross-entropy, backward, clipping by norm, AdamW with decay on matrices alone. Threads: OMP_NUM_THREADS, or 2.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

THREADS = os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", THREADS)

import numpy as np  # noqa: E402 - after the threads are set
import torch  # noqa: E402
from machine import facts  # noqa: E402
from timing import compare, rounds_of  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from minillm import optim  # noqa: E402
from minillm.autograd import fused  # noqa: E402
from minillm.autograd.fused import softmax_cross_entropy  # noqa: E402
from minillm.models import GPT, GPTConfig  # noqa: E402
from minillm.text import CharTokenizer, load_default, split  # noqa: E402

BATCH, LR, DECAY, CLIP = 12, 1e-3, 0.1, 1.0
PAUSE = 0.03  # seconds for which idle threads of one library may spin before the other has its turn


class TorchBlock(nn.Module):
    """The same block in torch's own modules, as nanoGPT has it."""

    def __init__(self, c: GPTConfig) -> None:
        super().__init__()
        self.n_head = c.n_head
        self.norm1, self.norm2 = (nn.LayerNorm(c.n_embd, c.norm_eps) for _ in range(2))
        self.qkv, self.output = nn.Linear(c.n_embd, 3 * c.n_embd), nn.Linear(c.n_embd, c.n_embd)
        self.up, self.down = nn.Linear(c.n_embd, 4 * c.n_embd), nn.Linear(4 * c.n_embd, c.n_embd)

    def forward(self, x: Any) -> Any:
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.n_head, -1).transpose(1, 2)
                   for part in self.qkv(self.norm1(x)).split(C, dim=2))  # (B, H, T, d)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class TorchGPT(nn.Module):
    def __init__(self, c: GPTConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(c.vocab_size, c.n_embd)
        self.positions = nn.Embedding(c.block_size, c.n_embd)
        self.blocks = nn.ModuleList(TorchBlock(c) for _ in range(c.n_layer))
        self.norm = nn.LayerNorm(c.n_embd, c.norm_eps)

    def forward(self, ids: Any) -> Any:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.tokens.weight.T


def torch_twin(model: GPT) -> TorchGPT:
    """torch's model with this one's weights; its linear layers hold the transpose."""
    twin, state = TorchGPT(model.config), model.state_dict()
    with torch.no_grad():
        for name, p in twin.named_parameters():
            ours = name
            for part in ("qkv", "output"):
                ours = ours.replace(f".{part}.", f".attention.{part}.")
            for part in ("up", "down"):
                ours = ours.replace(f".{part}.", f".mlp.{part}.")
            array = state.pop(ours)
            linear = array.ndim == 2 and not name.startswith(("tokens", "positions"))
            p.copy_(torch.from_numpy(array.T.copy() if linear else array))
    assert not state
    return twin


class Windows:
    """Random windows of the text, the same for everybody."""

    def __init__(self, ids: np.ndarray, T: int, seed: int) -> None:
        self.ids, self.T, self.rng = ids, T, np.random.default_rng(seed)

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        starts = self.rng.integers(0, len(self.ids) - self.T, BATCH)
        rows = self.ids[starts[:, None] + np.arange(self.T + 1)]  # (B, T + 1)
        return rows[:, :-1], rows[:, 1:]


def our_step(model: GPT, windows: Windows) -> Any:
    named = list(model.named_parameters())
    optimizer = optim.AdamW([{"params": [p for _, p in named if p.ndim > 1]},
                             {"params": [p for _, p in named if p.ndim == 1], "weight_decay": 0.0}],
                            lr=LR, weight_decay=DECAY, beta2=0.99)

    def step() -> float:
        x, y = windows.next()
        loss = softmax_cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), CLIP)
        optimizer.step()
        return float(loss)

    return step


def torch_step(model: TorchGPT, windows: Windows) -> Any:
    torch.set_num_threads(int(THREADS))
    params = list(model.parameters())
    optimizer = torch.optim.AdamW([{"params": [p for p in params if p.ndim > 1]},
                                   {"params": [p for p in params if p.ndim == 1], "weight_decay": 0.0}],
                                  lr=LR, weight_decay=DECAY, betas=(0.9, 0.99), fused=True)

    def step() -> float:
        x, y = map(torch.from_numpy, windows.next())
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, CLIP)
        optimizer.step()
        return loss.item()

    return step


def profile(step: Any, calls: int = 20) -> dict[str, float]:
    """Share of a step's time in each fused op, forward and backward, and in all the rest."""
    seconds: Counter[str] = Counter()
    ops = [value for value in vars(fused).values() if isinstance(value, fused.FusedOp)]
    ops += [module._fused for module in map(_module_of, ("attention", "softmax_cross_entropy"))]
    ops += [_module_of("norms")._layer_norm]
    originals = [(op, op.forward, op.backward) for op in ops]

    def timed(name: str, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                seconds[name] += time.perf_counter() - start
        return call

    try:
        for op, forward, backward in originals:
            op.forward, op.backward = timed(op.__name__, forward), timed(f"{op.__name__}, backward", backward)
        step()
        seconds.clear()
        start = time.perf_counter()
        for _ in range(calls):
            step()
        total = time.perf_counter() - start
    finally:
        for op, forward, backward in originals:
            op.forward, op.backward = forward, backward
    shares = {name: value / total for name, value in seconds.most_common()}
    return {**shares, "all else": 1 - sum(shares.values())}


def _module_of(name: str) -> Any:
    import importlib

    return importlib.import_module(f"minillm.autograd.fused.{name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=0, help="also train each so many steps from the start")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    options = parser.parse_args()
    text = split(load_default(), seed=0).train
    tokenizer = CharTokenizer.train(text)
    ids = np.asarray(tokenizer.encode(text))
    config = GPTConfig(tokenizer.vocab_size)
    model = GPT(config, rng=np.random.default_rng(0))
    twin = torch_twin(model)
    ours = our_step(model, Windows(ids, config.block_size, 1))
    theirs = torch_step(twin, Windows(ids, config.block_size, 1))
    together = [(ours(), theirs()) for _ in range(5)]
    worst = max(abs(a - b) for a, b in together)
    if worst > 1e-4:
        raise SystemExit(f"the two do not compute the same: losses differ by {worst:.1e} in the first steps")
    seconds = rounds_of({"minillm": ours, "torch": theirs}, rounds=options.rounds, calls=5, pause=PAUSE)
    results: dict[str, Any] = {"machine": facts(), "threads": int(THREADS), "parameters": config.n_params,
                               "step": compare(seconds, "torch"), "profile": profile(ours)}
    for name, row in results["step"].items():
        print(f"{name:10} {row}")
    for name, share in results["profile"].items():
        print(f"  {share:6.1%}  {name}")
    if options.steps:
        model = GPT(config, rng=np.random.default_rng(0))
        twin = torch_twin(model)
        losses = {}
        for name, step in (("minillm", our_step(model, Windows(ids, config.block_size, 1))),
                           ("torch", torch_step(twin, Windows(ids, config.block_size, 1)))):
            start = time.perf_counter()
            every = [step() for _ in range(options.steps)]
            losses[name] = {"steps": options.steps, "loss_of_last_100": float(np.mean(every[-100:])),
                            "seconds": round(time.perf_counter() - start, 1)}
            print(f"{name:10} {losses[name]}")
        results["training"] = losses
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
