"""minillm: language models from scratch, in NumPy. Write NumPy, get gradients."""

from . import formulas, keras, nn, optim
from .autograd import (
    Tensor,
    batch_invariant,
    check_gradients,
    detect_anomaly,
    draw_graph,
    grad,
    no_grad,
    use_kernels,
)
from .autograd.fused import embedding, lstm, softmax_cross_entropy
from .nn import manual_seed
from .stepper import trace

__version__ = "0.1.0"
__all__ = [
    "Tensor",
    "batch_invariant",
    "check_gradients",
    "detect_anomaly",
    "draw_graph",
    "embedding",
    "formulas",
    "grad",
    "keras",
    "lstm",
    "manual_seed",
    "nn",
    "no_grad",
    "optim",
    "softmax_cross_entropy",
    "trace",
    "use_kernels",
]
