"""Reading on with a cache equals reading all again, whatever the pieces and the padding."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minillm.autograd import no_grad
from minillm.models import (
    GPT,
    EncoderDecoder,
    GPTConfig,
    Llama,
    LlamaConfig,
    LSTMConfig,
    LSTMEncoderDecoderConfig,
    LSTMLanguageModel,
    TransformerEncoderDecoderConfig,
)

V = 13
MODELS = {
    "gpt": lambda rng: GPT(GPTConfig(V, 24, 2, 2, 8), rng=rng),
    "gpt, all options": lambda rng: GPT(GPTConfig(V, 24, 2, 2, 8, norm="post", qk_norm=True, softcap=3.0,
                                                  logit_softcap=2.0, bias=False), rng=rng),
    "llama": lambda rng: Llama(LlamaConfig(V, 2, 16, 4, 2, block_size=24), rng=rng),
    "llama, all options": lambda rng: Llama(LlamaConfig(
        V, 2, 16, 4, 1, block_size=24, tied=True, qk_norm=True, softcap=3.0, logit_softcap=2.0), rng=rng),
    "lstm": lambda rng: LSTMLanguageModel(LSTMConfig(V, 6, 8, 2), rng=rng),
}


def model_of(name, seed=0):
    rng = np.random.default_rng(seed)
    model = MODELS[name](rng).eval()
    for p in model.parameters():
        p.data += 0.3 * rng.standard_normal(p.shape).astype(p.dtype)
    return model


def last_logits(model, ids):
    """Of one text, read as a whole: (T,) -> (V,)."""
    with no_grad():
        out = model(ids[None])
    return (out[0] if isinstance(out, tuple) else out).numpy()[0, -1]


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data(), seed=st.integers(0, 2**16))
def test_pieces_and_padding_do_not_matter(name, data, seed):
    model, rng = model_of(name, seed), np.random.default_rng(seed)
    B, T = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 20))
    start = rng.integers(0, T, B)
    start[rng.integers(B)] = 0
    ids = rng.integers(0, V, (B, T))
    first = data.draw(st.integers(int(start.max()) + 1, T))  # all rows begin in the first piece
    cuts = [0, first, *sorted(data.draw(st.sets(st.integers(first, T)))), T]
    cache = model.new_cache(B, 22, start)
    for a, b in pairwise(cuts):
        if a < b:
            logits = model.next_logits(ids[:, a:b], cache)
            assert logits.shape == (B, V)
            assert cache.length == b
            assert not logits.requires_grad
            for row in range(B):
                assert_allclose(logits.numpy()[row], last_logits(model, ids[row, start[row]:b]), atol=2e-5,
                                rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_rows_taken_go_on_as_themselves(name):
    model, rng = model_of(name), np.random.default_rng(1)
    ids = rng.integers(0, V, (3, 6))
    start = np.array([0, 3, 1])
    cache = model.new_cache(3, 10, start)
    model.next_logits(ids[:, :5], cache)
    rows = [2, 2, 1]
    cache.take(rows)
    logits = model.next_logits(ids[rows, 5:], cache).numpy()
    for logit, row in zip(logits, rows, strict=True):
        assert_allclose(logit, last_logits(model, ids[row, start[row]:]), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "lstm"])  # which takes no mask
def test_a_mask_does_what_a_cache_with_starts_does(name):
    model, rng = model_of(name), np.random.default_rng(1)
    ids, start = rng.integers(0, V, (2, 7)), np.array([0, 3])
    wanted = model.next_logits(ids, model.new_cache(2, 7, start)).numpy()
    assert_allclose(model(ids, np.arange(7) >= start[:, None]).numpy()[:, -1], wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["gpt", "llama"])
def test_a_cache_is_no_longer_than_the_model_can_read(name):
    with pytest.raises(ValueError, match="max_length = 25 is beyond the model's block_size = 24"):
        model_of(name).new_cache(1, 25)


@pytest.mark.parametrize("name", MODELS)
def test_ids_of_another_batch_are_refused_and_nothing_is_read(name):
    model = model_of(name)
    cache = model.new_cache(2, 8)
    with pytest.raises(ValueError, match=r"ids must be \(2, T\)"):
        model.next_logits(np.zeros((3, 1), int), cache)
    assert cache.length == 0


@pytest.mark.parametrize("name", [*MODELS, "lstm to lstm", "transformer"])
def test_a_row_of_padding_alone_has_no_next_token(name):
    """The same for all: refused, with nothing read; once the row has begun, as if it had been read whole."""
    ids, start = np.random.default_rng(1).integers(0, V, (2, 5)), [0, 3]
    if name in MODELS:
        model = model_of(name)
    else:
        kind = LSTMEncoderDecoderConfig if name == "lstm to lstm" else TransformerEncoderDecoderConfig
        options = {} if name == "lstm to lstm" else {"n_embd": 8, "n_head": 2}
        model = EncoderDecoder.of(kind(V, V, **options)).eval().given(ids)
    cache = model.new_cache(2, 8, start)
    for end in (1, 3):
        with pytest.raises(ValueError, match="row 1 is all padding so far: give it a token"):
            model.next_logits(ids[:, :end], cache)
    assert cache.length == 0
    again = model.next_logits(ids, cache).numpy()
    assert_allclose(again, model.next_logits(ids, model.new_cache(2, 8, start)).numpy(), atol=1e-6)
