"""The LSTM on arrays beside a textbook cell, torch's cell and numerical derivatives."""

import numpy as np
import pytest

from minillm.autograd.fused.lstm_arrays import lstm_backward, lstm_forward

NAMES = ("x", "h0", "c0", "W", "U", "b")
# B, T, D, H
# B, T, D, H; only the last is large enough for transposed weights.
SIZES = [(3, 5, 4, 6), (1, 5, 4, 6), (3, 1, 4, 6), (3, 5, 1, 1), (1, 1, 1, 1), (13, 10, 7, 9)]


def draw(rng, B, T, D, H, dtype=np.float64):
    """(x, h0, c0, W, U, b), weights large enough to reach the ends of the sigmoids."""
    shapes = ((B, T, D), (B, H), (B, H), (D, 4 * H), (H, 4 * H), (4 * H,))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def textbook(x, h, c, W, U, b):
    """One cell after the other, as the formula stands."""
    def sigma(z):
        return 1 / (1 + np.exp(-z))

    hs = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ W + h @ U + b, 4, axis=1)
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h = sigma(o) * np.tanh(c)
        hs.append(h)
    return np.stack(hs, axis=1), c


def gradients(arrays, d_hs, d_c, needs=(True,) * 6):
    saved = lstm_forward(*arrays)[2]
    return lstm_backward(saved, d_hs, d_c, *arrays, needs)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("save", [True, False])
def test_forward_is_the_textbook_cell(sizes, save, rng):
    arrays = draw(rng, *sizes)
    hs, c, saved = lstm_forward(*arrays, save=save)
    for ours, theirs in zip((hs, c), textbook(*arrays)):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    assert (saved is not None) == save


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("given", ["hs", "c", "hs c"])
def test_gradients_are_those_of_torch(sizes, given, rng):
    torch = pytest.importorskip("torch")
    arrays = draw(rng, *sizes)
    hs, c, _ = lstm_forward(*arrays)
    d_hs = rng.standard_normal(hs.shape) if "hs" in given else None
    d_c = rng.standard_normal(c.shape) if "c" in given else None

    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    x, h, c, W, U, b = leaves
    loss = torch.zeros((), dtype=torch.float64)
    for t in range(x.shape[1]):
        i, f, g, o = (x[:, t] @ W + h @ U + b).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        if d_hs is not None:
            loss = loss + (h * torch.from_numpy(d_hs[:, t])).sum()
    if d_c is not None:
        loss = loss + (c * torch.from_numpy(d_c)).sum()
    theirs = torch.autograd.grad(loss, leaves)
    for name, a, b in zip(NAMES, gradients(arrays, d_hs, d_c), theirs):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-10, atol=1e-10, err_msg=name)


def test_gradients_are_numerical_derivatives(rng):
    arrays = draw(rng, 2, 4, 3, 2)
    hs, c, _ = lstm_forward(*arrays)
    d_hs, d_c = rng.standard_normal(hs.shape), rng.standard_normal(c.shape)

    def loss(at):
        hs, c, _ = lstm_forward(*at, save=False)
        return (hs * d_hs).sum() + (c * d_c).sum()

    step = 1e-5
    for k, gradient in enumerate(gradients(arrays, d_hs, d_c)):
        direction = rng.standard_normal(arrays[k].shape)
        up, down = ([*arrays[:k], arrays[k] + s * direction, *arrays[k + 1:]] for s in (step, -step))
        slope = (loss(up) - loss(down)) / (2 * step)
        assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-7, abs=1e-8), NAMES[k]


def test_no_steps(rng):
    arrays = draw(rng, 3, 0, 4, 5)
    hs, c, saved = lstm_forward(*arrays)
    assert hs.shape == (3, 0, 5)
    np.testing.assert_array_equal(c, arrays[2])
    d_c = rng.standard_normal(c.shape)
    for name, a, g in zip(NAMES, arrays, lstm_backward(saved, np.zeros_like(hs), d_c, *arrays)):
        np.testing.assert_array_equal(g, d_c if name == "c0" else np.zeros_like(a), err_msg=name)


