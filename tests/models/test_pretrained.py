"""Our own model folders: to the last bit there and back, whole or not at all, and refused where they lie."""

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from minillm import nn
from minillm.errors import UserError
from minillm.models import (
    GPT,
    GPTConfig,
    Llama,
    LlamaConfig,
    LSTMConfig,
    LSTMEncoderDecoderConfig,
    LSTMLanguageModel,
    TransformerEncoderDecoderConfig,
    load_pretrained,
    save_huggingface,
    save_pretrained,
)
from minillm.models.model_folder import write_safetensors
from minillm.models.own_weights import MODELS, own_slots
from minillm.text import BPETokenizer, ByteTokenizer, CharTokenizer

TEXT = "the cat sat on the mat; 人工智能的稳定性。" * 4
CONFIGS = {
    "GPT": GPTConfig(300, 8, 2, 2, 12, dropout=0.1, bias=False, norm_eps=1.1e-7),
    "GPT, all options": GPTConfig(300, 8, 2, 2, 12, norm="post", qk_norm=True, softcap=3, logit_softcap=0.3),
    "Llama": LlamaConfig(300, 2, 12, 2, 1, 4, 20, 64, 1234.5, 1e-5, tied=True),
    "Llama, all options": LlamaConfig(300, 2, 12, 2, qk_norm=True, softcap=1 / 3, init="glorot"),
    "LSTMLanguageModel": LSTMConfig(300, 5, 7, 2, 0.25),
    "LSTMEncoderDecoder": LSTMEncoderDecoderConfig(300, 310),
    "TransformerEncoderDecoder": TransformerEncoderDecoderConfig(300, 310, n_embd=8, n_head=2),
}


def made(name, dtype=np.float32, seed=0):
    model = MODELS[name.partition(",")[0]].model(CONFIGS[name], rng=np.random.default_rng(seed), dtype=dtype)
    for p in model.parameters():  # no zeros and ones, which a mistake could leave
        p.data += np.random.default_rng(seed + 1).standard_normal(p.shape).astype(dtype)
    return model.eval()


TOKENIZERS = [CharTokenizer.train(TEXT), ByteTokenizer(["<|end|>"]), BPETokenizer.train(TEXT, vocab_size=280)]


LARGE = ByteTokenizer([f"<{i:02}>" for i in range(60)])


def same(a, b):
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(
        one[name].dtype == two[name].dtype and one[name].tobytes() == two[name].tobytes() for name in one)


def test_every_kind_is_tried():
    assert {name.partition(",")[0] for name in CONFIGS} == set(MODELS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CONFIGS)
def test_there_and_back_to_the_last_bit(name, dtype, tmp_path):
    model = made(name, dtype)
    save_pretrained(tmp_path / "m", model, None)
    assert {file.name for file in (tmp_path / "m").iterdir()} == {"config.json", "model.safetensors"}
    back, tokenizer = load_pretrained(tmp_path / "m")
    assert tokenizer is None
    assert type(back) is type(model)
    assert back.config == model.config
    assert same(back, model)
    assert not any(part.training for _, part in back.children())
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]  # nothing is left beside it
    assert all(p.requires_grad and p.data.flags.writeable for p in back.parameters())


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda t: type(t).__name__)
def test_tokenizers_come_along(tokenizer, tmp_path):
    save_pretrained(tmp_path / "m", made("GPT"), tokenizer)
    assert load_pretrained(str(tmp_path / "m"))[1] == tokenizer


def test_two_tokenizers_of_an_encoder_decoder(tmp_path):
    save_pretrained(tmp_path / "m", made("TransformerEncoderDecoder"), (TOKENIZERS[0], TOKENIZERS[2]))
    assert load_pretrained(tmp_path / "m")[1] == (TOKENIZERS[0], TOKENIZERS[2])
    path = tmp_path / "m" / "tokenizer.json"
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items()))))
    assert load_pretrained(tmp_path / "m")[1] == (TOKENIZERS[0], TOKENIZERS[2]), "by name, not by order"
    save_pretrained(tmp_path / "one", made("TransformerEncoderDecoder"), TOKENIZERS[1])
    assert load_pretrained(tmp_path / "one")[1] == TOKENIZERS[1]


