"""Ops with a hand-derived backward; each equals its composite formula."""

from .embedding import embedding
from .linear import linear
from .lstm import lstm
from .op import FusedOp
from .softmax_cross_entropy import softmax_cross_entropy

__all__ = ["FusedOp", "embedding", "linear", "lstm", "softmax_cross_entropy"]
