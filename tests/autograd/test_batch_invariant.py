"""`batch_invariant`: a row's bits are its own; and values and gradients are those of the ordinary mode."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import invariant_checks as checks
import numpy as np
import pytest
from device_array import asarray
from hypothesis import given, settings
from hypothesis import strategies as st
from invariant_checks import DTYPES, assert_same_bits, draw
from numpy.testing import assert_allclose

from minillm import Tensor, batch_invariant, check_gradients, detect_anomaly, formulas, grad, lstm, no_grad
from minillm.autograd import fused, row_products
from minillm.autograd.state import state

seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(DTYPES)
heads = st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 2), (3, 1)])


# ---- a row's bits are its own --------------------------------------------------------------------

@settings(max_examples=25)
@given(seeds, st.integers(1, 150), st.integers(1, 300), dtypes)
def test_rows(seed, N, C, dtype):
    checks.check_rows(np.random.default_rng(seed), N, C, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_rows(dtype, rng):
    """NumPy's buffers hold 8192 numbers, BLAS cuts K up, and 64 rows and more may go together."""
    for C in (1000, 9001):
        checks.check_rows(rng, 70, C, dtype)


@settings(max_examples=25)
@given(seeds, st.integers(1, 6), st.integers(1, 20), st.integers(1, 100), dtypes)
def test_stacks(seed, B, T, C, dtype):
    checks.check_stacks(np.random.default_rng(seed), B, T, C, dtype)


@settings(max_examples=25)
@given(seeds, st.integers(1, 33), st.integers(1, 9), st.integers(1, 40), st.integers(1, 60), dtypes)
def test_lstm(seed, B, T, D, H, dtype):
    checks.check_lstm(np.random.default_rng(seed), B, T, D, H, dtype)


@settings(max_examples=40)
@given(seeds, st.integers(1, 5), heads, st.integers(1, 200), st.integers(1, 70), st.integers(1, 70), dtypes,
       st.sampled_from([None, 2.0]))
def test_attention(seed, B, heads, S, d, e, dtype, softcap):
    checks.check_attention(np.random.default_rng(seed), B, heads, S, d, e, dtype, softcap)


@settings(max_examples=25)
@given(seeds, st.integers(1, 5), heads, st.integers(1, 30), st.integers(1, 200), st.integers(1, 40), dtypes)
def test_cross_attention(seed, B, heads, T, S, d, dtype):
    checks.check_cross_attention(np.random.default_rng(seed), B, heads, T, S, d, dtype)


def test_attention_in_blocks(rng, monkeypatch):
    """Blocks of rows and queries, cut small, change no bit."""
    q, k, v = draw(rng, 3, 5, 4, 90, 16, dtype=np.float32)
    mask = (np.arange(90) >= np.array([0, 70, 3, 89, 12])[:, None])[:, None, None]
    with batch_invariant(), no_grad():
        whole = fused.attention(q, k, v, mask=mask)
        monkeypatch.setattr(sys.modules["minillm.autograd.fused.attention_rows"], "SCORES_BYTES", 1)
        assert_same_bits(fused.attention(q, k, v, mask=mask), whole)


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("kernels", [None, "Haswell", "SkylakeX", "Sandybridge"])
def test_other_threads_and_kernels_of_blas(threads, kernels):
    """OpenBLAS reads these when it is loaded; any other BLAS ignores them, or the kernels' name."""
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    environment["OPENBLAS_NUM_THREADS"] = threads
    if kernels:
        needed = "avx512vl" if kernels == "SkylakeX" else "avx2"
        if needed not in _processor():
            pytest.skip(f"the processor has no {needed}, or does not say")
        environment["OPENBLAS_CORETYPE"] = kernels
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, checks.__file__], env=environment, capture_output=True, text=True,
                          check=False)
    assert done.stdout == "ok\n", done.stderr


def _processor():
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8", errors="replace") if info.exists() else ""


