import re

import numpy as np
import pytest

from minillm.formulas import cross_entropy, cross_entropy_of_labels, softmax, softmax_cross_entropy


def drawn(rng, n=6, v=5):
    logits = rng.standard_normal((n, v))
    return logits, softmax(logits), rng.integers(0, v, n)


def test_one_hot_form_by_hand():
    y = np.array([[1, 0, 0], [0, 0, 1]])
    p = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    assert cross_entropy(y, p) == pytest.approx((np.log(2) - np.log(0.8)) / 2, rel=1e-15)


def test_a_word_that_does_not_occur_costs_nothing():
    assert cross_entropy(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]])) == 0  # 0 log 0, without a warning
    with np.errstate(divide="ignore"):
        assert cross_entropy(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])) == np.inf


def test_of_a_distribution_with_itself_is_its_entropy():
    p = np.array([[0.5, 0.5], [0.25, 0.75]])
    entropies = np.log(2), 2 * np.log(2) - 0.75 * np.log(3)
    assert cross_entropy(p, p) == pytest.approx(sum(entropies) / 2, rel=1e-15)


def test_label_form_equals_one_hot_form(rng):
    _, p, y = drawn(rng)
    assert cross_entropy_of_labels(y, p) == pytest.approx(cross_entropy(np.eye(5)[y], p), rel=1e-15)


def test_logits_form_equals_label_form(rng):
    x, p, y = drawn(rng)
    assert softmax_cross_entropy(x, y) == pytest.approx(cross_entropy_of_labels(y, p), rel=1e-14)
    batched = softmax_cross_entropy(x.reshape(2, 3, 5), y.reshape(2, 3))
    assert batched == pytest.approx(cross_entropy_of_labels(y, p), rel=1e-14)


def test_smoothed_targets_are_a_mixture(rng):
    x, p, y = drawn(rng)
    q = 0.9 * np.eye(5)[y] + 0.1 / 5
    assert softmax_cross_entropy(x, y, label_smoothing=0.1) == pytest.approx(cross_entropy(q, p), rel=1e-14)


def test_ignored_labels_do_not_count(rng):
    x, p, y = drawn(rng)
    kept = y != y[0]
    ours = softmax_cross_entropy(x, y, ignore_index=int(y[0]))
    assert ours == pytest.approx(cross_entropy_of_labels(y[kept], p[kept]), rel=1e-14)
    assert softmax_cross_entropy(x, np.full(6, -100)) == 0


def test_a_uniform_guess_costs_log_v():
    assert softmax_cross_entropy(np.zeros((4, 7)), np.arange(4)) == pytest.approx(np.log(7), rel=1e-15)


P = np.full((4, 3), 1 / 3)


@pytest.mark.parametrize(("f", "y", "error", "message"), [
    (cross_entropy, np.eye(3)[:1], ValueError,
     "y and p must have the same shape (N, V), not (1, 3) and (4, 3)"),
    (cross_entropy, np.ones(3), ValueError, "y and p must have the same shape (N, V), not (3,) and (4, 3)"),
    (cross_entropy_of_labels, [0, 1, 2, -1], ValueError, "y[3] = -1 is outside [0, 3)"),
    (cross_entropy_of_labels, [0, 3, 2, 1], ValueError, "y[1] = 3 is outside [0, 3)"),
    (cross_entropy_of_labels, [0.0, 1.0, 2.0, 0.0], TypeError, "y must be integers, not float64"),
    (cross_entropy_of_labels, [True] * 4, TypeError, "y must be integers, not bool"),
    (cross_entropy_of_labels, [0, 1, 2], ValueError, "y must be (N,) and p (N, V), not (3,) and (4, 3)"),
    (cross_entropy_of_labels, [[0, 1, 2, 1]], ValueError,
     "y must be (N,) and p (N, V), not (1, 4) and (4, 3)"),
])
def test_what_does_not_fit_is_refused(f, y, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        f(y, P)
