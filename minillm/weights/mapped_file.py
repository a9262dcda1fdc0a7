"""What both readers need: a file mapped into memory, a tensor's place in it, names for messages."""

import difflib
import itertools
import math
import mmap
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minillm.errors import UserError

_SHOWN = 60  # characters of a name from a file that a message repeats


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies in its file, and as what.

    `type`: the format's own name, such as "F32", "BF16" or "Q4_K". `shape`: in NumPy's order, the
    last axis contiguous. `offset` and `n_bytes`: its bytes, counted from the start of the file.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    n_bytes: int

    @property
    def n_elements(self) -> int:
        """The product of `shape`; 1 for a scalar."""
        return math.prod(self.shape)


def map_file(path: str | os.PathLike[str], kind: str) -> mmap.mmap:
    """The file's bytes, read-only, mapped: a page is read when it is first used.

    The map outlives the file's name, but not its length: a process that uses it dies if another
    one cuts the file short (POSIX: SIGBUS). Replace weight files by renaming, never in place.

    Raises UserError, naming the path, for what cannot be read; `kind` is what should be there.
    """
    shown = repr(str(path))
    try:
        # O_NONBLOCK: opening a pipe would otherwise wait for somebody to write
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{shown} is not a file: name a {kind} file")
            if status.st_size == 0:
                raise UserError(f"{shown} is empty: name a {kind} file")
            return mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise UserError(f"there is no file {shown}: check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {shown} ({reason}): name a {kind} file that you can read") from None


def shown(name: str | bytes) -> str:
    """A name from a file, quoted, on one line, and not longer than a line bears."""
    return repr(name) if len(name) <= _SHOWN else f"{name[:_SHOWN]!r}..."


def check_apart(tensors: Iterable[TensorInfo], path: str) -> None:
    """Raise UserError if any two tensors of one file share a byte."""
    end, before = 0, ""
    # an empty tensor may stand where another one begins, so it is looked at first
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.n_bytes)):
        if tensor.offset < end:
            raise UserError(
                f"{path} is damaged: tensor {shown(tensor.name)} at byte {tensor.offset} overlaps"
                f" {shown(before)}, which ends at byte {end}"
            )
        end, before = tensor.offset + tensor.n_bytes, tensor.name


def find(tensors: Mapping[str, TensorInfo], name: str, path: str) -> TensorInfo:
    """tensors[name], or a UserError that suggests what may have been meant."""
    if name in tensors:
        return tensors[name]
    close = difflib.get_close_matches(name, itertools.islice(tensors, 10_000), n=3)
    hint = f"close are {', '.join(map(shown, close))}" if close else "see .tensors for its names"
    raise UserError(f"{path} has no tensor {shown(name)} among its {len(tensors)}: {hint}")


def float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """`dtype` as NumPy's. Raises TypeError unless it is a floating type."""
    result = np.dtype(dtype)
    if result.kind != "f":
        raise TypeError(f"dtype is {result}: give a floating type, or None to keep the stored one")
    return result


def bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16 as float32, exactly: it is the upper half of one. NumPy has no type for it."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def display(path: str | os.PathLike[str]) -> str:
    """The path as messages show it."""
    return repr(str(Path(path)))
