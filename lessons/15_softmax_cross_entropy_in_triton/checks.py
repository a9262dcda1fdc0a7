"""Exercises of lesson 15: kernels, launched in Triton's interpreter between guards."""

import importlib.util
import os

if importlib.util.find_spec("triton") is None:  # OSError: shown in one line
    raise OSError("lesson 15 needs Triton: pip install triton (Linux; a GPU is not needed)")
os.environ.setdefault("TRITON_INTERPRET", "1")

importlib.import_module("kernels.triton")  # before triton

import numpy as np
import triton
import triton.language as tl

from kernels.testing import run_triton
from minillm.course import Exercise


def is_kernel(function):
    return hasattr(function, "fn")  # under @triton.jit


# ---- scale_rows --------------------------------------------------------------------------------------


def scale_cases(rng):
    yield np.arange(6, dtype=np.float32).reshape(2, 3), 2.0, 4
    yield rng.standard_normal((1, 8)).astype(np.float32), -0.5, 8
    yield rng.standard_normal((5, 13)).astype(np.float32), 3.0, 32


def run_scale(function, X, a, BLOCK):
    if not is_kernel(function):
        return (function(X, a),)
    out = np.full_like(X, 77.0)  # what is not written stays
    run_triton(function, len(X), X, out, a, X.shape[1], BLOCK=BLOCK)
    return (out,)


@triton.jit
def scale_unmasked(X, OUT, a, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    tl.store(OUT + row * V + j, a * tl.load(X + row * V + j))


@triton.jit
def scale_first_row(X, OUT, a, V, BLOCK: tl.constexpr):
    j = tl.arange(0, BLOCK)
    tl.store(OUT + j, a * tl.load(X + j, mask=j < V), mask=j < V)


@triton.jit
def scale_last_off(X, OUT, a, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    mask = j < V - 1
    tl.store(OUT + row * V + j, a * tl.load(X + row * V + j, mask=mask), mask=mask)


@triton.jit
def scale_half_masked(X, OUT, a, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    x = tl.load(X + row * V + j, mask=j < V)
    tl.store(OUT + row + j, a * x, mask=j < V)


@triton.jit
def scale_not_stored(X, OUT, a, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    a * tl.load(X + row * V + j, mask=j < V)


@triton.jit
def scale_into_x(X, OUT, a, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    tl.store(X + row * V + j, a * tl.load(X + row * V + j, mask=j < V), mask=j < V)


@triton.jit
def scale_copied(X, OUT, a, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    tl.store(OUT + row * V + j, tl.load(X + row * V + j, mask=j < V), mask=j < V)


@triton.jit
def scale_same_row(X, OUT, a, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    tl.store(OUT + row * V + j, a * tl.load(X + j, mask=j < V), mask=j < V)


@triton.jit
def scale_indexed(X, OUT, a, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    OUT[row] = a * X[row]


# ---- online_softmax ----------------------------------------------------------------------------------


def online_cases(rng):
    yield np.array([[1.0, 3.0, 2.0, 5.0]], np.float32), 2
    yield np.array([[1.0, 3.0, 2.0, 5.0, 4.0], [-9.0, -2.0, -8.0, -7.0, -6.0]], np.float32), 2
    yield (5 * rng.standard_normal((3, 50))).astype(np.float32), 16
    yield (300 + 50 * rng.standard_normal((2, 33))).astype(np.float32), 64
    yield (4 * rng.standard_normal((2, 700))).astype(np.float16), 128
    yield np.array([[-300.0, -301.0, -302.0, -303.0], [-2e4, -2e4, -2e4 - 1, -2e4]], np.float32), 2
    yield np.array([[-301.0, -300.0, -302.0], [-2e4, -2e4 - 1, -2e4]], np.float32), 2


def run_online(function, X, BLOCK):
    if not is_kernel(function):
        return function(X)
    M, S = np.full(len(X), 77.0, np.float32), np.full(len(X), 77.0, np.float32)
    run_triton(function, len(X), X, M, S, X.shape[1], BLOCK=BLOCK)
    return M, S


def max_and_sum(X):
    x = X.astype(np.float64)
    m = x.max(axis=1)
    return m.astype(np.float32), np.exp(x - m[:, None]).sum(axis=1).astype(np.float32)


@triton.jit
def online_uncorrected(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = float("-inf")
    s = 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        m = tl.maximum(m, tl.max(x, axis=0))
        s = s + tl.sum(tl.exp(x - m), axis=0)
    tl.store(M + row, m)
    tl.store(S + row, s)


@triton.jit
def online_own_maximum(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = float("-inf")
    s = 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        m_new = tl.max(x, axis=0)
        s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)
        m = m_new
    tl.store(M + row, m)
    tl.store(S + row, s)


@triton.jit
def online_inverted(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = float("-inf")
    s = 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x, axis=0))
        correction = tl.where(s == 0.0, 1.0, tl.exp(m_new - m))
        s = s * correction + tl.sum(tl.exp(x - m_new), axis=0)
        m = m_new
    tl.store(M + row, m)
    tl.store(S + row, s)


@triton.jit
def online_zero_beyond(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = float("-inf")
    s = 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=0.0).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x, axis=0))
        s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)
        m = m_new
    tl.store(M + row, m)
    tl.store(S + row, s)


@triton.jit
def online_unmasked(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = float("-inf")
    s = 0.0
    for start in range(0, V, BLOCK):
        x = tl.load(X + row * V + start + tl.arange(0, BLOCK)).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x, axis=0))
        s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)
        m = m_new
    tl.store(M + row, m)
    tl.store(S + row, s)


@triton.jit
def online_without_maximum(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = float("-inf")
    s = 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        m = tl.maximum(m, tl.max(x, axis=0))
        s = s + tl.sum(tl.exp(x), axis=0)
    tl.store(M + row, m)
    tl.store(S + row, s)


@triton.jit
def online_first_block(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
    m = tl.max(x, axis=0)
    tl.store(M + row, m)
    tl.store(S + row, tl.sum(tl.exp(x - m), axis=0))


@triton.jit
def online_from_zero(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = 0.0
    s = 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x, axis=0))
        s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)
        m = m_new
    tl.store(M + row, m)
    tl.store(S + row, s)


@triton.jit
def online_from_low(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = -100.0
    s = 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x, axis=0))
        s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)
        m = m_new
    tl.store(M + row, m)
    tl.store(S + row, s)


@triton.jit
def online_low_beyond(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = float("-inf")
    s = 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=-100.0).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x, axis=0))
        s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)
        m = m_new
    tl.store(M + row, m)
    tl.store(S + row, s)


