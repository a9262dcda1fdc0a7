"""A model's parameters and the tensors of a file that fill them: checked first, then read in place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from minillm import nn
from minillm.errors import UserError
from minillm.weights import FORMATS, TensorInfo, dequantize
from minillm.weights.mapped_file import bfloat16, shown

_CHUNK = 1 << 18  # weights read at a time: what is beside the model stays small

Size = tuple[str, int]  # how the file's configuration names it, and what it is there


class Weights(Protocol):
    """What `weights.GGUF` and `weights.Safetensors` have in common."""

    tensors: dict[str, TensorInfo]

    def raw(self, name: str) -> Any: ...


@dataclass(frozen=True)
class Slot:
    """A parameter and the tensor that fills it.

    Attributes:
        parameter: our name.
        tensor: the name in the file.
        sizes: the tensor's shape, as the configuration says it should be; a name may be empty.
        kind: how the two lie to each other. "same"; "matrix": ours is (in, out), theirs (out, in);
            "pairs": a matrix whose rows are those of heads, in each of which the two numbers of a rotary
            pair are neighbours, where ours stand half a head apart.
        d: numbers of a head, for "pairs".
    """

    parameter: str
    tensor: str
    sizes: tuple[Size, ...]
    kind: Literal["same", "matrix", "pairs"] = "same"
    d: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(size for _, size in self.sizes)

    def view(self, parameter: np.ndarray) -> np.ndarray:
        """The parameter in the file's order, to write into: a view, (1, n) for a vector."""
        if self.kind == "same":
            return parameter if parameter.ndim > 1 else parameter[None]
        if self.kind == "matrix":
            return parameter.T  # (out, in)
        n_in, n_out = parameter.shape
        halves = parameter.T.reshape(n_out // self.d, 2, self.d // 2, n_in)  # (H, 2, d/2, in)
        return halves.swapaxes(1, 2)  # (H, d/2, 2, in)


def check_slots(slots: Iterable[Slot], weights: Weights, where: str, config: str,
                ignored: frozenset[str] = frozenset()) -> list[Slot]:
    """The slots as a list, once every one has its tensor, of its shape, and no tensor is left over.

    Nothing is allocated, and nothing is asked for beyond the first tensor that is missing: a file that
    claims a billion layers is refused as quickly as any other.

    Args:
        slots: all of a model.
        weights: the file.
        where, config: the file, and what holds the sizes, as a message names them.
        ignored: tensors that may be there.

    Raises:
        UserError: a tensor is missing, left over, of another shape, or not of floats.
    """
    checked = []
    left = set(weights.tensors)
    for slot in slots:
        info = weights.tensors.get(slot.tensor)
        if info is None:
            raise UserError(f"{where} has no tensor {shown(slot.tensor)}, which the sizes in {config} ask "
                            "for: use a whole checkpoint, or correct the configuration")
        if info.shape != slot.shape:
            sizes = ", ".join(f"{name} = {size}" for name, size in slot.sizes if name)
            said = f"has {sizes}" if sizes else f"makes it {slot.shape}"
            raise UserError(f"{where}: tensor {shown(slot.tensor)} has the shape {info.shape}, but {config} "
                            f"{said}: one of the two is wrong")
        if info.type in ("BOOL", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64"):
            raise UserError(f"{where}: tensor {shown(slot.tensor)} is of type {info.type}: weights are "
                            "floats")
        left.discard(slot.tensor)
        checked.append(slot)
    left -= ignored
    if left:
        raise UserError(f"{where} has {len(left)} tensor(s) that this model has not, such as "
                        f"{shown(min(left))}: it would compute something else")
    return checked


def fill(model: nn.Module, slots: Iterable[Slot], weights: Weights) -> None:
    """Read every tensor into its parameter, dequantised if need be, without a second copy of it."""
    parameters = dict(model.named_parameters())
    with np.errstate(over="ignore", invalid="ignore"):  # a float64 beyond float32 becomes infinite
        for slot in slots:
            target, kind = slot.view(parameters[slot.parameter].data), weights.tensors[slot.tensor].type
            raw = weights.raw(slot.tensor)
            raw = raw.reshape(*target.shape[:-1], *raw.shape[len(slot.shape) - 1:])
            step = max(1, _CHUNK // math.prod(target.shape[1:]))
            for i in range(0, len(target), step):
                target[i:i + step] = _floats(raw[i:i + step], kind)


def _floats(raw: np.ndarray, kind: str) -> np.ndarray:
    if kind == "BF16":
        return bfloat16(raw)
    format = FORMATS.get(kind)
    return dequantize(raw, kind) if format is not None and format.stored is None else raw


def numbered(layers: int, parts: Mapping[str, tuple[str, tuple[Size, ...], str]], theirs: str,
             d: int = 0) -> Iterator[Slot]:
    """The slots of all blocks, lazily.

    Args:
        layers: how many.
        parts: our name within a block -> (their name within one, sizes, kind).
        theirs: their name of a block, with {} for its number.
        d: numbers of a head.
    """
    for i in range(layers):
        for ours, (name, sizes, kind) in parts.items():
            yield Slot(f"blocks.{i}.{ours}", f"{theirs.format(i)}.{name}", sizes, kind, d)  # type: ignore[arg-type]
