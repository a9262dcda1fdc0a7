"""The pickles of PyTorch's files, read by a machine that cannot call anything.

A pickle is a program for a machine with a stack (pickletools.py), and Python's machine calls whatever
function the program names: `os.system` too. The machine here has no call. It knows the few opcodes and
names that a mapping of tensors takes and makes dicts, lists, tuples, numbers and notes on where a
tensor lies; the rest is refused.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minillm.errors import UserError
from minillm.weights.mapped_file import shown

# BOOL as bytes: a bool array over a byte other than 0 and 1 would misbehave
_STORAGES = {
    "DoubleStorage": ("float64", "<f8"), "FloatStorage": ("float32", "<f4"),
    "HalfStorage": ("float16", "<f2"), "BFloat16Storage": ("bfloat16", "<u2"),
    "LongStorage": ("int64", "<i8"), "IntStorage": ("int32", "<i4"), "ShortStorage": ("int16", "<i2"),
    "CharStorage": ("int8", "|i1"), "ByteStorage": ("uint8", "|u1"), "BoolStorage": ("bool", "|u1"),
}  # fmt: skip
STORED = dict(_STORAGES.values())
_MAX_AXES = 64  # NumPy's own limit


def value_of(program: bytes, where: str) -> Any:
    """What a pickle of `torch.save` stands for: plain data, and a `Tensor` for each tensor.

    where: the file's name as messages show it.

    Memory in proportion to the program's length. Raises UserError, in one line: it is damaged, or asks
    for anything but data.
    """
    return _Machine(program, where).run()


@dataclass(frozen=True)
class Storage:
    """`count` numbers of a type, in the archive's member data/`key`."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in its storage; offset and stride count numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class _Name:
    """A name that the pickle mentions. Nothing is imported for it."""

    full: str


_MARK = object()
_CALLED = {"collections.OrderedDict", "torch.Size", "torch.device", "torch._utils._rebuild_tensor_v2",
           "torch._utils._rebuild_parameter"}
_MENTIONED = {f"torch.{word}" for word in [*_STORAGES, *STORED]}  # storages, and dtypes in a configuration


