"""What the factory of test_rules.py stays away from: kinks, ties, zeros, scalars, mixed dtypes, refusals."""

import warnings

import numpy as np
import pytest
import torch

from minillm import Tensor, check_gradients, grad

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


def derivative(f, *values, dtype=np.float64):
    """d(sum f)/d(each value)."""
    xs = [Tensor(np.asarray(v, dtype), requires_grad=True) for v in values]
    y = f(*xs)
    ds = grad(y, xs, np.ones(y.shape, y.dtype))
    return [d.tolist() for d in ds]


# ---- kinks and ties ----------------------------------------------------------------------------

@pytest.mark.parametrize(("f", "values", "expected"), [
    (np.absolute, [[-2.0, 0.0, 3.0]], [[-1.0, 0.0, 1.0]]),
    (np.sign, [[-2.0, 0.0, 3.0]], [[0.0, 0.0, 0.0]]),
    (np.maximum, [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], [[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]]),
    (np.minimum, [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]),
    (np.max, [[1.0, 5.0, 5.0, 5.0]], [[0.0, 1 / 3, 1 / 3, 1 / 3]]),
    (np.min, [[[2.0, 1.0], [1.0, 4.0]]], [[[0.0, 0.5], [0.5, 0.0]]]),
    (lambda x: np.max(x, axis=1), [[[2.0, 2.0], [1.0, 4.0]]], [[[0.5, 0.5], [0.0, 1.0]]]),
    (np.max, [[np.nan, 1.0]], [[1.0, 0.0]]),  # NumPy: a nan is the largest, and the smallest
    (np.min, [[1.0, np.nan, 0.0, np.nan]], [[0.0, 0.5, 0.0, 0.5]]),
    (lambda x: np.max(x, axis=1), [[[np.nan, 2.0], [1.0, 4.0]]], [[[1.0, 0.0], [0.0, 1.0]]]),
    (lambda x: np.min(x, axis=0, keepdims=True), [[[np.nan, 2.0], [1.0, 4.0]]], [[[1.0, 1.0], [0.0, 0.0]]]),
    *((f, [[np.nan, 1.0, np.nan], [1.0, np.nan, np.nan]], [[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])
      for f in (np.maximum, np.minimum)),
    (lambda x: np.clip(x, -1, 1), [[-2.0, -1.0, 0.0, 1.0, 2.0]], [[0.0, 1.0, 1.0, 1.0, 0.0]]),
    (lambda x: np.clip(x, 1, -1), [[-2.0, 0.0, 2.0]], [[0.0, 0.0, 0.0]]),  # NumPy: always the upper one
    (np.clip, [[-2.0, 0.0, 2.0], -1.0, 1.0], [[0.0, 1.0, 0.0], 1.0, 1.0]),
    (np.clip, [[-2.0, 0.0, 2.0], 1.0, -1.0], [[0.0, 0.0, 0.0], 0.0, 3.0]),
    (lambda x: np.sort(x) * np.array([1.0, 2.0, 3.0, 4.0]), [[7.0, 5.0, 7.0, 5.0]], [[3.0, 1.0, 4.0, 2.0]]),
    (lambda x: x**2, [0.0], [0.0]),
    (lambda x: x**1, [0.0], [1.0]),
    (lambda x: x**0, [[0.0, 2.0]], [[0.0, 0.0]]),
    (lambda x: x**1.5, [[0.0, 4.0]], [[0.0, 3.0]]),
    (np.power, [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]], [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]),
    (lambda x: x ** np.array([2, 0, 1]), [[-3.0, 0.0, 0.0]], [[-6.0, 0.0, 1.0]]),
    (lambda x: x**-1, [[-2.0, 4.0]], [[-0.25, -0.0625]]),
    (np.prod, [[2.0, 3.0, 4.0]], [[12.0, 8.0, 6.0]]),
    (np.prod, [[2.0, 0.0, 4.0]], [[0.0, 8.0, 0.0]]),
    (np.prod, [[0.0, 3.0, 0.0]], [[0.0, 0.0, 0.0]]),
    (lambda x: np.prod(x, axis=0), [[[2.0, 0.0], [0.0, 0.0], [5.0, 3.0]]],
     [[[0.0, 0.0], [10.0, 0.0], [0.0, 0.0]]]),
    (np.logaddexp, [[-np.inf, -np.inf, 0.0], [-np.inf, 1.0, -np.inf]], [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
])
def test_at_kinks_ties_and_zeros(f, values, expected):
    for ours, right in zip(derivative(f, *values), expected, strict=True):
        np.testing.assert_allclose(ours, right, rtol=1e-15)


@pytest.mark.parametrize("zeros", [[], [1], [0, 2], [0, 1, 2]])
def test_second_derivative_of_prod_with_zeros(zeros):
    x = np.array([2.0, -3.0, 4.0, 0.5])
    x[zeros] = 0
    t = torch.tensor(x)
    expected = torch.autograd.functional.hessian(torch.prod, t).numpy()
    s = Tensor(x, requires_grad=True)
    d = grad(np.prod(s), s, create_graph=True)
    hessian = np.array([grad(d[i], s).data for i in range(4)])
    np.testing.assert_allclose(hessian, expected, atol=1e-12)
    check_gradients(lambda x: np.prod(x.reshape(2, 2), axis=1, keepdims=True), (x,), order=2)


def test_second_derivative_of_integer_powers_at_zero():
    for power, expected in [(0, 0.0), (1, 0.0), (2, 2.0), (3, 0.0)]:
        for p in (power, float(power), np.full(1, power), np.full(1, power, float)):
            x = Tensor(np.zeros(1), requires_grad=True)
            first = grad(x**p, x, create_graph=True)
            assert (grad(first, x).item() if first.requires_grad else 0.0) == expected


def test_var_and_max_where_numpy_has_no_number():
    x = Tensor([3.0], requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        y = x.var(ddof=1)
    assert np.isnan(y.data)
    assert np.isnan(grad(y, x).data).all()


# ---- repeated operands, and the same element twice ---------------------------------------------

def test_the_same_tensor_in_several_places():
    x = np.random.default_rng(0).standard_normal((3, 3))
    for f in (lambda x: x * x, lambda x: x @ x, lambda x: np.einsum("ij,jk,kl->il", x, x, x),
              lambda x: np.concatenate([x, x, x**2]), lambda x: np.where(x > 0, x, -2 * x) ** 2,
              lambda x: np.tensordot(x, x, ((0, 1), (1, 0))), lambda x: np.maximum(x, 2 * x) ** 2,
              lambda x: x[[0, 0, 2]] * x[np.array([[True] * 3, [False] * 3, [True, False, True]])].sum(),
              lambda x: np.clip(x, -0.5 - x**2, x**2)):
        check_gradients(f, (x,), order=2)


def test_reading_an_element_twice_counts_twice():
    for index in ([0, 0, 1], np.array([0, -3, 1]), (np.array([0, 0, 1]), slice(None)), [[0, 0], [1, 0]]):
        x = Tensor(np.zeros((3, 2)), requires_grad=True)
        x[index].sum().backward()
        assert x.grad[:, 0].tolist() == np.bincount(np.ravel(
            np.asarray(index[0] if isinstance(index, tuple) else index) % 3), minlength=3).tolist()


@pytest.mark.parametrize("dtype", "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split())
def test_rows_by_any_integer_dtype(dtype):
    x = Tensor(np.zeros((300, 2)), requires_grad=True)  # 300 does not exist in 8 bits
    x[np.array([5, 100, 5], dtype)].sum().backward()
    assert x.grad[[5, 100, 6]].tolist() == [[2.0, 2.0], [1.0, 1.0], [0.0, 0.0]]


def test_tensors_and_lists_as_index():
    x = Tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
    i, mask = Tensor([2, 0, 2]), Tensor([True, False, True])
    for index, plain in [(i, i.data), (mask, mask.data), ((i, Tensor(1)), (i.data, 1)),
                         ([], []), ([[]], [[]]),
                         (([0, 1], slice(1, 3)), ([0, 1], slice(1, 3))), ([True, False, True], mask.data)]:
        y = x[index]
        np.testing.assert_array_equal(y.data, x.data[plain])
        expected = np.zeros((3, 4))
        np.add.at(expected, plain, 1.0)
        d = grad(y, x, np.ones(y.shape), create_graph=True)
        assert d.tolist() == expected.tolist()
    indices = Tensor(np.array([[0], [3], [3]]))
    check_gradients(lambda x: np.take_along_axis(x, indices, axis=1) ** 2, (x.data,), order=2)
    check_gradients(lambda x: np.take(x, indices, axis=1) ** 2, (x.data,), order=2)


def test_lists_as_operands():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    for f in (lambda x: x * [1.5, 2], lambda x: [1, 2] - x, lambda x: x @ [[1, 2], [3, 4]],
              lambda x: [1, 2] @ x,
              lambda x: x @ [1, 2], lambda x: np.maximum(x, [0, 9]), lambda x: np.power(x, [2, 3]),
              lambda x: np.where([True, False], x, [7, 8]), lambda x: np.clip(x, [0, 0], [9, 2.5]),
              lambda x: np.tensordot(x, [[1, 2], [3, 4]]), lambda x: np.concatenate([x, [[1, 2]]]),
              lambda x: np.einsum("ij,j", x, [1, 2]), lambda x: x / [1, 2], lambda x: np.dot(x, [1, 2])):
        np.testing.assert_array_equal(f(Tensor(x)).data, f(x))
        check_gradients(f, (x,), order=2)


def test_the_condition_of_where_gets_no_gradient():
    x = Tensor([0.0, 2.0], requires_grad=True)
    np.where(x, x, -x).sum().backward()
    assert x.grad.tolist() == [-1.0, 1.0]
    (grad(np.where(x, x * x, 0.0).sum(), x, create_graph=True)).sum().backward()
    assert x.grad.tolist() == [-1.0, 3.0]


# ---- dtypes ------------------------------------------------------------------------------------

SCALARS = [2, 2.5, True, np.float32(2), np.float64(2), np.int64(2), np.array(2.0), np.array(2.0, np.float32),
           np.int8(2)]


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda s: f"{type(s).__name__}-{np.asarray(s).dtype}")
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("shape", [(), (3,)], ids=str)
@pytest.mark.parametrize("f", [
    lambda a, b: a + b, lambda a, b: b + a, lambda a, b: a - b, lambda a, b: b - a, lambda a, b: a * b,
    lambda a, b: b * a, lambda a, b: a / b, lambda a, b: b / a, lambda a, b: a**b, lambda a, b: b**a,
    np.maximum, np.minimum, np.power, lambda a, b: np.where(a > 1, a, b), lambda a, b: np.clip(a, b, None),
    lambda a, b: np.logaddexp(a, b), lambda a, b: np.add(b, a)])
def test_scalars_promote_as_in_numpy(f, scalar, dtype, shape):
    a = np.full(shape, 1.5, dtype)
    expected = np.asarray(f(a, scalar))
    x = Tensor(a, requires_grad=True)
    y = f(x, scalar)
    assert (y.dtype, y.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(y.data, expected)
    y.sum().backward()
    assert (x.grad.dtype, x.grad.shape) == (dtype, shape)
    d = grad(f(x, scalar).sum(), x, create_graph=True)
    assert (d.dtype, d.shape) == (dtype, shape)


def test_mixed_dtypes_return_each_its_own():
    a = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    b = Tensor(np.ones((3, 2)), requires_grad=True)
    y = np.concatenate([np.tanh(a @ b), a[:, :2]])
    assert y.dtype == F64
    y.sum().backward()
    assert (a.grad.dtype, b.grad.dtype) == (F32, F64)
    d32, d64 = grad(y.sum(), [a, b], create_graph=True)
    assert (d32.dtype, d64.dtype) == (F32, F64)
    (d32.sum() + d64.sum()).backward()
    assert (a.grad.dtype, b.grad.dtype) == (F32, F64)


def test_python_powers_are_those_of_arrays_bit_for_bit():
    a = np.random.default_rng(0).uniform(0.1, 3, 1000)
    for dtype in (F32, F64):
        x = a.astype(dtype)
        for power in (-2, -1, -0.5, 0, 0.5, 1, 2, 3, 2.0, 2.5):
            np.testing.assert_array_equal((Tensor(x) ** power).data, x**power)


def test_astype():
    x = Tensor(np.array([1.5, 2.5]), requires_grad=True)
    y = x.astype(np.float32)
    assert y.dtype == F32
    (y * y).sum().backward()
    assert x.grad.dtype == F64
    assert x.grad.tolist() == [3.0, 5.0]
    assert not x.astype(int).requires_grad  # 2 * floor(x) has no slope of 2
    assert x.astype(int).tolist() == [1, 2]


# ---- options -----------------------------------------------------------------------------------

def test_clip_by_every_spelling():
    x = np.array([-2.0, 0.5, 2.0])
    for f in (lambda x: np.clip(x, 0, 1), lambda x: np.clip(x, a_min=0, a_max=1),
              lambda x: np.clip(x, None, 1),
              lambda x: np.clip(x, 0, None), lambda x: np.clip(x, min=0), lambda x: np.clip(x, max=1),
              lambda x: np.clip(x, min=0, max=1), lambda x: x.clip(0, 1), lambda x: x.clip(max=1),
              lambda x: x.clip(0), lambda x: np.clip(x, None, None)):
        np.testing.assert_array_equal(f(Tensor(x)).data, f(x))
        check_gradients(f, (x,), order=2)


def test_pad_by_a_dict_of_axes():
    x = np.ones((2, 3))
    f = lambda x: np.pad(x, {-1: (1, 2), 0: 1})
    np.testing.assert_array_equal(f(Tensor(x)).data, np.pad(x, ((1, 1), (1, 2))))
    check_gradients(lambda x: f(x) ** 2, (x,), order=2)


def test_ufunc_reductions_are_numpys():
    x = np.random.default_rng(0).standard_normal((3, 4))
    for f in (np.add.reduce, np.multiply.reduce, np.maximum.reduce, np.minimum.reduce):
        for options in ({}, {"axis": 1}, {"axis": None}, {"axis": (0, 1), "keepdims": True}):
            y = f(Tensor(x), **options)
            np.testing.assert_array_equal(y.data, f(x, **options))
            check_gradients(lambda x, f=f, options=options: f(x, **options), (x,), order=2)
        np.testing.assert_array_equal(f(Tensor(x), 1).data, f(x, 1))


def test_methods_are_the_functions():
    x = np.random.default_rng(0).standard_normal((2, 1, 3))
    for f in (lambda x: x.sum(axis=0), lambda x: x.mean(0, keepdims=True), lambda x: x.var(ddof=1),
              lambda x: x.max(axis=-1), lambda x: x.min(), lambda x: x.prod(axis=2), lambda x: x.cumsum(0),
              lambda x: x.cumsum(), lambda x: x.reshape(3, 2), lambda x: x.reshape((3, -1)),
              lambda x: x.ravel(),
              lambda x: x.transpose(), lambda x: x.transpose(2, 0, 1), lambda x: x.transpose((1, 0, 2)),
              lambda x: x.swapaxes(0, 2), lambda x: x.squeeze(), lambda x: x.squeeze(axis=1), lambda x: x.T,
              lambda x: x.mT, lambda x: +x, lambda x: -x, lambda x: abs(x), lambda x: x[0, :, ::-1]):
        np.testing.assert_array_equal(f(Tensor(x)).data, f(x))
        check_gradients(f, (x,), order=2)
    assert Tensor(x).argmax() == x.argmax()
    assert Tensor(x).argmin(2).tolist() == x.argmin(2).tolist()


x23 = Tensor(np.ones((2, 3)), requires_grad=True)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: np.sum(x23, dtype=np.float32), "np.sum on Tensors takes no option 'dtype'"),
    (lambda: np.sum(x23, 0, np.float32), "np.sum on Tensors takes 2 positional arguments"),
    (lambda: np.mean(x23, where=True), "np.mean on Tensors takes no option 'where'"),
    (lambda: np.max(x23, initial=0.0), "np.max on Tensors takes no option 'initial'"),
    (lambda: np.reshape(x23, 6, "F"), "np.reshape on Tensors takes 2 positional"),
    (lambda: np.sort(x23, kind="stable"), "np.sort on Tensors takes no option 'kind'"),
    (lambda: np.concatenate([x23, x23], dtype=np.float32),
     "np.concatenate on Tensors takes no option 'dtype'"),
    (lambda: np.take(x23, [0], mode="wrap"), "np.take on Tensors takes no option 'mode'"),
    (lambda: np.pad(x23, 1, mode="edge"), "np.pad on Tensors knows mode='constant', not 'edge'"),
    (lambda: np.einsum(x23, [0, 1]), "einsum on Tensors takes its subscripts as a string"),
    (lambda: np.exp(x23, dtype=np.float32), "np.exp on Tensors takes no option 'dtype'"),
    (lambda: np.exp(x23, where=False), "np.exp on Tensors takes no option 'where'"),
    (lambda: np.exp(x23, out=np.empty((2, 3))), r"np.exp cannot write into a Tensor .*out="),
    (lambda: np.add(np.ones((2, 3)), 1, out=x23), r"np.add cannot write into a Tensor .*out="),
    (lambda: np.sum(x23, out=np.empty(())), "np.sum on Tensors takes no option 'out'"),
    (lambda: np.add.accumulate(x23), "np.add.accumulate has no derivative rule"),
    (lambda: np.multiply.outer(x23, x23), "np.multiply.outer has no derivative rule"),
    (lambda: np.subtract.reduce(x23), "np.subtract.reduce has no derivative rule"),
    (lambda: np.hypot(x23, x23), "numpy.hypot has no derivative rule for Tensors"),
    (lambda: np.median(x23), "numpy.median has no derivative rule for Tensors"),
    (lambda: np.fft.fft(x23), "numpy.fft.fft has no derivative rule for Tensors"),
    (lambda: np.linalg.norm(x23), "numpy.linalg.norm has no derivative rule for Tensors"),
    (lambda: np.copyto(np.empty((2, 3)), x23), "numpy.copyto has no derivative rule for Tensors"),
])
def test_what_is_not_supported_is_named(call, message):
    with pytest.raises(TypeError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_split_that_does_not_divide():
    with pytest.raises(ValueError, match="axis of length 3 does not divide into 2 equal parts"):
        np.split(x23, 2, axis=1)


@pytest.mark.parametrize("axis", [2, -3])
def test_an_axis_that_is_not_there(axis):
    for name, call in [("split", lambda: np.split(x23, 1, axis=axis)),
                       ("split", lambda: np.split(x23, [1], axis=axis)),
                       ("array_split", lambda: np.array_split(x23, 2, axis=axis)),
                       ("take", lambda: np.take(x23, [0], axis=axis))]:
        message = rf"^np.{name}: axis = {axis} is outside \[-2, 2\) for the shape \(2, 3\)$"
        with pytest.raises(np.exceptions.AxisError, match=message):
            call()


def test_joined_tensors_are_called_by_numpys_name():
    for joined in (np.concatenate([x23, x23]), np.stack([x23, x23])):
        assert "op=concatenate" in repr(joined)
    with pytest.raises(ValueError, match=r"^concatenate of shapes \(2, 3\) and \(4,\): "):
        np.concatenate([x23, np.ones(4)])


def test_constants_come_back_as_arrays():
    x = np.array([[-1.5, 0.0], [2.5, np.inf]])
    t = Tensor(x, requires_grad=True)
    for f in (np.floor, np.ceil, np.rint, np.trunc, np.isnan, np.isinf, np.isfinite, np.signbit, np.argmax,
              np.argsort, np.round, np.zeros_like, np.ones_like, np.any, np.all, np.count_nonzero, np.ndim,
              np.unique, lambda x: np.greater(x, 0), lambda x: np.less_equal(0, x), lambda x: x >= 1,
              lambda x: np.equal(x, x), lambda x: np.logical_and(x > 0, x), lambda x: np.full_like(x, 3),
              lambda x: np.nonzero(x)[0], lambda x: np.where(x)[1], lambda x: np.allclose(x, x),
              lambda x: np.array_equal(x, x), lambda x: np.searchsorted(np.arange(3.0), x)):
        y = f(t)
        assert not isinstance(y, Tensor)
        np.testing.assert_array_equal(y, f(x))
