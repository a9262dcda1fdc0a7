"""The kernels in CUDA C++: on a GPU through CuPy, on the CPU through `kernels.cuda.host`."""
