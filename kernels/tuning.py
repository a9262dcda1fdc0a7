"""The block sizes of every kernel, in one table, and why each is what it is. Nothing is tuned at run time.

A size here is checked without a GPU by the ahead-of-time gates (`python -m kernels.report`): registers,
spills and the width of memory accesses on each target.
"""

from __future__ import annotations

# ---- Adam -------------------------------------------------------------------------------------------

# Elements that one program (Triton) or block (CUDA) updates. A tile is one row of the pointer table's
# list of tiles, 8 bytes for ADAM_TILE * 28 bytes of traffic; small tensors waste at most a tile of threads.
ADAM_TILE = 4096