def test_the_safetensors_package_reads_the_weights(tmp_path):
    from safetensors.numpy import load_file

    model = made("Llama")
    save_pretrained(tmp_path / "m", model, None)
    theirs = load_file(tmp_path / "m" / "model.safetensors")
    assert theirs.keys() == model.state_dict().keys()
    for name, array in model.state_dict().items():
        assert_array_equal(theirs[name], array)


def test_loading_and_saving_hold_the_weights_once(tmp_path):
    model = GPT(GPTConfig(2000, 64, 2, 4, 256), rng=np.random.default_rng(0))
    size = 4 * model.n_params
    save_pretrained(tmp_path / "warm", model, None)
    tracemalloc.start()
    try:
        save_pretrained(tmp_path / "m", model, None)
        assert tracemalloc.get_traced_memory()[1] < size / 4  # one matrix at the most
        tracemalloc.reset_peak()
        back, _ = load_pretrained(tmp_path / "m")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert same(back, model)
    assert size < peak < 1.4 * size  # and the largest parameter, while it is made


def test_nothing_is_drawn_for_parameters_that_are_read(monkeypatch, tmp_path):
    save_pretrained(tmp_path / "m", made("LSTMLanguageModel"), None)

    class NoDraws:
        def __getattr__(self, name):
            raise AssertionError(f"{name} was called")

    monkeypatch.setattr(nn.init, "_generator", NoDraws())
    load_pretrained(tmp_path / "m")
    with pytest.raises(AssertionError, match="was called"):
        LSTMLanguageModel(LSTMConfig(5))


