"""`Tensor`: a NumPy array that remembers how it was computed.

A Tensor follows NumPy's own protocols (NEP 13 `__array_ufunc__`, NEP 18 `__array_function__`), so a
formula that is written with `np.` runs unchanged on arrays and on Tensors; on Tensors it is also
recorded. The record is the graph itself: each result keeps the function, the arguments and the
keyword options that made it. `walk.py` goes back over it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from .devices import as_array, device_of, is_foreign, to_host
from .invariant import version_of
from .state import state

Op = Callable[..., Any]


class Tensor:
    """An n-dimensional array with a derivative.

    Args:
        data: anything that `np.asarray` takes; the dtype is kept (float32 stays float32). An array
            is not copied, and one of CuPy's stays on its GPU, as does all that is computed from it.
        requires_grad: whether `backward` shall compute d(output)/d(this). Floats only.
        name: shown by `draw_graph` and in error messages.

    Attributes:
        data: the array, `np.ndarray` or CuPy's.
        grad: array of data's kind, shape and dtype, or None; `backward` adds to it.

    Raises:
        TypeError: data is not numeric, or an integer or boolean Tensor would require a gradient.
    """

    __slots__ = ("data", "grad", "requires_grad", "name",  # what users see
                 "op", "args", "kwargs", "saved", "where", "__weakref__")  # how it was computed

    data: np.ndarray
    grad: np.ndarray | None
    requires_grad: bool
    name: str | None
    op: Op | None  # the function that made it; None for a leaf
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    saved: Any  # what a fused op keeps for its backward
    where: str | None  # the source line that made it, in debug mode only

    # Binary operators between an ndarray and a Tensor go to __array_ufunc__, not to object arrays.
    __array_priority__ = 1000

    def __init__(self, data: Any, requires_grad: bool = False, name: str | None = None) -> None:
        array: Any = data.data if isinstance(data, Tensor) else data
        if type(array) is not np.ndarray:
            array = as_array(array)
        if array.dtype.kind not in "fiub":
            raise TypeError(
                f"Tensor needs real numbers, not dtype {array.dtype}"
                + (" (to join Tensors use np.stack or np.concatenate)" * (array.dtype == object)))
        if requires_grad and array.dtype.kind != "f":
            raise TypeError(
                f"requires_grad=True needs a float dtype, not {array.dtype}: derivatives of "
                "integers do not exist; write x.astype(np.float32)")
        self.data = array
        self.grad = None
        self.requires_grad = requires_grad
        self.name = name
        self.op = None
        self.args = ()
        self.kwargs = {}
        self.saved = None
        self.where = None

    # ---- NumPy's protocols ---------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        return dispatch.call_ufunc(ufunc, method, args, kwargs)

    def __array_function__(self, func: Op, types: Any, args: Any, kwargs: Any) -> Any:
        return dispatch.call_function(func, args, kwargs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad:
            raise TypeError("turning a Tensor that requires a gradient into an array would lose the "
                            "gradient: write x.data (shared memory) or x.detach()")
        return np.array(self.data, dtype=dtype, copy=copy)

    # ---- operators -----------------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor: return apply(np.add, (self, other))
    def __radd__(self, other: Any) -> Tensor: return apply(np.add, (other, self))
    def __sub__(self, other: Any) -> Tensor: return apply(np.subtract, (self, other))
    def __rsub__(self, other: Any) -> Tensor: return apply(np.subtract, (other, self))
    def __mul__(self, other: Any) -> Tensor: return apply(np.multiply, (self, other))
    def __rmul__(self, other: Any) -> Tensor: return apply(np.multiply, (other, self))
    def __truediv__(self, other: Any) -> Tensor: return apply(np.divide, (self, other))
    def __rtruediv__(self, other: Any) -> Tensor: return apply(np.divide, (other, self))
    def __pow__(self, other: Any) -> Tensor: return apply(np.power, (self, other))
    def __rpow__(self, other: Any) -> Tensor: return apply(np.power, (other, self))
    def __matmul__(self, other: Any) -> Tensor: return apply(np.matmul, (self, other))
    def __rmatmul__(self, other: Any) -> Tensor: return apply(np.matmul, (other, self))
    def __neg__(self) -> Tensor: return apply(np.negative, (self,))
    def __pos__(self) -> Tensor: return self
    def __abs__(self) -> Tensor: return apply(np.absolute, (self,))

    # Comparisons have no derivative: they give plain boolean arrays, ready for np.where.
    def __lt__(self, other: Any) -> Any: return self.data < unwrap(other)
    def __le__(self, other: Any) -> Any: return self.data <= unwrap(other)
    def __gt__(self, other: Any) -> Any: return self.data > unwrap(other)
    def __ge__(self, other: Any) -> Any: return self.data >= unwrap(other)
    def __eq__(self, other: Any) -> Any: return self.data == unwrap(other)
    def __ne__(self, other: Any) -> Any: return self.data != unwrap(other)
    __hash__ = object.__hash__

    def __getitem__(self, index: Any) -> Tensor:
        return apply(operator.getitem, (self, unwrap_index(index)))

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError("a Tensor cannot be written into, since a graph may need its old values: "
                        "write np.where(mask, value, x), or x.data[...] = value outside any graph")

    def __len__(self) -> int: return len(self.data)
    def __iter__(self) -> Iterator[Tensor]: return (self[i] for i in range(len(self.data)))
    def __bool__(self) -> bool: return bool(self.data)
    def __float__(self) -> float: return float(self.data)
    def __int__(self) -> int: return int(self.data)
    def __index__(self) -> int: return operator.index(self.data)

    # ---- the methods of an ndarray that formulas use -------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]: return self.data.shape
    @property
    def dtype(self) -> np.dtype: return self.data.dtype
    @property
    def ndim(self) -> int: return self.data.ndim
    @property
    def size(self) -> int: return self.data.size
    @property
    def T(self) -> Tensor: return apply(np.transpose, (self,))
    @property
    def mT(self) -> Tensor: return apply(np.swapaxes, (self, -1, -2))

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return apply(np.sum, (self,), {"axis": axis, "keepdims": keepdims})

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return apply(np.mean, (self,), {"axis": axis, "keepdims": keepdims})

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        return apply(np.var, (self,), {"axis": axis, "ddof": ddof, "keepdims": keepdims})

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return apply(np.max, (self,), {"axis": axis, "keepdims": keepdims})

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return apply(np.min, (self,), {"axis": axis, "keepdims": keepdims})

    def prod(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return apply(np.prod, (self,), {"axis": axis, "keepdims": keepdims})

    def cumsum(self, axis: int | None = None) -> Tensor:
        return apply(np.cumsum, (self,), {"axis": axis})

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        return apply(np.clip, (self, min, max))

    def reshape(self, *shape: Any) -> Tensor:
        return apply(np.reshape, (self, shape[0] if len(shape) == 1 else shape))

    def ravel(self) -> Tensor: return apply(np.reshape, (self, -1))

    def transpose(self, *axes: Any) -> Tensor:
        order = axes[0] if len(axes) == 1 else axes
        return apply(np.transpose, (self, order)) if axes else apply(np.transpose, (self,))

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        return apply(np.swapaxes, (self, axis1, axis2))

    def squeeze(self, axis: Any = None) -> Tensor:
        return apply(np.squeeze, (self,), {"axis": axis})

    def astype(self, dtype: Any) -> Tensor:
        """The same values in another dtype; the gradient returns in this Tensor's own dtype.

        Integers and booleans have no derivative: to them, the result is cut off from the graph.
        """
        from .rules.shapes import cast
        return cast(self, dtype) if np.dtype(dtype).kind == "f" else Tensor(self.data.astype(dtype))

    def argmax(self, axis: int | None = None) -> Any: return self.data.argmax(axis)
    def argmin(self, axis: int | None = None) -> Any: return self.data.argmin(axis)

    # ---- gradients -----------------------------------------------------------------------------

    def backward(self, gradient: Any = None) -> None:
        """Add d(self)/d(leaf) to `leaf.grad` of every leaf that requires a gradient.

        Args:
            gradient: d(something)/d(self), of self's shape; left out for a scalar, where it is 1.

        Raises:
            ValueError: self is no scalar and `gradient` is missing, or its shape is not self's.
            TypeError: self does not require a gradient.
        """
        walk.backward(self, gradient)

    def detach(self) -> Tensor:
        """The same data (shared memory), cut off from the graph."""
        return Tensor(self.data)

    def to(self, device: str) -> Tensor:
        """The same values on another device, on the tape: the gradient comes back to this Tensor's own.

        Args:
            device: "cpu", "cuda" or "cuda:1". A GPU needs CuPy.

        Raises:
            ValueError, ImportError, RuntimeError: no such device, no CuPy, no GPU.
        """
        from .rules.shapes import to_device
        return to_device(self, device)

    @property
    def device(self) -> str:
        """Where the data is: "cpu", "cuda:0", ..."""
        return device_of(self.data)

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array: shared memory on the CPU, a copy from a GPU."""
        return to_host(self.data)

    def item(self) -> float: return self.data.item()
    def tolist(self) -> Any: return self.data.tolist()

    # ---- printing ------------------------------------------------------------------------------

    def __repr__(self) -> str:
        body = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=60)
        notes = [] if self.dtype == np.float64 else [f"dtype={self.dtype}"]
        if is_foreign(self.data):
            notes.append(f"device={self.device!r}")
        if self.size > 60 or (self.size == 0 and self.ndim > 1):
            notes.append(f"shape={self.shape}")
        if self.op is not None:
            notes.append(f"op={op_name(self.op)}")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        if self.name:
            notes.append(f"name={self.name!r}")
        return f"Tensor({', '.join([body, *notes])})"

    def _repr_svg_(self) -> str | None:
        from .draw import notebook_svg
        return notebook_svg(self)


