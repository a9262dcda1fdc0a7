"""The block sizes of every kernel, in one table, and why each is what it is. Nothing is tuned at run time.

A size here is checked without a GPU by the ahead-of-time gates (`python -m kernels.report`): registers,
spills and the width of memory accesses on each target.
"""

from __future__ import annotations

# ---- Adam -------------------------------------------------------------------------------------------

# Elements that one program (Triton) or block (CUDA) updates. A tile is one row of the pointer table's
# list of tiles, 8 bytes for ADAM_TILE * 28 bytes of traffic; small tensors waste at most a tile of threads.
ADAM_TILE = 4096

# ---- Linear layer and cross-entropy in chunks ---------------------------------------------------------

# Fewest rows of a chunk: a matrix product of fewer rows reads the whole weight for little work.
LINEAR_MIN_ROWS = 128

# Classes whose part of the weight's gradient is formed at once: bounds the product's temporary array.
LINEAR_WEIGHT_ROWS = 8192

# ---- Cross-entropy in Triton -------------------------------------------------------------------------


def triton_cross_entropy(vocab: int) -> tuple[int, int]:
    """(columns a block, warps) of the Triton kernel for rows of `vocab` logits."""
    block = max(128, 1 << (vocab - 1).bit_length())
    if block <= 32768:
        return block, min(16, max(1, block // 1024))
    return 16384, 32