def test_where_places_do_not_agree(rng, monkeypatch):
    """A row goes to a tile of its own then, with the bits that it had."""
    x, W, h = (draw(rng, *s, dtype=np.float32) for s in ((19, 30), (30, 11), (4, 2, 9, 8)))
    with batch_invariant(), no_grad():
        y, z = Tensor(x) @ W, fused.attention(h, h, h)
        asked = []
        monkeypatch.setattr(row_products, "places_agree", lambda *shape: asked.append(shape))
        assert_same_bits(Tensor(x) @ W, y)
        assert_same_bits(fused.attention(h, h, h), z)
    assert [shape[:3] for shape in asked] == [(row_products.TILE, *s) for s in ((30, 11), (8, 64))]


def test_places_are_compared(monkeypatch):
    """A BLAS whose last row is another's: `places_agree` says so."""
    places_agree = row_products.places_agree.__wrapped__
    matmul = np.matmul

    def careless(a, b):
        y = matmul(a, b)
        y[..., -1, :] = np.nextafter(y[..., -1, :], np.float32(np.inf))
        return y

    monkeypatch.setattr(row_products.np, "matmul", careless)
    assert not places_agree(row_products.TILE, 50, 40, "f", False)


# ---- values, gradients, errors: those of the ordinary mode ---------------------------------------

@pytest.mark.parametrize("C", [1, 2, 33])
def test_values_and_gradients_of_row_functions(C, rng):
    x = draw(rng, 5, C, dtype=np.float64)
    for name, f in checks.row_functions(rng, C, np.float64).items():
        if "columns" in name or "in front" in name or name == "rotation":
            continue  # they leave the tape
        if name == "std" and C == 1:
            continue  # sqrt at 0
        inside, outside = Tensor(x, requires_grad=True), Tensor(x, requires_grad=True)
        with batch_invariant():
            y = f(inside)
            dx, = grad(np.sum(y * y), [inside])
        z = f(outside)
        dz, = grad(np.sum(z * z), [outside])
        assert_allclose(y.data, z.data, rtol=1e-12, atol=1e-12, err_msg=name)
        assert_allclose(dx.data, dz.data, rtol=1e-10, atol=1e-10, err_msg=name)


