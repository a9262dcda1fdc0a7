"""The pointer table: where every tensor of an optimiser's step is, so that one launch reaches them all."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import arrays
from .arrays import View
from .tuning import ADAM_TILE

COLUMNS = 9  # of the table: six addresses, length, place in the caller's list, alignment


class AdamTensor(NamedTuple):
    """One parameter with its gradient and state, each a dense view of the same shape."""

    p: View
    g: View
    m: View
    v: View
    vmax: View | None
    master: View | None


class Table(NamedTuple):
    """Where every tensor is, as arrays that a kernel reads.

    Attributes:
        rows: (T, 9) int64: addresses of p, g, m, v, vmax, master (0 if absent), number of elements, place in
            the caller's list, and 1 if every address is a multiple of 16.
        tiles: (n, 2) int32: for each program, the row and which `ADAM_TILE` elements of that tensor.
    """

    rows: View
    tiles: View


def pointer_table(tensors: Sequence[AdamTensor], places: Sequence[int]) -> Table:
    """The table of `tensors` on their device. A GPU's is kept: the next step has the same addresses."""
    key = tuple((*(0 if view is None else view.address for view in t), t.p.size, place)
                for t, place in zip(tensors, places, strict=True))
    first = tensors[0].p
    if first.device == "cpu":
        return Table(*map(arrays.view, table_arrays(key)))
    library = arrays.library(first.owner)
    return _table_on_gpu(key, first.device, library, arrays.current_stream(library, first.device))[0]


def table_arrays(key: Sequence[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """(rows, tiles) for tensors given as (six addresses, length, place); see `Table`."""
    aligned = [int(all(address % 16 == 0 for address in row[:6])) for row in key]
    rows = np.array([(*row, flag) for row, flag in zip(key, aligned, strict=True)], np.int64)
    rows = rows.reshape(-1, COLUMNS)
    counts = -(-rows[:, 6] // ADAM_TILE)
    owner = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, np.stack([owner, within], axis=1).astype(np.int32)


@functools.lru_cache(maxsize=64)
def _table_on_gpu(key: tuple[tuple[int, ...], ...], device: str, library: str,
                  stream: int) -> tuple[Table, Any]:
    """The table, and the host's memory that it is copied from, kept for a CUDA graph that repeats the copy.

    Filled on one stream, the table is ready for that stream alone, hence `stream` in the cache's key.
    """
    made = table_arrays(key)
    if library == "torch":
        import torch

        # from pinned memory: a copy from other memory would wait for the GPU
        pinned = [torch.from_numpy(a).pin_memory() for a in made]
        return Table(*(arrays.view(host.to(device, non_blocking=True)) for host in pinned)), pinned
    import cupy

    with cupy.cuda.Device(int(device.partition(":")[2])):
        return Table(*(arrays.view(cupy.asarray(a)) for a in made)), made
