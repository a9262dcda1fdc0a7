"""The command line as a user meets it: a process, its output and its exit status."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minillm.formulas import LEDGER
from minillm.train import load_checkpoint

SMALL = ["--steps", "12", "--batch-size", "2", "--seq-len", "8", "--hidden-dim", "8", "--embedding-dim", "4",
         "--eval-every", "6", "--log-every", "3", "--warmup", "2"]


ROOT = Path(__file__).parents[2]


def minillm(*args: object, cwd: Path | None = None, encoding: str = "utf-8"
            ) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "120",
           "PYTHONIOENCODING": encoding}
    return subprocess.run([sys.executable, "-m", "minillm", *map(str, args)], capture_output=True, text=True,
                          encoding=encoding, check=False, cwd=cwd, env=env, timeout=120)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(f"line {i} of a small text, number {i * i}." for i in range(60)), "utf-8")
    return path


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "small"
    done = minillm("train", "lm", "--data", text, "--out", out, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "bits per character" in done.stdout
    assert "gap" in done.stdout
    return out


def test_run_folder_is_complete(run: Path) -> None:
    files = {p.name for p in run.iterdir()}
    assert {"config.json", "metrics.jsonl", "checkpoint.safetensors", "best.safetensors", "loss.png"} <= files
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "bpc" in r] == [3, 6, 9, 12]
    assert [r["step"] for r in records if "val_bpc" in r] == [6, 12]


def test_generate_is_seeded(run: Path) -> None:
    outputs = [minillm("generate", run, "--prompt", "line ", "--length", 60, "--seed", seed).stdout
               for seed in (1, 1, 2)]
    assert outputs[0].startswith("line ")
    assert len(outputs[0]) == len("line ") + 60 + 1
    assert outputs[0] == outputs[1] != outputs[2]
    greedy = [minillm("generate", run, "--temperature", 0, "--seed", s).stdout for s in (1, 2)]
    assert greedy[0] == greedy[1]


def test_resume_of_a_finished_run_changes_nothing(run: Path) -> None:
    before = (run / "checkpoint.safetensors").read_bytes()
    done = minillm("train", "lm", "--out", run, "--resume")
    assert done.returncode == 0, done.stderr
    assert (run / "checkpoint.safetensors").read_bytes() == before


def test_formulas_lists_every_equation() -> None:
    rows = json.loads(minillm("formulas", "--json").stdout)
    assert [r["name"] for r in rows] == list(LEDGER)
    table = minillm("formulas").stdout
    assert all(name in table for name in LEDGER)
    one = minillm("formulas", "adam_step").stdout
    assert r"\hat{m}_t = \frac{m_t}{1 - \beta_1^t}" in one
    assert "learning rate" in one
    assert "04_adam" in one
    assert minillm("formulas", "4.3").stdout == minillm("formulas", "adam").stdout == one


def test_formulas_in_chinese() -> None:
    row = LEDGER["adam_step"]
    one = minillm("formulas", "adam_step", "--lang", "zh").stdout
    for meaning in (row.title_zh, *row.symbols_zh.values()):
        assert meaning in one
    assert row.title_zh not in minillm("formulas", "adam_step").stdout
    assert "learning rate" not in one
    table = minillm("formulas", "--lang", "zh").stdout
    assert all(name in table for name in LEDGER)
    assert row.title_zh in table
    assert f"\u5171 {len(LEDGER)} \u4e2a\u516c\u5f0f" in table


@pytest.mark.parametrize("command", [[], ["train"], ["train", "lm"], ["generate"], ["perplexity"], ["export"],
                                     ["learn"], ["formulas"], ["step"], ["doctor"]])
def test_help(command: list[str]) -> None:
    done = minillm(*command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
    assert "Example" in done.stdout


def wrong_files(folder: Path) -> dict[str, Path]:
    (folder / "empty.txt").write_text("")
    (folder / "latin1.txt").write_bytes("Stra\u00dfe und viel mehr\n".encode("latin-1") * 50)
    (folder / "short.txt").write_text("ab\n\ncd")
    lines = (f"line {i} of one more text, {i}." for i in range(99))
    (folder / "other.txt").write_text("\n\n".join(lines))
    (folder / "pictures").mkdir()
    (folder / "pictures" / "loss.png").write_bytes(b"\x89PNG")
    (folder / "foreign").mkdir()
    (folder / "foreign" / "notes.txt").write_text("mine")
    return {p.name: p for p in folder.iterdir()}


CASES = {  # name -> (arguments, words that the one line must have)
    "missing file": (["train", "lm", "--data", "{dir}/nothing.txt"], ["nothing.txt", "does not exist"]),
    "empty file": (["train", "lm", "--data", "{dir}/empty.txt"], ["empty.txt", "is empty"]),
    "not UTF-8": (["train", "lm", "--data", "{dir}/latin1.txt"], ["latin1.txt", "not UTF-8", "byte 4"]),
    "folder without text": (["train", "lm", "--data", "{dir}/pictures"], ["is a directory", "1 not text"]),
    "text too short": (["train", "lm", "--data", "{dir}/short.txt"], ["text", "longer"]),
    "shorter than a batch": (["train", "lm", "--data", "{text}", "--batch-size", "500"],
                             ["batch_size=500", "smaller batch"]),
    "steps": (["train", "lm", "--steps", "0"], ["steps = 0"]),
    "dropout": (["train", "lm", "--dropout", "1"], ["dropout = 1.0", "[0, 1)"]),
    "negative rate": (["train", "lm", "--lr", "-1"], ["lr = -1"]),
    "nan rate": (["train", "lm", "--lr", "nan"], ["lr = nan"]),
    "l1": (["train", "lm", "--l1", "-0.1"], ["l1 = -0.1"]),
    "seed": (["train", "lm", "--seed", "-1"], ["seed = -1"]),
    "time": (["train", "lm", "--max-seconds", "0"], ["max-seconds"]),
    "taken folder": (["train", "lm", "--out", "{run}"], ["already holds a run", "--resume"]),
    "resume of nothing": (["train", "lm", "--out", "{dir}/no", "--resume"], ["does not exist"]),
    "resume of a foreign folder": (["train", "lm", "--out", "{dir}/foreign", "--resume"],
                                   ["holds no run"]),
    "overwrite of a foreign folder": (["train", "lm", "--out", "{dir}/foreign", "--overwrite"],
                                      ["holds no run", "notes.txt"]),
    "overwrite with a missing text": (["train", "lm", "--out", "{run}", "--overwrite",
                                       "--data", "{dir}/no.txt"], ["no.txt", "does not exist"]),
    "overwrite with a short text": (["train", "lm", "--out", "{run}", "--overwrite", "--data", "{text}",
                                     "--batch-size", "500"], ["batch_size=500"]),
    "larger than memory": (["train", "lm", "--out", "{dir}/huge", "--data", "{text}", "--batch-size", "2",
                            "--seq-len", "8", "--hidden-dim", "10000000"], ["memory", "hidden_dim = "]),
    "resume with another text": (["train", "lm", "--out", "{run}", "--resume", "--data", "{dir}/other.txt"],
                                 ["the run was saved with", "same data"]),
    "lstm's size for gpt": (["train", "lm", "--model", "gpt", "--hidden-dim", "64"],
                            ["hidden_dim = 64 is no setting of model = gpt"]),
    "no such model": (["train", "lm", "--model", "rnn"], ["model = 'rnn'", "lstm, gpt, llama"]),
    "no such preset": (["train", "lm", "--preset", "day"], ["preset = 'day'", "seconds, minutes"]),
    "vocabulary of characters": (["train", "lm", "--vocab-size", "300"], ["vocab_size = 300", "bpe"]),
    "vocabulary too small": (["train", "lm", "--data", "{text}", "--tokenizer", "bpe", "--vocab-size", "9"],
                             ["vocab_size = 9 has no room"]),
    "window beyond the text": (["train", "lm", "--model", "gpt", "--data", "{text}", "--block-size", "90000"],
                               ["a window of seq_len=90000", "longer text"]),
    "sample's prompt": (["train", "lm", "--data", "{text}", "--batch-size", "2", "--seq-len", "8",
                         "--sample-prompt", "\u4f60"], ["sample_prompt", "\u4f60"]),
    "no name": (["train", "lm", "--data", ""], ["--data is empty"]),
    "one of two texts is missing": (["train", "lm", "--data", "{text}", "--data", "{dir}/no.txt"],
                                    ["no.txt", "does not exist"]),
    "resume with a preset": (["train", "lm", "--out", "{run}", "--resume", "--preset", "hour"],
                             ["leave out --preset"]),
    "resume with other options": (["train", "lm", "--out", "{run}", "--resume", "--lr", "1"],
                                  ["leave out --lr"]),
    "generate from nothing": (["generate", "{dir}/no"], ["does not exist"]),
    "prompt never seen": (["generate", "{run}", "--prompt", "\u4f60"], ["never saw", "\u4f60"]),
    "empty prompt": (["generate", "{run}", "--prompt", ""], ["prompt is empty"]),
    "temperature": (["generate", "{run}", "--temperature", "-1"], ["temperature = -1"]),
    "top-p": (["generate", "{run}", "--top-p", "0"], ["top_p = 0"]),
    "top-k": (["generate", "{run}", "--top-k", "0"], ["top_k = 0"]),
    "unknown equation": (["formulas", "adm"], ["'adm'", "did you mean adam"]),
    "formulas in French": (["formulas", "--lang", "fr"], ["lang = 'fr' must be en or zh"]),
    "a folder with a file of the run's names": (["train", "lm", "--out", "{dir}/pictures"], ["loss.png"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_line(case: str, text: Path, run: Path, tmp_path: Path) -> None:
    wrong_files(tmp_path)
    arguments, words = CASES[case]
    before = {p: p.read_bytes() for p in [*run.iterdir(), *(tmp_path / "foreign").iterdir()]}
    done = minillm(*(a.format(dir=tmp_path, text=text, run=run) for a in arguments), cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert {p: p.read_bytes() for p in before} == before, "a mistake loses nothing"


@pytest.mark.parametrize("spoil", ["truncate", "foreign"])
def test_damaged_checkpoints(spoil: str, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert minillm("train", "lm", "--data", text, "--out", out, *SMALL).returncode == 0
    for name in ("checkpoint", "best"):
        path = out / f"{name}.safetensors"
        path.write_bytes(path.read_bytes()[:200] if spoil == "truncate" else b"GIF89a, no checkpoint at all")
    for command in (["train", "lm", "--out", out, "--resume"], ["generate", out]):
        done = minillm(*command)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.strip().splitlines()) == 1
        assert "safetensors" in done.stderr


@pytest.mark.parametrize("arguments", [["train", "lm", "--steps", "many"], ["train", "lm", "--stepz", "3"],
                                       ["generate"], ["nothing"]])
def test_a_misspelt_command_is_one_line_too(arguments: list[str]) -> None:
    done = minillm(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_divergence_is_one_line_with_a_picture(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = minillm("train", "lm", "--data", text, "--out", out, *SMALL, "--lr", "1e39")
    assert done.returncode == 1
    assert done.stderr.startswith("error: step ")
    assert "lower --lr" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert (out / "loss.png").exists()
    # a rate that is only far too high ends in large numbers, not in a traceback
    done = minillm("train", "lm", "--data", text, "--out", out, *SMALL, "--lr", "1000", "--overwrite")
    assert "Traceback" not in done.stderr


def test_remains_of_a_run_can_be_resumed_or_overwritten(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    start = ["train", "lm", "--data", text, "--out", out, *SMALL]
    assert minillm(*start).returncode == 0
    whole = (out / "checkpoint.safetensors").read_bytes()
    for name in ("checkpoint.safetensors", "best.safetensors"):
        (out / name).unlink()
    done = minillm("train", "lm", "--out", out, "--resume")
    assert done.returncode == 1
    assert "lost its checkpoint" in done.stderr
    (out / "metrics.jsonl").unlink()  # as if killed before the first checkpoint
    assert minillm("train", "lm", "--out", out, "--resume").returncode == 0
    again = _without_times(out / "checkpoint.safetensors")
    assert again == _without_times(out / "checkpoint.safetensors", whole)
    (out / "config.json").unlink()  # half deleted
    assert minillm(*start, "--overwrite").returncode == 0
    for file in out.iterdir():
        if file.name != ".lock":
            file.unlink()
    assert minillm(*start, "--overwrite").returncode == 0


def _without_times(path: Path, data: bytes | None = None) -> dict[str, bytes]:
    if data is not None:
        path.write_bytes(data)
    arrays, _ = load_checkpoint(path)
    return {k: v.tobytes() for k, v in arrays.items()}


def test_a_moved_text_can_be_named_at_resume(text: Path, tmp_path: Path) -> None:
    moved, out = tmp_path / "moved.txt", tmp_path / "run"
    moved.write_bytes(text.read_bytes())
    first = tmp_path / "first.txt"
    first.write_bytes(text.read_bytes())
    begin = ["train", "lm", "--data", first, "--out", out, *SMALL, "--max-seconds", "1e-9"]
    assert minillm(*begin).returncode == 0
    first.unlink()
    assert "does not exist" in minillm("train", "lm", "--out", out, "--resume").stderr
    done = minillm("train", "lm", "--out", out, "--resume", "--data", moved)
    assert done.returncode == 0, done.stderr


def test_a_gpt_trains_on_a_folder_and_says_what_it_read(text: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "texts", tmp_path / "run"
    folder.mkdir()
    (folder / "a.txt").write_bytes(text.read_bytes())
    (folder / "b.bin").write_bytes(b"\0")
    (folder / ".c.txt").write_text("hidden")
    command = ["train", "lm", "--model", "gpt", "--preset", "seconds", "--tokenizer", "bpe",
               "--vocab-size", "270", "--data", "texts", "--data", text, "--out", out, "--steps", "4",
               "--eval-every", "2", "--n-layer", "1", "--block-size", "16", "--accumulate", "2",
               "--batch-size", "12", "--sample-every", "4"]
    done = minillm(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "Files: 2 read; passed over: 1 hidden, 1 not text." in said
    assert "Tokens: 270 byte pairs, " in said
    assert "Model: GPT, " in said
    assert "4 steps of 24 x 16 tokens in 2 parts" in said
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    samples = [r for r in records if "sample" in r]
    assert [r["step"] for r in samples] == [4]
    (folder / "a.txt").write_text("changed, and longer than before", "utf-8")
    done = minillm("train", "lm", "--out", out, "--resume")
    assert done.returncode == 1
    assert "same data" in done.stderr or "text has changed" in done.stderr


def test_a_narrow_encoding_is_no_traceback() -> None:
    for lang in ("en", "zh"):
        done = minillm("formulas", "--lang", lang, encoding="cp1252")
        assert done.returncode == 0
        assert "adam_step" in done.stdout


def _start(*args: object) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "minillm", *map(str, args)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env=env)


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c_saves_and_says_how_to_resume_and_the_folder_is_locked(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = _start("train", "lm", "--data", text, "--out", out, *SMALL, "--steps", "1000000")
    try:
        _wait_for(out / "metrics.jsonl", process)
        for second in (["--resume"], ["--overwrite", "--data", text, *SMALL]):
            done = minillm("train", "lm", "--out", out, *second)
            assert done.returncode == 1
            assert f"in use by process {process.pid}" in done.stderr
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert f"minillm train lm --out {out} --resume" in " ".join(stdout.split())
    resumed = minillm("train", "lm", "--out", out, "--resume", "--max-seconds", "0.2")
    assert resumed.returncode == 0, resumed.stderr
    assert "Going on at step" in resumed.stdout
