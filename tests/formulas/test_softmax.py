import numpy as np
import pytest
import torch

from minillm.formulas import log_softmax, logsumexp, softmax

INF = np.inf
ROWS = [[0.0], [1.0, 2.0, 3.0], [-1000.0, 0.0, 1000.0], [1e300, 1e300, -1e300],
        [-INF, 0.0, 1.0], [-INF, -INF, 5.0],
        [800.0, 800.5, -INF], [-1e308, -1e308, -1e308]]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_logsumexp_against_torch(row):
    expected = torch.logsumexp(torch.tensor(row, dtype=torch.float64), 0).item()
    assert logsumexp(np.array(row)) == pytest.approx(expected, rel=1e-15)


def test_logsumexp_along_any_axis(rng):
    x = rng.standard_normal((2, 3, 4))
    for axis in (0, 1, 2, -1):
        for keepdims in (False, True):
            y = logsumexp(x, axis=axis, keepdims=keepdims)
            np.testing.assert_allclose(y, np.log(np.exp(x).sum(axis=axis, keepdims=keepdims)), rtol=1e-14)
    assert logsumexp(np.float32(x)).dtype == np.float32


def test_logsumexp_of_nothing_is_minus_infinity():
    with np.errstate(divide="ignore"):  # log 0
        assert logsumexp(np.array([-INF, -INF])) == -INF


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_softmax_is_a_distribution(row):
    p = softmax(np.array(row))
    assert p.sum() == pytest.approx(1, rel=1e-15)
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_allclose(p, torch.softmax(torch.tensor(row, dtype=torch.float64), 0).numpy(),
                               rtol=1e-15)


def test_softmax_by_hand():
    np.testing.assert_allclose(softmax(np.log([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]])),
                               [[0.125, 0.25, 0.625], [0.375, 0.375, 0.25]], rtol=1e-15)


def test_softmax_does_not_change_when_all_scores_are_shifted(rng):
    x = rng.standard_normal((4, 5))
    for axis in (0, 1):
        np.testing.assert_allclose(softmax(x + 1e6, axis=axis), softmax(x, axis=axis), rtol=1e-9)
        np.testing.assert_allclose(softmax(x, axis=axis).sum(axis), 1, rtol=1e-15)


def test_log_softmax_of_huge_logits():
    x = np.array([[1000.0, 0.0, -1000.0], [1e300, 0.0, 1e300], [0.0, -INF, 0.0]])
    np.testing.assert_allclose(log_softmax(x), [[0, -1000, -2000], [-np.log(2), -1e300, -np.log(2)],
                                                [-np.log(2), -INF, -np.log(2)]], rtol=1e-15, atol=1e-300)


def test_log_softmax_is_the_log_of_softmax(rng):
    x = rng.standard_normal((3, 4, 2))
    for axis in (0, 1, -1):
        np.testing.assert_allclose(log_softmax(x, axis=axis), np.log(softmax(x, axis=axis)), rtol=1e-13)
