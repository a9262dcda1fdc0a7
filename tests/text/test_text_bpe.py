import importlib
import json
import os
import random
import time
import unicodedata
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minillm.errors import UserError
from minillm.text import (
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    StreamDecoder,
    pretokenize,
    tokenizer_from_json,
)
from minillm.text.bpe_merge import _merge_long, _merge_short
from minillm.text.bpe_training import count_chunks
from minillm.text.byte_alphabet import byte_alphabet, from_alphabet, text_bytes, to_alphabet
from minillm.text.pretokenize import PATTERNS, PRE_TOKENIZERS


def peer(name):
    """The package that is compared with, or None; in CI it must be there."""
    try:
        return importlib.import_module(name)
    except ImportError:
        if os.environ.get("CI"):
            raise
        return None


tokenizers, regex = peer("tokenizers"), peer("regex")
needs_tokenizers = pytest.mark.skipif(tokenizers is None, reason="needs `pip install tokenizers`")
needs_regex = pytest.mark.skipif(regex is None, reason="needs `pip install regex`")

# Characters that the running Python knows; a peer's Unicode may be newer.
assigned = st.characters(exclude_categories=["Cs", "Cn"]).filter(lambda c: unicodedata.category(c) != "Cn")
tricky = st.sampled_from(
    " \t\n\r\v\f\x1c\x1f\x85\xa0\u2003\u3000\u200b'sStTrReEvVmMlLdDſ019²Ⅷ٣٤人工智能。é\u0301ß!-_😀"
)
text_of_all = st.text(assigned | tricky | tricky, max_size=40)
words = st.lists(
    st.sampled_from(
        ["the", " then", " there", "'s", "=", "def f(x):\n", "    return x", " 2024", "3.14", "稳定性",
         "稳定的", "语言模型", "，", "😀😀", "👩‍💻", "é", "\n\n", "aaa", "aaaa", "ab", "abab", "\x00"]
    ),
    max_size=60,
).map("".join)
few_letters = st.text("ab ", max_size=60) | st.text("abc'", max_size=60) | st.text("稳定人", max_size=30)
some_text = words | few_letters | text_of_all

ENGLISH = "the cat sat on the mat, the rat saw the cat; that's what they've said. 人工智能的稳定性，人工。"
ENGLISH *= 3


def hugging_face(texts, vocab_size, min_frequency=2, special_tokens=()):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(special_tokens),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


# ---- the byte alphabet


def test_byte_alphabet_has_256_printable_characters():
    alphabet = byte_alphabet()
    assert len(set(alphabet)) == len(alphabet) == 256
    assert all(c.isprintable() and not c.isspace() for c in alphabet)
    assert [alphabet[b] for b in b"a \n\xad"] == ["a", "Ġ", "Ċ", "Ń"]


@needs_tokenizers
def test_byte_alphabet_is_that_of_tokenizers():
    assert sorted(byte_alphabet()) == sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


@given(st.binary())
def test_alphabet_round_trip(data):
    assert from_alphabet(to_alphabet(data)) == data
    assert text_bytes(data.decode("utf-8", "surrogateescape")) == data


def test_what_is_not_in_the_alphabet():
    assert from_alphabet("a b") is None
    assert text_bytes("\ud800\udcff") == b"\xed\xa0\x80\xff"


# ---- chunks


@pytest.mark.parametrize(
    ("text", "kind", "chunks"),
    [
        ("Hello  world's 12 -- x", "gpt2", ["Hello", " ", " world", "'s", " 12", " --", " x"]),
        ("it'S a\x1cb\u3000c \n", "gpt2", ["it", "'", "S", " a", "\x1c", "b", "\u3000", "c", " \n"]),
        ("人工智能，3天²Ⅷ", "gpt2", ["人工智能", "，", "3", "天", "²Ⅷ"]),
        ("a 12x", "digits", ["a", " ", "1", "2", "x"]),
        ("it'S (abc) 12345\n\n x", "llama3", ["it", "'S", " (", "abc", ")", " ", "123", "45", "\n\n", " x"]),
        ("", "gpt2", []),
    ],
)
def test_chunks_by_hand(text, kind, chunks):
    assert pretokenize(text, kind) == chunks


