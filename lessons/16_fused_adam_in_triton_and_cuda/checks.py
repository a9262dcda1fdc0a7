"""Exercises of lesson 16: kernels, launched in Triton's interpreter between guards; and rounding."""

import importlib.util
import os

if importlib.util.find_spec("triton") is None:  # OSError: shown in one line
    raise OSError("lesson 16 needs Triton: pip install triton (Linux; a GPU is not needed)")
os.environ.setdefault("TRITON_INTERPRET", "1")

importlib.import_module("kernels.triton")  # before triton

import numpy as np
import triton
import triton.language as tl

from kernels.testing import run_triton
from minillm import formulas
from minillm.course import Exercise

f32 = np.float32


def is_kernel(function):
    return hasattr(function, "fn")  # under @triton.jit


def drawn(rng, n):
    g, m = rng.standard_normal((2, n)).astype(f32)
    return g, m, rng.random(n).astype(f32)


# ---- moments -----------------------------------------------------------------------------------------


def moments_cases(rng):
    yield np.array([1.0, -2.0, 3.0], f32), np.zeros(3, f32), np.zeros(3, f32), 0.9, 0.999, 4
    yield *drawn(rng, 10), 0.9, 0.999, 4
    yield *drawn(rng, 300), 0.8, 0.99, 128