EINSUMS = [("ij,jk", (3, 4), (4, 2)), ("ij,jk->ki", (3, 4), (4, 2)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
           ("...j,jk->...k", (2, 3, 4), (4, 5)), ("ij,kj->ik", (3, 4), (5, 4)), ("i,j->ij", (3,), (4,)),
           ("i,i->", (3,), (3,)), ("ij,kl->il", (3, 4), (2, 5)), ("bi,bi->b", (2, 3), (2, 3)),
           ("ii->i", (3, 3)), ("ii", (3, 3)), ("ijk->k", (2, 3, 4)), ("ij->ji", (2, 3)),
           ("iij,j->i", (3, 3, 4), (4,)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
           ("ij,jk->ik", (3, 1), (4, 2)), ("i,ij", (1,), (3, 2)), ("ij,jk->ik", (0, 3), (3, 2)),
           ("ij,jk->ik", (2, 0), (0, 3))]


@pytest.mark.parametrize(("subscripts", "shapes"), [(s, shapes) for s, *shapes in EINSUMS])
def test_einsum(subscripts, shapes, rng):
    arrays = [rng.standard_normal(s) for s in shapes]
    with batch_invariant():
        assert_allclose(np.einsum(subscripts, *map(Tensor, arrays)).data, np.einsum(subscripts, *arrays),
                        rtol=1e-12, atol=1e-12)
        if all(a.size for a in arrays):
            check_gradients(lambda *a: np.einsum(subscripts, *a), arrays)


PRODUCTS = [(np.matmul, (3,), (3,)), (np.matmul, (3,), (3, 2)), (np.matmul, (2, 3), (3,)),
            (np.matmul, (4, 2, 3), (3,)), (np.matmul, (3,), (4, 3, 2)), (np.matmul, (2, 1, 3, 4), (5, 4, 2)),
            (np.matmul, (0, 3), (3, 2)), (np.matmul, (2, 0), (0, 3)), (np.matmul, (2, 3), (3, 0)),
            (np.dot, (3,), (3,)), (np.dot, (2, 3, 4), (5, 4, 6)), (np.tensordot, (2, 3, 4), (3, 4, 5)),
            (np.tensordot, (3, 4), (3, 4))]


@pytest.mark.parametrize(("f", "one", "other"), PRODUCTS)
def test_products_of_all_shapes(f, one, other, rng):
    a, b = rng.standard_normal(one), rng.standard_normal(other)
    for left, right in ((a, b), (a, b.astype(np.float32)), ((9 * a).astype(int), (9 * b).astype(int))):
        with batch_invariant():
            y = f(Tensor(left), right)
        assert y.data.dtype == f(left, right).dtype
        assert y.shape == np.shape(f(left, right))
        assert_allclose(y.data, f(left, right), rtol=1e-6, atol=1e-6)


def test_a_matrix_with_its_own_transpose(rng):
    """NumPy has another BLAS routine for x @ x.T: a tile of eight rows must not come to it."""
    x = draw(rng, 8, 40, dtype=np.float32)
    with batch_invariant():
        assert_same_bits(Tensor(x) @ Tensor(x).T, Tensor(x.copy()) @ Tensor(x).T)


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1,), ()])
@pytest.mark.parametrize("name", ["sum", "mean", "var"])
def test_reductions_over_any_axes(name, axis, rng):
    x = rng.standard_normal((3, 4, 5)).transpose(2, 0, 1)
    for keepdims in (False, True):
        with batch_invariant():
            y = getattr(Tensor(x), name)(axis=axis, keepdims=keepdims)
        assert_allclose(y.data, getattr(x, name)(axis=axis, keepdims=keepdims), rtol=1e-12, atol=1e-12)
        assert y.shape == getattr(x, name)(axis=axis, keepdims=keepdims).shape
    with batch_invariant():
        assert Tensor(np.ones((0, 3))).sum(0).data.tolist() == [0, 0, 0]
        assert Tensor(np.ones((2, 3), bool)).sum().data == 6


ATTENTION = {
    "causal": {}, "not causal": {"causal": False}, "cap": {"softcap": 1.5}, "scale": {"scale": 0.7},
    "padding": {"mask": (np.arange(7) >= np.array([0, 3])[:, None])[:, None, None]},
    "one column": {"mask": np.array([True, False]).reshape(2, 1, 1, 1)},
    "by query": {"mask": np.arange(35).reshape(5, 7) % 3 > 0},
    "by head": {"mask": (np.arange(28) % 5 > 0).reshape(1, 4, 1, 7)},
}


@pytest.mark.parametrize("options", ATTENTION.values(), ids=ATTENTION.keys())
def test_attention_has_the_values_and_gradients_of_its_formula(options, rng):
    shapes = ((2, 4, 5, 6), (2, 2, 7, 6), (2, 2, 7, 3))
    arrays = [rng.standard_normal(s) for s in shapes]
    inside, outside = ([Tensor(a, requires_grad=True) for a in arrays] for _ in range(2))
    with batch_invariant():
        y = fused.attention(*inside, **options)
    z = formulas.attention(*outside, **options)
    assert_allclose(y.data, z.data, rtol=1e-12, atol=1e-12)
    g = rng.standard_normal(z.shape)
    for ours, theirs in zip(grad(y, inside, g), grad(z, outside, g), strict=True):
        assert_allclose(ours.data, theirs.data, rtol=1e-10, atol=1e-10)


def test_attention_with_more_queries_than_keys(rng):
    """The first queries see nothing."""
    q, k = rng.standard_normal((1, 2, 5, 4)), rng.standard_normal((1, 2, 3, 4))
    with batch_invariant():
        y = fused.attention(q, k, k)
        check_gradients(fused.attention, [q, k, k])
    assert_allclose(y.data, formulas.attention(q, k, k), rtol=1e-12)
    assert not y.data[:, :, :2].any()


