"""The kernels in Triton: on a GPU for CuPy's and torch's arrays, in Triton's interpreter for the CPU's."""
