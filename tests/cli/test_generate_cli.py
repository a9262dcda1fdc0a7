"""`minillm generate`, inside this process: a tiny model of each kind, its text, and every mistake."""

import re
import signal
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.cli import generate as cli
from minillm.cli.main import main
from minillm.generate import Piece, beam_search, generate, generate_text
from minillm.models import GPT, GPTConfig, LSTMConfig, LSTMLanguageModel, save_pretrained
from minillm.text import BPETokenizer, ByteTokenizer, CharTokenizer
from minillm.train import RunFolder

BYTES = ByteTokenizer(["<|endoftext|>"])
CHARS = CharTokenizer("\n abcd")


def model_of(kind):
    rng = np.random.default_rng(5)
    if kind == "gpt":
        made = GPT(GPTConfig(257, 16, 1, 2, 8), rng=rng)
    else:
        made = LSTMLanguageModel(LSTMConfig(CHARS.vocab_size, 4, 8), rng=rng)
    for p in made.parameters():
        p.data += 0.5 * rng.standard_normal(p.shape).astype(np.float32)
    return made.eval()


@pytest.fixture
def models(monkeypatch):
    """`gpt` reads bytes; the LSTM, which any path stands for, reads characters."""
    both = {"gpt": (model_of("gpt"), BYTES), "run": (model_of("lstm"), CHARS)}
    monkeypatch.setattr(cli, "open_model", lambda name: both["gpt" if name == "gpt" else "run"])
    return both


@pytest.fixture
def run_folder(tmp_path):
    RunFolder.create(tmp_path / "run", {"task": "language modelling"}).close()
    return tmp_path / "run"


