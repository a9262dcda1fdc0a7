"""A sandboxed worker, as the grader handles it."""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minillm.classroom.assignment import Limits

from . import codec, frames, kernel, testing
from .frames import Frame
from .launch import Process, Stopped
from .layers import START, chosen, setup
from .view import SandboxError

# What could move the cursor of a terminal, or turn text around.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

# What a worker may say of itself; "crashed", "too_slow" and the like are seen from outside.
TOLD = ("exception", "not_written", "ended", "memory", "missing", "syntax", "failed")
NAME = 100  # characters of a test's name
TESTS_TOGETHER = 8  # wall clock of all of a file's tests with their calls, in units of a single test's


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        kind: "arrays", or one of report.KINDS: why there are none.
        arrays: plain NumPy arrays, with kind "arrays".
        error, message: an exception's type and text, shortened.
        line: the student's line at fault, or None.
        seconds: wall clock, measured by the grader.
    """

    kind: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    error: str = ""
    message: str = ""
    line: int | None = None
    seconds: float = 0.0


Call = Callable[[str, Mapping[str, np.ndarray]], Answer]


class Worker:
    """A process that runs a student's file; a context manager.

    Args:
        files: what was handed in: plain file name -> content.
        module: name of the file to load, such as "adam.py".
        limits: what it may use.
        imports: modules that are imported before the door is shut, beside NumPy.
        provide: trusted modules of ours that it may import, such as "kernels" or "minillm.formulas".
        layers: names of the layers to use, of those that work here; None for all.
        under_test: (module, functions) that the file, if it holds tests, can import to test; see `run_tests`.

    Raises:
        SandboxError: no worker can be started safely here.
    """

    def __init__(self, files: Mapping[str, bytes], module: str, *, limits: Limits | None = None,
                 imports: Sequence[str] = (), provide: Sequence[str] = (),
                 layers: Collection[str] | None = None,
                 under_test: tuple[str, Sequence[str]] = ("", ())) -> None:
        self.files, self.module, self.limits = dict(files), module, limits or Limits()
        self.imports, self.provide = tuple(imports), tuple(provide)
        for name in self.files:
            if "/" in name or "\0" in name or name in ("", ".", ".."):
                raise SandboxError(f"{name!r} is not a plain file name")
        self._layers, self._under_test = chosen(layers), under_test
        self._printed = bytearray()  # by processes that have ended
        self._process: Process | None = None
        self._loaded: Answer | None = None  # why the file could not be loaded
        self._ready = False

    def __enter__(self) -> Worker:
        told = setup(self.module, self.imports, self.provide, self._layers, memory_mb=self.limits.memory_mb,
                     cpu_seconds=60 + math.ceil(60 * self.limits.seconds), processes=self.limits.processes,
                     under_test=self._under_test[0], functions=self._under_test[1])
        if sys.platform == "linux" and os.geteuid() and not {"mounts", "landlock"} & set(self._layers):
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # nobody, even of this account, reads the grader's memory
        watch = self.limits.memory_mb << 20 if "watch" in self._layers else 0
        self._process = Process(self.files, told, keep=1024 * self.limits.output_kb, watch=watch)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._process.close()

    @property
    def printed(self) -> str:
        """The beginning of what it printed, to stdout and stderr together."""
        now = b"" if self._process is None else bytes(self._process.printed)
        kept = (bytes(self._printed) + now)[:1024 * self.limits.output_kb].decode("utf-8", "replace")
        return readable(kept.replace("\r\n", "\n"))

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process is not None and self._process.dead is None

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """It does not run meanwhile: whatever else is timed has the machine for itself."""
        if self._process is not None:
            self._process.still(True)
        try:
            yield
        finally:
            if self._process is not None:
                self._process.still(False)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers around it."""
        return self._layers

    def ask(self, run_source: str, inputs: Mapping[str, np.ndarray], *, seconds: float,
            reply_bytes: int = 1 << 26) -> Answer:
        """Run one case; never raises for what the student's code does.

        Args:
            run_source: source of a function run(student, inputs).
            inputs: numeric arrays.
            seconds: wall clock; a worker that takes longer is killed.
            reply_bytes: bytes that the results may have, together.
        """
        if failed := self._load():
            return failed
        meta: frames.Meta = {"source": run_source, "bytes": reply_bytes}
        request = Frame(frames.RUN, _number(), _plain(inputs), meta)
        start = time.monotonic()
        try:
            reply = self._exchange(request, start + seconds, reply_bytes + frames.OVERHEAD)
        except Stopped as stopped:
            return _died(stopped, time.monotonic() - start)
        return _answer(reply, time.monotonic() - start)

    def _exchange(self, request: Frame, deadline: float, limit: int) -> Frame:
        assert self._process is not None
        reply = self._process.exchange(request, deadline, limit)
        kinds = {frames.ARRAYS, frames.ERROR} | ({frames.CALL} if request.kind != frames.RUN else set())
        if reply.request != request.request or reply.kind not in kinds:
            raise self._process.stop(Stopped("forged", "an answer to another question"))
        if reply.kind == frames.ERROR and (reply.arrays or reply.meta.get("kind") not in TOLD):
            raise self._process.stop(Stopped("forged", "an answer of no known kind"))
        return reply

    def _load(self) -> Answer | None:
        """Wait until the file is loaded; why it cannot be."""
        if self._process is None:
            raise RuntimeError("a Worker is a context manager: with Worker(...) as worker")
        if self.module not in self.files:
            return Answer("missing", message=self.module)
        if self._ready or self._loaded is not None:
            return self._loaded
        start = time.monotonic()
        try:
            ready = self._process.exchange(None, start + START, frames.OVERHEAD)
        except Stopped:
            raise SandboxError(f"a worker did not start: {self.printed.strip()[-300:]}") from None
        if ready.meta:
            layer, why = next(iter(ready.meta.items()))
            self._process.stop(Stopped("ended"))
            raise SandboxError(f"a worker could not be shut in: {layer}: {why}")
        start = time.monotonic()
        try:
            loaded = self._process.exchange(None, start + self.limits.seconds, frames.OVERHEAD)
        except Stopped as stopped:
            self._loaded = _died(stopped, time.monotonic() - start)
            return self._loaded
        if loaded.kind == frames.LOADED:
            self._ready = True
            return None
        self._loaded = Answer("forged", message="it spoke before it was asked")
        if loaded.kind == frames.ERROR:
            self._loaded = _answer(loaded, time.monotonic() - start)
        self._process.stop(Stopped(self._loaded.kind, self._loaded.message))
        return self._loaded

    def run_tests(self, functions: Sequence[str], call: Call, *, seconds: float, end: float = math.inf,
                  most_calls: int = 2000, reply_bytes: int = 1 << 24) -> dict[str, Answer]:
        """Run the tests of a student's file: its functions test_*, one after another.

        A test gets the functions under test from the module that `under_test` names, or as arguments of their
        names. They are proxies: each call comes here as arrays, `call` has it answered, in another worker
        (see `calls_to`), and the arrays go back. Arrays that the call changed in place are changed for the
        test too. So tests see behaviour and nothing else. Take a new Worker for every version under test:
        what one version has taught a process, it must not know when it meets the next.

        Args:
            functions: names of the functions under test.
            call: call(name, arrays) -> Answer; `calls_to` makes one.
            seconds: wall clock of a test, without the time that `call` takes. All tests with all calls have
                `TESTS_TOGETHER` times as much.
            end: time.monotonic() after which no test is run any more.
            most_calls: calls that a test may make.
            reply_bytes: bytes of the arguments of a call.

        Returns:
            {test: Answer}, whose kind is "passed", "failed" (an assertion), or one of report.KINDS; where the
            file could not be loaded, {"": why}. After the second test that ends its worker, and when the time
            is up, the rest is "not_run".
        """
        if failed := self._load():
            return {"": failed}
        try:
            reply = self._exchange(Frame(frames.TEST, _number()), time.monotonic() + seconds, frames.OVERHEAD)
        except Stopped as stopped:
            return {"": _died(stopped, 0.0)}
        found: dict[str, Answer] = {}
        ended, left = 0, min(TESTS_TOGETHER * seconds, end - time.monotonic())
        for name in _test_names(str(reply.meta.get("names", ""))):
            if ended < 2 and left > 0 and not self.alive:
                self._again()
            if ended == 2 or left <= 0 or self._load() is not None:
                found[name] = Answer("not_run")
                continue
            found[name] = self._run_test(name, functions, call, min(seconds, left), most_calls, reply_bytes)
            left -= found[name].seconds
            ended += not self.alive
        return found

    def _run_test(self, name: str, functions: Sequence[str], call: Call, seconds: float, most_calls: int,
                  reply_bytes: int) -> Answer:
        number = _number()
        request = Frame(frames.TEST, number, meta={"test": name, "functions": " ".join(functions)})
        left, start = seconds, time.monotonic()
        try:
            for _ in range(most_calls + 1):
                begun = time.monotonic()
                reply = self._exchange(request, begun + left, reply_bytes + frames.OVERHEAD)
                left -= time.monotonic() - begun
                if reply.kind != frames.CALL:
                    answer = _answer(reply, time.monotonic() - start)
                    return replace(answer, kind="passed", arrays={}) if answer.kind == "arrays" else answer
                asked = str(reply.meta.get("function", ""))
                given = Answer("exception", error="AttributeError", message=f"{asked[:50]} is not under test")
                if asked in functions:
                    given = call(asked, reply.arrays)
                meta: frames.Meta = {}
                if given.kind != "arrays":
                    meta = {"error": given.error or "RuntimeError", "message": given.message or given.kind}
                request = Frame(frames.RETURN, number, given.arrays, meta)
            assert self._process is not None
            raise self._process.stop(Stopped("too_slow", f"more than {most_calls} calls"))
        except Stopped as stopped:
            return _died(stopped, time.monotonic() - start)

    def _again(self) -> None:
        """Start a new process in place of one that has ended."""
        assert self._process is not None
        self._process.close()
        self._printed += self._process.printed
        self._ready, self._loaded = False, None
        self.__enter__()


