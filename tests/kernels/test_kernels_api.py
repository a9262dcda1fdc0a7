"""The public functions: one-line errors, the caller's kind in and out, no copies, promised types."""

import sys
import types

import ml_dtypes
import numpy as np
import pytest

import kernels
from kernels.testing.adam_reference import HYPER
from kernels.testing.cross_entropy_reference import expected

X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
Y = np.array([0, 5, -100, 2])


class OnlyDLPack:
    """An array of a library that nobody knows: all it has is DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


OnlyDLPack.__module__ = "somebodys"  # a library is known by its arrays' module
somebodys = types.ModuleType("somebodys")
somebodys.from_dlpack = lambda array: OnlyDLPack(np.from_dlpack(array))


@pytest.fixture
def ours(backend, memory):
    """softmax_cross_entropy on a backend, on CPU arrays."""
    if memory.name != "cpu":
        pytest.skip("these tests make CPU arrays of their own")
    return lambda *args, **options: kernels.softmax_cross_entropy(*args, backend=backend, **options)


def tensors(n=3, dtype=np.float32):
    return [[np.full(5, k + 1, dtype) for _ in range(n)] for k in range(4)]


def given(x):
    """A test's id: the arguments that are wrong."""
    return "-".join(x) if isinstance(x, dict) else x.__name__ if isinstance(x, type) else ""


# ---- Errors ------------------------------------------------------------------------------------------

ROWS_ERRORS = [
    ({"labels": Y[:3]}, ValueError, "labels must have the shape of logits without its last axis: "
                                    "logits (4, 6), labels (3,)"),
    ({"labels": np.array([0, 6, 1, 2])}, ValueError, "labels[1] = 6 is outside [0, 6) and is not ignore"),
    ({"labels": np.array([0, 1, 1, -3])}, ValueError, "labels[3] = -3 is outside [0, 6)"),
    ({"labels": Y.astype(float)}, TypeError, "labels must be an array of integers, not float64"),
    ({"labels": [0, 1, 2, 3]}, TypeError, "labels must be an array of integers, not list"),
    ({"logits": X.astype(np.int64)}, TypeError, "logits must be floats, not int64"),
    ({"logits": np.float32(1)}, ValueError, "logits must be (..., V), not a single number"),
    ({"logits": [[0.0]]}, TypeError, "list is no array: give one of NumPy, CuPy or torch"),
    ({"label_smoothing": 1.0}, ValueError, "label_smoothing = 1.0 is outside [0, 1)"),
    ({"label_smoothing": -0.1}, ValueError, "label_smoothing = -0.1 is outside [0, 1)"),
    ({"z_loss": -1.0}, ValueError, "z_loss = -1.0 must be finite and not negative"),
    ({"z_loss": float("nan")}, ValueError, "z_loss = nan must be finite"),
    ({"softcap": 0.0}, ValueError, "softcap = 0.0 must be finite and positive; None is no cap"),
    ({"reduction": "avg"}, ValueError, "reduction = 'avg' must be one of 'mean', 'sum', 'none'"),
    ({"class_weights": np.ones(5, np.float32)}, ValueError, "class_weights must have shape (6,), not (5,)"),
    ({"class_weights": np.ones(6, np.int64)}, TypeError, "class_weights must be floats, not int64"),
    ({"grad_loss": np.ones(4, np.float32)}, ValueError, "grad_loss must have shape (), not (4,)"),
    ({"grad_loss": np.ones(3, np.float32), "reduction": "none"}, ValueError,
     "grad_loss must have shape () or (4,), not (3,)"),
    ({"out": np.empty((4, 5), np.float32)}, ValueError, "out is float32 (4, 5) on cpu; it must be like"),
    ({"out": np.empty((4, 6), np.float64)}, ValueError, "out is float64 (4, 6) on cpu"),
    ({"out": np.empty((6, 4), np.float32).T}, ValueError, "out has strides"),
    ({"backend": "jax"}, ValueError, "backend = 'jax' must be one of 'numpy', 'triton', 'cuda', or None"),
]