def run_moments(function, G, M, V, beta1, beta2, TILE):
    m, v = M.copy(), V.copy()
    if not is_kernel(function):
        return function(G, m, v, beta1, beta2)
    run_triton(function, -(-G.size // TILE), G, m, v, G.size, beta1, 1 - beta1, beta2, 1 - beta2, TILE=TILE)
    return m, v


def both_moments(g, m, v, beta1, beta2):
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * (g * g)


@triton.jit
def moments_unmasked(G, M, V, n, beta1, one_minus_beta1, beta2, one_minus_beta2, TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    g = tl.load(G + i)
    tl.store(M + i, beta1 * tl.load(M + i) + one_minus_beta1 * g)
    tl.store(V + i, beta2 * tl.load(V + i) + one_minus_beta2 * (g * g))


@triton.jit
def moments_first_tile(G, M, V, n, beta1, one_minus_beta1, beta2, one_minus_beta2, TILE: tl.constexpr):
    if tl.program_id(0) == 0:  # once, and not once a program
        i = tl.arange(0, TILE)
        mask = i < n
        g = tl.load(G + i, mask=mask)
        tl.store(M + i, beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g, mask=mask)
        tl.store(V + i, beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g), mask=mask)


@triton.jit
def moments_no_square(G, M, V, n, beta1, one_minus_beta1, beta2, one_minus_beta2, TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    tl.store(M + i, beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g, mask=mask)
    tl.store(V + i, beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * g, mask=mask)


@triton.jit
def moments_square_of_all(G, M, V, n, beta1, one_minus_beta1, beta2, one_minus_beta2, TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    tl.store(M + i, beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g, mask=mask)
    x = one_minus_beta2 * g
    tl.store(V + i, beta2 * tl.load(V + i, mask=mask) + x * x, mask=mask)


@triton.jit
def moments_inside(G, M, V, n, beta1, one_minus_beta1, beta2, one_minus_beta2, TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    tl.store(M + i, beta1 * tl.load(M + i, mask=mask) + (1 - beta1) * g, mask=mask)
    tl.store(V + i, beta2 * tl.load(V + i, mask=mask) + (1 - beta2) * (g * g), mask=mask)


@triton.jit
def moments_swapped(G, M, V, n, beta1, one_minus_beta1, beta2, one_minus_beta2, TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    tl.store(M + i, one_minus_beta1 * tl.load(M + i, mask=mask) + beta1 * g, mask=mask)
    tl.store(V + i, one_minus_beta2 * tl.load(V + i, mask=mask) + beta2 * (g * g), mask=mask)


@triton.jit
def moments_sums(G, M, V, n, beta1, one_minus_beta1, beta2, one_minus_beta2, TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    tl.store(M + i, beta1 * tl.load(M + i, mask=mask) + g, mask=mask)
    tl.store(V + i, beta2 * tl.load(V + i, mask=mask) + g * g, mask=mask)


@triton.jit
def moments_of_m(G, M, V, n, beta1, one_minus_beta1, beta2, one_minus_beta2, TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    m = beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * tl.load(G + i, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (m * m), mask=mask)


@triton.jit
def moments_not_stored(G, M, V, n, beta1, one_minus_beta1, beta2, one_minus_beta2, TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    tl.load(G + i, mask=mask)


@triton.jit
def moments_only_m(G, M, V, n, beta1, one_minus_beta1, beta2, one_minus_beta2, TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    tl.store(M + i, beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g, mask=mask)


@triton.jit
def moments_by_program(G, M, V, n, beta1, one_minus_beta1, beta2, one_minus_beta2, TILE: tl.constexpr):
    i = tl.program_id(0) + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    tl.store(M + i, beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g, mask=mask)
    tl.store(V + i, beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g), mask=mask)


# ---- fused_adam --------------------------------------------------------------------------------------


def adam_cases(rng):
    yield np.ones(3, f32), np.array([1.0, -2.0, 0.5], f32), np.zeros(3, f32), np.zeros(3, f32), 1, 0.1, 1e-8, 4
    yield rng.standard_normal(10).astype(f32), *drawn(rng, 10), 3, 1e-3, 1e-8, 4
    yield (1e-3 * rng.standard_normal(3000)).astype(f32), *drawn(rng, 3000), 20, 1e-3, 1e-4, 256
    yield rng.standard_normal(10).astype(f32), *drawn(rng, 10), 3, 1e-3, 1e-8, 4, 0.8, 0.99


def run_adam(function, THETA, G, M, V, t, alpha, eps, TILE, beta1=0.9, beta2=0.999):
    if not is_kernel(function):
        return function(THETA, G, M, V, t, alpha=alpha, eps=eps, beta1=beta1, beta2=beta2)
    theta, m, v = THETA.copy(), M.copy(), V.copy()
    run_triton(function, -(-G.size // TILE), theta, G, m, v, G.size, alpha, beta1, 1 - beta1, beta2, 1 - beta2,
               1 - beta1**t, 1 - beta2**t, eps, TILE=TILE)
    return theta, m, v


@triton.jit
def adam_unmasked(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                  TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    g = tl.load(G + i)
    m = beta1 * tl.load(M + i) + one_minus_beta1 * g
    v = beta2 * tl.load(V + i) + one_minus_beta2 * (g * g)
    tl.store(THETA + i, tl.load(THETA + i) - tl.div_rn(alpha, tl.sqrt_rn(tl.div_rn(v, c2)) + eps) * tl.div_rn(m, c1))
    tl.store(M + i, m)
    tl.store(V + i, v)


@triton.jit
def adam_reordered(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                   TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g
    v = beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g)
    update = tl.div_rn(alpha * tl.div_rn(m, c1), tl.sqrt_rn(tl.div_rn(v, c2)) + eps)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - update, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, v, mask=mask)


@triton.jit
def adam_uncorrected(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                     TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g
    v = beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - tl.div_rn(alpha, tl.sqrt_rn(v) + eps) * m, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, v, mask=mask)


@triton.jit
def adam_eps_inside(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                    TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g
    v = beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g)
    update = tl.div_rn(alpha, tl.sqrt_rn(tl.div_rn(v, c2) + eps)) * tl.div_rn(m, c1)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - update, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, v, mask=mask)


@triton.jit
def adam_state_lost(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                    TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g
    v = beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g)
    update = tl.div_rn(alpha, tl.sqrt_rn(tl.div_rn(v, c2)) + eps) * tl.div_rn(m, c1)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - update, mask=mask)


@triton.jit
def adam_corrected_state(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                         TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = tl.div_rn(beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g, c1)
    v = tl.div_rn(beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g), c2)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - tl.div_rn(alpha, tl.sqrt_rn(v) + eps) * m, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, v, mask=mask)


@triton.jit
def adam_constants_inside(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                          TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = beta1 * tl.load(M + i, mask=mask) + (1 - beta1) * g
    v = beta2 * tl.load(V + i, mask=mask) + (1 - beta2) * (g * g)
    update = tl.div_rn(alpha, tl.sqrt_rn(tl.div_rn(v, c2)) + eps) * tl.div_rn(m, c1)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - update, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, v, mask=mask)


@triton.jit
def adam_own_betas(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                   TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = 0.9 * tl.load(M + i, mask=mask) + 0.1 * g
    v = 0.999 * tl.load(V + i, mask=mask) + 0.001 * (g * g)
    update = tl.div_rn(alpha, tl.sqrt_rn(tl.div_rn(v, c2)) + eps) * tl.div_rn(m, c1)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - update, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, v, mask=mask)


@triton.jit
def adam_upwards(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                 TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g
    v = beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g)
    update = tl.div_rn(alpha, tl.sqrt_rn(tl.div_rn(v, c2)) + eps) * tl.div_rn(m, c1)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) + update, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, v, mask=mask)


@triton.jit
def adam_no_root(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                 TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g
    v = beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g)
    update = tl.div_rn(alpha, tl.div_rn(v, c2) + eps) * tl.div_rn(m, c1)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - update, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, v, mask=mask)


@triton.jit
def adam_no_eps(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g
    v = beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g)
    update = tl.div_rn(alpha, tl.sqrt_rn(tl.div_rn(v, c2))) * tl.div_rn(m, c1)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - update, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, v, mask=mask)


@triton.jit
def adam_corrections_exchanged(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                               TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g
    v = beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g)
    update = tl.div_rn(alpha, tl.sqrt_rn(tl.div_rn(v, c1)) + eps) * tl.div_rn(m, c2)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - update, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, v, mask=mask)


@triton.jit
def adam_corrected_by_product(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                              TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g
    v = beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g)
    update = tl.div_rn(alpha, tl.sqrt_rn(v * c2) + eps) * (m * c1)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - update, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, v, mask=mask)


@triton.jit
def adam_no_rate(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                 TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g
    v = beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g)
    update = tl.div_rn(tl.div_rn(m, c1), tl.sqrt_rn(tl.div_rn(v, c2)) + eps)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - update, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, v, mask=mask)


