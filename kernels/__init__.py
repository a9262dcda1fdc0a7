"""Fused GPU kernels for softmax-cross-entropy and Adam, in Triton and in CUDA C (through CuPy).

Each kernel is held to the NumPy formula of the same name in `minillm.formulas`, the only part of
minillm that this package imports. `minillm doctor` reads `DISTRIBUTION`, without running this
file, to tell this package from others that are called `kernels` too.
"""

from .adam import adam_step
from .cross_entropy import softmax_cross_entropy
from .linear_cross_entropy import linear_cross_entropy

DISTRIBUTION = "minillm-course"

__all__ = ["DISTRIBUTION", "adam_step", "linear_cross_entropy", "softmax_cross_entropy"]
