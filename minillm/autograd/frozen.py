"""Arrays that are read-only for as long as somebody needs their values, with the memory they share."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np

_guard = threading.RLock()  # a garbage collection may release arrays in the middle of `freeze`


class Frozen:
    """Keeps an array read-only while it lives; all who need the array share one (see `freeze`)."""

    __slots__ = ("__weakref__", "array", "base", "restorable", "thaws")

    array: np.ndarray
    base: Frozen | None
    restorable: bool
    thaws: bool

    def __init__(self, array: np.ndarray, made_now: bool) -> None:
        base = array.base
        self.array = array
        self.base = freeze(base) if isinstance(base, np.ndarray) else None
        writeable = array.flags.writeable
        if made_now and not writeable and self.base is not None and self.base.thaws:
            # A view that an op took of a frozen array: without us it would be writeable, unless it
            # is one of NumPy's stretched views, which never are.
            writeable = all(step or n < 2 for step, n in zip(array.strides, array.shape))
        # Memory that belongs to another library might not be given back by NumPy: leave it alone.
        self.restorable = self.base.restorable if self.base is not None else _is_own(base)
        self.thaws = writeable and self.restorable
        if self.thaws:
            array.flags.writeable = False

    def __del__(self) -> None:
        if not self.thaws:
            return
        with _guard:
            try:
                self.array.flags.writeable = True
            except ValueError:  # its owner is still frozen for others, and must be open meanwhile
                owner = self.array
                while isinstance(owner.base, np.ndarray):
                    owner = owner.base
                owner.flags.writeable = True
                self.array.flags.writeable = True
                owner.flags.writeable = False


_frozen: weakref.WeakValueDictionary[int, Frozen] = weakref.WeakValueDictionary()


def freeze(array: np.ndarray, made_now: bool = False) -> Frozen:
    """Make an array, and the arrays whose memory it shares, read-only while the result is kept."""
    with _guard:
        found = _frozen.get(id(array))
        if found is None:
            found = _frozen[id(array)] = Frozen(array, made_now)
        return found


def _is_own(base: Any) -> bool:
    if base is None:
        return True
    try:
        return not memoryview(base).readonly
    except TypeError:
        return False
