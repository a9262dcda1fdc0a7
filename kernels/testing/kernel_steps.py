"""A Triton kernel in the interpreter, line by line and program by program: what each line loads, which
addresses and masks, what its variables hold, the running maximum and sum among them.

Triton's interpreter runs a kernel as Python, so Python itself tells of each line (`sys.settrace`), and the
interpreter's builder of each load and store.
"""

from __future__ import annotations

import ast
import ctypes
import functools
import linecache
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from kernels import guards
from kernels.arrays import View

LIMIT = 20_000  # lines that a recording may have
# What Triton calls the atomic operations that have several kinds, by their short names.
OPERATIONS = {"fadd": "add", "umax": "max", "umin": "min", "xchg": "exchange"}


@dataclass
class Access:
    """A load, a store, or an atomic operation.

    Attributes:
        kind: "load", "store" or "atomic".
        array: name of the kernel's argument, or "" for an address in none of them.
        offsets: in elements from the argument's first (bytes, where there is none); shape of the block.
        mask: which of them are really touched, or None for all.
        values: what was loaded or stored, or given to the atomic operation; float32 for bfloat16.
        operation: of an atomic, what it does: "add", "max", "exchange", "cas" and so on.
        before: of an atomic, what each element held before its turn; 0 where it is not touched.
        after: of an atomic, what each element holds after all of them.
    """

    kind: str
    array: str
    offsets: np.ndarray
    mask: np.ndarray | None
    values: np.ndarray
    operation: str = ""
    before: np.ndarray | None = None
    after: np.ndarray | None = None

    @property
    def touched(self) -> np.ndarray:
        """The offsets that are really touched, in order: (n,)."""
        mask = np.broadcast_to(True if self.mask is None else self.mask, self.offsets.shape)
        return self.offsets[mask]


class Line(NamedTuple):
    """A place in the source: a statement, which may stand on several lines, or the head of a block."""

    file: str
    function: str
    line: int
    end_line: int


@dataclass
class KernelStep:
    """One line of one program; a statement of several lines is one step.

    Attributes:
        index: its place in `KernelRecording.steps`.
        launch: index of the launch in `KernelRecording.launches`.
        program: index along the grid.
        function: the kernel, or the function under `@triton.jit` that it called.
        file, line: where.
        depth: 0 in the kernel itself.
        bound: the variables that the line changed, with their new values; a pointer as (array, offsets).
        accesses: what the line loaded and stored, those of functions that it called left out.
        places: where we are, from the kernel's line inwards; the last is the line itself.
    """

    index: int
    launch: int
    program: int
    function: str
    file: str
    line: int
    depth: int
    bound: dict[str, Any] = field(default_factory=dict)
    accesses: list[Access] = field(default_factory=list)
    places: tuple[Line, ...] = ()

    @property
    def text(self) -> str:
        """The line as it is in the file, without its margin; of a longer statement, its lines as one."""
        end = self.places[-1].end_line if self.places else self.line
        return " ".join(linecache.getline(self.file, n).strip() for n in range(self.line, end + 1))


@dataclass
class KernelLaunch:
    """One kernel on one grid.

    Attributes:
        kernel: its name.
        arrays: name of an argument -> where it is in memory.
    """

    kernel: str
    arrays: dict[str, View]


@dataclass
class KernelRecording:
    """What kernels did while they were recorded: launch by launch, program by program, line by line.

    `minillm.stepper.KernelSteps(recording)` shows it: in a notebook, as a page, in the terminal.
    """

    launches: list[KernelLaunch] = field(default_factory=list)
    steps: list[KernelStep] = field(default_factory=list)

    def of(self, kernel: str, program: int | None = None) -> list[KernelStep]:
        """The lines of a kernel and of what it calls; of one program, or of all."""
        return [step for step in self.steps if self.launches[step.launch].kernel == kernel
                and program in (None, step.program)]

    def history(self, kernel: str, variable: str, program: int = 0) -> list[Any]:
        """The values that a variable of a kernel took, one after the other: of a running maximum, say."""
        return [step.bound[variable] for step in self.of(kernel, program)
                if step.function == kernel and variable in step.bound]


def trace_kernel(kernel: Any, grid: int, /, *args: Any, **more: Any) -> KernelRecording:
    """Run a kernel in Triton's interpreter, and record it; arguments as for `run_triton`.

    Returns:
        The recording; the arrays hold what the kernel wrote.

    Raises:
        ValueError: there are more than 20,000 lines.
        RuntimeError: the arrays are on a GPU, where nobody sees a kernel's lines.
        What `run_triton` raises.
    """
    from .triton_runner import run_triton

    with _recording() as found:
        run_triton(kernel, grid, *args, **more)
    if not found.launches:
        raise RuntimeError("the kernel ran on a GPU: give it arrays on the CPU to step through it")
    return found


