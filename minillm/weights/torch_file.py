"""PyTorch's `.pt` and `.pth` files, read without unpickling and without torch.

`torch.save` writes a zip archive (torch/serialization.py): NAME/data.pkl, a pickle of the mapping, and
NAME/data/KEY, the bytes of each storage, not compressed. `torch_pickle.py` reads the pickle.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minillm.errors import UserError
from minillm.weights.mapped_file import TensorInfo, bfloat16, display, find, float_dtype, map_file, shown
from minillm.weights.torch_pickle import STORED, Tensor, value_of

_DEPTH = 100  # mappings inside mappings
_LONGEST = 500  # characters of a tensor's name: long keys with many entries would multiply


class TorchFile:
    """The tensors of a file of `torch.save`, mapped: nothing but names and places is read at first.

    path: written by torch 1.6 or later: a state dict, or a mapping that has some in it, as training
        loops write ({"model": {...}, "epoch": 3}). What is no tensor, or lies in a list, is left out.

    tensors: name -> TensorInfo; those of a mapping inside are named "model.weight".

    Opening takes memory in proportion to the pickle's length, a tensor at most its storage's.

    Raises UserError, in one line: a file that is missing, damaged or no such file; one that holds
    anything but plain data and dense tensors, such as a whole module (save its state_dict() instead), or
    an expanded tensor (save its contiguous()); and one that asks for a function to be called, which is
    not done.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._shown = display(path)
        self._data = map_file(path, "torch.save")
        if self._data[:4] != b"PK\x03\x04":
            raise UserError(f"{self._shown} is no zip archive, as torch.save writes them since 1.6: load it"
                            " with torch and save it again")
        try:
            with zipfile.ZipFile(path) as archive:
                entries = {info.filename: info for info in archive.infolist()}
                if len(entries) != len(archive.infolist()):
                    raise ValueError("two members of one name")
        except Exception as error:  # zipfile lets struct's and codecs' errors through as well
            raise UserError(f"{self._shown} is damaged or cut short: {shown(str(error))}") from None
        roots = [name[: -len("/data.pkl")] for name in entries if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise UserError(f"{self._shown} is a zip archive with {len(roots)} data.pkl: name a file of"
                            " torch.save")
        self._root, self._entries = roots[0], entries
        if f"{self._root}/byteorder" in entries and self._bytes("byteorder").tobytes() != b"little":
            raise UserError(f"{self._shown} is of a big-endian machine: save it again on a little-endian one")
        value = value_of(self._bytes("data.pkl").tobytes(), self._shown)
        self._tensors: dict[str, Tensor] = {}
        for name, tensor in _named(value, self._shown):
            if name in self._tensors:
                raise UserError(f"{self._shown} is damaged: the name {shown(name)} is there twice")
            self._tensors[name] = tensor
        self.tensors = {name: self._placed(name, tensor) for name, tensor in self._tensors.items()}

    def read(self, name: str, dtype: DTypeLike | None = np.float32) -> NDArray[Any]:
        """A tensor as a new array of its shape.

        dtype: a floating type; what lies beyond its range becomes infinite. None keeps the stored type;
        bfloat16 then becomes float32.

        Raises UserError for a name that the file has not, TypeError for another dtype.
        """
        info = find(self.tensors, name, self._shown)
        t = self._tensors[name]
        stored = self._bytes(f"data/{t.storage.key}").view(STORED[info.type])[t.offset :]
        strides = tuple(s * stored.itemsize for s in t.stride)
        values = np.lib.stride_tricks.as_strided(stored, t.shape, strides, writeable=False)
        if info.type == "bfloat16":
            values = bfloat16(np.ascontiguousarray(values))
        elif info.type == "bool":
            values = values != 0
        wanted = values.dtype.newbyteorder("=") if dtype is None else float_dtype(dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(wanted, order="C")

    def __repr__(self) -> str:
        return f"TorchFile({self._shown}, {len(self.tensors)} tensors)"

    def _bytes(self, name: str) -> NDArray[np.uint8]:
        """A member of the archive, as a view of the mapped file."""
        start, size = self._place(name)
        return np.frombuffer(self._data, np.uint8)[start : start + size]

    def _place(self, name: str) -> tuple[int, int]:
        info = self._entries.get(f"{self._root}/{name}")
        if info is None:
            raise UserError(f"{self._shown} is damaged: it has no member {shown(f'{self._root}/{name}')}")
        begin = info.header_offset
        header = self._data[begin : begin + 30] if begin >= 0 else b""
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or header[:4] != b"PK\x03\x04":
            raise UserError(f"{self._shown}: member {shown(name)} is packed or damaged, and torch.save packs"
                            " nothing: load the file with torch and save it again")
        # the local header's own lengths: its padding aligns the bytes and is not in the directory
        start = begin + 30 + sum(struct.unpack("<HH", header.ljust(30, b"\0")[26:30]))
        if start + info.file_size > len(self._data):
            raise UserError(f"{self._shown} is damaged or cut short: {shown(name)} ends at byte"
                            f" {start + info.file_size}, the file has {len(self._data)}")
        return start, info.file_size

    def _placed(self, name: str, tensor: Tensor) -> TensorInfo:
        """The tensor's place, once it is sure to lie in its storage, and its storage in the file."""
        kind = tensor.storage.kind
        start, size = self._place(f"data/{tensor.storage.key}")
        itemsize = np.dtype(STORED[kind]).itemsize
        count = math.prod(tensor.shape)
        last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride)) if count else 0
        if size % itemsize or size != tensor.storage.count * itemsize or last * itemsize >= max(size, 1):
            raise UserError(f"{self._shown} is damaged: tensor {shown(name)} of shape"
                            f" {shown(str(tensor.shape))} does not lie in its storage of {size} bytes")
        if count * itemsize > size:  # small files would become large arrays
            raise UserError(f"{self._shown}: tensor {shown(name)} of shape {shown(str(tensor.shape))} repeats"
                            f" the numbers of its storage of {size} bytes (expand): save its contiguous()")
        return TensorInfo(name, kind, tensor.shape, start + tensor.offset * itemsize, count * itemsize)


def _named(value: Any, where: str) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of each tensor in a mapping, in its order, with those of mappings inside."""
    if not isinstance(value, dict):
        raise UserError(f"{where} holds no mapping of tensors: save model.state_dict()")
    seen: set[int] = set()
    todo: list[tuple[str, int, Any]] = [("", 0, value)]
    while todo:
        name, depth, value = todo.pop()
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, dict):
            # a mapping shared again and again would have names without end
            if id(value) in seen or depth > _DEPTH or len(name) > _LONGEST:
                raise UserError(f"{where} is damaged: {shown(name)} is there twice, or its name has no end")
            seen.add(id(value))
            inside = [(f"{name}.{key}" if name else str(key), depth + 1, item) for key, item in value.items()]
            todo.extend(reversed(inside))
