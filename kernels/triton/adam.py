r"""Adam for many tensors in Triton: one program per tile of a tensor, found through a table of pointers.

    g = grad / grad_scale,  -g to maximize
    theta = theta - alpha lambda theta               decoupled decay;  coupled: g = g + lambda theta
    m = beta1 m + (1 - beta1) g
    v = beta2 v + (1 - beta2) (g g)                  amsgrad: vmax = max(vmax, v) takes v's place below
    theta = theta - alpha / (sqrt(v / c2) + eps) (m / c1),   c = 1 - beta^t

All in float32, each operation rounded once: bit for bit what NumPy gives (with `exact`, which takes IEEE
division and root and forbids FMA).

Bytes an element: p, m, v read and written, g read.  float32: 28.  all bfloat16: 14.  bfloat16 p and g with
float32 m, v and master (which is read in p's place): 28.  The table: 8 bytes a tile of 4096 elements.

A tile is 4096 elements, taken by 8 warps 1024 or 2048 at a time, so that every thread makes one 16-byte
access of the widest type (8 bytes of a 2-byte type beside float32) and registers leave room for several
programs an SM, whose loads overlap. A whole tile of a tensor whose arrays all lie on 16-byte boundaries needs
no mask; a mask of single elements, which makes accesses narrow, is left to the last tile of a tensor and to
unaligned views.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
from __future__ import annotations

import struct
from collections.abc import Sequence

import triton
import triton.language as tl

from kernels.adam import AdamOptions
from kernels.arrays import View
from kernels.pointer_table import AdamTensor, Table
from kernels.tuning import ADAM_TILE, TRITON_ADAM_WARPS

from .launch import Launch

COLUMNS = tl.constexpr(9)  # of the pointer table


# ---- Mathematics -------------------------------------------------------------------------------------

@triton.jit
def divide(a, b, EXACT: tl.constexpr):
    if EXACT:
        q = tl.div_rn(a, b)
    else:
        q = a / b
    return q


@triton.jit
def root(a, EXACT: tl.constexpr):
    if EXACT:
        q = tl.sqrt_rn(a)
    else:
        q = tl.sqrt(a)
    return q


@triton.jit
def adam(theta, g, m, v, vmax, rates, EXACT: tl.constexpr):
    """(theta, m, v, the largest v) after the step.

    alpha_lambda is None but for decoupled decay, lambda_ but for coupled, vmax but for amsgrad.
    """
    alpha, alpha_lambda, lambda_, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps = rates
    if alpha_lambda is not None:
        theta = theta - alpha_lambda * theta
    if lambda_ is not None:
        g = g + lambda_ * theta
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * (g * g)
    v_used = v
    if vmax is not None:
        v_used = tl.maximum(vmax, v, propagate_nan=tl.PropagateNan.ALL)
    m_hat = divide(m, c1, EXACT)
    v_hat = divide(v_used, c2, EXACT)
    theta = theta - divide(alpha, root(v_hat, EXACT) + eps, EXACT) * m_hat
    return theta, m, v, v_used


@triton.jit
def bias_correction(beta_bits, t):
    """1 - beta^t: in float64 by squaring, so that NumPy and CUDA can do the same; then float32.

    beta comes as the bits of a float64, because Triton passes Python's floats as float32.
    """
    b = beta_bits.to(tl.int64).to(tl.float64, bitcast=True)
    power = tl.full((), 1.0, tl.float64)
    while t > 0:
        power = tl.where((t & 1) != 0, power * b, power)
        b = b * b
        t = t >> 1
    return (1.0 - power).to(tl.float32)


@triton.jit
def fmix32(x):
    """Murmur3's finaliser: every bit of x changes about half the bits of the result."""
    x = (x ^ (x >> 16)) * 0x85EBCA6B
    x = (x ^ (x >> 13)) * 0xC2B2AE35
    return x ^ (x >> 16)


@triton.jit
def round_stochastically(theta, seed, step, tensor, i):
    """theta as a float32 that bfloat16 can hold: one of its two neighbours, by the distance to each.

    Adding random bits below bfloat16's last place carries into it with just that probability.
    """
    key = fmix32(fmix32(seed ^ (step * 0x85EBCA6B)) ^ (tensor * 0x9E3779B9))
    h = fmix32(i.to(tl.uint32) ^ fmix32((i >> 32).to(tl.uint32) ^ key))
    bits = theta.to(tl.uint32, bitcast=True)
    rounded = (bits + (h & 0xFFFF)) & 0xFFFF0000
    finite = (bits & 0x7F800000) != 0x7F800000
    return tl.where(finite, rounded, bits).to(tl.float32, bitcast=True)


