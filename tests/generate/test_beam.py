"""Beam search against all sequences there are, greedy search, and transformers."""

import functools
import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.autograd import no_grad
from minillm.generate import beam_search, generate, length_divisor
from minillm.models import GPT, GPTConfig
from minillm.models.encoder_decoder import EncoderDecoder
from minillm.models.lstm_encoder_decoder import LSTMEncoderDecoderConfig
from minillm.models.transformer_encoder_decoder import TransformerEncoderDecoderConfig

alphas = st.sampled_from([-1.0, 0.0, 0.6, 1.0, 2.0])
normalisations = st.sampled_from(["power", "gnmt"])


def log_p(model, text):
    x = model.scores(text)
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def everything(model, prompt, n, eos, divisor):
    """(score, ids) of each text that ends in `eos` or has n tokens, the best first."""
    found = []
    for length in range(1, n + 1):
        for ids in itertools.product(range(model.V), repeat=length):
            if set(ids[:-1]) & eos or (length < n and ids[-1] not in eos):
                continue
            total = sum(log_p(model, [*prompt, *ids[:i]])[token] for i, token in enumerate(ids))
            found.append((total / divisor(length), list(ids)))
    return sorted(found, key=lambda one: -one[0])


@settings(max_examples=40)
@given(V=st.integers(2, 4), n=st.integers(1, 4), eos=st.sets(st.integers(0, 3), max_size=2), alpha=alphas,
       kind=normalisations, seed=st.integers(0, 999), scale=st.sampled_from([0.3, 1.0, 4.0]))
def test_wide_enough_it_finds_the_best_texts_of_all(fake, V, n, eos, alpha, kind, seed, scale):
    model = fake(V, seed, scale)
    divisor = functools.partial(length_divisor, alpha=alpha, normalisation=kind)
    best = everything(model, [1], n, eos, divisor)
    k = min(5, len(best))
    found = beam_search(model, [1], n, n_beams=V ** n, n_best=min(5, V ** n), eos=eos, length_penalty=alpha,
                        normalisation=kind)
    assert [h.ids for h in found] == [ids for _, ids in best[:k]]
    np.testing.assert_allclose([h.score for h in found], [score for score, _ in best[:k]], rtol=1e-9)
    for h in found:
        assert h.score == h.log_p / divisor(len(h.ids))
        assert h.reason == ("eos" if h.ids[-1] in eos else "length")


@settings(max_examples=200)
@given(V=st.integers(2, 5), n=st.integers(1, 9), eos=st.sets(st.integers(0, 4), max_size=2), alpha=alphas,
       seed=st.integers(0, 999), forbidden=st.sets(st.integers(0, 1), max_size=1), early=st.booleans())
def test_one_beam_is_greedy_search(fake, V, n, eos, alpha, seed, forbidden, early):
    model = fake(V, seed, 0.7)
    found, = beam_search(model, [1, 0], n, n_beams=1, eos=eos, length_penalty=alpha, forbidden=forbidden,
                         early_stopping=early)
    assert found.ids == list(generate(model, [1, 0], n, temperature=0, eos=eos, forbidden=forbidden))


def patient(model, prompt, n, n_beams, eos, divisor):
    """The definition, which always goes on to the end: (score, ids) of the best texts."""
    beams, found = [(0.0, [])], []
    for length in range(1, n + 1):
        ranked = sorted(((total + step, [*ids, token]) for total, ids in beams
                         for token, step in enumerate(log_p(model, [*prompt, *ids]))), key=lambda b: -b[0])
        ends = [length == n or ids[-1] in eos for _, ids in ranked]
        found += [(total / divisor(length), ids)
                  for (total, ids), ended in zip(ranked[:n_beams], ends) if ended]
        beams = [beam for beam, ended in zip(ranked, ends) if not ended][:n_beams]
    return sorted(found, key=lambda b: -b[0])[:n_beams]


@settings(max_examples=200)
@given(V=st.integers(3, 6), n=st.integers(2, 7), n_beams=st.integers(2, 4), alpha=alphas, kind=normalisations,
       eos=st.sets(st.integers(0, 3), min_size=1, max_size=2), seed=st.integers(0, 999),
       scale=st.sampled_from([0.3, 1.0, 4.0]))
def test_it_ends_no_sooner_than_nothing_can_change(fake, V, n, n_beams, alpha, kind, eos, seed, scale):
    model = fake(V, seed, scale)
    divisor = functools.partial(length_divisor, alpha=alpha, normalisation=kind)
    wanted = patient(model, [1], n, n_beams, eos, divisor)
    found = beam_search(model, [1], n, n_beams=n_beams, n_best=n_beams, eos=eos, length_penalty=alpha,
                        normalisation=kind)
    assert [h.ids for h in found] == [ids for _, ids in wanted]


