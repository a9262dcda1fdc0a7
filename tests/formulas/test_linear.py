import numpy as np
import pytest

from minillm import Tensor, check_gradients
from minillm.autograd.fused import linear as fused
from minillm.formulas import linear


def test_linear_by_hand() -> None:
    x, W, b = np.array([[1.0, 2.0]]), np.array([[3.0, 0.0], [4.0, 5.0]]), np.array([0.5, -0.5])
    np.testing.assert_array_equal(linear(x, W, b), [[1 * 3 + 2 * 4 + 0.5, 2 * 5 - 0.5]])


@pytest.mark.parametrize("shape", [(4,), (0, 4), (3, 4), (2, 3, 4), (2, 1, 3, 4)])
def test_fused_equals_formula(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, W, b = rng.standard_normal(shape), rng.standard_normal((4, 2)), rng.standard_normal(2)
    y = fused(x, W, b).data
    assert y.shape == (*shape[:-1], 2)
    np.testing.assert_allclose(y, linear(x, W, b), rtol=1e-14, atol=1e-14)
    check_gradients(fused, (x, W, b))


def test_mixed_dtypes_promote_as_in_numpy() -> None:
    x, W, b = np.ones((2, 3), np.float32), np.ones((3, 2), np.float32), np.ones(2)
    assert fused(x, W, b).dtype == linear(x, W, b).dtype == np.float64
    w = Tensor(W, requires_grad=True)
    fused(x, w, b).sum().backward()
    assert w.grad is not None
    assert w.grad.dtype == np.float32


def test_both_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"not \(2, 3\), \(4, 5\) and \(5,\)"):
        fused(np.ones((2, 3)), np.ones((4, 5)), np.ones(5))