@given(text=st.text(st.characters(), max_size=40) | some_text, kind=st.sampled_from(PRE_TOKENIZERS))
def test_no_character_is_lost(text, kind):
    assert "".join(pretokenize(text, kind)) == text


@needs_regex
@settings(max_examples=500)
@given(text=text_of_all, kind=st.sampled_from(sorted(PATTERNS)))
def test_chunks_are_those_of_regex(text, kind):
    assert pretokenize(text, kind) == regex.findall(PATTERNS[kind], text)


@needs_tokenizers
@settings(max_examples=500)
@given(text=text_of_all)
def test_chunks_are_those_of_tokenizers(text):
    module = tokenizers.pre_tokenizers
    byte_level = module.ByteLevel(add_prefix_space=False)
    peers = {
        "gpt2": byte_level,
        "digits": module.Sequence([module.Digits(individual_digits=True), byte_level]),
        "llama3": module.Sequence(
            [
                module.Split(tokenizers.Regex(PATTERNS["llama3"]), "isolated"),
                module.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
    }
    for kind, its in peers.items():
        expected = [chunk for chunk, _ in its.pre_tokenize_str(text)]
        assert [to_alphabet(text_bytes(chunk)) for chunk in pretokenize(text, kind)] == expected


@needs_tokenizers
def test_every_character_is_of_the_class_that_tokenizers_gives_it():
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    known = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cn", "Cs")]
    for c in [*known[:0x4000], *known[0x4000::50]]:
        probe = f"x{c}1{c}!{c} "
        expected = [chunk for chunk, _ in byte_level.pre_tokenize_str(probe)]
        assert [to_alphabet(text_bytes(chunk)) for chunk in pretokenize(probe)] == expected, hex(ord(c))


def test_unknown_kind_of_chunks():
    with pytest.raises(ValueError, match="choose from 'gpt2', 'llama3', 'digits'"):
        pretokenize("a", "gpt4")
    with pytest.raises(ValueError, match="pre_tokenizer is 'gpt4'"):
        BPETokenizer({"a": 0}, [], pre_tokenizer="gpt4")


# ---- training


def plain_training(text, tokens, byte_ids, vocab_size, min_frequency):
    """The rule, counted anew for each merge; for texts where no token is spelled in two ways."""
    chunks = [([byte_ids[b] for b in chunk], n) for chunk, n in count_chunks([text]).items()]
    merges = []
    while len(tokens) < vocab_size:
        counts = Counter()
        for ids, n in chunks:
            for pair in pairwise(ids):
                counts[pair] += n
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        if counts[best] < max(min_frequency, 1):
            break
        merges.append((tokens[best[0]], tokens[best[1]]))
        tokens.append("".join(merges[-1]))
        for ids, _ in chunks:
            i = 0
            while i < len(ids) - 1:
                if (ids[i], ids[i + 1]) == best:
                    ids[i : i + 2] = [len(tokens) - 1]
                i += 1
    return merges


@pytest.mark.parametrize("min_frequency", [1, 2, 5])
def test_training_by_counting_anew(min_frequency):
    tokens = sorted(byte_alphabet())
    ids = [tokens.index(c) for c in byte_alphabet()]
    expected = plain_training(ENGLISH, tokens, ids, 330, min_frequency)
    trained = BPETokenizer.train(ENGLISH, vocab_size=330, min_frequency=min_frequency)
    assert trained.merges == expected
    assert len(expected) > 10


@needs_tokenizers
@settings(max_examples=300)
@given(
    texts=st.lists(some_text, min_size=1, max_size=3).filter(any),
    vocab_size=st.integers(258, 400),
    min_frequency=st.integers(0, 4),
    special_tokens=st.sampled_from([(), ("<|a|>", "<|b|>"), ("ab", "aaa")]),
)
@example(texts=["aaaaaaa aaaa aaa"], vocab_size=270, min_frequency=0, special_tokens=())
@example(texts=["ababab abababab"], vocab_size=270, min_frequency=1, special_tokens=())
def test_training_is_that_of_tokenizers(texts, vocab_size, min_frequency, special_tokens):
    theirs = json.loads(hugging_face(texts, vocab_size, min_frequency, special_tokens).to_str())["model"]
    ours = BPETokenizer.train(
        texts, vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=special_tokens
    )
    assert [list(pair) for pair in ours.merges] == theirs["merges"]
    assert ours.vocab == theirs["vocab"]


@needs_tokenizers
def test_training_on_much_text_is_that_of_tokenizers():
    topics = importlib.import_module("pydoc_data.topics").topics
    texts = list(topics.values())[:40]
    theirs = json.loads(hugging_face(texts, 3000).to_str())["model"]
    ours = BPETokenizer.train(texts, vocab_size=3000)
    assert [list(pair) for pair in ours.merges] == theirs["merges"]
    assert ours.vocab == theirs["vocab"]


def test_a_merge_that_spells_a_special_token_has_its_id():
    tokenizer = BPETokenizer.train("PAD PAD PAD", vocab_size=300, special_tokens=["PAD"])
    assert "PAD" in map("".join, tokenizer.merges)
    assert sorted(tokenizer.vocab.values()) == list(range(tokenizer.vocab_size))
    assert tokenizer.encode("PAD", special=False).tolist() == [0]


def test_training_learns_chinese_and_invalid_bytes():
    assert "稳定性" in decoded_tokens(BPETokenizer.train("稳定性，" * 5, vocab_size=300))
    trained = BPETokenizer.train(b"\xff\xfe\xff\xfe\xff\xfe", vocab_size=257)
    assert trained.merges == [(byte_alphabet()[0xFF], byte_alphabet()[0xFE])]


def decoded_tokens(tokenizer):
    return [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]


def test_one_chunk_in_two_notations_counts_together():
    assert count_chunks(["\ud800", b"\xed\xa0\x80", "a"]) == {b"\xed\xa0\x80": 2, b"a": 1}


def test_min_frequency_stops_training():
    assert BPETokenizer.train("ab ab cd", vocab_size=300, min_frequency=2).merges == [("a", "b")]
    assert BPETokenizer.train("ab ab cd", vocab_size=300, min_frequency=3).merges == []


@pytest.mark.parametrize("empty", ["", b"", [], [""]])
def test_no_text_to_train_on(empty):
    with pytest.raises(UserError, match="the training text is empty"):
        BPETokenizer.train(empty)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 256, "special_tokens": ["<a>"]}, "vocab_size = 256 has no room .* at least 257"),
        ({"special_tokens": ["<a>", "<a>"]}, "special_tokens holds '<a>' twice"),
        ({"special_tokens": ["a"]}, r"special_tokens\[0\] is 'a': take a text of two characters"),
        ({"special_tokens": ["<a>", "\ud800\ud800"]}, r"special_tokens\[1\]"),
    ],
)
def test_training_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        BPETokenizer.train("text", **options)


