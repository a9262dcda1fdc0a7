"""Ops with a hand-derived backward; each equals its composite formula."""

from .embedding import embedding
from .op import FusedOp
from .softmax_cross_entropy import softmax_cross_entropy

__all__ = ["FusedOp", "embedding", "softmax_cross_entropy"]
