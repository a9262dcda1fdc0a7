import copy
import importlib
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.errors import UserError
from minillm.text import AddedToken, BPETokenizer, load_tokenizer_json, save_tokenizer_json
from minillm.text.tokenizer_json import from_tokenizer_json, to_tokenizer_json

try:
    tokenizers = importlib.import_module("tokenizers")
except ImportError:
    if os.environ.get("CI"):
        raise
    tokenizers = None
needs_tokenizers = pytest.mark.skipif(tokenizers is None, reason="needs `pip install tokenizers`")

TEXT = "the cat sat on the mat in 2024, that's 365 days; 人工智能的稳定性，人工智能。 the cat's hat 😀😀" * 3
PREFIX = ("<|end|>", "<人>")
pieces = st.lists(
    st.sampled_from([*PREFIX, " ", "  ", "the", " cat", "'s", "人工智能", "2024", "😀", "\n", "é", "<late>"]),
    max_size=20,
).map("".join)
some_text = pieces | st.text(st.characters(codec="utf-8", max_codepoint=0x1FFF), max_size=20)


def trained(kind="gpt2", **options):
    base = BPETokenizer.train(TEXT, vocab_size=330, special_tokens=PREFIX, pre_tokenizer=kind)
    added = {**base.added, base.vocab_size: AddedToken("<late>", special=False, late=True)}
    return BPETokenizer(base.vocab, base.merges, added, pre_tokenizer=kind, **options)


def without_bytes(missing):
    """Ids without those bytes: Ċ is a newline, Ã begins é, ä 人, ð and Ł 😀."""
    base = trained()
    kept = [token for token in base.vocab if not set(token) & set(missing + "Ċ")]
    merges = [pair for pair in base.merges if not set("".join(pair)) & set(missing + "Ċ")]
    added = {i: token for i, token in enumerate(base.added.values()) if not token.late}
    return BPETokenizer({token: i for i, token in enumerate(kept)}, merges, added, unk_token="<|end|>")


KINDS = {
    "gpt2": trained(),
    "prefix space": trained(add_prefix_space=True),
    "digits": trained("digits"),
    "llama3": trained("llama3", whole_chunks=True),
    "no merges": BPETokenizer(trained().vocab, [], trained().added, whole_chunks=True),
    "missing bytes": without_bytes("\nÃäðŁ"),
}


@pytest.fixture(scope="module", params=sorted(KINDS))
def both(request):
    """Ours, and what `tokenizers` loads from the same object."""
    ours = KINDS[request.param]
    data = json.dumps(to_tokenizer_json(ours))
    return ours, tokenizers and tokenizers.Tokenizer.from_str(data)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_round_trip_through_a_file(kind, tmp_path):
    path = tmp_path / "tokenizer.json"
    save_tokenizer_json(path, KINDS[kind])
    assert load_tokenizer_json(path) == KINDS[kind]
    assert "人" in path.read_text(encoding="utf-8")


@needs_tokenizers
@settings(max_examples=150)
@given(text=some_text)
def test_tokenizers_encodes_the_same_with_our_file(both, text):
    ours, theirs = both
    ids = ours.encode(text).tolist()
    assert ids == theirs.encode(text).ids
    assert theirs.decode(ids) == ours.decode(ids, skip_special=True)
    if not ours.unk_token and not ours.add_prefix_space:
        assert ours.decode(ids) == text
    assert ours.vocab_size == theirs.get_vocab_size()


def test_the_kinds_differ(both):
    """Or else the test above would not tell them apart."""
    ours, _ = both
    sample = "the 2024 thecat<|end|>cat"
    others = [other.encode(sample).tolist() for other in KINDS.values() if other is not ours]
    assert ours.encode(sample).tolist() not in others


@needs_tokenizers
@settings(max_examples=150)
@given(text=some_text, prefix_space=st.booleans())
def test_a_file_that_tokenizers_wrote(text, prefix_space):
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    theirs.decoder = tokenizers.decoders.ByteLevel()
    theirs.post_processor = tokenizers.processors.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    theirs.train_from_iterator([TEXT], trainer)
    theirs.add_tokens(["<late>"])
    ours = from_tokenizer_json(json.loads(theirs.to_str()))
    assert ours.encode(text).tolist() == theirs.encode(text).ids
    assert ours.add_prefix_space == prefix_space
    assert ours.added[320] == AddedToken("<late>", special=False, late=True)


@needs_tokenizers
@pytest.mark.parametrize(("template", "prefix", "suffix"), [
    ("<|end|> $A", [0], []), ("$A <人>", [], [1]), ("<人> <|end|> $A <|end|>", [1, 0], [0]), ("$A", [], [])])