@pytest.mark.parametrize(("wrong", "error", "words"), ROWS_ERRORS, ids=given)
def test_cross_entropy_errors(wrong, error, words):
    with pytest.raises(error) as told:
        kernels.softmax_cross_entropy(**{"logits": X, "labels": Y, **wrong})
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_an_out_that_overlaps_is_refused():
    memory = np.zeros(30, np.float32)
    with pytest.raises(ValueError, match="out overlaps logits without being logits"):
        kernels.softmax_cross_entropy(memory[:24].reshape(4, 6), Y, out=memory[6:].reshape(4, 6))


def test_float64_is_numpys_alone():
    wide = X.astype(np.float64)
    loss, lse, d = kernels.softmax_cross_entropy(wide, Y)
    assert {a.dtype for a in (loss, lse, d)} == {np.dtype(np.float64)}
    want = expected(wide, Y)
    np.testing.assert_allclose(d, want.dlogits, rtol=1e-14, atol=1e-16)
    with pytest.raises(TypeError, match="backend 'triton' computes in float32"):
        kernels.softmax_cross_entropy(wide, Y, backend="triton")


ADAM_ERRORS = [
    ({"params": np.zeros(5, np.float32)}, TypeError, "params must be a list of arrays, not ndarray"),
    ({"grads": tensors(2)[1]}, ValueError, "grads must be a list of 3 arrays, as params is, not 2"),
    ({"grads": [None] * 3}, TypeError,
     "grads[0] is NoneType, not an array; leave out params without a gradient"),
    ({"exp_avg": [np.zeros(4, np.float32)] * 3}, ValueError, "exp_avg[0] is (4,) on cpu; params[0] is (5,)"),
    ({"exp_avg_sq": [np.zeros(5, np.float16)] * 3}, TypeError,
     "exp_avg_sq[0] is float16; it must be float32 or bfloat16"),
    ({"params": [np.zeros(5)] * 3}, TypeError,
     "params[0] is float64; it must be float32 or bfloat16 or float16"),
    ({"amsgrad": True}, ValueError, "amsgrad=True needs max_exp_avg_sq"),
    ({"step": 0}, ValueError, "step = 0 must be at least 1: Adam's first step is step 1"),
    ({"step": 1.5}, ValueError, "step = 1.5 must be a whole number"),
    ({"step": np.array(1, ml_dtypes.bfloat16)}, ValueError,
     "it must be a single int64 or int32 or float32 on cpu"),
    ({"lr": -1.0}, ValueError, "lr = -1.0 must be finite and not negative"),
    ({"beta1": 1.0}, ValueError, "beta1 = 1.0 is outside [0, 1)"),
    ({"eps": float("inf")}, ValueError, "eps = inf must be finite"),
    ({"weight_decay": -0.1}, ValueError, "weight_decay = -0.1 must be finite and not negative"),
    ({"rounding_seed": 1}, ValueError, "rounding_seed is for bfloat16 params without master"),
    ({"grad_scale": 2.0}, TypeError, "grad_scale = 2.0 must be a 0-d float32 array"),
    ({"found_inf": np.zeros(2, np.float32)}, ValueError,
     "found_inf is float32 (2,) on cpu; it must be a single"),
    ({"master": tensors(2)[0]}, ValueError, "master must be a list of 3 arrays"),
    ({"backend": "cpu"}, ValueError, "backend = 'cpu' must be one of"),
]


@pytest.mark.parametrize(("wrong", "error", "words"), ADAM_ERRORS, ids=given)
def test_adam_errors_change_nothing(wrong, error, words):
    p, g, m, v = tensors()
    given = {"params": p, "grads": g, "exp_avg": m, "exp_avg_sq": v, "step": 1, **HYPER, **wrong}
    with pytest.raises(error) as told:
        kernels.adam_step(**given)
    assert words in str(told.value)
    assert "\n" not in str(told.value)
    for several, value in ((p, 1), (m, 3), (v, 4)):
        assert all((a == value).all() for a in several)


# ---- Kinds -------------------------------------------------------------------------------------------

