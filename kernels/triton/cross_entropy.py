r"""Softmax cross-entropy and its gradient in Triton: one program per row of logits.

For a row x with label y, m = max_j x_j, e_y = exp(x_y - m), r = sum_{j != y} exp(x_j - m), s = r + e_y:

    lse = m + log s
    nll = log1p(r / e_y)  if e_y >= r,  else  log s + (m - x_y)
    ce  = (1-e) w_y nll + (e/K) (W nll - sum_j w_j (x_j - x_y))
    dce/dx_j = a p_j - (e/K) w_j,   p_j = exp(x_j - m) / s,   a = (1-e) w_y + (e/K) W
    dce/dx_y = (e/K) (W - w_y) - a r / s

with e the label smoothing, w the class weights (1 without), and W = sum w_j over the K classes whose logit
is not -inf. r leaves the label out, so r / s keeps its relative accuracy as p_y -> 1, where p_y - 1 would
have none. The z-loss adds z lse^2; a softcap puts x = c tanh(raw / c) in place of the logits.

Bytes an element, for logits of b bytes (a row's few scalars not counted):

    one_sweep     up to 32768 columns: read once, held in registers, gradient written    2b
    two_sweeps    beyond: read twice, the second time from L2 as far as it fits          2b to 3b

Accesses are 16 bytes wide for every vocabulary. A mask for each element would make them narrow, so a row is
taken as whole 16-byte groups, one mask a group, and its edges, the few elements before the first group and
after the last, are read and written apart. Block sizes and why: `kernels.tuning`.
"""

# ruff: noqa: E402 - Triton is imported after the module that chooses between interpreter and compiler
from __future__ import annotations

from kernels import tuning
from kernels.arrays import View

from .launch import Launch

import triton
import triton.language as tl

INF = tl.constexpr(float("inf"))
NAN = tl.constexpr(float("nan"))

# tanh t = t + t^3 P(t^2) for |t| < 0.55, to 5e-9 of its value: Lawson's minimax fit, in float32.
P = tl.constexpr((-0.33333316445350647, 0.13332585990428925, -0.05385230854153633, 0.021071678027510643,
                  -0.006274239160120487))


# ---- Mathematics: an optional argument that is None costs nothing, its branch is not compiled ---------

@triton.jit
def log1p(u):
    """log(1 + u), u >= 0: the quotient puts back what rounding 1 + u lost (Kahan)."""
    w = 1.0 + u
    return tl.where(w == 1.0, u, tl.log(w) * tl.div_rn(u, w - 1.0))


@triton.jit
def tanh(t):
    """By exp, which overflows nowhere, and near 0, where 1 - exp(-2t) cancels, by a polynomial."""
    u = tl.exp(-2.0 * tl.abs(t))
    far = (1.0 - u) / (1.0 + u)
    q = t * t
    near = t + t * q * (P[0] + q * (P[1] + q * (P[2] + q * (P[3] + q * P[4]))))
    return tl.where(tl.abs(t) < 0.55, near, tl.where(t < 0.0, -far, far))


@triton.jit
def cap(raw, c):
    """x = c tanh(raw / c) in float32; -inf, a class that is not there, stays -inf."""
    x = raw.to(tl.float32)
    if c is not None:
        x = tl.where(x == -INF, x, c * tanh(x / c))
    return x


@triton.jit
def uncap(d, raw, c):
    """dL/draw = d (1 - tanh^2) = d 4u / (1+u)^2, u = exp(-2 |raw/c|), which does not cancel; 0 at -inf."""
    if c is not None:
        u = tl.exp(-2.0 * tl.abs(raw.to(tl.float32) / c))
        d *= 4.0 * u / ((1.0 + u) * (1.0 + u))
    return d


@triton.jit
def finite(m):
    """m, but 0 for a maximum over nothing: exp(-inf - -inf) would be NaN."""
    return tl.where(m == -INF, 0.0, m)


