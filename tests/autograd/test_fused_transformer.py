"""The transformer's fused ops beside their formulas: norms, GELU, attention."""

import sys
import tracemalloc

import numpy as np
import pytest
import torch
from device_array import asarray
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minillm import Tensor, check_gradients, detect_anomaly, formulas, grad, no_grad
from minillm.autograd import fused

attention_file = sys.modules["minillm.autograd.fused.attention"]


def both(name, arrays, dtype, **options):
    """(value, gradients) of the fused op and of its formula, for one random upstream gradient."""
    results = []
    for f in (getattr(fused, name), getattr(formulas, name)):
        xs = [None if a is None else Tensor(a.astype(dtype), requires_grad=True) for a in arrays]
        y = f(*xs, **options)
        g = np.random.default_rng(0).standard_normal(y.shape).astype(dtype)
        results.append([y.data, *(d.data for d in grad(y, [x for x in xs if x is not None], g))])
    return results


def assert_equal_to_formula(name, arrays, dtype=np.float64, **options):
    ours, theirs = both(name, arrays, dtype, **options)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype == dtype
        assert a.shape == b.shape
        size = max(1.0, float(np.abs(b).max(initial=0)))
        assert_allclose(a, b, rtol=0, atol=100 * np.finfo(dtype).eps * size)


# ---- norms ---------------------------------------------------------------------------------------

SHAPES = [(4,), (1, 1), (3, 5), (2, 3, 4), (0, 3), (5, 130)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "no bias"])
def test_norms_equal_their_formulas(name, shape, dtype, rng):
    weights = [rng.standard_normal(shape[-1]) for _ in range(1 if name == "rms_norm" else 2)]
    if name == "no bias":
        name, weights[1] = "layer_norm", None
    assert_equal_to_formula(name, [2 + rng.standard_normal(shape), *weights], dtype, eps=1e-3)
    assert_equal_to_formula(name, [2 + rng.standard_normal(shape), *weights], dtype)


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_norms_to_second_order(name, rng):
    arrays = [rng.standard_normal((2, 3, 4)), *rng.standard_normal((2 if name == "layer_norm" else 1, 4))]
    check_gradients(lambda *a: getattr(fused, name)(*a, eps=0.1) ** 2, arrays)


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_norms_give_the_gradients_that_are_asked_for(name, rng):
    arrays = [rng.standard_normal((3, 4)), *rng.standard_normal((2 if name == "layer_norm" else 1, 4))]
    for i in range(len(arrays)):
        results = []
        for f in (getattr(fused, name), getattr(formulas, name)):
            xs = [Tensor(a, requires_grad=i == j) for j, a in enumerate(arrays)]
            results.append(grad((f(*xs) ** 2).sum(), xs[i]).data)
        assert_allclose(*results, rtol=1e-12, atol=1e-12)


def test_norms_promote_as_numpy_does(rng):
    x, gamma = rng.standard_normal((3, 4)).astype(np.float32), np.ones(4)
    for name in ("layer_norm", "rms_norm"):
        t = Tensor(x, requires_grad=True)
        y = getattr(fused, name)(t, gamma)
        assert y.dtype == getattr(formulas, name)(x, gamma).dtype == np.float64
        y.sum().backward()
        assert t.grad.dtype == np.float32


def test_norms_name_the_weight_that_does_not_fit():
    with pytest.raises(ValueError, match=r"gamma must have shape \(3,\) for x of \(2, 3\), not \(4,\)"):
        fused.rms_norm(np.ones((2, 3)), np.ones(4))
    with pytest.raises(ValueError, match=r"beta must have shape \(3,\) for x of \(2, 3\), not \(1,\)"):
        fused.layer_norm(np.ones((2, 3)), np.ones(3), np.ones(1))
    with pytest.raises(ValueError, match="x must have an axis to normalise"):
        fused.rms_norm(np.ones(()), np.ones(1))


