"""`Tensor` as an object: what it takes and refuses, how it meets arrays, what it shows."""

import gc
import threading

import numpy as np
import pytest

from minillm import Tensor, no_grad

# ---- making ------------------------------------------------------------------------------------

@pytest.mark.parametrize(("data", "dtype"), [
    (1.0, "float64"), (3, "int64"), ([1, 2], "int64"), ([True], "bool"), (np.float32(1), "float32"),
    (np.zeros(2, np.float16), "float16"), (np.zeros(2, "uint8"), "uint8"),
    (Tensor(np.zeros(2, np.float32)), "float32")])
def test_keeps_the_dtype(data, dtype):
    assert Tensor(data).dtype == dtype


def test_shares_the_array():
    a = np.zeros(3)
    assert Tensor(a).data is a
    assert Tensor(a).numpy() is a
    assert Tensor(Tensor(a)).data is a
    x = Tensor(a, requires_grad=True)
    assert x.detach().data is a
    assert not x.detach().requires_grad


@pytest.mark.parametrize(("data", "message"), [
    (1j, "Tensor needs real numbers, not dtype complex128"),
    ("text", "Tensor needs real numbers, not dtype <U4"),
    (None, "Tensor needs real numbers, not dtype object"),
    ([Tensor(1.0, requires_grad=True)],
     r"into an array would lose the gradient: write x.data .* or x.detach\(\)")])
def test_refuses_what_is_not_a_real_number(data, message):
    with pytest.raises(TypeError, match=message):
        Tensor(data)


@pytest.mark.parametrize("data", [1, [True, False], np.arange(3)])
def test_integers_have_no_gradient(data):
    with pytest.raises(TypeError, match="requires_grad=True needs a float dtype, not (int64|bool)"):
        Tensor(data, requires_grad=True)


# ---- arrays and Tensors ------------------------------------------------------------------------

def test_array_and_tensor_in_either_order():
    a, b = np.arange(1.0, 7.0).reshape(2, 3), np.arange(3.0) + 1
    for f in (np.add, np.subtract, np.multiply, np.divide, np.power, np.maximum, lambda p, q: p + q,
              lambda p, q: p - q, lambda p, q: p * q, lambda p, q: p / q, lambda p, q: p**q, lambda p,
              q: p @ q):
        for p, q in ((a, Tensor(b, requires_grad=True)), (Tensor(a, requires_grad=True), b),
                     (Tensor(a), Tensor(b)),
                     (b[0], Tensor(b, requires_grad=True)), (2.0, Tensor(b)), (Tensor(b), 2)):
            plain = [x.data if isinstance(x, Tensor) else x for x in (p, q)]
            try:
                expected = f(*plain)
            except (ValueError, TypeError) as error:  # `@` takes no scalars
                with pytest.raises(type(error)):
                    f(p, q)
                continue
            y = f(p, q)
            assert type(y) is Tensor
            np.testing.assert_array_equal(y.data, expected)
            assert y.requires_grad == any(isinstance(x, Tensor) and x.requires_grad for x in (p, q))


def test_an_array_is_not_updated_in_place_from_a_tensor():
    a = np.zeros(2)
    with pytest.raises(TypeError, match="np.add cannot write into a Tensor or from one into an array"):
        a += Tensor([1.0, 2.0])
    assert a.tolist() == [0.0, 0.0]
    with pytest.raises(TypeError, match="would lose the gradient"):
        a[:] = Tensor([1.0, 2.0], requires_grad=True)


def test_augmented_assignment_makes_a_new_tensor():
    x = y = Tensor([1.0, 2.0], requires_grad=True)
    y += 1
    y *= 2
    assert x.tolist() == [1.0, 2.0]
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_becoming_an_array():
    x = Tensor([1.0, 2.0])
    assert np.asarray(x) is not None
    np.testing.assert_array_equal(np.array(x, dtype=np.float32), np.float32([1, 2]))
    assert np.shares_memory(np.asarray(x), x.data)
    assert not np.shares_memory(np.array(x), x.data)
    x.requires_grad = True
    for f in (np.asarray, np.array, lambda x: np.asarray([x, x]), lambda x: np.sum([x, x]),
              lambda x: (x * 1).__array__()):
        with pytest.raises(TypeError, match=r"would lose the gradient: write x.data .* or x.detach\(\)"):
            f(x)


def test_writing_is_refused():
    x = Tensor([1.0, 2.0])
    with pytest.raises(TypeError, match=r"a Tensor cannot be written into.*np.where\(mask, value, x\)"):
        x[0] = 5.0
    assert x.tolist() == [1.0, 2.0]


def test_no_attribute_is_made_by_a_typing_error():
    with pytest.raises(AttributeError):
        Tensor(1.0).requires_gradient = True


# ---- comparisons, conversions, iteration -------------------------------------------------------

