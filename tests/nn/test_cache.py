"""The cache of keys and values."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from minillm.nn.cache import KVCache


def filled(rng, start=None):
    cache = KVCache(2, 3, 2, 8, 4, start=start)
    k, v = rng.standard_normal((2, 3, 2, 5, 4)).astype(np.float32)
    for layer in cache.layers:
        layer.extend(k, v)
    cache.advance(5)
    return cache, k, v


def test_what_is_written_behind_comes_back_in_one_piece(rng):
    cache, k, v = filled(rng)
    more = rng.standard_normal((3, 2, 2, 4)).astype(np.float32)
    keys, values = cache.layers[1].extend(more, -more)
    assert_array_equal(keys, np.concatenate([k, more], axis=2))
    assert_array_equal(values, np.concatenate([v, -more], axis=2))
    assert np.shares_memory(keys, cache.layers[1].keys)  # room was taken once
    assert cache.nbytes == 2 * 2 * 3 * 2 * 8 * 4 * 4


@pytest.mark.parametrize("rows", [[2, 0], [1, 1, 1], [2, 2, 0, 1], [0, 2, 1], [0, 1, 2]])
def test_rows_are_taken_with_all_that_belongs_to_them(rng, rows):
    cache, k, _ = filled(rng, start=[0, 2, 1])
    cache.take(rows)
    assert cache.batch_size == len(rows)
    assert cache.length == 5
    assert cache.start.tolist() == [[0, 2, 1][r] for r in rows]
    more = np.zeros((len(rows), 2, 3, 4), np.float32)
    assert_array_equal(cache.layers[0].extend(more, more)[0][:, :, :5], k[rows])


def test_positions_and_mask_count_from_where_a_row_begins(rng):
    cache, _, _ = filled(rng, start=[0, 4, 6])
    assert cache.positions(2).tolist() == [[5, 6], [1, 2], [0, 0]]
    mask = cache.mask(2)
    assert mask.shape == (3, 1, 1, 7)
    assert mask[:, 0, 0].sum(1).tolist() == [7, 3, 1]
    cache.start[:] = 0
    assert cache.mask(2) is None
    assert cache.positions(2).tolist() == [5, 6]


@pytest.mark.parametrize(("change", "message"), [
    ({"max_length": 0}, "max_length = 0 must be at least 1"),
    ({"start": [0]}, r"start must be \(3,\) integers"),
    ({"start": [0, 1, 8]}, r"start = \[0, 1, 8\] must lie in")])
def test_sizes_that_no_cache_has(change, message):
    sizes = {"n_layer": 1, "batch_size": 3, "n_kv_head": 1, "max_length": 8, "head_dim": 2}
    with pytest.raises(ValueError, match=message):
        KVCache(**{**sizes, **change})


@pytest.mark.parametrize(("rows", "message"), [
    ([3], r"rows = \[3\] must lie in \[0, 3\)"), ([], "at least one"), ([0.5], "integers")])
def test_rows_that_are_not_there(rng, rows, message):
    with pytest.raises(ValueError, match=message):
        filled(rng)[0].take(rows)


@pytest.mark.parametrize(("shape", "message"), [
    ((3, 4), "there is no room for 4 more"), ((2, 1), r"ids must be \(3, T\)"), ((3, 0), "T at least 1")])
def test_ids_that_do_not_fit(rng, shape, message):
    with pytest.raises(ValueError, match=message):
        filled(rng)[0].room_for(np.zeros(shape, int))
