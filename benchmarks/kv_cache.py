"""What the cache of keys and values saves, and what it changes: 512 tokens, one by one, with it and without.

    python benchmarks/kv_cache.py                   print the figures
    python benchmarks/kv_cache.py --out FILE        write them as JSON too

Without a cache, every new token reads the whole text again. Both ways give the same logits up to rounding,
and bit for bit under `minillm.batch_invariant()`. Threads: OMP_NUM_THREADS, or 2.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", THREADS)

import numpy as np  # noqa: E402 - after the threads are set
from machine import facts  # noqa: E402
from timing import summary  # noqa: E402

from minillm import batch_invariant, no_grad  # noqa: E402
from minillm.models import GPT, GPTConfig, Llama, LlamaConfig  # noqa: E402

V = 96
MODELS: dict[str, tuple[Any, Any]] = {
    "GPT, 4 layers, 128 wide": (GPT, GPTConfig(V, 512, 4, 4, 128)),
    "Llama, 8 layers, 256 wide, 8 heads on 2": (Llama, LlamaConfig(V, 8, 256, 8, 2, block_size=512)),
}


def with_cache(model: Any, ids: np.ndarray) -> np.ndarray:
    """The logits after each of (T,) tokens, read one by one: (T, V)."""
    cache = model.new_cache(1, len(ids))
    return np.concatenate([model.next_logits(ids[None, t:t + 1], cache).numpy() for t in range(len(ids))])


def without_cache(model: Any, ids: np.ndarray) -> np.ndarray:
    """The same, from all tokens so far, anew for each token."""
    with no_grad():
        return np.concatenate([model(ids[None, :t + 1]).numpy()[:, -1] for t in range(len(ids))])


def seconds(f: Callable[[Any, np.ndarray], np.ndarray], model: Any, ids: np.ndarray) -> float:
    start = time.perf_counter()
    f(model, ids)
    return time.perf_counter() - start


def measured(model: Any, T: int, rounds: int) -> dict[str, Any]:
    """Times of both ways, in turn, and by how much their logits differ in both modes."""
    ids = np.random.default_rng(1).integers(0, V, T)
    with_cache(model, ids[:8])  # what is made once is made now
    pairs = np.array([[seconds(f, model, ids) for f in (with_cache, without_cache)] for _ in range(rounds)])
    found: dict[str, Any] = {
        "tokens": T, "speed_up": summary(pairs[:, 1] / pairs[:, 0]),
        "ms_per_token": {"with": summary(1e3 * pairs[:, 0] / T), "without": summary(1e3 * pairs[:, 1] / T)},
        "cache_bytes": model.new_cache(1, T).nbytes}
    whole = _logits(model, ids)
    found["largest_difference"] = float(np.abs(with_cache(model, ids) - whole).max())
    found["largest_logit"] = float(np.abs(whole).max())
    with batch_invariant():
        differ = with_cache(model, ids) != _logits(model, ids)
        found["batch_invariant"] = {"differing_logits": int(differ.sum()), "of": whole.size}
    return found


def _logits(model: Any, ids: np.ndarray) -> np.ndarray:
    with no_grad():
        logits: np.ndarray = model(ids[None]).numpy()[0]
    return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": facts(), "threads": int(THREADS), "models": {}}
    for name, (make, config) in MODELS.items():
        model = make(config, rng=np.random.default_rng(0)).eval()
        found = measured(model, options.tokens, options.rounds)
        results["models"][name] = found
        ms = found["ms_per_token"]
        exact = found["batch_invariant"]
        print(f"{name}: {found['tokens']} tokens {found['speed_up']['median']} times as fast with the cache "
              f"({ms['with']['median']} ms a token, {ms['without']['median']} without)\n"
              f"  logits differ by {found['largest_difference']:.1e} at most, the largest is "
              f"{found['largest_logit']:.2g}; batch-invariant: {exact['differing_logits']} of "
              f"{exact['of']} differ in a bit")
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
