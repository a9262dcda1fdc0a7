"""Layers against torch's: the same weights give the same outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minillm
from minillm import Tensor, nn

torch = pytest.importorskip("torch")

B, T, D, H = 3, 4, 5, 6
TORCH = {np.float32: torch.float32, np.float64: torch.float64}
TOLERANCE = {np.float32: {"rtol": 1e-5, "atol": 1e-6}, np.float64: {"rtol": 1e-12, "atol": 1e-13}}


def tensors(*arrays: np.ndarray) -> list[tuple[Tensor, Any]]:
    """Each array as a leaf of ours and a leaf of torch's."""
    return [(Tensor(a.copy(), requires_grad=True), torch.tensor(a, requires_grad=True)) for a in arrays]


def same(ours: Any, theirs: Any, dtype: Any, name: str = "") -> None:
    expected = theirs.detach().numpy()
    found = ours.data if isinstance(ours, Tensor) else ours
    assert found.dtype == dtype, name
    np.testing.assert_allclose(found, expected, err_msg=name, **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(B, D), (B, T, D), (D,), (0, D)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_linear(dtype: Any, shape: tuple[int, ...], bias: bool, rng: np.random.Generator) -> None:
    layer = nn.Linear(D, H, bias, rng=rng, dtype=dtype)
    other = torch.nn.Linear(D, H, bias=bias, dtype=TORCH[dtype])
    if layer.bias is not None:
        layer.bias.data[...] = rng.standard_normal(H)
    with torch.no_grad():
        other.weight.copy_(torch.tensor(layer.weight.data.T))
        if layer.bias is not None:
            other.bias.copy_(torch.tensor(layer.bias.data))
    (x, x_), = tensors(rng.standard_normal(shape).astype(dtype))
    g = rng.standard_normal((*shape[:-1], H)).astype(dtype)
    y, y_ = layer(x), other(x_)
    same(y, y_, dtype)
    y.backward(g), y_.backward(torch.tensor(g))
    same(x.grad, x_.grad, dtype, "x")
    same(layer.weight.grad.T, other.weight.grad, dtype, "weight")
    if bias:
        same(layer.bias.grad, other.bias.grad, dtype, "bias")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ids", [[[0, 2, 2], [6, 0, 2]], [3], [], np.array([[1]], np.uint8)], ids=str)
def test_embedding(dtype: Any, ids: Any, rng: np.random.Generator) -> None:
    ids = np.asarray(ids, np.int64) if isinstance(ids, list) else ids
    layer = nn.Embedding(7, D, rng=rng, dtype=dtype)
    weight = torch.tensor(layer.weight.data, requires_grad=True)
    y, y_ = layer(ids), torch.nn.functional.embedding(torch.tensor(ids.astype(np.int64)), weight)
    same(y, y_, dtype)
    g = rng.standard_normal(y.shape).astype(dtype)
    y.backward(g), y_.backward(torch.tensor(g))
    same(layer.weight.grad, weight.grad, dtype, "weight")


def torch_lstm(layer: nn.LSTMLayer, dtype: Any) -> Any:
    """torch's LSTM with our weights. Both order the gates i, f, g, o; torch's matrices are transposed."""
    other = torch.nn.LSTM(D, H, batch_first=True, dtype=TORCH[dtype])
    with torch.no_grad():
        for name, value in (("weight_ih_l0", layer.W.data.T), ("weight_hh_l0", layer.U.data.T),
                            ("bias_ih_l0", layer.b.data), ("bias_hh_l0", 0 * layer.b.data)):
            getattr(other, name).copy_(torch.tensor(value))
    return other


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("state", [False, True], ids=["zero state", "given state"])
@pytest.mark.parametrize("steps", [1, T])
def test_lstm(dtype: Any, state: bool, steps: int, rng: np.random.Generator) -> None:
    layer = nn.LSTMLayer(D, H, rng=rng, dtype=dtype)
    layer.b.data += rng.standard_normal(4 * H).astype(dtype)
    other = torch_lstm(layer, dtype)
    (x, x_), (h, h_), (c, c_) = tensors(*(rng.standard_normal(s).astype(dtype)
                                          for s in ((B, steps, D), (B, H), (B, H))))
    hs, (h_T, c_T) = layer(x, (h, c)) if state else layer(x)
    hs_, (h_T_, c_T_) = other(x_, (h_[None], c_[None])) if state else other(x_)
    same(hs, hs_, dtype, "hs")
    same(h_T, h_T_[0], dtype, "h")
    same(c_T, c_T_[0], dtype, "c")
    g, gh, gc = (rng.standard_normal(s).astype(dtype) for s in ((B, steps, H), (B, H), (B, H)))
    ((hs * g).sum() + (h_T * gh).sum() + (c_T * gc).sum()).backward()
    ((hs_ * torch.tensor(g)).sum() + (h_T_[0] * torch.tensor(gh)).sum()
     + (c_T_[0] * torch.tensor(gc)).sum()).backward()
    same(x.grad, x_.grad, dtype, "x")
    same(layer.W.grad.T, other.weight_ih_l0.grad, dtype, "W")
    same(layer.U.grad.T, other.weight_hh_l0.grad, dtype, "U")
    same(layer.b.grad, other.bias_ih_l0.grad, dtype, "b")
    if state:
        same(h.grad, h_.grad, dtype, "h0")
        same(c.grad, c_.grad, dtype, "c0")


def test_lstm_reads_on_from_its_state(rng: np.random.Generator) -> None:
    """Two halves with the state carried over are the whole: what truncated BPTT rests on."""
    layer, x = nn.LSTM(D, H, 2, rng=rng, dtype=np.float64), Tensor(rng.standard_normal((B, T, D)))
    whole, state_after = layer(x)
    first, state = layer(x[:, :2])
    second, other_state = layer(x[:, 2:], state)
    np.testing.assert_allclose(np.concatenate([first.data, second.data], axis=1), whole.data, rtol=1e-13)
    for (h, c), (h2, c2) in zip(state_after, other_state, strict=True):
        np.testing.assert_allclose(h2.data, h.data, rtol=1e-13)
        np.testing.assert_allclose(c2.data, c.data, rtol=1e-13)


L = 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("state", [False, True], ids=["zero state", "given state"])
def test_stacked_lstm(dtype: Any, state: bool, rng: np.random.Generator) -> None:
    stack = nn.LSTM(D, H, L, rng=rng, dtype=dtype)
    other = torch.nn.LSTM(D, H, L, batch_first=True, dtype=TORCH[dtype])
    for i, layer in enumerate(stack.layers):
        layer.b.data += rng.standard_normal(4 * H).astype(dtype)
        with torch.no_grad():
            for name, value in (("weight_ih", layer.W.data.T), ("weight_hh", layer.U.data.T),
                                ("bias_ih", layer.b.data), ("bias_hh", 0 * layer.b.data)):
                getattr(other, f"{name}_l{i}").copy_(torch.tensor(value))
    (x, x_), = tensors(rng.standard_normal((B, T, D)).astype(dtype))
    starts = tensors(*(rng.standard_normal((2 * L, B, H)).astype(dtype)))
    ours, theirs = ([pair[k] for pair in starts] for k in (0, 1))
    if state:
        hs, after = stack(x, [(ours[2 * i], ours[2 * i + 1]) for i in range(L)])
        hs_, (h_, c_) = other(x_, (torch.stack(theirs[::2]), torch.stack(theirs[1::2])))
    else:
        hs, after = stack(x)
        hs_, (h_, c_) = other(x_)
    same(hs, hs_, dtype, "hs")
    assert len(after) == L
    for i, (h, c) in enumerate(after):
        same(h, h_[i], dtype, f"h {i}")
        same(c, c_[i], dtype, f"c {i}")
    g = rng.standard_normal((B, T, H)).astype(dtype)
    ((hs * g).sum() + sum(c.sum() for _, c in after)).backward()
    ((hs_ * torch.tensor(g)).sum() + c_.sum()).backward()
    same(x.grad, x_.grad, dtype, "x")
    for i, layer in enumerate(stack.layers):
        same(layer.W.grad.T, getattr(other, f"weight_ih_l{i}").grad, dtype, f"W {i}")
        same(layer.U.grad.T, getattr(other, f"weight_hh_l{i}").grad, dtype, f"U {i}")
        same(layer.b.grad, getattr(other, f"bias_ih_l{i}").grad, dtype, f"b {i}")
    for k, (a, b) in enumerate(starts if state else []):
        same(a.grad, b.grad, dtype, f"state {k}")


def test_stacked_lstm_drops_between_layers_only(rng: np.random.Generator) -> None:
    x = rng.standard_normal((B, T, D)).astype(np.float32)
    stack = nn.LSTM(D, H, L, dropout=0.5, rng=np.random.default_rng(1))
    seen: list[Any] = []
    for layer in stack.layers:
        layer.forward = lambda x, s=None, f=layer.forward: (seen.append(x), f(x, s))[1]
    stack(x)
    inputs = [a.data if isinstance(a, Tensor) else a for a in seen]
    assert [(a == 0).any() for a in inputs] == [False, True, True]
    dropped = [(a == 0) for a in inputs[1:]]
    assert (dropped[0] != dropped[1]).any()  # a mask of its own for each layer
    whole, _ = stack(x)
    assert (whole.data != 0).all()  # nothing is dropped above the last layer
    stack.eval()
    y, _ = stack(x)
    hs = x
    for layer in stack.layers:
        hs, _ = layer(hs)
    assert (y.data == hs.data).all()


def test_names_in_a_stacked_lstm(rng: np.random.Generator) -> None:
    stack = nn.LSTM(D, H, 2, dropout=0.25, rng=rng)
    assert [n for n, _ in stack.named_parameters()] == [f"layers.{i}.{n}" for i in (0, 1) for n in "WUb"]
    assert repr(stack) == f"LSTM({D}, {H}, 2, dropout=0.25)"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lists_are_taken_in_the_dtype_of_the_parameters(dtype: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, D)).astype(dtype)
    linear, lstm = nn.Linear(D, 2, rng=rng, dtype=dtype), nn.LSTM(D, H, rng=rng, dtype=dtype)
    for found, expected in ((linear(x.tolist()), linear(x)), (lstm(x.tolist())[0], lstm(x)[0])):
        assert found.dtype == dtype
        assert (found.data == expected.data).all()
    assert nn.Embedding(7, D, rng=rng)([[1, 2]]).shape == (1, 2, D)
    assert nn.Dropout(0.5, rng=rng)([1.0, 2.0]).shape == (2,)


