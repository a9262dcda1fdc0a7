"""How a kernel is timed: on the device behind a flushed cache, and as a whole call on the host's clock.

Two figures for each contestant, because they answer different questions.

    device_ms   one call between two CUDA events. Before it the L2 cache is overwritten, and the device is
                kept busy for as long as the host takes to queue the call: the host's time is hidden, unless
                the call itself waits for the device, as calls with `.item()` in them do.
    call_ms     wall time of a batch of calls, from an idle device to an idle device, over their number:
                Python, launches and synchronisations included.

A call that overwrites its input gets its own buffer for every call of a batch, restored while no clock runs.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from timing import summary

FEWEST, MOST = 50, 100  # repetitions of device_ms, unless the time cap comes first
BATCHES = 20


@dataclass
class Contestant:
    """Something to time.

    Attributes:
        run: one call on the buffer of that number; gives what it computed.
        look: what `run` gave, as float64 NumPy arrays by name, to be judged against the reference.
        reset: restores the buffer of that number, where `run` overwrites it; else None.
        buffers: how many there are.
        counted: whether torch's allocator sees the memory it takes.
    """

    run: Callable[[int], Any]
    look: Callable[[Any], dict[str, np.ndarray]]
    reset: Callable[[int], None] | None = None
    buffers: int = 1
    counted: bool = True


class GpuClock:
    """Events of torch's current stream; CuPy's default stream is the same one."""

    measures = True

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        cache = getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 0)
        size = max(256 << 20, 4 * cache)
        self.scratch = torch.empty(size, dtype=torch.int8, device="cuda")
        # Cycles a second for `_sleep`; a little off does no harm. The head start is not what is timed.
        self.cycles = 2e9

    def synchronize(self) -> None:
        self.torch.cuda.synchronize()

    def device_ms(self, contestant: Contestant, repetitions: int, head_start: float) -> list[float]:
        events = [[self.torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repetitions)]
        for i, (before, after) in enumerate(events):
            buffer = i % contestant.buffers
            if contestant.reset:
                contestant.reset(buffer)
            self.scratch.zero_()
            if head_start and hasattr(self.torch.cuda, "_sleep"):
                self.torch.cuda._sleep(int(head_start * self.cycles))
            before.record()
            contestant.run(buffer)
            after.record()
        self.synchronize()
        return [before.elapsed_time(after) for before, after in events]

    def peak_bytes(self, contestant: Contestant) -> int | None:
        """Memory that one call takes beyond what was there, its results included."""
        if not contestant.counted:
            return None
        self.synchronize()
        cuda = self.torch.cuda
        cuda.reset_peak_memory_stats()
        before = cuda.memory_allocated()
        contestant.run(0)
        self.synchronize()
        return int(cuda.max_memory_allocated() - before)

    def free_bytes(self) -> int:
        """Free memory of the device, after everybody has given back what they no longer use."""
        gc.collect()
        self.torch.cuda.empty_cache()
        cupy = sys.modules.get("cupy")
        if cupy is not None:
            cupy.get_default_memory_pool().free_all_blocks()
        return int(self.torch.cuda.mem_get_info()[0])


class CpuClock:
    """Stands in for a GPU's in a smoke run. What it gives is no measurement of any kernel."""

    measures = False

    def synchronize(self) -> None:
        pass

    def device_ms(self, contestant: Contestant, repetitions: int, head_start: float) -> list[float]:
        taken = []
        for i in range(repetitions):
            buffer = i % contestant.buffers
            if contestant.reset:
                contestant.reset(buffer)
            start = time.perf_counter()
            contestant.run(buffer)
            taken.append(1e3 * (time.perf_counter() - start))
        return taken

    def peak_bytes(self, contestant: Contestant) -> int | None:
        return None

    def free_bytes(self) -> int:
        return 1 << 30


Clock = GpuClock | CpuClock


def measure(contestant: Contestant, clock: Clock, seconds: float) -> dict[str, Any]:
    """Medians with 20th and 80th percentile of a contestant, within about `seconds`.

    Returns:
        device_ms, call_ms, repetitions (of device_ms), and peak_bytes. Fewer than `FEWEST` repetitions
        mean that the time cap came first.
    """
    quick = not clock.measures
    for _ in range(1 if quick else 3):
        _once(contestant, clock)
    peak = clock.peak_bytes(contestant)
    _reset(contestant)
    clock.synchronize()
    start = time.perf_counter()
    contestant.run(0)
    queued = time.perf_counter() - start  # the host's part; all of it, where the call waits for the device
    clock.synchronize()
    once = time.perf_counter() - start
    whole = _once(contestant, clock) + 1e-3  # with restoring, and flushing the cache
    repetitions = 2 if quick else repetitions_within(0.6 * seconds, whole + min(queued, 5e-3))
    device = clock.device_ms(contestant, repetitions, min(1.5 * queued, 5e-3))
    calls = contestant.buffers if contestant.reset else max(1, min(16, int(0.02 / once)))
    batches = 1 if quick else max(3, min(BATCHES, int(0.4 * seconds / (calls * whole))))
    call = [_batch(contestant, clock, calls) for _ in range(batches)]
    return {"measurement": clock.measures, "device_ms": summary(np.array(device), 4),
            "call_ms": summary(1e3 * np.array(call), 4), "repetitions": repetitions,
            "calls": calls * batches, "peak_bytes": peak}


def repetitions_within(seconds: float, one: float) -> int:
    """As many as fit, between 5 and `MOST`."""
    return max(5, min(MOST, int(seconds / one)))


def _reset(contestant: Contestant) -> None:
    for buffer in range(contestant.buffers if contestant.reset else 0):
        contestant.reset(buffer)  # type: ignore[misc] # it is there: the range is empty otherwise


def _once(contestant: Contestant, clock: Clock) -> float:
    """Seconds of one call from a restored buffer, restoring included."""
    clock.synchronize()
    start = time.perf_counter()
    if contestant.reset:
        contestant.reset(0)
    contestant.run(0)
    clock.synchronize()
    return time.perf_counter() - start


def _batch(contestant: Contestant, clock: Clock, calls: int) -> float:
    """Seconds a call, over a batch between two idle moments of the device."""
    _reset(contestant)
    clock.synchronize()
    start = time.perf_counter()
    for i in range(calls):
        contestant.run(i % contestant.buffers)
    clock.synchronize()
    return (time.perf_counter() - start) / calls
