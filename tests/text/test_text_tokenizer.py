import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minillm.errors import UserError
from minillm.text import CharTokenizer

unicode_text = st.text(min_size=1)  # hypothesis draws every code point but the surrogates


@given(unicode_text)
@example("a")
@example("人工智能的稳定性\n")
@example("\U0001f600\U0010ffff\0\r\n\ufffd")
def test_round_trip_is_lossless(text):
    tokenizer = CharTokenizer.train(text)
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int64
    assert ids.shape == (len(text),)
    assert tokenizer.decode(ids) == text
    assert ids.min() >= 1  # never <unk>
    assert ids.max() == tokenizer.vocab_size - 1 == len(set(text))


@given(unicode_text, st.text())
def test_encode_is_a_lookup_in_the_sorted_characters(text, other):
    vocabulary = sorted(set(text))
    expected = [vocabulary.index(c) + 1 if c in vocabulary else 0 for c in other]
    assert CharTokenizer.train(text).encode(other).tolist() == expected


@given(unicode_text, unicode_text)
def test_json_round_trip_and_equality(text, other):
    tokenizer = CharTokenizer.train(text)
    again = CharTokenizer.from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert again == tokenizer
    assert hash(again) == hash(tokenizer)
    assert again.encode(text).tolist() == tokenizer.encode(text).tolist()
    assert (CharTokenizer.train(other) == tokenizer) == (set(other) == set(text))
    assert tokenizer != text


def test_unknown_characters():
    tokenizer = CharTokenizer.train("abc")
    assert tokenizer.encode("az\U0001f600\x00").tolist() == [1, 0, 0, 0]
    assert tokenizer.encode("\udcff").tolist() == [0]  # a prompt in a wrong encoding
    assert tokenizer.decode([1, tokenizer.unk_id, 3]) == "a\ufffdc"
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_decode_takes_any_integers(dtype):
    assert CharTokenizer.train("abc").decode(np.array([3, 2, 1], dtype)) == "cba"


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([1, 2, 4], ValueError, r"ids\[2\] = 4 is outside \[0, 4\)"),
        ([1, -1], ValueError, r"ids\[1\] = -1 is outside \[0, 4\)"),
        ([[1, 2]], ValueError, r"ids has shape \(1, 2\)"),
        ([1.0], TypeError, "dtype float64"),
        ([True], TypeError, "dtype bool"),
    ],
)
def test_wrong_ids(ids, error, message):
    with pytest.raises(error, match=message):
        CharTokenizer.train("abc").decode(ids)


def test_empty_text_and_surrogates_and_repeats():
    with pytest.raises(UserError, match="empty"):
        CharTokenizer.train("")
    with pytest.raises(ValueError, match=r"characters\[1\] is U\+D83D, half of a surrogate pair"):
        CharTokenizer.train("a\ud83d")
    with pytest.raises(ValueError, match="'b' twice"):
        CharTokenizer("abcb")


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "bpe", "characters": "ab"},
        {"kind": "char"},
        {"kind": "char", "characters": "aa"},
        {"kind": "char", "characters": 3},
        {"kind": "char", "characters": ["a", "b"]},
        [],
        None,
    ],
)
def test_foreign_json(data):
    with pytest.raises(UserError, match="not a character tokenizer") as error:
        CharTokenizer.from_json(data)
    assert "\n" not in str(error.value)


def test_repr():
    assert repr(CharTokenizer.train("ba")) == "CharTokenizer('ab', vocab_size=3)"
