"""Multi-head attention: against torch's, with shared heads, with dropped weights, and from a cache."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minillm import Tensor, nn

PARTS = ("query", "key", "value")


def torch_attention(ours):
    """torch's layer with the parameters of ours: matrices transposed, the first three in one."""
    C = ours.query.weight.shape[0]
    theirs = torch.nn.MultiheadAttention(C, ours.n_head, batch_first=True, bias=ours.query.bias is not None,
                                         dtype=torch.float64)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([torch.tensor(getattr(ours, p).weight.data.T) for p in PARTS]))
        theirs.out_proj.weight.copy_(torch.tensor(ours.output.weight.data.T))
        if ours.query.bias is not None:
            theirs.in_proj_bias.copy_(torch.cat([torch.tensor(getattr(ours, p).bias.data) for p in PARTS]))
            theirs.out_proj.bias.copy_(torch.tensor(ours.output.bias.data))
    return theirs


def shaken(module, rng):
    """The module with parameters of size 1, biases too, so that each of them matters."""
    for p in module.parameters():
        p.data += 0.3 * rng.standard_normal(p.shape)
    return module


@settings(max_examples=40)
@given(B=st.integers(1, 3), T=st.integers(1, 6), S=st.none() | st.integers(1, 7), H=st.integers(1, 4),
       d=st.integers(1, 5), bias=st.booleans(), causal=st.booleans(), masked=st.booleans(),
       seed=st.integers(0, 2**32 - 1))
def test_against_torch(B, T, S, H, d, bias, causal, masked, seed):
    rng = np.random.default_rng(seed)
    ours = shaken(nn.MultiHeadAttention(H * d, H, bias=bias, rng=rng, dtype=np.float64), rng)
    theirs = torch_attention(ours)
    x = rng.standard_normal((B, T, H * d))
    memory = None if S is None else rng.standard_normal((B, S, H * d))
    causal = causal and S is None
    S = T if S is None else S
    mask = None
    if masked:
        mask = rng.random((B, S)) < 0.6
        mask[:, 0] = True  # torch makes nan of a query that sees nothing
    leaves = [Tensor(a, requires_grad=True) for a in (x, memory) if a is not None]
    peers = [torch.tensor(a, requires_grad=True) for a in (x, memory) if a is not None]
    y = ours(*leaves, causal=causal, mask=mask)
    y_, _ = theirs(peers[0], peers[-1], peers[-1], need_weights=False,
                   attn_mask=torch.tensor(~np.tri(T, dtype=bool)) if causal else None,
                   key_padding_mask=None if mask is None else torch.tensor(~mask))
    assert_allclose(y.data, y_.detach().numpy(), rtol=1e-10, atol=1e-12)
    g = rng.standard_normal(y.shape)
    y.backward(g)
    y_.backward(torch.tensor(g))
    for leaf, peer in zip(leaves, peers, strict=True):
        assert_allclose(leaf.grad, peer.grad.numpy(), rtol=1e-9, atol=1e-11)
    grads = {"in_proj_weight": np.concatenate([getattr(ours, p).weight.grad.T for p in PARTS]),
             "out_proj.weight": ours.output.weight.grad.T}
    if bias:
        grads["in_proj_bias"] = np.concatenate([getattr(ours, p).bias.grad for p in PARTS])
        grads["out_proj.bias"] = ours.output.bias.grad
    for name, p in theirs.named_parameters():
        assert_allclose(grads.pop(name), p.grad.numpy(), rtol=1e-9, atol=1e-11, err_msg=name)
    assert not grads


