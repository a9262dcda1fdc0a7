"""LSTM layers over rows of unequal length against torch's, which packs them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minillm import Tensor, nn

D, H = 5, 6


@settings(max_examples=25)
@given(B=st.integers(1, 4), T=st.integers(1, 6), L=st.integers(1, 3), bidirectional=st.booleans(),
       padded=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_against_torch(B, T, L, bidirectional, padded, seed):
    rng = np.random.default_rng(seed)
    ours = nn.LSTMEncoder(D, H, L, bidirectional=bidirectional, rng=rng, dtype=np.float64)
    theirs = torch.nn.LSTM(D, H // (1 + bidirectional), L, bidirectional=bidirectional, batch_first=True,
                           dtype=torch.float64)
    layers = {f"_l{i}": layer for i, layer in enumerate(ours.forwards)}
    layers |= {f"_l{i}_reverse": layer for i, layer in enumerate(ours.backwards)}
    with torch.no_grad():
        for end, layer in layers.items():
            layer.b.data += rng.standard_normal(layer.b.shape)
            for name, value in (("weight_ih", layer.W.data.T), ("weight_hh", layer.U.data.T),
                                ("bias_ih", layer.b.data), ("bias_hh", 0 * layer.b.data)):
                getattr(theirs, name + end).copy_(torch.tensor(value))
    lengths = rng.integers(1, T + 1, B)
    lengths[rng.integers(B)] = T
    real = np.arange(T) < lengths[:, None] if padded else np.ones((B, T), bool)
    data = rng.standard_normal((B, T, D))
    x, x_ = Tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    hs, state = ours(x, lengths if padded else None)
    if padded:
        packed, (h_, c_) = theirs(torch.nn.utils.rnn.pack_padded_sequence(
            x_, torch.tensor(lengths), batch_first=True, enforce_sorted=False))
        hs_, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    else:
        hs_, (h_, c_) = theirs(x_)
    assert_allclose(hs.data[real], hs_.detach().numpy()[real], rtol=1e-10, atol=1e-12)
    loss, loss_ = 0.0, 0.0
    for i, pair in enumerate(state):  # torch: layer 0 forwards, layer 0 backwards, layer 1 forwards, ...
        for mine, peer in zip(pair, (h_, c_), strict=True):
            peer = torch.cat([peer[2 * i], peer[2 * i + 1]], -1) if bidirectional else peer[i]
            assert_allclose(mine.data, peer.detach().numpy(), rtol=1e-10, atol=1e-12)
            g = rng.standard_normal(mine.shape)
            loss, loss_ = loss + (mine * g).sum(), loss_ + (peer * torch.tensor(g)).sum()
    g = rng.standard_normal(hs.shape) * real[:, :, None]
    (loss + (hs * g).sum()).backward()
    (loss_ + (hs_ * torch.tensor(g)).sum()).backward()
    assert_allclose(x.grad, x_.grad.numpy(), rtol=1e-9, atol=1e-11)
    for end, layer in layers.items():
        for p, name in ((layer.W, "weight_ih"), (layer.U, "weight_hh"), (layer.b, "bias_ih")):
            assert_allclose(p.grad.T, getattr(theirs, name + end).grad.numpy(), rtol=1e-9, atol=1e-11,
                            err_msg=name + end)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_padding_holds_changes_not_one_bit(dtype, rng):
    encoder = nn.LSTMEncoder(D, H, 2, bidirectional=True, rng=rng, dtype=dtype)
    lengths = np.array([4, 1, 3])
    x = rng.standard_normal((3, 4, D)).astype(dtype)
    real = np.arange(4) < lengths[:, None]
    hs, state = encoder(x, lengths)
    x[~real] = 100
    hs2, state2 = encoder(x, lengths)
    assert_array_equal(hs2.data[real], hs.data[real])
    for pair, pair2 in zip(state, state2, strict=True):
        for a, b in zip(pair, pair2, strict=True):
            assert_array_equal(b.data, a.data)


def test_what_does_not_fit(rng):
    with pytest.raises(ValueError, match="hidden_size = 7 must be even"):
        nn.LSTMEncoder(D, 7, bidirectional=True)
    with pytest.raises(ValueError, match="num_layers = 0 must be at least 1"):
        nn.LSTMEncoder(D, H, 0)
    encoder = nn.LSTMEncoder(D, H, rng=rng)
    with pytest.raises(ValueError, match=r"x must be \(B, T, D\), not \(4, 5\)"):
        encoder(np.ones((4, D), np.float32))
    for wrong in ([4, 0], [5, 4], [4]):
        with pytest.raises(ValueError, match=r"lengths must be \(2,\) numbers in \[1, 4\], not"):
            encoder(np.ones((2, 4, D), np.float32), wrong)