class _Machine:
    """The part of the pickle machine that plain data and tensors take: protocol 2, as torch writes."""

    def __init__(self, program: bytes, where: str) -> None:
        self.program, self.at, self.where = program, 0, where
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """What the program leaves on the stack."""
        if self.program[:2] != b"\x80\x02":
            raise UserError(f"{self.where} does not use pickle protocol 2, torch's own: save it again"
                            " without pickle_protocol")
        self.at = 2
        try:
            while (code := self._take(1)) != b".":
                if code not in _CODES:
                    raise self._refused(f"has the pickle opcode {code!r}")
                _CODES[code](self)
            return self.stack.pop()
        except (IndexError, KeyError, ValueError, TypeError) as error:
            # short of operands, no such memo, no UTF-8, an operand of another kind
            raise UserError(f"{self.where} is damaged: its pickle fails at byte {self.at}"
                            f" ({shown(str(error))})") from None

    def _refused(self, what: str) -> UserError:
        return UserError(f"{self.where} {what}, which a mapping of tensors has not, so it is not read: save"
                         " model.state_dict()")

    def _take(self, n: int) -> bytes:
        if self.at + n > len(self.program):
            raise IndexError("it ends early")
        self.at += n
        return self.program[self.at - n : self.at]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _marked(self) -> list[Any]:
        """Pop everything above the last mark."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:  # IndexError below the bottom
            at -= 1
            if at < 0:
                raise IndexError("no mark")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def _top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise TypeError(f"no {kind.__name__} to put it in")
        return self.stack[-1]

    def _tuple(self, n: int) -> None:
        items = [self.stack.pop() for _ in range(n)]
        self._push(tuple(reversed(items)))

    def _set(self, items: list[Any]) -> None:
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int):  # hashing a tuple of tuples can take for ever
                raise self._refused(f"has a mapping with a key of type {type(key).__name__}")
            target[key] = value

    def _extend(self, items: list[Any]) -> None:
        self._top(list).extend(items)

    def _global(self) -> None:
        parts = []
        for _ in range(2):
            end = self.program.index(b"\n", self.at)
            parts.append(self.program[self.at : end].decode())
            self.at = end + 1
        name = ".".join(parts)
        if name not in _CALLED | _MENTIONED:
            raise self._refused(f"asks for {shown(name)}")
        self._push(_Name(name))

    def _storage(self) -> None:
        kind, name, key, _, count = self.stack.pop()
        if kind != "storage" or not isinstance(name, _Name) or type(key) is not str or type(count) is not int:
            raise TypeError("no storage of torch's")
        if name.full.removeprefix("torch.") not in _STORAGES:
            raise self._refused(f"has a storage of type {shown(name.full)}")
        self._push(Storage(_STORAGES[name.full.removeprefix("torch.")][0], key, count))

    def _reduce(self) -> None:
        """Where pickle calls a function, look up what the known ones stand for."""
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise self._refused("calls what is no name")
        if name.full == "collections.OrderedDict" and not arguments:
            self._push({})
        elif name.full == "torch.Size" and len(arguments) == 1:
            self._push(arguments[0])
        elif name.full == "torch.device":
            self._push(None)
        elif name.full == "torch._utils._rebuild_parameter" and isinstance(arguments[0], Tensor):
            self._push(arguments[0])
        elif name.full == "torch._utils._rebuild_tensor_v2":
            self._push(_tensor(*arguments[:4]))
        else:
            raise self._refused(f"calls {shown(name.full)}")

    def _build(self) -> None:
        """Attributes of an OrderedDict (`_metadata`, versions of modules): dropped."""
        self.stack.pop()
        self._top(dict)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any) -> Tensor:
    counts = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or len(shape) != len(stride) or len(shape) > _MAX_AXES \
            or not all(type(n) is int and 0 <= n < 2**59 for n in counts) \
            or math.prod(n for n in shape if n) >= 2**59:  # what NumPy can count in bytes
        raise TypeError("no tensor of torch's")
    return Tensor(storage, offset, tuple(shape), tuple(stride))


# The opcodes by name: pickletools.py. Each acts on the machine.
_CODES: dict[bytes, Callable[[_Machine], Any]] = {
    b"(": lambda m: m._push(_MARK),  # MARK
    b"N": lambda m: m._push(None),  # NONE
    b"\x88": lambda m: m._push(True),  # NEWTRUE
    b"\x89": lambda m: m._push(False),  # NEWFALSE
    b"K": lambda m: m._push(m._number("<B")),  # BININT1
    b"M": lambda m: m._push(m._number("<H")),  # BININT2
    b"J": lambda m: m._push(m._number("<i")),  # BININT
    b"\x8a": lambda m: m._push(int.from_bytes(m._take(m._number("<B")), "little", signed=True)),  # LONG1
    b"G": lambda m: m._push(m._number(">d")),  # BINFLOAT
    b"X": lambda m: m._push(m._take(m._number("<I")).decode()),  # BINUNICODE
    b"}": lambda m: m._push({}),  # EMPTY_DICT
    b"]": lambda m: m._push([]),  # EMPTY_LIST
    b")": lambda m: m._push(()),  # EMPTY_TUPLE
    b"\x85": lambda m: m._tuple(1),  # TUPLE1
    b"\x86": lambda m: m._tuple(2),  # TUPLE2
    b"\x87": lambda m: m._tuple(3),  # TUPLE3
    b"t": lambda m: m._push(tuple(m._marked())),  # TUPLE
    b"s": lambda m: m._set([m.stack.pop(), m.stack.pop()][::-1]),  # SETITEM
    b"u": lambda m: m._set(m._marked()),  # SETITEMS
    b"a": lambda m: m._extend([m.stack.pop()]),  # APPEND
    b"e": lambda m: m._extend(m._marked()),  # APPENDS
    b"q": lambda m: m.memo.__setitem__(m._number("<B"), m.stack[-1]),  # BINPUT
    b"r": lambda m: m.memo.__setitem__(m._number("<I"), m.stack[-1]),  # LONG_BINPUT
    b"h": lambda m: m._push(m.memo[m._number("<B")]),  # BINGET
    b"j": lambda m: m._push(m.memo[m._number("<I")]),  # LONG_BINGET
    b"c": lambda m: m._global(),  # GLOBAL
    b"Q": lambda m: m._storage(),  # BINPERSID
    b"R": lambda m: m._reduce(),  # REDUCE
    b"b": lambda m: m._build(),  # BUILD
}