# ---- encoding


@needs_tokenizers
@settings(max_examples=300)
@given(text=some_text, seed_text=some_text.filter(bool), vocab_size=st.integers(258, 400))
def test_encoding_is_that_of_tokenizers(text, seed_text, vocab_size):
    special_tokens = ("<|a|>", "<|a|><|b|>")
    theirs = hugging_face([seed_text], vocab_size, 0, special_tokens)
    ours = BPETokenizer.train(
        seed_text, vocab_size=vocab_size, min_frequency=0, special_tokens=special_tokens
    )
    for whole in (text, f"{text}<|a|><|b|>{seed_text}<|a|> {text}"):
        ids = ours.encode(whole)
        assert ids.dtype == np.int64
        assert ids.tolist() == theirs.encode(whole).ids
        assert ours.decode(ids) == whole
        assert ours.decode(ids, skip_special=True) == theirs.decode(ids.tolist())


@given(data=st.binary(max_size=60), seed=st.binary(min_size=1, max_size=60))
def test_any_bytes_come_back(data, seed):
    tokenizer = BPETokenizer.train(seed * 3, vocab_size=280)
    ids = tokenizer.encode(data)
    assert tokenizer.decode_bytes(ids) == data
    assert tokenizer.decode(ids) == data.decode("utf-8", "replace")
    assert tokenizer.encode(tokenizer.decode(ids, errors="surrogateescape")).tolist() == ids.tolist()
    assert ByteTokenizer().decode_bytes(ByteTokenizer().encode(data)) == data