# ---- GELU ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (3, 20000)], ids=str)  # the last is several blocks
@pytest.mark.parametrize("name", ["gelu", "gelu_tanh"])
def test_gelu_equals_its_formula(name, shape, dtype, rng):
    x = 4 * rng.standard_normal(shape)
    assert_equal_to_formula(name, [np.asarray(x)], dtype)
    assert_equal_to_formula(name, [np.asarray(x).T], dtype)


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh"])
def test_gelu_against_torch_and_to_second_order(name, rng):
    x = np.append(3 * rng.standard_normal(50), [0.0, -0.0, 30, -30])
    t = torch.tensor(x, requires_grad=True)
    want = torch.nn.functional.gelu(t, approximate="tanh" if name == "gelu_tanh" else "none")
    want.sum().backward()
    s = Tensor(x, requires_grad=True)
    y = getattr(fused, name)(s)
    y.sum().backward()
    assert_allclose(y.data, want.detach().numpy(), rtol=1e-13, atol=1e-15)
    assert_allclose(s.grad, t.grad.numpy(), rtol=1e-12, atol=1e-14)
    check_gradients(lambda x: getattr(fused, name)(x) ** 2, (x[:20],))


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh"])
def test_gelu_in_float32_has_the_digits_of_float32(name):
    x = Tensor(np.linspace(-5, 14, 20001, dtype=np.float32), requires_grad=True)
    z = Tensor(x.data.astype(np.float64), requires_grad=True)
    y, exact = getattr(fused, name)(x), getattr(formulas, name)(z)
    rtol, atol, of_gradient = (4e-6, 0, 6e-7) if name == "gelu" else (1e-6, 4e-7, 4e-6)  # 1 + tanh cancels
    assert_allclose(y.data, exact.data, rtol=rtol, atol=atol)
    assert_allclose(grad(y.sum(), x).data, grad(exact.sum(), z).data, rtol=0, atol=of_gradient)


def test_gelu_of_integers_is_refused():
    with pytest.raises(TypeError, match="x must be floats, not int64"):
        fused.gelu_tanh(np.arange(3))


# ---- SwiGLU and rotary positions -----------------------------------------------------------------

@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (3, 20000)], ids=str)  # the last is several blocks
def test_swiglu_equals_its_formula(shape, dtype, rng):
    a, b = 4 * rng.standard_normal((2, *shape))
    assert_equal_to_formula("swiglu", [np.asarray(a), np.asarray(b)], dtype)
    assert_equal_to_formula("swiglu", [np.asarray(a).T, np.asarray(b).T], dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("angles", [(3, 2), (2, 1, 3, 2), (1, 2)], ids=str)
def test_rotate_pairs_equals_its_formula(angles, dtype, rng):
    """The angles are differentiated too, and summed over what they were stretched along."""
    x, cos, sin = rng.standard_normal((2, 5, 3, 4)), *rng.standard_normal((2, *angles))
    assert_equal_to_formula("rotate_pairs", [x, cos, sin], dtype)


@pytest.mark.parametrize("name", ["swiglu", "rotate_pairs"])
def test_both_to_second_order(name, rng):
    shapes = [(2, 3, 4), (2, 3, 4)] if name == "swiglu" else [(2, 3, 4), (3, 2), (3, 2)]
    check_gradients(lambda *xs: getattr(fused, name)(*xs) ** 2, [rng.standard_normal(s) for s in shapes])


def test_rotate_pairs_keeps_the_order_of_its_axes_in_memory(rng):
    x = rng.standard_normal((2, 3, 5, 4)).transpose(0, 2, 1, 3)  # (B, H, T, d) of (B, T, H, d)
    y = fused.rotate_pairs(x, np.ones((3, 2)), np.zeros((3, 2))).data
    assert y.strides == x.strides
    assert_allclose(y, x)


@pytest.mark.parametrize(("name", "shapes", "message"), [
    ("swiglu", [(2, 3), (3,)], r"x_up must have the shape of x_gate, \(2, 3\), not \(3,\)"),
    ("rotate_pairs", [(2, 3), (2, 1), (2, 1)], r"x must be \(..., T, d\), d even, not \(2, 3\)"),
    ("rotate_pairs", [(2, 4), (2, 2), (2, 1)], r"sin must have the shape of cos, \(2, 2\), not \(2, 1\)"),
    ("rotate_pairs", [(2, 4), (3, 2), (3, 2)], r"cos must broadcast to \(2, 2\) for x of \(2, 4\)")])
def test_shapes_that_do_not_fit(name, shapes, message):
    with pytest.raises(ValueError, match=message):
        getattr(fused, name)(*map(np.ones, shapes))


def test_swiglu_of_integers_is_refused():
    with pytest.raises(TypeError, match="x_gate and x_up must be floats, not int64 and int64"):
        fused.swiglu(np.arange(3), np.arange(3))


# ---- attention -----------------------------------------------------------------------------------

@pytest.fixture(params=["as it is", "small tiles", "single queries", "kept in tiles"])
def tiles(request, monkeypatch):
    """The same in many tiles, and with the weights kept or computed again."""
    sizes = {"as it is": (attention_file.TILE_BYTES, attention_file.QUERIES, attention_file.KEEP_BYTES),
             "small tiles": (700, 3, 0), "single queries": (1, 64, 0), "kept in tiles": (700, 3, 2**20)}
    for name, value in zip(("TILE_BYTES", "QUERIES", "KEEP_BYTES"), sizes[request.param], strict=True):
        monkeypatch.setattr(attention_file, name, value)


@st.composite
def cases(draw):
    B, H_kv, G, T, S = (draw(st.integers(1, n)) for n in (3, 3, 3, 9, 10))
    d, e = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = (B, H_kv * G, T, d), (B, H_kv, S, d), (B, H_kv, S, e)
    arrays = [rng.standard_normal(s) for s in shapes]
    if draw(st.booleans()):  # as layers make them: (B, T, H, d) with two axes swapped
        arrays = [np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2) for a in arrays]
    mask = draw(st.sampled_from([None, (B, 1, 1, S), (B, H_kv * G, T, S), (T, S), (1, H_kv * G, 1, 1)]))
    return arrays, {"causal": draw(st.booleans()), "mask": None if mask is None else rng.random(mask) < 0.6,
                    "scale": draw(st.sampled_from([None, 0.3])),
                    "softcap": draw(st.sampled_from([None, None, 1.5]))}


