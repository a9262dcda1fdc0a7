"""Settings, tokens, losses and samples of language modelling. Stopping and going on: tests/train."""

import json
import math
import random
import tracemalloc
from collections import Counter
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minillm.errors import UserError
from minillm.models import GPT, GPTConfig, Llama, LSTMLanguageModel
from minillm.tasks import memory
from minillm.tasks.language_modelling import LanguageModelling, load_model, resume
from minillm.tasks.language_models import MODELS, OWN_SETTINGS
from minillm.tasks.presets import PRESETS
from minillm.tasks.samples import Writer
from minillm.tasks.text_data import encode, evaluation_data, train_tokenizer
from minillm.text import CharTokenizer
from minillm.train import load_checkpoint, save_checkpoint

SMALL: dict[str, dict[str, Any]] = {
    "lstm": {"embedding_dim": 8, "hidden_dim": 16, "dropout": 0.0},
    "gpt": {"model": "gpt", "n_layer": 1, "n_head": 2, "n_embd": 16},
    "llama": {"model": "llama", "n_layer": 1, "n_head": 2, "n_embd": 16, "n_kv_head": 1},
}
SHORT: dict[str, Any] = {"steps": 8, "batch_size": 4, "seq_len": 16, "warmup": 2, "eval_every": 4,
                         "log_every": 2}


class Silent:
    def step(self, record: dict[str, Any]) -> None: ...
    def evaluated(self, record: dict[str, Any]) -> None: ...
    def sampled(self, record: dict[str, Any]) -> None: ...


@pytest.fixture
def text(tmp_path: Path) -> str:
    rng = random.Random(0)
    words = ["one", "two", "three", "four", "five", "six", "sieben", "acht", "neun", "九", "十"]
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(" ".join(rng.choices(words, k=12)) for _ in range(120)), encoding="utf-8")
    return str(path)


def trained(config: LanguageModelling, out: Path) -> Any:
    trainer = config.start(out)
    assert trainer.fit(Silent()) == "finished"
    trainer.run_folder.close()
    return trainer


def metrics(out: Path, key: str) -> list[Any]:
    records = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [r[key] for r in records if key in r]


# ---- settings


@pytest.mark.parametrize("model", PRESETS)
def test_presets_are_valid_and_grow(model: str) -> None:
    assert list(PRESETS[model]) == ["seconds", "minutes", "quarter", "hour"]
    work = []
    for preset, settings in PRESETS[model].items():
        config = LanguageModelling(model=model, preset=preset)
        config.check()
        assert {name: getattr(config, name) for name in settings} == settings
        assert LanguageModelling(**asdict(config)) == config, "all settings are in the configuration"
        flops = config.model_config(100).flops_per_token()
        work.append(flops * config.steps * config.sequences * config.seq_len)
        assert config.steps % config.eval_every == 0
        assert config.model_config(100).memory_bytes(config.batch_size, config.seq_len) < 2 << 30
    assert all(3 * a < b for a, b in pairwise(work))


def test_the_default_is_the_demos_lstm() -> None:
    config = LanguageModelling()
    assert (config.model, config.preset, config.tokenizer) == ("lstm", "minutes", "char")
    settings = {"steps": 1000, "batch_size": 64, "seq_len": 64, "embedding_dim": 64, "hidden_dim": 256,
                "num_layers": 1, "dropout": 0.1, "lr": 6e-3, "warmup": 50, "floor": 0.1, "beta2": 0.999,
                "weight_decay": 0.0, "accumulate": 1, "eval_every": 100}
    assert {name: getattr(config, name) for name in settings} == settings


def test_what_is_given_goes_before_the_preset() -> None:
    config = LanguageModelling(model="gpt", preset="hour", n_layer=1, dropout=0.0)
    assert (config.n_layer, config.dropout) == (1, 0.0)
    assert config.n_embd == PRESETS["gpt"]["hour"]["n_embd"]