@needs_tokenizers
@given(seed=some_text.filter(bool), numbers=st.lists(st.integers(0, 255), max_size=20))
def test_decoding_broken_characters_is_that_of_tokenizers(seed, numbers):
    theirs = hugging_face([seed], 270, 0)
    ours = BPETokenizer.train(seed, vocab_size=270, min_frequency=0)
    assert ours.decode(numbers) == theirs.decode(numbers)


random_merges = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=4, max_size=20, unique=True
).flatmap(st.permutations)


@settings(max_examples=300)
@given(pairs=random_merges, ids=st.lists(st.integers(0, 1), max_size=80))
def test_both_ways_to_merge_agree_whatever_the_order_of_ranks(pairs, ids):
    merges = {pair: (rank, 2 + rank % 3) for rank, pair in enumerate(pairs)}
    assert _merge_long(ids, merges) == _merge_short(ids, merges)


def test_merges_are_taken_by_rank_and_then_from_the_left():
    merges = {(0, 0): (0, 2), (0, 1): (1, 3), (2, 0): (2, 4)}
    for merge in (_merge_short, _merge_long):
        assert merge([0, 0, 0, 1], merges) == [2, 3]
        assert merge([0, 0, 0], merges) == [4]
        assert merge([5, 0, 0], {(0, 0): (0, 1), (5, 1): (1, 2)}) == [2]  # on the left of a merge
        assert merge([], merges) == []


def test_a_long_chunk_takes_no_quadratic_time():
    chunk = "".join(random.Random(0).choices("theca", k=100_000))
    tokenizer = BPETokenizer.train(chunk[:3000], vocab_size=600)
    start = time.perf_counter()
    ids = tokenizer.encode(chunk)
    assert time.perf_counter() - start < 20  # seconds; 1 here, minutes if each merge scanned the chunk
    assert len(ids) < 50_000
    assert tokenizer.decode(ids) == chunk


def test_special_tokens_are_whole_or_ordinary_text():
    tokenizer = BPETokenizer.train("a b", vocab_size=300, special_tokens=["<|end|>", "<|end|>x"])
    assert tokenizer.added_ids == {"<|end|>": 0, "<|end|>x": 1}
    assert tokenizer.encode("<|end|><|end|>x").tolist() == [0, 1]
    ordinary = tokenizer.encode("<|end|>", special=False)
    assert ordinary.min() > 1
    assert tokenizer.decode(ordinary) == "<|end|>" == tokenizer.decode([0])
    assert tokenizer.decode([0, *ordinary], skip_special=True) == "<|end|>"
    assert tokenizer.encode(b"\xff<|end|>").tolist()[1:] == [0]
    assert tokenizer.token_bytes(0) == b"<|end|>"


def test_more_different_chunks_than_the_cache_keeps(monkeypatch):
    monkeypatch.setattr("minillm.text.bpe._CACHE_ENTRIES", 3)
    tokenizer = BPETokenizer.train(ENGLISH, vocab_size=300)
    once = tokenizer.encode(ENGLISH).tolist()
    assert len(tokenizer._cache) <= 3
    assert tokenizer.encode(ENGLISH).tolist() == once
    assert tokenizer.decode(once) == ENGLISH


def test_batches():
    tokenizer = BPETokenizer.train(ENGLISH, vocab_size=300)
    batch = tokenizer.encode_batch(["the cat", "", b"\xff"])
    assert [ids.tolist() for ids in batch[:2]] == [tokenizer.encode("the cat").tolist(), []]
    assert tokenizer.decode_bytes(batch[2]) == b"\xff"
    assert batch[1].shape == (0,)


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(["<a>"]), BPETokenizer.train("ab ab", vocab_size=257)])
def test_ids_that_cannot_be_decoded(tokenizer):
    with pytest.raises(ValueError, match=r"ids\[1\] = 257 is outside \[0, 257\)"):
        tokenizer.decode([0, 257])
    with pytest.raises(ValueError, match=r"ids\[0\] = -1"):
        tokenizer.decode(np.array([-1]))
    with pytest.raises(ValueError, match=r"ids has shape \(1, 1\)"):
        tokenizer.decode(np.array([[1]]))
    with pytest.raises(TypeError, match="float64"):
        tokenizer.decode([1.0])
    with pytest.raises(ValueError, match="i = 257 is outside"):
        tokenizer.token_bytes(257)
    assert tokenizer.decode([]) == ""
    assert tokenizer.vocab_size == 257


