"""What an assignment does not take from the package but writes out must still say the same as the package."""

from collections import Counter

import numpy as np
import pytest

from minillm import Tensor, formulas
from minillm.classroom import find_assignment
from minillm.classroom.assignment import SLUG, assignments_folder
from minillm.generate.filters import keep_top_p
from minillm.generate.sampling import draw, next_token_distribution
from minillm.text.bpe_merge import merge
from minillm.text.bpe_training import train_merges

OURS = sorted(p.name for p in assignments_folder().iterdir() if SLUG.fullmatch(p.name))


def test_there_are_enough_of_them():
    assert len(OURS) >= 12


@pytest.mark.parametrize("name", OURS)
def test_every_function_has_hints_and_many_ways_to_be_wrong(name):
    a = find_assignment(name)
    assert set(a.hints) == set(a.solution().functions)
    wrong = [m for m in a.misconceptions if not m.equivalent]
    assert len(wrong) >= 6
    assert len(a.misconceptions) > len(wrong)  # a right variant, against tests that are too strict
    for m in a.misconceptions:
        m.applied(a.solution().text)
    if len(a.hints) > 1 and not any(s.mutation for s in a.scenarios.values()):
        assert all(t.needs for t in a.tests)


def test_tape(rng):
    tape = find_assignment("01_tape_backward").reference
    numbers = rng.uniform(0.5, 1.5, 3)
    nodes = [tape.Node(float(x)) for x in numbers]
    tensors = [Tensor(x, requires_grad=True) for x in numbers]
    for _ in range(12):
        i, j = rng.integers(0, len(nodes), 2)
        nodes.append(tape.tanh(tape.add(tape.mul(nodes[i], nodes[j]), nodes[j])))
        tensors.append(np.tanh(tensors[i] * tensors[j] + tensors[j]))
    root, total = nodes[0], tensors[0]
    for node, tensor in zip(nodes[1:], tensors[1:], strict=True):
        root, total = tape.add(root, node), total + tensor
    tape.backward(root)
    total.backward()
    assert np.allclose([v.grad for v in nodes[:3]], [t.grad for t in tensors[:3]])


@pytest.mark.parametrize("shape", [(3,), (2, 1), (1, 3), (), (4, 1, 3), (4, 2, 3)])
def test_unbroadcast(rng, shape):
    g = rng.normal(size=(4, 2, 3))
    x = Tensor(np.zeros(shape), requires_grad=True)
    (g * (np.zeros(g.shape) + x)).sum().backward()
    assert np.allclose(find_assignment("01_tape_backward").reference.unbroadcast(g, shape), x.grad)


def test_cross_entropy(rng):
    reference = find_assignment("02_cross_entropy").reference
    x, y = 5 * rng.normal(size=(7, 5)), rng.integers(0, 5, 7)
    y[[1, 4]] = -100
    logits = Tensor(x, requires_grad=True)
    loss = formulas.softmax_cross_entropy(logits, y)
    loss.backward()
    assert np.isclose(reference.softmax_cross_entropy(x, y), loss.data)
    assert np.allclose(reference.softmax_cross_entropy_grad(x, y), logits.grad)


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_penalties(rng, name):
    reference = find_assignment("05_dropout_and_penalties").reference
    theta = Tensor(rng.normal(size=(3, 4)), requires_grad=True)
    getattr(formulas, f"{name}_penalty")(theta, lam=0.3).backward()
    assert np.allclose(getattr(reference, f"{name}_grad")(theta.data, lam=0.3), theta.grad)


def test_dropout(rng):
    reference = find_assignment("05_dropout_and_penalties").reference
    x, g = Tensor(rng.normal(size=(3, 4)), requires_grad=True), rng.normal(size=(3, 4))
    keep = reference.keep_mask(rng.random((3, 4)), p=0.3)
    (g * formulas.dropout(x, keep, p=0.3)).sum().backward()
    assert np.allclose(reference.dropout_grad(g, keep, p=0.3), x.grad)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("T", [1, 3, 5])
def test_attention(rng, T, causal):
    reference = find_assignment("07_attention").reference
    q, k, v = rng.normal(size=(2, 3, T, 4)), rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(2, 3, 5, 2))
    mask = (np.arange(5) >= [[0], [2]])[:, None, None, :]
    for given in (None, mask):
        assert np.allclose(reference.attention(q, k, v, causal=causal, mask=given),
                           formulas.attention(q, k, v, causal=causal, mask=given))


def test_layer_norm(rng):
    reference = find_assignment("08_layer_norm").reference
    given = rng.normal(size=(2, 3, 5)), rng.normal(size=5), rng.normal(size=5)
    x, gamma, beta = (Tensor(a, requires_grad=True) for a in given)
    dy = rng.normal(size=(2, 3, 5))
    (dy * formulas.layer_norm(x, gamma, beta, eps=0.1)).sum().backward()
    for found, tensor in zip(reference.layer_norm_backward(dy, x.data, gamma.data, eps=0.1), (x, gamma, beta),
                             strict=True):
        assert np.allclose(found, tensor.grad)


def test_merges(rng):
    reference = find_assignment("09_bpe_merges").reference
    for _ in range(20):
        letters = np.frombuffer(b"abcd", np.uint8)
        words = [bytes(rng.choice(letters, int(rng.integers(1, 9)))) for _ in range(25)]
        learned = reference.train([list(word) for word in words], 8)
        tokens = [chr(i) for i in range(256)]
        assert learned == train_merges(Counter(words), tokens, list(range(256)), 264, 2)
        table = {pair: (rank, 256 + rank) for rank, pair in enumerate(learned)}
        for word in words:
            ids = reference.encode(list(word), learned)
            assert ids == merge(list(word), table)
            assert bytes(reference.decode(ids, learned)) == word


def test_sampling(rng):
    reference = find_assignment("10_sampling").reference
    x, u = 2 * rng.normal(size=(50, 9)), rng.random(50)
    x[:, 4] = x[:, 2]
    assert np.array_equal(reference.keep_top_p(x, 0.7), keep_top_p(x, 0.7))
    for options in ({}, {"temperature": 0.0}, {"temperature": 1.7, "top_k": 5, "top_p": 0.6}):
        p = next_token_distribution(x, **options)
        assert np.array_equal(reference.next_token(x, u, **options), draw(p, u))