@pytest.mark.parametrize("p", [7e-6, 0.5, 1 - 7e-6])
def test_dropout_drops_the_share_at_any_p(p: float, rng: np.random.Generator) -> None:
    """7e-6 is less than half of 2^-16: 16 random bits a number cannot tell it from 0."""
    n = 4_000_000
    y = nn.Dropout(p, rng=rng)(Tensor(np.ones(n, np.float32)))
    kept = int(np.count_nonzero(y.data))
    assert abs(kept - n * (1 - p)) < 5 * np.sqrt(n * p * (1 - p))  # five standard deviations


def test_lstm_starts_as_keras_starts_it(rng: np.random.Generator) -> None:
    layer = nn.LSTM(D, H, rng=rng).layers[0]
    assert layer.b.data.tolist() == [0] * H + [1] * H + [0] * 2 * H
    np.testing.assert_allclose(layer.U.data @ layer.U.data.T, np.eye(H), atol=1e-6)
    assert 0.5 * np.sqrt(6 / (D + 4 * H)) < np.abs(layer.W.data).max() <= np.sqrt(6 / (D + 4 * H))
    assert {p.dtype for p in layer.parameters()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.LSTMLayer])
def test_sequential_hands_on_hidden_states(kind: Any, rng: np.random.Generator) -> None:
    embedding, lstm, linear = (nn.Embedding(7, D, rng=rng), kind(D, H, rng=rng), nn.Linear(H, 7, rng=rng))
    ids = rng.integers(0, 7, (B, T))
    y = nn.Sequential(embedding, lstm, linear)(ids)  # (B, T, 7)
    assert (y.data == linear(lstm(embedding(ids))[0]).data).all()


