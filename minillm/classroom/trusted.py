"""A worker's interface in this process, for texts that are ours: wrong versions of a solution.

Never for what a student handed in: it stops nothing.
"""

from __future__ import annotations

import builtins
import contextlib
import inspect
import itertools
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from .assignment import Assignment
from .judge import alarm, quiet
from .sandbox import Answer, testing
from .sandbox.inside import compiled, describe
from .sandbox.serve import plain

_numbers = itertools.count(1)


class TrustedWorker:
    """Loads a text that is trusted, and answers as `sandbox.Worker` does.

    Args:
        assignment: whose file it is.
        text: the file's content.
    """

    layers: tuple[str, ...] = ()
    printed = ""

    def __init__(self, assignment: Assignment, text: bytes) -> None:
        self.assignment, self.text = assignment, text
        self.alive = True
        self._folder = f"<trusted {next(_numbers)}>"
        self._module: ModuleType | Answer | None = None
        self._cache: dict[str, CodeType] = {}

    def __enter__(self) -> TrustedWorker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.alive = False

    def still(self) -> contextlib.AbstractContextManager[None]:
        """It runs only when it is asked."""
        return contextlib.nullcontext()

    def ask(self, run_source: str, inputs: Mapping[str, np.ndarray], *, seconds: float,
            reply_bytes: int = 1 << 26) -> Answer:
        """See `sandbox.Worker.ask`; time is limited where a signal can be had."""
        module = self._load()
        if isinstance(module, Answer):
            return module
        start = time.perf_counter()

        def run() -> dict[str, np.ndarray]:
            names: dict[str, Any] = {"np": np, "__name__": "run"}
            source = run_source.replace("from sandbox.", "from minillm.classroom.sandbox.")  # codec.CALL
            exec(compiled(source, self._cache), names)
            given = {name: np.array(array) for name, array in inputs.items()}
            return {name: array.copy() for name, array in plain(names["run"](module, given)).items()}

        return self._guarded(run, module, start, seconds)

    def run_tests(self, functions: Sequence[str],
                  call: Callable[[str, Mapping[str, np.ndarray]], Answer], *,
                  seconds: float, end: float = math.inf) -> dict[str, Answer]:
        """See `sandbox.Worker.run_tests`; `end` is for what is not trusted."""
        del end
        module = self._load()
        if isinstance(module, Answer):
            return {"": module}

        def ask(name: str, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
            answer = call(name, arrays)
            if answer.kind != "arrays":
                kind = getattr(builtins, answer.error, RuntimeError)
                raise kind(answer.message)
            return answer.arrays

        proxies = {name: testing.Proxy(name) for name in functions}
        for proxy in proxies.values():
            proxy.call = ask
        answers = {}
        for name in testing.names(module).split():
            test = getattr(module, name)
            given = {p: proxies[p] for p in inspect.signature(test).parameters if p in proxies}

            answer = self._guarded(partial(_run, test, given), module, time.perf_counter(), seconds)
            kind = "passed" if answer.kind == "arrays" else (
                "failed" if answer.error == "AssertionError" else answer.kind)
            answers[name] = replace(answer, kind=kind)
        return answers

    def _guarded(self, do: Any, module: ModuleType | None, start: float, seconds: float) -> Answer:
        try:
            with quiet(), alarm(seconds):
                return Answer("arrays", do(), seconds=time.perf_counter() - start)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            taken = time.perf_counter() - start
            if isinstance(error, TimeoutError) and taken >= seconds:
                self.alive = False
                return Answer("too_slow", seconds=taken)
            said = describe(error, self._folder, module)
            return Answer(said["kind"], {}, said["error"], said["message"], said["line"], taken)

    def _load(self) -> ModuleType | Answer:
        if self._module is None:
            stem = self.assignment.file.removesuffix(".py")
            module = ModuleType(stem)
            before = sys.modules.get(stem)
            sys.modules[stem] = module  # dataclasses and pickles of the text look their module up
            path = os.path.join(self._folder, self.assignment.file)

            def load() -> dict[str, np.ndarray]:
                exec(compile(self.text, path, "exec", dont_inherit=True), module.__dict__)
                return {}

            try:
                loaded = self._guarded(load, module, time.perf_counter(), self.assignment.limits.seconds)
            finally:
                if before is None:
                    del sys.modules[stem]
                else:
                    sys.modules[stem] = before
            self._module = module if loaded.kind == "arrays" else loaded
        return self._module


def _run(test: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    test(**given)
    return {}
