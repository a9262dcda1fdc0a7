"""Batches of unequal prompts: each row is what it would be alone, and costs nothing once it has ended."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.autograd import no_grad
from minillm.generate import Batch, generate, next_token_distribution
from minillm.models import (
    EncoderDecoder,
    LSTMConfig,
    LSTMEncoderDecoderConfig,
    LSTMLanguageModel,
    TransformerEncoderDecoderConfig,
)

prompts_of = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=6), min_size=1, max_size=5)
OPTIONS = [{}, {"temperature": 0}, {"temperature": 0.7, "top_k": 4}, {"top_p": 0.9, "forbidden": [3]},
           {"temperature": 0, "repetition_penalty": 1.7}, {"min_p": 0.1, "repetition_penalty": 1.2}]
each_option = pytest.mark.parametrize("options", OPTIONS, ids=str)


def by_hand(model, prompt, n, rng, *, eos=(), **options):
    """One row, all of it read again for each token, and drawn by the definition."""
    ids = list(prompt)
    for _ in range(n):
        x = model.scores(ids)
        seen = np.isin(np.arange(len(x)), ids)
        p = next_token_distribution(x, seen=seen, **options)
        greedy = options.get("temperature") == 0
        ids.append(int(p.argmax()) if greedy else int((rng.random() * p.cumsum()[-1] >= p.cumsum()).sum()))
        if ids[-1] in eos:
            break
    return ids[len(prompt):]


@each_option
@settings(max_examples=25)
@given(prompts=prompts_of, n=st.integers(1, 8), eos=st.sets(st.integers(0, 6), max_size=2),
       seed=st.integers(0, 99))
def test_each_row_is_what_it_would_be_alone(fake, options, prompts, n, eos, seed):
    model = fake(7, seed)
    batch = Batch(model, prompts, n, rng=range(len(prompts)), eos=eos, **options)
    drawn = [[] for _ in prompts]
    for row, token in batch:
        drawn[row].append(token)
    for row, prompt in enumerate(prompts):
        assert drawn[row] == by_hand(model, prompt, n, child(row), eos=eos, **options)
        assert drawn[row] == list(generate(model, prompt, n, rng=row, eos=eos, **options))
        assert batch.texts[row] == prompt + drawn[row]
        assert batch.reasons[row] == ("eos" if drawn[row][-1] in eos else "length")


def child(seed, i=0):
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(i,))))


def test_one_seed_gives_each_row_its_own_numbers(fake):
    model = fake(7, scale=0.1)
    batch = Batch(model, [[1], [1], [1]], 20, rng=5)
    list(batch)
    texts = [text[1:] for text in batch.texts]
    assert texts == [by_hand(model, [1], 20, child(5, i)) for i in range(3)]
    assert len({tuple(text) for text in texts}) == 3
    again = Batch(model, [[1], [1], [1]], 20, rng=6)
    list(again)
    assert again.texts != batch.texts


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_rows_that_have_ended_cost_nothing(fake, order):
    model = fake(5)
    wanted = [2, 5, 9]
    batch = Batch(model, [[i, i] for i in range(3)], 9, temperature=0)
    counts = [0, 0, 0]
    for row, _ in batch:
        counts[row] += 1
        if counts[row] == wanted[order[row]]:
            batch.stop(row)
    assert model.read == [(3, 2)] + [(3, 1)] + [(2, 1)] * 3 + [(1, 1)] * 4
    assert counts == [wanted[i] for i in order]
    assert batch.reasons == ["stop" if n < 9 else "length" for n in counts]
    assert not batch.step()


def test_each_token_is_read_once_behind_left_padding(fake):
    model = fake(9)
    list(Batch(model, [[1, 2, 3], [4]], 4))
    assert model.read == [(2, 3), (2, 1), (2, 1), (2, 1)]
    assert model.room == [3 + 4 - 1], "the last token is not read"


def test_tokens_come_one_at_a_time(fake):
    model = fake(9)
    tokens = generate(model, [1], 10**9)
    assert len([next(tokens) for _ in range(3)]) == 3
    assert len(model.read) == 3


def test_a_generator_may_be_given(fake):
    model = fake(9, scale=0.5)
    a, b = (list(generate(model, [1], 9, rng=np.random.default_rng(3))) for _ in range(2))
    assert a == b == by_hand(model, [1], 9, np.random.default_rng(3))


# ---- texts longer than the model can read --------------------------------------------------------


def test_up_to_max_length_all_is_read(fake):
    model = fake(7, max_length=6)
    assert len(list(generate(model, [1, 2, 3], 4))) == 4  # the last one is not read: 3 + 3 positions
    message = ("a prompt of 3 and n_tokens = 5 are too long for the model's max_length = 6: at most 4 fit "
               "behind this prompt (or window=True)")
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        generate(model, [1, 2, 3], 5)
    with pytest.raises(ValueError, match="at most 0 fit"):
        generate(model, range(8), 1)


@settings(max_examples=60)
@given(prompts=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=12), min_size=1, max_size=4),
       n=st.integers(1, 30), limit=st.integers(1, 9), seed=st.integers(0, 99),
       eos=st.sets(st.integers(0, 6), max_size=1))
def test_the_window_slides_by_half_whatever_the_company(fake, prompts, n, limit, seed, eos):
    model = fake(7, seed, max_length=limit)
    batch = Batch(model, prompts, n, rng=range(len(prompts)), window=True, eos=eos)
    list(batch)
    for row, prompt in enumerate(prompts):
        ids, rng = list(prompt), child(row)
        begin = max(0, len(ids) - limit)
        for _ in range(n):
            if len(ids) - begin > limit:
                begin = len(ids) - max(1, limit // 2)
            p = next_token_distribution(model.scores(ids[begin:]))
            ids.append(int((rng.random() * p.cumsum()[-1] >= p.cumsum()).sum()))
            if ids[-1] in eos:
                break
        assert batch.texts[row] == ids


def translator(kind, rng):
    config = (TransformerEncoderDecoderConfig(9, 9, 12, 1, 1, 8, 2) if kind == "transformer"
              else LSTMEncoderDecoderConfig(9, 9, 8, 8))
    model = EncoderDecoder.of(config, rng=rng).eval()
    for p in model.parameters():
        p.data += 0.5 * rng.standard_normal(p.shape).astype(np.float32)
    return model


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_a_target_is_never_cut_off_from_its_beginning(kind, rng):
    """Rows end one after the other: where a text would outgrow the model, that is said before the first."""
    given_three = translator(kind, rng).given(rng.integers(0, 9, (3, 5)))
    if kind == "transformer":
        message = ("a prompt of 1 and n_tokens = 30 are too long for the model's max_length = 12: at most 12 "
                   "fit behind this prompt (window=True is not for an encoder-decoder)")
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            Batch(given_three, [[1]] * 3, 30, eos=[3], window=True)
        with pytest.raises(ValueError, match="at most 12 fit behind this prompt$"):
            Batch(given_three, [[1]] * 3, 30, eos=[3])
    for window in (True, False):
        batch = Batch(given_three, [[1]] * 3, 12, rng=3, eos=[3, 4], window=window)
        assert len({row for row, _ in batch}) == 3
        assert len(set(map(len, batch.texts))) > 1


def test_a_window_is_not_used_where_the_text_fits(fake):
    model = fake(7, max_length=100)
    list(generate(model, [1], 10, window=True))
    assert model.room == [10]


# ---- with a real model ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lstm():
    rng = np.random.default_rng(7)
    config = LSTMConfig(vocab_size=9, embedding_dim=5, hidden_dim=6, num_layers=2, dropout=0.3)
    made = LSTMLanguageModel(config, rng=rng, dtype=np.float64)
    for p in made.parameters():
        p.data *= 3  # so that what came before matters
    made.eval()
    return made


@each_option
def test_the_carried_state_equals_reading_everything_again(lstm, options):
    def scores(ids):
        with no_grad():
            return lstm(np.array([ids]))[0].data[0, -1]

    model = type("Whole", (), {"scores": staticmethod(scores)})
    prompts = [[1, 4, 4, 2], [3], [0, 8]]
    batch = Batch(lstm, prompts, 25, rng=[3, 4, 5], **options)
    list(batch)
    for row, prompt in enumerate(prompts):
        assert batch.texts[row][len(prompt):] == by_hand(model, prompt, 25, child(3 + row), **options)
    assert all(p.grad is None for p in lstm.parameters())


# ---- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prompts", "options", "message"), [
    ([], {}, "there is no prompt: give at least one"),
    ([[]], {}, "the prompt is empty: give at least one token"),
    ([[1], []], {}, "prompts[1] is empty: give at least one token"),
    ([[1], [0.5]], {}, "prompts[1] must be (T,) integers, not float64 of shape (1,)"),
    ([[[1]]], {}, "the prompt must be (T,) integers, not int64 of shape (1, 1)"),
    ([[1]], {"n_tokens": 0}, "n_tokens = 0 must be at least 1"),
    ([[1]], {"top_k": -1}, "top_k = -1 must be at least 1"),
    ([[1]], {"rng": [1, 2]},
     "rng has 2 seeds or generators, the batch 1 rows: give one for each, or a single seed")], ids=str)
def test_a_mistake_gets_one_clear_line_before_anything_is_read(fake, prompts, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Batch(fake(4), prompts, **{"n_tokens": 3, **options})
