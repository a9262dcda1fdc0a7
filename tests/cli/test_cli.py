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

SMALL = ["--steps", "12", "--batch-size", "2", "--seq-len", "8", "--hidden-dim", "8", "--embedding-dim", "4",
         "--eval-every", "6", "--log-every", "3", "--warmup", "2"]


def minillm(*args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "120",
           "PYTHONIOENCODING": "utf-8"}
    return subprocess.run([sys.executable, "-m", "minillm", *map(str, args)], capture_output=True, text=True,
                          encoding="utf-8", check=False, cwd=cwd, env=env, timeout=120)


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


@pytest.mark.parametrize("command", [[], ["train"], ["train", "lm"], ["generate"], ["formulas"], ["doctor"]])
def test_help(command: list[str]) -> None:
    done = minillm(*command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
    if command not in ([], ["train"]):
        assert "Example" in done.stdout


def wrong_files(folder: Path) -> dict[str, Path]:
    (folder / "empty.txt").write_text("")
    (folder / "latin1.txt").write_bytes("Stra\u00dfe und viel mehr\n".encode("latin-1") * 50)
    (folder / "short.txt").write_text("ab\n\ncd")
    (folder / "foreign").mkdir()
    (folder / "foreign" / "notes.txt").write_text("mine")
    return {p.name: p for p in folder.iterdir()}


CASES = {  # name -> (arguments, words that the one line must have)
    "missing file": (["train", "lm", "--data", "{dir}/nothing.txt"], ["nothing.txt", "does not exist"]),
    "empty file": (["train", "lm", "--data", "{dir}/empty.txt"], ["empty.txt", "is empty"]),
    "not UTF-8": (["train", "lm", "--data", "{dir}/latin1.txt"], ["latin1.txt", "not UTF-8", "byte 4"]),
    "folder as file": (["train", "lm", "--data", "{dir}"], ["is a directory"]),
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
                                      ["holds no run"]),
    "resume with other options": (["train", "lm", "--out", "{run}", "--resume", "--lr", "1"],
                                  ["leave out --lr"]),
    "generate from nothing": (["generate", "{dir}/no"], ["does not exist"]),
    "prompt never seen": (["generate", "{run}", "--prompt", "\u4f60"], ["never saw", "\u4f60"]),
    "empty prompt": (["generate", "{run}", "--prompt", ""], ["prompt is empty"]),
    "temperature": (["generate", "{run}", "--temperature", "-1"], ["temperature = -1"]),
    "top-p": (["generate", "{run}", "--top-p", "0"], ["top_p = 0"]),
    "top-k": (["generate", "{run}", "--top-k", "0"], ["top_k = 0"]),
    "unknown equation": (["formulas", "nothing"], ["nothing", "adam_step"]),
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


def _start(*args: object) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "OPENBLAS_NUM_THREADS": "1"}
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
        for second in (["--resume"], ["--overwrite"]):
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
