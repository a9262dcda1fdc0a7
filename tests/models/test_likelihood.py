"""The loss of each token: windows and strides against one forward pass for every token."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minillm.models import GPT, GPTConfig, Llama, LlamaConfig, LSTMConfig, LSTMLanguageModel
from minillm.models.likelihood import token_losses

V = 13
MODELS = [GPT(GPTConfig(V, 9, 2, 2, 8), rng=np.random.default_rng(0), dtype=np.float64).eval(),
          Llama(LlamaConfig(V, 2, 8, 2, block_size=9), rng=np.random.default_rng(0), dtype=np.float64).eval()]
LSTM = LSTMLanguageModel(LSTMConfig(V, 4, 6, 2), rng=np.random.default_rng(0), dtype=np.float64).eval()
for model in (*MODELS, LSTM):
    for p in model.parameters():
        p.data *= 10


def nats(logits, label):
    return np.log(np.exp(logits).sum()) - logits[label]


@pytest.mark.parametrize("model", MODELS, ids=["GPT", "Llama"])
@given(T=st.integers(2, 40), window=st.integers(1, 9), data=st.data(), seed=st.integers(0, 99))
def test_every_token_has_a_full_window_less_a_stride(model, T, window, data, seed):
    stride = data.draw(st.integers(1, window))
    ids = np.random.default_rng(seed).integers(0, V, T)
    losses = token_losses(model, ids, window=window, stride=stride)
    assert losses.shape == (T - 1,)
    for t in range(1, T):
        # the window that predicts t ends with the last of its stride
        end = window if t <= window else min(T - 1, window + -(-(t - window) // stride) * stride)
        context = ids[max(0, min(end, T - 1) - window):t]
        assert_allclose(losses[t - 1], nats(model(context[None]).numpy()[0, -1], ids[t]), rtol=1e-9)
        assert len(context) >= min(t, window - stride + 1)


@pytest.mark.parametrize("window", [1, 4, 39, None])
def test_an_lstm_has_all_of_the_text_before(window, rng):
    ids = rng.integers(0, V, 40)
    logits, _ = LSTM(ids[None])
    wanted = [nats(logits.numpy()[0, t - 1], ids[t]) for t in range(1, 40)]
    assert_allclose(token_losses(LSTM, ids, window=window), wanted, rtol=1e-9)


def test_many_rows_of_logits_are_taken_in_parts(rng, monkeypatch):
    from minillm.models import likelihood

    ids = rng.integers(0, V, 9)
    whole = token_losses(MODELS[0], ids)
    monkeypatch.setattr(likelihood, "_CHUNK", 2 * V)
    assert_allclose(token_losses(MODELS[0], ids), whole, rtol=1e-12)


@pytest.mark.parametrize(("options", "message"), [
    ({"window": 10}, r"window = 10 must be in \[1, 9\]"), ({"window": 0}, "window = 0"),
    ({"stride": 0}, r"stride = 0 must be in \[1, window = 9\]"), ({"window": 4, "stride": 5}, "stride = 5")])
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        token_losses(MODELS[0], np.zeros(20, int), **options)


@pytest.mark.parametrize("model", [*MODELS, LSTM], ids=["GPT", "Llama", "LSTM"])
@pytest.mark.parametrize("wrong", [-1, V, 99])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_ids_that_the_model_does_not_have(model, wrong, place):
    ids = [1, 2, 3]
    ids[place] = wrong
    with pytest.raises(ValueError, match=rf"^ids\[{place}\] = {wrong} is outside \[0, {V}\)$"):
        token_losses(model, ids)


@pytest.mark.parametrize(("name", "value"), [("window", 4.5), ("stride", 2.0), ("window", "4"),
                                             ("window", True)])
def test_options_that_are_no_integers(name, value):
    with pytest.raises(ValueError, match=f"^{name} = {value!r} must be an integer$"):
        token_losses(MODELS[0], [1, 2, 3], **{name: value})
    assert token_losses(MODELS[0], [1, 2, 3], window=np.int64(2)).shape == (2,)


def test_ids_that_are_no_integers():
    with pytest.raises(ValueError, match="ids must be .* not float64"):
        token_losses(MODELS[0], [1.0, 2.0])


def test_too_short_a_text_and_strides_of_an_lstm():
    with pytest.raises(ValueError, match="at least two tokens"):
        token_losses(MODELS[0], np.zeros(1, int))
    with pytest.raises(ValueError, match="leave stride out"):
        token_losses(LSTM, np.zeros(5, int), stride=2)