def test_empty_ends_with_its_block_even_by_an_error():
    def fail():
        with nn.init.empty():
            assert nn.init.normal((2, 3), 1.0, dtype=np.float64).dtype == np.float64
            assert nn.init.orthogonal((2, 3)).shape == (2, 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert nn.init.normal((50,), 1.0, np.random.default_rng(0)).std() > 0.5


# ---- whole or not at all

def test_a_taken_folder_is_left_alone(tmp_path):
    folder = tmp_path / "m"
    save_pretrained(folder, made("GPT"), None)
    with pytest.raises(UserError, match="is not empty: choose another, or say overwrite=True"):
        save_pretrained(folder, made("Llama"), None)
    assert same(load_pretrained(folder)[0], made("GPT"))
    save_pretrained(folder, made("Llama"), TOKENIZERS[0], overwrite=True)
    assert same(load_pretrained(folder)[0], made("Llama"))
    assert list(tmp_path.iterdir()) == [folder]
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"other files than a model's \(thesis.txt\)"):
        save_pretrained(folder, made("GPT"), None, overwrite=True)
    assert (folder / "thesis.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file: name a folder"):
        save_pretrained(tmp_path / "file", made("GPT"), None, overwrite=True)
    (tmp_path / "empty").mkdir()
    save_pretrained(tmp_path / "empty", made("GPT"), None)
    assert same(load_pretrained(tmp_path / "empty")[0], made("GPT"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch, overwrite):
    folder = tmp_path / "m"
    if overwrite:
        save_pretrained(folder, made("GPT"), None)

    def full(*_):
        raise OSError(28, "No space left on device")

    for name in ("os.replace", "minillm.models.pretrained.write_safetensors"):
        with monkeypatch.context() as patch:
            patch.setattr(name, full)
            with pytest.raises(UserError, match="cannot write .*No space left on device"):
                save_pretrained(folder, made("Llama"), None, overwrite=overwrite)
        assert list(tmp_path.iterdir()) == ([folder] if overwrite else [])
    if overwrite:
        assert same(load_pretrained(folder)[0], made("GPT"))


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_kill_leaves_the_old_model_or_the_new_one(tmp_path):
    """Killed at the n-th call that changes the disk: the folder is the old model, or the new one, or (between
    two renames) the old one is whole beside it."""
    code = ("import os, signal, sys; import numpy as np\n"
            "from minillm.models import *\n"
            "left = int(sys.argv[2])\n"
            "def dying(real):\n"
            "    def call(*a, **k):\n"
            "        global left; left -= 1\n"
            "        if left < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
            "        return real(*a, **k)\n"
            "    return call\n"
            "for n in ('replace', 'fsync', 'mkdir', 'rmdir', 'unlink'):\n"
            "    setattr(os, n, dying(getattr(os, n)))\n"
            "m = GPT(GPTConfig(9, 4, 1, 1, 4), rng=np.random.default_rng(2))\n"
            "save_pretrained(sys.argv[1], m, None, overwrite=True)\n")
    old, new = (GPT(GPTConfig(9, 4, 1, 1, 4), rng=np.random.default_rng(seed)) for seed in (1, 2))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OPENBLAS_NUM_THREADS": "1"}
    seen = set()
    for n in (0, 2, 4, 5, 6, 7, 99):
        place = tmp_path / str(n)
        save_pretrained(place / "m", old, None)
        done = subprocess.run([sys.executable, "-c", code, place / "m", str(n)], env=env, timeout=60,
                              check=False)
        assert done.returncode == (0 if n == 99 else -signal.SIGKILL)
        if (place / "m").exists():
            model, _ = load_pretrained(place / "m")
            assert same(model, old) or same(model, new)
            seen.add("new" if same(model, new) else "old")
        else:
            [aside] = place.glob(".m.old-*")
            assert same(load_pretrained(aside)[0], old)
            seen.add("aside")
    assert seen == {"old", "new", "aside"}


def test_the_old_model_is_put_back_if_the_new_one_cannot_take_its_name(tmp_path, monkeypatch):
    folder = tmp_path / "m"
    save_pretrained(folder, made("GPT"), None)
    real, calls = os.replace, []

    def second_fails(*names):
        calls.append(names)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        real(*names)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(UserError, match="Input/output error"):
        save_pretrained(folder, made("Llama"), None, overwrite=True)
    assert list(tmp_path.iterdir()) == [folder]
    assert same(load_pretrained(folder)[0], made("GPT"))


def test_what_cannot_be_saved(tmp_path):
    mixed = made("GPT")
    mixed.norm.weight.data = mixed.norm.weight.data.astype(np.float64) if mixed.norm else None
    with pytest.raises(ValueError, match="the parameters are of float32, float64"):
        save_pretrained(tmp_path / "m", mixed, None)
    with pytest.raises(ValueError, match="model is a Linear: give one of GPT"):
        save_pretrained(tmp_path / "m", nn.Linear(2, 3), None)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(("name", "tokenizer", "message"), [
    ("GPT", LARGE, "the tokenizer has 316 ids, but the model has vocab_size = 300"),
    ("GPT", (TOKENIZERS[0], TOKENIZERS[1]), "the tokenizer is a tuple of 2: give one tokenizer"),
    ("GPT", "tokenizer.json", "the tokenizer is a str: give one of CharTokenizer, ByteTokenizer, BPETok"),
    ("LSTMEncoderDecoder", (TOKENIZERS[0],) * 3, "is a tuple of 3"),
    ("LSTMEncoderDecoder", (TOKENIZERS[0], LARGE), "has 316 ids, but the model has target_vocab_size = 310")])
def test_what_could_not_be_read_again_does_not_replace_a_model(tmp_path, name, tokenizer, message):
    save_pretrained(tmp_path / "m", made("Llama"), None)
    with pytest.raises(ValueError, match=message):
        save_pretrained(tmp_path / "m", made(name), tokenizer, overwrite=True)
    changed = made("GPT")
    changed.tokens = nn.Embedding(301, 12)
    with pytest.raises(ValueError, match=r"the model has \d+ parameters, but its config makes \d+"):
        save_pretrained(tmp_path / "m", changed, None, overwrite=True)
    assert same(load_pretrained(tmp_path / "m")[0], made("Llama"))
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]


def test_options_of_other_number_types_are_read_again(tmp_path):
    config = GPTConfig(np.int64(20), 8, np.int8(1), 2, 8, dropout=0, bias=1, norm_eps=np.float32(1e-5))
    save_pretrained(tmp_path / "m", GPT(config), None)
    back = load_pretrained(tmp_path / "m")[0].config
    assert back == config
    assert {type(value) for value in vars(back).values()} == {int, float, bool, str, type(None)}


# ---- what is no model

