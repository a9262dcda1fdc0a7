"""Attention: by hand, against torch over shapes and masks, and by tiles."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minillm import Tensor, check_gradients, detect_anomaly, grad
from minillm.formulas import attention, tiled_attention

LN = np.log


@st.composite
def cases(draw, caps=True):
    """q, k, v, options, and the options of one call."""
    B, H_kv, G, T, S = (draw(st.integers(1, n)) for n in (2, 3, 3, 6, 7))
    d, e = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    q, k, v = (rng.standard_normal(s) for s in ((B, H_kv * G, T, d), (B, H_kv, S, d), (B, H_kv, S, e)))
    shape = draw(st.sampled_from([None, (B, 1, 1, S), (B, H_kv * G, T, S), (T, S), (1, H_kv * G, 1, 1)]))
    options = {"causal": draw(st.booleans()), "mask": None if shape is None else rng.random(shape) < 0.6,
               "scale": draw(st.sampled_from([None, 0.3]))}
    if caps:
        options["softcap"] = draw(st.sampled_from([None, 1.5]))
    return q, k, v, options


def seen_of(q, k, causal, mask, **_):
    """(B, H, T, S): who sees whom."""
    T, S = q.shape[2], k.shape[2]
    seen = np.ones((*q.shape[:2], T, S), bool)
    if causal:
        seen &= np.arange(S) <= np.arange(T)[:, None] + S - T
    return seen if mask is None else seen & mask


def test_attention_by_hand():
    """d = 1 and scale 1: scores 0, log 2 and log 5 are weights 1/8, 2/8 and 5/8; then the causal triangle."""
    q, k = np.ones((1, 1, 1, 1)), np.array([0, LN(2), LN(5)]).reshape(1, 1, 3, 1)
    v = np.array([[8.0, 0], [0, 4], [16, 8]])[None, None]
    assert_allclose(attention(q, k, v)[0, 0], [[11, 6]])
    every = np.repeat(q, 3, axis=2)
    assert_allclose(attention(every, k, v)[0, 0], [[8, 0], [8 / 3, 8 / 3], [11, 6]])
    assert_allclose(attention(every, k, v, causal=False)[0, 0], [[11, 6]] * 3)
    hidden = np.array([True, False, True])
    assert_allclose(attention(every, k, v, mask=hidden)[0, 0], [[8, 0], [8, 0], [88 / 6, 40 / 6]])
    assert_allclose(attention(4 * q, k, v, scale=0.25)[0, 0], [[11, 6]])
    capped = np.exp(0.5 * np.tanh([0, LN(2) / 0.5, LN(5) / 0.5]))
    assert_allclose(attention(q, k, v, softcap=0.5)[0, 0, 0], capped @ v[0, 0] / capped.sum())


@given(cases(caps=False))
def test_against_torch(case):
    q, k, v, options = case
    seen = seen_of(q, k, **options)
    ts = [torch.tensor(a, requires_grad=True) for a in (q, k, v)]
    t = torch.nn.functional.scaled_dot_product_attention(
        *ts, attn_mask=torch.tensor(seen), scale=options["scale"], enable_gqa=True)
    xs = [Tensor(a, requires_grad=True) for a in (q, k, v)]
    y = attention(*xs, **options)
    g = np.random.default_rng(0).standard_normal(y.shape)
    t.backward(torch.tensor(g))
    assert_allclose(y.data, t.detach().numpy(), rtol=1e-12, atol=1e-13)
    for x, theirs in zip(grad(y, xs, g), ts, strict=True):
        assert_allclose(x.data, theirs.grad.numpy(), rtol=1e-11, atol=1e-12)


def test_is_causal_is_torch_s_for_as_many_queries_as_keys(rng):
    q, k, v = rng.standard_normal((3, 2, 3, 5, 4))
    t = torch.nn.functional.scaled_dot_product_attention(*map(torch.tensor, (q, k, v)), is_causal=True)
    assert_allclose(attention(q, k, v), t.numpy(), rtol=1e-13, atol=1e-14)


def test_the_queries_are_the_last_positions(rng):
    """What a cache needs: the last rows alone are the last rows of all."""
    q, k, v = rng.standard_normal((3, 1, 2, 6, 4))
    every = attention(q, k, v)
    for T in (1, 2, 5):
        assert_allclose(attention(q[:, :, -T:], k, v), every[:, :, -T:], rtol=1e-14)
    longer = attention(q, k[:, :, :4], v[:, :, :4])
    assert not longer[:, :, :2].any()  # the first two queries come before the first key
    assert longer[:, :, 2:].all()


@given(cases(), st.integers(1, 8))
def test_tiled_attention_equals_attention(case, tile):
    q, k, v, options = case
    results = []
    for f in (attention, lambda *a, **o: tiled_attention(*a, tile, **o)):
        xs = [Tensor(a, requires_grad=True) for a in (q, k, v)]
        y = f(*xs, **options)
        results.append([y.data, *(d.data for d in grad((y * y).sum(), xs))])
    for a, b in zip(*results, strict=True):
        assert_allclose(b, a, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("f", [attention, tiled_attention], ids=lambda f: f.__name__)
def test_a_query_that_sees_nothing_gives_nothing(f, rng):
    q, k, v = rng.standard_normal((3, 2, 2, 3, 4))
    mask = np.ones((2, 1, 3, 3), bool)
    mask[0, :, 1] = mask[1, :, :, 0] = False  # one query; and the first key, which is all that query 0 has
    xs = [Tensor(a, requires_grad=True) for a in (q, k, v)]
    with detect_anomaly():
        y = f(*xs, mask=mask)
        (y * y).sum().backward()
    blind = np.zeros((2, 2, 3), bool)
    blind[0, :, 1] = blind[1, :, 0] = True
    assert_array_equal((y.data == 0).all(-1), blind)
    assert not xs[0].grad[blind].any()
    assert xs[0].grad[0, :, 2].all()
    assert not xs[2].grad[1, :, 0].any()
    assert xs[2].grad[0].all()
    check_gradients(lambda *a: f(*a, mask=mask, softcap=2.0), (q, k, v), order=2)


@pytest.mark.parametrize("f", [attention, tiled_attention], ids=lambda f: f.__name__)
def test_huge_scores_do_not_overflow(f, rng):
    q, k, v = rng.standard_normal((3, 1, 1, 4, 4))
    y = f(1e4 * q, 1e4 * k, v)
    best = np.where(np.tri(4, dtype=bool), q[0, 0] @ k[0, 0].T, -np.inf).argmax(-1)
    assert_allclose(y[0, 0], v[0, 0, best])
    assert f(*(a.astype(np.float32) for a in (q, k, v)), softcap=5.0).dtype == np.float32
