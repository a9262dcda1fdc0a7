"""Canaries: on the CPU, kernels work in copies of their buffers with guard zones on either side.

A GPU kernel's stray write seldom crashes; it changes somebody else's numbers. Here every buffer is copied
to where 4 KiB of signalling NaN lie before and after it. A stray read then brings in NaN, or a label that is
no class, and a stray write, also one between the rows of a strided array, is reported with its place.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from types import ModuleType

import numpy as np

from .arrays import View

ZONE = 4096  # bytes on either side
LIMIT = 64 << 20  # a longer span is used as it is: only sparse ones, made to overflow offsets, are so long
# float32, float16 and bfloat16 alike: a NaN that any arithmetic makes quiet, which changes a bit. So even a
# kernel that runs past the end in place, reading a guard and writing back what came of it, is caught.
CANARY = 0x7FA1
ALIGNMENT = 256  # of CUDA's allocations; a copy keeps its original's address modulo this


class StrayWrite(RuntimeError):
    """A kernel wrote where no array of its is."""


def around(backend: ModuleType, views: Sequence[View | None],
           names: Sequence[str]) -> AbstractContextManager[Sequence[View | None]]:
    """`guarded` for a backend that works with addresses; NumPy checks its own indices and needs none."""
    return nullcontext(views) if backend.__name__.startswith("kernels.numpy.") else guarded(views, names)


@contextmanager
def guarded(views: Sequence[View | None], names: Sequence[str]) -> Iterator[Sequence[View | None]]:
    """Views of guarded copies; on exit the copies are checked and copied back.

    Arrays that share memory share a copy, so that in-place use stays in place. Views of a GPU pass through.

    Raises:
        StrayWrite: a byte outside every array changed; nothing is copied back then.
    """
    spans = _spans([v for v in views if v is not None and v.device == "cpu" and v.size])
    copies = [_Copy(first, last) for first, last in spans]
    moved: list[View | None] = []
    for v in views:
        copy = None if v is None else next((c for c in copies if c.holds(v)), None)
        moved.append(v if v is None or copy is None else copy.moved(v))
    before = dict(standing)
    standing.update({name: v for name, v in zip(names, moved, strict=True) if v is not None})
    try:
        yield moved
    finally:
        standing.clear()
        standing.update(before)
    for copy in copies:
        copy.check({name: v for name, v in zip(names, views, strict=True) if v is not None and copy.holds(v)})
    for copy in copies:
        copy.write_back()


# The views that guard at this moment, by name: for those who watch a kernel that finds its arrays in a table.
standing: dict[str, View] = {}


def _spans(views: Sequence[View]) -> list[tuple[int, int]]:
    """Address ranges of the views, those that overlap joined."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted((v.address, v.address + v.nbytes) for v in views):
        if joined and first < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return [(first, last) for first, last in joined if last - first <= LIMIT]


class _Copy:
    """A guarded copy of the bytes [first, last)."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.size = first, last - first
        self.buffer = np.full(ZONE + (self.size + ALIGNMENT) // 2 + 1, CANARY, np.uint16).view(np.uint8)
        base = self.buffer.ctypes.data + ZONE
        self.start = ZONE + (first - base) % ALIGNMENT
        self.bytes = self.buffer[self.start:self.start + self.size]
        ctypes.memmove(self.bytes.ctypes.data, first, self.size)
        self.before = self.bytes.copy()

    def holds(self, v: View) -> bool:
        return v.device == "cpu" and v.size > 0 and self.first <= v.address < self.first + self.size

    def moved(self, v: View) -> View:
        address = self.bytes.ctypes.data + v.address - self.first
        return replace(v, address=address, owner=(self.buffer, v.owner))

    def check(self, views: Mapping[str, View]) -> None:
        changed = self.buffer != np.full(len(self.buffer) // 2, CANARY, np.uint16).view(np.uint8)
        inside = np.zeros(self.size, bool)
        for v in views.values():
            strides = (*(s * v.itemsize for s in v.strides), 1)
            shape = (*v.shape, v.itemsize)
            np.lib.stride_tricks.as_strided(inside[v.address - self.first:], shape, strides)[...] = True
        changed[self.start:self.start + self.size] = ~inside & (self.bytes != self.before)
        if not changed.any():
            return
        at = int(np.argmax(changed)) - self.start
        names = " and ".join(views)
        place = (f"{-at} bytes before the start" if at < 0 else f"{at - self.size} bytes after the end"
                 if at >= self.size else f"between the rows, {at} bytes from the start")
        raise StrayWrite(f"the kernel wrote outside its arrays: {place} of {names} "
                         f"({int(changed.sum())} bytes changed)")

    def write_back(self) -> None:
        if not self.size:
            return
        # Only what changed: the gaps between strided rows may be another thread's rows.
        original = np.ctypeslib.as_array((ctypes.c_uint8 * self.size).from_address(self.first))
        changed = self.bytes != self.before
        original[changed] = self.bytes[changed]