@triton.jit
def sums(x, m, w, is_label, x_y, e):
    """Over a block's last axis, the label left out: sum exp(x - m), and over the x that are not -inf
    sum 1, sum w and sum w (x - x_y), which only label smoothing needs."""
    r = tl.sum(tl.where(is_label, 0.0, tl.exp(x - m)), axis=1)
    K, W, C = tl.zeros_like(r), tl.zeros_like(r), tl.zeros_like(r)
    if e is not None:
        there = (x != -INF) & (is_label == 0)
        K = tl.sum(tl.where(there, 1.0, 0.0), axis=1)
        W = tl.sum(tl.where(there, w, 0.0), axis=1)
        C = tl.sum(tl.where(there, w * (x - x_y), 0.0), axis=1)
    return r, K, W, C


@triton.jit
def online(m, r, K, W, C, x, w, is_label, x_y, e):
    """The same sums, each line's running, after one more block; r is kept relative to the running m."""
    m_new = tl.maximum(m, tl.max(x, axis=1))
    more_r, more_K, more_W, more_C = sums(x, finite(m_new)[:, None], w, is_label, x_y, e)
    return m_new, r * tl.exp(m - finite(m_new)) + more_r, K + more_K, W + more_W, C + more_C


@triton.jit
def row_result(m, r, K, W, C, x_y, w_y, e, one_minus_e, z, scale_ce, scale_z, g):
    """What a row's sums give: its loss and lse, and A, B and d_y of the gradient A exp(x_j - m) - B w_j, d_y.

    K, W and C come without the label, which is added here if its logit is not -inf.
    """
    e_y = tl.exp(x_y - finite(m))
    s = r + e_y
    log_s = tl.log(s)
    lse = finite(m) + log_s
    nll = tl.where(e_y >= r, log1p(tl.div_rn(r, e_y)), log_s + (m - x_y))
    if e is None:
        a, ce, B = w_y, w_y * nll, 0.0
        d_y = -a * tl.div_rn(r, s)
    else:
        there = x_y != -INF
        share = tl.div_rn(e, K + tl.where(there, 1.0, 0.0))  # e/K
        all_W = W + tl.where(there, w_y, 0.0)
        a, B = one_minus_e * w_y + share * all_W, g * scale_ce * share
        ce = one_minus_e * w_y * nll + share * (all_W * tl.where(there, nll, lse) - C)
        d_y = share * W - a * tl.div_rn(r, s)
    loss, A, d_y = scale_ce * ce, scale_ce * a, scale_ce * d_y
    if z is not None:
        slope = 2.0 * scale_z * z * lse
        loss, A, d_y = loss + scale_z * z * lse * lse, A + slope, d_y + slope * tl.div_rn(e_y, s)
    return loss, lse, tl.div_rn(g * A, s), B, g * d_y


@triton.jit
def gradient(raw, m, w, is_label, A, B, d_y, e, c):
    """dL/draw of a block."""
    x = cap(raw, c)
    d = A * tl.exp(x - m)
    if e is not None:
        d -= tl.where(x != -INF, B * w, 0.0)
    return uncap(tl.where(is_label, d_y, d), raw, c)


# ---- Where a row's elements are ----------------------------------------------------------------------

