"""A model whose scores depend on every token of the text: whatever is lost or mixed up, shows."""

import functools

import numpy as np
import pytest

from minillm.autograd import Tensor


class FakeCache:
    def __init__(self, batch_size, max_length, start):
        self.batch_size, self.max_length, self.length = batch_size, max_length, 0
        self.start = np.zeros(batch_size, int) if start is None else np.asarray(start)
        self.texts = [()] * batch_size

    def take(self, rows):
        self.texts, self.start = [self.texts[i] for i in rows], self.start[rows]
        self.batch_size = len(rows)


class FakeModel:
    """Scores drawn at random, the same for the same text; it counts what it reads, padding included."""

    def __init__(self, V, seed=0, scale=2.0, max_length=None):
        self.V, self.max_length, self.read, self.room = V, max_length, [], []
        self._scores = functools.cache(
            lambda text: np.random.default_rng([seed, *text]).standard_normal(V) * scale)

    def scores(self, text):
        return self._scores(tuple(int(i) for i in text))

    def new_cache(self, batch_size, max_length, start=None):
        assert self.max_length is None or max_length <= self.max_length
        self.room.append(max_length)
        return FakeCache(batch_size, max_length, start)

    def next_logits(self, ids, cache):
        assert ids.shape[0] == cache.batch_size
        assert cache.length + ids.shape[1] <= cache.max_length
        self.read.append(ids.shape)
        first = cache.length
        cache.texts = [(*text, *row[max(0, s - first):].tolist())
                       for text, row, s in zip(cache.texts, ids, cache.start, strict=True)]
        cache.length += ids.shape[1]
        return Tensor(np.stack([self.scores(text) for text in cache.texts]))


@pytest.fixture(scope="session")
def fake():
    return FakeModel


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")
