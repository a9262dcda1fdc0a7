"""`minillm perplexity`: figures worked by hand, every kind of model, and mistakes in one line."""

import json
import math
import sys

import numpy as np
import pytest

from minillm.cli.main import main
from minillm.cli.perplexity import measure
from minillm.models import (
    GPT,
    GPTConfig,
    Llama,
    LlamaConfig,
    LSTMConfig,
    LSTMLanguageModel,
    TransformerEncoderDecoder,
    TransformerEncoderDecoderConfig,
    save_huggingface,
    save_pretrained,
)
from minillm.models.likelihood import token_losses
from minillm.text import BPETokenizer, ByteTokenizer, CharTokenizer

TEXT = "the ferry was late, 渡轮晚点了; the gulls were on time.\n" * 3


@pytest.fixture
def minillm(monkeypatch, capsys):
    """Run the command: (exit status, output, error)."""
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["minillm", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        return stopped.value.code or 0, said.out, said.err
    return run


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def guesser(V):
    """A model to which all V tokens are alike."""
    model = GPT(GPTConfig(V, 16, 1, 1, 4)).eval()
    model.tokens.weight.data[...] = 0
    return model


def test_a_guess_among_all_tokens_costs_log_v(minillm, text, tmp_path):
    save_pretrained(tmp_path / "m", guesser(256), ByteTokenizer())
    status, out, error = minillm("perplexity", tmp_path / "m", text, "--json")
    assert (status, error) == (0, "")
    figures = json.loads(out)
    n_bytes, characters = len(TEXT.encode()) - 1, len(TEXT) - 1
    assert figures["tokens"] == figures["bytes"] == n_bytes
    assert figures["characters"] == characters
    assert figures["perplexity"] == pytest.approx(256)
    assert figures["bits_per_byte"] == pytest.approx(8)
    assert figures["bits_per_character"] == pytest.approx(8 * n_bytes / characters)
    status, out, _ = minillm("perplexity", tmp_path / "m", text)
    assert status == 0
    assert "perplexity per token  256\n" in out
    assert "bits per byte         8\n" in out


def test_bytes_and_characters_are_those_of_the_predicted_text():
    tokenizer = BPETokenizer.train(TEXT, vocab_size=290)
    figures = measure(guesser(290), tokenizer, TEXT)
    ids = tokenizer.encode(TEXT)
    first = len(tokenizer.token_bytes(ids[0]))
    bits = (len(ids) - 1) * math.log2(290)
    assert figures["bytes"] == len(TEXT.encode()) - first
    assert figures["bits_per_byte"] == pytest.approx(bits / figures["bytes"])
    assert figures["bits_per_character"] == pytest.approx(bits / (len(TEXT) - first))
    characters = CharTokenizer.train(TEXT)
    figures = measure(guesser(characters.vocab_size), characters, TEXT, tokens=20)
    assert (figures["tokens"], figures["characters"]) == (19, 19)
    assert figures["bytes"] == len(TEXT[1:20].encode())
    assert figures["bits_per_character"] == pytest.approx(math.log2(characters.vocab_size))


def test_special_tokens_in_the_file_are_text():
    tokenizer = ByteTokenizer(["<|end|>"])
    assert measure(guesser(257), tokenizer, "a<|end|>b")["tokens"] == 8


def test_what_texts_began_with_in_training_comes_first(rng):
    plain = BPETokenizer.train(TEXT, vocab_size=290, special_tokens=["<s>", "<b>", "</s>"])
    ids = plain.encode(TEXT).tolist()
    model = Llama(LlamaConfig(290, 1, 8, 2, block_size=512), rng=rng).eval()
    for p in model.parameters():
        p.data *= 5
    figures = measure(model, plain.marked(prefix=[0, 1], suffix=[2]), TEXT)
    wanted = token_losses(model, [0, 1, *ids])[1:]
    assert figures["tokens"] == len(ids) == len(wanted)
    assert figures["nats_per_token"] == pytest.approx(wanted.mean())
    assert (figures["bytes"], figures["characters"]) == (len(TEXT.encode()), len(TEXT))
    assert measure(model, plain, TEXT)["nats_per_token"] == pytest.approx(token_losses(model, ids).mean())
    assert measure(model, plain.marked(prefix=[0]), TEXT, tokens=1)["tokens"] == 1


def test_a_character_that_the_model_never_saw_is_refused(minillm, tmp_path):
    """They would all be one token, however many there are: no measure of a text."""
    characters = CharTokenizer("ab\n")
    save_pretrained(tmp_path / "m", guesser(characters.vocab_size), characters)
    (tmp_path / "t.txt").write_text("abab国演", "utf-8")
    status, out, error = minillm("perplexity", tmp_path / "m", tmp_path / "t.txt")
    assert (status, out) == (1, "")
    assert error == "error: the model never saw '国': no probability of this text can be measured\n"
    assert minillm("perplexity", tmp_path / "m", tmp_path / "t.txt", "--tokens", 4)[0] == 0


def test_every_kind_of_model(minillm, text, tmp_path, rng):
    bpe = BPETokenizer.train(TEXT, vocab_size=280)
    models = {"llama": Llama(LlamaConfig(280, 1, 8, 2, block_size=32), rng=rng),
              "lstm": LSTMLanguageModel(LSTMConfig(280, 4, 6), rng=rng)}
    for name, model in models.items():
        save_pretrained(tmp_path / name, model.eval(), bpe)
    save_huggingface(tmp_path / "huggingface", models["llama"], bpe)
    seen = {}
    for name in (*models, "huggingface"):
        status, out, error = minillm("perplexity", tmp_path / name, text, "--json")
        assert (status, error) == (0, "")
        seen[name] = json.loads(out)
    assert seen["huggingface"] == seen["llama"]
    assert seen["lstm"]["perplexity"] == pytest.approx(280, rel=0.2)
    wide, narrow = (json.loads(minillm("perplexity", tmp_path / "llama", text, "--json", "--window", window,
                                       "--stride", "1")[1])["nats_per_token"] for window in (32, 4))
    assert wide != narrow


def test_a_run_folder(minillm, text, tmp_path):
    options = ("--steps 4 --batch-size 2 --seq-len 8 --eval-every 2 --log-every 2 --warmup 1 --hidden-dim 8 "
               "--embedding-dim 4").split()
    long = tmp_path / "long.txt"
    long.write_text("\n\n".join(f"{i} {TEXT}" for i in range(40)), encoding="utf-8")
    status, _, error = minillm("train", "lm", "--data", long, "--out", tmp_path / "run", *options)
    assert status == 0, error
    status, out, error = minillm("perplexity", tmp_path / "run", text, "--tokens", 30, "--json")
    assert (status, error) == (0, "")
    figures = json.loads(out)
    assert figures["tokens"] == figures["characters"] == 29
    assert np.exp(figures["nats_per_token"]) == pytest.approx(figures["perplexity"])


@pytest.mark.parametrize(("arguments", "words"), [
    (["nothing", "{text}"], ["'nothing' does not exist"]),
    (["{model}", "{dir}/no.txt"], ["no.txt", "does not exist"]),
    (["{model}", "{text}", "--window", "17"], ["window = 17 must be in [1, 16]"]),
    (["{model}", "{text}", "--stride", "0"], ["stride = 0 must be in [1, window = 16]"]),
    (["{model}", "{text}", "--tokens", "1"], ["tokens = 1 must be at least 2"]),
    (["{model}", "{dir}/short.txt"], ["a single token"]),
    (["{dir}/bare", "{text}"], ["was saved without a tokenizer"]),
    (["{dir}/translator", "{text}"], ["is an encoder-decoder"])])
def test_a_mistake_is_one_line(minillm, text, tmp_path, arguments, words):
    save_pretrained(tmp_path / "m", guesser(256), ByteTokenizer())
    save_pretrained(tmp_path / "bare", guesser(256), None)
    save_pretrained(tmp_path / "translator", TransformerEncoderDecoder(
        TransformerEncoderDecoderConfig(256, 256, n_embd=4, n_head=1)), ByteTokenizer())
    (tmp_path / "short.txt").write_text("a")
    places = {"text": text, "model": tmp_path / "m", "dir": tmp_path}
    status, out, error = minillm("perplexity", *(argument.format(**places) for argument in arguments))
    assert (status, out) == (1, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert [word for word in words if word not in error] == []


def test_help(minillm):
    status, out, _ = minillm("perplexity", "--help")
    assert status == 0
    assert "Example" in out
    assert "--stride" in out
