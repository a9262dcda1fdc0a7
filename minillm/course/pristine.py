"""What a learner's code may change in the process that checks it, put back before the result is judged."""

from __future__ import annotations

import builtins
import contextlib
import math
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

_OURS = ("numpy", "minillm")  # whose functions the reference, the cases and the judge call


class Pristine:
    """The state of NumPy, minillm, math and the built-ins, as it is when this is made.

    `np.isclose = ...`, `optim.Adam.step = ...` or `np.seterr(all="raise")` in a learner's file are the
    learner's right; but what compares the result must not call them. What is put back are the names of
    modules and of their Python classes, and NumPy's ways of printing and of warning.
    """

    def __init__(self) -> None:
        modules = [m for name, m in list(sys.modules.items()) if name.partition(".")[0] in _OURS]
        self._modules = [(m, dict(vars(m))) for m in (builtins, math, *modules)]
        classes = {value for m in modules for value in list(vars(m).values())
                   if isinstance(value, type) and value.__module__.partition(".")[0] in _OURS}
        self._classes = [(c, dict(vars(c))) for c in classes]
        self._errors, self._printing = np.geterr(), np.get_printoptions()

    def put_back(self) -> None:
        """Put all of it back. A submodule that was imported since stays."""
        for module, names in self._modules:
            now = vars(module)
            for name in [n for n, v in now.items() if n not in names and not isinstance(v, ModuleType)]:
                del now[name]
            now.update(names)
        for kind, names in self._classes:
            for name in set(vars(kind)) - set(names):
                _change(delattr, kind, name)
            for name, value in names.items():
                if vars(kind).get(name) is not value:
                    _change(setattr, kind, name, value)
        np.seterr(**self._errors)
        np.set_printoptions(**self._printing)


def _change(how: Callable[..., None], *args: Any) -> None:
    """Change a class, unless it is one that cannot be, and so was not."""
    with contextlib.suppress(TypeError, AttributeError):
        how(*args)