@triton.jit
def aligned_part(row, V, VEC: tl.constexpr, ALIGNED: tl.constexpr):
    """How many elements lie before the row's first 16-byte boundary, and how many whole groups after it."""
    head = 0
    if not ALIGNED:
        head = tl.minimum((-row.to(tl.int64) & 15) // (16 // VEC), V).to(tl.int32)
    return head, (V - head) // VEC


@triton.jit
def block_at(GROUPS: tl.constexpr, VEC: tl.constexpr):
    """(GROUPS, VEC) offsets: one 16-byte group a line."""
    return tl.arange(0, GROUPS)[:, None] * VEC + tl.arange(0, VEC)[None, :]


@triton.jit
def edges_at(head, tail, V, VEC: tl.constexpr):
    """(2, VEC) columns before the first group and from `tail` on, and which of them exist."""
    line, j = tl.arange(0, 2)[:, None], tl.arange(0, VEC)[None, :]
    cols = tl.where(line == 0, j, tail + j)
    return cols, cols < tl.where(line == 0, head, V)


@triton.jit
def weights_at(WEIGHTS, cols, mask, e):
    """Class weights of a block, which only label smoothing needs; 1 without."""
    w = 1.0
    if WEIGHTS is not None and e is not None:
        w = tl.load(WEIGHTS + cols, mask=mask)  # where masked off, x is -inf and takes no weight
    return w


@triton.jit
def of_row(SCALES, GRAD, WEIGHTS, row, grad_stride, y):
    """The row's factors: on the cross-entropy, on the z-loss, on the gradient, and its label's weight."""
    scale_ce, scale_z, g, w_y = 1.0, 1.0, 1.0, 1.0
    if SCALES is not None:
        scale_ce, scale_z = tl.load(SCALES), tl.load(SCALES + 1)
    if GRAD is not None:
        g = tl.load(GRAD + row * grad_stride)
    if WEIGHTS is not None:
        w_y = tl.load(WEIGHTS + y)
    return scale_ce, scale_z, g, w_y


@triton.jit
def fill(dx_row, dx_first, head, groups, V, value, GROUPS: tl.constexpr, VEC: tl.constexpr, ALIGNED: tl.constexpr):
    """The gradient of a row that is ignored, 0, or whose label is no class, NaN."""
    zeros = tl.full((GROUPS, VEC), 0.0, tl.float32)
    for start in range(0, groups, GROUPS):
        mask = start + tl.arange(0, GROUPS)[:, None] < groups
        at = dx_first + start * VEC + block_at(GROUPS, VEC)
        tl.store(at, (zeros + value).to(dx_row.dtype.element_ty), mask=mask)
    if not ALIGNED:
        cols, mask = edges_at(head, head + groups * VEC, V, VEC)
        tl.store(dx_row + cols, (tl.full((2, VEC), 0.0, tl.float32) + value).to(dx_row.dtype.element_ty), mask=mask)


# ---- Kernels -----------------------------------------------------------------------------------------

@triton.jit(do_not_specialize=["x_stride", "dx_stride", "grad_stride", "V", "ignore_index"])
def one_sweep(X, Y, DX, LOSS, LSE, SCALES, GRAD, WEIGHTS, x_stride, dx_stride, grad_stride, V, ignore_index,
              e, one_minus_e, z, c, GROUPS: tl.constexpr, VEC: tl.constexpr, ALIGNED: tl.constexpr,
              DX_ALIGNED: tl.constexpr):
    """A row of at most GROUPS * VEC columns: read, reduced and turned into its gradient in registers."""
    row = tl.program_id(0).to(tl.int64)
    y = tl.load(Y + row).to(tl.int64)
    x_row = X + row * x_stride
    head, groups = aligned_part(x_row, V, VEC, ALIGNED)
    first = tl.multiple_of(x_row if ALIGNED else x_row + head, 16)
    if DX is not None:
        dx_row = DX + row * dx_stride
        dx_first = dx_row if ALIGNED else dx_row + head
        if DX_ALIGNED:
            dx_first = tl.multiple_of(dx_first, 16)
    at = block_at(GROUPS, VEC)
    if (y == ignore_index) | (y < 0) | (y >= V):
        nothing = tl.where(y == ignore_index, 0.0, NAN)
        tl.store(LOSS + row, nothing)
        tl.store(LSE + row, nothing)
        if DX is not None:
            fill(dx_row, dx_first, head, groups, V, nothing, GROUPS, VEC, ALIGNED)
    else:
        mask = tl.arange(0, GROUPS)[:, None] < groups
        raw = tl.load(first + at, mask=mask, other=-INF)
        x_y = cap(tl.load(x_row + y), c)
        scale_ce, scale_z, g, w_y = of_row(SCALES, GRAD, WEIGHTS, row, grad_stride, y)
        x, cols = cap(raw, c), head + at
        is_y = cols == y.to(tl.int32)
        w = weights_at(WEIGHTS, cols, mask, e)
        m = tl.max(tl.max(x, axis=1), axis=0)
        if not ALIGNED:
            edge_cols, edge_mask = edges_at(head, head + groups * VEC, V, VEC)
            edge_raw = tl.load(x_row + edge_cols, mask=edge_mask, other=-INF)
            edge_is_y = edge_cols == y.to(tl.int32)
            edge_x, edge_w = cap(edge_raw, c), weights_at(WEIGHTS, edge_cols, edge_mask, e)
            m = tl.maximum(m, tl.max(tl.max(edge_x, axis=1), axis=0))
        reference = tl.where(x_y == -INF, 0.0, x_y)
        r, K, W, C = sums(x, finite(m), w, is_y, reference, e)
        r, K, W, C = tl.sum(r), tl.sum(K), tl.sum(W), tl.sum(C)
        if not ALIGNED:
            r2, K2, W2, C2 = sums(edge_x, finite(m), edge_w, edge_is_y, reference, e)
            r, K, W, C = r + tl.sum(r2), K + tl.sum(K2), W + tl.sum(W2), C + tl.sum(C2)
        loss, lse, A, B, d_y = row_result(m, r, K, W, C, x_y, w_y, e, one_minus_e, z, scale_ce, scale_z, g)
        tl.store(LOSS + row, loss)
        tl.store(LSE + row, lse)
        if DX is not None:
            d = gradient(raw, finite(m), w, is_y, A, B, d_y, e, c)
            tl.store(dx_first + at, d.to(DX.dtype.element_ty), mask=mask)
            if not ALIGNED:
                d = gradient(edge_raw, finite(m), edge_w, edge_is_y, A, B, d_y, e, c)
                tl.store(dx_row + edge_cols, d.to(DX.dtype.element_ty), mask=edge_mask)


@triton.jit(do_not_specialize=["x_stride", "dx_stride", "grad_stride", "V", "ignore_index"])
def two_sweeps(X, Y, DX, LOSS, LSE, SCALES, GRAD, WEIGHTS, x_stride, dx_stride, grad_stride, V, ignore_index,
               e, one_minus_e, z, c, GROUPS: tl.constexpr, VEC: tl.constexpr, ALIGNED: tl.constexpr,
               DX_ALIGNED: tl.constexpr):
    """A longer row, in blocks of GROUPS * VEC columns: online softmax, then the gradient.

    Each line of a block keeps its own running maximum, so the loops have no barrier. The first sweep asks L2
    to keep the row for the second, which asks it to let go.
    """
    row = tl.program_id(0).to(tl.int64)
    y = tl.load(Y + row).to(tl.int64)
    x_row = X + row * x_stride
    head, groups = aligned_part(x_row, V, VEC, ALIGNED)
    first = tl.multiple_of(x_row if ALIGNED else x_row + head, 16)
    if DX is not None:
        dx_row = DX + row * dx_stride
        dx_first = dx_row if ALIGNED else dx_row + head
        if DX_ALIGNED:
            dx_first = tl.multiple_of(dx_first, 16)
    at = block_at(GROUPS, VEC)
    if (y == ignore_index) | (y < 0) | (y >= V):
        nothing = tl.where(y == ignore_index, 0.0, NAN)
        tl.store(LOSS + row, nothing)
        tl.store(LSE + row, nothing)
        if DX is not None:
            fill(dx_row, dx_first, head, groups, V, nothing, GROUPS, VEC, ALIGNED)
    else:
        x_y = cap(tl.load(x_row + y), c)
        scale_ce, scale_z, g, w_y = of_row(SCALES, GRAD, WEIGHTS, row, grad_stride, y)
        reference = tl.where(x_y == -INF, 0.0, x_y)
        label = y.to(tl.int32)
        whole = groups // GROUPS * GROUPS  # groups in full blocks; the others need a mask
        mask = whole + tl.arange(0, GROUPS)[:, None] < groups

        m, r = tl.full((GROUPS,), -INF, tl.float32), tl.zeros((GROUPS,), tl.float32)
        K, W, C = tl.zeros_like(r), tl.zeros_like(r), tl.zeros_like(r)
        for start in range(0, whole, GROUPS):
            cols = head + start * VEC + at
            x = cap(tl.load(first + start * VEC + at, eviction_policy="evict_last"), c)
            w = weights_at(WEIGHTS, cols, None, e)
            m, r, K, W, C = online(m, r, K, W, C, x, w, cols == label, reference, e)
        if whole < groups:
            cols = head + whole * VEC + at
            x = cap(tl.load(first + whole * VEC + at, mask=mask, other=-INF, eviction_policy="evict_last"), c)
            w = weights_at(WEIGHTS, cols, mask, e)
            m, r, K, W, C = online(m, r, K, W, C, x, w, cols == label, reference, e)
        M = tl.max(m, axis=0)
        if not ALIGNED:
            edge_cols, edge_mask = edges_at(head, head + groups * VEC, V, VEC)
            edge_raw = tl.load(x_row + edge_cols, mask=edge_mask, other=-INF)
            edge_x, edge_w = cap(edge_raw, c), weights_at(WEIGHTS, edge_cols, edge_mask, e)
            M = tl.maximum(M, tl.max(tl.max(edge_x, axis=1), axis=0))
        r = tl.sum(r * tl.exp(m - finite(M)))
        K, W, C = tl.sum(K), tl.sum(W), tl.sum(C)
        if not ALIGNED:
            r2, K2, W2, C2 = sums(edge_x, finite(M), edge_w, edge_cols == label, reference, e)
            r, K, W, C = r + tl.sum(r2), K + tl.sum(K2), W + tl.sum(W2), C + tl.sum(C2)
        loss, lse, A, B, d_y = row_result(M, r, K, W, C, x_y, w_y, e, one_minus_e, z, scale_ce, scale_z, g)
        tl.store(LOSS + row, loss)
        tl.store(LSE + row, lse)

        if DX is not None:
            for start in range(0, whole, GROUPS):
                cols = head + start * VEC + at
                raw = tl.load(first + start * VEC + at, eviction_policy="evict_first")
                d = gradient(raw, finite(M), weights_at(WEIGHTS, cols, None, e), cols == label, A, B, d_y, e, c)
                tl.store(dx_first + start * VEC + at, d.to(DX.dtype.element_ty), eviction_policy="evict_first")
            if whole < groups:
                cols = head + whole * VEC + at
                raw = tl.load(first + whole * VEC + at, mask=mask, other=-INF, eviction_policy="evict_first")
                d = gradient(raw, finite(M), weights_at(WEIGHTS, cols, mask, e), cols == label, A, B, d_y, e, c)
                tl.store(dx_first + whole * VEC + at, d.to(DX.dtype.element_ty), mask=mask)
            if not ALIGNED:
                d = gradient(edge_raw, finite(M), edge_w, edge_cols == label, A, B, d_y, e, c)
                tl.store(dx_row + edge_cols, d.to(DX.dtype.element_ty), mask=edge_mask)


@triton.jit
def inverse_counts(Y, WEIGHTS, OUT, R, V, ignore_index, BLOCK: tl.constexpr):
    """OUT = (1/D, 1/N): the kept labels' weights summed and their number, inverted; 0 for 1/0."""
    at = tl.arange(0, BLOCK)
    D, N = tl.zeros((BLOCK,), tl.float64), tl.zeros((BLOCK,), tl.float64)
    for start in range(0, R, BLOCK):
        y = tl.load(Y + start + at, mask=start + at < R, other=-1).to(tl.int64)
        kept = (y != ignore_index) & (y >= 0) & (y < V)
        w = kept.to(tl.float64)
        N += w
        if WEIGHTS is not None:
            w = tl.load(WEIGHTS + y, mask=kept, other=0.0).to(tl.float64)
        D += w
    D, N = tl.sum(D), tl.sum(N)
    tl.store(OUT, tl.where(D == 0.0, 0.0, 1.0 / D).to(tl.float32))
    tl.store(OUT + 1, tl.where(N == 0.0, 0.0, 1.0 / N).to(tl.float32))


@triton.jit
def sum_all(LOSS, OUT, R, BLOCK: tl.constexpr):
    """OUT = sum LOSS, by one program in float64: the same bits every time."""
    at = tl.arange(0, BLOCK)
    s = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, R, BLOCK):
        s += tl.load(LOSS + start + at, mask=start + at < R, other=0.0).to(tl.float64)
    tl.store(OUT, tl.sum(s).to(tl.float32))


