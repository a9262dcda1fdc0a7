"""The kernels beside their peers and a plain copy, all in one run on one GPU.

    python benchmarks/kernels.py                   # at most 480 s; writes results/kernels-<device>.json
    python benchmarks/kernels.py --only 128256     # cases whose name matches
    python benchmarks/kernels.py --plot FILE.json  # the picture again, without a GPU
    python benchmarks/kernels.py --smoke           # without a GPU: does the script work? Measures nothing

Every contestant is judged against float64 before it is timed (`kernels_problems.py`); how it is timed is in
`kernels_clock.py`, who takes part in `kernels_peers.py`, sizes and bytes models in `kernels_cases.py`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# This file has the package's name. From here on `import kernels` finds the package, and a script beside this
# one that says so, and finds this file, gets the package too.
sys.path[:] = [str(HERE.parent), *[p for p in sys.path if p != str(HERE.parent)]]
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))
if __name__ == "kernels":
    del sys.modules["kernels"]
    importlib.import_module("kernels")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the kernels beside their peers on a GPU.")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes on the CPU: checks the script")
    parser.add_argument("--max-seconds", type=float, default=480, metavar="S",
                        help="stop after about S seconds")
    parser.add_argument("--case-seconds", type=float, default=4, metavar="S", help="time for one contestant")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose id matches")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the results go")
    parser.add_argument("--plot", type=Path, metavar="JSON", help="only draw these results, beside them")
    options = parser.parse_args(arguments)
    if options.plot:
        draw(options.plot)
        return
    if options.smoke:  # before the first import of Triton, which reads it then
        os.environ.setdefault("TRITON_INTERPRET", "1")
    try:
        import torch
    except ModuleNotFoundError:
        raise SystemExit("torch is not installed, and the benchmark needs it: pip install torch") from None
    if not options.smoke and not torch.cuda.is_available():
        raise SystemExit("no GPU here: nothing was measured; `python benchmarks/kernels.py --smoke` "
                         "checks the script")
    from kernels_run import Run

    run = Run(torch, options)
    try:
        run.all_cases()
    finally:
        run.save()
    if run.path and not options.smoke:
        draw(run.path)


def draw(path: Path) -> None:
    """The picture of the results in `path`, beside them, with its text for those who do not see it."""
    from kernels_report import alt_text, plot

    results = json.loads(path.read_text(encoding="utf-8"))
    try:
        picture = plot(results, path.with_suffix(".png"))
    except (ImportError, ValueError) as e:
        print(f"no picture: {e}")
        return
    print(f"{picture}\nalt text: {alt_text(results)}")


if __name__ == "__main__":
    main()