def test_comparisons_give_boolean_arrays():
    x, y = Tensor([1.0, 2.0, 3.0], requires_grad=True), Tensor([3.0, 2.0, 1.0])
    for result, expected in [(x < y, [1, 0, 0]), (x <= y, [1, 1, 0]), (x > y, [0, 0, 1]), (x >= y, [0, 1, 1]),
                             (x == y, [0, 1, 0]), (x != y, [1, 0, 1]), (x > 1, [0, 1, 1]), (2 > x, [1, 0, 0]),
                             (y.data == x, [0, 1, 0]), (y.data > x, [1, 0, 0]),
                             (np.float64(2) >= x, [1, 1, 0])]:
        assert type(result) is np.ndarray
        assert result.dtype == bool
        assert result.tolist() == [bool(e) for e in expected]


def test_conversions():
    assert float(Tensor(1.5)) == 1.5
    assert int(Tensor(1.5)) == 1
    assert bool(Tensor(1.5, requires_grad=True))
    assert [10, 20, 30][Tensor(1)] == 20
    assert Tensor(1.5).item() == 1.5
    with pytest.raises(ValueError, match="truth value"):
        bool(Tensor([1.0, 2.0]))
    with pytest.raises(TypeError):
        [10, 20][Tensor(1.0)]


def test_iteration_and_length():
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    assert len(x) == 2
    first, second = x
    (first * second).sum().backward()
    assert x.grad.tolist() == [[3.0, 4.0, 5.0], [0.0, 1.0, 2.0]]
    with pytest.raises(TypeError):
        len(Tensor(1.0))
    with pytest.raises(TypeError):
        list(Tensor(1.0))
    assert (x.shape, x.ndim, x.size) == ((2, 3), 2, 6)


def test_a_tensor_is_a_key_by_identity():
    x, y = Tensor(1.0), Tensor(1.0)
    assert {x: 1, y: 2}[x] == 1


# ---- no_grad -----------------------------------------------------------------------------------

def test_no_grad_keeps_nothing():
    x = Tensor([1.0], requires_grad=True)
    with no_grad():
        y = x * 2
    assert (y.requires_grad, y.op, y.args) == (False, None, ())
    assert (x * 2).requires_grad


def test_a_constant_keeps_nothing():
    y = np.exp(Tensor([1.0])) + 1
    assert (y.requires_grad, y.op, y.args) == (False, None, ())


def test_no_grad_nests_and_survives_an_exception():
    x = Tensor([1.0], requires_grad=True)
    again = no_grad()
    with pytest.raises(ZeroDivisionError), again, again:
        1 / 0  # noqa: B018
    assert (x * 2).requires_grad
    with no_grad():
        with no_grad():
            pass
        assert not (x * 2).requires_grad


def test_no_grad_decorates_a_recursive_function():
    x = Tensor([1.0], requires_grad=True)

    @no_grad()
    def f(n):
        y = x * n if n == 0 else f(n - 1) + x
        assert not y.requires_grad
        return y

    f(3)
    assert (x * 2).requires_grad


def test_no_grad_holds_for_its_own_thread():
    x = Tensor([1.0], requires_grad=True)
    seen = []
    shared = no_grad()
    entered, checked = threading.Event(), threading.Event()

    def other():
        entered.wait(10)
        seen.append((x * 2).requires_grad)
        with shared:
            seen.append((x * 2).requires_grad)
        seen.append((x * 2).requires_grad)
        checked.set()

    thread = threading.Thread(target=other)
    thread.start()
    with shared:
        entered.set()
        assert checked.wait(10)
        seen.append((x * 2).requires_grad)
    thread.join()
    assert seen == [True, False, True, False]
    assert (x * 2).requires_grad


# ---- printing, memory --------------------------------------------------------------------------

@pytest.mark.parametrize(("x", "text"), [
    (Tensor([1.0, 2.0]), "Tensor([1., 2.])"),
    (Tensor(1.0, requires_grad=True), "Tensor(1., requires_grad=True)"),
    (Tensor([1, 2]), "Tensor([1, 2], dtype=int64)"),
    (Tensor(np.float32([1.5]), requires_grad=True, name="W"),
     "Tensor([1.5], dtype=float32, requires_grad=True, name='W')"),
    (Tensor([3.0], requires_grad=True) @ [2.0], "Tensor(6., op=matmul)"),
    (Tensor([[1.0], [2.0]]), "Tensor([[1.],\n        [2.]])"),
    (Tensor(np.zeros((0, 2))), "Tensor([], shape=(0, 2))")])
def test_repr(x, text):
    assert repr(x) == text


def test_repr_of_a_large_tensor_is_short_and_says_its_shape():
    text = repr(Tensor(np.zeros((100, 100))))
    assert len(text) < 600
    assert text.endswith("shape=(100, 100))")


def test_a_long_graph_is_freed_without_recursion():
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(200_000):
        y = y + 1
    del y
    gc.collect()
    assert not [t for t in gc.get_referrers(x) if isinstance(t, tuple)]
