"""minillm: language models from scratch, in NumPy. Write NumPy, get gradients."""

from .autograd import Tensor, check_gradients, grad, no_grad

__version__ = "0.1.0"
__all__ = ["Tensor", "check_gradients", "grad", "no_grad"]