def test_dropout_keeps_the_mean_and_drops_the_share(rng: np.random.Generator) -> None:
    n, p = 100_000, 0.3
    y = nn.Dropout(p, rng=rng)(Tensor(np.ones(n, np.float32)))
    assert y.dtype == np.float32
    assert set(np.unique(y.data)) == {np.float32(0), np.float32(1 / (1 - p))}
    share = (y.data == 0).mean()
    assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / n)  # five standard deviations
    assert y.data.mean() == pytest.approx(1, abs=0.02)


def test_dropout_passes_the_gradient_where_it_passed_the_value(rng: np.random.Generator) -> None:
    x = Tensor(np.ones(50), requires_grad=True)
    y = nn.Dropout(0.5, rng=rng)(x)
    y.sum().backward()
    assert (x.grad == y.data).all()


@pytest.mark.parametrize("layer", [nn.Dropout(0.9).eval(), nn.Dropout(0.0)], ids=["eval", "p=0"])
def test_dropout_that_does_nothing(layer: nn.Dropout) -> None:
    x = Tensor(np.ones(5))
    assert layer(x) is x


def test_dropout_masks_follow_the_generator() -> None:
    x = Tensor(np.ones(100))

    def masks(seed: int) -> list[np.ndarray]:
        layer = nn.Dropout(0.5, rng=np.random.default_rng(seed))
        return [layer(x).data for _ in range(2)]

    first, again, other = masks(1), masks(1), masks(2)
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    assert (first[0] != first[1]).any()  # a new mask at each call
    assert (first[0] != other[0]).any()


