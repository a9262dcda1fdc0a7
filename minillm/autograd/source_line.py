"""The line of the user's program that the engine is at work for."""

from __future__ import annotations

import functools
import os
import sys

from .walk import backward_pass

_ENGINE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_PACKAGE = os.path.dirname(os.path.dirname(_ENGINE)) + os.sep


def source_line() -> tuple[str, bool]:
    """The line outside minillm that we are called from, and whether `backward` runs in between.

    `train.py:7`, or `train.py:7 (through minillm/nn/linear.py:40)` where a layer or a formula of
    ours stands between the line and the op.
    """
    frame = sys._getframe(1)
    through, in_backward = "", False
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PACKAGE):
            if frame.f_code is backward_pass.__code__:
                in_backward = True
            elif not through and not file.startswith(_ENGINE):
                through = f"{_short(file)}:{frame.f_lineno}"
        else:
            break
        frame = frame.f_back
    line = f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}"
    return (f"{line} (through {through})" if through else line), in_backward


@functools.cache
def _short(file: str) -> str:
    """A path as one reads it: seen from the package, or from the working directory."""
    if file.startswith(_PACKAGE):
        return os.path.relpath(file, os.path.dirname(_PACKAGE.rstrip(os.sep)))
    try:
        here = os.getcwd() + os.sep
    except OSError:
        return file
    return file.removeprefix(here)