# ---- Host side ---------------------------------------------------------------------------------------

def rows(x: View, y: View, dx: View | None, loss: View, lse: View, *, scales: View | None = None,
         grad: View | None = None, weights: View | None = None, ignore_index: int, label_smoothing: float,
         z_loss: float, softcap: float | None) -> None:
    """Losses, log-sum-exps and gradients of all rows: `plan(...)` launched.

    Args:
        x: (R, V), float32, float16 or bfloat16, any row stride.
        y: (R,), int64 or int32.
        dx: (R, V), for the gradient, or None; may be x.
        loss, lse: (R,), float32, written.
        scales: (2,), factors on the cross-entropy and on the z-loss; None is 1.
        grad: () or (R,), a factor on the gradient alone; None is 1.
        weights: (V,), class weights, or None.
        ignore_index, label_smoothing, z_loss, softcap: as in `kernels.softmax_cross_entropy`.

    Raises:
        kernels.backends.BackendUnavailable: Triton cannot run where the arrays are.
    """
    if x.shape[0]:
        plan(x, y, dx, loss, lse, scales, grad, weights, ignore_index, label_smoothing, z_loss, softcap)()


def plan(x: View, y: View, dx: View | None, loss: View, lse: View, scales: View | None, grad: View | None,
         weights: View | None, ignore_index: int, label_smoothing: float, z_loss: float,
         softcap: float | None) -> Launch:
    """The kernel and its arguments for these arrays; see `rows`."""
    (R, V), vec = x.shape, 16 // x.itemsize
    smooth = label_smoothing or None
    options = (smooth is not None) + (smooth is not None and weights is not None) + (softcap is not None)
    block, warps = tuning.triton_cross_entropy(V, options)
    args = dict(X=x, Y=y, DX=dx, LOSS=loss, LSE=lse, SCALES=scales, GRAD=grad, WEIGHTS=weights,
                x_stride=x.strides[0], dx_stride=dx.strides[0] if dx else 0,
                grad_stride=grad.strides[0] if grad and grad.shape else 0, V=V, ignore_index=ignore_index,
                e=smooth, one_minus_e=smooth and 1 - smooth, z=z_loss or None, c=softcap)
    constants = dict(GROUPS=block // vec, VEC=vec, ALIGNED=_aligned(x) and V % vec == 0,
                     DX_ALIGNED=dx is not None and _same_boundaries(x, dx))
    return Launch(one_sweep if V <= block else two_sweeps, args, constants, grid=R, warps=warps)