def test_one_seed_makes_one_model() -> None:
    def build() -> dict[str, np.ndarray]:
        minillm.manual_seed(5)
        return nn.Sequential(nn.Embedding(4, 3), nn.LSTM(3, 2), nn.Linear(2, 4)).state_dict()

    first, second = build(), build()
    assert all((first[k] == second[k]).all() for k in first)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: nn.Linear(3, 2)(np.ones((4, 5))),
     r"linear needs x \(..., D\), W \(D, E\) and b \(E,\), not \(4, 5\), \(3, 2\) and \(2,\)"),
    (lambda: nn.LSTM(3, 2)(np.ones((4, 5))), r"LSTM expects x of shape \(B, T, 3\), not \(4, 5\)"),
    (lambda: nn.LSTM(3, 2)(np.ones((4, 5, 2))), r"LSTM expects x of shape \(B, T, 3\), not \(4, 5, 2\)"),
    (lambda: nn.Linear(3, 2)(1.0),
     r"linear needs x \(..., D\), W \(D, E\) and b \(E,\), not \(\), \(3, 2\) and \(2,\)"),
    (lambda: nn.Linear(3, 2)([[1, 2]]),
     r"linear needs x \(..., D\), W \(D, E\) and b \(E,\), not \(1, 2\), \(3, 2\) and \(2,\)"),
    (lambda: nn.Linear(3, 2, bias=False)(np.float32(1)),
     r"linear needs x \(..., D\) and W \(D, E\), not \(\) and \(3, 2\)"),
    (lambda: nn.LSTM(3, 2)(1.0), r"LSTM expects x of shape \(B, T, 3\), not \(\)"),
    (lambda: nn.LSTM(3, 2)([[1, 2, 3]]), r"LSTM expects x of shape \(B, T, 3\), not \(1, 3\)"),
    (lambda: nn.LSTM(3, 2, 0), r"num_layers = 0 must be at least 1"),
    (lambda: nn.LSTM(3, 2, 2, dropout=1.0), r"dropout p = 1.0 is outside \[0, 1\)"),
    (lambda: nn.LSTM(3, 2, 2)(np.ones((1, 1, 3)), [(np.ones((1, 2)), np.ones((1, 2)))]),
     r"the state has \(h, c\) of 1 layers, but the LSTM has 2"),
    (lambda: nn.Embedding(3, 2)(0.5), r"ids must be integers, not float64"),
    (lambda: nn.Embedding(3, 2)(3), r"ids = 3 is outside \[0, 3\)"),
    (lambda: nn.Embedding(3, 2)(np.array([[0, 3]])), r"ids\[0, 1\] = 3 is outside \[0, 3\)"),
    (lambda: nn.Embedding(3, 2)(np.array([-1])), r"ids\[0\] = -1 is outside \[0, 3\)"),
    (lambda: nn.Embedding(3, 2)(np.array([0.5])), r"ids must be integers, not float64"),
    (lambda: nn.Dropout(1.0), r"dropout p = 1.0 is outside \[0, 1\)"),
    (lambda: nn.Dropout(-0.1), r"dropout p = -0.1 is outside \[0, 1\)"),
])
def test_messages(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{message}$"):
        call()
