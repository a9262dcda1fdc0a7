"""A long text as a stream of windows for truncated backpropagation through time."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minillm.errors import UserError

Window = tuple[NDArray[np.int64], NDArray[np.int64]]


class BPTTBatches:
    """Windows (x, y) of `seq_len` tokens from `batch_size` lanes that run side by side.

    The ids are laid out as B lanes, each a contiguous stretch of the text; window k is columns
    [kT, (k+1)T) of the lanes and y is x one token later (the next-token labels), so that a
    recurrent state after window k is the right one to carry into window k+1:

        x[b, t] = ids[b L + k T + t],   y[b, t] = ids[b L + k T + t + 1]

    with L the length of a lane. An epoch is `len(batches)` windows. When `at_epoch_start` is true,
    the lanes begin anew and the carried state must be reset. Fewer than B T tokens are left over.

        while step < steps:
            if batches.at_epoch_start:
                state = None
            x, y = batches.next_window()

    A `for` loop gives the rest of the current epoch: all of it, from the start of one.

    `shift_seed`: None, or an integer; with it, each epoch starts at another token (the text is
    taken as a ring), so that other tokens meet at the windows' edges and others are left over. The
    token is a function of the seed and the epoch's number, so `position` (windows given since the
    beginning, over all epochs) is the whole state, and resuming is exact.

    `keep_tail`: also give the last window of an epoch, shorter than `seq_len`. Then fewer than B
    tokens are left over: right for evaluation, where every token should count.

    Raises UserError for a text that is too short for one window, ValueError for sizes below 1 and
    ids that are not one axis of integers.
    """

    def __init__(
        self,
        ids: ArrayLike,
        batch_size: int,
        seq_len: int,
        *,
        shift_seed: int | None = None,
        keep_tail: bool = False,
    ) -> None:
        self._ids = tokens = checked_tokens(ids, batch_size, seq_len)
        if shift_seed is not None and shift_seed < 0:
            raise ValueError(f"shift_seed = {shift_seed}: give at least 0, or None")
        lane = (len(tokens) - 1) // batch_size  # one token more is needed: the last label
        shortest = 1 if keep_tail else seq_len
        if lane < shortest:
            raise UserError(
                f"the text has {len(tokens)} tokens, but batch_size={batch_size} by"
                f" seq_len={seq_len} needs {batch_size * shortest + 1}: use a longer text, or a"
                " smaller batch size or sequence length"
            )
        self.batch_size = batch_size
        self.seq_len = seq_len
        self.shift_seed = shift_seed
        self.keep_tail = keep_tail
        self._lane = lane if keep_tail else lane // seq_len * seq_len
        self._digest = hashlib.sha256(self._ids.tobytes()).hexdigest()
        self._position = 0
        self._epoch_ready = -1

    def __len__(self) -> int:
        """Windows in an epoch."""
        return -(-self._lane // self.seq_len)

    @property
    def position(self) -> int:
        """Windows given since the beginning, over all epochs."""
        return self._position

    @property
    def epoch(self) -> int:
        """The number of the epoch, from 0, that the next window belongs to."""
        return self._position // len(self)

    @property
    def at_epoch_start(self) -> bool:
        """Whether the next window is the first of an epoch: reset the carried state before it."""
        return self._position % len(self) == 0

    @property
    def tokens_per_epoch(self) -> int:
        """Labels in the windows of one epoch."""
        return self.batch_size * self._lane

    def next_window(self) -> Window:
        """The next x and y, each (B, T), as arrays of their own; the stream never ends."""
        self._lay_out(self.epoch)
        start = self._position % len(self) * self.seq_len
        stop = min(start + self.seq_len, self._lane)
        self._position += 1
        return self._x[:, start:stop].copy(), self._y[:, start:stop].copy()  # (B, T)

    def rewind(self) -> None:
        """Begin again at the first window of the first epoch."""
        self._position = 0

    def __iter__(self) -> Iterator[Window]:
        """The windows from `position` to the end of the epoch."""
        for _ in range(len(self) - self._position % len(self)):
            yield self.next_window()

    def state_dict(self) -> dict[str, Any]:
        """`position`, and what it counts in: the sizes, the seed and the text's fingerprint."""
        return {
            "position": self._position,
            "batch_size": self.batch_size,
            "seq_len": self.seq_len,
            "shift_seed": self.shift_seed,
            "keep_tail": self.keep_tail,
            "n_tokens": len(self._ids),
            "ids_sha256": self._digest,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises UserError if it is from another text or other sizes: its position would then mean
        another place, and the resumed run would not be the one that was stopped.
        """
        self._position = saved_position(state, self.state_dict())

    def _lay_out(self, epoch: int) -> None:
        if epoch == self._epoch_ready:
            return
        stream = self._ids
        if self.shift_seed is not None:
            # SeedSequence alone, whose output NumPy promises to keep; Generator's may change
            word = np.random.SeedSequence([self.shift_seed, epoch]).generate_state(1, np.uint64)[0]
            stream = np.roll(stream, -(int(word) % len(stream)))
        n = self.tokens_per_epoch
        self._x = stream[:n].reshape(self.batch_size, self._lane)  # (B, L)
        self._y = stream[1 : n + 1].reshape(self.batch_size, self._lane)  # (B, L)
        self._epoch_ready = epoch


def saved_position(state: Mapping[str, Any], own: Mapping[str, Any]) -> int:
    """The position in `state`, after checking that all else in it is as in `own`; else UserError."""
    for name, value in own.items():
        if name not in state:
            raise UserError(f"the saved data position lacks {name!r}: start a new run")
        if name != "position" and state[name] != value:
            if name == "ids_sha256":
                raise UserError(
                    "the text has changed since the run was saved: resume with the same text"
                    " and Python version, or start a new run"
                )
            raise UserError(
                f"the run was saved with {name}={state[name]}, but this is {name}={value}:"
                " resume with the same data and sizes, or start a new run"
            )
    position = state["position"]
    if not isinstance(position, int) or isinstance(position, bool) or position < 0:
        raise UserError(f"the saved position is {position!r}, not a count: start a new run")
    return position


def checked_tokens(ids: ArrayLike, batch_size: int, seq_len: int) -> NDArray[np.int64]:
    """`ids` as a new array (N,), after checking it and the sizes; else ValueError."""
    tokens = np.asarray(ids)
    if tokens.ndim != 1 or (tokens.dtype.kind not in "iu" and tokens.size):
        raise ValueError(
            f"ids has shape {tokens.shape} and dtype {tokens.dtype}: give integers, shape (N,)"
        )
    for name, size in (("batch_size", batch_size), ("seq_len", seq_len)):
        if size < 1:
            raise ValueError(f"{name} = {size}: give at least 1")
    return tokens.astype(np.int64)  # a copy: the caller may go on to change theirs
