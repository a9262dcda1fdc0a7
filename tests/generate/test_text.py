"""From prompts to texts, and why they end."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.autograd import no_grad
from minillm.errors import UserError
from minillm.generate import Batch, Generated, beam_search, generate, generate_text, stream_text
from minillm.generate.text import encode_prompt, end_ids
from minillm.models import GPT, GPTConfig, Llama, LlamaConfig, load_smollm2
from minillm.text import BPETokenizer, ByteTokenizer, CharTokenizer

CHARS = CharTokenizer("abcd")


def writes(fake, script, tokenizer=CHARS):
    """A model that goes on after each prompt as the script says, whatever the temperature."""
    ids = {prompt: tokenizer.encode(prompt + rest).tolist() for prompt, rest in script.items()}
    model = fake(tokenizer.vocab_size)

    def scores(text):
        whole = next(whole for whole in ids.values() if whole[:len(text)] == list(text))
        return np.where(np.arange(tokenizer.vocab_size) == whole[len(text)], 0.0, -np.inf)

    model._scores = scores
    return model


def test_texts_and_why_they_end(fake):
    tokenizer = ByteTokenizer(["<|endoftext|>", "<|other|>"])
    script = {"a": "bcd<|other|>efghijkl", "bc": "é<|endoftext|>b", "c": "xx你stop it"}
    model = writes(fake, script, tokenizer)
    found = generate_text(model, tokenizer, ["a", "bc", "c"], 11, stop=["stop", "never"])
    assert found == [
        Generated("bcdefghijk", "length", [*b"bcd", 257, *b"efghijk"]),
        Generated("é", "eos", [*"é".encode(), 256]),
        Generated("xx你", "stop", list("xx你stop".encode()))]


def test_the_longest_text(fake):
    model = writes(fake, {"a": "bcdabcdabcd"})
    assert generate_text(model, CHARS, "a", 4) == [Generated("bcda", "length", [2, 3, 4, 1])]


def test_a_stop_string_that_is_half_there_at_the_end_is_text(fake):
    model = writes(fake, {"a": "bcdabcda"})
    one, = generate_text(model, CHARS, ["a"], 4, stop="ab")
    assert (one.text, one.reason) == ("bcda", "length")
    one, = generate_text(model, CHARS, ["a"], 5, stop="ab")
    assert (one.text, one.reason, len(one.ids)) == ("bcd", "stop", 5)


def test_pieces_come_token_by_token_and_alternate(fake):
    model = writes(fake, {"a": "bcdabcda", "b": "ccccccccc"})
    pieces = [(p.row, p.text, p.reason) for p in stream_text(model, CHARS, ["a", "b"], 5, stop=["da"])]
    assert pieces == [(0, "b", None), (1, "c", None), (0, "c", None), (1, "c", None), (0, "", None),
                      (1, "c", None), (0, "", "stop"), (1, "c", None), (1, "c", "length")]
    assert model.read[-1] == (1, 1), "the row that has ended is read no more"


def test_end_tokens_are_found_by_their_names_and_may_be_given(fake):
    tokenizer = ByteTokenizer(["<|endoftext|>", "<|im_end|>", "<|im_start|>"])
    assert end_ids(tokenizer) == {256, 257}
    assert end_ids(CHARS) == set()
    model = writes(fake, {"a": "bc<|im_end|>de"}, tokenizer)
    texts = [generate_text(model, tokenizer, "a", 4, eos=eos)[0] for eos in (None, (), [ord("c")])]
    assert [(t.text, t.reason) for t in texts] == [("bc", "eos"), ("bcd", "length"), ("bc", "eos")]


def marked(**marks):
    base = BPETokenizer.train("abcd", vocab_size=260, special_tokens=["<s>", "<|endoftext|>", "<|stop|>"])
    return base.marked(**marks)


def test_prompts_begin_with_what_texts_began_with_in_training(fake):
    tokenizer = marked(prefix=[0, 2], suffix=[1])
    ids = tokenizer.encode("ab").tolist()
    assert encode_prompt(tokenizer, "ab").tolist() == [0, 2, *ids]
    assert encode_prompt(tokenizer, "<s><|stop|>ab").tolist() == [0, 2, *ids], "once is enough"
    assert encode_prompt(tokenizer, "<s>ab").tolist() == [0, 2, 0, *ids]
    assert encode_prompt(tokenizer, "").tolist() == [0, 2]
    assert encode_prompt(tokenizer, "ab").dtype == np.int64
    model = fake(tokenizer.vocab_size)
    generate_text(model, tokenizer, "ab", 1)
    assert model.read == [(1, 2 + len(ids))]


def test_an_empty_prompt_is_the_begin_token():
    assert encode_prompt(marked(bos_id=2), "").tolist() == [2]
    assert encode_prompt(marked(bos_id=2), "a").tolist() == marked().encode("a").tolist()
    assert encode_prompt(marked(), "").tolist() == [1], "by its name"
    with pytest.raises(ValueError, match="the prompt is empty"):
        encode_prompt(ByteTokenizer(), "")


def test_end_tokens_of_the_models_files_come_before_those_by_name(fake):
    assert end_ids(marked()) == {1}
    tokenizer = marked(eos_ids=[2])
    assert end_ids(tokenizer) == {2}
    model = writes(fake, {"a": "b<|endoftext|>c<|stop|>d"}, tokenizer)
    one, = generate_text(model, tokenizer, "a", 9)
    assert (one.text, one.reason) == ("bc", "eos")


def test_a_special_token_among_the_stop_strings(fake):
    tokenizer = marked()
    model = writes(fake, {"a": "bc<|stop|>dd"}, tokenizer)
    one, = generate_text(model, tokenizer, "a", 5, stop="<|stop|>")
    assert (one.text, one.reason, one.ids[-1]) == ("bc", "stop", 2)


def test_ids_without_a_text_are_never_drawn(fake):
    class Padded(fake):
        config = type("Config", (), {"vocab_size": 9})

    model = Padded(9, scale=0.01)
    one, = generate_text(model, CHARS, "a", 200, forbidden=[2])
    assert set(one.ids) == {1, 3, 4}
    assert not set(one.text) - set("acd")


@settings(max_examples=20)
@given(st.lists(st.text("abcd", min_size=1, max_size=5), min_size=1, max_size=4), st.integers(0, 99))
def test_the_same_seed_gives_the_same_text_in_any_company(fake, prompts, seed):
    model = fake(5, seed, 1.0)
    texts = generate_text(model, CHARS, prompts, 9, stop=["ab"], rng=range(len(prompts)))
    for i, prompt in enumerate(prompts):
        assert generate_text(model, CHARS, prompt, 9, stop=["ab"], rng=i) == [texts[i]]


@pytest.mark.parametrize(("prompts", "message"), [
    ("", "the prompt is empty: give at least one character"),
    (["a", "ax"], "the model never saw 'x': use a prompt of characters from its text"),
    ([], "there is no prompt: give at least one")])
def test_prompts_that_do_not_fit(fake, prompts, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        stream_text(fake(5), CHARS, prompts, 3)


# ---- real models: a cache changes nothing --------------------------------------------------------


def gpt(rng):
    return GPT(GPTConfig(300, 24, 2, 2, 16), rng=rng, dtype=np.float64)


def llama(rng):
    return Llama(LlamaConfig(300, 2, 16, 4, n_kv_head=2, block_size=24), rng=rng, dtype=np.float64)


@pytest.fixture(scope="module", params=[gpt, llama], ids=["GPT", "Llama"])
def model(request):
    rng = np.random.default_rng(3)
    made = request.param(rng)
    for p in made.parameters():
        p.data += 0.3 * rng.standard_normal(p.shape)
    return made.eval()


def reread(model, ids, n):
    """Greedy search that reads everything again for each token."""
    ids = list(ids)
    for _ in range(n):
        with no_grad():
            ids.append(int(model(np.array([ids])).data[0, -1].argmax()))
    return ids[-n:]


def test_greedy_search_with_a_cache_is_greedy_search_without(model):
    tokenizer = BPETokenizer.train("the cat sat on the mat. " * 9, vocab_size=280)
    prompts = ["the cat", "a", "on the mat: 你"]
    ids = [tokenizer.encode(prompt) for prompt in prompts]
    batch = Batch(model, ids, 9, temperature=0)
    list(batch)
    for prompt, text in zip(ids, batch.texts, strict=True):
        assert text[len(prompt):] == reread(model, prompt, 9)
        assert text[len(prompt):] == list(generate(model, prompt, 9, temperature=0))
        assert text[len(prompt):] == beam_search(model, prompt, 9, n_beams=1)[0].ids


def test_the_window_reads_the_last_half_again(model):
    prompt = np.arange(20)
    found = list(generate(model, prompt, 12, temperature=0, window=True))
    first = reread(model, prompt, 5)  # 24 positions are read
    assert found[:5] == first
    assert found[5:] == reread(model, [*prompt, *first][-12:], 7)


@pytest.mark.slow
def test_smollm2_answers_alone_and_in_company():
    try:
        model, tokenizer = load_smollm2()
    except UserError as error:
        pytest.skip(str(error))
    prompts = ["The capital of France is", "1, 2, 3, 4,", "Roses are red,\nviolets are"]
    found = generate_text(model, tokenizer, prompts, 6, temperature=0, stop=["\n"])
    assert (found[0].text, found[0].reason) == (" Paris.", "stop")
    assert found[1].text.startswith(" 5, 6")
    for prompt, one in zip(prompts, found, strict=True):
        assert generate_text(model, tokenizer, prompt, 6, temperature=0, stop="\n") == [one]
    best, = beam_search(model, tokenizer.encode(prompts[0]), 2, n_beams=3, eos=end_ids(tokenizer))
    assert tokenizer.decode(best.ids) == " Paris."
