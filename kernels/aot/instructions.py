"""What each PTX instruction does to the registers of all threads at once; for `emulator.py`.

Names and meanings: NVIDIA, Parallel Thread Execution ISA. Only what compilers made of this package's kernels,
and near relatives; arithmetic is in `arithmetic.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .arithmetic import compare, compare_halves, meaning
from .ptx import BYTES, Instruction, access_bytes
from .values import (
    CLUSTER_WINDOW,
    NUMPY,
    SHARED_WINDOW,
    UINT,
    EmulationError,
    address_parts,
    as_bits,
    as_numbers,
)

if TYPE_CHECKING:
    from .emulator import Blocks

Op = Callable[["Blocks", Any], None]  # (state, mask or None for all threads)
NOTHING = ("createpolicy", "prefetch", "discard", "nanosleep", "membar", "fence")


def decode(i: Instruction) -> Op | None:
    """What the instruction does; None for control flow (branches, ends, barriers).

    Raises:
        EmulationError: it is not known here.
    """
    op = i.name[0]
    if op in ("bra", "ret", "exit", "bar") or i.name[:3] == ("barrier", "cluster", "wait"):
        return None
    if op in NOTHING or i.name[:3] == ("barrier", "cluster", "arrive"):  # the wait is the barrier
        return lambda s, mask: None
    if op in _SPECIAL:
        return _SPECIAL[op](i)
    if op == "mov" and any(isinstance(operand, tuple) for operand in i.operands):
        return _pack(i) if isinstance(i.operands[1], tuple) else _unpack(i)
    known = meaning(i.name)
    if known is None:
        raise EmulationError(f"instruction not known: {i.text}")
    function, kinds, result = known
    target, *sources = i.operands
    if len(sources) != len(kinds):
        raise EmulationError(f"{len(sources)} operands, {len(kinds)} expected: {i.text}")
    pairs = list(zip(sources, kinds, strict=True))
    return lambda s, mask: s.put(target, function(*(s.get(a, kind) for a, kind in pairs)), result, mask)


def _unpack(i: Instruction) -> Op:
    """mov {a, b}, c: the parts of a register, the lowest first."""
    kind, (parts, source) = i.name[-1], i.operands
    step = 8 * BYTES[kind] // len(parts)

    def does(s: Blocks, mask: Any) -> None:
        whole = s.get(source, kind)
        for k, part in enumerate(parts):
            s.put(part, (whole >> whole.dtype.type(step * k)).astype(NUMPY[f"b{step}"]), f"b{step}", mask)
    return does


def _pack(i: Instruction) -> Op:
    """mov c, {a, b}: a register from its parts."""
    kind, (target, parts) = i.name[-1], i.operands
    step, dtype = 8 * BYTES[kind] // len(parts), NUMPY[kind]

    def does(s: Blocks, mask: Any) -> None:
        whole = np.zeros((), dtype)
        for k, part in enumerate(parts):
            whole = whole | s.get(part, f"b{step}").astype(dtype) << dtype(step * k)
        s.put(target, whole, kind, mask)
    return does


def _setp(i: Instruction) -> Op:
    """setp.how[.and|.or|.xor].type p[|q], a, b[, c]: q is the opposite, or the upper half's result."""
    kind, how = i.name[-1], i.name[1]
    logic = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}.get(i.name[2])
    targets, a, b, *condition = i.operands
    assert isinstance(targets, str)
    first, _, second = targets.partition("|")

    def does(s: Blocks, mask: Any) -> None:
        if kind.endswith("x2"):
            results = compare_halves(how, kind.removesuffix("x2"), s.get(a, "b32"), s.get(b, "b32"))
        else:
            result = compare(how, s.get(a, kind), s.get(b, kind))
            results = [result, ~result]
        for target, result in zip((first, second), results, strict=True):
            if target:
                s.put(target, logic(result, s.get(condition[0], "pred")) if logic else result, "pred", mask)
    return does


def _cvta(i: Instruction) -> Op:
    """Between generic addresses and those of a memory of its own."""
    target, source = i.operands
    move = (SHARED_WINDOW if "shared" in i.name else 0) * (-1 if "to" in i.name else 1)
    return lambda s, mask: s.put(target, s.get(source, "s64") + move, "s64", mask)


def _mapa(i: Instruction) -> Op:
    """The address in another block of the cluster."""
    target, source, rank = i.operands

    def does(s: Blocks, mask: Any) -> None:
        at, block = (s.get(operand, "u32").astype(np.int64) for operand in (source, rank))
        s.put(target, at % CLUSTER_WINDOW + (block + 1) * CLUSTER_WINDOW, i.name[-1], mask)
    return does


# ---- Between the threads of a warp -----------------------------------------------------------------------

def _shfl(i: Instruction) -> Op:
    mode = i.name[2]
    targets, value, step, clamp, *_ = i.operands
    assert isinstance(targets, str)
    target, _, valid = targets.partition("|")

    def does(s: Blocks, mask: Any) -> None:
        step_, clamp_ = (s.all(s.get(operand, "b32")).astype(np.int64) for operand in (step, clamp))
        segment, bound = clamp_ >> 8 & 31, clamp_ & 31
        first = s.lane & segment
        last = first | (bound & ~segment)
        lane = {"bfly": s.lane ^ step_, "idx": first | (step_ & ~segment & 31), "down": s.lane + step_,
                "up": s.lane - step_}[mode]
        inside = lane >= last if mode == "up" else lane <= last
        source = s.thread - s.lane + np.where(inside, lane, s.lane)
        if mask is not None and not mask[source[mask]].all():
            raise EmulationError(f"reads a thread that is not there: {i.text}")
        s.put(target, s.all(s.get(value, "b32"))[source], "b32", mask)
        if valid:
            s.put(valid, inside, "pred", mask)
    return does