def test_names_that_are_no_model(tmp_path):
    with pytest.raises(UserError, match="'nothing' does not exist: name a model's folder, a .gguf file"):
        load_pretrained("nothing")
    with pytest.raises(UserError, match="holds no config.json: name the folder of a model"):
        load_pretrained(tmp_path)
    (tmp_path / "a.gguf").write_bytes(b"")
    with pytest.raises(UserError, match="holds no config.json: name the file a.gguf in it"):
        load_pretrained(tmp_path)
    with pytest.raises(UserError, match="is empty: name a GGUF file"):
        load_pretrained(tmp_path / "a.gguf")
    (tmp_path / "b.txt").write_text("")
    with pytest.raises(UserError, match="is neither a folder nor a .gguf file"):
        load_pretrained(tmp_path / "b.txt")
    (tmp_path / "config.json").write_text('{"task": "language modelling"}')
    with pytest.raises(UserError, match="is a run folder .* with `minillm export RUN FOLDER`"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="of no known kind"):
        load_pretrained(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        load_pretrained("x" * 5000)


def refused(tmp_path, name, change=None, inner=None, tokenizer=None):
    folder = tmp_path / "m"
    save_pretrained(folder, made(name), tokenizer)
    config = json.loads((folder / "config.json").read_text())
    config |= change or {}
    if inner is not None:
        config["config"] = {k: v for k, v in {**config["config"], **inner}.items() if v != "absent"}
    (folder / "config.json").write_text(json.dumps(config))
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            load_pretrained(folder)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


@pytest.mark.parametrize(("name", "change", "words"), [
    ("GPT", {"version": 2}, ["version = 2, but this minillm reads 1"]),
    ("GPT", {"model": "Mamba"}, ["model is 'Mamba'", "one of GPT"]),
    ("GPT", {"model": "Llama"}, ["config has the field 'bias'"]),
    ("GPT", {"dtype": "int8"}, ["dtype is 'int8'"]),
    ("GPT", {"dtype": "float64"}, ["of type F32, but config.json has dtype = float64"]),
    ("GPT", {"config": None}, ["config is 'None', it should be an object"]),
    ("GPT", {"tokenizer": True}, ["there is no file", "tokenizer.json"]),
    ("GPT", {"tokenizer": 1}, ["tokenizer is '1', it should be true or false"])])
def test_a_damaged_head_of_the_configuration(tmp_path, name, change, words):
    message = refused(tmp_path, name, change)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(("name", "inner", "words"), [
    ("GPT", {"vocab_size": 10**12}, ["config.json', config: vocab_size is '1000000000000'"]),
    ("GPT", {"vocab_size": 10**9}, ["vocab_size = 1000000000, block_size = 8", "model.safetensors' holds"]),
    ("GPT", {"n_layer": 2**31 - 1}, ["n_layer = 2147483647"]),
    ("GPT", {"n_layer": 0}, ["n_layer = 0 must be at least 1"]),
    ("GPT", {"n_embd": -12}, ["n_embd is '-12'"]),
    ("GPT", {"block_size": 308, "vocab_size": 0}, ["vocab_size = 0 must be at least 1"]),
    ("GPT", {"block_size": 300, "vocab_size": 8},
     ["tensor 'tokens.weight' has the shape (300, 12)", "makes it (8, 12)"]),
    ("GPT", {"vocab_size": "absent"}, ["config has no vocab_size"]),
    ("GPT", {"vocab_size": "300"}, ["vocab_size is '300', it should be of type int"]),
    ("GPT", {"vocab_size": 300.0}, ["vocab_size is '300.0'"]),
    ("GPT", {"vocab_size": True}, ["vocab_size is 'True'"]),
    ("GPT", {"bias": 0}, ["bias is '0', it should be of type bool"]),
    ("GPT", {"norm": "middle"}, ["norm = 'middle' must be one of pre, post"]),
    ("GPT", {"colour": 1}, ["config has the field 'colour', which this minillm does not know"]),
    ("Llama", {"softcap": "3"}, ["softcap is '3', it should be of type float or null"]),
    ("Llama", {"tied": False}, ["tied = False", "model.safetensors' holds"]),
    ("LSTMLanguageModel", {"hidden_dim": 2**31}, ["hidden_dim is '2147483648'"]),
    ("TransformerEncoderDecoder", {"n_encoder_layer": 10**6}, ["n_encoder_layer = 1000000"])])
def test_sizes_that_lie(tmp_path, name, inner, words):
    message = refused(tmp_path, name, inner=inner)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_slots_of_any_depth_are_the_parameters(name, layers):
    config, kind = CONFIGS[name], MODELS[name.partition(",")[0]]
    config = replace(config, **dict.fromkeys(kind.stacks.values(), layers))
    wanted = {name: p.shape for name, p in kind.model(config).named_parameters()}
    assert {slot.tensor: slot.shape for slot in own_slots(config)} == wanted


def test_both_directions_of_an_encoder_are_slots_or_one():
    for both in (True, False):
        config = LSTMEncoderDecoderConfig(9, 9, 4, 6, 4, bidirectional=both, input_feeding=True)
        wanted = {name for name, _ in MODELS["LSTMEncoderDecoder"].model(config).named_parameters()}
        assert {slot.parameter for slot in own_slots(config)} == wanted


@pytest.mark.parametrize("name", CONFIGS)
def test_layers_that_lie_cost_nothing_though_the_sum_is_right(name, tmp_path):
    """One tensor with as many numbers as all of 100000 layers: no such model is made to find that out."""
    kind = MODELS[name.partition(",")[0]]
    sizes = {"vocab_size": 1, "block_size": 1, "n_embd": 2, "n_head": 1, "hidden_dim": 2, "embedding_dim": 1,
             "source_vocab_size": 1, "target_vocab_size": 1, "n_kv_head": None, "head_dim": None}
    small = {field.name for field in fields(kind.config)} & sizes.keys()
    config = replace(CONFIGS[name], **{field: sizes[field] for field in small},
                     **dict.fromkeys(kind.stacks.values(), 100_000))
    folder = tmp_path / "m"
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", {"x": np.zeros(config.n_params, np.float16)}, {})
    (folder / "config.json").write_text(json.dumps({
        "format": "minillm-model", "version": 1, "model": name.partition(",")[0], "dtype": "float16",
        "config": asdict(config), "tokenizer": False}))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"has no tensor '\w+\.weight'"):
            load_pretrained(folder)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_field_that_came_later_may_be_missing(tmp_path):
    save_pretrained(tmp_path / "m", made("GPT"), None)
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    del config["config"]["softcap"]
    path.write_text(json.dumps(config))
    assert same(load_pretrained(tmp_path / "m")[0], made("GPT"))