def test_numpy_in_numpy_out(backend, ours):
    loss, lse, d = ours(X, Y)
    assert all(type(a) is np.ndarray for a in (loss, lse, d))
    assert (loss.shape, lse.shape, d.shape) == ((), (4,), (4, 6))
    np.testing.assert_allclose(d, expected(X, Y).dlogits, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_torch_in_torch_out_without_copies(backend, ours, dtype):
    torch = pytest.importorskip("torch")
    kind = getattr(torch, dtype)
    x = torch.tensor(X).to(kind).requires_grad_()  # a leaf of a graph, which is left alone
    loss, lse, d = ours(x, torch.tensor(Y))
    assert (loss.dtype, lse.dtype, d.dtype) == (torch.float32, torch.float32, kind)
    assert not d.requires_grad
    want = torch.nn.functional.cross_entropy(x.float(), torch.tensor(Y))
    assert loss.item() == pytest.approx(want.item(), rel=1e-5)
    out = torch.zeros(4, 6, dtype=kind)
    given = ours(x, torch.tensor(Y), out=out)[2]
    assert given is out or given.data_ptr() == out.data_ptr()
    assert torch.equal(out, d)
    inside = x.detach()
    ours(inside, torch.tensor(Y), out=inside)
    assert torch.equal(x.detach(), d)  # the caller's own memory was written


def test_what_only_has_dlpack(backend, ours, monkeypatch):
    monkeypatch.setitem(sys.modules, "somebodys", somebodys)
    loss, lse, d = ours(OnlyDLPack(X.copy()), OnlyDLPack(Y.copy()))
    assert all(type(a) is OnlyDLPack for a in (loss, lse, d))
    np.testing.assert_allclose(d.array, expected(X, Y).dlogits, atol=1e-6)


def test_adam_works_in_the_callers_memory(backend, memory):
    if memory.name != "cpu":
        pytest.skip("these tests make CPU arrays of their own")
    torch = pytest.importorskip("torch")
    results = []
    for make in (np.array, torch.tensor, lambda a: OnlyDLPack(np.array(a))):
        lists = [[make(a) for a in several] for several in tensors()]
        inner = [[a.array if isinstance(a, OnlyDLPack) else a for a in several] for several in lists]
        before = [np.asarray(a).__array_interface__["data"][0] for a in inner[0]]
        assert kernels.adam_step(*lists, 1, **HYPER, backend=backend) is None
        assert before == [np.asarray(a).__array_interface__["data"][0] for a in inner[0]]
        changed = [*inner[0], *inner[2], *inner[3]]
        results.append([np.array(np.asarray(a)) for a in changed])
        assert (np.asarray(inner[0][0]) != 1).all()
        assert (np.asarray(inner[1][0]) == 2).all()
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_matrices_in_any_dense_layout(backend, memory):
    """A transposed parameter is updated where it is, if gradient and state lie like it."""
    if memory.name != "cpu":
        pytest.skip("these tests make CPU arrays of their own")
    rng = np.random.default_rng(2)
    flat = [rng.uniform(0.5, 1, (6, 4)).astype(np.float32) for _ in range(4)]
    turned = [[a.copy().T] for a in flat]
    straight = [[a.copy()] for a in flat]
    for lists in (turned, straight):
        kernels.adam_step(*lists, 2, **HYPER, backend=backend)
    np.testing.assert_array_equal(turned[0][0].T, straight[0][0])
    with pytest.raises(ValueError, match="the layout of params"):
        kernels.adam_step([flat[0].T], [flat[1].T.copy()], [flat[2].T], [flat[3].T], 1, **HYPER,
                          backend=backend)


# ---- Promises ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_types_of_results(backend, ours, dtype, reduction):
    loss, lse, d = ours(X.astype(dtype), Y, reduction=reduction)
    assert (loss.dtype, lse.dtype, d.dtype) == (np.float32, np.float32, np.dtype(dtype))
    assert loss.shape == ((4,) if reduction == "none" else ())


def test_leading_axes(backend, ours):
    x, y = X.reshape(2, 2, 6), Y.reshape(2, 2)
    loss, lse, d = ours(x, y, reduction="none", grad_loss=np.ones((2, 2), np.float32))
    flat = ours(X, Y, reduction="none")
    assert (loss.shape, lse.shape, d.shape) == ((2, 2), (2, 2), (2, 2, 6))
    np.testing.assert_array_equal(d.reshape(4, 6), flat[2])
    one = ours(X[0], np.int64(0))
    assert (one[0].shape, one[1].shape, one[2].shape) == ((), (), (6,))
    nothing = ours(np.zeros((0, 3, 6), np.float32), np.zeros((0, 3), np.int64))
    assert (nothing[0], nothing[2].shape) == (0, (0, 3, 6))


def test_layouts_of_logits(backend, ours):
    """Columns that are not adjacent, broadcast rows, reversed rows: right, and left as they are."""
    want = ours(X, Y)[2]
    wide = np.repeat(X, 2, axis=1)
    for x in (np.asfortranarray(X), wide[:, ::2], X[::-1].copy()[::-1]):
        before = x.copy()
        np.testing.assert_allclose(ours(x, Y)[2], want, atol=1e-7)
        np.testing.assert_array_equal(x, before)
    same = np.broadcast_to(X[0], (4, 6))
    np.testing.assert_allclose(ours(same, Y)[2], ours(same.copy(), Y)[2], atol=1e-7)


def test_read_only_inputs(backend, ours):
    x, y = X.copy(), Y.copy()
    w, g = np.ones(6, np.float32), np.ones((), np.float32)
    for a in (x, y, w, g):
        a.flags.writeable = False
    d = ours(x, y, class_weights=w, grad_loss=g)[2]
    np.testing.assert_allclose(d, ours(X, Y)[2], atol=1e-7)
    p, grads, m, v = tensors()
    for a in grads:
        a.flags.writeable = False
    kernels.adam_step(p, grads, m, v, 1, **HYPER, backend=backend)
    p[1].flags.writeable = False
    with pytest.raises(ValueError, match="params\\[1\\] is read-only"):
        kernels.adam_step(p, grads, m, v, 2, **HYPER, backend=backend)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "uint32", "uint64", "int32", "int64"])
