"""In the worker that holds a student's tests: proxies for the functions under test, and a test at a time."""

from __future__ import annotations

import builtins
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from . import codec, frames
from .frames import Frame
from .inside import describe

MOST = 500  # tests of a file


class Proxy:
    """Stands for a function that runs elsewhere: only inside a test is there somebody to call it."""

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name
        self.call: Callable[[str, dict[str, np.ndarray]], Mapping[str, np.ndarray]] | None = None

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if self.call is None:
            raise RuntimeError(f"{self.__name__} can only be called inside a test")
        result, *after = codec.unpack(self.call(self.__name__, codec.pack((self.__name__, args, keywords))))
        codec.write_back([args, keywords], after)
        return result


def under_test(module: str, functions: Sequence[str]) -> dict[str, Proxy]:
    """Make a module of proxies that the student's tests can import."""
    made = ModuleType(module)
    proxies = {name: Proxy(name) for name in functions}
    made.__dict__.update(proxies, __all__=list(functions))
    sys.modules[module] = made
    return proxies


def names(student: ModuleType) -> str:
    """Names of the tests, in the order of the file."""
    found = [n for n, f in vars(student).items() if n.startswith("test_") and inspect.isfunction(f)]
    return " ".join(found[:MOST])


def run_one(request: Frame, student: ModuleType, folder: str, proxies: dict[str, Proxy],
            talk: Callable[[Frame], Frame | None]) -> Frame:
    """Run a test; its calls go through `talk` to the grader.

    Args:
        request: its meta has "test", or nothing to be told the names.
        proxies: of the functions under test.
        talk: sends a frame and waits for the one that answers it.
    """
    number = request.request
    if "test" not in request.meta:
        return Frame(frames.ARRAYS, number, meta={"names": names(student)})

    def call(name: str, arrays: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        back = talk(Frame(frames.CALL, number, arrays, {"function": name}))
        if back is None:
            raise SystemExit
        if back.meta:
            raise _exception(str(back.meta["error"]), str(back.meta["message"]))
        return back.arrays

    proxies = {name: Proxy(name) for name in str(request.meta["functions"]).split()} | proxies
    for proxy in proxies.values():
        proxy.call = call
    try:
        test = getattr(student, str(request.meta["test"]))
        wanted = inspect.signature(test).parameters
        result = test(**{name: proxies[name] for name in wanted if name in proxies})
        if inspect.isgenerator(result) or inspect.iscoroutine(result):
            raise TypeError("a test with yield or async does not run: write it with a plain def")
    except BaseException as error:
        try:
            meta = describe(error, folder)
            if isinstance(error, AssertionError):
                meta["kind"] = "failed"
        except BaseException:
            meta = {"kind": "exception", "error": "Exception", "message": "an exception that cannot be shown"}
        return Frame(frames.ERROR, number, meta=meta)
    finally:
        for proxy in proxies.values():
            proxy.call = None
    return Frame(frames.ARRAYS, number)


def _exception(name: str, message: str) -> Exception:
    """What the function raised elsewhere: one of Python's own exceptions, or a RuntimeError."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:
            pass  # such as UnicodeDecodeError
    return RuntimeError(f"{name}: {message}")
