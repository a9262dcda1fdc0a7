"""Softmax cross-entropy in Triton, one program for each row: the loss, and its gradient."""

import kernels.triton  # before triton: without a GPU it chooses the interpreter
import triton
import triton.language as tl


@triton.jit
def cross_entropy_forward(X, Y, LOSS, M, S, stride, V, ignore_index, BLOCK: tl.constexpr):
    """M[r] = max_j X[r, j], S[r] = sum_j exp(X[r, j] - M[r]), LOSS[r] = log S[r] + (M[r] - X[r, Y[r]]).

    A row is read once, in blocks:
        m' = max(m, max of the block),   s' = s exp(m - m') + sum exp(x - m')

    X: pointer to logits (R, V), float32 or float16; row r begins at r * stride. Y: (R,), labels in [0, V) or
    ignore_index; rows to be ignored have LOSS 0. LOSS, M, S: (R,), float32. BLOCK: a power of 2, smaller or
    larger than V. Logits may be -inf, not all of a row.
    """
    # BEGIN SOLUTION
    row = tl.program_id(0).to(tl.int64)
    y = tl.load(Y + row)
    m = tl.full((), float("-inf"), tl.float32)
    s = tl.full((), 0.0, tl.float32)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * stride + j, mask=j < V, other=float("-inf")).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x, axis=0))
        shift = tl.where(m_new == float("-inf"), 0.0, m_new)
        s = s * tl.exp(m - shift) + tl.sum(tl.exp(x - shift), axis=0)
        m = m_new
    counts = y != ignore_index
    x_y = tl.load(X + row * stride + y, mask=counts, other=0.0).to(tl.float32)
    loss = tl.where(counts, tl.log(s) + (m - x_y), 0.0)
    tl.store(LOSS + row, loss)
    tl.store(M + row, m)
    tl.store(S + row, s)
    # END SOLUTION


@triton.jit
def cross_entropy_backward(X, Y, M, S, DX, stride, V, ignore_index, scale, BLOCK: tl.constexpr):
    """DX[r, j] = scale (exp(X[r, j] - M[r]) / S[r] - [j = Y[r]]); 0 in rows to be ignored.

    X, Y, M, S: as for `cross_entropy_forward`. DX: pointer to (R, V) of X's type, row after row without gaps.
    scale: 1/N for the mean loss of N rows. BLOCK: a power of 2, smaller or larger than V.
    """
    # BEGIN SOLUTION
    row = tl.program_id(0).to(tl.int64)
    y = tl.load(Y + row)
    m = tl.load(M + row)
    total = tl.load(S + row)
    for start in range(0, V, BLOCK):
        k = start + tl.arange(0, BLOCK)
        logits = tl.load(X + row * stride + k, mask=k < V, other=float("-inf")).to(tl.float32)
        d = scale * (tl.exp(logits - m) / total - tl.where(k == y, 1.0, 0.0))
        d = tl.where(y == ignore_index, 0.0, d)
        tl.store(DX + row * V + k, d.to(DX.dtype.element_ty), mask=k < V)
    # END SOLUTION
