"""The fused loss against its composite formula, against torch, and where numbers are extreme."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import Tensor, check_gradients, grad, no_grad
from minillm.autograd.fused import softmax_cross_entropy
from minillm.formulas import softmax_cross_entropy as composite

INTEGERS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
INF = np.inf


@st.composite
def problems(draw):
    """(logits, labels, options) of any rank, layout and dtype, with some labels ignored."""
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    V = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    logits = rng.standard_normal((*shape, V)) * draw(st.sampled_from([0.1, 1.0, 30.0]))
    labels = rng.integers(0, V, shape).astype(draw(st.sampled_from(INTEGERS)))
    options = {}
    if draw(st.booleans()):
        options["label_smoothing"] = draw(st.sampled_from([0.1, 0.5]))
    ignore = draw(st.sampled_from(["none", "class", "other"]))
    if ignore == "class":
        options["ignore_index"] = int(rng.integers(0, V))
    elif ignore == "other" and labels.dtype.kind == "i":
        options["ignore_index"] = int(draw(st.sampled_from([-100, -1, V + 3])))
        labels = np.where(rng.random(shape) < 0.4, options["ignore_index"], labels).astype(labels.dtype)
    if draw(st.booleans()) and shape:  # neither contiguous nor in order
        logits = np.repeat(logits, 2, axis=0)[::-2]
        labels = np.asarray(labels.T.copy().T)[::-1]
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    logits = logits.astype(dtype, order="K")
    logits.flags.writeable = False
    labels = np.asarray(labels)
    labels.setflags(write=False)
    return logits, labels, options


def both(op, logits, labels, **options):
    """Loss and gradient of it."""
    x = Tensor(logits, requires_grad=True)
    loss = op(x, labels, **options)
    loss.backward()
    return loss.data, x.grad


@settings(deadline=None, max_examples=150)
@given(problems())
def test_equals_the_composite_formula(problem):
    logits, labels, options = problem
    loss, d = both(softmax_cross_entropy, logits, labels, **options)
    assert (loss.shape, loss.dtype, d.dtype, d.shape) == ((), logits.dtype, logits.dtype, logits.shape)
    exact, exact_d = both(composite, logits.astype(np.float64), labels, **options)
    tight = logits.dtype == np.float64
    np.testing.assert_allclose(loss, exact, rtol=1e-13 if tight else 3e-6, atol=1e-14 if tight else 1e-6)
    np.testing.assert_allclose(d, exact_d, rtol=1e-12 if tight else 3e-5, atol=1e-15 if tight else 1e-7)
    assert softmax_cross_entropy(logits, labels, **options).data == loss  # without a tape, the same bits


@settings(deadline=None, max_examples=100)
@given(problems())
def test_against_torch(problem):
    logits, labels, options = problem
    V = logits.shape[-1]
    ignored = labels == options.get("ignore_index", -100)
    loss, d = both(softmax_cross_entropy, logits, labels, **options)
    if ignored.all():  # torch: nan
        assert loss == 0
        assert not d.any()
        return
    x = torch.tensor(np.array(logits, np.float64, order="C"), requires_grad=True)
    y = torch.tensor(np.where(ignored, -100, labels.astype(np.int64)).reshape(-1))
    smoothing = options.get("label_smoothing", 0.0)
    theirs = torch.nn.functional.cross_entropy(x.reshape(-1, V), y, label_smoothing=smoothing)
    theirs.backward()
    tight = logits.dtype == np.float64
    np.testing.assert_allclose(loss, theirs.item(), rtol=1e-12 if tight else 3e-6,
                               atol=1e-13 if tight else 1e-6)
    np.testing.assert_allclose(d, x.grad.numpy(), rtol=0, atol=1e-14 if tight else 1e-6)


@settings(deadline=None, max_examples=25)
@given(problems().filter(lambda p: abs(p[0]).max(initial=0) < 5))
def test_second_order(problem):
    logits, labels, options = problem
    check_gradients(lambda x: softmax_cross_entropy(x, labels, **options), (logits,), order=2)
    check_gradients(lambda x: softmax_cross_entropy(np.tanh(x) * x, labels, **options) ** 2, (logits,),
                    order=2)


def test_the_gradient_is_p_minus_y():
    logits = np.log([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    loss, d = both(softmax_cross_entropy, logits, np.array([2, 0]))
    np.testing.assert_allclose(loss, -(np.log(0.5) + np.log(0.6)) / 2)
    np.testing.assert_allclose(d, np.array([[0.2, 0.3, -0.5], [-0.4, 0.3, 0.1]]) / 2)


# ---- extreme numbers (a RuntimeWarning anywhere here fails the test) ----------------------------

@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("size", "dtype"), [(1e4, np.float32), (1e30, np.float32), (1e4, np.float64),
                                             (1e100, np.float64), (1e300, np.float64)])
def test_huge_logits(size, dtype, smoothing):
    logits = np.array([[1, -1, 0], [1, -1, 0], [-1, -1, -1], [1, 1, 0]], dtype) * dtype(size)
    labels = np.array([0, 1, 2, 1])
    loss, d = both(softmax_cross_entropy, logits, labels, label_smoothing=smoothing)
    far = np.array([[0, 2, 1], [0, 2, 1], [0, 0, 0], [0, 0, 1]]) * float(size)  # max - logit
    lse = np.log([1, 1, 3, 2])
    one_hot = np.eye(3)[labels]
    q = (1 - smoothing) * one_hot + smoothing / 3
    p = np.array([[1, 0, 0], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]])
    np.testing.assert_allclose(loss, ((q * far).sum() + lse.sum()) / 4, rtol=1e-6)
    np.testing.assert_allclose(d, (p - q) / 4, atol=1e-7)
    theirs, their_d = both(composite, logits, labels, label_smoothing=smoothing)
    np.testing.assert_allclose(loss, theirs, rtol=1e-6)
    np.testing.assert_allclose(d, their_d, atol=1e-7)


@pytest.mark.parametrize("op", [softmax_cross_entropy, composite])
@pytest.mark.parametrize(("logits", "labels", "smoothing", "loss", "d"), [
    ([[3e38, -3e38]], [0], 0.0, 0.0, [[0.0, 0.0]]),
    ([[3e38, -3e38]], [1], 0.0, INF, [[1.0, -1.0]]),
    ([[3e38, -3e38]], [0], 0.1, INF, [[0.05, -0.05]]),  # the far class is finite: it counts
    ([[1.5e38, -1.5e38, -1.5e38]], [0], 0.3, 6e37, [[0.2, -0.1, -0.1]]),  # a mean of what has no sum
    ([[2e38, 0.0], [2e38, 0.0]], [1, 1], 0.0, 2e38, [[0.5, -0.5], [0.5, -0.5]]),
])
# The fused op lets NumPy warn of an overflow here: to silence it would cost every small batch a microsecond.
@pytest.mark.filterwarnings("ignore:overflow encountered in subtract:RuntimeWarning")
def test_differences_beyond_the_dtype(op, logits, labels, smoothing, loss, d):
    ours, ours_d = both(op, np.array(logits, np.float32), np.array(labels), label_smoothing=smoothing)
    np.testing.assert_allclose(ours, loss, rtol=1e-6)
    np.testing.assert_allclose(ours_d, d, atol=1e-7)


@pytest.mark.parametrize("op", [softmax_cross_entropy, composite])
@pytest.mark.parametrize("size", [1e4, 1e15, 1e300])
def test_logits_that_are_huge_and_close_together(op, size):
    """A common shift changes nothing: no digit of the differences is lost."""
    step = np.spacing(size)
    differences = np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]) * step
    labels = np.array([0, 2])
    shifted, plain = (both(op, logits, labels) for logits in (differences + size, differences))
    np.testing.assert_allclose(shifted[0], plain[0], rtol=1e-15)
    np.testing.assert_allclose(shifted[1], plain[1], rtol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("masked", [[0], [4], [0, 1, 2], [1, 3], [0, 1, 2, 3]], ids=str)
def test_minus_infinity_is_an_absent_class(masked, smoothing):
    """The loss and gradient of the classes that are left, as if the others had never been."""
    rng = np.random.default_rng(0)
    left = [j for j in range(5) if j not in masked]
    logits = rng.standard_normal((3, 5))
    logits[:, masked] = -INF
    labels = rng.choice(left, 3)
    loss, d = both(softmax_cross_entropy, logits, labels, label_smoothing=smoothing)
    few = np.array([left.index(y) for y in labels])
    loss_left, d_left = both(softmax_cross_entropy, logits[:, left], few, label_smoothing=smoothing)
    np.testing.assert_allclose(loss, loss_left, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(d[:, left], d_left, rtol=1e-12, atol=1e-16)
    assert not d[:, masked].any()
    theirs, their_d = both(composite, logits, labels, label_smoothing=smoothing)
    np.testing.assert_allclose(loss, theirs, rtol=1e-14)
    np.testing.assert_allclose(d, their_d, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("op", [softmax_cross_entropy, composite])
def test_second_order_beside_minus_infinity(op):
    absent = np.array([True, False, False, True, False])

    def f(x):
        return op(np.where(absent, -INF, x), np.array([1, 4, 2]), label_smoothing=0.1)

    check_gradients(f, (np.random.default_rng(0).standard_normal((3, 5)),), order=2)


def test_a_true_class_of_probability_0_costs_infinity():
    loss, d = both(softmax_cross_entropy, np.array([[-INF, 0.0, 0.0]]), np.array([0]))
    assert loss == INF
    assert d.tolist() == [[-1.0, 0.5, 0.5]]


@pytest.mark.parametrize("bad", [np.nan, INF, -INF, 1e308])
@pytest.mark.parametrize("op", [softmax_cross_entropy, composite])
@pytest.mark.parametrize("ignore_index", [-100, 1])
def test_ignored_rows_may_hold_anything(op, bad, ignore_index):
    logits = np.random.default_rng(0).standard_normal((4, 3))
    labels = np.array([0, ignore_index, 2, ignore_index])
    kept = [0, 2]
    clean, clean_d = both(op, logits[kept], labels[kept])
    logits[1], logits[3, 1:] = bad, bad
    loss, d = both(op, logits, labels, ignore_index=ignore_index)
    assert loss == clean
    np.testing.assert_array_equal(d[kept], clean_d)
    assert not d[[1, 3]].any()
    s = Tensor(logits, requires_grad=True)
    first = grad(op(s, labels, ignore_index=ignore_index), s, create_graph=True)
    second = grad((first[kept] ** 2).sum(), s).data
    assert np.isfinite(second).all()
    assert not second[[1, 3]].any()


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (2, 0, 4), (2, 3, 1), (0, 0)])
@pytest.mark.parametrize("op", [softmax_cross_entropy, composite])
def test_nothing_counts(op, shape):
    """All ignored, or an empty batch: loss 0, gradient 0, and a second derivative."""
    logits = np.full(shape, np.nan)
    labels = np.full(shape[:-1], -100)
    loss, d = both(op, logits, labels)
    assert loss == 0
    assert d.shape == shape
    assert not d.any()
    x = Tensor(logits, requires_grad=True)
    first = grad(op(x, labels), x, create_graph=True)
    assert not first.data.any()


# ---- labels ------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [*INTEGERS, ">i2", ">i8", "<u4"])
def test_labels_of_any_integer_dtype(dtype):
    logits = np.random.default_rng(0).standard_normal((4, 300))  # 300 is more than 8 bits hold
    labels = np.array([0, 5, 127, 100]).astype(dtype)
    loss, d = both(softmax_cross_entropy, logits, labels)
    right, right_d = both(softmax_cross_entropy, logits, labels.astype(np.int64))
    assert loss == right
    np.testing.assert_array_equal(d, right_d)


def test_labels_as_list_tensor_or_scalar():
    logits = np.random.default_rng(0).standard_normal((2, 3))
    expected = softmax_cross_entropy(logits, np.array([1, 2])).data
    assert softmax_cross_entropy(logits.tolist(), [1, 2]).data == expected
    assert softmax_cross_entropy(Tensor(logits), Tensor([1, 2])).data == expected
    one = softmax_cross_entropy(logits[0], 1).data
    np.testing.assert_allclose((one + softmax_cross_entropy(logits[1], 2).data) / 2, expected)


def refusals(shape, *, of=4):
    logits = np.zeros((*shape, of))
    place = tuple(n - 1 for n in shape)
    name = f"labels[{', '.join(map(str, place))}]" if shape else "labels"
    for dtype, wrong in [("int64", of), ("int64", -1), ("int8", -128), ("uint64", 2**64 - 1), ("uint8", 255),
                         ("int64", -(2**63)), (">i4", -7), (">i8", 2**56)]:
        labels = np.zeros(shape, dtype)
        labels[place] = wrong
        yield logits, labels, f"{name} = {wrong} is outside [0, {of}) and is not ignore_index = -100"


@pytest.mark.parametrize(("logits", "labels", "message"),
                         [c for shape in [(), (3,), (2, 3)] for c in refusals(shape)])
def test_labels_out_of_range_are_named(logits, labels, message):
    for layout in (labels, labels.T.copy().T, np.repeat(labels, 2, axis=0)[::2] if labels.ndim else labels):
        with pytest.raises(ValueError, match=f"^[^\n]*{re.escape(message)}$"):
            softmax_cross_entropy(Tensor(logits, requires_grad=True), layout)
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            composite(logits, layout)


@pytest.mark.parametrize(("logits", "labels", "options", "error", "message"), [
    (np.zeros((2, 3)), [0, 1, 2], {}, ValueError,
     "labels must have the shape of logits without its last axis: "
     "logits (2, 3), labels (3,)"),
    (np.zeros((2, 3)), [[0, 1]], {}, ValueError,
     "labels must have the shape of logits without its last axis: "
     "logits (2, 3), labels (1, 2)"),
    (np.zeros(()), 0, {}, ValueError, "labels must have the shape of logits without its last axis: "
     "logits (), labels ()"),
    (np.zeros((2, 3)), [0.0, 1.0], {}, TypeError, "labels must be integers, not float64"),
    (np.zeros((2, 3)), [True, False], {}, TypeError, "labels must be integers, not bool"),
    (np.zeros((2, 3), int), [0, 1], {}, TypeError, "logits must be floats, not int64"),
    (np.zeros((2, 3)), [0, 1], {"label_smoothing": 1.0}, ValueError,
     "label_smoothing = 1.0 is outside [0, 1)"),
    (np.zeros((2, 3)), [0, 1], {"label_smoothing": -0.1}, ValueError,
     "label_smoothing = -0.1 is outside [0, 1)"),
    (np.zeros((2, 3)), [0, 1], {"label_smoothing": np.nan}, ValueError,
     "label_smoothing = nan is outside [0, 1)"),
])
def test_refusals(logits, labels, options, error, message):
    with pytest.raises(error, match=f"^[^\n]*{re.escape(message)}$"):
        softmax_cross_entropy(logits, labels, **options)
    if "logits must be floats" not in message:  # to the formula, numbers are numbers
        with pytest.raises(error, match=f"^[^\n]*{re.escape(message)}$"):
            composite(logits, labels, **options)


# ---- the graph ---------------------------------------------------------------------------------

def test_backward_twice_adds_twice_the_same():
    x = Tensor(np.random.default_rng(0).standard_normal((3, 4)), requires_grad=True)
    loss = softmax_cross_entropy(x, np.array([0, 1, 3]))
    loss.backward()
    first = x.grad.copy()
    x.grad *= 100  # what the op has saved is not the user's to scale
    x.grad = None
    loss.backward()
    np.testing.assert_array_equal(x.grad, first)
    (loss * 3).backward()
    np.testing.assert_allclose(x.grad, 4 * first, rtol=1e-15)
    for inner in (x, x * 1):  # a leaf and not
        loss = softmax_cross_entropy(inner, np.array([0, 1, 3]))
        grad(loss, inner).data[...] = 0
        np.testing.assert_array_equal(grad(loss, inner).data, first)


def test_inputs_are_left_alone_and_nothing_is_kept_without_a_tape():
    logits, labels = np.random.default_rng(0).standard_normal((3, 4)), np.array([0, -100, 3])
    before = logits.copy()
    both(softmax_cross_entropy, logits, labels, label_smoothing=0.1)
    np.testing.assert_array_equal(logits, before)
    with no_grad():
        loss = softmax_cross_entropy(Tensor(logits, requires_grad=True), labels)
    assert loss.saved is None
    assert not loss.requires_grad
