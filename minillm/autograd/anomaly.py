"""`detect_anomaly`: which op made a nan or an inf, and who wrote over what a graph needs.

The mode watches the engine through `state.observer`. It is slow (it looks at every value and takes
checksums) and meant for the run in which something went wrong. `frozen.py` makes arrays read-only,
`source_line.py` finds the line to name.
"""

from __future__ import annotations

import functools
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .devices import is_foreign
from .frozen import freeze
from .source_line import source_line
from .state import state
from .tensor import Op, Tensor, op_name, output, unwrap

P = ParamSpec("P")
R = TypeVar("R")


class detect_anomaly:
    """Stop at the first op that goes wrong, and say which line of the program it was.

    A context manager and a decorator: `with detect_anomaly(): ...` or `@detect_anomaly()`. It holds
    for the current thread and may be nested. While it is active:

    - An op whose result holds a nan raises, and so does one whose result holds an inf that no input
      held (elementwise ops: at that place). So log(0) raises at the log, but a mask of -inf passes
      through. The gradients of `backward` and `grad` are watched in the same way.
    - The inputs and outputs of recorded ops are read-only, together with the arrays whose memory
      they share, until `backward` has passed through the op, or its graph is gone, or the mode
      ends: a write such as `x.data[0] = 1` raises NumPy's own ValueError where it happens. Views
      that were taken before can still be written through; `backward` finds this out by checksums.
      A view that you take yourself while its memory is read-only stays read-only. Arrays on a GPU
      are neither made read-only nor checksummed.

    NumPy's own warnings about overflow, division by zero and invalid values are silent meanwhile.

    Raises:
        FloatingPointError: a result or a gradient is not finite. One line with the op, the first
            place and its value, the inputs' names, and the source line.
        RuntimeError: an op's input or output was changed between the op and its backward.

    Example:
        >>> with detect_anomaly():
        ...     np.log(Tensor([1.0, 0.0], name="p"))
        FloatingPointError: log gave -inf at [1] of its result of shape (2,): log(0.0); input 'p';
        at train.py:7
    """

    def __init__(self) -> None:
        self._entered: list[tuple[Any, Any]] = []

    def __enter__(self) -> None:
        before = state.observer
        quiet = np.errstate(over="ignore", divide="ignore", invalid="ignore")
        self._entered.append((before, quiet))
        quiet.__enter__()
        # An inner block goes on with the outer one's records.
        state.observer = before if isinstance(before, Watch) else Watch()

    def __exit__(self, *exc: Any) -> None:
        before, quiet = self._entered.pop()
        watch, state.observer = state.observer, before
        if watch is not before:
            watch.close()
        quiet.__exit__(*exc)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def watched(*args: P.args, **kwargs: P.kwargs) -> R:
            with type(self)():  # a fresh one for every call: they may nest, or run in threads
                return function(*args, **kwargs)
        return watched


class Watch:
    """The observer behind `detect_anomaly`: one per outermost block."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self.incoming: Any = None  # the gradient of the node that backward is at

    def after(self, out: Tensor, op: Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An op was computed: look at its result, and protect what its backward needs."""
        out.where, in_backward = source_line()
        # While a gradient is being recorded its rules may pass through infs that a `where` drops;
        # `after_backward` looks at what comes out.
        if not in_backward:
            _check_result(out, op, args, kwargs)
        if out.op is None:
            return
        node = out
        if out.op is output:  # backward comes to the join, not to its outputs
            node = out.args[0]
            node.where = out.where
        key = id(node)
        record = self.records.get(key)
        if record is None:
            # The callback gets the dead reference, which is just what pop wants as its default.
            alive = weakref.ref(node, functools.partial(self.records.pop, key))
            record = self.records[key] = Record(alive, node)
        if not is_foreign(out.data):
            record.frozen.append(freeze(out.data, made_now=True))

    def before_backward(self, t: Tensor, g: Any) -> None:
        """Backward is about to use t and its inputs: for the last time, as a rule."""
        self.incoming = g
        record = self.records.get(id(t))
        if record is not None:
            record.verify(t)
            record.frozen.clear()

    def after_backward(self, t: Tensor, i: int, d: Any) -> None:
        """d is the share of t's i-th argument in the gradient."""
        d = unwrap(d)
        if d.dtype.kind != "f" or np.isfinite(d).all():
            return
        known = [*_arrays_in([t.data, *t.args]), *_arrays_in(_as_list(self.incoming))]
        bad = np.isnan(d)
        if not bad.any():
            if any(np.isinf(a).any() for a in known):
                return
            bad = np.isinf(d)
        passed_on = any(np.isnan(a).any() for a in _arrays_in(_as_list(self.incoming)))
        name = op_name(t.op) if t.op is not None else "?"
        raise FloatingPointError(
            f"backward of {name} gave {_first(d, bad)} of the gradient of {_argument(t, i)} (there "
            f"{unwrap(t.args[i])[_place(bad)]}), of shape {d.shape}"
            + "; the gradient it was given held a nan already" * passed_on
            + f"; {name} was recorded {_at(t)}")

    def close(self) -> None:
        """Release every array."""
        self.records.clear()


