import hashlib
import os
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minillm.errors import UserError
from minillm.text import corpus as corpus_module
from minillm.text import load_default, read_text, split, unique_paragraphs


def words(text):
    return " ".join(text.split())


def one_line(error):
    return "\n" not in str(error.value)


@pytest.fixture(scope="module")
def default():
    return load_default()


def test_default_is_long_plain_and_the_same_each_time(default):
    assert len(default) > 400_000
    assert 90 < len(set(default)) < 150
    assert default == load_default()


def test_default_joins_the_topics_by_name(monkeypatch):
    monkeypatch.setattr("pydoc_data.topics.topics", {"b": "second", "a": "first\n"})
    assert load_default() == "first\n\n\nsecond"


def test_default_without_pydoc_data_is_a_users_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(UserError, match=r"pydoc_data\.topics") as error:
        load_default()
    assert one_line(error)


# --- reading a file


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"plain", "plain"),
        ("人工智能\n\U0001f600".encode(), "人工智能\n\U0001f600"),
        (b"\xef\xbb\xbfmark", "mark"),
        (b"a\r\nb\rc\n", "a\nb\nc\n"),
    ],
    ids=["ascii", "unicode", "byte order mark", "line ends"],
)
def test_read_text(tmp_path, content, text):
    path = tmp_path / "file.txt"
    path.write_bytes(content)
    assert read_text(path) == text
    assert read_text(str(path)) == text


def named(path):
    return repr(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"abc\xe9def", "is not UTF-8: byte 3 is 0xe9"),
        ("text".encode("utf-16"), "is not UTF-8: byte 0 is 0xff"),
        (b"good " * 1000 + b"\xed\xa0\x80", "is not UTF-8: byte 5000 is 0xed"),  # a surrogate
        ("ä".encode()[:1], "is not UTF-8: byte 0 is 0xc3"),  # cut in a character
    ],
    ids=["empty", "blank", "mark only", "latin-1", "utf-16", "surrogate", "cut short"],
)
def test_unusable_content(tmp_path, content, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_text(path)
    assert f"{named(path)} {message}" in str(error.value)
    assert one_line(error)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.txt", "does not exist"),
        ("two\nlines.txt", "does not exist"),
        ("", "is a directory"),
        ("n" * 300, "cannot read"),
        ("nul\0.txt", "cannot read"),
        (os.devnull, "is a device"),
    ],
)
def test_unusable_path(tmp_path, name, message):
    path = os.path.join(tmp_path, name)
    with pytest.raises(UserError, match=message) as error:
        read_text(path)
    assert one_line(error)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_unreadable_file(tmp_path):
    path = tmp_path / "secret.txt"
    path.write_text("secret")
    path.chmod(0)
    with pytest.raises(UserError, match="Permission denied"):
        read_text(path)


# --- paragraphs


@pytest.mark.parametrize(
    ("text", "paragraphs"),
    [
        ("a\n\nb", ["a", "b"]),
        ("a\nb", ["a\nb"]),
        ("a\n \t\n\n  b\n", ["a", "  b"]),
        ("\n\na\n\n", ["a"]),
        ("  a  b\n\na\nb\n\nc", ["  a  b", "c"]),  # compared without white space, kept with it
        ("a\n\nA", ["a", "A"]),
        ("", []),
        (" \n ", []),
        ("a\r\n\r\nb", ["a\r", "b"]),
    ],
)
def test_unique_paragraphs(text, paragraphs):
    assert unique_paragraphs(text) == paragraphs


# --- the split

paragraph = st.text("abc \n", min_size=1, max_size=40).filter(str.strip)
texts = st.lists(paragraph, min_size=1, max_size=60).map("\n\n".join)
fractions = st.sampled_from(
    [(0.9, 0.05, 0.05), (0.8, 0.1, 0.1), (0.5, 0.5, 0), (1, 0, 0), (0.4, 0.3, 0.3)]
)


def units(part, unit):
    return unique_paragraphs(part) if unit == "paragraph" else part.split("\n")


@given(texts, fractions, st.integers(0, 3))
@example("\n\n".join(map(str, range(100))), (0.9, 0.05, 0.05), 0)
def test_split_shares_out_every_unit_once_and_in_order(text, fractions, seed):
    try:
        parts = split(text, fractions=fractions, seed=seed)
    except UserError:  # see test_too_short_to_split
        assert len(" ".join(unique_paragraphs(text))) < 60
        return
    assert parts == split(text, fractions=fractions, seed=seed)
    three = (parts.train, parts.validation, parts.test)
    for part, fraction in zip(three, fractions, strict=True):
        assert bool(part) == (fraction > 0)
    if parts.unit == "piece":
        assert sum(map(len, three)) <= len(text)
        return
    everything = [words(u) for u in units(text, parts.unit) if u.strip()]
    if parts.unit == "line":
        everything = [words(line) for p in unique_paragraphs(text) for line in p.split("\n")]
    shared = [[words(u) for u in units(part, parts.unit) if u] for part in three]
    together = [u for part in shared for u in part]
    assert len(set(together)) == len(together) == parts.n_units
    assert set(together) == set(everything)
    first = {u: i for i, u in reversed(list(enumerate(everything)))}
    for part in shared:
        places = [first[u] for u in part]
        assert places == sorted(places)


