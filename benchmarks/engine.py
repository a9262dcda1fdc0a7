"""The engine beside its peers, all in one run: an MLP's forward and backward, and a training step.

    python benchmarks/engine.py                 # about a minute
    python benchmarks/engine.py --quick         # about 15 seconds, for tests
    python benchmarks/engine.py --json out.json

Ratios come first: they compare what ran in turn on the same machine, and mean more than times. Each
part (`mlp.py`, `training_step.py`) is a process of its own, since the number of threads has to be
set before NumPy is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import facts

HERE = Path(__file__).parent
# part -> (file, threads, options of a full run, options of a quick run)
PARTS = {
    "mlp": ("mlp.py", 1, ["--rounds", "100", "--calls", "100"], ["--rounds", "25", "--calls", "60"]),
    "training_step": ("training_step.py", 2, ["--rounds", "30", "--calls", "3"],
                      ["--rounds", "5", "--calls", "2"]),
}


def run_part(name: str, quick: bool) -> dict[str, Any]:
    """The result of one part, from a process with that part's number of threads.

    Raises:
        SystemExit: the part refused to time (contestants disagree) or failed; it has said why.
    """
    file, threads, full, few = PARTS[name]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}  # this checkout, wherever it is
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[variable] = str(threads)
    command = [sys.executable, str(HERE / file), *(few if quick else full)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"benchmarks/{file} failed: no results")
    return json.loads(done.stdout)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the engine beside its peers.")
    parser.add_argument("--quick", action="store_true", help="few repetitions: rough figures")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the results there")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {"machine": facts(), "quick": options.quick}
    for name in PARTS:
        results[name] = run_part(name, options.quick)
    print(report(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def report(results: dict[str, Any]) -> str:
    """What a reader sees: tables of ratios, then where our time goes."""
    mlp, step, m = results["mlp"], results["training_step"], results["machine"]
    s, lstm = step["sizes"], step["lstm"]
    z = mlp["sizes"]
    versions = [f"{name} {m[name]}" for name in ("python", "numpy", "torch", "autograd", "mygrad") if m[name]]
    settings = [f"{k}={v}" for k, v in m["blas_settings"].items()]
    lines = [
        f"{m['cpu']}, {m['cores']} cores, {' '.join([m['blas'], *settings])}; {', '.join(versions)}",
        "",
        f"MLP {z['features']}-{z['hidden']}-{z['classes']}, batch {z['batch']}, {mlp['dtype']}, "
        "forward and backward, 1 thread",
        *_table(mlp["contestants"], "NumPy by hand", "us", 1),
        *_absent(mlp),
        "",
        f"Training step of the demo's model ({s['parameters']:,} parameters, batch "
        f"{s['batch_size']} x {s['seq_len']}, {step['dtype']}), {step['threads']} threads",
        *_table(step["contestants"], step["base"], "ms", 1000, step["tokens_per_s"]),
        *_absent(step),
        "",
        "  where minillm's step goes",
        *_shares(step["profile"]),
        "",
        "The LSTM alone, forward and backward over the sequence",
        *_table(lstm["contestants"], lstm["base"], "ms", 1000),
    ]
    if lstm["profile"]:
        lines += ["", "  where minillm's LSTM goes", *_shares(lstm["profile"])]
    return "\n".join(lines)


def _table(contestants: dict[str, Any], base: str, unit: str, per: int,
           tokens_per_s: dict[str, int] | None = None) -> list[str]:
    width = max(map(len, contestants))
    lines = [f"  {'':{width}}  ratio to {base} (p20 - p80)"]
    for name, c in sorted(contestants.items(), key=lambda item: item[1]["ratio"]["median"]):
        r, t = c["ratio"], c["us"]["median"] / per
        line = f"  {name:{width}}  {r['median']:5.2f}  ({r['p20']:.2f} - {r['p80']:.2f}){t:10.1f} {unit}"
        lines.append(line + (f"{tokens_per_s[name]:12,} tokens/s" if tokens_per_s else ""))
    return lines


def _shares(profile: dict[str, float]) -> list[str]:
    return [f"  {share:6.1%}  {piece}" for piece, share in profile.items()]


def _absent(part: dict[str, Any]) -> list[str]:
    return [f"  absent: {name}" for name in part["absent"]]


if __name__ == "__main__":
    main()
