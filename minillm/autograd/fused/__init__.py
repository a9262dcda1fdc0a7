"""Ops with a hand-derived backward; each equals its composite formula."""

from .dropout import dropout
from .embedding import embedding
from .linear import linear
from .lstm import lstm
from .memory import keep_freed_memory
from .op import FusedOp
from .registry import Implementation, implementations, use_kernels
from .softmax_cross_entropy import softmax_cross_entropy

__all__ = ["FusedOp", "Implementation", "dropout", "embedding", "implementations", "linear", "lstm",
           "softmax_cross_entropy", "use_kernels"]

keep_freed_memory()  # once for the process, before the first large array: fresh pages cost more than the work
