"""A long text as windows that begin anywhere: batches for a model without memory of the last window."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minillm.errors import UserError
from minillm.text.batches import Window, checked_tokens, saved_position


class RandomWindows:
    """Batches (x, y) of `batch_size` windows of `seq_len` tokens, each from a random place in the text.

        x[b, t] = ids[s_b + t],   y[b, t] = ids[s_b + t + 1],   s_b uniform over all places with T + 1 tokens

    The places of batch k are a function of `seed` and k alone, so that `position` (batches given so far)
    is the whole state and resuming is exact. The stream never ends; windows may overlap.

    Raises UserError for a text that is too short for one window, ValueError for sizes below 1, a negative
    seed, and ids that are not one axis of integers.
    """

    at_epoch_start = True  # of every window: nothing is carried over

    def __init__(self, ids: ArrayLike, batch_size: int, seq_len: int, *, seed: int) -> None:
        self._ids = checked_tokens(ids, batch_size, seq_len)
        if seed < 0:
            raise ValueError(f"seed = {seed}: give at least 0")
        if len(self._ids) <= seq_len:
            raise UserError(
                f"the text has {len(self._ids)} tokens, but a window of seq_len={seq_len} needs"
                f" {seq_len + 1}: use a longer text, or a smaller sequence length"
            )
        self.batch_size = batch_size
        self.seq_len = seq_len
        self.seed = seed
        self._digest = hashlib.sha256(self._ids.tobytes()).hexdigest()
        self._position = 0

    @property
    def position(self) -> int:
        """Batches given since the beginning."""
        return self._position

    def next_window(self) -> Window:
        """The next x and y, each (B, T), as arrays of their own."""
        # SeedSequence alone, whose output NumPy promises to keep; Generator's may change
        words = np.random.SeedSequence([self.seed, self._position]).generate_state(
            self.batch_size, np.uint64
        )
        # 64 bits: the places differ in probability by less than 1 in 10^12
        starts = (words % (len(self._ids) - self.seq_len)).astype(np.int64)  # (B,)
        at = starts[:, None] + np.arange(self.seq_len + 1)  # (B, T + 1)
        self._position += 1
        windows = self._ids[at]
        return windows[:, :-1].copy(), windows[:, 1:].copy()  # (B, T)

    def state_dict(self) -> dict[str, Any]:
        """`position`, and what it counts in: the sizes, the seed and the text's fingerprint."""
        return {
            "position": self._position,
            "batch_size": self.batch_size,
            "seq_len": self.seq_len,
            "seed": self.seed,
            "n_tokens": len(self._ids),
            "ids_sha256": self._digest,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken. Raises UserError if it is from another text or other sizes."""
        self._position = saved_position(state, self.state_dict())