@pytest.mark.parametrize("seed", range(3))
def test_default_split_is_deduplicated_and_of_the_right_sizes(default, seed):
    parts = split(default, seed=seed)
    three = (parts.train, parts.validation, parts.test)
    total = sum(map(len, three))
    assert parts.unit == "paragraph"
    assert parts.n_dropped > 400
    assert len(parts.validation) / total == pytest.approx(0.05, abs=0.005)
    assert len(parts.test) / total == pytest.approx(0.05, abs=0.005)
    seen = [{words(p) for p in unique_paragraphs(t)} for t in three]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_a_part_holds_runs_of_neighbours(default):
    """A carried state reads running text; of single paragraphs, nearly all would be strangers."""
    place = {words(p): i for i, p in enumerate(unique_paragraphs(default))}
    places = [place[words(p)] for p in unique_paragraphs(split(default).validation)]
    neighbours = sum(b == a + 1 for a, b in pairwise(places))
    assert 0.6 < neighbours / len(places) < 0.95


def leaked(parts, width=40):
    """The fraction of validation's windows of `width` characters that also stand in train."""
    train, validation = words(parts.train), words(parts.validation)
    known = {train[i : i + width] for i in range(len(train) - width + 1)}
    n = len(validation) - width + 1
    return sum(validation[i : i + width] in known for i in range(n)) / n


@pytest.mark.parametrize("seed", range(2))
def test_without_deduplication_validation_would_stand_in_train(default, monkeypatch, seed):
    assert 0.01 < leaked(split(default, seed=seed)) < 0.10
    monkeypatch.setattr(corpus_module, "_unique", list)
    assert leaked(split(default, seed=seed)) > 0.20


def test_seeds_differ(default):
    assert split(default, seed=1).validation != split(default, seed=2).validation


def test_split_does_not_depend_on_the_process(default):
    """No set order, hash seed or generator: another process gets the same parts."""
    code = (
        "import hashlib, minillm.text as t; s = t.split(t.load_default(), seed=5);"
        "print(hashlib.sha256(s.validation.encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    own = hashlib.sha256(split(default, seed=5).validation.encode()).hexdigest()
    assert out.stdout.strip() == own


def test_split_of_known_text_is_fixed():
    """A changed rule of assignment would silently change every published figure."""
    parts = split("\n\n".join(f"paragraph {i}" for i in range(40)))
    assert parts.validation == "paragraph 0\n\nparagraph 31"
    assert parts.test == "paragraph 4\n\nparagraph 16"


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("\n\n".join(map(str, range(20))), "paragraph"),
        ("\n".join(map(str, range(20))), "line"),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 200))), "piece"),
        ("one\n\ntwo\n\n" + "\n".join(map(str, range(30))), "line"),
    ],
)
def test_coarsest_unit_that_is_fine_enough(text, unit):
    parts = split(text)
    assert parts.unit == unit
    assert parts.train
    assert parts.validation
    assert parts.test


def test_one_giant_paragraph_goes_to_train():
    text = "\n\n".join(["x" * 50_000] + [f"short paragraph {i}" for i in range(100)])
    parts = split(text)
    assert "xxx" in parts.train
    assert "short" in parts.validation
    assert "short" in parts.test


@pytest.mark.parametrize("seed", range(5))
def test_no_part_is_empty_when_two_giants_swallow_the_rest(seed):
    units = ["x" * 8900, *(f"tiny {i}" for i in range(18)), "y" * 1100]
    parts = split("\n\n".join(units), seed=seed)
    assert parts.train
    assert parts.validation
    assert parts.test


@pytest.mark.parametrize("text", ["", " \n\n ", "short", "same\n" * 1000])
def test_too_short_to_split(text):
    with pytest.raises(UserError, match="too few to split") as error:
        split(text)
    assert one_line(error)


@pytest.mark.parametrize(
    "fractions",
    [(0.9, 0.05), (0.9, 0.1, 0.1), (0, 0.5, 0.5), (1.1, -0.1, 0), (float("nan"), 0.5, 0.5)],
)
def test_wrong_fractions(fractions):
    with pytest.raises(ValueError, match="sum 1"):
        split("some text", fractions=fractions)


def test_repr_says_the_sizes():
    parts = split("\n\n".join(["again"] * 5 + [f"paragraph {i}" for i in range(40)]))
    assert "41 paragraphs, 4 repeats dropped" in repr(parts)
