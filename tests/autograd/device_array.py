"""A stand-in for CuPy: NumPy's arrays behind CuPy's manners, for machines without a GPU.

What was seen of CuPy 14.2 is kept: an array goes through NumPy's protocols but never turns into a NumPy
array by itself; it does not mix with NumPy's arrays (numbers and indices excepted); results without axes
stay arrays; `like=` works for few functions; `np.where` takes no Python bool. Its memory is the CPU's,
which DLPack says, so that `kernels` runs on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np

LIKE = {np.asarray, np.array, np.zeros, np.empty, np.arange}
NOT_LIKE = {np.ones, np.full, np.eye, np.identity}  # NumPy hands CuPy an option that it does not know
UFUNC_METHODS = {"__call__", "at", "reduce"}


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of this library."""

    __array_priority__ = 100
    copies_to_host = 0
    device = SimpleNamespace(id=0)

    def __init__(self, array: np.ndarray) -> None:
        assert type(array) is np.ndarray
        self._array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use .get()")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method not in UFUNC_METHODS:
            return NotImplemented
        values = inputs[:1] + inputs[2:] if method == "at" else inputs
        for x in (*values, *kwargs.get("out", ())):
            if isinstance(x, np.ndarray):
                raise TypeError("Unsupported type <class 'numpy.ndarray'>")
            if not isinstance(x, DeviceArray | np.generic | int | float):
                return NotImplemented
        out = kwargs.get("out")
        result = getattr(ufunc, method)(*map(_plain, inputs), **{k: _plain(v) for k, v in kwargs.items()})
        return _device(result) if out is None else out[0]

    def __array_function__(self, func: Any, types: Iterable[type], args: Any, kwargs: Any) -> Any:
        if not all(issubclass(t, DeviceArray | np.ndarray) for t in types):
            return NotImplemented
        if func in NOT_LIKE:
            raise TypeError(f"{func.__name__}() got an unexpected keyword argument 'device'")
        if func not in LIKE:
            if any(isinstance(x, np.ndarray) for x in _leaves([*args, *kwargs.values()])):
                raise TypeError("Unsupported type <class 'numpy.ndarray'>")
            if func is np.where and not isinstance(args[0], DeviceArray):
                raise AttributeError("'bool' object has no attribute 'astype'")
        result = func(*map(_plain, args), **{k: _plain(v) for k, v in kwargs.items()})
        return result if func in (np.shape, np.ndim, np.size, np.result_type) else _device(result)

    def __dlpack__(self, **options: Any) -> Any: return self._array.__dlpack__(**options)
    def __dlpack_device__(self) -> tuple[int, int]: return self._array.__dlpack_device__()

    shape = property(lambda self: self._array.shape)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    dtype = property(lambda self: self._array.dtype)
    itemsize = property(lambda self: self._array.itemsize)
    base = property(lambda self: self._array.base)
    T = property(lambda self: DeviceArray(self._array.T))
    mT = property(lambda self: DeviceArray(self._array.mT))

    def __len__(self) -> int: return len(self._array)
    def __bool__(self) -> bool: return bool(self._array)
    def __float__(self) -> float: return float(self._array)
    def __int__(self) -> int: return int(self._array)
    def __format__(self, spec: str) -> str: return format(self._array[()], spec)
    def __getitem__(self, index: Any) -> Any: return _device(self._array[_plain(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, np.ndarray):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self._array[_plain(index)] = _plain(value)

    def get(self) -> np.ndarray:
        DeviceArray.copies_to_host += 1
        return self._array.copy()

    def item(self) -> Any: return self._array.item()
    def tolist(self) -> Any: return self._array.tolist()


def _method(name: str) -> Any:
    def method(self: DeviceArray, *args: Any, **kwargs: Any) -> Any:
        if any(isinstance(a, np.ndarray) for a in args):
            raise TypeError("Argument has incorrect type")
        return _device(getattr(self._array, name)(*map(_plain, args), **kwargs))
    return method


for _name in ("sum", "any", "all", "argmax", "argmin", "reshape", "astype", "copy", "dot", "transpose"):
    setattr(DeviceArray, _name, _method(_name))


def _plain(x: Any) -> Any:
    if isinstance(x, DeviceArray):
        return x._array
    return type(x)(map(_plain, x)) if type(x) in (list, tuple) else x


def _device(x: Any) -> Any:
    if isinstance(x, np.ndarray | np.generic):
        return DeviceArray(np.asarray(x))
    return type(x)(map(_device, x)) if type(x) in (list, tuple) else x


def _leaves(values: Iterable[Any]) -> Iterable[Any]:
    for x in values:
        if type(x) in (list, tuple):
            yield from _leaves(x)
        else:
            yield x


def asarray(x: Any) -> DeviceArray:
    """An explicit copy of a NumPy array, as cupy.asarray makes one."""
    return x if isinstance(x, DeviceArray) else DeviceArray(np.array(x))


def from_dlpack(x: Any) -> DeviceArray:
    """The same memory as an array of this library; `kernels` calls it to hand back results."""
    return DeviceArray(np.from_dlpack(x))
