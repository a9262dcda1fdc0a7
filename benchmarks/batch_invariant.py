"""What `minillm.batch_invariant()` costs, and what it gives: the forward pass with it and without.

    OPENBLAS_NUM_THREADS=1 python benchmarks/batch_invariant.py     # about a minute
    python benchmarks/batch_invariant.py --quick                    # some seconds, rough figures
    python benchmarks/batch_invariant.py --json FILE

A text is read in batches of 1, 2, ... 32, at a random place among others, and the different results that its
logits have are counted. With the mode there must be one.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from machine import facts
from timing import compare, rounds_of

from minillm import batch_invariant, no_grad
from minillm.models import GPT, GPTConfig, Llama, LlamaConfig, LSTMConfig, LSTMLanguageModel

V = 256
SHAPES = {"one token": (1, 1), "one token, 32 rows": (32, 1), "a prompt": (1, 256), "a batch": (12, 64)}


def models() -> dict[str, Any]:
    """nanoGPT's CPU config, a Llama with grouped queries, and the LSTM language model, untrained."""
    rng = np.random.default_rng(0)
    return {"gpt": GPT(GPTConfig(V, block_size=256), rng=rng),
            "llama": Llama(LlamaConfig(V, n_embd=288, n_head=9, n_kv_head=3, block_size=256), rng=rng),
            "lstm": LSTMLanguageModel(LSTMConfig(V), rng=rng)}


def logits(model: Any, ids: np.ndarray) -> np.ndarray:
    with no_grad():
        y = model(ids)
    return (y[0] if isinstance(y, tuple) else y).data  # (B, T, V)


def cost(model: Any, rounds: int) -> dict[str, Any]:
    """shape -> ratio of the mode's time to the ordinary one, and both times."""
    result = {}
    rng = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        ids = rng.integers(0, V, shape)
        steps = {"ordinary": lambda ids=ids: logits(model, ids),
                 "invariant": batch_invariant()(lambda ids=ids: logits(model, ids))}
        result[name] = compare(rounds_of(steps, rounds=rounds, calls=2), "ordinary")
    return result


def distinct(model: Any, length: int, largest: int = 32) -> int:
    """How many different logits a text has over batches of 1 to `largest`, bit by bit."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, V, (largest, length))
    text, seen = ids[0].copy(), set()
    for B in range(1, largest + 1):
        place = rng.integers(B)
        batch = ids[:B].copy()
        batch[0], batch[place] = batch[place].copy(), text
        seen.add(logits(model, batch)[place].tobytes())
    return len(seen)


def measure(quick: bool) -> dict[str, Any]:
    results = {}
    for name, model in models().items():
        results[name] = {"cost": cost(model, 5 if quick else 40), "distinct": {
            length: {"ordinary": distinct(model, length),
                     "invariant": batch_invariant()(distinct)(model, length)} for length in (1, 16)}}
    return results


def report(results: dict[str, Any]) -> str:
    lines = [f"{'':34}  times the ordinary forward (p20 - p80)"]
    for name, of_model in results.items():
        for shape, c in of_model["cost"].items():
            r, t = c["invariant"]["ratio"], c["invariant"]["us"]["median"] / 1000
            spread = f"({r['p20']:.2f} - {r['p80']:.2f})"
            lines.append(f"{name:8}{shape:26}  {r['median']:5.2f}  {spread}{t:10.2f} ms")
    lines += ["", f"{'':34}  distinct logits of one text over batches of 1 to 32"]
    for name, of_model in results.items():
        for length, d in of_model["distinct"].items():
            tokens = f"{length} token{'s' * (length > 1)}"
            lines.append(f"{name:8}{tokens:26}  {d['ordinary']} without, {d['invariant']} with the mode")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions: rough figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    options = parser.parse_args(arguments)
    results = measure(options.quick)
    print(report(results))
    if options.json:
        everything = {"machine": facts(), "threads": os.environ.get("OPENBLAS_NUM_THREADS"),
                      "quick": options.quick, "models": results}
        options.json.write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")
    if any(d["invariant"] != 1 for r in results.values() for d in r["distinct"].values()):
        raise SystemExit("the mode is not batch-invariant on this machine")


if __name__ == "__main__":
    main()