@pytest.mark.parametrize("alone", [True, False])
def test_what_a_template_adds_around_a_text(template, prefix, suffix, alone):
    """Theirs is read, and ours read by them; `encode` stays without it."""
    theirs = tokenizers.Tokenizer.from_str(json.dumps(to_tokenizer_json(KINDS["gpt2"])))
    processors = tokenizers.processors
    made = processors.TemplateProcessing(single=template, special_tokens=[("<|end|>", 0), ("<人>", 1)])
    byte_level = processors.ByteLevel(trim_offsets=False)
    theirs.post_processor = made if alone else processors.Sequence([byte_level, made])
    ours = from_tokenizer_json(json.loads(theirs.to_str()))
    assert ours == KINDS["gpt2"].marked(prefix=prefix, suffix=suffix)
    ids = ours.encode("the cat<人>").tolist()
    assert ids == KINDS["gpt2"].encode("the cat<人>").tolist()
    back = tokenizers.Tokenizer.from_str(json.dumps(to_tokenizer_json(ours)))
    for one in (theirs, back):
        assert one.encode("the cat<人>").ids == [*prefix, *ids, *suffix]
    assert back.encode("the", "cat").ids == [
        i for text in ("the", "cat") for i in (*prefix, *ours.encode(text).tolist(), *suffix)]


def test_late_tokens_are_looked_for_in_what_the_others_leave():
    base = BPETokenizer.train("x", vocab_size=257, special_tokens=["<|end|>"])
    added = {**base.added, 257: AddedToken("x<|end|>", late=True), 258: AddedToken("xx", late=True)}
    ours = BPETokenizer(base.vocab, base.merges, added)
    assert ours.encode("x<|end|>xx").tolist() == [base.vocab["x"], 0, 258]
    if tokenizers:
        theirs = tokenizers.Tokenizer.from_str(json.dumps(to_tokenizer_json(ours)))
        assert theirs.encode("x<|end|>xx").ids == [base.vocab["x"], 0, 258]


