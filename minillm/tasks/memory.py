"""Whether a run fits into memory, asked before anything is made."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from minillm.errors import UserError
from minillm.tasks.language_models import ModelConfig


def check_memory(config: ModelConfig, batch_size: int, seq_len: int, sizes: Mapping[str, Any]) -> None:
    """Raise UserError where a training step on (batch_size, seq_len) would not fit into this machine.

    `sizes` are the model's settings, to be named. The estimate is the configuration's `memory_bytes`.
    """
    needed, there = config.memory_bytes(batch_size, seq_len), physical_memory()
    if needed > there:
        named = {**sizes, "batch_size": batch_size, "seq_len": seq_len, "vocab_size": config.vocab_size}
        what = ", ".join(f"{name} = {size}" for name, size in named.items() if type(size) is int)
        raise UserError(f"training a model of {what} needs {needed / 2**30:,.0f} GiB of memory, and there "
                        f"are {there / 2**30:,.0f}: make one of them smaller")


def physical_memory() -> float:
    """Bytes of memory in this machine; infinity where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf
