"""The table of derivatives: for each NumPy function, one rule per argument."""

from . import arithmetic, indexing, products, reductions, shapes
from .registry import COMPOSED, RULES, AllArguments, EachArgument, composed, primitive

__all__ = ["COMPOSED", "RULES", "AllArguments", "EachArgument", "arithmetic", "composed", "indexing",
           "primitive", "products", "reductions", "shapes"]
