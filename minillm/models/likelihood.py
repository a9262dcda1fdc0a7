"""How probable a model finds a text: the loss of each of its tokens, given those before it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minillm.autograd import no_grad
from minillm.autograd.devices import to_host
from minillm.formulas import logsumexp

from .lstm_lm import LSTMLanguageModel, detach

_CHUNK = 1 << 21  # logits that become float64 at a time
_WINDOW = 1024  # tokens, where the model itself sets no narrower limit


@no_grad()
def token_losses(model: Any, ids: Any, *, window: int | None = None, stride: int | None = None) -> np.ndarray:
    """-log p(ids[t] | the tokens before it), in nats, for every token but the first.

    A text longer than the window is read in windows that overlap: each predicts the next `stride` tokens,
    from the window - stride (or more) before them, so no token but the first ones is judged without context.
    An LSTM carries its state from one window to the next instead: all of the text before is its context.

    Args:
        model: a GPT, Llama or LSTMLanguageModel; put it in eval mode.
        ids: (T,), at least two.
        window: W, tokens that the model reads at once; None: `max_length`, at most 1024.
        stride: in [1, W]; None: W / 2. An LSTM has none.

    Returns:
        (T - 1,), float64. Its mean is the L of `formulas.perplexity`; W V float32 logits are held at a time.

    Raises:
        ValueError: ids are fewer than two, no integers or outside [0, V), or window or stride is no integer
            or out of range.
    """
    ids = np.asarray(ids)
    if ids.ndim != 1 or len(ids) < 2 or ids.dtype.kind not in "iu":
        raise ValueError(f"ids must be (T,) integers with at least two tokens, not {ids.dtype} of shape "
                         f"{ids.shape}")
    V = model.config.vocab_size
    outside = (ids < 0) | (ids >= V)  # every one, the last too, which the model itself never reads
    if outside.any():
        i = int(outside.argmax())
        raise ValueError(f"ids[{i}] = {ids[i]} is outside [0, {V})")
    for name, value in (("window", window), ("stride", stride)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
            raise ValueError(f"{name} = {value!r} must be an integer")
    longest = model.max_length
    if window is None:
        window = _WINDOW if longest is None else min(longest, _WINDOW)
    if window < 1 or (longest is not None and window > longest):
        limit = "at least 1" if longest is None else f"in [1, {longest}], what the model can read"
        raise ValueError(f"window = {window} must be {limit}")
    if isinstance(model, LSTMLanguageModel):
        if stride is not None:
            raise ValueError("an LSTM carries its state from window to window: leave stride out")
        return _recurrent(model, ids, window)
    stride = max(1, window // 2) if stride is None else stride
    if not 1 <= stride <= window:
        raise ValueError(f"stride = {stride} must be in [1, window = {window}]")
    losses = np.empty(len(ids) - 1)
    done, end = 0, min(window, len(ids) - 1)  # losses known, and to be known after the next window
    while done < end:
        begin = max(0, end - window)
        logits = to_host(model(ids[None, begin:end]).data[0, done - begin:])  # (end - done, V)
        losses[done:end] = _nats(logits, ids[done + 1:end + 1])
        done, end = end, min(end + stride, len(ids) - 1)
    return losses


def _recurrent(model: LSTMLanguageModel, ids: np.ndarray, window: int) -> np.ndarray:
    losses, state = [], None
    for begin in range(0, len(ids) - 1, window):
        labels = ids[begin + 1:begin + window + 1]
        logits, after = model(ids[None, begin:begin + len(labels)], state)  # (1, W, V)
        state = detach(after)
        losses.append(_nats(to_host(logits.data[0]), labels))
    return np.concatenate(losses)


def _nats(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log softmax(logits)[label] in float64, a few rows at a time: (T, V), (T,) -> (T,)."""
    losses = np.empty(len(labels))
    step = max(1, _CHUNK // logits.shape[1])
    for i in range(0, len(labels), step):
        rows = logits[i:i + step].astype(np.float64)  # (t, V)
        losses[i:i + step] = logsumexp(rows) - rows[np.arange(len(rows)), labels[i:i + step]]
    return losses
