"""PTX as data: a kernel's parameters, registers, shared memory and instructions, and ptxas's report on it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

# Bytes of the element types; b, u, s and f with the same number of bits are equally wide.
BYTES = {"pred": 1, "b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "bf16": 2, "b32": 4,
         "u32": 4, "s32": 4, "f32": 4, "f16x2": 4, "bf16x2": 4, "b64": 8, "u64": 8, "s64": 8, "f64": 8}


class Instruction(NamedTuple):
    """One instruction.

    Attributes:
        name: its dotted parts: ("ld", "global", "v4", "b32").
        operands: registers, numbers, "[address+4]", or tuples of registers for "{a, b}".
        guard: the predicate register it depends on, or None.
        negated: whether it runs where the guard is false.
        text: as written, for messages.
    """

    name: tuple[str, ...]
    operands: tuple[str | tuple[str, ...], ...]
    guard: str | None
    negated: bool
    text: str


@dataclass
class Kernel:
    """One `.entry`.

    Attributes:
        name: of the kernel.
        params: (name, type) in order.
        widths: bytes of each register, by the name before its number: {"%r": 4}.
        single: registers declared by their full name (inline assembly).
        shared: (name, bytes, alignment) of static shared memory; 0 bytes: the dynamic part.
        code: the instructions.
        labels: index of the instruction after each label.
    """

    name: str
    params: list[tuple[str, str]] = field(default_factory=list)
    widths: dict[str, int] = field(default_factory=dict)
    single: dict[str, int] = field(default_factory=dict)
    shared: list[tuple[str, int, int]] = field(default_factory=list)
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def width(self, register: str) -> int:
        """Bytes of a register; a predicate has 1.

        Raises:
            KeyError: it is declared nowhere.
        """
        known = self.single.get(register)
        return self.widths[register.rstrip("0123456789")] if known is None else known


_ENTRY = re.compile(r"\.entry\s+([\w$.]+)\s*\((.*?)\)(.*?)\{", re.S)
_PARAM = re.compile(r"\.param\s+\.(\w+)(?:\s+\.ptr)?(?:\s+\.\w+)*?(?:\s+\.align\s+\d+)?\s+([\w$]+)")
_SHARED = re.compile(r"\.shared\s+\.align\s+(\d+)\s+\.b8\s+([\w$.]+)\[(\d*)\]")
_GUARD = re.compile(r"@(!?)(%?[\w$]+)\s+")


def parse(text: str) -> list[Kernel]:
    """The kernels of a PTX file.

    Raises:
        ValueError: a declaration that is not understood.
    """
    text = re.sub(r"/\*.*?\*/", " ", re.sub(r"//[^\n]*", "", text), flags=re.S)
    shared = [(name, int(size or 0), int(align)) for align, name, size in _SHARED.findall(text)]
    kernels = []
    for entry in _ENTRY.finditer(text):
        kernel = Kernel(entry[1], [(name, kind) for kind, name in _PARAM.findall(entry[2])], shared=shared)
        _body(kernel, _matching(text, entry.end()))
        kernels.append(kernel)
    return kernels


def _matching(text: str, start: int) -> str:
    """From `start`, just inside a brace, to the brace that closes it."""
    depth = 1
    for brace in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return text[start:brace.start()]
    raise ValueError("PTX ends inside a kernel")


def _body(kernel: Kernel, body: str) -> None:
    # Braces around a group of statements (inline assembly) are dropped, those of {a, b} stay.
    body = re.sub(r"(^|[;{}:])\s*\{(?=\s*(?:\.reg|\w|@))(?![^;{}]*\})", r"\1 ", body)
    for statement in re.split(r";", body):
        statement = statement.strip()
        while statement:
            label = re.match(r"([$\w.]+):(?!:)\s*", statement)
            if label:
                kernel.labels[label[1]] = len(kernel.code)
                statement = statement[label.end():]
            elif statement[0] in "{}":  # a group's end, or an inner group's begin
                statement = statement[1:].strip()
            elif statement.startswith((".loc", ".pragma", ".file")):
                rest = statement.split("\n", 1)
                statement = rest[1].strip() if len(rest) > 1 and rest[0].startswith(".loc") else ""
            else:
                break
        if statement.startswith(".reg"):
            _registers(kernel, statement)
        elif statement.startswith("."):
            if not statement.startswith(".shared"):
                raise ValueError(f"PTX declaration not understood: {statement.split(chr(10))[0]}")
        elif statement:
            kernel.code.append(_instruction(statement))


def _registers(kernel: Kernel, statement: str) -> None:
    kind, names = statement.removeprefix(".reg").strip().split(None, 1)
    for name in names.split(","):
        family, many, _ = name.strip().partition("<")
        (kernel.widths if many else kernel.single)[family] = BYTES[kind.removeprefix(".")]


def _instruction(text: str) -> Instruction:
    text = " ".join(text.split())
    guard = _GUARD.match(text)
    opcode, _, rest = text[guard.end() if guard else 0:].partition(" ")
    operands: list[str | tuple[str, ...]] = []
    for group, single in re.findall(r"\{([^}]*)\}|(\[[^\]]*\]|[^,\s{}\[\]]+)", rest):
        parts = tuple(part.strip() for part in group.split(","))
        operands.append(parts if group else single.replace(" ", ""))
    name = tuple(part for part in re.split(r"\.|(?<=\w)::", opcode))
    return Instruction(name, tuple(operands), guard[2] if guard else None, bool(guard and guard[1]), text)


# ---- What a kernel's text says without running it ------------------------------------------------------

class Widths(NamedTuple):
    """Numbers of instructions that access global memory: 16 bytes a thread, and fewer."""

    wide_loads: int
    wide_stores: int
    narrow_loads: int
    narrow_stores: int


def access_bytes(instruction: Instruction) -> int:
    """Bytes that one thread's load or store moves."""
    lanes = next((int(part[1:]) for part in instruction.name if part in ("v2", "v4", "v8")), 1)
    return lanes * BYTES[instruction.name[-1]]


def global_widths(kernel: Kernel) -> Widths:
    """How many loads and stores of global memory the kernel's text has, by width."""
    count = {(op, wide): 0 for op in ("ld", "st") for wide in (True, False)}
    for instruction in kernel.code:
        if instruction.name[0] in ("ld", "st") and "global" in instruction.name:
            count[instruction.name[0], access_bytes(instruction) >= 16] += 1
    return Widths(count["ld", True], count["st", True], count["ld", False], count["st", False])


class Resources(NamedTuple):
    """What ptxas gave a kernel, per thread; `shared` is static, per block.

    Attributes:
        registers: 32-bit registers.
        spills: bytes of spill stores and loads together; stack: bytes of local memory, spilled to or not.
        shared: bytes.
    """

    registers: int
    spills: int
    stack: int
    shared: int


def resources(log: str, kernel: str) -> Resources:
    """Reads `ptxas -v`.

    Raises:
        ValueError: it says nothing about the kernel.
    """
    parts = re.split(r"Compiling entry function '", log)
    text = next((part for part in parts[1:] if part.startswith(kernel + "'")), None)
    used = re.search(r"Used (\d+) registers", text or "")
    if text is None or used is None:
        raise ValueError(f"ptxas said nothing about kernel {kernel}: {log.strip()[:80]!r}")
    spilled = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", text)
    stack, stores, loads = map(int, spilled.groups()) if spilled else (0, 0, 0)
    shared = re.search(r"(\d+) bytes smem", text)
    return Resources(int(used[1]), stores + loads, stack, int(shared[1]) if shared else 0)