@triton.jit
def online_low_throughout(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = -100.0
    s = 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=-100.0).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x, axis=0))
        s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)
        m = m_new
    tl.store(M + row, m)
    tl.store(S + row, s)


@triton.jit
def online_logarithm(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = float("-inf")
    s = 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x, axis=0))
        s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)
        m = m_new
    tl.store(M + row, m)
    tl.store(S + row, tl.log(s))


@triton.jit
def online_same_block(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = float("-inf")
    s = 0.0
    for _ in range(0, V, BLOCK):
        j = tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x, axis=0))
        s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)
        m = m_new
    tl.store(M + row, m)
    tl.store(S + row, s)


@triton.jit
def online_forgotten(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = float("-inf")
    s = 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        m = tl.maximum(m, tl.max(x, axis=0))
        s = tl.sum(tl.exp(x - m), axis=0)
    tl.store(M + row, m)
    tl.store(S + row, s)


@triton.jit
def online_maximum_not_kept(X, M, S, V, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m = float("-inf")
    s = 0.0
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        m_new = tl.maximum(m, tl.max(x, axis=0))
        s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)
    tl.store(M + row, m)
    tl.store(S + row, s)


# ---- cross_entropy_grad ------------------------------------------------------------------------------


def grad_cases(rng):
    yield np.array([[1.0, 3.0, 2.0, 5.0]], np.float32), np.array([2]), 1.0, 4
    yield np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0]], np.float32), np.array([1, 2]), 0.5, 2
    yield (3 * rng.standard_normal((4, 37))).astype(np.float32), rng.integers(0, 37, 4), 0.25, 16
    yield (200 + rng.standard_normal((2, 30))).astype(np.float32), np.array([29, 0]), 0.5, 32
    yield rng.standard_normal((3, 20)).astype(np.float16), rng.integers(0, 20, 3), 1 / 3, 8
    yield np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 1.0]], np.float32), np.array([0, 2]), 8.0, 4