def test_merges_as_strings_and_fields_left_out():
    """The form of files written before 2024, GPT-2's among them."""
    data = to_tokenizer_json(KINDS["gpt2"])
    old = copy.deepcopy(data)
    old["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    old["model"]["continuing_subword_prefix"] = old["model"]["end_of_word_suffix"] = ""
    del old["model"]["ignore_merges"], old["model"]["byte_fallback"], old["model"]["type"]
    del old["pre_tokenizer"]["use_regex"], old["version"]
    assert from_tokenizer_json(old) == from_tokenizer_json(data) == KINDS["gpt2"]


def set_at(data, path, value):
    *way, last = path
    for step in way:
        data = data[step]
    data[last] = value


LLAMA = {"type": "Split", "pattern": {"Regex": "x+"}, "behavior": "Isolated", "invert": False}
A, END = {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "<|end|>"}}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [END, A],
    "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [0], "tokens": ["<|end|>"]}},
}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["normalizer"], {"type": "NFC"}, "it has a normalizer, which is not supported"),
        (["padding"], {}, "it has a padding"),
        (["truncation"], {"max_length": 5}, "it has a truncation"),
        (["decoder"], None, "its decoder is not ByteLevel"),
        (["decoder"], {"type": "WordPiece"}, "its decoder is not ByteLevel"),
        (["pre_tokenizer"], None, "does not end with ByteLevel"),
        (["pre_tokenizer"], {"type": "Whitespace"}, "does not end with ByteLevel"),
        (["pre_tokenizer"], {"type": "Sequence", "pretokenizers": []}, "does not end with ByteLevel"),
        (["pre_tokenizer"], {"type": "Sequence", "pretokenizers": [LLAMA, BYTE_LEVEL]}, "unknown one"),
        (["pre_tokenizer", "use_regex"], False, "unknown one"),
        (["model", "fuse_unk"], True, "fuse_unk"),
        (["model", "unk_token"], "<none>", "unk_token is '<none>', which is not in vocab"),
        (["model", "type"], "Unigram", "its model is 'Unigram', not 'BPE'"),
        (["model", "dropout"], 0.1, "dropout = 0.1"),
        (["model", "byte_fallback"], True, "byte_fallback"),
        (["model", "end_of_word_suffix"], "</w>", "end_of_word_suffix"),
        (["added_tokens", 0, "lstrip"], True, "'<|end|>' has lstrip"),
        (["added_tokens", 2, "id"], 900, "'<late>' has the id 900, not 321"),
        (["added_tokens", 0, "id"], 1, "damaged"),
        (["added_tokens", 0, "special"], "yes", "damaged"),
        (["added_tokens", 0, "content"], 3, "damaged"),
        (["added_tokens", 0], 3, "damaged"),
        (["model", "merges", 0], "a b c", r"merges\[0\] is 'a b c'"),
        (["model", "merges", 0], ["a"], r"merges\[0\]"),
        (["model", "merges", 0], ["a", "\n"], r"merges\[0\] = .*is not in vocab"),
        (["model", "merges"], 3, "damaged"),
        (["model", "vocab"], [], "vocab is no object"),
        (["model", "vocab", "a"], 10**12, "damaged"),
        (["model", "vocab", "a"], -1, "damaged"),
        (["model", "vocab", "a"], "7", "the id of 'a' is '7'"),
        (["model"], None, "damaged"),
        (["post_processor"], {"type": "RobertaProcessing"}, "its post_processor is 'RobertaProcessing'"),
        (["post_processor"], {"type": "Sequence", "processors": [TEMPLATE] * 2}, "'TemplateProcessing' and"),
        (["post_processor"], {**TEMPLATE, "single": [A, A]}, "more than one text"),
        (["post_processor"], {**TEMPLATE, "single": [{"Sequence": {"id": "B"}}]}, "more than one text"),
        (["post_processor"], {**TEMPLATE, "single": [END]}, "template without a text"),
        (["post_processor"], {**TEMPLATE, "special_tokens": {}}, "it has no '<|end|>'"),
        (["post_processor"], {**TEMPLATE, "special_tokens": {"<|end|>": {"ids": [400]}}}, "prefix holds 400"),
        (["post_processor"], {**TEMPLATE, "single": "$A"}, "damaged"),
    ],
    ids=str,
)
def test_other_kinds_and_damage_are_refused_in_one_line(path, value, message, tmp_path):
    data = to_tokenizer_json(KINDS["gpt2"])
    set_at(data, path, value)
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(UserError, match=message) as refusal:
        load_tokenizer_json(file)
    assert "\n" not in str(refusal.value)
    assert "tokenizer.json'" in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged or is no JSON"),
        (b"\xff\xfe\xfd", "is damaged or is no JSON"),
        (b"[" * 100_000, "is damaged or is no JSON"),
        (b"[]", "damaged"),
        (b"null", "damaged"),
        (b"{}", "it has no 'model'"),
        (b'{"model": {"type": "BPE"}, "decoder": {"type": "ByteLevel"}}', "it has no 'pre_tokenizer'"),
    ],
)
def test_files_that_are_no_tokenizer(content, message, tmp_path):
    file = tmp_path / "tokenizer.json"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message) as refusal:
        load_tokenizer_json(file)
    assert "\n" not in str(refusal.value)


@settings(max_examples=300)
@given(cut=st.data())
def test_any_part_replaced_is_refused_or_loads(cut):
    """Whatever stands where: a UserError of one line or a tokenizer that works, and nothing else."""
    data = small()
    path, here = [], data
    while isinstance(here, dict | list) and here and (not path or cut.draw(st.booleans())):
        step = cut.draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
        path.append(step)
        here = here[step]
    junk = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    junk |= st.lists(junk, max_size=3) | st.dictionaries(st.text(), junk, max_size=3)
    set_at(data, path, cut.draw(junk))
    try:
        from_tokenizer_json(data).encode("ab<s>")
        refusal = "text holds the byte"
    except (UserError, ValueError) as error:
        refusal = str(error) if isinstance(error, UserError) else str(error)[:19]
    assert "\n" not in refusal
    assert refusal.startswith(("it", "its", "this", "text holds the byte"))


def small():
    vocab = {"a": 0, "b": 1, "ab": 2}
    added = {3: AddedToken("<s>")}
    return to_tokenizer_json(BPETokenizer(vocab, [("a", "b")], added, pre_tokenizer="digits", prefix=[3]))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match="cannot read .*none.json"):
        load_tokenizer_json(tmp_path / "none.json")
    with pytest.raises(UserError, match="cannot write .*none"):
        save_tokenizer_json(tmp_path / "none" / "tokenizer.json", KINDS["gpt2"])


def test_a_prefix_space_that_is_left_open():
    data = to_tokenizer_json(KINDS["gpt2"])
    del data["pre_tokenizer"]["add_prefix_space"]
    with pytest.raises(UserError, match="it has no 'add_prefix_space'"):
        from_tokenizer_json(data)
