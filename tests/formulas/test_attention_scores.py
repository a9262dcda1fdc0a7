"""Scores and weights of attention: by hand, and as the halves of attention."""

import math

import numpy as np
import torch
from numpy.testing import assert_allclose, assert_array_equal

from minillm.formulas import additive_scores, attention, attention_weights, dot_scores, general_scores


def test_additive_scores_by_hand():
    """Sums of -log 2, 0 and log 2: tanh is -3/5, 0 and 3/5."""
    q, k = np.array([[0.0, 0.0], [0.0, math.log(2)]]), np.array([[0.0, -math.log(2)], [math.log(2), 0.0]])
    assert_allclose(additive_scores(q, k, np.array([10.0, 5.0])), [[-3, 6], [0, 9]], atol=1e-12)


def test_additive_scores_of_a_batch(rng):
    q, k, v = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 5, 4)), rng.standard_normal(4)
    one_by_one = [[[float(v @ np.tanh(q[b, t] + k[b, s])) for s in range(5)] for t in range(3)]
                  for b in range(2)]
    assert_allclose(additive_scores(q, k, v), one_by_one, rtol=1e-13)


def test_products_as_scores_by_hand():
    q, k = np.array([[1.0, 2.0, 0.0, 1.0]]), np.array([[3.0, 4.0, 9.0, -1.0], [0.0, 0.0, 1.0, 2.0]])
    assert_allclose(dot_scores(q, k, scale=1.0), [[10, 2]])
    assert_allclose(dot_scores(q, k), [[5, 1]])
    assert_allclose(dot_scores(q, k, softcap=2.0), [[2 * np.tanh(2.5), 2 * np.tanh(0.5)]])
    W = np.array([[0.0, 1.0], [2.0, 0.0], [5.0, 5.0], [1.0, 0.0]])
    assert_allclose(general_scores(q, np.array([[1.0, 1.0], [0.0, -3.0]]), W), [[6, -3]])


def test_attention_weights_by_hand():
    a = np.array([[0.0, math.log(2), math.log(5)], [1.0, 2.0, 3.0]])
    assert_allclose(attention_weights(a[:1]), [[1 / 8, 2 / 8, 5 / 8]])
    seen = np.array([[True, False, True], [False] * 3])
    assert_allclose(attention_weights(a, seen), [[1 / 6, 0, 5 / 6], [0, 0, 0]])


def test_they_are_the_halves_of_attention(rng):
    q, k, v = rng.standard_normal((3, 2, 3, 5, 4))
    seen = np.tri(5, dtype=bool) & (rng.random((2, 1, 1, 5)) < 0.7)
    p = attention_weights(dot_scores(q, k), seen)
    assert_allclose(p @ v, attention(q, k, v, mask=seen), rtol=1e-13)
    torch_scores = (torch.tensor(q) @ torch.tensor(k).mT / 2).masked_fill(torch.tensor(~seen), -torch.inf)
    sees = seen.any(-1)  # torch makes nan of the others
    assert_allclose(p[np.broadcast_to(sees, p.shape[:3])],
                    torch_scores.softmax(-1).numpy()[np.broadcast_to(sees, p.shape[:3])], rtol=1e-12)
    assert_array_equal(p.sum(-1) == 0, np.broadcast_to(~sees, p.shape[:3]))


def test_huge_scores_do_not_overflow():
    assert_array_equal(attention_weights(np.array([1e308, -1e308, 1e308])), [0.5, 0, 0.5])