def test_strict_decoding():
    with pytest.raises(UnicodeDecodeError):
        ByteTokenizer().decode([0xFF], errors="strict")


# ---- streams


@given(
    text=some_text,
    numbers=st.lists(st.integers(0, 259), max_size=30),
    byte_level=st.sampled_from(
        [ByteTokenizer(["<a>", "人人", "<c>", "<d>"]), BPETokenizer.train(ENGLISH, vocab_size=260)]
    ),
)
def test_streamed_text_is_the_whole_text(text, numbers, byte_level):
    for ids in (byte_level.encode(text).tolist(), numbers):
        stream = StreamDecoder(byte_level)
        parts = [stream.feed(i) for i in ids]
        assert "".join(parts) + stream.flush() == byte_level.decode(ids)


def test_a_stream_waits_for_whole_characters():
    stream = StreamDecoder(ByteTokenizer(["<end>"]), skip_special=True)
    assert [stream.feed(b) for b in "a人".encode()] == ["a", "", "", "人"]
    assert stream.feed(256) == ""
    assert stream.feed(*"é".encode()) == "é"
    assert stream.feed(0xE4) == ""
    assert stream.flush() == "\ufffd"
    assert stream.feed(ord("b")) == "b"


# ---- bytes, JSON


def test_bytes_are_ids():
    tokenizer = ByteTokenizer.train("whatever", special_tokens=["<s>"])
    assert tokenizer.encode("é<s>!").tolist() == [0xC3, 0xA9, 256, ord("!")]
    assert tokenizer.encode("<s>", special=False).tolist() == list(b"<s>")
    assert tokenizer.vocab_size == 257
    assert tokenizer.encode("").shape == (0,)


@pytest.mark.parametrize(
    "tokenizer",
    [
        CharTokenizer.train("abc"),
        ByteTokenizer(),
        ByteTokenizer(["<a>"]),
        BPETokenizer.train(ENGLISH, vocab_size=290, special_tokens=["<人>"]),
        BPETokenizer.train(ENGLISH, vocab_size=290, pre_tokenizer="llama3"),
    ],
    ids=repr,
)
def test_json_round_trip_and_equality(tokenizer):
    again = tokenizer_from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert type(again) is type(tokenizer)
    assert again == tokenizer
    assert hash(again) == hash(tokenizer)
    assert repr(again) == repr(tokenizer)
    assert again.encode("abc <人>").tolist() == tokenizer.encode("abc <人>").tolist()
    assert again != ByteTokenizer(["<other>"])
    assert again != "text"


def test_tokenizers_that_differ():
    one = BPETokenizer.train("ab ab", vocab_size=257)
    assert one != BPETokenizer.train("ac ac", vocab_size=257)
    assert one != BPETokenizer.train("ab ab", vocab_size=257, pre_tokenizer="digits")


def test_where_texts_begin_and_end():
    named = BPETokenizer.train("abab", vocab_size=260, special_tokens=["<s>", "<x>", "</s>", "<|endoftext|>"])
    assert (named.begin_ids, named.end_ids) == ((3,), (3, 2)), "by their names"
    marked = named.marked(bos_id=1, eos_ids=[2, 1])
    assert (marked.begin_ids, marked.end_ids) == ((1,), (2, 1))
    assert named.marked(bos_id=1, prefix=[0, 1], eos_ids=[]).begin_ids == (0, 1)
    assert named.marked(eos_ids=[]).end_ids == ()
    assert (named.bos_id, named.prefix) == (None, ()), "it is left as it was"
    nameless = BPETokenizer.train("abab", vocab_size=258)
    assert nameless.begin_ids == nameless.end_ids == ()
    full = named.marked(bos_id=1, eos_ids=[2, 1], prefix=[0, 1], suffix=[2])
    for one in (full, marked, named):
        assert tokenizer_from_json(json.loads(json.dumps(one.to_json()))) == one
        assert one.encode("ab<x>").tolist() == named.encode("ab<x>").tolist()
    assert len({str(one.to_json()) for one in (full, marked, named)}) == 3


