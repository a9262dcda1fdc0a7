import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minillm.errors import UserError
from minillm.text import BPTTBatches

sizes = st.tuples(st.integers(1, 200), st.integers(1, 5), st.integers(1, 7))
seeds = st.none() | st.integers(0, 3)


def stream(size, **options):
    n, batch_size, seq_len = size
    assume((n - 1) // batch_size >= (1 if options.get("keep_tail") else seq_len))
    return BPTTBatches(np.arange(n), batch_size, seq_len, **options)


@given(sizes, seeds, st.booleans())
def test_labels_are_the_next_tokens_and_windows_follow_on(size, shift_seed, keep_tail):
    n, batch_size, seq_len = size
    batches = stream(size, shift_seed=shift_seed, keep_tail=keep_tail)
    for _ in range(2):
        assert batches.at_epoch_start
        windows = list(batches)
        assert len(windows) == len(batches)
        for x, y in windows[:-1]:
            assert x.shape == y.shape == (batch_size, seq_len)
        lanes = np.concatenate([x for x, _ in windows], axis=1)  # (B, L)
        labels = np.concatenate([y for _, y in windows], axis=1)  # (B, L)
        assert lanes.shape == labels.shape
        assert lanes.size == batches.tokens_per_epoch
        # all lanes together are one run of the text (a ring, when it is shifted)
        run = np.append(lanes.ravel(), labels[-1, -1])
        np.testing.assert_array_equal(run, (run[0] + np.arange(run.size)) % n)
        np.testing.assert_array_equal(labels.ravel(), run[1:])
        assert shift_seed is not None or run[0] == 0
        left_over = n - 1 - lanes.size
        assert 0 <= left_over < (batch_size if keep_tail else batch_size * seq_len)


@given(sizes, seeds, st.booleans(), st.integers(0, 100))
def test_resumed_stream_is_the_one_that_was_stopped(size, shift_seed, keep_tail, position):
    batches = stream(size, shift_seed=shift_seed, keep_tail=keep_tail)
    for _ in range(position):
        batches.next_window()
    state = json.loads(json.dumps(batches.state_dict()))
    again = stream(size, shift_seed=shift_seed, keep_tail=keep_tail)
    again.load_state_dict(state)
    assert again.position == batches.position == position
    for _ in range(len(batches) + 2):
        assert again.at_epoch_start == batches.at_epoch_start
        assert again.epoch == batches.epoch
        for a, b in zip(again.next_window(), batches.next_window(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_one_epoch_by_hand():
    batches = BPTTBatches(np.arange(10), 2, 2)
    (x0, y0), (x1, y1) = batches
    assert x0.tolist() == [[0, 1], [4, 5]]
    assert y0.tolist() == [[1, 2], [5, 6]]
    assert x1.tolist() == [[2, 3], [6, 7]]
    assert y1.tolist() == [[3, 4], [7, 8]]
    assert (batches.position, batches.epoch, batches.at_epoch_start) == (2, 1, True)


def test_a_loop_gives_the_rest_of_the_epoch():
    batches = BPTTBatches(np.arange(101), 2, 5)
    for _ in batches:
        break
    assert not batches.at_epoch_start
    assert len(list(batches)) == len(batches) - 1
    assert len(list(batches)) == len(batches) == 10


def test_shifted_epochs_start_at_different_tokens():
    batches = BPTTBatches(np.arange(1001), 2, 5, shift_seed=0)
    epochs = [list(batches) for _ in range(8)]
    starts = [int(windows[0][0][0, 0]) for windows in epochs]
    assert len(set(starts)) >= 7
    other = BPTTBatches(np.arange(1001), 2, 5, shift_seed=1)
    assert int(other.next_window()[0][0, 0]) != starts[0]


def test_windows_and_stream_do_not_share_memory():
    ids = np.arange(10)
    batches = BPTTBatches(ids, 2, 2, shift_seed=None)
    ids[:] = 0
    x, y = batches.next_window()
    x[:] = y[:] = -1
    assert batches.next_window()[0].tolist() == [[2, 3], [6, 7]]
    batches.load_state_dict({**batches.state_dict(), "position": 0})
    assert batches.next_window()[0].tolist() == [[0, 1], [4, 5]]


@pytest.mark.parametrize(
    ("n", "batch_size", "seq_len", "keep_tail", "needed"),
    [(0, 1, 1, False, 2), (1, 1, 1, False, 2), (64, 8, 8, False, 65), (8, 8, 8, True, 9)],
)
def test_text_shorter_than_a_batch(n, batch_size, seq_len, keep_tail, needed):
    with pytest.raises(UserError) as error:
        BPTTBatches(np.arange(n), batch_size, seq_len, keep_tail=keep_tail)
    message = str(error.value)
    assert f"has {n} tokens" in message
    assert f"batch_size={batch_size} by seq_len={seq_len} needs {needed}:" in message
    assert "use a longer text" in message
    assert "\n" not in message
    # one token more, and it fits
    assert len(BPTTBatches(np.arange(needed), batch_size, seq_len, keep_tail=keep_tail)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 50), int), 2, 2), r"shape \(2, 50\)"),
        ((np.zeros(50), 2, 2), "dtype float64"),
        ((np.arange(50), 0, 2), "batch_size = 0"),
        ((np.arange(50), 2, -1), "seq_len = -1"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        BPTTBatches(*arguments)


def test_negative_seed():
    with pytest.raises(ValueError, match="shift_seed = -1"):
        BPTTBatches(np.arange(50), 2, 2, shift_seed=-1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 4}, "saved with batch_size=4, but this is batch_size=2"),
        ({"seq_len": 9}, "seq_len=9"),
        ({"shift_seed": 1}, "shift_seed=1"),
        ({"keep_tail": True}, "keep_tail=True"),
        ({"n_tokens": 51}, "n_tokens=51"),
        ({"ids_sha256": "0" * 64}, "the text has changed"),
        ({"position": -1}, "position is -1"),
        ({"position": 1.5}, "position is 1.5"),
    ],
)
def test_state_of_another_stream_is_refused(change, message):
    batches = BPTTBatches(np.arange(50), 2, 3)
    with pytest.raises(UserError, match=message) as error:
        batches.load_state_dict({**batches.state_dict(), **change})
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="lacks 'position'"):
        batches.load_state_dict({})
    assert batches.position == 0