@pytest.mark.parametrize("model", MODELS)
def test_each_setting_reaches_the_model(model: str) -> None:
    values = {"embedding_dim": 10, "hidden_dim": 14, "num_layers": 3, "dropout": 0.25, "n_layer": 3,
              "n_head": 4, "n_kv_head": 2, "n_embd": 24, "norm": "post", "qk_norm": True, "softcap": 20.0,
              "logit_softcap": 30.0, "init": "small"}
    assert values.keys() == set(OWN_SETTINGS)
    own = {name: values[name] for name in MODELS[model].settings}
    config = LanguageModelling(model=model, seq_len=19, **own)
    config.check()
    made = config.model_config(50)
    assert {name: getattr(made, name) for name in own} == own
    assert made.vocab_size == 50
    assert getattr(made, "block_size", 19) == 19


@pytest.mark.parametrize(("options", "message"), [
    ({"model": "rnn"}, "model = 'rnn' must be one of lstm, gpt, llama"),
    ({"preset": "week"}, "preset = 'week' must be one of seconds"),
    ({"tokenizer": "word"}, "tokenizer = 'word' must be one of char"),
    ({"model": "gpt", "hidden_dim": 64}, "hidden_dim = 64 is no setting of model = gpt, which has n_layer"),
    ({"n_layer": 2}, "n_layer = 2 is no setting of model = lstm"),
    ({"model": "llama", "dropout": 0.1}, "dropout = 0.1 is no setting of model = llama"),
    ({"model": "llama", "norm": "post"}, "norm = post is no setting of model = llama"),
    ({"model": "gpt", "n_embd": 10, "n_head": 4}, "n_embd = 10 must be a multiple"),
    ({"model": "gpt", "norm": "middle"}, "norm = 'middle'"),
    ({"model": "gpt", "windows": "all"}, "windows = 'all' must be one of random, contiguous"),
    ({"windows": "random"}, "windows = random would cut the state"),
    ({"vocab_size": 300}, "vocab_size = 300 is for tokenizer = bpe"),
    ({"accumulate": 0}, "accumulate = 0"), ({"sample_every": -1}, "sample_every = -1"),
    ({"label_smoothing": 1.0}, r"label_smoothing = 1.0 is outside \[0, 1\)"),
    ({"z_loss": -1.0}, "z_loss = -1.0"),
    ({"beta1": 1.0}, "beta1 = 1.0"), ({"beta2": -0.1}, "beta2 = -0.1"), ({"floor": 2.0}, "floor = 2.0"),
    ({"weight_decay": -1.0}, "weight_decay = -1.0"), ({"weight_decay": math.nan}, "weight_decay = nan"),
    ({"seq_len": 0}, "seq_len = 0"), ({"model": "gpt", "seq_len": 0}, "seq_len = 0"),
])
def test_what_no_run_could_have_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        LanguageModelling(**options).check()
    assert "\n" not in str(error.value)