def test_tokenizers_that_do_not_fit(tmp_path):
    save_pretrained(tmp_path / "m", made("GPT"), TOKENIZERS[1])
    path = tmp_path / "m" / "tokenizer.json"
    path.write_text(json.dumps(LARGE.to_json()))
    with pytest.raises(UserError, match="has 316 ids, but config.json has vocab_size = 300"):
        load_pretrained(tmp_path / "m")
    path.write_text(json.dumps({"source": LARGE.to_json(), "target": LARGE.to_json()}))
    with pytest.raises(UserError, match=r"tokenizer.json' is a tuple of 2: give one tokenizer"):
        load_pretrained(tmp_path / "m")
    for text, words in (("{", "damaged or no JSON"), ('{"kind": "word"}', "the tokenizer's kind is 'word'"),
                        ('{"kind": "char"}', "not a character tokenizer")):
        path.write_text(text)
        with pytest.raises(UserError, match=words):
            load_pretrained(tmp_path / "m")
    path.unlink()
    with pytest.raises(UserError, match="there is no file .*tokenizer.json"):
        load_pretrained(tmp_path / "m")


# ---- anything at all in the configurations

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 400) | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4)


@pytest.mark.parametrize("kind", ["ours: GPT", "ours: Llama", "ours: LSTMLanguageModel", "gpt2", "llama"])
def test_any_configuration_gives_a_model_or_one_line(kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    name = kind.removeprefix("ours: ")
    if name != kind:
        save_pretrained(folder, made(name), TOKENIZERS[1])
    else:
        config = GPTConfig(300, 8, 2, 2, 12) if name == "gpt2" else LlamaConfig(300, 2, 12, 2, 1, 4, 20)
        model = (GPT if name == "gpt2" else Llama)(config)
        save_huggingface(folder, model, BPETokenizer.train(TEXT, vocab_size=280))
    sound = json.loads((folder / "config.json").read_text())
    inner = sound["config"] if name != kind else sound
    fields = sorted({*sound, *inner, "rope_scaling", "rope_parameters", "head_dim", "n_inner"})

    @given(st.dictionaries(st.sampled_from(fields), json_values, min_size=1, max_size=3))
    def try_it(change):
        config = json.loads(json.dumps(sound))
        inside = config["config"] if name != kind else config
        for field, value in change.items():
            (inside if field in inner else config)[field] = value
        (folder / "config.json").write_text(json.dumps(config))
        message = ""
        try:
            model, _ = load_pretrained(folder)
            assert model.n_params == model.config.n_params
        except UserError as error:
            message = str(error)
        assert "\n" not in message

    try_it()
