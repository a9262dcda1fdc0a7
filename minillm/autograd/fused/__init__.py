"""Ops with a hand-derived backward; each equals its composite formula."""

from .attention import attention
from .dropout import dropout
from .embedding import embedding
from .gelu import gelu, gelu_tanh
from .linear import linear
from .lstm import lstm
from .memory import keep_freed_memory
from .norms import layer_norm, rms_norm
from .op import FusedOp
from .registry import Implementation, implementations, use_kernels
from .rotary import rotate_pairs
from .softmax_cross_entropy import softmax_cross_entropy
from .swiglu import swiglu

__all__ = ["FusedOp", "Implementation", "attention", "dropout", "embedding", "gelu", "gelu_tanh",
           "implementations", "layer_norm", "linear", "lstm", "rms_norm", "rotate_pairs",
           "softmax_cross_entropy", "swiglu", "use_kernels"]

keep_freed_memory()  # once for the process, before the first large array: fresh pages cost more than the work