@pytest.mark.parametrize("wanted", range(6))
def test_needs(wanted, rng):
    arrays = draw(rng, 3, 5, 4, 6)
    d_hs = rng.standard_normal((3, 5, 6))
    every = gradients(arrays, d_hs, None)
    only = gradients(arrays, d_hs, None, needs=tuple(k == wanted for k in range(6)))
    without = gradients(arrays, d_hs, None, needs=tuple(k != wanted for k in range(6)))
    for k in range(6):
        for found, there in ((only[k], k == wanted), (without[k], k != wanted)):
            if there:
                np.testing.assert_array_equal(found, every[k], err_msg=NAMES[k])
            else:
                assert found is None, NAMES[k]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_shape_stay(dtype, rng):
    arrays = draw(rng, 3, 5, 4, 6, dtype)
    hs, c, saved = lstm_forward(*arrays)
    assert hs.dtype == c.dtype == dtype
    found = lstm_backward(saved, np.ones_like(hs), np.ones_like(c), *arrays)
    assert [g.dtype for g in found] == [dtype] * 6
    assert [g.shape for g in found] == [a.shape for a in arrays]


def test_float32_is_close_to_float64(rng):
    arrays = draw(rng, 8, 40, 16, 32)
    arrays[3:] = [a / 4 for a in arrays[3:]]
    d_hs = rng.standard_normal((8, 40, 32))
    exact = (*lstm_forward(*arrays)[:2], *gradients(arrays, d_hs, None))
    single = [a.astype(np.float32) for a in arrays]
    found = (*lstm_forward(*single)[:2], *gradients(single, d_hs.astype(np.float32), None))
    for name, a, b in zip(("hs", "c", *NAMES), found, exact):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * abs(b).max(), err_msg=name)


def test_large_arguments_saturate(rng):
    arrays = [1e4 * a for a in draw(rng, 3, 5, 4, 6, np.float32)]
    hs, _, saved = lstm_forward(*arrays)
    assert np.isfinite(hs).all()
    assert abs(hs).max() <= 1
    for name, g in zip(NAMES, lstm_backward(saved, np.ones_like(hs), None, *arrays)):
        assert np.isfinite(g).all(), name


def test_inputs_in_any_memory_order(rng):
    arrays = draw(rng, 3, 5, 4, 6)
    d_hs, d_c = rng.standard_normal((3, 5, 6)), rng.standard_normal((3, 6))
    # Fortran order, and every second element of a longer array read backwards.
    fortran = [np.asfortranarray(a) for a in (*arrays, d_hs, d_c)]
    strided = []
    for a in (*arrays, d_hs, d_c):
        longer = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan)
        view = longer[..., ::-2]
        view[...] = a
        strided.append(view)
    expected = (*lstm_forward(*arrays)[:2], *gradients(arrays, d_hs, d_c))
    for others in (fortran, strided):
        found = (*lstm_forward(*others[:6])[:2], *gradients(others[:6], *others[6:]))
        for name, a, b in zip(("hs", "c", *NAMES), found, expected):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13, err_msg=name)


def test_nothing_given_is_changed_and_a_graph_can_be_walked_twice(rng):
    arrays = draw(rng, 3, 5, 4, 6)
    d_hs, d_c = rng.standard_normal((3, 5, 6)), rng.standard_normal((3, 6))
    given = [*arrays, d_hs, d_c]
    before = [a.copy() for a in given]
    for a in given:
        a.flags.writeable = False
    _, _, saved = lstm_forward(*arrays)
    first = lstm_backward(saved, d_hs, d_c, *arrays)
    second = lstm_backward(saved, d_hs, d_c, *arrays)
    for a, b in zip((*given, *first), (*before, *second)):
        np.testing.assert_array_equal(a, b)


def test_two_live_calls_share_no_memory(rng):
    first, second = draw(rng, 3, 5, 4, 6), draw(rng, 3, 5, 4, 6)
    d_hs = rng.standard_normal((3, 5, 6))
    alone = gradients(first, d_hs, None)
    hs, c, saved = lstm_forward(*first)
    kept = hs.copy(), c.copy()
    others = lstm_forward(*second)
    lstm_backward(others[2], d_hs, None, *second)
    hs_of_second = others[0]
    hs_of_second[...] = np.nan  # what a caller does to its own result touches nobody's saved values
    np.testing.assert_array_equal(hs, kept[0])
    np.testing.assert_array_equal(c, kept[1])
    for name, a, b in zip(NAMES, lstm_backward(saved, d_hs, None, *first), alone):
        np.testing.assert_array_equal(a, b, err_msg=name)
    hs[...] = np.nan
    c[...] = np.nan
    for name, a, b in zip(NAMES, lstm_backward(saved, d_hs, None, *first), alone):
        np.testing.assert_array_equal(a, b, err_msg=name)