@contextmanager
def recording_kernels() -> Iterator[KernelRecording]:
    """Record every kernel that `run_triton` or an op with backend="triton" runs inside, in this thread, on
    arrays on the CPU. `kernel[grid](...)`, Triton's own launch, is not seen.

        with recording_kernels() as r:
            kernels.softmax_cross_entropy(logits, labels, backend="triton")

    Raises:
        RuntimeError: no kernel was recorded.
    """
    with _recording() as found:
        yield found
    if not found.launches:
        raise RuntimeError("no kernel was recorded: run it with kernels.testing.run_triton(kernel, grid, "
                           "...), not kernel[grid](...), on arrays on the CPU")


@contextmanager
def _recording() -> Iterator[KernelRecording]:
    from kernels.triton import interpreter

    recorder = _Recorder()
    before, interpreter.watch = interpreter.watch, recorder
    try:
        yield recorder.recording
    finally:
        interpreter.watch = before


class _Recorder:
    """Called by `interpreter.run` around each launch."""

    def __init__(self) -> None:
        self.recording = KernelRecording()
        self._open: list[KernelStep] = []  # the lines that are being run, from the kernel inwards
        self._thread = threading.get_ident()

    @contextmanager
    def __call__(self, kernel: Any, args: dict[str, Any]) -> Iterator[None]:
        import triton
        from triton.runtime.interpreter import InterpretedFunction, interpreter_builder

        if threading.get_ident() != self._thread:
            yield
            return
        self._rewritten = InterpretedFunction.rewritten_fn
        self._builder = interpreter_builder
        self._library = os.path.dirname(os.path.abspath(triton.__file__)) + os.sep
        arrays = {name: v for name, v in args.items() if isinstance(v, View)}
        # Adam finds its arrays in a table of addresses: the guards know what the caller calls them.
        self.recording.launches.append(KernelLaunch(kernel.fn.__name__, {**arrays, **guards.standing}))
        self._open.clear()
        before, hooks = sys.gettrace(), self._hooks(interpreter_builder)
        for name, hook in hooks.items():
            setattr(interpreter_builder, name, hook)
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)
            for name in hooks:
                delattr(interpreter_builder, name)

    # ---- lines -----------------------------------------------------------------------------------------

    def _called(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any] | None:
        """A function begins. Only those under `@triton.jit` are followed, and of them not Triton's own."""
        code = frame.f_code
        if code.co_filename.startswith(self._library) or not self._is_jitted(code):
            return None
        depth = len(self._open)
        known: dict[str, Any] = dict(frame.f_locals)
        current: list[KernelStep] = []

        def line(frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
            if event == "line" and current and self._goes_on(current[0], frame):
                return line
            if current:
                self._close(current.pop(), frame, known)
            if event == "line":
                current.append(self._begin(frame, depth))
            return line

        return line

    def _is_jitted(self, code: CodeType) -> bool:
        return any(getattr(f, "__code__", None) is code for f in self._rewritten.values())

    def _goes_on(self, step: KernelStep, frame: FrameType) -> bool:
        """Python goes back and forth among the lines of one statement: that is one step."""
        first, last = extent(step.file, step.line)
        return last > first and extent(step.file, frame.f_lineno) == (first, last)

    def _begin(self, frame: FrameType, depth: int) -> KernelStep:
        steps = self.recording.steps
        if len(steps) >= LIMIT:
            raise ValueError(f"more than {LIMIT:,} lines: trace fewer programs, or smaller arrays")
        code = frame.f_code
        first, last = extent(code.co_filename, frame.f_lineno)
        here = Line(code.co_filename, code.co_name, first, last)
        callers = tuple(caller.places[-1] for caller in self._open)
        step = KernelStep(len(steps), len(self.recording.launches) - 1, int(self._builder.grid_idx[0]),
                          code.co_name, code.co_filename, first, depth, places=(*callers, here))
        steps.append(step)
        self._open.append(step)
        return step

    def _close(self, step: KernelStep, frame: FrameType, known: dict[str, Any]) -> None:
        for name, value in frame.f_locals.items():
            if name not in known or known[name] is not value:
                known[name] = value
                shown = self._shown(value)
                if shown is not None:
                    step.bound[name] = shown
        self._open.pop()

    def _shown(self, value: Any) -> Any:
        """The numbers of a variable; None for what has none (a type, a function)."""
        value = getattr(value, "value", value)  # a constexpr
        if isinstance(value, bool | int | float):
            return value
        if isinstance(value, tuple):
            parts = [self._shown(v) for v in value]
            return None if any(p is None for p in parts) else tuple(parts)
        handle = getattr(value, "handle", None)
        if handle is None:
            return None
        if _is_pointer(handle):
            return self._located(handle)[:2]
        data = _numbers(handle)
        return data.item() if data.size == 1 and not value.shape else data

    # ---- memory ----------------------------------------------------------------------------------------

    def _hooks(self, builder: Any) -> dict[str, Callable[..., Any]]:
        load, store = builder.create_masked_load, builder.create_masked_store

        def masked_load(ptrs: Any, mask: Any, *rest: Any) -> Any:
            made = load(ptrs, mask, *rest)
            self._accessed("load", ptrs, mask, made)
            return made

        def masked_store(ptrs: Any, value: Any, mask: Any, *rest: Any) -> Any:
            made = store(ptrs, value, mask, *rest)
            self._accessed("store", ptrs, mask, value)
            return made

        rmw, cas = builder.create_atomic_rmw, builder.create_atomic_cas

        def atomic_rmw(operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
            made = rmw(operation, pointers, value, mask, *rest)
            name = str(getattr(operation, "name", operation)).lower()
            self._accessed("atomic", pointers, mask, value, OPERATIONS.get(name, name), made)
            return made

        def atomic_cas(pointers: Any, compared: Any, value: Any, *rest: Any) -> Any:
            made = cas(pointers, compared, value, *rest)
            self._accessed("atomic", pointers, None, value, "cas", made)
            return made

        # plain loads and stores come through the masked ones
        return {"create_masked_load": masked_load, "create_masked_store": masked_store,
                "create_atomic_rmw": atomic_rmw, "create_atomic_cas": atomic_cas}

    def _accessed(self, kind: str, pointers: Any, mask: Any, values: Any, operation: str = "",
                  before: Any = None) -> None:
        if not self._open:
            return
        seen = None if mask is None else np.broadcast_to(mask.data.astype(bool), pointers.data.shape).copy()
        if seen is not None and seen.all():
            seen = None
        array, offsets = self._located(pointers, seen)
        numbers = np.broadcast_to(_numbers(values), offsets.shape).copy()
        access = Access(kind, array, offsets, seen, numbers, operation)
        if before is not None:
            found = np.broadcast_to(_numbers(before), offsets.shape)
            access.before = found.copy() if seen is None else np.where(seen, found, found.dtype.type(0))
            access.after = _held(before, pointers.data, seen)
        self._open[-1].accesses.append(access)

    def _located(self, pointers: Any, seen: np.ndarray | None = None) -> tuple[str, np.ndarray]:
        """The argument that pointers go into, and their offsets: in elements, or the addresses themselves.

        What is touched decides (`seen`), else the first: a block may reach beyond its array, into another.
        """
        addresses = pointers.data.astype(np.int64)
        touched = addresses[seen] if seen is not None and seen.any() else addresses.reshape(-1)[:1]
        for name, view in self.recording.launches[-1].arrays.items():
            if (touched >= view.address).all() and (touched < view.address + max(view.nbytes, 1)).all():
                return name, (addresses - view.address) // view.itemsize
        return "", addresses


def extent(file: str, line: int) -> tuple[int, int]:
    """First and last line of the statement that a line belongs to; of an `if` or a loop, of its head."""
    return _extents(file).get(line, (line, line))


@functools.lru_cache(maxsize=64)
def _extents(file: str) -> dict[int, tuple[int, int]]:
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return {}
    found: dict[int, tuple[int, int]] = {}
    for node in ast.walk(tree):  # what is inside comes later
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
            found |= dict.fromkeys(range(node.lineno, last + 1), (node.lineno, last))
    return found


def _held(like: Any, addresses: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    """What memory holds at addresses, as numbers like those of a handle; 0 where it is not touched."""
    found = np.zeros(addresses.shape, like.data.dtype)
    for at in np.ndindex(addresses.shape):
        if seen is None or seen[at]:
            there = ctypes.string_at(int(addresses[at]), found.dtype.itemsize)
            found[at] = np.frombuffer(there, found.dtype)[0]
    return _numbers(SimpleNamespace(data=found, dtype=like.dtype))


def _is_pointer(handle: Any) -> bool:
    kind = handle.dtype
    return bool(getattr(kind, "is_ptr", lambda: False)() or getattr(kind.scalar, "is_ptr", lambda: False)())


def _numbers(handle: Any) -> np.ndarray:
    """The values of a handle; bfloat16, which NumPy has not, as float32."""
    data: np.ndarray = handle.data
    if str(handle.dtype.scalar) == "bf16" and data.dtype == np.uint16:
        return (data.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return data.copy()
