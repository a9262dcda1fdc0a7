"""How the benchmarks measure: contestants in turn, many short blocks, medians of ratios.

One machine is never quiet for long. So all contestants run in one process, one short block each, round
after round, in an order that changes. A contestant's ratio to another is the median over rounds of
the ratio within a round: what slows down a whole round cancels.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Step = Callable[[], Any]
Clock = Callable[[], float]


def rounds_of(steps: Mapping[str, Step], *, rounds: int, calls: int, warm_up: int = 1,
              pause: float = 0.0, clock: Clock = time.perf_counter) -> dict[str, np.ndarray]:
    """Time each step in every round.

    Args:
        steps: name -> a function without arguments.
        rounds: how often each gets its turn.
        calls: how often it runs in a turn.
        warm_up: calls before those, not timed: they bring its data back into the caches.
        pause: seconds to sleep before each turn, so that worker threads of the one before, which
            go on spinning for a while, take no core from this one.
        clock: `time.process_time` where everything is one thread: it stands still while the
            machine serves somebody else.

    Returns:
        name -> seconds per call, (rounds,).
    """
    order = random.Random(0)
    names = list(steps)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    gc.freeze()  # what exists now is not looked at again: each block pays for its own garbage only
    try:
        for _ in range(rounds):
            order.shuffle(names)
            for name in names:
                step = steps[name]
                if pause:
                    time.sleep(pause)
                gc.collect()
                for _ in range(warm_up):
                    step()
                start = clock()
                for _ in range(calls):
                    step()
                seconds[name].append((clock() - start) / calls)
    finally:
        gc.unfreeze()
    return {name: np.array(values) for name, values in seconds.items()}


def summary(values: np.ndarray, digits: int = 3) -> dict[str, float]:
    """Median, and the 20th and 80th percentile, to so many significant digits."""
    p20, median, p80 = np.percentile(values, [20, 50, 80])
    return {name: float(f"{value:.{digits}g}")
            for name, value in [("median", median), ("p20", p20), ("p80", p80)]}


def compare(seconds: Mapping[str, np.ndarray], base: str) -> dict[str, dict[str, Any]]:
    """name -> its ratio to `base` (round by round) and its own time in microseconds."""
    return {name: {"ratio": summary(values / seconds[base]), "us": summary(values * 1e6)}
            for name, values in seconds.items()}