@given(n_beams=st.integers(1, 6), n=st.integers(1, 8), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_the_probability_is_that_of_the_ids(fake, n_beams, n, seed):
    """Whatever the beams' order: a cache that was mixed up would show."""
    model = fake(6, seed, 1.0)
    found = beam_search(model, [1], n, n_beams=n_beams, n_best=n_beams, eos=[0])
    assert len(found) == len({tuple(h.ids) for h in found})
    for h in found:
        total = sum(log_p(model, [1, *h.ids[:i]])[token] for i, token in enumerate(h.ids))
        assert h.log_p == pytest.approx(total, rel=1e-9)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_early_stopping_is_content_with_the_first_that_end(fake):
    """Whichever ends first; without it, the longer and better one is found."""
    tables = {(0,): [-9, 0.5, 0], (0, 1): [-9, 5, -9], (0, 2): [-9, -9, 9]}
    model = fake(3)
    model._scores = lambda text: np.array(tables.get(text, [-9.0, 0.0, 9.0]), float)
    early, = beam_search(model, [0], 6, n_beams=2, eos=[1], early_stopping=True, length_penalty=2)
    late, = beam_search(model, [0], 6, n_beams=2, eos=[1], length_penalty=2)
    assert early.ids == [1]
    assert late.ids == [2] * 6
    assert late.score > early.score


def test_a_penalty_below_zero_hopes_for_the_next_token(fake):
    """There the shortest text that is left may be the best: n_tokens says nothing about it."""
    model = fake(3)
    shares = {(1,): [0.4, 1e-9, 0.6], (1, 2): [0.05, 1e-9, 0.95], (1, 2, 2): [0.9, 1e-9, 0.1]}
    model._scores = lambda text: np.log(shares.get(text, [0.1, 0.1, 0.8]))
    found = beam_search(model, [1], 40, n_beams=2, n_best=2, eos=[0], length_penalty=-1)
    assert [h.ids for h in found] == [[0], [2, 2, 0]]


def test_a_search_that_cannot_improve_ends(fake):
    model = fake(3)
    model._scores = lambda text: np.array([9.0, 0.0, 0.0])
    found, = beam_search(model, [1], 50, n_beams=2, eos=[0], length_penalty=0)
    assert found.ids == [0]
    assert len(model.read) == 2


def test_tokens_with_no_probability_are_not_used(fake):
    model = fake(4)
    model._scores = lambda text: np.array([-np.inf, 1.0, -np.inf, -np.inf])
    found = beam_search(model, [1], 3, n_beams=4, n_best=4)
    assert [h.ids for h in found] == [[1, 1, 1]]
    assert found[0].log_p == 0


def test_forbidden_ids_leave_their_share_to_the_others(fake):
    model = fake(5, 3)
    found, = beam_search(model, [1], 3, n_beams=3, forbidden=[0, 4])
    assert not {0, 4} & set(found.ids)
    x = model.scores([1])[1:4]
    first = beam_search(model, [1], 1, n_beams=3, n_best=3, forbidden=[0, 4])
    assert sum(np.exp(h.log_p) for h in first) == pytest.approx(1)
    assert first[0].log_p == pytest.approx(x.max() - np.log(np.exp(x).sum()))


def test_the_gnmt_penalty_is_that_of_the_paper():
    assert length_divisor(1, 0.6, "gnmt") == 1
    assert length_divisor(7, 0.6, "gnmt") == pytest.approx(2 ** 0.6)
    assert length_divisor(9, 0.5) == pytest.approx(3)


@settings(max_examples=15)
@given(n_beams=st.integers(2, 5), n=st.integers(1, 12), alpha=st.sampled_from([0.0, 0.7, 1.0, 2.0]),
       early=st.booleans(), n_eos=st.integers(0, 2), seed=st.integers(0, 2**32 - 1))
def test_the_texts_are_those_of_transformers(transformers, n_beams, n, alpha, early, n_eos, seed):
    ours, theirs = both(transformers, GPTConfig(17, 24, 2, 2, 8), seed % 7)
    rng = np.random.default_rng(seed)
    prompt, eos = rng.integers(0, 17, 4), rng.choice(17, n_eos, replace=False).tolist()
    with torch.no_grad():
        wanted = theirs.generate(
            torch.from_numpy(prompt)[None], num_beams=n_beams, num_return_sequences=n_beams,
            max_new_tokens=n, length_penalty=alpha, early_stopping=True if early else "never",
            eos_token_id=eos or None, pad_token_id=99, do_sample=False, return_dict_in_generate=True,
            output_scores=True, attention_mask=torch.ones(1, 4, dtype=torch.long))
    texts = [[i for i in row[4:].tolist() if i != 99] for row in wanted.sequences]
    found = beam_search(ours, prompt, n, n_beams=n_beams, n_best=n_beams, eos=eos, length_penalty=alpha,
                        early_stopping=early)
    np.testing.assert_allclose([h.score for h in found], wanted.sequences_scores.numpy(), atol=1e-4)
    assert [h.ids for h in found] == texts


@pytest.mark.parametrize("config", [
    TransformerEncoderDecoderConfig(9, 6, 16, 1, 2, 8, 2), LSTMEncoderDecoderConfig(9, 6, 5, 8)],
    ids=["transformer", "lstm"])
def test_a_source_is_given(config):
    """Beams share the source's row; each probability is that of reading source and text at once."""
    model = EncoderDecoder.of(config, rng=np.random.default_rng(2), dtype=np.float64)
    for p in model.parameters():
        p.data *= 3
    model.eval()
    source = np.array([[3, 1, 4, 1, 5]])
    found = beam_search(model.given(source), [1], 7, n_beams=4, n_best=4, eos=[0])
    assert len({tuple(h.ids) for h in found}) == 4
    for h in found:
        with no_grad():
            x = model(source, np.array([[1, *h.ids[:-1]]])).data[0]  # (T, V)
        x = x - x.max(axis=-1, keepdims=True)
        total = (x - np.log(np.exp(x).sum(axis=-1, keepdims=True)))[np.arange(len(h.ids)), h.ids].sum()
        assert h.log_p == pytest.approx(total, rel=1e-9)
    greedy, = beam_search(model.given(source), [1], 7, n_beams=1, eos=[0])
    assert greedy.ids == list(generate(model.given(source), [1], 7, temperature=0, eos=[0]))


@functools.cache
def both(transformers, config, seed):
    """A GPT, and Hugging Face's with the same parameters."""
    rng = np.random.default_rng(seed)
    ours = GPT(config, rng=rng)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=config.vocab_size, n_positions=config.block_size, n_layer=config.n_layer,
        n_head=config.n_head, n_embd=config.n_embd, layer_norm_epsilon=config.norm_eps,
        bos_token_id=None, eos_token_id=None)).eval()
    names = {"tokens": "wte", "positions": "wpe", "norm": "ln_f", "norm1": "ln_1", "attention": "attn",
             "qkv": "c_attn", "norm2": "ln_2", "up": "c_fc", "down": "c_proj", "output": "c_proj",
             "blocks": "h"}
    state = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        p.data += 0.3 * rng.standard_normal(p.shape).astype(np.float32)
        with torch.no_grad():
            state["transformer." + ".".join(names.get(part, part) for part in name.split("."))].copy_(
                torch.from_numpy(p.data))
    return ours, theirs