# ---- Kernel ------------------------------------------------------------------------------------------

@triton.constexpr_function
def element(name):
    """Triton's type for a `View`'s."""
    return getattr(tl, name)


@triton.jit
def pointer(address, TYPE: tl.constexpr, ALIGNED: tl.constexpr):
    p = address.to(tl.pointer_type(element(TYPE)))
    if ALIGNED:
        p = tl.multiple_of(p, 16)
    return p


@triton.jit
def update_tile(row, start, rates, scale, seed, step, P: tl.constexpr, G: tl.constexpr, M: tl.constexpr,
                AMSGRAD: tl.constexpr, MASTER: tl.constexpr, MAXIMIZE: tl.constexpr, EXACT: tl.constexpr,
                TILE: tl.constexpr, BLOCK: tl.constexpr, VEC: tl.constexpr, WHOLE: tl.constexpr):
    """Elements [start, start + TILE) of the tensor in `row` of the table; WHOLE: aligned, and all exist."""
    n = tl.load(row + 6)
    p_first, g_first = pointer(tl.load(row), P, WHOLE), pointer(tl.load(row + 1), G, WHOLE)
    m_first, v_first = pointer(tl.load(row + 2), M, WHOLE), pointer(tl.load(row + 3), M, WHOLE)
    vmax_first, theta_first = pointer(tl.load(row + 4), M, WHOLE), pointer(tl.load(row + 5), "float32", WHOLE)
    end = TILE if WHOLE else tl.minimum(n - start, TILE).to(tl.int32)
    for block in range(0, end, BLOCK):
        # (BLOCK / VEC, VEC): the elements of one thread's access in a line
        i = start + block + tl.arange(0, BLOCK // VEC)[:, None] * VEC + tl.arange(0, VEC)[None, :]
        mask = None if WHOLE else i < n
        g = tl.load(g_first + i, mask=mask).to(tl.float32)
        m, v = tl.load(m_first + i, mask=mask).to(tl.float32), tl.load(v_first + i, mask=mask).to(tl.float32)
        if MASTER:
            theta = tl.load(theta_first + i, mask=mask)
        else:
            theta = tl.load(p_first + i, mask=mask).to(tl.float32)
        vmax = tl.load(vmax_first + i, mask=mask).to(tl.float32) if AMSGRAD else None
        if scale is not None:
            g = divide(g, scale, EXACT)
        if MAXIMIZE:
            g = g * -1.0  # Triton 3.6 computes -g as 0 - g, which loses the sign of 0
        theta, m, v, vmax = adam(theta, g, m, v, vmax, rates, EXACT)
        tl.store(m_first + i, m.to(element(M)), mask=mask)
        tl.store(v_first + i, v.to(element(M)), mask=mask)
        if AMSGRAD:
            tl.store(vmax_first + i, vmax.to(element(M)), mask=mask)
        if MASTER:
            tl.store(theta_first + i, theta, mask=mask)
        if seed is not None:
            theta = round_stochastically(theta, seed.to(tl.uint32), step.to(tl.uint32),
                                         tl.load(row + 7).to(tl.uint32), i)
        tl.store(p_first + i, theta.to(element(P)), mask=mask)


@triton.jit(do_not_specialize=["step", "seed", "beta1_bits", "beta2_bits"])
def update_tiles(ROWS, TILES, LR, STEP, GRAD_SCALE, FOUND_INF, alpha, alpha_lambda, lambda_, beta1,
                 one_minus_beta1, beta1_bits, beta2, one_minus_beta2, beta2_bits, c1, c2, eps, step, seed,
                 P: tl.constexpr, G: tl.constexpr, M: tl.constexpr, AMSGRAD: tl.constexpr,
                 MASTER: tl.constexpr, MAXIMIZE: tl.constexpr, DECOUPLED: tl.constexpr, EXACT: tl.constexpr,
                 TILE: tl.constexpr, BLOCK: tl.constexpr, VEC: tl.constexpr):
    """One tile. lr and step come as numbers, or from the device by LR and STEP; the others are None."""
    tile = TILES + tl.program_id(0).to(tl.int64) * 2
    row = ROWS + tl.load(tile).to(tl.int64) * COLUMNS
    start = tl.load(tile + 1).to(tl.int64) * TILE
    if LR is not None:
        alpha = tl.load(LR)
        if DECOUPLED and lambda_ is not None:
            alpha_lambda = alpha * lambda_
    if STEP is not None:
        step = tl.load(STEP).to(tl.int64)
        c1, c2 = bias_correction(beta1_bits, step), bias_correction(beta2_bits, step)
    scale = None if GRAD_SCALE is None else tl.load(GRAD_SCALE)
    rates = (alpha, alpha_lambda, None if DECOUPLED else lambda_, beta1, one_minus_beta1, beta2,
             one_minus_beta2, c1, c2, eps)
    found_inf = 0.0 if FOUND_INF is None else tl.load(FOUND_INF)
    if found_inf == 0.0:
        if (tl.load(row + 8) != 0) & (start + TILE <= tl.load(row + 6)):
            update_tile(row, start, rates, scale, seed, step, P, G, M, AMSGRAD, MASTER, MAXIMIZE, EXACT, TILE,
                        BLOCK, VEC, True)
        else:
            update_tile(row, start, rates, scale, seed, step, P, G, M, AMSGRAD, MASTER, MAXIMIZE, EXACT, TILE,
                        BLOCK, VEC, False)


# ---- Host side ---------------------------------------------------------------------------------------

def update(tensors: Sequence[AdamTensor], options: AdamOptions, table: Table) -> None:
    """One step on all tensors, in place, in one launch; see `kernels.adam_step`.

    Args:
        tensors: with the same dtypes; none empty.
        options: of the step.
        table: where they are.

    Raises:
        kernels.backends.BackendUnavailable: Triton cannot run where the arrays are.
    """
    plan(tensors, options, table)()


def plan(tensors: Sequence[AdamTensor], o: AdamOptions, table: Table) -> Launch:
    """The kernel and its arguments for these tensors; see `update`."""
    first, decay = tensors[0], o.weight_decay or None
    alpha = None if isinstance(o.lr, View) else o.lr
    # a double product where the host knows both; of a learning rate on the device the kernel forms it
    alpha_lambda = alpha * decay if o.decoupled and decay is not None and alpha is not None else None
    c1, c2 = (None, None) if isinstance(o.step, View) else o.corrections
    # 16 bytes of the widest type for each thread: a narrower one then takes 8, and no element changes threads
    vec = 16 // max(view.itemsize for view in first if view is not None)
    args = {
        "ROWS": table.rows, "TILES": table.tiles, "LR": o.lr if isinstance(o.lr, View) else None,
        "STEP": o.step if isinstance(o.step, View) else None, "GRAD_SCALE": o.grad_scale,
        "FOUND_INF": o.found_inf, "alpha": alpha, "alpha_lambda": alpha_lambda,
        "lambda_": None if alpha_lambda is not None else decay,
        "beta1": o.beta1, "one_minus_beta1": 1 - o.beta1, "beta1_bits": _bits(o.beta1),
        "beta2": o.beta2, "one_minus_beta2": 1 - o.beta2, "beta2_bits": _bits(o.beta2),
        "c1": c1, "c2": c2, "eps": o.eps, "step": None if isinstance(o.step, View) else o.step & 0xFFFFFFFF,
        "seed": None if o.rounding_seed is None else o.rounding_seed & 0xFFFFFFFF}
    constants = {"P": first.p.dtype, "G": first.g.dtype, "M": first.m.dtype, "AMSGRAD": o.amsgrad,
                 "MASTER": first.master is not None, "MAXIMIZE": o.maximize, "DECOUPLED": o.decoupled,
                 "EXACT": o.exact, "TILE": ADAM_TILE, "BLOCK": 32 * TRITON_ADAM_WARPS * vec, "VEC": vec}
    return Launch(update_tiles, args, constants, grid=table.tiles.shape[0], warps=TRITON_ADAM_WARPS,
                  fuse=not o.exact)


def _bits(beta: float) -> int:
    """The bits of a float64 as an int."""
    return struct.unpack("<q", struct.pack("<d", beta))[0]
