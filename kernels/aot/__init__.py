"""Ahead-of-time gates: every kernel compiled for its targets without a GPU, and held against its limits.

    table.py          which kernels, on which targets, with which limits
    problems.py       small problems with their answers, and the bytes that must move
    launches.py       what the host side would launch for them
    triton_worker.py  compiles Triton, in a process of its own          nvrtc.py  compiles CUDA C
    ptx.py, amdgcn.py what a compiler's text says
    emulator.py       runs PTX on the CPU and counts bytes, with instructions.py, arithmetic.py, values.py
    gates.py          all of it together

`python -m kernels.report` prints the table.
"""
