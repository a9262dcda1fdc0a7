"""Output layer and cross-entropy in chunks: equal to the two apart, in a fraction of their memory."""

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import kernels
from kernels.testing.memory import to_host


def apart(x, w, y, b=None, **options):
    """The same through all logits at once."""
    logits = x @ w.T + (0 if b is None else b)
    loss, _, G = kernels.softmax_cross_entropy(logits, y, **options)
    return loss, G @ w, G.T @ x, G.sum(0)


@given(n=st.integers(0, 9), chunk=st.integers(1, 10), with_bias=st.booleans(),
       smoothing=st.sampled_from([0.0, 0.1]), z=st.sampled_from([0.0, 0.1]), weighted=st.booleans(),
       cap=st.sampled_from([None, 3.0]), reduction=st.sampled_from(["mean", "sum"]), seed=st.integers(0, 99))
def test_equals_the_two_apart(n, chunk, with_bias, smoothing, z, cap, reduction, weighted, seed):
    rng = np.random.default_rng(seed)
    x, w, b = rng.standard_normal((n, 4)), rng.standard_normal((7, 4)), rng.standard_normal(7)
    y = rng.integers(-1, 7, n)
    options = {"ignore_index": -1, "label_smoothing": smoothing, "z_loss": z, "softcap": cap,
               "grad_loss": 0.5, "reduction": reduction}
    options["class_weights"] = rng.uniform(0, 2, 7) if weighted else None
    got = kernels.linear_cross_entropy(x, w, y, bias=b if with_bias else None, chunk_rows=chunk, **options)
    want = apart(x, w, y, b if with_bias else None, **options)
    for g, e in zip(got[:4 if with_bias else 3], want, strict=False):
        assert_allclose(g, e, rtol=1e-10, atol=1e-12)
    assert with_bias or got.dbias is None
    alone = kernels.linear_cross_entropy(x, w, y, bias=b if with_bias else None, chunk_rows=chunk,
                                         gradient=False, **options)
    assert_array_equal(alone.loss, got.loss)
    assert alone.dx is None
    assert alone.dweight is None


@pytest.mark.parametrize("dtype", ["float32", "float16", ml_dtypes.bfloat16])
def test_chunking_does_not_change_bits(rng, dtype):
    """With small integers the products are exact, so nothing but the chunking could differ."""
    x = rng.integers(-2, 3, (20, 8)).astype(dtype)
    w = rng.integers(-2, 3, (33, 8)).astype(dtype)
    y = rng.integers(0, 33, 20)
    whole = kernels.linear_cross_entropy(x, w, y, chunk_rows=20)
    for chunk in (1, 3, 7):
        parts = kernels.linear_cross_entropy(x, w, y, chunk_rows=chunk)
        assert_array_equal(parts.loss, whole.loss)
        eps = 2e-5 if dtype == "float32" else 2e-2
        assert_allclose(parts.dx.astype(float), whole.dx.astype(float), atol=eps)
        assert_allclose(parts.dweight.astype(float), whole.dweight.astype(float), atol=eps)
        assert parts.dweight.dtype == np.dtype(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_takes_torch_and_gives_torch(dtype):
    torch.manual_seed(0)
    x = torch.randn(3, 5, 8, requires_grad=True)
    w = torch.randn(11, 8, requires_grad=True)
    y = torch.randint(0, 11, (3, 5))
    want = torch.nn.functional.cross_entropy((x @ w.T).reshape(-1, 11), y.reshape(-1))
    want.backward()
    got = kernels.linear_cross_entropy(x.to(dtype), w.to(dtype), y, chunk_rows=4)
    eps = 1e-5 if dtype is torch.float32 else 0.05
    torch.testing.assert_close(got.loss, want.detach(), atol=eps, rtol=eps)
    torch.testing.assert_close(got.dx.float(), x.grad, atol=eps, rtol=eps)
    torch.testing.assert_close(got.dweight.float(), w.grad, atol=eps, rtol=eps)
    assert got.dx.dtype is dtype


def peak_bytes(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_never_holds_all_logits(rng):
    """N V logits would take 16.8 MB; beside its results the call takes less than an eighth of that."""
    N, H, V, chunk = 1024, 16, 4096, 16
    x = rng.standard_normal((N, H)).astype(np.float32)
    w = rng.standard_normal((V, H)).astype(np.float32)
    y = rng.integers(0, V, N)
    results = 4 * (N * H + V * H)
    chunked = peak_bytes(lambda: kernels.linear_cross_entropy(x, w, y, chunk_rows=chunk))
    assert chunked - results < 4 * N * V / 8
    assert peak_bytes(lambda: apart(x, w, y)) > 4 * N * V


@pytest.mark.parametrize(("change", "message"), [
    ({"weight": np.zeros((5, 3))}, r"weight must be \(V, 4\)"),
    ({"weight": np.zeros((5, 4), np.float32)}, "weight is float32 on cpu; x is float64"),
    ({"bias": np.zeros(4)}, r"bias must have shape \(5,\), not \(4,\)"),
    ({"reduction": "none"}, "reduction = 'none' must be 'mean' or 'sum'"),
    ({"chunk_rows": 0}, "chunk_rows = 0 must be at least 1"),
    ({"labels": np.array([0, 5, 1])}, r"labels\[1\] = 5 is outside \[0, 5\)"),
    ({"label_smoothing": 1.0}, r"label_smoothing = 1.0 is outside \[0, 1\)"),
])
def test_mistakes_are_named_in_one_line(change, message):
    options = {"x": np.zeros((3, 4)), "weight": np.zeros((5, 4)), "labels": np.zeros(3, int), **change}
    with pytest.raises(ValueError, match=message) as error:
        kernels.linear_cross_entropy(**options)
    assert "\n" not in str(error.value)


def test_on_every_backend_and_device(rng, backend, memory):
    x, w = rng.standard_normal((9, 6)).astype(np.float32), rng.standard_normal((50, 6)).astype(np.float32)
    b, y = rng.standard_normal(50).astype(np.float32), rng.integers(0, 50, 9)
    want = kernels.linear_cross_entropy(x.astype(float), w.astype(float), y, bias=b.astype(float))
    X, W, B, Y = (memory.place(a).array for a in (x, w, b, y))
    options = {"bias": B, "backend": backend}
    for chunk in (9, 2):
        got = kernels.linear_cross_entropy(X, W, Y, chunk_rows=chunk, **options)
        for g, e in zip(got, want, strict=True):
            assert_allclose(to_host(g), e, rtol=1e-4, atol=1e-5)
    G = [kernels.linear_cross_entropy(X, W, Y, chunk_rows=n, **options).loss for n in (9, 2)]
    assert_allclose(to_host(G[0]), to_host(G[1]), rtol=1e-6)