@triton.jit
def adam_square_in_parts(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                         TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m = beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g
    v = beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * g * g
    update = tl.div_rn(alpha, tl.sqrt_rn(tl.div_rn(v, c2)) + eps) * tl.div_rn(m, c1)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - update, mask=mask)
    tl.store(M + i, m, mask=mask)
    tl.store(V + i, v, mask=mask)


@triton.jit
def adam_old_moments(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                     TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    m, v = tl.load(M + i, mask=mask), tl.load(V + i, mask=mask)
    update = tl.div_rn(alpha, tl.sqrt_rn(tl.div_rn(v, c2)) + eps) * tl.div_rn(m, c1)
    tl.store(THETA + i, tl.load(THETA + i, mask=mask) - update, mask=mask)
    tl.store(M + i, beta1 * m + one_minus_beta1 * g, mask=mask)
    tl.store(V + i, beta2 * v + one_minus_beta2 * (g * g), mask=mask)


@triton.jit
def adam_theta_not_stored(THETA, G, M, V, n, alpha, beta1, one_minus_beta1, beta2, one_minus_beta2, c1, c2, eps,
                          TILE: tl.constexpr):
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = i < n
    g = tl.load(G + i, mask=mask)
    tl.store(M + i, beta1 * tl.load(M + i, mask=mask) + one_minus_beta1 * g, mask=mask)
    tl.store(V + i, beta2 * tl.load(V + i, mask=mask) + one_minus_beta2 * (g * g), mask=mask)


# ---- round_stochastically ----------------------------------------------------------------------------


def rounding_cases(rng):
    quarter = f32(1 + 0.25 * 2.0**-7)  # a quarter of the way from 1 to the next bfloat16
    yield np.array([quarter, quarter, f32(1.0)]), np.array([0xC000, 0xBFFF, 0xFFFF], np.uint32)
    yield rng.standard_normal((4, 5)).astype(f32), rng.integers(0, 65536, (4, 5)).astype(np.uint32)
    yield (1e3 * rng.standard_normal(50)).astype(f32), rng.integers(0, 65536, 50).astype(np.uint32)


def rounded(x, r):
    return ((x.view(np.uint32) + r) & np.uint32(0xFFFF0000)).view(f32)


def cut(x, r):
    return (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(f32)


def nearest(x, r):
    return ((x.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(f32)


def not_cut(x, r):
    return (x.view(np.uint32) + r).view(f32)


def converted(x, r):
    return ((x.view(np.uint32) + r) & np.uint32(0xFFFF0000)).astype(f32)


def added_to_value(x, r):
    return ((x + r.astype(f32)).view(np.uint32) & np.uint32(0xFFFF0000)).view(f32)


def lower_half(x, r):
    return ((x.view(np.uint32) + r) & np.uint32(0x0000FFFF)).view(f32)


def value_not_bits(x, r):
    return ((x.astype(np.int64).astype(np.uint32) + r) & np.uint32(0xFFFF0000)).view(f32)


def bits_returned(x, r):
    return (x.view(np.uint32) + r) & np.uint32(0xFFFF0000)


def cut_first(x, r):
    return ((x.view(np.uint32) & np.uint32(0xFFFF0000)) + r).view(f32)


def subtracted(x, r):
    return ((x.view(np.uint32) - r) & np.uint32(0xFFFF0000)).view(f32)


def shifted(x, r):
    return ((x.view(np.uint32) + r) >> np.uint32(16)).view(f32)


EXERCISES = [
    Exercise(
        name="moments",
        cases=moments_cases,
        run=run_moments,
        reference=both_moments,
        statement_zh="""
            原地更新 m = beta1 m + (1 - beta1) g 和 v = beta2 v + (1 - beta2) (g g)，
            每一片由一个程序实例负责。

            G、M、V：指向 (n,) 的指针，float32；M 和 V 要改动。n：元素个数。
            第 k 个程序实例负责从第 k TILE 个起的元素。
            beta1、one_minus_beta1、beta2、one_minus_beta2：数。TILE：2 的幂。
            """,
        hints=[
            ("it is `double` of lesson 15 with three arrays: which elements are mine, load, compute, store.",
             "它就是第 15 课的 `double`，只不过有三个数组：哪些元素归我、加载、计算、写回。"),
            ("`i = tl.program_id(0) * TILE + tl.arange(0, TILE)`, and `mask=i < n` at each load and store.",
             "`i = tl.program_id(0) * TILE + tl.arange(0, TILE)`，每次加载和写回都带上 `mask=i < n`。"),
            ("`m = beta1 * m + one_minus_beta1 * g`, `v = beta2 * v + one_minus_beta2 * (g * g)`, then "
             "two stores.",
             "`m = beta1 * m + one_minus_beta1 * g`，`v = beta2 * v + one_minus_beta2 * (g * g)`，然后写"
             "回两次。"),
        ],
        wrong={
            "unmasked": (moments_unmasked,
                         "the last tile goes on beyond the arrays: loads and stores need `mask=i < n`.",
                         "最后一片伸到了数组之外：加载和写回都要带 `mask=i < n`。"),
            "first_tile": (moments_first_tile,
                           "only the first tile is updated: program k begins at element k TILE.",
                           "只更新了第一片：第 k 个程序实例从第 k TILE 个元素开始。"),
            "no_square": (moments_no_square, "v averages g squared; here it averages g.",
                          "v 是 g 的平方的滑动平均，这里平均的却是 g。"),
            "square_of_all": (moments_square_of_all,
                              "only g is squared, not the factor 1 - beta2 with it: parentheses.",
                              "只有 g 要平方，因子 1 - beta2 不要一起平方：看看括号。"),
            "constants_inside": (moments_inside,
                                 "nearly right: `1 - beta2` inside the kernel is float32 and has lost its "
                                 "digits. Use the arguments one_minus_beta1 and one_minus_beta2.",
                                 "差一点点：在内核里算 `1 - beta2` 用的是 float32，精度丢了。请用参数 "
                                 "one_minus_beta1 和 one_minus_beta2。"),
            "swapped": (moments_swapped,
                        "the old moment gets beta, the new gradient 1 - beta; here it is the other way "
                        "round.",
                        "旧的矩乘 beta，新的梯度乘 1 - beta；这里反了。"),
            "sums": (moments_sums,
                "the new gradient lacks its weight: one_minus_beta1 for m, one_minus_beta2 for v.",
                "新的梯度漏了权重：m 用 one_minus_beta1，v 用 one_minus_beta2。"),
            "square_of_m": (moments_of_m,
                "v averages the squares of m: it is the square of the *gradient*, g * g.",
                "v 平均的是 m 的平方：应当是*梯度*的平方 g * g。"),
            "not_stored": (moments_not_stored,
                "M and V are as they were: the kernel returns nothing, it ends with two stores, "
                "tl.store(M + i, m, mask=mask) and likewise for V.",
                "M 和 V 还是原样：内核不返回结果，最后要写回两次，tl.store(M + i, m, mask=mask)，V 也一样。"),
            "only_m": (moments_only_m,
                "M is right, but nothing was stored to V.",
                "M 是对的，但 V 没有写回。"),
            "by_program": (moments_by_program,
                "the tiles overlap, so that elements are updated several times: program k begins at k "
                "TILE, tl.program_id(0) * TILE.",
                "各片重叠了，有些元素更新了好几次：第 k 个程序实例从第 k TILE 个元素开始，即 "
                "tl.program_id(0) * TILE。"),
        },
        outputs=("M", "V"),
        rtol=2e-7,
        atol=2e-8,
        why=("five memory accesses for each element, where NumPy makes sixteen: whatever is in registers "
             "already is used while it is there.",
             "每个元素访存五次，而 NumPy 要十六次：已经在寄存器里的数，趁在手时一次用完。"),
        seconds=30,
    ),
    Exercise(
        name="fused_adam",
        cases=adam_cases,
        run=run_adam,
        reference=formulas.adam_step,
        statement_zh="""
            原地走一步 Adam，每一片由一个程序实例负责，与 float32 的公式逐位相同。

            m = beta1 m + (1 - beta1) g              m_hat = m / c1
            v = beta2 v + (1 - beta2) (g g)          v_hat = v / c2
            theta = theta - (alpha / (sqrt(v_hat) + eps)) m_hat

            THETA、G、M、V：指向 (n,) 的指针，float32；除 G 以外都要改动。n：元素个数。
            alpha、beta1、one_minus_beta1、beta2、one_minus_beta2、eps：数。
            c1、c2：1 - beta1^t 和 1 - beta2^t。TILE：2 的幂。
            """,
        hints=[
            ("begin with your `moments`, load theta too, and keep m and v in variables: they go on into "
             "the next lines.",
             "从你的 `moments` 写起，再加载 theta，并把 m 和 v 留在变量里：后面几行还要用。"),
            ("four loads, five lines of formula, three stores; g is not stored.",
             "四次加载，五行公式，三次写回；g 不用写回。"),
            ("the last three lines: `m_hat = tl.div_rn(m, c1)`, `v_hat = tl.div_rn(v, c2)`, "
             "`theta = theta - tl.div_rn(alpha, tl.sqrt_rn(v_hat) + eps) * m_hat`.",
             "公式的后三行：`m_hat = tl.div_rn(m, c1)`，`v_hat = tl.div_rn(v, c2)`，"
             "`theta = theta - tl.div_rn(alpha, tl.sqrt_rn(v_hat) + eps) * m_hat`。"),
        ],
        wrong={
            "unmasked": (adam_unmasked,
                         "the last tile goes on beyond the arrays: each load and store needs "
                         "`mask=i < n`.",
                         "最后一片伸到了数组之外：每次加载和写回都要带 `mask=i < n`。"),
            "reordered": (adam_reordered,
                          "right on paper, and off in the last bit: the formula divides alpha by the root "
                          "first and multiplies with m_hat after that.",
                          "纸面上是对的，只差在最后一位：公式是先用 alpha 除以根式，再乘 m_hat。"),
            "uncorrected": (adam_uncorrected,
                            "the bias correction is missing: m_hat = m / c1, v_hat = v / c2.",
                            "漏了偏差修正：m_hat = m / c1，v_hat = v / c2。"),
            "eps_inside": (adam_eps_inside,
                           "eps stands inside the root; it belongs outside: sqrt(v_hat) + eps.",
                           "eps 放进根号里了；它应当在外面：sqrt(v_hat) + eps。"),
            "state_lost": (adam_state_lost,
                           "theta is right, but m and v are not stored: the next step would begin with "
                           "the old ones.",
                           "theta 是对的，但 m 和 v 没有写回：下一步又会从旧值开始。"),
            "corrected_state": (adam_corrected_state,
                                "m_hat and v_hat were stored in the place of m and v: the correction is "
                                "for this step's update only.",
                                "写回 M、V 的是 m_hat 和 v_hat：修正只用于这一步的更新，状态里要存 m 和 v。"),
            "constants_inside": (adam_constants_inside,
                                 "nearly right: `1 - beta` inside the kernel is float32 and has lost its "
                                 "digits. Use the arguments one_minus_beta1 and one_minus_beta2.",
                                 "差一点点：在内核里算 `1 - beta` 用的是 float32，精度丢了。请用参数 "
                                 "one_minus_beta1 和 one_minus_beta2。"),
            "own_betas": (adam_own_betas,
                          "the arguments beta1 and beta2 are not used: fixed numbers stand in the kernel. Use "
                          "beta1, one_minus_beta1, beta2 and one_minus_beta2.",
                          "没有用到参数 beta1 和 beta2：内核里写死了数。请用 beta1、one_minus_beta1、beta2 和 "
                          "one_minus_beta2。"),
            "upwards": (adam_upwards, "theta goes up the gradient: subtract the update.",
                        "theta 沿梯度上升了：更新量要减去。"),
            "no_root": (adam_no_root,
                "the square root of v_hat is missing: v is in units of the gradient squared.",
                "漏了对 v_hat 开方：v 的单位是梯度的平方。"),
            "no_eps": (adam_no_eps,
                "eps is missing: sqrt(v_hat) + eps.",
                "漏了 eps：应为 sqrt(v_hat) + eps。"),
            "corrections_exchanged": (adam_corrections_exchanged,
                "c1 and c2 are exchanged: m_hat = m / c1, v_hat = v / c2.",
                "c1 和 c2 用反了：m_hat = m / c1，v_hat = v / c2。"),
            "corrected_by_product": (adam_corrected_by_product,
                "you multiply by c1 and c2: divide, m_hat = m / c1, v_hat = v / c2.",
                "你乘了 c1 和 c2：应当除，m_hat = m / c1，v_hat = v / c2。"),
            "no_rate": (adam_no_rate,
                "the learning rate alpha is missing.",
                "漏了学习率 alpha。"),
            "square_in_parts": (adam_square_in_parts,
                "right on paper, and off in the last bit: the formula squares g first, (g * g), and "
                "multiplies by one_minus_beta2 after that.",
                "纸面上是对的，只差在最后一位：公式是先把 g 平方，(g * g)，再乘 one_minus_beta2。"),
            "old_moments": (adam_old_moments,
                "theta is moved with the moments of the step before: compute the new m and v first.",
                "更新 theta 用的是上一步的矩：要先算出新的 m 和 v。"),
            "theta_not_stored": (adam_theta_not_stored,
                "m and v are right, but THETA is as it was: store theta too.",
                "m 和 v 是对的，但 THETA 还是原样：theta 也要写回。"),
        },
        outputs=("THETA", "M", "V"),
        rtol=0.0,
        atol=0.0,
        why=("seven accesses of 4 bytes for each element, and every operation rounded once, in the "
             "formula's order: so the result is NumPy's, bit for bit.",
             "每个元素七次 4 字节的访存；每个运算按公式的次序、各舍入一次：所以结果与 NumPy 逐位相同。"),
        seconds=30,
    ),
    Exercise(
        name="round_stochastically",
        cases=rounding_cases,
        reference=rounded,
        statement_zh="""
            把 x 变成 bfloat16 装得下的 float32 数：低 16 位全为 0。

            结果的二进制位 = (x 的二进制位 + r)，再把低 16 位清零

            x：任意形状，float32，都是有限的数。r：与 x 同形状，0 到 65535 的随机整数，uint32。
            返回 float32，形状与 x 相同。
            """,
        hints=[
            ("three things in a row: to bits, add and clear, back to float32. No loop, no division.",
             "依次三件事：变成二进制位，相加并清零低位，变回 float32。不用循环，也不用除法。"),
            ("`x.view(np.uint32)` keeps the bits, `x.astype(np.uint32)` would convert the value.",
             "`x.view(np.uint32)` 保留二进制位，而 `x.astype(np.uint32)` 会转换数值。"),
            ("one line: `((x.view(np.uint32) + r) & np.uint32(0xFFFF0000)).view(np.float32)`.",
             "一行就够：`((x.view(np.uint32) + r) & np.uint32(0xFFFF0000)).view(np.float32)`。"),
        ],
        wrong={
            "cut": (cut, "r is not used: cutting the lower half off always rounds towards 0.",
                    "没有用到 r：直接切掉低半截，总是朝 0 的方向舍入。"),
            "nearest": (nearest, "this rounds to the nearest: add r, not half of the last place.",
                        "这是舍入到最近值：要加的是 r，而不是末位的一半。"),
            "not_cut": (not_cut,
                        "the random number is added but the lower 16 bits are still there: clear them.",
                        "加上了随机数，但低 16 位还在：要把它们清零。"),
            "converted": (converted,
                          "`.astype(np.float32)` turns the bits, taken as an integer, into a large "
                          "number; `.view(np.float32)` only looks at them in another way.",
                          "`.astype(np.float32)` 把这些位当作整数，变成了很大的数；`.view(np.float32)` "
                          "才是换一种方式看同样的位。"),
            "added_to_value": (added_to_value, "r is added to the value of x; it is to be added to its bits.",
                               "r 加到 x 的数值上了；要加到它的二进制位上。"),
            "lower_half": (lower_half,
                           "the upper half was cleared and the lower kept: it is the other way round.",
                           "清掉了高半截、留下了低半截：正好反了。"),
            "value_not_bits": (value_not_bits,
                "`.astype(np.uint32)` converts the value to a whole number; the bits themselves are "
                "`x.view(np.uint32)`.",
                "`.astype(np.uint32)` 把数值变成了整数；要二进制位本身，用 `x.view(np.uint32)`。"),
            "bits_returned": (bits_returned,
                "these are the bits of the right answer: look at them as float32 again, "
                ".view(np.float32).",
                "这是正确答案的二进制位：还要用 .view(np.float32) 再看成 float32。"),
            "cut_first": (cut_first,
                "the lower half is cleared before r is added: add first, so that it can carry, and clear "
                "then.",
                "先清零、再加 r 了：要先加，才可能进位，然后清零。"),
            "subtracted": (subtracted,
                "r is subtracted: add it.",
                "你减了 r：应当加。"),
            "shifted": (shifted,
                "the upper half has moved down: clear the lower 16 bits and leave the others where they "
                "are, & np.uint32(0xFFFF0000).",
                "高半截移下来了：只把低 16 位清零，其余的留在原位，& np.uint32(0xFFFF0000)。"),
        },
        rtol=0.0,
        atol=0.0,
        why=("the lower 16 bits, f of 65536, carry for just f of the 65536 values of r: the probability "
             "of going up is the distance to the lower neighbour. For negative numbers it is the same "
             "away from 0.",
             "低 16 位的值若是 f（满 65536 进位），那么 r 的 65536 个值里恰有 f 个会引起进位：进位的概率"
             "就是到下邻的距离。负数也一样，只是方向是远离 0。"),
    ),
]