def op_name(op: Op) -> str:
    """The name that a reader knows an op by: `matmul`, `softmax_cross_entropy`, ..."""
    return getattr(op, "__name__", None) or type(op).__name__


def unwrap(x: Any) -> Any:
    """The array of a Tensor; anything else unchanged."""
    return x.data if isinstance(x, Tensor) else x


def unwrap_index(index: Any) -> Any:
    if type(index) is tuple:
        return tuple(unwrap(i) for i in index)
    if type(index) is not list:
        return unwrap(index)
    array = np.asarray(index)
    return array if array.size else array.astype(np.intp)  # [] would be an array of floats


_NO_OPTIONS: dict[str, Any] = {}


def apply(op: Op, args: tuple[Any, ...], kwargs: dict[str, Any] = _NO_OPTIONS) -> Tensor:
    """Compute `op(*args, **kwargs)` on the arrays behind the Tensors and record it on the result.

    `op` is a NumPy function (or one of ours) that has a row in `RULES`. Tensors are looked for among
    `args` themselves, not inside lists.
    """
    arrays = []
    requires_grad = False
    for a in args:
        if type(a) is Tensor:
            arrays.append(a.data)
            if a.requires_grad:
                requires_grad = True
        else:
            arrays.append(a)
    unusual = state.unusual
    try:
        value = (version_of(op, arrays) if unusual and state.invariant else op)(*arrays, **kwargs)
    except ValueError as error:
        raise _shape_error(op, arrays, error) from None
    out = Tensor.__new__(Tensor)
    if type(value) is np.ndarray:  # the common case first: small ops live on this
        out.data = value
    else:
        out.data = np.asarray(value) if isinstance(value, np.generic) else as_array(value)
    out.grad = out.name = out.saved = out.where = None
    if requires_grad and state.recording:
        out.requires_grad = True
        out.op = op
        out.args = args
        out.kwargs = kwargs
    else:  # a constant: nothing will go back through it, so its inputs may be freed
        out.requires_grad = False
        out.op = None
        out.args = ()
        out.kwargs = _NO_OPTIONS
    if unusual and state.observer is not None:
        state.observer.after(out, op, args, kwargs)
    return out