def test_files_from_before_there_were_such_ids_load():
    old = {key: value for key, value in GOOD.items() if key not in ("bos_id", "eos_ids", "prefix", "suffix")}
    assert BPETokenizer.from_json(old).to_json() == GOOD


@pytest.mark.parametrize("name", ["bos_id", "eos_ids", "prefix", "suffix"])
@pytest.mark.parametrize("wrong", [-1, 258, True, "0", 1.0])
def test_ids_that_it_does_not_have(name, wrong):
    with pytest.raises(UserError, match=f"{name} holds .*: give ids in"):
        BPETokenizer.from_json({**GOOD, name: wrong if name == "bos_id" else [0, wrong]})


GOOD = BPETokenizer.train("abab", vocab_size=258, special_tokens=["<s>"]).to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "char"},
        {"vocab": None},
        {"vocab": {"a": 0, "b": 0}},
        {"vocab": {"a": 1}},
        {"vocab": {"a": True}},
        {"vocab": {"a": 0.0}},
        {"vocab": {"a": 0, "\ud800": 1}},
        {"merges": [["a"]]},
        {"merges": [["a", "z"]]},
        {"merges": [["a", 1]]},
        {"merges": [[["a"], "b"]]},
        {"merges": 3},
        {"added": [[0, "<s>", True]]},
        {"added": [[1, "<s>", True, False]]},
        {"added": [[0, "<t>", True, False]]},
        {"added": [[0, "", True, False]]},
        {"added": [[0, "<s>", 1, False]]},
        {"added": [[300, "<t>", True, False]]},
        {"added": [["0", "<s>", True, False]]},
        {"pre_tokenizer": "none"},
        {"add_prefix_space": "no"},
        {"whole_chunks": None},
        {"unk_token": "none"},
        {"unk_token": []},
    ],
    ids=str,
)
def test_damaged_json_is_refused_in_one_line(change):
    with pytest.raises(UserError, match="not a BPE tokenizer") as refusal:
        BPETokenizer.from_json({**GOOD, **change})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("data", [None, [], {}, {"kind": "word"}, {"kind": []}, "char"])
def test_an_unknown_kind_of_tokenizer(data):
    with pytest.raises(UserError, match="not one of char, byte, bpe"):
        tokenizer_from_json(data)


NOT_BYTES = [{}, {"kind": "bpe"}, {"kind": "byte"}, {"kind": "byte", "special_tokens": "<a>"}]


@pytest.mark.parametrize("data", NOT_BYTES)
def test_what_is_not_a_byte_tokenizer(data):
    with pytest.raises(UserError, match="not a byte tokenizer"):
        ByteTokenizer.from_json(data)


def test_a_byte_without_a_token():
    tokenizer = BPETokenizer({"a": 0, "b": 1, "ab": 2}, [("a", "b")])
    assert tokenizer.encode("aab").tolist() == [0, 2]
    with pytest.raises(ValueError, match="text holds the byte 0xC3"):
        tokenizer.encode("é")
    assert BPETokenizer({"a": 0, "?": 1}, [], unk_token="?").encode("aé").tolist() == [0, 1, 1]


def test_whole_chunks_need_no_merges():
    vocab = {"a": 0, "b": 1, "ab": 2}
    assert BPETokenizer(vocab, []).encode("ab").tolist() == [0, 1]
    assert BPETokenizer(vocab, [], whole_chunks=True).encode("ab").tolist() == [2]


def test_an_id_with_two_tokens():
    with pytest.raises(ValueError, match="id 0 has two tokens, one of them 'b'"):
        BPETokenizer({"a": 0, "b": 0}, [])
