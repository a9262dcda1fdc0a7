"""What the assembly of an AMD GPU says without running it: registers, spills and the width of accesses."""

from __future__ import annotations

import re

from .ptx import Resources, Widths

_ACCESS = re.compile(r"^\s*(?:global|buffer|flat)_(?:load|store)_\w+", re.M)
_BYTES = {"dwordx4": 16, "dwordx3": 12, "dwordx2": 8, "dword": 4}  # all others are 1 or 2


def resources(text: str) -> Resources:
    """Vector registers (VGPRs) a thread, bytes of them spilled, scratch a thread, LDS a block.

    Scalar registers are spilled to lanes of vector registers, which count as those.

    Raises:
        ValueError: the text has no metadata of a kernel.
    """
    def number(name: str) -> int:
        found = re.search(rf"\.{name}:\s+(\d+)", text)
        if found is None:
            raise ValueError(f"assembly without .{name}: it is not a kernel for AMD GPUs")
        return int(found[1])

    return Resources(number("vgpr_count"), 4 * number("vgpr_spill_count"),
                     number("private_segment_fixed_size"), number("group_segment_fixed_size"))


def global_widths(text: str, wide: int = 16) -> Widths:
    """Loads and stores of global memory, of at least `wide` bytes a thread and of fewer."""
    count = {(op, is_wide): 0 for op in ("load", "store") for is_wide in (True, False)}
    for access in _ACCESS.findall(text):
        _, op, width = access.strip().split("_", 2)
        count[op, _BYTES.get(width, 1) >= wide] += 1
    return Widths(count["load", True], count["store", True], count["load", False], count["store", False])