def apply_fused(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute a fused op (see `fused/op.py`) and record it; return a Tensor, or a tuple of them.

    An op with several outputs is recorded once, on a hidden join whose children the outputs are, so
    that its backward runs once, when the gradients of all its outputs are known.
    """
    arrays = []
    save = False
    for a in args:
        if type(a) is Tensor:
            arrays.append(a.data)
            save = save or a.requires_grad
        else:
            arrays.append(a)
    if type(arrays[0]) is not np.ndarray and not op.anywhere and is_foreign(arrays[0]):
        # Buffers and caches are for a CPU: elsewhere the formula itself is recorded, op by op.
        value = op.composite(*args, **kwargs)
        return tuple(map(_tensor, value)) if type(value) is tuple else _tensor(value)
    save = save and state.recording
    unusual = state.unusual
    forward = op.invariant if unusual and state.invariant else op.forward
    value, saved = forward(*arrays, save=save, **kwargs)
    made: Any
    if type(value) is not tuple:
        made = Tensor.__new__(Tensor)
        made.data = value if type(value) is np.ndarray else as_array(value)
        made.grad = made.name = made.where = None
        made.requires_grad = save
        made.saved = saved
        made.op, made.args, made.kwargs = (op, args, kwargs) if save else (None, (), _NO_OPTIONS)
        if unusual and state.observer is not None:
            state.observer.after(made, op, args, kwargs)
        return made
    join = _made_by(op, args, kwargs, value[0], save, saved)
    made = tuple(_made_by(output, (join,), {"index": i, "count": len(value)}, v, save)
                 for i, v in enumerate(value))
    if unusual and state.observer is not None:
        for one in made:
            state.observer.after(one, op, args, kwargs)
    return made


def _tensor(x: Any) -> Tensor:
    return x if type(x) is Tensor else Tensor(x)


def _shape_error(op: Op, arrays: list[Any], error: ValueError) -> ValueError:
    """NumPy's message, with the op and the shapes that it was given, in one line."""
    shapes = " and ".join(str(a.shape) for a in arrays if hasattr(a, "shape"))
    return ValueError(f"{op_name(op)} of shapes {shapes}: {' '.join(str(error).split())}")


def output(*_: Any, **__: Any) -> NoReturn:
    """The op of an output of a fused op with several; `walk.py` knows it by identity."""
    raise TypeError("`output` marks a place in the graph and is never called")


def _made_by(op: Op, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any, record: bool,
             saved: Any = None) -> Tensor:
    out = Tensor(value)
    if record:
        out.requires_grad = True
        out.op, out.args, out.kwargs, out.saved = op, args, kwargs, saved
    return out


# These two know Tensor and Tensor knows them; by now it is complete.
from . import dispatch, walk  # noqa: E402
