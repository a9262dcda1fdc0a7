"""Peak memory of the output layer with cross-entropy: all logits at once beside chunks.

    python benchmarks/linear_cross_entropy.py            on this machine's CPU, NumPy arrays
    python benchmarks/linear_cross_entropy.py --out benchmarks/results/linear_cross_entropy.json

What is counted is what the call allocates beside its inputs and its results, by Python's own account of
NumPy's memory, so the figures do not depend on the machine or on what else runs there.
"""

from __future__ import annotations

import argparse
import json
import tracemalloc
from pathlib import Path

import numpy as np

import kernels

# Rows, features and classes: small enough for a laptop; the vocabularies are GPT-2's and Gemma's.
SHAPES = ((512, 64, 50257), (512, 64, 262144))
MIB = 1 << 20


def apart(x, w, y):
    logits = x @ w.T  # (N, V)
    loss, _, G = kernels.softmax_cross_entropy(logits, y, out=logits)
    return loss, G @ w, G.T @ x


def peak(call):
    """(result, bytes at the peak beyond those of the results)."""
    tracemalloc.start()
    try:
        result = call()
        held, most = tracemalloc.get_traced_memory()
        return result, most - held
    finally:
        tracemalloc.stop()


def measure(n, h, v, seed=0):
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((n, h), np.float32), rng.standard_normal((v, h), np.float32)
    y = rng.integers(0, v, n)
    (loss, dx, dw), whole = peak(lambda: apart(x, w, y))
    chunked, part = peak(lambda: kernels.linear_cross_entropy(x, w, y, chunk_rows=32))
    pairs = ((loss, chunked.loss), (dx, chunked.dx), (dw, chunked.dweight))
    worst = max(float(np.abs(a - b).max()) for a, b in pairs)
    return {"rows": n, "features": h, "classes": v, "logits_mib": n * v * 4 / MIB, "chunk_rows": 32,
            "apart_mib": whole / MIB, "chunked_mib": part / MIB, "ratio": whole / part,
            "largest_difference": worst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    options = parser.parse_args()
    results = []
    print("           N x H x V    logits     apart   chunked  ratio   (MiB beside the results)")
    for n, h, v in SHAPES:
        r = measure(n, h, v)
        results.append(r)
        mib = " ".join(f"{r[key]:9.1f}" for key in ("logits_mib", "apart_mib", "chunked_mib"))
        print(f"{f'{n} x {h} x {v}':>20} {mib} {r['ratio']:6.1f}   "
              f"largest difference {r['largest_difference']:.1e}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"numpy": np.__version__, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
