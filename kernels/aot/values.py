"""PTX's numbers as NumPy's: element types, immediates, bfloat16, addresses."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np

from .ptx import BYTES

WARP = 32  # threads
SHARED_WINDOW = 1 << 56  # generic addresses from here on mean shared memory
CLUSTER_WINDOW = 1 << 24  # shared::cluster addresses: a block's own, then, a window each, block 0, 1, ...

UINT: dict[int, Any] = {1: np.dtype(np.uint8), 2: np.dtype(np.uint16), 4: np.dtype(np.uint32),
                        8: np.dtype(np.uint64)}


class EmulationError(RuntimeError):
    """The kernel did what a GPU would not let it do, or used an instruction that is not known here."""


def immediate(text: str, width: int) -> Any:
    if text.startswith(("0f", "0F")):
        return np.uint32(int(text[2:], 16))
    if text.startswith(("0d", "0D")):
        return np.uint64(int(text[2:], 16))
    base = 16 if text.lower().lstrip("-").startswith("0x") else 10
    return UINT[width].type(int(text.rstrip("U"), base) % (1 << 8 * width))


def _bf16_to_f32(raw: Any) -> Any:
    return (np.asarray(raw).astype(np.uint32) << np.uint32(16)).view(np.float32)


def _f32_to_bf16(x: Any) -> Any:
    bits = np.asarray(x, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(np.asarray(x)), np.uint32(0x7FFF), rounded).astype(np.uint16)


NUMPY: dict[str, Any] = {
    "u8": np.uint8, "b8": np.uint8, "s8": np.int8, "u16": np.uint16, "b16": np.uint16, "s16": np.int16,
    "u32": np.uint32, "b32": np.uint32, "s32": np.int32, "u64": np.uint64, "b64": np.uint64, "s64": np.int64,
    "f16": np.float16, "f32": np.float32, "f64": np.float64}


def as_numbers(raw: Any, kind: str) -> Any:
    """Raw bits as numbers of a PTX type; bf16 as float32."""
    if kind == "pred":
        return raw
    raw = np.asarray(raw)
    size = BYTES[kind]
    if raw.itemsize != size:
        raw = raw.astype(UINT[size])
    return _bf16_to_f32(raw) if kind == "bf16" else raw.view(NUMPY[kind])


def as_bits(value: Any, kind: str) -> Any:
    if kind == "pred":
        return np.asarray(value, bool)
    if kind == "bf16":
        return _f32_to_bf16(value)
    return np.asarray(value, NUMPY[kind]).view(UINT[BYTES[kind]])


@functools.cache
def address_parts(operand: str) -> tuple[str, int]:
    found = re.fullmatch(r"\[([%\w$.]+)(?:\+(-?\w+))?\]", operand)
    if found is None:
        raise EmulationError(f"address not understood: {operand}")
    return found[1], int(found[2] or "0", 0)
