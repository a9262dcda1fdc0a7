"""The block sizes of every kernel, in one table, and why each is what it is. Nothing is tuned at run time.

A size here is checked without a GPU by the ahead-of-time gates (`python -m kernels.report`): registers,
spills and the width of memory accesses on each target.
"""

from __future__ import annotations

# Most classes: a row's columns are counted in 32 bits, rows and addresses in 64.
MAX_VOCAB = 1 << 30

# Most threads of a block (CUDA) or program (Triton), on every GPU.
MOST_THREADS = 1024

# ---- Adam -------------------------------------------------------------------------------------------

# Elements that one program (Triton) or block (CUDA) updates. A tile is one row of the pointer table's
# list of tiles, 8 bytes for ADAM_TILE * 28 bytes of traffic; small tensors waste at most a tile of threads.
ADAM_TILE = 4096

# ---- Linear layer and cross-entropy in chunks ---------------------------------------------------------

# Fewest rows of a chunk: a matrix product of fewer rows reads the whole weight for little work.
LINEAR_MIN_ROWS = 128

# Classes whose part of the weight's gradient is formed at once: bounds the product's temporary array.
LINEAR_WEIGHT_ROWS = 8192

# ---- Adam in Triton ----------------------------------------------------------------------------------

# 256 threads of one 16-byte access each take a quarter of an ADAM_TILE of float32 at a time, in about 64
# registers: four programs share an SM of 65536, and their loads overlap each other's arithmetic.
TRITON_ADAM_WARPS = 8

# ---- Cross-entropy in Triton -------------------------------------------------------------------------

# One sweep holds a row in registers, as float32. 64 a thread leave room for addresses and masks under the
# limit of 128 that 16 warps have: 16 * 32 * 64 columns. 32 warps would have 64 registers each and spill.
TRITON_ONE_SWEEP = 32768
# A block of the two sweeps: 16 elements for each of 32 warps' threads, two or four 16-byte loads in flight,
# in at most 64 registers. 32 warps fill an SM, so that one row a SM is what L2 has to hold between sweeps.
TRITON_TWO_SWEEPS = 16384
TRITON_TOTAL = 4096  # losses that the single program of `total` adds at a time


def triton_cross_entropy(vocab: int, options: int = 0) -> tuple[int, int]:
    """(columns a block, warps) for rows of `vocab` logits; a block that holds the row is one sweep.

    Args:
        options: how many of label smoothing, class weights under it, and softcap are on. Each keeps about
            one more register for an element, so each halves the elements of a thread.
    """
    block = max(128, 1 << (vocab - 1).bit_length())
    if block <= TRITON_ONE_SWEEP >> options:
        return block, max(1, block // 32 // (64 >> options))
    # with options 8 elements a thread, one 16-byte load of a 2-byte type: in 64 registers without spills
    return TRITON_TWO_SWEEPS >> (options > 0), 32

# ---- CUDA C -----------------------------------------------------------------------------------------

# Loads of 16 bytes that a cross-entropy thread has in flight. Keeping 3.35 TB/s (an H100's datasheet) busy at
# a latency of 700 ns (assumed, not measured) takes 2.3 MB under way, 18 KB on each of 132 SMs; 4 loads of
# CUDA_THREADS_ON_SM threads are 64 KiB, enough also while half of the blocks compute or store.
CUDA_LOADS = 4

# With label smoothing or a softcap, whose sums and tanh take registers too: with four loads, float32 spills
# on sm_80.
CUDA_LOADS_WITH_OPTIONS = 2

# Threads of an SM, over all its blocks, that the kernels are compiled for: 65536 registers / 1024 are 64
# each, which holds four loads and the arithmetic without spills. More threads would have 32.
CUDA_THREADS_ON_SM = 1024

# Blocks that share a row, tried in this order; 8 is the largest that every sm_90 device runs.
CUDA_CLUSTERS = (1, 2, 4, 8)

# Blocks that an SM should hold, so that one loads while another computes or stores. A row takes the smallest
# cluster that leaves room for them, or failing that the smallest into which it fits.
CUDA_BLOCKS_ON_SM = 2

# Shared memory in KiB by compute capability: of one block, of an SM. The rest of a family as its first.
CUDA_SHARED = {80: (163, 164), 86: (99, 100), 87: (163, 164), 89: (99, 100), 90: (227, 228), 100: (227, 228),
               120: (99, 100)}

# KiB of it that a block takes beside the row: 1 for CUDA itself, under 1 for sums between warps.
CUDA_SHARED_OVERHEAD = 2

# Threads a block without a gradient, where nothing is kept: four blocks on an SM overlap their last reads.
CUDA_FORWARD_THREADS = 256

# Threads of the one block that adds up losses or labels, which are few.
CUDA_TOTALS_THREADS = 512

# Threads a block of Adam: few enough that four blocks share an SM, a divisor of ADAM_TILE / 8.
CUDA_ADAM_THREADS = 256

# Threads of an SM for which Adam is compiled where some array has 2 bytes an element: 8 elements a thread,
# with amsgrad and exact division, spill at 64 and 80 registers but not at 128.
CUDA_ADAM_SHORT_THREADS_ON_SM = 512

# On the CPU a thread is a fiber and every barrier switches through all of them: two warps of them, so that
# warps still meet, and otherwise what an sm_90 would run.
CUDA_CPU_THREADS = 64