def test_bpe_needs_room_for_all_bytes(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="vocab_size = 255 has no room"):
        LanguageModelling(data=text, tokenizer="bpe", vocab_size=255, **SMALL["lstm"],
                          **SHORT).start(tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("model", MODELS)
def test_memory_is_asked_for_before_the_model_is_made(
    tmp_path: Path, text: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LanguageModelling(data=text, **{**SMALL[model], **SHORT})
    made = config.model_config(50)
    enough = made.memory_bytes(4, 16)
    assert enough > 16 * made.n_params
    monkeypatch.setattr(memory, "physical_memory", lambda: enough)
    memory.check_memory(made, 4, 16, {})
    with pytest.raises(UserError, match="batch_size = 5"):
        memory.check_memory(made, 5, 16, {})
    monkeypatch.setattr(memory, "physical_memory", lambda: 1000)
    with pytest.raises(UserError, match="GiB of memory, and there are 0") as error:
        config.start(tmp_path / "x")
    first = MODELS[model].settings[0]
    assert f"{first} = {SMALL[model][first]}" in str(error.value)
    assert not (tmp_path / "x").exists()


# ---- tokens and bits


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_bits_per_character_are_the_texts_whole_code_length(kind: str) -> None:
    text = "The cat 猫 and the other cat 猫. " * 40
    tokenizer = train_tokenizer(kind, text, 280)
    ids = encode(tokenizer, text)
    held = evaluation_data(tokenizer, text, 16)
    windows = list(held.batches)
    labels = sum(y.size for _, y in windows)
    assert len(ids) - 1 - labels < 16  # fewer than a lane each are left over
    counts = Counter(y for _, window in windows for y in window.ravel().tolist())
    nats = {i: -math.log(n / labels) for i, n in counts.items()}  # a unigram model of the labels
    loss = sum(n * nats[i] for i, n in counts.items()) / labels
    bits = sum(n * nats[i] for i, n in counts.items()) / math.log(2)
    shown = loss / math.log(2) * held.tokens_per_character
    assert shown == pytest.approx(bits / len(text) * len(ids) / labels, rel=1e-12)
    expected = {"char": 1.0, "byte": len(text.encode()) / len(text)}
    if kind in expected:
        assert held.tokens_per_character == expected[kind]
    else:
        assert held.tokens_per_character < 1


def test_a_uniform_guess_costs_eight_bits_a_byte(tmp_path: Path, text: str) -> None:
    """Whatever the tokenizer, the record's bits are those of a character, 3 bytes for a Chinese one."""
    config = LanguageModelling(data=text, tokenizer="byte", **{**SMALL["gpt"], **SHORT})
    trainer = config.start(tmp_path / "run")
    for p in trainer.model.parameters():
        p.data[...] = 0  # all logits are equal
    record = trainer._evaluate()
    parts = config.load_text()
    trainer.run_folder.close()
    for part, name in ((parts.validation, "val"), (parts.train[:len(parts.validation)], "train")):
        bytes_per_character = len(part.encode()) / len(part)
        assert bytes_per_character > 1
        assert record[f"{name}_loss"] == pytest.approx(math.log(256), rel=1e-6)
        assert record[f"{name}_bpc"] == pytest.approx(8 * bytes_per_character, rel=1e-6)
    assert record["gap_bpc"] == record["val_bpc"] - record["train_bpc"]


@pytest.mark.parametrize("seq_len", [1, 5, 64, 10_000])
def test_evaluation_reads_every_token_once_in_windows_no_longer_than_the_models(seq_len: int) -> None:
    text = "".join(chr(0x4E00 + i) for i in range(1000))
    tokenizer = CharTokenizer.train(text)
    seen = []
    for x, y in evaluation_data(tokenizer, text, seq_len).batches:
        assert x.shape[1] <= seq_len
        np.testing.assert_array_equal(y, x + 1)  # the ids are in the order of the text
        seen += y.ravel().tolist()
    assert len(set(seen)) == len(seen)
    assert len(seen) > 999 - 16


def test_a_large_vocabulary_is_evaluated_in_fewer_lanes() -> None:
    class Wide:
        vocab_size = 1 << 16

        def encode(self, text: str, special: bool) -> np.ndarray:
            return np.zeros(len(text), np.int64)

    x, _ = next(iter(evaluation_data(Wide(), "a" * 100_000, 64).batches))  # type: ignore[arg-type]
    assert x.shape == (4, 64)


# ---- training


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_a_run_gives_back_its_model_and_tokenizer(tmp_path: Path, text: str, model: str, tokenizer: str
                                                  ) -> None:
    config = LanguageModelling(data=text, tokenizer=tokenizer, **{**SMALL[model], **SHORT},
                               vocab_size=270 if tokenizer == "bpe" else 0)
    trainer = trained(config, tmp_path / "run")
    loaded, its_tokenizer, facts = load_model(tmp_path / "run")
    assert type(loaded) is {"lstm": LSTMLanguageModel, "gpt": GPT, "llama": Llama}[model]
    assert its_tokenizer.to_json() == trainer.write.tokenizer.to_json()
    assert facts["step"] == trainer.best_step
    loaded.train()
    assert trainer.evaluate(trainer.validation) < math.log(loaded.config.vocab_size)
    again = resume(tmp_path / "run")
    again.run_folder.close()
    assert again.is_finished()
    assert len(metrics(tmp_path / "run", "sample")) == 2


def test_gpt_learns_more_than_how_often_characters_come(tmp_path: Path) -> None:
    rng = random.Random(1)
    nouns, verbs = ["cat", "dog", "bird", "horse"], ["sees", "likes", "hears"]
    path = tmp_path / "text.txt"
    sentence = lambda: f"The {rng.choice(nouns)} {rng.choice(verbs)} the {rng.choice(nouns)}."
    path.write_text("\n\n".join(" ".join(sentence() for _ in range(6)) for _ in range(300)))
    config = LanguageModelling(data=str(path), preset="seconds", model="gpt", steps=100, batch_size=8,
                               seq_len=32, n_embd=32, lr=1e-2, warmup=10, eval_every=100, sample_every=0)
    counts = Counter(config.load_text().validation)
    n = sum(counts.values())
    unigram = -sum(k / n * math.log2(k / n) for k in counts.values())
    trained(config, tmp_path / "run")
    bits, = metrics(tmp_path / "run", "val_bpc")
    assert unigram > 3.5
    assert bits < unigram / 2


@pytest.mark.parametrize("model", MODELS)
def test_accumulated_batches_are_one_large_batch(tmp_path: Path, text: str, model: str) -> None:
    shared = {**SMALL[model], **SHORT, "data": text, "weight_decay": 0.1, "sample_every": 0,
              "label_smoothing": 0.1, "z_loss": 1e-3}
    runs = []
    for accumulate, batch_size in ((1, 12), (3, 4), (12, 1)):
        config = LanguageModelling(**{**shared, "batch_size": batch_size, "accumulate": accumulate})
        out = tmp_path / str(accumulate)
        trained(config, out)
        arrays, _ = load_checkpoint(out / "checkpoint.safetensors")
        runs.append((metrics(out, "loss") + metrics(out, "grad_norm"), arrays))
    for losses, arrays in runs[1:]:
        np.testing.assert_allclose(losses, runs[0][0], rtol=1e-5)
        assert arrays.keys() == runs[0][1].keys()
        for name, array in arrays.items():
            if name.startswith("model."):  # 8 steps of Adam at 1e-3: what rounding moves is far below one
                np.testing.assert_allclose(array, runs[0][1][name], atol=2e-4, err_msg=name)


def test_decay_and_betas_reach_the_optimizer(tmp_path: Path, text: str) -> None:
    config = LanguageModelling(data=text, beta1=0.8, beta2=0.7, weight_decay=0.2, lr=0.5, floor=0.25,
                               **{**SMALL["gpt"], **SHORT})
    trainer = config.start(tmp_path / "run")
    trainer.run_folder.close()
    groups = trainer.optimizer.groups
    assert [g.options["weight_decay"] for g in groups] == [0.2, 0, 0]
    assert {(g.options["beta1"], g.options["beta2"], g.options["lr"]) for g in groups} == {(0.8, 0.7, 0.5)}
    assert trainer.optimizer.schedule is not None
    assert trainer.optimizer.schedule(8) == pytest.approx(0.25)


def test_the_config_of_the_first_version_is_an_lstm_on_characters(tmp_path: Path, text: str) -> None:
    config = LanguageModelling(data=text, **SMALL["lstm"], **SHORT)
    trained(config, tmp_path / "whole")
    trainer = config.start(tmp_path / "old")
    trainer.fit(Silent(), max_seconds=1e-9)
    trainer.run_folder.close()
    saved = json.loads((tmp_path / "old" / "config.json").read_text())
    first = ("task data seed steps batch_size seq_len embedding_dim hidden_dim num_layers dropout lr warmup "
             "clip l1 l2 log_every eval_every patience tokenizer")
    old = {name: saved[name] for name in first.split()} | {"data": text}
    (tmp_path / "old" / "config.json").write_text(json.dumps(old))
    again = resume(tmp_path / "old")
    assert again.step == 1
    again.fit(Silent())
    again.run_folder.close()
    ends = [load_checkpoint(tmp_path / name / "checkpoint.safetensors")[0] for name in ("whole", "old")]
    assert {k: v.tobytes() for k, v in ends[0].items()} == {k: v.tobytes() for k, v in ends[1].items()}
    assert type(load_model(tmp_path / "old")[0]) is LSTMLanguageModel
    (tmp_path / "old" / "config.json").write_text(json.dumps({**old, "data": None}))  # Python's own text
    assert type(load_model(tmp_path / "old")[0]) is LSTMLanguageModel
    del old["lr"]
    (tmp_path / "old" / "config.json").write_text(json.dumps(old))
    with pytest.raises(UserError, match=r"config\.json .* is damaged"):
        resume(tmp_path / "old")


# ---- a config.json that lies


def bent(run: Path, change: dict[str, Any]) -> None:
    path = run / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


@pytest.mark.parametrize(("model", "change", "words"), [
    ("gpt", {"seq_len": 10**12}, ["seq_len = 1000000000000 must be at most"]),
    ("gpt", {"seq_len": 10**9}, ["block_size = 1000000000", "parameters, but '", ".safetensors' holds"]),
    ("gpt", {"n_layer": 10**6}, ["n_layer = 1000000", "one of the two is wrong"]),
    ("llama", {"n_layer": 0}, ["n_layer = 0 must be at least 1"]),
    ("gpt", {"n_head": 2.0}, ["n_head = 2.0 must be a whole number"]),
    ("gpt", {"n_head": 4}, []),
    ("gpt", {"n_embd": 18, "n_head": 3}, ["n_embd = 18", "one of the two is wrong"]),
    ("lstm", {"steps": 4.5}, ["steps = 4.5 must be a whole number"]),
    ("lstm", {"steps": True}, ["steps = True must be a whole number"]),
    ("lstm", {"lr": "fast"}, ["lr = 'fast' must be a finite number"]),
    ("lstm", {"dropout": None}, ["dropout = null"]),
    ("lstm", {"hidden_dim": None}, ["hidden_dim = null"]),
    ("lstm", {"eval_every": None}, ["eval_every = null"]),
    ("lstm", {"seed": None}, ["seed = None must be a whole number"]),
    ("lstm", {"data": 5}, ["int"]),
    ("lstm", {"model": ["lstm"]}, ["unhashable"]),
    ("lstm", {"num_layers": 2}, ["num_layers = 2", "one of the two is wrong"]),
    ("lstm", {"tokenizer": None}, ["the tokenizer's kind is None"]),
    ("lstm", {"tokenizer": {"kind": ["char"]}}, ["the tokenizer's kind is ['char']"]),
])
def test_a_config_that_lies_is_one_line_that_names_it(
    tmp_path: Path, text: str, model: str, change: dict[str, Any], words: list[str]
) -> None:
    run = tmp_path / "run"
    trained(LanguageModelling(data=text, **{**SMALL[model], **SHORT}), run)
    bent(run, change)
    if not words:  # other heads of the same matrices: nothing that a file of weights could tell
        load_model(run)
        return
    for load in (load_model, resume):
        tracemalloc.start()
        try:
            with pytest.raises(UserError) as refused:
                load(run)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()
        message = str(refused.value)
        assert [word for word in [*words, "config.json", str(run)] if word not in message] == []
        assert "\n" not in message


@pytest.mark.parametrize("model", MODELS)
def test_layers_that_lie_are_not_made(tmp_path: Path, text: str, model: str) -> None:
    """One tensor has as many numbers as 100000 layers: the model of so many is not made to find that out."""
    settings = {"lstm": {"embedding_dim": 1, "hidden_dim": 1},
                "gpt": {"n_embd": 1, "n_head": 1}, "llama": {"n_embd": 2, "n_head": 1, "n_kv_head": 1}}[model]
    config = LanguageModelling(data=text, **{**SMALL[model], **SHORT, **settings})
    run = tmp_path / "run"
    trainer = trained(config, run)
    layers = "num_layers" if model == "lstm" else "n_layer"
    bent(run, {layers: 100_000})
    sizes = replace(trainer.model.config, **{layers: 100_000})
    save_checkpoint(run / "best.safetensors", {"x": np.zeros(sizes.n_params, np.float16)}, {"step": 1})
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"best\.safetensors' has no tensor '\w+\.weight'"):
            load_model(run)
        assert tracemalloc.get_traced_memory()[1] < (2 << 20) + 2 * 2 * sizes.n_params
    finally:
        tracemalloc.stop()


def test_nothing_is_drawn_for_a_model_that_is_read(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
                                                   ) -> None:
    trained(LanguageModelling(data=text, **{**SMALL["gpt"], **SHORT}), tmp_path / "run")

    def drawn(*_: Any, **__: Any) -> Any:
        raise AssertionError("a parameter was drawn")

    monkeypatch.setattr("minillm.nn.init._generator", None)  # what a model without a generator draws from
    monkeypatch.setattr("minillm.tasks.language_models.Kind.make", drawn)
    model, _, _ = load_model(tmp_path / "run")
    assert not model.training
    best = load_checkpoint(tmp_path / "run" / "best.safetensors")[0]
    assert model.state_dict().keys() == best.keys()
    assert all(v.tobytes() == best[k].tobytes() for k, v in model.state_dict().items())


def test_settings_are_plain_values_of_their_types() -> None:
    config = LanguageModelling(model="gpt", steps=np.int64(5), lr=1, qk_norm=1, dropout=np.float32(0.5))
    assert (config.steps, config.lr, config.qk_norm, config.dropout) == (5, 1.0, True, 0.5)
    assert json.loads(json.dumps(asdict(config)))["steps"] == 5
    assert type(config.lr) is float
    for wrong in ({"steps": 4.5}, {"steps": True}, {"lr": math.inf}, {"preset": "hour", "clip": "1"}):
        with pytest.raises(UserError, match=f"{list(wrong)[-1]} = .* must be a"):
            LanguageModelling(**wrong)  # type: ignore[arg-type]


# ---- samples


def test_a_sample_is_a_function_of_seed_and_step_and_may_outgrow_the_window(text: str) -> None:
    tokenizer = CharTokenizer.train(Path(text).read_text("utf-8"))
    model = GPT(GPTConfig(tokenizer.vocab_size, 24, 1, 2, 8), rng=np.random.default_rng(0)).eval()
    write = Writer(model, tokenizer, "one t", 0)
    assert write(3) == write(3) != write(4)
    assert write(3) != Writer(model, tokenizer, "one t", 1)(3)
    assert write(3).startswith("one t")
    assert len(write(3)) == len("one t") + 100
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(map(write, range(40))), "<unk> is not drawn"
    assert len(Writer(model, tokenizer, "", 0)(3)) == 100  # the new line it begins with is not shown
    assert Writer(model, CharTokenizer("".join(sorted("ab"))), "", 0)._beginning() == "a"
    model.tokens.weight.data[...] = np.nan
    assert write(3) == "one t", "a model that has diverged writes nothing; training says what happened"


def test_a_prompt_that_cannot_be_used_is_one_line(tmp_path: Path, text: str) -> None:
    config = LanguageModelling(data=text, sample_prompt="one z", **{**SMALL["gpt"], **SHORT})
    with pytest.raises(UserError, match="sample_prompt = 'one z': .* 'z'"):
        config.start(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    LanguageModelling(data=text, tokenizer="byte", sample_prompt="one z" * 99,
                      **{**SMALL["gpt"], **SHORT}).start(tmp_path / "run").run_folder.close()
