"""In `batch_invariant`, what a model says about a text is the same in every batch, bit for bit."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from minillm import Tensor, batch_invariant
from minillm.autograd import no_grad
from minillm.generate import Batch, generate
from minillm.models import (
    GPT,
    GPTConfig,
    Llama,
    LlamaConfig,
    LSTMConfig,
    LSTMEncoderDecoder,
    LSTMEncoderDecoderConfig,
    LSTMLanguageModel,
    TransformerEncoderDecoder,
    TransformerEncoderDecoderConfig,
)

V, LONGEST = 131, 100
MODELS = {
    "gpt": lambda rng: GPT(GPTConfig(V, LONGEST, 2, 4, 52), rng=rng),
    "gpt, all options": lambda rng: GPT(GPTConfig(
        V, LONGEST, 2, 2, 30, norm="post", qk_norm=True, softcap=3.0, logit_softcap=2.0, bias=False),
        rng=rng),
    "llama": lambda rng: Llama(LlamaConfig(V, 2, 48, 6, 2, block_size=LONGEST), rng=rng),
    "llama, all options": lambda rng: Llama(LlamaConfig(
        V, 2, 48, 4, 1, block_size=LONGEST, tied=True, qk_norm=True, softcap=3.0, logit_softcap=2.0),
        rng=rng),
    "llama, float64": lambda rng: Llama(LlamaConfig(V, 2, 48, 6, 2, block_size=LONGEST), rng=rng,
                                        dtype=np.float64),
    "lstm": lambda rng: LSTMLanguageModel(LSTMConfig(V, 33, 60, 2), rng=rng),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    """Far from its initial values, where attention is nearly even and all texts look alike."""
    rng = np.random.default_rng(0)
    model = MODELS[request.param](rng).eval()
    for p in model.parameters():
        p.data += 0.2 * rng.standard_normal(p.shape).astype(p.dtype)
    return model


def all_logits(model, ids):
    """(B, T) -> (B, T, V), read as a whole."""
    with no_grad():
        out = model(ids)
    return (out[0] if isinstance(out, tuple) else out).numpy()


@settings(max_examples=15)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@batch_invariant()
def test_company_padding_and_pieces_do_not_matter(model, data, seed):
    """Logits of a batch padded on the left, read piece by piece with a cache: those of each text alone."""
    rng = np.random.default_rng(seed)
    B, T = data.draw(st.integers(1, 33)), data.draw(st.integers(1, LONGEST))
    start = rng.integers(0, T, B)
    ids = rng.integers(0, V, (B, T))
    first = int(rng.integers(start.max() + 1, T + 1))  # all rows begin in the first piece
    cuts = sorted({0, first, T, *rng.integers(first, T + 1, 3).tolist()})
    row = int(rng.integers(B))
    alone = all_logits(model, ids[row:row + 1, start[row]:])[0]  # (T - start, V)
    cache = model.new_cache(B, T, start)
    for a, b in pairwise(cuts):
        logits = model.next_logits(ids[:, a:b], cache).numpy()
        assert_array_equal(logits[row], alone[b - start[row] - 1], strict=True)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), B=st.integers(2, 33), T=st.integers(1, 40))
@batch_invariant()
def test_a_cache_token_by_token_is_no_cache(model, seed, B, T):
    ids = np.random.default_rng(seed).integers(0, V, (B, T))
    whole = all_logits(model, ids)
    cache = model.new_cache(B, T)
    for t in range(T):
        assert_array_equal(model.next_logits(ids[:, t:t + 1], cache).numpy(), whole[:, t], strict=True)
        assert_array_equal(all_logits(model, ids[-1:, :t + 1])[0], whole[-1, :t + 1], strict=True)


class LastBits:
    """The model with its logits' last bits for logits: what rounds differently is another text at once."""

    def __init__(self, model):
        self.model, self.max_length, self.new_cache = model, model.max_length, model.new_cache

    def next_logits(self, ids, cache):
        logits = self.model.next_logits(ids, cache).numpy()
        return Tensor((logits.view(f"u{logits.itemsize}") % 256).astype(np.float32) / 32)


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"top_p": 0.9, "temperature": 1.5},
                                      {"top_k": 40, "repetition_penalty": 1.3}], ids=str)
def test_texts_do_not_depend_on_their_batch(model, sampling):
    """Greedy and seeded: 32 prompts of unequal length at once, and each alone."""
    rng = np.random.default_rng(1)
    prompts = [rng.integers(0, V, n) for n in rng.integers(1, 60, 32)]
    with batch_invariant():
        batch = Batch(LastBits(model), prompts, 12, rng=list(range(32)), **sampling)
        for _ in batch:
            pass
        for i in range(0, 32, 5):
            alone = list(generate(LastBits(model), prompts[i], 12, rng=i, **sampling))
            assert batch.texts[i] == [*prompts[i].tolist(), *alone]


def test_it_says_what_the_ordinary_mode_says(model):
    """To rounding, gradients of all parameters included."""
    ids = np.random.default_rng(2).integers(0, V, (3, 70))
    with batch_invariant():
        inside = _logits_and_gradients(model, ids)
    for ours, theirs in zip(inside, _logits_and_gradients(model, ids), strict=True):
        size = max(1.0, float(np.abs(theirs).max()))
        assert np.abs(ours - theirs).max() < 1e3 * np.finfo(theirs.dtype).eps * size


def _logits_and_gradients(model, ids):
    model.zero_grad()
    out = model(ids)
    logits = out[0] if isinstance(out, tuple) else out
    (logits * logits).mean().backward()
    return [logits.numpy(), *(p.grad.copy() for p in model.parameters())]


# ---- a source and a target -----------------------------------------------------------------------

def lstms(rng, attention, bidirectional):
    c = LSTMEncoderDecoderConfig(V, V, 33, 60, attention=attention, bidirectional=bidirectional)
    return LSTMEncoderDecoder(c, rng=rng)


PAIRS = {
    "transformer": lambda rng: TransformerEncoderDecoder(TransformerEncoderDecoderConfig(
        V, V, n_embd=48, n_head=4, n_encoder_layer=2, n_decoder_layer=2), rng=rng),
    "lstm, dot": lambda rng: lstms(rng, "dot", bidirectional=False),
    "lstm, additive": lambda rng: lstms(rng, "additive", bidirectional=True),
}


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), B=st.integers(2, 33))
@batch_invariant()
def test_targets_do_not_depend_on_their_batch(name, seed, B):
    """An LSTM that reads padding has another product to compute, so there only sources of one length."""
    rng = np.random.default_rng(seed)
    model = PAIRS[name](rng).eval()
    S, T = rng.integers(1, 40, 2)
    lengths = rng.integers(1, S + 1, B) if name == "transformer" else np.full(B, S)
    source, target = rng.integers(0, V, (B, S)), rng.integers(0, V, (B, T))
    mask = np.arange(S) < lengths[:, None]
    with no_grad():
        together = model(source, target, mask).numpy()  # (B, T, V)
    row = int(rng.integers(B))
    reader = model.given(source[row:row + 1, :lengths[row]])
    cache = reader.new_cache(1, int(T))
    for t in range(T):
        logits = reader.next_logits(target[row:row + 1, t:t + 1], cache).numpy()
        assert_array_equal(logits[0], together[row, t], strict=True)