@pytest.fixture
def minillm(monkeypatch, capfd):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["minillm", "generate", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        done = capfd.readouterr()
        return left.value.code or 0, done.out, done.err

    return call


def test_what_is_printed_is_the_prompt_and_the_text(models, minillm, run_folder):
    one, = generate_text(*models["run"], "ab", 30, temperature=0.9, top_k=3, rng=4)
    said = minillm(run_folder, "--prompt", "ab", "--length", 30, "--temperature", 0.9, "--top-k", 3,
                   "--seed", 4)
    assert said == (0, f"ab{one.text}\n", "")


OPTIONS = {"--top-p": "top_p", "--min-p": "min_p", "--repetition-penalty": "repetition_penalty",
           "--temperature": "temperature"}


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_reaches_the_sampling(models, minillm, option):
    value = 0.6 if option != "--repetition-penalty" else 1.8
    sampling = {"temperature": 0.7, OPTIONS[option]: value}
    one, = generate_text(*models["gpt"], "ab", 40, window=True, **sampling)
    other, = generate_text(*models["gpt"], "ab", 40, window=True, temperature=0.7)
    assert one != other
    assert minillm("gpt", "--prompt", "ab", "--length", 40, option, value)[1] == f"ab{one.text}\n"


def test_a_text_may_be_longer_than_the_model_can_read(models, minillm):
    code, out, _ = minillm("gpt", "--prompt", "x" * 30, "--length", 50, "--temperature", 0)
    one, = generate_text(*models["gpt"], "x" * 30, 50, temperature=0, window=True)
    assert (code, out) == (0, "x" * 30 + one.text + "\n")
    assert len(one.ids) == 50


def test_several_prompts_are_printed_one_after_the_other(models, minillm, run_folder):
    texts = generate_text(*models["run"], ["ab", "c", "d a"], 12, temperature=0.7, stop=["a", "b"])
    assert len({len(t.ids) for t in texts}) > 1
    _, out, _ = minillm(run_folder, "--prompt", "ab", "--prompt", "c", "--prompt", "d a", "--length", 12,
                        "--stop", "a", "--stop", "b")
    assert out == f"ab{texts[0].text}\n---\nc{texts[1].text}\n---\nd a{texts[2].text}\n"


def test_without_a_prompt_it_begins_where_texts_begin(models, minillm, run_folder):
    one, = generate_text(*models["run"], "\n", 9, temperature=0)
    assert minillm(run_folder, "--length", 9, "--temperature", 0)[1] == f"\n{one.text}\n"
    one, = generate_text(*models["gpt"], "<|endoftext|>", 9, temperature=0)
    assert minillm("gpt", "--length", 9, "--temperature", 0)[1] == f"{one.text}\n"


def test_the_prompt_may_be_in_a_file(models, minillm, tmp_path):
    (tmp_path / "prompt.txt").write_text("ab\n", "utf-8")
    one, = generate_text(*models["gpt"], "ab\n", 9, temperature=0)
    assert minillm("gpt", "--prompt-file", tmp_path / "prompt.txt", "--length", 9, "--temperature", 0)[1] \
        == f"ab\n{one.text}\n"


def test_beams(models, minillm):
    model, tokenizer = models["gpt"]
    best = beam_search(model, tokenizer.encode("ab"), 9, n_beams=3, length_penalty=0.5, eos=[256])[0]
    text = tokenizer.decode(best.ids, skip_special=True)
    arguments = ["gpt", "--prompt", "ab", "--length", 9, "--beams", 3, "--length-penalty", 0.5]
    assert minillm(*arguments) == (0, f"ab{text}\n", "")
    assert minillm(*arguments, "--stop", text[2:4])[1] == f"ab{text[:2]}\n"
    _, out, err = minillm(*arguments, "--prompt", "cd", "--stats")
    assert out.startswith(f"ab{text}\n---\ncd")
    assert re.fullmatch(r"search: 18 tokens in [\d.]+ s \([\d,.]+ tokens/s\)\n", err)


def test_more_beams_than_memory_is_one_line(models, minillm, monkeypatch):
    def search(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(cli, "beam_search", search)
    code, _, err = minillm("gpt", "--prompt", "ab", "--length", 9, "--beams", 10**6)
    assert code == 1
    assert err.startswith("error: there is not enough memory")
    assert "fewer beams" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("way", [["--temperature", 0], ["--beams", 1]], ids=["drawn", "searched"])
def test_what_training_put_before_a_text_is_read_and_not_shown(minillm, monkeypatch, way):
    tokenizer = BPETokenizer.train("abcd", vocab_size=257, special_tokens=["<s>"]).marked(prefix=[0])
    model = model_of("gpt")
    monkeypatch.setattr(cli, "open_model", lambda name: (model, tokenizer))
    wanted = [0, *tokenizer.encode("ab").tolist()]
    text = tokenizer.decode(list(generate(model, wanted, 9, temperature=0)), skip_special=True)
    code, out, err = minillm("any", "--prompt", "ab", "--length", 9, "--stats", *way)
    assert (code, out) == (0, f"ab{text}\n")
    if way[0] == "--temperature":
        assert err.startswith("prompt: 3 tokens")
    text = tokenizer.decode(list(generate(model, [0], 9, temperature=0)), skip_special=True)
    assert minillm("any", "--length", 9, *way)[1] == f"{text}\n"


def test_stats_go_to_standard_error(models, minillm):
    code, out, err = minillm("gpt", "--prompt", "abcde", "--length", 9, "--stats", "--temperature", 0)
    assert code == 0
    assert "tokens" not in out
    rate = r"in [\d.]+ s \([\d,.]+ tokens/s\)"
    assert re.fullmatch(rf"prompt: 5 tokens {rate}; after the first step: 8 tokens {rate}\n", err)


def test_ctrl_c_leaves_what_is_written_and_a_new_line(models, minillm, monkeypatch):
    whole = cli.stream_text

    def interrupted(*arguments, **options):
        for i, piece in enumerate(whole(*arguments, **options)):
            if i == 5:
                signal.raise_signal(signal.SIGINT)
            yield piece

    one, = generate_text(*models["gpt"], "ab", 5, temperature=0)
    monkeypatch.setattr(cli, "stream_text", interrupted)
    code, out, err = minillm("gpt", "--prompt", "ab", "--temperature", 0)
    assert (code, out, err) == (0, f"ab{one.text}\n", "")


@settings(max_examples=100)
@given(st.lists(st.integers(0, 2), max_size=20))
def test_texts_do_not_mix_and_none_is_later_than_it_could_be(order):
    """Whatever order the rows' tokens come in, and wherever they end."""
    last = {row: len(order) - 1 - order[::-1].index(row) for row in set(order)}
    pieces = [Piece(row, 0, f"{i},", "length" if last[row] == i else None) for i, row in enumerate(order)]
    texts = ["".join(p.text for p in pieces if p.row == row) for row in range(3)]
    out, written = [], []

    class Out:
        write = staticmethod(out.append)
        flush = staticmethod(lambda: None)

    def watched():
        for piece in pieces:
            yield piece
            if piece.row == 0:
                written.append("".join(out))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", Out)
        cli._print(watched(), ["A:", "B:", "C:"])
    if set(order) == {0, 1, 2}:
        assert "".join(out) == f"A:{texts[0]}\n---\nB:{texts[1]}\n---\nC:{texts[2]}\n"
    for so_far in written:  # the first text is written as it comes
        assert so_far.startswith("A:" + "".join(p.text for p in pieces if p.row == 0)[:len(so_far) - 2])
    firsts = [i for i, row in enumerate(order) if row == 0]
    for i, so_far in zip(firsts, written):
        assert f"{i}," in so_far


MISTAKES = {
    "length": (["gpt", "--length", 0], "length = 0 must be at least 1"),
    "seed": (["gpt", "--seed", -1], "seed = -1 must be at least 0"),
    "beams": (["gpt", "--beams", 0], "beams = 0 must be at least 1"),
    "temperature": (["gpt", "--temperature", -1], "temperature = -1.0 must be finite and not negative"),
    "min-p": (["gpt", "--min-p", 2], "min_p = 2.0 is outside [0, 1]"),
    "penalty": (["gpt", "--repetition-penalty", 0], "repetition_penalty = 0.0 must be finite and positive"),
    "an empty stop string": (["gpt", "--stop", ""], "--stop is empty"),
    "an empty prompt": (["gpt", "--prompt", ""], "the prompt is empty"),
    "two kinds of prompt": (["gpt", "--prompt", "a", "--prompt-file", "x"], "leave out one"),
    "a prompt file that is not there": (["gpt", "--prompt-file", "no.txt"], "'no.txt' does not exist"),
    "beams that draw": (["gpt", "--beams", 2, "--top-p", 0.5], "--beams draws nothing: leave out --top-p"),
    "a penalty without beams": (["gpt", "--length-penalty", 2], "add --beams 4"),
    "a penalty that is no number": (["gpt", "--beams", 2, "--length", 5, "--length-penalty", "nan"],
                                    "length_penalty = nan must be finite"),
    "a penalty too large": (["gpt", "--beams", 4, "--length", 5, "--length-penalty", 1000],
                            "length_penalty = 1000.0 is too far from 0 for 5 tokens"),
    "a penalty too small": (["gpt", "--beams", 4, "--length", 5, "--length-penalty", -2000],
                            "length_penalty = -2000.0 is too far from 0 for 5 tokens"),
    "a special token and more": (["gpt", "--prompt", "ab", "--stop", "a<|endoftext|>"],
                                 "'<|endoftext|>', which is no"),
    "the same, searched": (["gpt", "--prompt", "ab", "--beams", 2, "--length", 5, "--stop", "a<|endoftext|>"],
                           "'<|endoftext|>', which is no"),
    "beams beyond the model": (["gpt", "--beams", 2, "--prompt", "ab"], "max_length = 16"),
    "an unknown character": (["{run}", "--prompt", "x"], "the model never saw 'x'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(name, models, minillm, run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, words = MISTAKES[name]
    code, out, err = minillm(*(run_folder if a == "{run}" else a for a in arguments))
    assert code == 1
    assert out == ""
    assert err.startswith("error: ")
    assert words in err
    assert err.count("\n") == 1


def test_a_model_without_a_tokenizer_is_named(minillm, tmp_path):
    save_pretrained(tmp_path / "bare", model_of("gpt"), None)
    code, _, err = minillm(tmp_path / "bare")
    assert code == 1
    assert "was saved without a tokenizer" in err


def test_a_folder_of_save_pretrained_is_a_model(minillm, tmp_path):
    save_pretrained(tmp_path / "gpt", model_of("gpt"), BYTES)
    one, = generate_text(model_of("gpt"), BYTES, "ab", 9, temperature=0)
    assert minillm(tmp_path / "gpt", "--prompt", "ab", "--length", 9, "--temperature", 0)[1] \
        == f"ab{one.text}\n"


@pytest.mark.parametrize(("name", "words"), [("no/such", "'no/such' does not exist"),
                                             (".", "holds no config.json")])
def test_what_is_no_model_is_named(minillm, tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = minillm(name)
    assert code == 1
    assert words in err
    assert err.count("\n") == 1


def test_a_damaged_run_is_named(minillm, run_folder):
    (run_folder / "config.json").write_text("{", "utf-8")
    code, _, err = minillm(run_folder)
    assert code == 1
    assert "config.json" in err
    assert err.count("\n") == 1