@pytest.mark.usefixtures("tiles")
@given(case=cases(), dtype=st.sampled_from([np.float64, np.float64, np.float32]))
def test_attention_equals_its_formula(case, dtype):
    arrays, options = case
    assert_equal_to_formula("attention", arrays, dtype, **options)


@given(case=cases())
def test_attention_against_torch(case):
    arrays, options = case
    options["softcap"] = None  # torch has none
    q, k, _ = arrays
    T, S = q.shape[2], k.shape[2]
    seen = np.ones((*q.shape[:3], S), bool) if options["mask"] is None else np.broadcast_to(
        options["mask"], (*q.shape[:3], S))
    if options["causal"]:
        seen = seen & np.tri(T, S, S - T, dtype=bool)
    ts = [torch.tensor(a, requires_grad=True) for a in arrays]
    t = torch.nn.functional.scaled_dot_product_attention(
        *ts, attn_mask=torch.tensor(seen), scale=options["scale"], enable_gqa=True)
    xs = [Tensor(a, requires_grad=True) for a in arrays]
    y = fused.attention(*xs, **options)
    g = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(g)
    t.backward(torch.tensor(g))
    assert_allclose(y.data, t.detach().numpy(), rtol=1e-12, atol=1e-13)
    for x, theirs in zip(xs, ts, strict=True):
        assert_allclose(x.grad, theirs.grad.numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_attention_to_second_order(softcap, rng):
    q, k, v = (rng.standard_normal(s) for s in ((2, 4, 5, 3), (2, 2, 6, 3), (2, 2, 6, 2)))
    mask = rng.random((2, 1, 1, 6)) < 0.7
    mask[0] = False
    check_gradients(lambda *a: fused.attention(*a, mask=mask, softcap=softcap) ** 2, (q, k, v))


@pytest.mark.usefixtures("tiles")
def test_queries_that_see_nothing(rng):
    q, k, v = rng.standard_normal((3, 2, 2, 5, 4))
    mask = np.ones((2, 1, 5, 5), bool)
    mask[0, :, 3] = mask[1, :, :, :2] = False
    xs = [Tensor(a, requires_grad=True) for a in (q, k, v)]
    with detect_anomaly():
        y = fused.attention(*xs, mask=mask)
        y.backward(rng.standard_normal(y.shape))
    blind = np.zeros((2, 2, 5), bool)
    blind[0, :, 3] = blind[1, :, :2] = True
    assert_array_equal((y.data == 0).all(-1), blind)
    assert not xs[0].grad[blind].any()
    assert not xs[2].grad[1, :, :2].any()
    assert xs[2].grad[0].all()


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_scores_do_not_overflow(dtype, rng):
    """Each row is shifted by its own maximum: no e^x overflows, and no row of small scores is lost."""
    q, k = rng.integers(-3, 4, (2, 2, 2, 5, 4)).astype(float)  # integers: the scores are exact in float32 too
    q *= np.array([1000, 100, 1, 0, 1000])[:, None]
    ours, theirs = both("attention", [q, 100 * k, rng.standard_normal(k.shape)], dtype, scale=1.0)
    assert_allclose(ours[0], theirs[0], rtol=0, atol=20 * np.finfo(dtype).eps)
    for a, b in zip(ours[1:], theirs[1:], strict=True):  # the larger m, the fewer digits of l has m + log l
        assert np.isfinite(a).all()
        if dtype == np.float64:
            assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("option", ["scale", "softcap"])
def test_numbers_of_numpy_do_not_widen_float32(option, rng):
    x = rng.standard_normal((1, 2, 3, 4)).astype(np.float32)
    for array in (x, asarray(x)):  # the fused op; the formula, which a GPU gets
        t = Tensor(array, requires_grad=True)
        assert fused.attention(t, t, t, **{option: np.float64(0.7)}).dtype == np.float32


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (1, 2, 0, 4)], ids=str)
def test_attention_of_no_queries(shape):
    x, k = Tensor(np.ones(shape), requires_grad=True), np.ones((shape[0], 1, 5, 4))
    y = fused.attention(x, k, k)
    assert y.shape == shape
    y.sum().backward()
    assert x.grad.shape == shape


