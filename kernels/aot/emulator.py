"""Runs a kernel's PTX on the CPU and counts what it moves.

All threads of a block, or of a cluster of blocks, go through an instruction together as NumPy arrays, one
value a thread. Where they part ways the group that is furthest behind goes first, so that they meet again.
Loops, masks and addresses are thus those of the compiled kernel: every access is checked against the arrays
(bounds, alignment), and the bytes counted are those it asks for, however it is unrolled.

Not a simulator of time, caches or rounding: approximate instructions are computed exactly, an FMA through
float64, directed rounding to nearest. An instruction that is not known is an error (`instructions.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .instructions import decode
from .ptx import BYTES, Instruction, Kernel
from .values import (
    CLUSTER_WINDOW,
    NUMPY,
    UINT,
    WARP,
    EmulationError,
    address_parts,
    as_bits,
    as_numbers,
    immediate,
)

MOST_STEPS = 2_000_000  # a kernel of the table takes some thousands


@dataclass
class Array:
    """An array that the kernel may touch, and what it touched.

    Attributes:
        name: for messages.
        data: its bytes, at their own address.
        written: bytes that were stored to, each True.
        moved: bytes asked for, by ("ld" or "st", bytes of one thread's access). Threads of a warp that ask
            for the same bytes in one instruction count once, as they move once.
    """

    name: str
    data: np.ndarray
    moved: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def address(self) -> int:
        return int(self.data.ctypes.data)

    def bytes(self, op: str, below: int = 1 << 10) -> int:
        """Bytes asked for by loads ("ld") or stores ("st") of fewer than `below` bytes a thread."""
        return sum(n for (kind, width), n in self.moved.items() if kind == op and width < below)


@dataclass(frozen=True)
class Step:
    """An instruction and what it does to (blocks, mask); None for control flow, which `Blocks.run` does.

    The mask says for which threads; None is all of them.
    """

    instruction: Instruction
    does: Callable[[Blocks, Any], None] | None


class Program:
    """A kernel that can be run.

    Raises:
        EmulationError: it has an instruction that is not known.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._steps = [Step(instruction, decode(instruction)) for instruction in kernel.code]

    def run(self, params: Sequence[np.generic], arrays: Sequence[Array], *, grid: int, block: int,
            cluster: int = 1, shared: int = 0, only: Iterable[int] | None = None) -> None:
        """Run the blocks of a grid one after another, those of a cluster together.

        Args:
            params: values of the parameters in order; if the kernel has more, those are 0.
            arrays: the memory it may touch.
            grid, block, cluster: numbers of blocks, threads of a block, and blocks of a cluster.
            shared: bytes of dynamic shared memory.
            only: numbers of the clusters to run; all by default.

        Raises:
            EmulationError: an access outside the arrays or not aligned, or a barrier that not all threads
                reach; the message has the instruction.
        """
        memory, values = Memory(arrays), {}
        for k, (name, kind) in enumerate(self.kernel.params):
            raw = np.zeros(8, np.uint8)
            if k < len(params):
                if params[k].nbytes != BYTES[kind]:
                    raise EmulationError(f"parameter {name} has {BYTES[kind]} bytes, the launch passes "
                                         f"{params[k].nbytes}")
                raw[:params[k].nbytes] = np.frombuffer(params[k].tobytes(), np.uint8)
            values[name] = raw.view(UINT[BYTES[kind]])[0]
        with np.errstate(all="ignore"):
            for k in range(grid // cluster) if only is None else only:
                where = (k * cluster, grid, block, cluster)
                Blocks(self.kernel, self._steps, values, memory, where, shared).run()


# ---- Memory --------------------------------------------------------------------------------------------

class Memory:
    """Global memory: the arrays, each at its own address."""

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.arrays = sorted(arrays, key=lambda a: a.address)
        self.bases = np.array([a.address for a in self.arrays], np.uint64)
        self.raw = [a.data.reshape(-1).view(np.uint8) for a in self.arrays]

    def split(self, address: np.ndarray, size: int, text: str) -> list[tuple[int, np.ndarray]]:
        """Which arrays the addresses lie in: (number of the array, mask)."""
        where = np.searchsorted(self.bases, address, side="right") - 1
        parts = []
        for k in np.unique(where):
            mine = where == k
            offset = address[mine].astype(np.int64) - (int(self.bases[k]) if k >= 0 else 0)
            if k < 0 or (offset + size > len(self.raw[k])).any():
                raise EmulationError(self._outside(int(address[mine].max()), size, text))
            parts.append((int(k), mine))
        return parts

    def _outside(self, address: int, size: int, text: str) -> str:
        def distance(a: Array) -> int:
            return max(a.address - address, address + size - a.address - a.data.nbytes)

        near = min(self.arrays, key=distance)
        side = "before" if address < near.address else "behind"
        return f"reaches {distance(near)} bytes {side} {near.name} ({near.data.nbytes} bytes): {text}"

    def access(self, op: str, address: np.ndarray, warp: np.ndarray, step: int, lanes: int, text: str,
               values: list[np.ndarray] | None) -> list[np.ndarray]:
        """Load `lanes` values of `step` bytes a thread, or store the `values`, and count."""
        size = step * lanes
        if (address % np.uint64(size)).any():
            raise EmulationError(f"address not a multiple of {size}: {text}")
        loaded = [np.empty(len(address), UINT[step]) for _ in range(lanes)] if values is None else []
        for k, mine in self.split(address, size, text):
            offset = address[mine].astype(np.int64) - self.arrays[k].address
            distinct = np.unique(warp[mine] * (1 << 40) + offset)
            moved = self.arrays[k].moved
            moved[op, size] = moved.get((op, size), 0) + size * len(distinct)
            for lane in range(lanes):
                at = offset[:, None] + (lane * step + np.arange(step))
                if values is None:
                    loaded[lane][mine] = np.ascontiguousarray(self.raw[k][at]).view(UINT[step])[:, 0]
                else:
                    self.raw[k][at] = np.ascontiguousarray(values[lane][mine])[:, None].view(np.uint8)
        return loaded


# ---- Execution -------------------------------------------------------------------------------------------

class Blocks:
    """The blocks of a cluster while they run: registers, shared memory, and where each thread is."""

    def __init__(self, kernel: Kernel, code: list[Step], params: dict[str, Any], memory: Memory,
                 where: tuple[int, int, int, int], dynamic: int) -> None:
        first, grid, block, cluster = where  # the first block's number, and the sizes
        self.kernel, self.code, self.params, self.memory = kernel, code, params, memory
        self.threads = block * cluster
        self.thread = np.arange(self.threads)
        self.rank, self.tid = np.divmod(self.thread, block)
        self.warp, self.lane = self.thread // WARP, self.tid % WARP
        self.registers: dict[str, Any] = {}
        self.special = {"%tid.x": self.tid, "%ntid.x": block, "%ctaid.x": first + self.rank,
                        "%nctaid.x": grid, "%laneid": self.lane, "%warpid": self.tid // WARP,
                        "%cluster_ctarank": self.rank, "%cluster_nctarank": cluster}
        for axis in "yz":  # grids and blocks have one
            self.special |= {f"%tid.{axis}": 0, f"%ctaid.{axis}": 0, f"%ntid.{axis}": 1, f"%nctaid.{axis}": 1}
        self.symbols: dict[str, int] = {}
        size = 0
        for name, length, align in sorted(kernel.shared, key=lambda s: s[1] == 0):  # the dynamic part last
            size = -(-size // align) * align
            self.symbols[name] = size
            size += length or dynamic
        self.shared_size = -(-size // 16) * 16
        self.shared = np.full(cluster * self.shared_size, 0xCD, np.uint8)  # not zero, as a GPU's is not

    # Operands.

    def raw(self, operand: str, width: int) -> Any:
        """An operand's bits; immediates take `width` bytes."""
        value = self.registers.get(operand)
        if value is not None:
            return value
        if operand[0] == "%" or operand in self.kernel.single:
            if operand in self.special:
                return np.asarray(self.special[operand]).astype(np.uint32)
            size = self.kernel.width(operand)
            return np.zeros(self.threads, bool if operand.startswith("%p") else UINT[size])
        if operand in self.symbols:
            return UINT[width].type(self.symbols[operand])
        if operand in ("WARP_SZ",):
            return np.uint32(WARP)
        return immediate(operand, width)

    def get(self, operand: Any, kind: str) -> Any:
        if operand[0] == "!":
            return ~self.raw(operand[1:], 1)
        return as_numbers(self.raw(operand, BYTES[kind]), kind)

    def put(self, register: Any, value: Any, kind: str, mask: Any) -> None:
        """Store numbers of a PTX type; a wider register takes them extended by their sign."""
        if register == "_":
            return
        bits = as_bits(value, kind)
        if kind != "pred":
            width = self.kernel.width(register)
            if width != bits.itemsize:
                signed = kind[0] == "s"
                bits = (bits.view(NUMPY[kind]) if signed else bits).astype(UINT[width])
        if mask is not None:
            old = self.registers.get(register)
            bits = np.where(mask, bits, bits.dtype.type(0) if old is None else old)
        self.registers[register] = bits

    def all(self, value: Any) -> np.ndarray:
        """One value a thread."""
        return np.broadcast_to(np.asarray(value), (self.threads,))

    def address(self, operand: str, width: int = 8) -> np.ndarray:
        """Of "[register+offset]"."""
        base, offset = address_parts(operand)
        at = self.all(self.raw(base, width)).astype(np.int64) + offset
        return (at & 0xFFFFFFFF if width == 4 else at).astype(np.uint64)

    def shared_index(self, address: np.ndarray, size: int) -> np.ndarray:
        """Where in `self.shared` an address is, of the own block or another; -1: nowhere, or not aligned."""
        window, at = np.divmod(address.astype(np.int64), CLUSTER_WINDOW)
        rank = np.where(window > 0, window - 1, self.rank)
        valid = (at + size <= self.shared_size) & (at % size == 0) & (rank <= self.rank[-1])
        return np.where(valid, rank * self.shared_size + at, -1)

    # The order of threads.

    def run(self) -> None:
        """From the first instruction until every thread has returned."""
        end = len(self.code)
        pc = np.zeros(self.threads, np.int64)  # of each thread
        waiting = np.zeros(self.threads, bool)  # at a barrier
        labels = set(self.kernel.labels.values())
        for _ in range(MOST_STEPS):
            ready = (pc < end) & ~waiting
            if not ready.any():
                if not waiting.any():
                    return
                self._release(pc, waiting, end)
                continue
            at = int(pc[ready].min())
            group = ready & (pc == at)
            self._advance(pc, waiting, at, group, labels)
        raise EmulationError(f"no end after {MOST_STEPS} branches")

    def _advance(self, pc: np.ndarray, waiting: np.ndarray, at: int, group: np.ndarray,
                 labels: set[int]) -> None:
        """Take a group of threads on until it parts, waits, or may meet others."""
        mask = None if group.all() else group
        start, end = at, len(self.code)
        while at < end and not (mask is not None and at != start and at in labels):
            i, does = self.code[at].instruction, self.code[at].does
            able = group if i.guard is None else self.all(self.raw(i.guard, 1) != i.negated) & group
            if does is not None:
                if able is group:
                    does(self, mask)
                elif able.any():
                    does(self, None if able.all() else able)
                at += 1
                continue
            stay = group & ~able
            if i.name[0] == "bra":
                assert isinstance(i.operands[0], str)
                to = self.kernel.labels[i.operands[0]]
                if mask is None and not stay.any() and to > at:
                    at = start = to
                    continue
                pc[able] = to
            elif i.name[0] in ("ret", "exit"):
                pc[able] = end
            else:  # a barrier; `_release` moves them on
                pc[able] = at
                waiting |= able
            pc[stay] = at + 1
            return
        pc[group] = at

    def _release(self, pc: np.ndarray, waiting: np.ndarray, end: int) -> None:
        """Nobody can go on: let those go whose barrier all threads of the block, or cluster, have reached."""
        free = np.zeros_like(waiting)
        for at in np.unique(pc[waiting]):
            here = waiting & (pc == at)
            cluster = "cluster" in self.code[at].instruction.name
            for rank in np.unique(self.rank[here]):
                needed = (pc < end) & (cluster | (self.rank == rank))
                if not (needed & ~here).any():
                    free |= needed & here
        if not free.any():
            at = int(pc[waiting].min())
            absent = int(((pc < end) & ~(waiting & (pc == at))).sum())
            text = self.code[at].instruction.text
            raise EmulationError(f"{absent} threads never reach the barrier: {text}")
        pc[free] += 1
        waiting &= ~free
