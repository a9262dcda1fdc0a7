"""As much of HDF5 as Keras's weight files are made of: groups, arrays of numbers, texts as attributes.

HDF5's own library, given a file with a few changed bytes, may loop for ever or crash; it can also
follow links to other files and unpack terabytes. This reader does none of it: it looks at each part of
the file once and takes what h5py writes by default (libver "earliest": superblock 0):

    superblock -> object header of the root -> messages: a symbol table, attributes
    symbol table -> B-tree of nodes -> (name, object header) of each member; names in a local heap
    dataset -> messages: dataspace (shape), datatype, layout (contiguous: where its bytes lie)

Numbers are little-endian, addresses count from the start of the file. Source: The HDF
Group, HDF5 File Format Specification: level 0 (superblock), 1 (trees, heaps), 2 (headers, messages).
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from minillm.errors import UserError
from minillm.weights.mapped_file import TensorInfo, check_apart, shown

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LONGEST = 1000  # bytes of a path: many members with a long one would take more than the file
_DEPTH = 32  # groups inside groups; Keras's variables lie 4 deep
_MAX_AXES = 32  # HDF5's own limit

# Message types
_SPACE, _TYPE, _LAYOUT, _ATTRIBUTE, _CONTINUED, _SYMBOLS = 0x01, 0x03, 0x08, 0x0C, 0x10, 0x11
_FOREIGN = {0x02: "links of later HDF5", 0x06: "links of later HDF5", 0x07: "data in other files",
            0x0B: "compressed data", 0x15: "attributes of later HDF5"}

# IEEE 754: bit offset, precision, place and size of exponent and mantissa, bias
_FLOATS = {(0, 16, 10, 5, 0, 10, 15): "f2", (0, 32, 23, 8, 0, 23, 127): "f4",
           (0, 64, 52, 11, 0, 52, 1023): "f8"}


@dataclass(frozen=True)
class _Attribute:
    datatype: int  # address of its datatype
    count: int  # strings in it
    start: int  # address of its data


class HDF5:
    """What an HDF5 file in memory holds.

    data: the file. where: its name as messages show it.

    tensors: path -> TensorInfo; `type` is NumPy's, such as "<f4".
    groups: paths, "" for the root; each group before its members, and members by name.

    Memory and time in proportion to the length of `data`. Raises UserError, in one line, for what is
    damaged or cut short and for what Keras does not write.
    """

    def __init__(self, data: mmap.mmap | bytes, where: str) -> None:
        self._data, self._where = data, where
        self.tensors: dict[str, TensorInfo] = {}
        self.groups: list[str] = []
        self._attributes: dict[tuple[str, str], _Attribute] = {}
        self._seen: set[int] = set()  # addresses: a part that is pointed to twice would be read for ever
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}
        # Parts may overlap, and a small file could so have very many: no file has more than these.
        self._parts_left, self._text_left = len(data) // 8, len(data)
        if data[:8] != _SIGNATURE:
            raise UserError(f"{where} is no Keras weight file: it holds no HDF5, or is cut short")
        version, _, _, _, _, offsets, lengths = struct.unpack("<7B", self._bytes(8, 7))
        if version or offsets != 8 or lengths != 8 or self._number(24):
            raise self._foreign("the file", f"superblock {version}")
        todo = [("", self._number(64))]
        while todo:
            path, address = todo.pop()
            if path.count("/") > _DEPTH or len(path) > _LONGEST:
                raise self._damaged(f"{shown(path)} lies too deep")
            members = self._object(path, address)
            todo.extend(sorted(members, reverse=True))
        check_apart(self.tensors.values(), where)

    def strings(self, group: str, name: str) -> list[str] | None:
        """An attribute that is a text, or some; None if the group has no such attribute."""
        attribute = self._attributes.get((group, name))
        if attribute is None:
            return None
        kind, size = self._number(attribute.datatype, 1) & 15, self._number(attribute.datatype + 4, 4)
        texts = []
        for i in range(attribute.count):
            start, length = attribute.start + i * size, size
            if kind == 9 and self._number(attribute.datatype + 1, 1) & 15 == 1 and size == 16:  # any length
                length, heap, index = struct.unpack("<IQI", self._bytes(start, 16))
                start, held = self._heap(heap).get(index, (0, 0)) if length else (0, 0)
                length = min(length, held)
            elif kind != 3 or not size:
                raise UserError(f"{self._where} is damaged: the attribute {shown(name)} is no text")
            self._text_left -= length
            if self._text_left < 0:
                raise self._damaged(f"the attribute {shown(name)} is longer than the file")
            try:
                texts.append(self._bytes(start, length).split(b"\0")[0].decode())
            except UnicodeDecodeError:
                raise self._damaged(f"the attribute {shown(name)} is no UTF-8") from None
        return texts

    def _damaged(self, what: str) -> UserError:
        return UserError(f"{self._where} is damaged or cut short: {what}")

    def _foreign(self, what: str, has: str) -> UserError:
        return UserError(f"{self._where}: {what} has {has}, unlike a file of Keras's: save the weights again"
                         " with Keras")

    def _spend(self, parts: int) -> None:
        self._parts_left -= parts
        if self._parts_left < 0:
            raise self._damaged("its HDF5 has more parts than fit into it")

    def _bytes(self, start: int, n: int) -> bytes:
        if start + n > len(self._data):
            raise self._damaged(f"its HDF5 points to byte {start + n}, the file has {len(self._data)}")
        return self._data[start : start + n]

    def _number(self, start: int, n: int = 8) -> int:
        return int.from_bytes(self._bytes(start, n), "little")

    def _once(self, address: int, signature: bytes = b"") -> int:
        """The address of a part that begins with its signature and has not been met before."""
        if address in self._seen or self._bytes(address, len(signature)) != signature:
            raise self._damaged(f"its HDF5 has nothing to find at byte {address}, or twice the same")
        self._seen.add(address)
        return address

    def _messages(self, path: str, header: int) -> Iterator[tuple[int, int, int]]:
        """(type, address, size) of each message of an object header."""
        version, _, count, _, size = struct.unpack("<BBHII", self._bytes(self._once(header), 12))
        if version != 1:
            raise self._foreign(shown(path), "an object header of later HDF5")
        blocks = [(header + 16, size)]
        for at, length in blocks:
            end = at + length
            while at + 8 <= end and count:
                kind, size, flags = struct.unpack("<HHB", self._bytes(at, 5))
                at, count = at + 8, count - 1
                self._spend(1)
                if kind in _FOREIGN or (flags & 2 and kind in (_SPACE, _TYPE, _LAYOUT, _ATTRIBUTE)):
                    raise self._foreign(shown(path), _FOREIGN.get(kind, "shared messages"))
                if kind == _CONTINUED:
                    blocks.append((self._once(self._number(at)), self._number(at + 8)))
                yield kind, at, size
                at += size

    def _object(self, path: str, header: int) -> list[tuple[str, int]]:
        """Note a group or a dataset; (path, object header) of a group's members."""
        found: dict[int, int] = {}
        for kind, at, _ in self._messages(path, header):
            if kind == _ATTRIBUTE:
                self._attribute(path, at)
            elif found.setdefault(kind, at) != at and kind in (_SPACE, _TYPE, _LAYOUT, _SYMBOLS):
                raise self._damaged(f"{shown(path)} has two messages of one kind")
        if _SYMBOLS in found:
            self.groups.append(path)
            return list(self._members(path, found[_SYMBOLS]))
        if not found.keys() >= {_SPACE, _TYPE, _LAYOUT}:
            raise self._damaged(f"{shown(path)} is neither a group nor an array")
        shape, dtype = self._shape(found[_SPACE], path), self._dtype(found[_TYPE], path)
        version, kind = self._bytes(found[_LAYOUT], 2)
        if version != 3 or kind != 1:
            raise self._foreign(shown(path), "data not in one piece")
        start, held = self._number(found[_LAYOUT] + 2), self._number(found[_LAYOUT] + 10)
        n_bytes = math.prod(shape) * int(dtype[2:])
        if not n_bytes:
            start = 0
        if held < n_bytes or start + n_bytes > len(self._data):
            raise self._damaged(f"{shown(path)} of shape {shown(str(shape))} takes {n_bytes} bytes from"
                                f" {start}, the file has {len(self._data)}")
        self.tensors[path] = TensorInfo(path, dtype, shape, start, n_bytes)
        return []

    def _members(self, path: str, table: int) -> Iterator[tuple[str, int]]:
        heap = self._once(self._number(table + 8), b"HEAP")
        names_end, names = self._number(heap + 8), self._number(heap + 24)
        nodes, met = [self._number(table)], set()
        while nodes:
            node = nodes.pop()
            if self._bytes(node, 4) == b"TREE":
                kind, _, used = struct.unpack("<BBH", self._bytes(self._once(node) + 4, 4))
                if kind:
                    raise self._damaged(f"the group {shown(path)} has the tree of an array")
                self._spend(used)
                nodes.extend(self._number(node + 32 + 16 * i) for i in range(used))
                continue
            used = self._number(self._once(node, b"SNOD") + 6, 2)
            self._spend(used)
            for i in range(used):
                offset, header, cached = struct.unpack("<QQI", self._bytes(node + 8 + 40 * i, 20))
                if cached == 2:
                    raise self._foreign(f"the group {shown(path)}", "a link, which is not followed")
                text = self._bytes(names + offset, min(_LONGEST + 1, max(names_end - offset, 0)))
                name = text.split(b"\0")[0].decode(errors="replace")
                if name in met or name in ("", ".", "..") or "/" in name:
                    raise self._damaged(f"the group {shown(path)} has a member named {shown(name)}, or two")
                met.add(name)
                yield f"{path}/{name}" if path else name, header

    def _shape(self, at: int, path: str) -> tuple[int, ...]:
        version, rank, _, kind = self._bytes(at, 4)
        if version not in (1, 2) or rank > _MAX_AXES or (version == 2 and kind == 2):
            raise self._damaged(f"{shown(path)} has no shape")
        at += 8 if version == 1 else 4
        shape = struct.unpack(f"<{rank}Q", self._bytes(at, 8 * rank))
        if math.prod(n for n in shape if n) >= 2**60:
            raise self._damaged(f"{shown(path)} claims the shape {shown(str(shape))}, larger than any array")
        return shape

    def _dtype(self, at: int, path: str) -> str:
        """NumPy's name of a datatype."""
        kind, bits, _, _, size = struct.unpack("<BBBBI", self._bytes(at, 8))
        order = "<>"[bits & 1]
        if kind & 15 == 0 and size in (1, 2, 4, 8) \
                and struct.unpack("<HH", self._bytes(at + 8, 4)) == (0, 8 * size):
            return f"{order}{'i' if bits & 8 else 'u'}{size}"
        if kind & 15 == 1 and not bits & 64:
            name = _FLOATS.get(struct.unpack("<HHBBBBI", self._bytes(at + 8, 12)))
            if name == f"f{size}":
                return order + name
        raise UserError(f"{self._where}: {shown(path)} holds neither floats nor integers of 1 to 8 bytes, as"
                        " weights are: save the model in float32")

    def _attribute(self, path: str, at: int) -> None:
        """Note where an attribute lies: its name, datatype and shape fill multiples of 8 bytes each."""
        version, _, *lengths = struct.unpack("<BBHHH", self._bytes(at, 8))
        if version != 1:
            raise self._foreign(shown(path), "attributes of later HDF5")
        n_name, n_type, n_space = (-(-n // 8) * 8 for n in lengths)
        name = at + 8
        text = self._bytes(name, min(n_name, _LONGEST)).split(b"\0")[0].decode(errors="replace")
        space = name + n_name + n_type
        count = math.prod(self._shape(space, path))
        self._attributes[path, text] = _Attribute(name + n_name, count, space + n_space)

    def _heap(self, address: int) -> dict[int, tuple[int, int]]:
        """Index -> (address, length) of the texts in a global heap."""
        if address not in self._heaps:
            self._once(address, b"GCOL")
            end = address + self._number(address + 8)
            at, found = address + 16, self._heaps.setdefault(address, {})
            while at + 16 <= end and (index := self._number(at, 2)):  # 0: the rest is free
                self._spend(1)
                size = self._number(at + 8)
                found[index] = at + 16, size
                at += 16 + -(-size // 8) * 8
        return self._heaps[address]