@pytest.mark.parametrize(("options", "message"), [
    ({"n_beams": 0}, "n_beams = 0 must be at least 1"),
    ({"n_tokens": 0}, "n_tokens = 0 must be at least 1"),
    ({"n_best": 3, "n_beams": 2}, "n_best = 3 must be at most n_beams = 2"),
    ({"length_penalty": np.nan}, "length_penalty = nan must be finite"),
    ({"length_penalty": 1000.0}, "length_penalty = 1000.0 is too far from 0 for 3 tokens: it must be in "
                                 "[-364.1, 364.1]"),
    ({"length_penalty": -2000.0}, "length_penalty = -2000.0 is too far from 0 for 3 tokens: it must be in "
                                  "[-364.1, 364.1]"),
    ({"length_penalty": 2000.0, "normalisation": "gnmt"},
     "length_penalty = 2000.0 is too far from 0 for 3 tokens: it must be in [-1390, 1390]"),
    ({"normalisation": "log"}, "normalisation = 'log' must be 'power' or 'gnmt'"),
    ({"prompt": []}, "the prompt is empty: give at least one token"),
    ({"n_tokens": 8}, "a prompt of 2 and n_tokens = 8 are too long for the model's max_length = 8: at most "
                      "7 fit behind this prompt"),
    ({"forbidden": range(4)}, "no token is left: every logit is -inf or forbidden"),
    ({"forbidden": [4]}, "forbidden id 4 is outside [0, 4)")], ids=str)
def test_a_mistake_gets_one_clear_line(fake, options, message):
    call = {"prompt": [1, 2], "n_tokens": 3, **options}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        beam_search(fake(4, max_length=8), **call)


@pytest.mark.parametrize("alpha", [-364.0, 364.0])
@pytest.mark.parametrize("early", [True, False])
def test_the_largest_penalties_still_rank(fake, alpha, early):
    found = beam_search(fake(4), [1], 3, n_beams=3, n_best=3, eos=[0], length_penalty=alpha,
                        early_stopping=early)
    assert all(np.isfinite(h.score) and h.score < 0 for h in found)
    assert beam_search(fake(4), [1], 1, length_penalty=1e9)[0].score < 0  # 1 to any power


def test_a_score_that_is_no_number_is_named(fake):
    model = fake(3)
    model._scores = lambda text: np.array([0.0, np.nan, 0.0])
    with pytest.raises(ValueError, match=re.escape("logits[0, 1] = nan must be a number below infinity")):
        beam_search(model, [1], 3)
