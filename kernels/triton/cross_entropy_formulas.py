"""The mathematics of the cross-entropy kernels, on blocks that are already loaded; see `cross_entropy`.

A block is (lines, elements of a line), and what is summed over its last axis stays in one thread. An optional
argument that is None costs nothing: its branch is not compiled. exp and log are Triton's own, since the
interpreter knows no others.
"""

# mypy: allow-untyped-defs
from __future__ import annotations

import triton
import triton.language as tl

INF = tl.constexpr(float("inf"))
NAN = tl.constexpr(float("nan"))

# tanh t = t + t^3 P(t^2) for |t| < 0.55, to 5e-9 of its value: Lawson's minimax fit, in float32.
P = tl.constexpr((-0.33333316445350647, 0.13332585990428925, -0.05385230854153633, 0.021071678027510643,
                  -0.006274239160120487))


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
    """Over a block's last axis, the label left out: sum exp(x - m), and sums for label smoothing.

    These go over the x that are not -inf: sum 1, sum w and sum w (x - x_y).
    """
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
        ce = one_minus_e * w_y * nll + share * (all_W * nll - C)
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
