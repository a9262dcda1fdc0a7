"""`minillm export`, inside this process: a run becomes a folder that both libraries read, or one line."""

import sys

import numpy as np
import pytest

from minillm.cli.main import main
from minillm.cli.open_model import open_model
from minillm.errors import UserError
from minillm.models import load_pretrained
from minillm.tasks import LanguageModelling, load_model

SIZES = {"gpt": {"n_layer": 1, "n_head": 2, "n_embd": 8}, "llama": {"n_layer": 1, "n_head": 2, "n_embd": 8},
         "lstm": {"embedding_dim": 4, "hidden_dim": 8}}


class Silent:
    step = evaluated = sampled = lambda self, record: None


def run_of(folder, model, tokenizer, **settings):
    text = folder / "text.txt"
    text.write_text("\n\n".join(f"line {i} of a small text, number {i * i}." for i in range(60)), "utf-8")
    bpe = {"vocab_size": 265} if tokenizer == "bpe" else {}
    config = LanguageModelling(data=str(text), model=model, tokenizer=tokenizer, steps=4, batch_size=2,
                               seq_len=8, eval_every=2, warmup=1, **{**SIZES[model], **bpe, **settings})
    trainer = config.start(folder / "run")
    trainer.fit(Silent())
    trainer.run_folder.close()
    return folder / "run"


@pytest.fixture
def minillm(monkeypatch, capfd):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["minillm", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        done = capfd.readouterr()
        return left.value.code or 0, done.out, done.err

    return call


def same(a, b):
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(one[name].tobytes() == two[name].tobytes() for name in one)


@pytest.mark.parametrize(("model", "tokenizer"), [("lstm", "char"), ("gpt", "byte"), ("llama", "bpe")])
def test_a_run_becomes_a_models_folder(minillm, tmp_path, model, tokenizer):
    run = run_of(tmp_path, model, tokenizer)
    wanted, its_tokenizer, _ = load_model(run)
    with pytest.raises(UserError, match="minillm export RUN FOLDER"):
        load_pretrained(run)
    code, out, err = minillm("export", run, tmp_path / "out")
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'out'}: {type(wanted).__name__} of {wanted.n_params:,} parameters")
    back, read = load_pretrained(tmp_path / "out")
    assert same(back, wanted)
    assert back.config == wanted.config
    assert read == its_tokenizer
    assert same(open_model(str(tmp_path / "out"))[0], wanted)
    code, _, err = minillm("export", run, tmp_path / "out")
    assert code == 1
    assert "is not empty" in err
    assert "--overwrite" in err
    assert minillm("export", tmp_path / "out", tmp_path / "out", "--overwrite")[0] == 0, "any model"
    assert same(load_pretrained(tmp_path / "out")[0], wanted)


@pytest.mark.parametrize("model", ["gpt", "llama"])
def test_a_run_becomes_a_hugging_face_folder(minillm, tmp_path, model):
    run = run_of(tmp_path, model, "bpe")
    wanted, tokenizer, _ = load_model(run)
    code, out, err = minillm("export", run, tmp_path / "out", "--huggingface")
    assert (code, err) == (0, "")
    assert "transformers and minillm read it" in out
    back, read = load_pretrained(tmp_path / "out")
    assert same(back, wanted)
    text = "line 3 of a small text"
    assert read.encode(text).tolist() == tokenizer.encode(text).tolist()
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="float32").eval()
    ids = tokenizer.encode(text)[:8]
    logits = theirs(__import__("torch").tensor(ids[None])).logits.detach().numpy()
    np.testing.assert_allclose(logits, wanted(ids[None]).numpy(), atol=1e-5)


@pytest.mark.parametrize(("model", "tokenizer", "settings", "words"), [
    ("lstm", "char", {}, "is a LSTMLanguageModel, which transformers has not: leave out --huggingface"),
    ("gpt", "char", {}, "has a CharTokenizer, which transformers has not: leave out --huggingface"),
    ("gpt", "bpe", {"qk_norm": True}, "cannot be written: config.qk_norm = True has no counterpart")])
def test_what_transformers_has_not_is_one_line(minillm, tmp_path, model, tokenizer, settings, words):
    run = run_of(tmp_path, model, tokenizer, **settings)
    code, out, err = minillm("export", run, tmp_path / "out", "--huggingface")
    assert (code, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_run_itself_is_never_written_over(minillm, tmp_path):
    run = run_of(tmp_path, "lstm", "char")
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    code, _, err = minillm("export", run, run, "--overwrite")
    assert code == 1
    assert "holds other files than a model's" in err
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before


# ---- what no command may end with a traceback on

@pytest.mark.parametrize("command", ["generate", "perplexity", "export"])
def test_a_name_of_any_length_is_one_line(minillm, tmp_path, command):
    (tmp_path / "text.txt").write_text("some text")
    rest = [] if command == "generate" else [tmp_path / "text.txt"]
    for name in ("x" * 5000, "a/" * 3000, "\x01\ud800"):
        code, out, err = minillm(command, name, *rest)
        assert (code, out) == (1, "")
        assert "does not exist" in err
        assert err.count("\n") == 1


def test_no_memory_is_one_line(minillm, tmp_path, monkeypatch):
    monkeypatch.setattr("minillm.cli.export.open_model", lambda name: np.empty(1 << 60, np.uint8))
    code, _, err = minillm("export", "anything", tmp_path / "out")
    assert code == 1
    assert err.startswith("error: there is not enough memory (Unable to allocate 1.00 EiB")
    assert err.count("\n") == 1
