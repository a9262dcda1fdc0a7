"""The fused LSTM equals its composite formula: forward, backward, and second order through it."""

from typing import Any

import numpy as np
import pytest

from minillm import Tensor, check_gradients, formulas, grad, lstm

SIZES = [(1, 1, 1, 1), (2, 3, 4, 5), (3, 7, 2, 4), (2, 0, 3, 2), (20, 4, 3, 9)]  # B, T, D, H


def arguments(B: int, T: int, D: int, H: int) -> list[np.ndarray]:
    rng = np.random.default_rng(B + T)
    shapes = [(B, T, D), (B, H), (B, H), (D, 4 * H), (H, 4 * H), (4 * H,)]
    return [rng.standard_normal(s) for s in shapes]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("used", ["hs", "c", "both"])
def test_forward_and_backward_equal_the_composite(sizes: tuple[int, ...], used: str) -> None:
    arrays = arguments(*sizes)
    results = []
    for f in (lstm, formulas.lstm):
        xs = [Tensor(a, requires_grad=True) for a in arrays]
        hs, c = f(*xs)
        loss: Any = 0.0
        if used != "c":
            loss = loss + (hs * np.cos(np.arange(hs.size)).reshape(hs.shape)).sum()
        if used != "hs":
            loss = loss + (c * np.sin(np.arange(c.size)).reshape(c.shape)).sum()
        results.append([hs.data, c.data, *(g.data for g in grad(loss, xs))])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("sizes", SIZES[:4])
def test_second_order_goes_through_the_composite(sizes: tuple[int, ...]) -> None:
    check_gradients(lstm, arguments(*sizes), order=2)


def test_second_derivative_equals_the_composites() -> None:
    results = []
    for f in (lstm, formulas.lstm):
        xs = [Tensor(a, requires_grad=True) for a in arguments(2, 3, 2, 3)]
        hs, c = f(*xs)
        first = grad((hs**2).sum() + c.sum(), xs, create_graph=True)
        results.append([g.data for g in grad(sum((g**2).sum() for g in first), xs)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-11)


def test_only_what_is_asked_for_and_nothing_without_a_tape() -> None:
    x, h0, c0, W, U, b = arguments(2, 3, 4, 5)
    weight = Tensor(U, requires_grad=True)
    hs, _ = lstm(x, h0, c0, W, weight, b)
    hs.sum().backward()
    assert weight.grad is not None
    assert weight.grad.shape == U.shape
    hs, c = lstm(x, h0, c0, W, U, b)
    assert hs.op is None
    assert c.op is None


def test_mixed_dtypes_promote_and_gradients_come_back_in_their_own() -> None:
    x, h0, c0, W, U, b = arguments(2, 3, 4, 5)
    xs = [Tensor(a.astype(np.float32), requires_grad=True) for a in (W, U)]
    hs, _ = lstm(x, h0, c0, *xs, b)
    assert hs.dtype == np.float64
    hs.sum().backward()
    assert [t.grad.dtype for t in xs if t.grad is not None] == [np.float32, np.float32]


@pytest.mark.parametrize(("place", "shape", "message"), [
    (0, (2, 4), r"x must be \(B, T, D\) and U \(H, 4H\), not \(2, 4\) and \(5, 20\)"),
    (1, (3, 5), r"h0 must have shape \(2, 5\)"),
    (2, (2, 4), r"c0 must have shape \(2, 5\)"),
    (3, (3, 20), r"W must have shape \(4, 20\)"),
    (4, (5, 15), r"U must have shape \(5, 20\)"),
    (5, (20, 1), r"b must have shape \(20,\)"),
])
def test_shapes_are_named(place: int, shape: tuple[int, ...], message: str) -> None:
    arrays = arguments(2, 3, 4, 5)
    arrays[place] = np.zeros(shape)
    with pytest.raises(ValueError, match=message):
        lstm(*arrays)