def _aligned(x: View) -> bool:
    """Whether every row begins at a 16-byte boundary."""
    return x.address % 16 == 0 and (x.shape[0] == 1 or x.strides[0] * x.itemsize % 16 == 0)


def _same_boundaries(x: View, dx: View) -> bool:
    """Whether the 16-byte groups of every row of x are 16-byte groups of dx's as well."""
    apart = (x.shape[0] > 1) * (x.strides[0] - dx.strides[0]) * x.itemsize
    return (x.address - dx.address) % 16 == 0 and apart % 16 == 0


def scales(y: View, weights: View | None, out: View, *, ignore_index: int, vocab: int) -> None:
    """out = (1/D, 1/N), float32: D sums the weights of the labels that are kept, N counts them; 0 for 1/0.

    Args:
        y: (R,), int64 or int32; those that are ignore_index or no class are not kept.
        weights: (V,), or None: 1 each.
        out: (2,), written.
    """
    args = dict(Y=y, WEIGHTS=weights, OUT=out, R=y.size, V=vocab, ignore_index=ignore_index)
    Launch(inverse_counts, args, dict(BLOCK=tuning.TRITON_TOTAL), grid=1, warps=8)()


def total(loss: View, out: View) -> None:
    """out = the sum of the rows' losses, float32.

    Args:
        loss: (R,), float32.
        out: (), written.
    """
    Launch(sum_all, dict(LOSS=loss, OUT=out, R=loss.size), dict(BLOCK=tuning.TRITON_TOTAL), grid=1, warps=8)()
