"""A softmax with a running maximum and sum, to be stepped through: a file, for Triton reads its source."""

import kernels.triton  # noqa: F401, I001 - before triton: without a GPU it chooses the interpreter
import triton
import triton.language as tl


@triton.jit
def largest(a, b):
    return tl.maximum(a, b)


@triton.jit
def running_softmax(x, y, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = -float("inf")
    s = 0.0
    for start in range(0, n, BLOCK):
        i = start + tl.arange(0, BLOCK)
        block = tl.load(x + row * n + i, mask=i < n, other=-float("inf"))
        m_new = largest(m, tl.max(block, axis=0))
        s = s * tl.exp(m - m_new) + tl.sum(tl.exp(block - m_new), axis=0)
        m = m_new
    for start in range(0, n, BLOCK):
        i = start + tl.arange(0, BLOCK)
        block = tl.load(x + row * n + i, mask=i < n, other=-float("inf"))
        tl.store(y + row * n + i, tl.exp(block - m) / s, mask=i < n)


@triton.jit
def long_lines(x, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    y = tl.where(i < 2,
                 10.0,
                 20.0
                 )
    if (
        y.shape[0] == 4
    ):
        tl.store(x + i,
                 y)


@triton.jit
def add_up(x, total, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.atomic_add(total + i, tl.load(x + i, mask=i < n, other=0.0), mask=i < n)
    tl.atomic_cas(total + n, 0.0, 1.0)


@triton.jit
def count_up(x, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(x + i, i + tl.program_id(0), mask=i < n)
    y = tl.load(x + i, mask=i < n)
    tl.store(x + i, y + 1, mask=i < n)
