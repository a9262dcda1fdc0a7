"""Ops with a hand-derived backward; each equals its composite formula."""

from .dropout import dropout
from .embedding import embedding
from .linear import linear
from .lstm import lstm
from .memory import keep_freed_memory
from .op import FusedOp
from .softmax_cross_entropy import softmax_cross_entropy

__all__ = ["FusedOp", "dropout", "embedding", "linear", "lstm", "softmax_cross_entropy"]

keep_freed_memory()  # once for the process, before the first large array: fresh pages cost more than the work
