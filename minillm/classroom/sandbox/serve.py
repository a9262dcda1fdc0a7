"""What the worker does with each request: run a case, or the student's tests."""

from __future__ import annotations

import contextlib
import random
import sys
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from . import frames, inside, testing
from .frames import Frame


def seed() -> None:
    """Seed the generators that all share, so that two gradings agree where a student has not seeded them."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002


def serve(setup: dict[str, Any], requests: int, replies: int) -> None:
    """Load the student's file, then answer until the grader closes its end."""
    folder = setup["folder"]
    sys.argv = [setup["module"]]
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    proxies = testing.under_test(setup["under_test"], setup["functions"]) if setup["under_test"] else {}
    loaded = inside.load(folder, setup["module"])
    if not isinstance(loaded, ModuleType):
        _reply(replies, Frame(frames.ERROR, 0, meta=loaded))
        return
    _reply(replies, Frame(frames.LOADED))
    cache: dict[str, CodeType] = {}

    def talk(frame: Frame) -> Frame | None:
        _reply(replies, frame)
        return frames.read_frame(requests)

    while (request := frames.read_frame(requests)) is not None:
        if request.kind == frames.RUN:
            _reply(replies, run(request, loaded, folder, cache))
        elif request.kind == frames.TEST:
            _reply(replies, testing.run_one(request, loaded, folder, proxies, talk))


def run(request: Frame, student: ModuleType, folder: str, cache: dict[str, CodeType]) -> Frame:
    """One case: `run(student, inputs)`, its result as plain arrays."""
    arrays: dict[str, np.ndarray] = {}
    most = int(request.meta["bytes"] or 0)

    def do() -> None:
        names: dict[str, Any] = {"np": np, "__name__": "run"}
        exec(inside.compiled(str(request.meta["source"]), cache), names)
        arrays.update(plain(names["run"](student, request.arrays)))

    error = inside.guarded(do, folder, student)
    if error is None and sum(a.nbytes for a in arrays.values()) > most:
        error = {"kind": "exception", "error": "ValueError",
                 "message": f"the results have {sum(a.nbytes for a in arrays.values())} bytes; "
                            f"at most {most} are taken"}
    if error is None:
        try:
            return Frame(frames.ARRAYS, request.request, arrays)
        except Exception as failure:
            error = inside.describe(failure, folder)
    return Frame(frames.ERROR, request.request, meta=error)


def plain(results: Any) -> dict[str, np.ndarray]:
    """Whatever was returned, as plain little-endian arrays of numbers.

    Raises:
        TypeError: something is not numbers.
    """
    arrays = {}
    for name, value in results.items():
        try:
            array = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise TypeError(f"{name} is no array: {error}") from None
        if array.dtype.kind not in "biufc":
            raise TypeError(f"{name} is {_a(value)}, which is not numbers but of dtype {array.dtype}")
        wide = {"f": 8, "c": 16}.get(array.dtype.kind)
        kind = f"{array.dtype.kind}{min(array.dtype.itemsize, wide or 8)}"
        arrays[str(name)] = np.array(array, dtype="<" + kind, order="C", subok=False)
    return arrays


def _a(value: Any) -> str:
    if value is None:
        return "None"
    return f"a {type(value).__name__}"


def _reply(replies: int, frame: Frame) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    try:
        frames.write_frame(replies, frame)
    except (ValueError, TypeError, AttributeError) as error:  # it is not numbers, whatever it pretends to be
        frames.write_frame(replies, Frame(frames.ERROR, frame.request, meta={
            "kind": "exception", "error": "ValueError", "message": str(error)[:200]}))