def test_shared_heads_are_heads_that_are_alike(rng):
    """Grouped queries: the same as ordinary attention whose key and value heads are repeated."""
    C, H, H_kv, d = 12, 6, 2, 2
    few = shaken(nn.MultiHeadAttention(C, H, n_kv_head=H_kv, rng=rng, dtype=np.float64), rng)
    many = nn.MultiHeadAttention(C, H, rng=rng, dtype=np.float64)
    for part in ("query", "output", "key", "value"):
        for kind in ("weight", "bias"):
            p = getattr(getattr(few, part), kind).data
            if part in ("key", "value"):
                p = np.repeat(p.reshape(*p.shape[:-1], H_kv, d), H // H_kv, axis=-2).reshape(*p.shape[:-1], C)
            getattr(getattr(many, part), kind).data[...] = p
    x = rng.standard_normal((2, 5, C))
    assert_allclose(few(x, causal=True).data, many(x, causal=True).data, rtol=1e-12, atol=1e-13)
    assert few.n_params == 2 * (C * C + C) + 2 * (C * H_kv * d + H_kv * d)


@pytest.mark.parametrize("n_kv_head", [2, 4])
@pytest.mark.parametrize("mask", [None, "keys", "all four axes"])
@pytest.mark.parametrize("causal", [True, False])
def test_the_way_with_dropout_is_the_same_way(n_kv_head, mask, causal, rng):
    """With dropout the weights are held and not fused: nearly none dropped, nearly nothing changed."""
    layer = nn.MultiHeadAttention(8, 4, n_kv_head=n_kv_head, softcap=2.0, dropout=0.5, rng=rng,
                                  dtype=np.float64)
    x = rng.standard_normal((2, 5, 8))
    seen = {None: None, "keys": np.arange(5) < [[3], [5]],
            "all four axes": rng.random((2, 4, 5, 5)) < 0.7}[mask]
    layer.eval()
    want = layer(x, causal=causal, mask=seen).data
    layer.train()
    layer.dropout.p = 1e-300
    assert_allclose(layer(x, causal=causal, mask=seen).data, want, rtol=1e-12, atol=1e-13)
    layer.dropout.p = 0.5
    assert not np.allclose(layer(x, causal=causal, mask=seen).data, want)
    # whole weights are dropped, the others doubled: on average nothing happens
    n = 2000
    many = layer(np.tile(x, (n, 1, 1)), causal=causal, mask=None if seen is None else np.tile(
        seen, (n,) + (1,) * (seen.ndim - 1))).data.reshape(n, *want.shape)
    assert (np.abs(many.mean(axis=0) - want) <= 5 * many.std(axis=0) / np.sqrt(n) + 1e-12).all()


def test_from_a_cache_as_all_at_once(rng):
    layer = shaken(nn.MultiHeadAttention(8, 4, n_kv_head=2, qk_norm=True, softcap=3.0, rng=rng,
                                         dtype=np.float64), rng)
    x = rng.standard_normal((2, 6, 8))
    cache = nn.KVCache(1, 2, 2, 6, 2, dtype=np.float64)
    parts = []
    for begin, end in ((0, 3), (3, 4), (4, 6)):
        parts.append(layer(x[:, begin:end], causal=True, cache=cache.layers[0]).data)
        cache.advance(end - begin)
    assert_allclose(np.concatenate(parts, axis=1), layer(x, causal=True).data, rtol=1e-12, atol=1e-13)


def test_a_memory_can_be_projected_once(rng):
    layer = nn.MultiHeadAttention(8, 2, qk_norm=True, rng=rng, dtype=np.float64)
    x, memory = rng.standard_normal((2, 3, 8)), rng.standard_normal((2, 5, 8))
    assert_array_equal(layer(x, layer.keys_values(memory)).data, layer(x, memory).data)
    assert not np.allclose(layer(x, memory).data, layer(x, memory[:, ::-1] + 1).data)


def test_qk_norm_makes_it_blind_to_the_scale_of_queries_and_keys(rng):
    layer = nn.MultiHeadAttention(8, 2, qk_norm=True, bias=False, norm_eps=1e-14, rng=rng, dtype=np.float64)
    x = rng.standard_normal((2, 5, 8))
    before = layer(x).data
    layer.query.weight.data *= 100
    layer.key.weight.data *= 0.01
    assert_allclose(layer(x).data, before, rtol=1e-6, atol=1e-9)
    layer.query_norm.weight.data *= 3
    assert not np.allclose(layer(x).data, before)


def test_what_is_hidden_does_not_matter(rng):
    layer = nn.MultiHeadAttention(8, 2, rng=rng)
    x, memory = (rng.standard_normal((2, n, 8)).astype(np.float32) for n in (3, 5))
    mask = np.array([[True, True, False, True, False], [False] * 5])
    changed = memory.copy()
    changed[~mask] = 1e6
    assert_array_equal(layer(x, memory, mask=mask).data, layer(x, changed, mask=mask).data)
    layer.output.bias.data += 7
    assert_array_equal(layer(x, memory, mask=mask).data[1], np.full((3, 8), 7, np.float32))  # sees nothing


@pytest.mark.parametrize(("options", "message"), [
    ({"dim": 10, "n_head": 4}, "dim = 10 must be a multiple of n_head = 4"),
    ({"dim": 8, "n_head": 4, "n_kv_head": 3}, "n_head = 4 must be a multiple of n_kv_head = 3"),
    ({"dim": 8, "n_head": 4, "dropout": 1.0}, "dropout p = 1.0 is outside")])
def test_sizes_that_no_layer_has(options, message):
    with pytest.raises(ValueError, match=message):
        nn.MultiHeadAttention(**options)


def test_shapes_that_do_not_fit(rng):
    layer, x = nn.MultiHeadAttention(8, 2, rng=rng), np.ones((2, 3, 8), np.float32)
    with pytest.raises(ValueError, match=r"x must be \(B, T, 8\), not \(3, 8\)"):
        layer(x[0])
    with pytest.raises(ValueError, match=r"memory must be \(B, T, 8\), not \(2, 3, 7\)"):
        layer(x, x[:, :, 1:])
    with pytest.raises(ValueError, match=r"mask must be \(B, S\) = \(2, 3\) or have four axes, not \(2, 4\)"):
        layer(x, mask=np.ones((2, 4), bool))
    with pytest.raises(TypeError, match="mask must be boolean"):
        layer(x, mask=np.ones((2, 3)))