@pytest.mark.parametrize("i", range(3))
def test_attention_gives_the_gradients_that_are_asked_for(i, rng):
    arrays = rng.standard_normal((3, 1, 2, 3, 4))
    results = []
    for f in (fused.attention, formulas.attention):
        xs = [Tensor(a, requires_grad=i == j) for j, a in enumerate(arrays)]
        results.append(grad((f(*xs) ** 2).sum(), xs[i]).data)
    assert_allclose(*results, rtol=1e-12, atol=1e-13)


def test_a_graph_with_attention_may_be_walked_twice(rng):
    arrays = rng.standard_normal((3, 2, 2, 5, 4))
    g = rng.standard_normal((2, 2, 5, 4))
    for f in (fused.attention, lambda *a: fused.attention(*a, softcap=3.0)):
        xs = [Tensor(a, requires_grad=True) for a in arrays]
        y = f(*xs)
        first, again = grad(y, xs, g), grad(y, xs, g)
        for a, b in zip(first, again, strict=True):
            assert_array_equal(a.data, b.data)
        assert_array_equal(xs[0].data, arrays[0])


@pytest.mark.parametrize("softcap", [None, 5.0])
def test_the_memory_that_attention_says_it_takes(softcap):
    """q, k, v, g, the results, and the buffers: far from the B H T S numbers of all weights."""
    B, H, T, d = 2, 4, 512, 16
    weights = B * H * T * T * 4
    q, k, v, g = np.random.default_rng(0).standard_normal((4, B, H, T, d)).astype(np.float32)
    xs = [Tensor(a, requires_grad=True) for a in (q, k, v)]
    assert weights > 4 * attention_file.KEEP_BYTES
    tracemalloc.start()
    try:
        y = fused.attention(*xs, softcap=softcap)
        now, peak = tracemalloc.get_traced_memory()
        assert now < 2 * q.nbytes
        assert peak < now + 2 * attention_file.TILE_BYTES
        y.backward(g)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    buffers = 2 if softcap is None else 3
    assert peak < 6 * q.nbytes + (buffers + 1) * attention_file.TILE_BYTES < weights / 2


