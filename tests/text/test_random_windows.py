import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.errors import UserError
from minillm.text import RandomWindows


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 7), st.integers(0, 2**70))
def test_windows_are_stretches_of_the_text(extra, batch_size, seq_len, seed):
    n = seq_len + extra
    windows = RandomWindows(np.arange(n), batch_size, seq_len, seed=seed)
    for _ in range(3):
        x, y = windows.next_window()
        assert x.shape == y.shape == (batch_size, seq_len)
        np.testing.assert_array_equal(x, x[:, :1] + np.arange(seq_len))
        np.testing.assert_array_equal(y, x + 1)
        assert x.min() >= 0
        assert y.max() < n
        assert windows.at_epoch_start


@given(st.integers(0, 30), st.integers(0, 3))
def test_resumed_stream_is_the_one_that_was_stopped(position, seed):
    windows = RandomWindows(np.arange(50), 3, 4, seed=seed)
    for _ in range(position):
        windows.next_window()
    state = json.loads(json.dumps(windows.state_dict()))
    again = RandomWindows(np.arange(50), 3, 4, seed=seed)
    again.load_state_dict(state)
    assert again.position == windows.position == position
    for _ in range(3):
        for a, b in zip(again.next_window(), windows.next_window(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_every_place_comes_up_as_often():
    windows = RandomWindows(np.arange(25), 100, 4, seed=0)  # 21 places
    starts = np.concatenate([windows.next_window()[0][:, 0] for _ in range(210)])
    counts = np.bincount(starts, minlength=21)
    assert len(counts) == 21
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)  # five standard deviations


def test_seeds_and_batches_differ():
    a, b = (RandomWindows(np.arange(10_000), 8, 4, seed=s) for s in (0, 1))
    first = a.next_window()[0]
    assert not np.array_equal(first, b.next_window()[0])
    assert not np.array_equal(first, a.next_window()[0])


def test_a_window_is_the_callers_own():
    ids = np.arange(9)
    windows = RandomWindows(ids, 2, 4, seed=0)
    ids[:] = -1
    x, y = windows.next_window()
    assert x.min() >= 0
    x[:] = -1
    assert y.min() >= 0


@pytest.mark.parametrize(("change", "message"), [
    ({"ids": np.arange(51)}, "n_tokens"), ({"ids": np.arange(50)[::-1]}, "text has changed"),
    ({"batch_size": 4}, "batch_size=3, but this is batch_size=4"), ({"seq_len": 5}, "seq_len=4"),
    ({"seed": 1}, "seed=0"),
])
def test_another_text_or_size_is_refused(change, message):
    options = {"ids": np.arange(50), "batch_size": 3, "seq_len": 4, "seed": 0}
    state = RandomWindows(**options).state_dict()
    with pytest.raises(UserError, match=message):
        RandomWindows(**{**options, **change}).load_state_dict(state)


def test_wrong_arguments():
    RandomWindows(np.arange(5), 1, 4, seed=0)
    with pytest.raises(UserError, match="the text has 4 tokens, but a window of seq_len=4 needs 5"):
        RandomWindows(np.arange(4), 1, 4, seed=0)
    for change, message in [({"batch_size": 0}, "batch_size = 0"), ({"seq_len": 0}, "seq_len = 0"),
                            ({"seed": -1}, "seed = -1"), ({"ids": np.ones(9)}, "float64"),
                            ({"ids": np.ones((3, 3), int)}, r"\(3, 3\)")]:
        with pytest.raises(ValueError, match=message):
            RandomWindows(**{"ids": np.arange(9), "batch_size": 1, "seq_len": 4, "seed": 0, **change})