def test_labels_of_any_integer_type(backend, ours, kind):
    y = np.array([0, 5, 1, 2]).astype(kind)
    np.testing.assert_array_equal(ours(X, y)[2], ours(X, y.astype(np.int64))[2])
    strided = np.repeat(y, 2)[::2]
    np.testing.assert_array_equal(ours(X, strided)[2], ours(X, y)[2])


def test_numbers_as_factors(backend, ours):
    np.testing.assert_allclose(ours(X, Y, grad_loss=2.0)[2], 2 * ours(X, Y)[2])
    wide = np.full(6, 0.5, np.float64)  # other floats are converted
    np.testing.assert_allclose(ours(X, Y, class_weights=wide)[2], ours(X, Y)[2], atol=1e-7)


def test_no_gradient_no_array(backend, ours):
    loss, lse, d = ours(X, Y, gradient=False)
    assert d is None
    assert loss == pytest.approx(float(ours(X, Y)[0]), rel=1e-6)
    assert lse.shape == (4,)


def test_nothing_to_do(backend, memory):
    kernels.adam_step([], [], [], [], 1, **HYPER, backend=backend)
    empty = [[np.zeros(0, np.float32)] for _ in range(4)]
    kernels.adam_step(*empty, 1, **HYPER, backend=backend)


def test_mixed_types_in_one_call(backend, memory):
    """Tensors of several types in one call are as each in a call of its own."""
    if memory.name != "cpu":
        pytest.skip("these tests make CPU arrays of their own")
    kinds = [np.float32, ml_dtypes.bfloat16, np.float32, np.float16, ml_dtypes.bfloat16]
    together = [[np.full(5, k + 1.3, d) for d in kinds] for k in range(2)]
    together += [[np.full(5, k + 1.7, np.float32) for _ in kinds] for k in range(2)]
    alone = [[a.copy() for a in several] for several in together]
    kernels.adam_step(*together, 3, **HYPER, weight_decay=0.1, backend=backend)
    for i in range(len(kinds)):
        kernels.adam_step(*([several[i]] for several in alone), 3, **HYPER, weight_decay=0.1, backend=backend)
    for a, b in zip([a for several in together for a in several], [a for several in alone for a in several],
                    strict=True):
        np.testing.assert_array_equal(a.astype(np.float32), b.astype(np.float32))
