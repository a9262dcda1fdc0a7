"""The engine: Tensors that record NumPy, and the walk back that differentiates them."""

# First: at its end tensor.py brings in the walk and the rules, which need it complete.
from .state import no_grad
from .tensor import Tensor

# isort: split
from .anomaly import detect_anomaly
from .check import check_gradients
from .draw import draw_graph
from .fused import implementations, use_kernels
from .invariant import batch_invariant
from .walk import grad

__all__ = ["Tensor", "batch_invariant", "check_gradients", "detect_anomaly", "draw_graph", "grad",
           "implementations", "no_grad", "use_kernels"]