@pytest.mark.parametrize("B", [0, 2])
def test_lstm_has_the_values_and_gradients_of_its_formula(B, rng):
    arrays = [rng.standard_normal(s) for s in ((B, 3, 4), (B, 5), (B, 5), (4, 20), (5, 20), (20,))]
    inside, outside = ([Tensor(a, requires_grad=True) for a in arrays] for _ in range(2))
    with batch_invariant():
        hs, c = lstm(*inside)
        ours = grad(np.sum(hs * hs) + np.sum(c), inside)
    h2, c2 = formulas.lstm(*outside)
    theirs = grad(np.sum(h2 * h2) + np.sum(c2), outside)
    assert_allclose(hs.data, h2.data, rtol=1e-12, atol=1e-12)
    for a, b in zip(ours, theirs, strict=True):
        assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-10)


def test_errors_are_those_of_the_ordinary_mode(rng):
    x, W, b = Tensor(rng.standard_normal((2, 3))), rng.standard_normal((4, 5)), np.zeros(5)
    calls = [lambda: x @ W, lambda: fused.linear(x, W, b), lambda: fused.linear(x, W[:3], b[:4]),
             lambda: np.tensordot(x, W, 1), lambda: np.einsum("ij,jk->ik", x, W), lambda: x.sum(2),
             lambda: np.einsum("ij,jk->ik", x), lambda: np.einsum("ij->ik", x), lambda: x @ 2.0,
             lambda: np.einsum("ijk->i", x)]
    for call in calls:
        with pytest.raises((ValueError, IndexError)) as outside:
            call()
        with batch_invariant(), pytest.raises(type(outside.value)) as inside:
            call()
        assert str(inside.value) == str(outside.value)


# ---- the mode itself -----------------------------------------------------------------------------

def test_it_ends_nests_and_decorates():
    @batch_invariant()
    def inside():
        return state.invariant

    assert inside() == 1
    with batch_invariant():
        assert inside() == 2
        with pytest.raises(ZeroDivisionError), batch_invariant():
            raise ZeroDivisionError
        assert (state.invariant, state.unusual) == (1, True)
    assert (state.invariant, state.unusual) == (0, False)


def test_it_holds_in_its_thread_only():
    seen = []
    with batch_invariant():
        other = threading.Thread(target=lambda: seen.append((state.invariant, state.unusual)))
        other.start()
        other.join()
    assert seen == [(0, False)]


def test_it_goes_together_with_detect_anomaly(rng):
    x, W = draw(rng, 9, 30, dtype=np.float32), draw(rng, 30, 9, dtype=np.float32)
    with batch_invariant():
        y = Tensor(x) @ W
        with detect_anomaly():
            assert_same_bits(Tensor(x) @ W, y)
            with pytest.raises(FloatingPointError, match="matmul gave nan"):
                Tensor(x) @ np.full_like(W, np.nan)
        assert state.unusual
    with detect_anomaly():
        with batch_invariant():
            assert_same_bits(Tensor(x) @ W, y)
        with pytest.raises(FloatingPointError, match="log gave -inf"):
            np.log(Tensor([0.0]))
    assert not state.unusual


def test_arrays_on_a_gpu_are_refused(rng):
    x, W, b = (asarray(a) for a in (rng.standard_normal((2, 3)), rng.standard_normal((3, 4)), np.zeros(4)))
    for call in (lambda: Tensor(x) @ Tensor(W), lambda: fused.linear(Tensor(x), Tensor(W), Tensor(b)),
                 lambda: Tensor(x).sum(), lambda: np.einsum("ij,jk", Tensor(x), Tensor(W))):
        call()
        with batch_invariant(), pytest.raises(NotImplementedError, match="NumPy arrays on the CPU"):
            call()
