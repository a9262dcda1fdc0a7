"""Ops with a hand-derived backward; each equals its composite formula."""

from .dropout import dropout
from .embedding import embedding
from .linear import linear
from .lstm import lstm
from .op import FusedOp
from .softmax_cross_entropy import softmax_cross_entropy

__all__ = ["FusedOp", "dropout", "embedding", "linear", "lstm", "softmax_cross_entropy"]