def run_grad(function, X, Y, scale, BLOCK):
    m, s = max_and_sum(X)
    if not is_kernel(function):
        return (function(X, Y, m, s, scale),)
    out = np.full_like(X, 77.0)
    run_triton(function, len(X), X, Y, m, s, out, X.shape[1], scale, BLOCK=BLOCK)
    return (out,)


def softmax_minus_one_hot(X, Y, m, s, scale):
    p = np.exp(X.astype(np.float64) - m[:, None]) / s[:, None]
    p[np.arange(len(Y)), Y] -= 1
    return (scale * p).astype(X.dtype)


@triton.jit
def grad_no_label(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m, s = tl.load(M + row), tl.load(S + row)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        d = scale * tl.exp(x - m) / s
        tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)


@triton.jit
def grad_no_scale(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    y, m, s = tl.load(Y + row), tl.load(M + row), tl.load(S + row)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        d = tl.exp(x - m) / s - tl.where(j == y, 1.0, 0.0)
        tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)


@triton.jit
def grad_own_scale(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    y, m, s = tl.load(Y + row), tl.load(M + row), tl.load(S + row)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        d = (tl.exp(x - m) / s - tl.where(j == y, 1.0, 0.0)) / tl.num_programs(0)
        tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)


@triton.jit
def grad_half_scaled(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    y, m, s = tl.load(Y + row), tl.load(M + row), tl.load(S + row)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        d = scale * tl.exp(x - m) / s - tl.where(j == y, 1.0, 0.0)
        tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)


@triton.jit
def grad_not_normalised(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    y, m = tl.load(Y + row), tl.load(M + row)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        d = scale * (tl.exp(x - m) - tl.where(j == y, 1.0, 0.0))
        tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)


@triton.jit
def grad_first_block(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    y, m, s = tl.load(Y + row), tl.load(M + row), tl.load(S + row)
    j = tl.arange(0, BLOCK)
    x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
    d = scale * (tl.exp(x - m) / s - tl.where(j == y, 1.0, 0.0))
    tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)


@triton.jit
def grad_label_in_block(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    y, m, s = tl.load(Y + row), tl.load(M + row), tl.load(S + row)
    for start in range(0, V, BLOCK):
        k = tl.arange(0, BLOCK)
        j = start + k
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        d = scale * (tl.exp(x - m) / s - tl.where(k == y, 1.0, 0.0))
        tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)


