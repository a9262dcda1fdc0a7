"""The kernels in Triton: compiled for CuPy's and torch's arrays on a GPU, interpreted for the CPU's."""

from .interpreter import prepare

prepare()  # before a kernel's module imports Triton
