"""The NumPy backend: the formulas of `minillm.formulas`, behind the interface of the GPU kernels."""