@triton.jit
def grad_stray(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    y, m, s = tl.load(Y + row), tl.load(M + row), tl.load(S + row)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        d = scale * (tl.exp(x - m) / s - tl.where(j == y, 1.0, 0.0))
        tl.store(DX + row * V + j, d.to(DX.dtype.element_ty))


@triton.jit
def grad_no_maximum(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    y, s = tl.load(Y + row), tl.load(S + row)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        d = scale * (tl.exp(x) / s - tl.where(j == y, 1.0, 0.0))
        tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)


@triton.jit
def grad_first_label(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    y, m, s = tl.load(Y), tl.load(M), tl.load(S)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        d = scale * (tl.exp(x - m) / s - tl.where(j == y, 1.0, 0.0))
        tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)


@triton.jit
def grad_of_the_label_alone(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    y, m, s = tl.load(Y + row), tl.load(M + row), tl.load(S + row)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        d = scale * tl.where(j == y, tl.exp(x - m) / s - 1.0, 0.0)
        tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)


@triton.jit
def grad_to_the_label(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    y, m, s = tl.load(Y + row), tl.load(M + row), tl.load(S + row)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        d = scale * (tl.where(j == y, 1.0, 0.0) - tl.exp(x - m) / s)
        tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)


@triton.jit
def grad_softmax_alone(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    m, s = tl.load(M + row), tl.load(S + row)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        tl.store(DX + row * V + j, (tl.exp(x - m) / s).to(DX.dtype.element_ty), mask=j < V)


@triton.jit
def grad_label_number(X, Y, M, S, DX, V, scale, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    y, m, s = tl.load(Y + row), tl.load(M + row), tl.load(S + row)
    for start in range(0, V, BLOCK):
        j = start + tl.arange(0, BLOCK)
        x = tl.load(X + row * V + j, mask=j < V, other=float("-inf")).to(tl.float32)
        d = scale * (tl.exp(x - m) / s - y)
        tl.store(DX + row * V + j, d.to(DX.dtype.element_ty), mask=j < V)


EXERCISES = [
    Exercise(
        name="scale_rows",
        cases=scale_cases,
        run=run_scale,
        reference=lambda X, a: (a * X.astype(np.float32)).astype(X.dtype),
        outputs=("OUT",),
        statement_zh="""
            OUT[r, j] = a X[r, j]，每一行 r 由一个程序实例负责。

            X、OUT：指向 (R, V) 的指针，一行接一行存放。a：一个数。V：一行的长度。
            BLOCK：2 的幂，不小于 V。
            行以外的地方，既不读也不写。
            """,
        hints=[
            ("four lines: which row am I, which columns, load, store. `double` above has all of them, for "
             "a list instead of rows. (Where the check shows 77, nothing was written.)",
             "只要四行：我是哪一行、哪些列、加载、写回。上面的 `double` 都有，只不过它处理的是一串数，而"
             "不是一行行。"),
            ("the row begins at `row * V`, not at `row * BLOCK`; the columns are `tl.arange(0, BLOCK)`.",
             "这一行从 `row * V` 开始，而不是 `row * BLOCK`；列号是 `tl.arange(0, BLOCK)`。"),
            ("the mask is about columns, `j < V`, and both load and store need it.",
             "掩码管的是列：`j < V`，加载和写回都要用它。"),
        ],
        wrong={
            "stray": (scale_unmasked,
                      "a place with `j >= V` is written, or a row is begun in the wrong place: the store "
                      "needs `mask=j < V`, and row r begins at `r * V`.",
                      "写到了 `j >= V` 的位置，或者行的起点不对：写回要带 `mask=j < V`，第 r 行从 "
                      "`r * V` 开始。"),
            "first_row": (scale_first_row,
                          "only row 0 is written: add `row * V` to the pointers, with "
                          "`row = tl.program_id(0)`; the mask is about columns, `j < V`, and not about "
                          "places in the whole array.",
                          "只写了第 0 行：指针要加上 `row * V`，其中 `row = tl.program_id(0)`；掩码管的是列 "
                          "`j < V`，而不是整个数组里的位置。"),
            "last_off": (scale_last_off, "the last column of each row is left out: the mask is `j < V`.",
                         "每行的最后一列漏掉了：掩码是 `j < V`。"),
            "row_without_length": (scale_half_masked,
                                   "the load is right, but the store begins at `row` and not at "
                                   "`row * V`.", "加载是对的，但写回从 `row` 开始了，应当是 `row * V`。"),
            "not_stored": (scale_not_stored,
                "nothing was written (77 is what was there before): the kernel returns nothing, it ends "
                "with tl.store(OUT + ..., ..., mask=...).",
                "什么都没有写（77 是原来放在那里的数）：内核不返回结果，最后要用 tl.store(OUT + ..., "
                "..., mask=...) 写回。"),
            "into_x": (scale_into_x,
                "the result was stored into X: it belongs into OUT (77 is what was there before).",
                "结果写到 X 里去了：应当写到 OUT（77 是原来放在那里的数）。"),
            "copied": (scale_copied,
                "X is copied as it is: multiply by a.",
                "只是把 X 原样抄了过去：还要乘 a。"),
            "same_row": (scale_same_row,
                "every program reads row 0: add `row * V` to X's pointers too.",
                "每个程序实例读的都是第 0 行：X 的指针也要加上 `row * V`。"),
            "indexed": (scale_indexed,
                "X and OUT are pointers, not arrays, and have no [...]: read with tl.load(X + row * V + "
                "j, mask=j < V), and write with tl.store(OUT + ...).",
                "X 和 OUT 是指针，不是数组，不能用 [...]：读要用 tl.load(X + row * V + j, mask=j < V)，写"
                "要用 tl.store(OUT + ...)。"),
        },
        why=("each program owns one row, and the mask cuts its block to the row's length. On a GPU all "
             "programs run at the same time; nothing orders them, and since no two write the same "
             "element, nothing has to.",
             "每个程序实例管一行，掩码把块裁成行的长度。在 GPU 上所有程序实例同时运行，没有先后；好在没"
             "有两个会写同一个元素，所以也不需要先后。"),
    ),
    Exercise(
        name="online_softmax",
        cases=online_cases,
        run=run_online,
        reference=max_and_sum,
        statement_zh="""
            M[r] = max_j X[r, j]，S[r] = sum_j exp(X[r, j] - M[r])，每一行 r 由一个程序实例负责。

            一行只读一遍，一块一块地读：
                m' = max(m, 这一块的最大值),   s' = s exp(m - m') + sum exp(x - m')

            X：指向 (R, V) 的指针，一行接一行存放，float32 或 float16。M、S：指向 (R,) 的指针，float32。
            V：一行的长度。BLOCK：2 的幂，可以比 V 小，也可以比 V 大。
            """,
        hints=[
            ("it is `online_numpy`, with a load in place of the slice, and the mask's `other` chosen so "
             "that a place beyond the row takes part neither in the maximum nor in the sum.",
             "它就是 `online_numpy`，只是把切片换成加载；掩码的 `other` 要选得使行外的位置既不影响最大"
             "值，也不影响求和。"),
            ("`for start in range(0, V, BLOCK):` and in it `j = start + tl.arange(0, BLOCK)`, "
             "`tl.load(X + row * V + j, mask=j < V, other=float(\"-inf\")).to(tl.float32)`.",
             "先写 `for start in range(0, V, BLOCK):`，里面是 `j = start + tl.arange(0, BLOCK)` 和 "
             "`tl.load(X + row * V + j, mask=j < V, other=float(\"-inf\")).to(tl.float32)`。"),
            ("`m_new = tl.maximum(m, tl.max(x, axis=0))`, then "
             "`s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)`, and only then `m = m_new`.",
             "`m_new = tl.maximum(m, tl.max(x, axis=0))`，再 "
             "`s = s * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new), axis=0)`，最后才是 `m = m_new`。"),
        ],
        wrong={
            "uncorrected": (online_uncorrected,
                            "when the maximum grows, what was summed before is still relative to the old "
                            "one: multiply s by exp(m - m'), and set m = m' only after that.",
                            "最大值变大时，之前累加的和仍以旧的最大值为基准：要先把 s 乘上 exp(m - m')，"
                            "然后才令 m = m'。"),
            "own_maximum": (online_own_maximum,
                            "m is the maximum of the last block only: m' = max(m, the block's).",
                            "m 只是最后一块的最大值：应当取 m' = max(m, 这一块的最大值)。"),
            "inverted": (online_inverted,
                         "the correction is upside down: exp(m - m') is at most 1, exp(m' - m) at least.",
                         "校正因子写反了：应当是 exp(m - m')，它不超过 1；exp(m' - m) 则不小于 1。"),
            "zero_beyond": (online_zero_beyond,
                            "places beyond the row come in as 0: they add exp(0 - m) to the sum, and win "
                            "the maximum of a row of negative numbers. Load them as "
                            "`other=float(\"-inf\")`.",
                            "行外的位置以 0 参加了计算：它们给和添上 exp(0 - m)，碰上一整行负数还会成为"
                            "最大值。加载时写 `other=float(\"-inf\")`。"),
            "unmasked": (online_unmasked,
                         "the load has no mask: the last block reads on into the next row, and beyond the "
                         "array, where NaN lies here.",
                         "加载没有掩码：最后一块一直读到下一行，甚至数组之外，那里是 NaN。"),
            "without_maximum": (online_without_maximum,
                                "s is a sum of exp(x) itself: it overflows for large logits. Subtract the "
                                "running maximum in the exponent.",
                                "s 累加的是 exp(x) 本身，logits 一大就上溢。指数里要减去当前最大值。"),
            "first_block": (online_first_block,
                            "only the first block of the row is read: walk through it with "
                            "`for start in range(0, V, BLOCK)`.",
                            "只读了这一行的第一块：要用 `for start in range(0, V, BLOCK)` 走完整行。"),
            "from_zero": (online_from_zero,
                "m starts at 0, which wins over a row of negative numbers: start at float(\"-inf\").",
                "m 从 0 开始，碰上一整行负数，0 就成了最大值：应从 float(\"-inf\") 开始。"),
            "from_low": (online_from_low,
                "m starts at a number such as -100, which wins over a row that lies lower: only "
                "float(\"-inf\") is below everything.",
                "m 从 -100 这样的数开始，碰上整行都更小的数，最大值就成了它：比什么都小的，只有 "
                "float(\"-inf\")。"),
            "low_beyond": (online_low_beyond,
                "places beyond the row come in as a number such as -100, which wins over a row that lies "
                "lower: load them as `other=float(\"-inf\")`.",
                "行外的位置以 -100 这样的数参加了计算，碰上整行都更小的数，最大值就成了它：加载时写 "
                "`other=float(\"-inf\")`。"),
            "low_throughout": (online_low_throughout,
                "a number such as -100 stands in for minus infinity, twice: it wins over a row that lies "
                "lower. Start m at float(\"-inf\"), and load with `other=float(\"-inf\")`.",
                "两处都用 -100 这样的数代替了负无穷，碰上整行都更小的数，最大值就成了它：m 应从 "
                "float(\"-inf\") 开始，加载时也写 `other=float(\"-inf\")`。"),
            "same_block": (online_same_block,
                "each round reads the first block again: the columns are start + tl.arange(0, BLOCK).",
                "每一轮读的都是第一块：列号应是 start + tl.arange(0, BLOCK)。"),
            "forgotten": (online_forgotten,
                "s holds the last block alone: add to what was there, s * tl.exp(m - m_new) + ...",
                "s 里只剩下最后一块：要加到原来的上面，s * tl.exp(m - m_new) + ……"),
            "logarithm": (online_logarithm,
                "this is the logarithm of the sum: S is to be the sum itself.",
                "这是和的对数：S 要的是和本身。"),
            "maximum_not_kept": (online_maximum_not_kept,
                "m is still -inf in the end: the last line of each round is m = m_new.",
                "到最后 m 仍是 -inf：每一轮的最后一行应是 m = m_new。"),
        },
        outputs=("M", "S"),
        rtol=2e-6,
        atol=0.0,
        why=("at every moment s e^m is the sum of the exponentials read so far; the correction changes "
             "the two factors and not their product. So the order of the blocks does not matter either, "
             "but for rounding.",
             "任何时刻，s e^m 都等于已读部分的指数和；校正改变的是两个因子，乘积不变。所以除了舍入误差，"
             "先读哪一块、后读哪一块也没有关系。"),
        seconds=30,
    ),
    Exercise(
        name="cross_entropy_grad",
        cases=grad_cases,
        run=run_grad,
        reference=softmax_minus_one_hot,
        outputs=("DX",),
        statement_zh="""
            DX[r, j] = scale (exp(X[r, j] - M[r]) / S[r] - [j = Y[r]])，
            每一行 r 由一个程序实例负责，一块一块地算。

            X、DX：指向 (R, V) 的指针，一行接一行存放，float32 或 float16。Y：(R,)，标签。
            M、S：(R,)，就是 `online_softmax` 的结果。scale：N 行的平均损失取 1/N。
            V：一行的长度。BLOCK：2 的幂，可以比 V 小，也可以比 V 大。
            """,
        hints=[
            ("three scalars come first: the row's label, m and s, one `tl.load` each. Then blocks as before.",
             "先取三个标量：这一行的标签、m 和 s，各用一次 `tl.load`。然后照旧一块一块地走。"),
            ("`j` counts columns of the whole row, `j = start + tl.arange(0, BLOCK)`; compare it with the "
             "label.",
             "`j` 是整行里的列号，`j = start + tl.arange(0, BLOCK)`；拿它和标签比较。"),
            ("`d = scale * (tl.exp(x - m) / s - tl.where(j == y, 1.0, 0.0))`, stored with the mask.",
             "`d = scale * (tl.exp(x - m) / s - tl.where(j == y, 1.0, 0.0))`，带着掩码写回。"),
        ],
        wrong={
            "no_label": (grad_no_label, "this is the softmax: the label's column needs 1 less.",
                         "这只是 softmax：标签那一列还要减 1。"),
            "no_scale": (grad_no_scale, "the factor `scale` is missing, 1/N of the mean.",
                         "漏了因子 `scale`，也就是求平均的 1/N。"),
            "own_scale": (grad_own_scale,
                          "the argument scale is not used: the kernel divides by the number of programs. "
                          "It is 1/N only for the mean; multiply by the scale that you are given.",
                          "没有用到参数 scale：内核除以了程序实例的个数。只有求平均时它才是 1/N；应乘传进来的 "
                          "scale。"),
            "half_scaled": (grad_half_scaled,
                            "only the softmax is scaled, not the 1 that is subtracted: parentheses.",
                            "只有 softmax 乘了 scale，减去的 1 没有乘：缺一对括号。"),
            "not_normalised": (grad_not_normalised, "exp(x - m) is not a probability yet: divide by s.",
                               "exp(x - m) 还不是概率：要除以 s。"),
            "first_block": (grad_first_block,
                            "columns from BLOCK on are never written (77 is what was there before): walk "
                            "through the row in blocks.",
                            "从第 BLOCK 列起就没有写过（77 是原来放在那里的数）：要一块一块走完整行。"),
            "label_in_block": (grad_label_in_block,
                               "the label is compared with the place within the block, so each block has "
                               "its own 1: compare with `start + tl.arange(0, BLOCK)`.",
                               "标签是和块内的位置比较的，于是每一块都减了个 1：要和 "
                               "`start + tl.arange(0, BLOCK)` 比较。"),
            "stray": (grad_stray,
                      "the last block is stored beyond the row: the store needs `mask=j < V` too.",
                      "最后一块写到了行外：写回也要带 `mask=j < V`。"),
            "no_maximum": (grad_no_maximum,
                "S[r] is a sum of exp(x - M[r]): the exponential above the line needs the same M[r], or "
                "it overflows.",
                "S[r] 是 exp(x - M[r]) 的和：分子的指数里也要减去 M[r]，否则会上溢。"),
            "first_label": (grad_first_label,
                "label, m and s are those of row 0 for every row: load them at `Y + row`, `M + row`, `S + "
                "row`.",
                "每一行用的都是第 0 行的标签、m 和 s：要从 `Y + row`、`M + row`、`S + row` 加载。"),
            "label_alone": (grad_of_the_label_alone,
                "only the label's column is filled: the others get their probability times scale.",
                "只填了标签那一列：别的列要填概率乘 scale。"),
            "to_the_label": (grad_to_the_label,
                "the sign is flipped: the gradient is p minus the one-hot row.",
                "符号反了：梯度是 p 减去 one-hot 行。"),
            "softmax_alone": (grad_softmax_alone,
                "this is the softmax: the label's column needs 1 less, and all of it the factor `scale`.",
                "这只是 softmax：标签那一列还要减 1，整个再乘 `scale`。"),
            "label_number": (grad_label_number,
                "the label's number itself is subtracted from every column: subtract 1 where `j == y`, "
                "with tl.where.",
                "把标签的编号从每一列里都减掉了：要用 tl.where 只在 `j == y` 处减 1。"),
        },
        rtol=3e-6,
        atol=2e-7,
        why=("everything is computed from numbers that are in registers already: the row is read once and "
             "written once, and the probabilities never see the memory.",
             "算的全是已经在寄存器里的数：整行读一遍、写一遍，概率从没进过内存。"),
        seconds=30,
    ),
]