def _matrix(i: Instruction) -> Op:
    """ldmatrix, stmatrix: 8x8 matrices of 2-byte elements in shared memory.

    Eight lanes give the addresses of a matrix's rows; lane l holds elements 2 (l mod 4) and the next of row
    l / 4, or with .trans of that column.
    """
    loads = i.name[0] == "ldmatrix"
    registers, source = i.operands if loads else i.operands[::-1]
    assert isinstance(source, str)

    def does(s: Blocks, mask: Any) -> None:
        at = s.shared_index(s.address(source, 4), 16)
        if (at < 0).any() or mask is not None:
            raise EmulationError(f"outside shared memory, not aligned, or not by all threads: {i.text}")
        warp = s.thread - s.lane
        for k, register in enumerate(registers):
            row, column = (s.lane // 4)[:, None], (s.lane % 4 * 2)[:, None] + np.arange(2)
            if "trans" in i.name:
                row, column = column, row
            halves = at[warp[:, None] + 8 * k + row] + 2 * column
            index = (halves[:, :, None] + np.arange(2)).reshape(-1, 4)
            if loads:
                s.put(register, np.ascontiguousarray(s.shared[index]).view(np.uint32)[:, 0], "b32", mask)
            else:
                value = np.ascontiguousarray(s.all(s.get(register, "b32")))
                s.shared[index] = value[:, None].view(np.uint8)
    return does


# ---- Memory ----------------------------------------------------------------------------------------------

def _load(i: Instruction) -> Op:
    kind, (targets, place) = i.name[-1], i.operands[:2]
    assert isinstance(place, str)
    if "param" in i.name:
        name, offset = address_parts(place)
        if offset:
            raise EmulationError(f"instruction not known: {i.text}")
        return lambda s, mask: s.put(targets, as_numbers(s.params[name], kind), kind, mask)
    registers = targets if isinstance(targets, tuple) else (targets,)
    at = _Place(i, place, len(registers))

    def does(s: Blocks, mask: Any) -> None:
        for register, raw in zip(registers, at.load(s, mask), strict=True):
            # A wider register takes a signed number extended by its sign, any other by zeros.
            s.put(register, raw.view(NUMPY[kind]) if kind[0] == "s" else raw, at.kind, mask)
    return does


def _store(i: Instruction) -> Op:
    place, values = i.operands[:2]
    assert isinstance(place, str)
    registers = values if isinstance(values, tuple) else (values,)
    at = _Place(i, place, len(registers))
    return lambda s, mask: at.store(s, mask, [s.all(as_bits(s.get(r, at.kind), at.kind)) for r in registers])


class _Place:
    """What a load or a store says about where: its state space, address, and bytes a thread."""

    def __init__(self, i: Instruction, operand: str, lanes: int) -> None:
        if "local" in i.name or "const" in i.name:
            raise EmulationError(f"local or constant memory: {i.text}")
        self.i, self.operand, self.lanes, self.step = i, operand, lanes, BYTES[i.name[-1]]
        self.space = next((part for part in ("global", "shared") if part in i.name), "generic")
        self.kind = ("s" if i.name[-1][0] == "s" else "b") + str(8 * self.step)

    def load(self, s: Blocks, mask: Any) -> list[np.ndarray]:
        found = [np.zeros(s.threads, UINT[self.step]) for _ in range(self.lanes)]
        in_global, in_shared, address = self._split(s, mask)
        if in_global.any():
            parts = s.memory.access("ld", address[in_global], s.warp[in_global], self.step, self.lanes,
                                    self.i.text, None)
            for whole, part in zip(found, parts, strict=True):
                whole[in_global] = part
        if in_shared.any():
            for k, index in enumerate(self._shared(s, address, in_shared)):
                found[k][in_shared] = np.ascontiguousarray(s.shared[index]).view(UINT[self.step])[:, 0]
        return found

    def store(self, s: Blocks, mask: Any, values: list[np.ndarray]) -> None:
        in_global, in_shared, address = self._split(s, mask)
        if in_global.any():
            s.memory.access("st", address[in_global], s.warp[in_global], self.step, self.lanes, self.i.text,
                            [value[in_global] for value in values])
        if in_shared.any():
            for k, index in enumerate(self._shared(s, address, in_shared)):
                s.shared[index] = np.ascontiguousarray(values[k][in_shared])[:, None].view(np.uint8)

    def _split(self, s: Blocks, mask: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which threads access global memory, which shared memory, and the addresses there."""
        address = s.address(self.operand, 4 if self.space == "shared" else 8)
        active = np.ones(s.threads, bool) if mask is None else mask
        shared = np.full(s.threads, self.space == "shared")
        if self.space == "generic":
            shared = address >= SHARED_WINDOW
            address = np.where(shared, address - np.uint64(SHARED_WINDOW), address)
        return active & ~shared, active & shared, address

    def _shared(self, s: Blocks, address: np.ndarray, active: np.ndarray) -> list[np.ndarray]:
        """Indices into the shared bytes: (threads, bytes of an element) for each element."""
        at = s.shared_index(address, access_bytes(self.i))[active]
        if (at < 0).any():
            raise EmulationError(f"outside shared memory or not aligned: {self.i.text}")
        return [at[:, None] + (k * self.step + np.arange(self.step)) for k in range(self.lanes)]


_SPECIAL: dict[str, Callable[[Instruction], Op]] = {
    "ld": _load, "st": _store, "setp": _setp, "cvta": _cvta, "mapa": _mapa, "shfl": _shfl,
    "ldmatrix": _matrix, "stmatrix": _matrix,
}