class Record:
    """What one node's backward needs: frozen until it has been used, and a checksum for ever."""

    __slots__ = ("alive", "arguments", "frozen", "result")

    def __init__(self, alive: weakref.ref[Tensor], node: Tensor) -> None:
        self.alive = alive
        self.arguments = [_checksums(a) for a in node.args]
        self.result = _checksums(node)
        self.frozen = [freeze(array) for array in _arrays_in(node.args) if not is_foreign(array)]

    def verify(self, t: Tensor) -> None:
        """Raise if a value is not what it was when t was computed."""
        changed = [_argument(t, i) for i, (a, before) in enumerate(zip(t.args, self.arguments))
                   if _checksums(a) != before]
        if _checksums(t) != self.result:
            changed.append("the result")
        if changed:
            name = op_name(t.op) if t.op is not None else "?"
            raise RuntimeError(f"{changed[0]} of {name} was changed in place after {name} was "
                               f"recorded {_at(t)}: its gradient needs the old values")


def _as_list(a: Any) -> list[Any]:
    return a if isinstance(a, list) else [a]


def _arrays_in(values: Iterable[Any]) -> Iterator[np.ndarray]:
    """The arrays among an op's arguments, also those inside an index such as `x[rows, columns]`."""
    for a in values:
        if isinstance(a, tuple):
            yield from _arrays_in(a)
        elif isinstance(a := unwrap(a), np.ndarray) or is_foreign(a):
            yield a


def _checksums(a: Any) -> list[Any]:
    return [(x.shape, zlib.crc32(np.ascontiguousarray(x).data)) for x in _arrays_in([a]) if not is_foreign(x)]


# ---- what is not finite ------------------------------------------------------------------------

def _check_result(out: Tensor, op: Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    y = out.data
    if y.dtype.kind != "f" or np.isfinite(y).all():
        return
    bad = np.isnan(y)
    if not bad.any():
        bad = _new_infs(y, op, args, kwargs)
        if not bad.any():
            return
    given = [unwrap(a) for a in args]
    note = ""
    if _is_elementwise(op):
        values = [np.broadcast_to(a, y.shape)[_place(bad)] for a in given]
        note = f": {op_name(op)}({', '.join(str(v) for v in values)})"
    elif np.isnan(y).any() and (from_ := [i for i, a in enumerate(given) if _has(np.isnan, a)]):
        note = f": argument {from_[0]} held a nan already"
    names = [repr(a.name) for a in args if isinstance(a, Tensor) and a.name]
    inputs = f"; input{'s' * (len(names) > 1)} {', '.join(names)}" if names else ""
    raise FloatingPointError(f"{op_name(op)} gave {_first(y, bad)} of its result of shape {y.shape}"
                             f"{note}{inputs}; {_at(out)}")


def _new_infs(y: np.ndarray, op: Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> np.ndarray:
    """Where y is inf by this op's doing: no input was (for elementwise ops: at that place)."""
    given = [unwrap(a) for a in (*args, *kwargs.values())]
    if _is_elementwise(op):
        held: Any = np.False_
        for a in given:
            held = held | np.isinf(a)
    else:
        held = np.bool_(any(_has(np.isinf, a) for a in given))
    return np.isinf(y) & ~held


def _is_elementwise(op: Op) -> bool:
    return isinstance(op, np.ufunc) and op.signature is None


def _has(test: Callable[[Any], Any], a: Any) -> bool:
    return (isinstance(a, float | np.floating | np.ndarray) or is_foreign(a)) and bool(np.any(test(a)))


def _place(bad: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))


def _first(x: np.ndarray, bad: np.ndarray) -> str:
    at = f" at [{', '.join(map(str, _place(bad)))}]" if x.ndim else ""
    return f"{x[_place(bad)]}{at}"


def _argument(t: Tensor, i: int) -> str:
    name = getattr(t.args[i], "name", None)
    return f"argument {i}" + (f" {name!r}" if name else "")


def _at(t: Tensor) -> str:
    return f"at {t.where}" if t.where else "before detect_anomaly was on"
