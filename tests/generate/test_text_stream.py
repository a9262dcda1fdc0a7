"""Stop strings across the borders of tokens: whatever the cuts, the text up to the first, and no more."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minillm.generate import TextStream
from minillm.text import AddedToken, BPETokenizer, ByteTokenizer, CharTokenizer
from minillm.text.byte_level import ByteLevelTokenizer

texts = st.text("ab\n你é😀", max_size=12)
stops = st.lists(st.text("ab\n你é😀", min_size=1, max_size=4), max_size=3)


class Pieces(ByteLevelTokenizer):
    """Each token is a piece of a given text's bytes."""

    def __init__(self, pieces):
        super().__init__([*pieces, b""], {len(pieces): AddedToken("<|end|>")})


def cut(text, stop):
    """The text before the stop string that begins first."""
    return text[:min((text.find(s) for s in stop if s in text), default=len(text))]


def fed(stream, groups):
    pieces = [stream.feed(*ids) for ids in groups]
    return [*pieces, stream.flush()]


@given(texts, stops, st.lists(st.integers(0, 40), max_size=12), st.binary(max_size=3))
@example("aab", ["ab"], [1, 2], b"")
@example("abx", ["abc", "b"], [1, 2], b"")
@example("abc", ["b", "abc"], [2], b"")
@example("abab", ["abac", "ba"], [3], b"")
def test_the_pieces_are_the_text_up_to_the_first_stop_string(text, stop, cuts, rest):
    data = text.encode() + rest  # the rest may be no UTF-8
    borders = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    tokenizer = Pieces([data[a:b] for a, b in itertools.pairwise(borders)])
    ids = range(tokenizer.vocab_size)  # the last one is the special token, which is no text
    stream = TextStream(tokenizer, stop)
    whole = data.decode("utf-8", "replace")
    assert "".join(fed(stream, [[i] for i in ids])) == cut(whole, stop)
    assert (stream.stopped is None) == (not any(s in whole for s in stop))
    if stream.stopped is not None:
        assert whole[len(cut(whole, stop)):].startswith(stream.stopped)
        assert stream.feed(0) == "", "after the end there is no more"
    assert "".join(fed(TextStream(tokenizer, stop), [ids])) == cut(whole, stop)


@given(st.text("ab", max_size=30), stops)
def test_with_characters(text, stop):
    tokenizer = CharTokenizer("ab")
    pieces = fed(TextStream(tokenizer, stop), [[i] for i in tokenizer.encode(text).tolist()])
    assert "".join(pieces) == cut(text, stop)


@given(texts, stops)
def test_with_bytes_and_pairs_of_them(text, stop):
    bpe = BPETokenizer.train("a ab aab 你 你a \n\nab é😀" * 9, vocab_size=275)
    for tokenizer in (ByteTokenizer(["<|endoftext|>"]), bpe):
        pieces = fed(TextStream(tokenizer, stop), [[i] for i in tokenizer.encode(text).tolist()])
        assert "".join(pieces) == cut(text, stop)


def test_only_what_may_begin_a_stop_string_is_held_back():
    tokenizer = CharTokenizer("abcd")
    stream = TextStream(tokenizer, ["abc", "cc"])
    given_out = [stream.feed(i) for i in tokenizer.encode("dabacabda").tolist()]
    assert given_out == ["d", "", "", "ab", "a", "c", "", "abd", ""]
    assert stream.flush() == "a"


def test_a_stop_string_ends_the_text_as_soon_as_it_is_there():
    stream = TextStream(CharTokenizer("abcd"), ["ab", "abc"])
    assert [stream.feed(i) for i in (1, 2)] == ["", ""]
    assert stream.stopped == "ab", "that it might be a longer one changes nothing"


def test_characters_wait_for_their_bytes():
    stream = TextStream(ByteTokenizer())
    assert [stream.feed(b) for b in "你".encode()] == ["", "", "你"]
    assert stream.feed(*"你".encode()[:2]) == ""
    assert stream.flush() == "�"


def test_one_string_is_one_stop_string():
    assert TextStream(CharTokenizer("ab"), "ab").feed(1, 1, 2) == "a"


def test_a_special_token_stops_where_its_id_comes():
    tokenizer = ByteTokenizer(["<|start|>", "<|other|>"])
    ids = tokenizer.encode("hello<|other|><|start|>user").tolist()
    for groups in ([ids], [[i] for i in ids], [ids[:3], ids[3:]]):
        stream = TextStream(tokenizer, ["<|start|>", "low"])
        assert "".join(fed(stream, groups)) == "hello"
        assert stream.stopped == "<|start|>"
        assert stream.feed(97) == ""
    spelled = TextStream(tokenizer, "<|start|>")
    assert spelled.feed(*b"hello<|start|>") == "hello", "in letters it is one, too"
    assert spelled.stopped == "<|start|>"


def test_what_was_held_back_or_not_complete_when_a_special_token_stops():
    tokenizer = ByteTokenizer(["<|start|>"])
    stream = TextStream(tokenizer, ["<|start|>", "lows"])
    assert stream.feed(*b"hello", *b"lo", 256) == "hellolo"
    assert stream.stopped == "<|start|>"
    stream = TextStream(tokenizer, ["<|start|>", "abcd", "bc"])
    assert stream.feed(*b"xabc", 256) == "xa"
    assert stream.stopped == "bc"
    assert TextStream(tokenizer, "<|start|>").feed(*"你".encode()[:2], 256) == "�"


def test_an_added_token_that_is_shown_is_text():
    bpe = BPETokenizer({"a": 0}, [], {1: AddedToken("<tool>", special=False)})
    stream = TextStream(bpe, ["x<tool>", "l>a"])
    assert stream.feed(0, 1, 0, 0) == "a<too"


def test_a_stop_string_of_a_special_token_and_more_is_refused():
    with pytest.raises(ValueError, match=r"^stop\[1\] = 'a<\|start\|>' holds the special token "
                                         r"'<\|start\|>', which is no text: give that token alone$"):
        TextStream(ByteTokenizer(["<|start|>"]), ["<|start|>", "a<|start|>"])


def test_an_empty_stop_string_is_refused():
    with pytest.raises(ValueError, match=r"stop\[1\] is empty"):
        TextStream(CharTokenizer("ab"), ["a", ""])


def test_ids_may_be_numpys():
    assert TextStream(ByteTokenizer()).feed(*np.array([104, 105])) == "hi"
