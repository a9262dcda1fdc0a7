import numpy as np
import pytest
import torch

from minillm.formulas import lstm, lstm_cell, sigmoid


def drawn(rng, B=3, T=5, D=4, H=6):
    shapes = [(B, T, D), (B, H), (B, H), (D, 4 * H), (H, 4 * H), (4 * H,)]
    return tuple(rng.standard_normal(s) for s in shapes)


def torch_lstm(kind, W, U, b):
    """torch's LSTM with our weights: the same order of gates (i, f, g, o), transposed kernels, two biases."""
    D, H = W.shape[0], U.shape[0]
    module = kind(D, H, dtype=torch.float64)
    suffix = "_l0" if isinstance(module, torch.nn.LSTM) else ""
    with torch.no_grad():
        for name, value in [("weight_ih", W.T), ("weight_hh", U.T), ("bias_ih", b), ("bias_hh", 0 * b)]:
            getattr(module, name + suffix).copy_(torch.tensor(np.ascontiguousarray(value)))
    return module


def test_sigmoid_of_large_numbers():
    """No overflow on either side (a warning would fail the test)."""
    x = np.array([-1e308, -1000.0, -np.log(3), 0.0, np.log(3), 1000.0, np.inf])
    np.testing.assert_allclose(sigmoid(x), [0, 0, 0.25, 0.5, 0.75, 1, 1], rtol=1e-15)
    assert sigmoid(np.float32([0])).dtype == np.float32


def test_cell_by_hand():
    """All gates half open: c = 1/2 c + 1/2 tanh 0, h = 1/2 tanh c."""
    x, h, c = np.ones((1, 2)), np.ones((1, 1)), np.full((1, 1), 2.0)
    h, c = lstm_cell(x, h, c, np.zeros((2, 4)), np.zeros((1, 4)), np.zeros(4))
    assert c.item() == 1.0
    assert h.item() == pytest.approx(0.5 * np.tanh(1.0), rel=1e-15)


def test_gates_stand_in_the_order_i_f_g_o():
    b = np.array([1000.0, -1000.0, 0.5, -1000.0])  # write all, keep nothing, show nothing
    h, c = lstm_cell(np.zeros((1, 1)), np.zeros((1, 1)), np.full((1, 1), 7.0), np.zeros((1, 4)),
                     np.zeros((1, 4)), b)
    assert c.item() == pytest.approx(np.tanh(0.5), rel=1e-15)
    assert h.item() == 0


def test_cell_against_torch(rng):
    x, h, c, W, U, b = drawn(rng)
    ours = lstm_cell(x[:, 0], h, c, W, U, b)
    cell = torch_lstm(torch.nn.LSTMCell, W, U, b)
    theirs = cell(torch.tensor(x[:, 0]), (torch.tensor(h), torch.tensor(c)))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_sequence_is_the_cell_repeated(rng):
    x, h, c, W, U, b = drawn(rng)
    hs, last_c = lstm(x, h, c, W, U, b)
    assert hs.shape == (3, 5, 6)
    for t in range(5):
        h, c = lstm_cell(x[:, t], h, c, W, U, b)
        np.testing.assert_array_equal(hs[:, t], h)
    np.testing.assert_array_equal(last_c, c)


def test_sequence_against_torch(rng):
    x, h, c, W, U, b = drawn(rng)
    module = torch_lstm(lambda D, H, dtype: torch.nn.LSTM(D, H, batch_first=True, dtype=dtype), W, U, b)
    theirs, (_, their_c) = module(torch.tensor(x), (torch.tensor(h)[None], torch.tensor(c)[None]))
    hs, last_c = lstm(x, h, c, W, U, b)
    np.testing.assert_allclose(hs, theirs.detach().numpy(), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(last_c, their_c[0].detach().numpy(), rtol=1e-11, atol=1e-13)


def test_an_empty_sequence_leaves_the_state(rng):
    x, h, c, W, U, b = drawn(rng, T=0)
    hs, last_c = lstm(x, h, c, W, U, b)
    assert hs.shape == (3, 0, 6)
    np.testing.assert_array_equal(last_c, c)


def test_state_carried_over_a_cut_is_as_if_there_were_none(rng):
    x, h, c, W, U, b = drawn(rng)
    whole, last_c = lstm(x, h, c, W, U, b)
    first, middle_c = lstm(x[:, :2], h, c, W, U, b)
    second, end_c = lstm(x[:, 2:], first[:, -1], middle_c, W, U, b)
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), whole)
    np.testing.assert_array_equal(end_c, last_c)