def _test_names(said: str) -> list[str]:
    """The names that a worker says its tests have: whatever is no name of a test is left out."""
    found = (n for n in said.split() if n.startswith("test_") and n.isidentifier() and len(n) <= NAME)
    return list(dict.fromkeys(found))[:testing.MOST]


def calls_to(worker: Worker, *, seconds: float, reply_bytes: int = 1 << 24) -> Call:
    """`call` for `Worker.run_tests`: has calls answered by `worker`, which holds the functions under test.

    Args:
        seconds: wall clock of a call.
        reply_bytes: bytes of what a call gives back.
    """
    def call(name: str, arrays: Mapping[str, np.ndarray]) -> Answer:
        asked = {**arrays, codec.FUNCTION: np.frombuffer(name.encode(), np.uint8)}
        answer = worker.ask(codec.CALL, asked, seconds=seconds, reply_bytes=reply_bytes)
        if answer.kind == "too_slow":
            return replace(answer, error="TimeoutError", message=f"{name} takes too long")
        return answer

    return call


def _plain(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The grader's own inputs, little-endian and in C order."""
    plain = {}
    for name, value in arrays.items():
        array = np.asarray(value)
        plain[name] = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
    return plain


def _died(stopped: Stopped, seconds: float) -> Answer:
    return Answer(stopped.kind, message=str(stopped), seconds=seconds)


def _answer(reply: Frame, seconds: float) -> Answer:
    """A reply of the student's process, of which nothing is taken on trust."""
    if reply.kind == frames.ARRAYS:
        return Answer("arrays", reply.arrays, seconds=seconds)
    meta = reply.meta
    kind, line = meta.get("kind"), meta.get("line")
    if kind not in TOLD or reply.arrays:
        return Answer("forged", message="an answer of no known kind", seconds=seconds)
    error, message = (readable(str(meta.get(key, ""))[:500]) for key in ("error", "message"))
    line = line if type(line) is int and 0 < line < 10**7 else None
    return Answer(str(kind), {}, error, message, line, seconds)


def _number() -> int:
    """A request's number, which nobody can answer before it is asked."""
    return secrets.randbits(63)


def readable(text: str) -> str:
    """A student's text without what could move a terminal's cursor or cannot be written as UTF-8."""
    text = text.encode("utf-8", "replace").decode()
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