def test_attention_keeps_nothing_without_a_tape(rng):
    q, k, v = rng.standard_normal((3, 1, 2, 3, 4))
    x = Tensor(q, requires_grad=True)
    with no_grad():
        assert fused.attention(x, k, v).saved is None
    out, lse, kept = fused.attention(x, k, v).saved
    assert kept is not None
    assert (out.shape, lse.shape) == ((1, 2, 3, 4), (1, 2, 3, 1))


SHAPE_ERRORS = [
    ({"q": (2, 3, 4)}, r"q must be \(B, H, T, d\) and k \(B, H_kv, S, d\), not \(2, 3, 4\) and"),
    ({"k": (1, 3, 5, 4)}, "k has 3 heads, which do not divide the 4 heads of q"),
    ({"k": (1, 2, 5, 3)}, r"k must have shape \(1, 2, 5, 4\) for q of \(1, 4, 3, 4\), not \(1, 2, 5, 3\)"),
    ({"k": (2, 2, 5, 4)}, r"k must have shape \(1, 2, 5, 4\) for q of"),
    ({"v": (1, 2, 6, 4)}, r"v must have shape \(1, 2, 5, e\) for k of \(1, 2, 5, 4\), not \(1, 2, 6, 4\)"),
    ({"k": (1, 2, 0, 4), "v": (1, 2, 0, 4)}, r"k must have a position and a number a head at least, not"),
    ({"mask": np.ones((2, 1, 3, 5), bool)},
     r"mask must broadcast to \(B, H, T, S\) = \(1, 4, 3, 5\), which \(2, 1, 3, 5\) does not"),
    ({"mask": np.ones(4, bool)}, r"mask must broadcast to .* which \(4,\) does not"),
    ({"softcap": 0.0}, "softcap = 0.0 must be > 0, or None"),
]


@pytest.mark.parametrize(("change", "message"), SHAPE_ERRORS, ids=str)
def test_what_does_not_fit_is_named(change, message):
    given_ = {"q": (1, 4, 3, 4), "k": (1, 2, 5, 4), "v": (1, 2, 5, 4), **change}
    q, k, v = (np.ones(given_.pop(name)) for name in "qkv")
    with pytest.raises(ValueError, match=message):
        fused.attention(q, k, v, **given_)


def test_a_mask_of_numbers_is_refused():
    x = np.ones((1, 1, 2, 2))
    with pytest.raises(TypeError, match="mask must be boolean, .* not float64"):
        fused.attention(x, x, x, mask=np.zeros((2, 2)))


# ---- on a GPU ------------------------------------------------------------------------------------

ON_GPU = {
    "layer_norm": (fused.layer_norm, [(2, 3, 4), (4,), (4,)], {}),
    "rms_norm": (fused.rms_norm, [(2, 3, 4), (4,)], {}),
    "gelu": (fused.gelu, [(3, 4)], {}),
    "gelu_tanh": (fused.gelu_tanh, [(3, 4)], {}),
    "swiglu": (fused.swiglu, [(3, 4), (3, 4)], {}),
    "rotate_pairs": (fused.rotate_pairs, [(2, 3, 4), (3, 2), (3, 2)], {}),
    "linear": (lambda x, W: fused.linear(x, W, None), [(2, 3, 4), (4, 5)], {}),
    "attention": (fused.attention, [(2, 4, 3, 2), (2, 2, 5, 2), (2, 2, 5, 3)],
                  {"mask": np.arange(10).reshape(2, 1, 1, 5) % 7 > 0, "softcap": 2.0}),
}


@pytest.mark.parametrize("name", ON_GPU)
def test_the_same_on_a_gpu(name, rng):
    """The formulas, op by op, with the constants taken there."""
    f, shapes, options = ON_GPU[name]
    arrays = [rng.standard_normal(s) for s in shapes]
    results = []
    for place in (lambda a: a, asarray):
        xs = [Tensor(place(a), requires_grad=True) for a in arrays]
        y = f(*xs, **options)
        first = grad((y * y).sum(), xs, create_graph=True)
        second = grad(sum((d * d).sum() for d in first), xs)
        results.append([y.numpy(), *(d.numpy() for d in (*first, *second))])
        assert {type(t.data) for t in (y, *first, *second)} == {type(place(arrays[0]))}
    for a, b in zip(*results, strict=True):
        assert_allclose(b, a, rtol=1e-10, atol=1e-11)
