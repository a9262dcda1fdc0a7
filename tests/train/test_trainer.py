"""A run that is stopped and resumed ends with the bits of one that was not."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minillm.errors import UserError
from minillm.tasks.language_modelling import LanguageModelling, load_model, resume
from minillm.train import TrainerSettings, load_checkpoint

TINY = {"steps": 24, "batch_size": 4, "seq_len": 8, "embedding_dim": 8, "hidden_dim": 16, "num_layers": 2,
        "dropout": 0.2, "eval_every": 6, "log_every": 4, "warmup": 3, "l1": 1e-5, "l2": 1e-4}
TINY_GPT = {"model": "gpt", "steps": 24, "batch_size": 2, "accumulate": 2, "seq_len": 16, "n_layer": 2,
            "n_head": 2, "n_embd": 8, "dropout": 0.2, "eval_every": 6, "sample_every": 5, "log_every": 4,
            "warmup": 3, "tokenizer": "bpe", "vocab_size": 260, "label_smoothing": 0.1, "z_loss": 1e-4}
OPTIONS = {
    "lstm": TINY,
    "lstm, accumulated": {**TINY, "accumulate": 3, "sample_every": 5},
    "gpt": TINY_GPT,
    "gpt on contiguous windows": {**TINY_GPT, "windows": "contiguous", "tokenizer": "char", "vocab_size": 0},
    "llama": {**{k: v for k, v in TINY_GPT.items() if k != "dropout"}, "model": "llama", "n_kv_head": 1},
}


class Silent:
    def step(self, record: dict[str, Any]) -> None: ...
    def evaluated(self, record: dict[str, Any]) -> None: ...
    def sampled(self, record: dict[str, Any]) -> None: ...


@pytest.fixture
def text(tmp_path: Path) -> str:
    rng = random.Random(0)
    words = ["one", "two", "three", "four", "five", "six"]
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(" ".join(rng.choices(words, k=12)) for _ in range(80)), encoding="utf-8")
    return str(path)


def final(out: Path) -> tuple[dict[str, bytes], dict[str, Any], list[dict[str, Any]]]:
    """All that a run ends with, but for times."""
    arrays, state = load_checkpoint(out / "checkpoint.safetensors")
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for record in [state, *metrics]:
        for key in ("seconds", "tokens_per_s"):
            record.pop(key, None)
    return {k: v.tobytes() for k, v in arrays.items()}, state, metrics


@pytest.mark.parametrize("kind", OPTIONS)
def test_same_seed_same_bits(tmp_path: Path, text: str, kind: str) -> None:
    runs = [tmp_path / n for n in ("c", "d", "e")]
    for out, seed in zip(runs, (0, 0, 1), strict=True):
        trainer = LanguageModelling(data=text, seed=seed, **OPTIONS[kind]).start(out)
        assert trainer.fit(Silent()) == "finished"
        trainer.run_folder.close()
    assert final(runs[0]) == final(runs[1])
    assert final(runs[0])[0] != final(runs[2])[0]


@pytest.mark.parametrize(("kind", "stop_at"), [
    *(("lstm", step) for step in (1, 5, 6, 7, 13, 23)), ("lstm, accumulated", 7), ("lstm, accumulated", 5),
    *(("gpt", step) for step in (1, 5, 6, 7, 23)), ("gpt on contiguous windows", 7), ("llama", 7)])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path, text: str, kind: str, stop_at: int
                                                  ) -> None:
    config = LanguageModelling(data=text, **OPTIONS[kind])
    whole = config.start(tmp_path / "whole")
    whole.fit(Silent())
    whole.run_folder.close()

    trainer = config.start(tmp_path / "parts")
    stop = lambda step: os.kill(os.getpid(), signal.SIGINT) if step == stop_at else None
    assert trainer.fit(Silent(), after_step=stop) == "interrupted"
    assert trainer.step == stop_at
    trainer.run_folder.close()
    again = resume(tmp_path / "parts")
    assert again.step == stop_at
    assert again.fit(Silent()) == "finished"
    again.run_folder.close()
    assert final(tmp_path / "whole") == final(tmp_path / "parts")


def test_time_limit_saves_and_goes_on(tmp_path: Path, text: str) -> None:
    trainer = LanguageModelling(data=text, **TINY).start(tmp_path / "run")
    assert trainer.fit(Silent(), max_seconds=1e-9) == "out of time"
    trainer.run_folder.close()
    again = resume(tmp_path / "run")
    assert again.step == 1
    again.run_folder.close()


def test_the_best_model_is_kept_when_time_is_up(tmp_path: Path, text: str) -> None:
    trainer = LanguageModelling(data=text, **TINY).start(tmp_path / "run")
    stop = lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 10 else None
    trainer.fit(Silent(), after_step=stop)
    before = trainer.best_loss, trainer.best_step, trainer.bad_evaluations
    loss = trainer.keep_if_best()  # step 10 is better than the evaluation at step 6
    assert loss < before[0]
    assert (trainer.best_loss, trainer.best_step, trainer.bad_evaluations) == before
    assert load_model(tmp_path / "run")[2] == {"step": 10, "val_loss": loss}
    trainer.best_loss = 0.0
    for p in trainer.model.parameters():
        p.data[...] = 0
    trainer.keep_if_best()
    assert load_model(tmp_path / "run")[2]["val_loss"] == loss, "a worse model is not kept"
    trainer.run_folder.close()


def test_patience_stops_and_the_best_model_is_kept(tmp_path: Path, text: str) -> None:
    config = LanguageModelling(data=text, **{**TINY, "lr": 0.0, "patience": 2, "steps": 1000})
    trainer = config.start(tmp_path / "run")
    assert trainer.fit(Silent()) == "stopped early"
    assert trainer.step == 18  # the first evaluation is the best, two more are not better
    _, _, facts = load_model(tmp_path / "run")
    assert facts["step"] == 6
    trainer.run_folder.close()


@pytest.mark.parametrize("name", ["output.weight", "lstm.layers.1.b"])
def test_nan_names_step_and_parameter_and_keeps_the_checkpoint(
    tmp_path: Path, text: str, name: str
) -> None:
    trainer = LanguageModelling(data=text, **TINY).start(tmp_path / "run")

    def spoil(step: int) -> None:
        if step == 8:
            dict(trainer.model.named_parameters())[name].data.reshape(-1)[0] = np.nan

    with pytest.raises(UserError) as error:
        trainer.fit(Silent(), after_step=spoil)
    trainer.run_folder.close()
    message = str(error.value)
    assert "step 9" in message
    assert f"parameter {name} is not finite" in message
    assert "checkpoint of step 6 is kept" in message
    assert "\n" not in message
    again = resume(tmp_path / "run")
    assert again.step == 6
    assert all(np.isfinite(p.data).all() for p in again.model.parameters())
    again.run_folder.close()


def test_infinite_gradient_is_named(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = LanguageModelling(data=text, **TINY).start(tmp_path / "run")
    import minillm.train.trainer as module
    clip = module.clip_grad_norm

    def spoiled(params: list[Any], max_norm: float) -> float:
        dict(trainer.model.named_parameters())["lstm.layers.0.U"].grad[0, 0] = np.inf
        return clip(params, max_norm)

    monkeypatch.setattr(module, "clip_grad_norm", spoiled)
    with pytest.raises(UserError, match=r"step 1: the gradient of lstm\.layers\.0\.U is not finite"):
        trainer.fit(Silent())
    trainer.run_folder.close()


def test_changed_text_is_refused(tmp_path: Path, text: str) -> None:
    trainer = LanguageModelling(data=text, **TINY).start(tmp_path / "run")
    trainer.fit(Silent(), max_seconds=1e-9)
    trainer.run_folder.close()
    # the same characters, so that only the text differs, not the vocabulary
    Path(text).write_text(Path(text).read_text()[::-1], encoding="utf-8")
    with pytest.raises(UserError, match=r"text has changed|saved with"):
        resume(tmp_path / "run")


def test_other_sizes_in_the_config_are_refused(tmp_path: Path, text: str) -> None:
    trainer = LanguageModelling(data=text, **TINY).start(tmp_path / "run")
    trainer.fit(Silent(), max_seconds=1e-9)
    trainer.run_folder.close()
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "hidden_dim": 17}))
    for load in (resume, load_model):
        with pytest.raises(UserError, match="hidden_dim = 17, .* one of the two is wrong"):
            load(tmp_path / "run")
    path.write_text(json.dumps({**config, "hidden_dim": "wide"}))
    with pytest.raises(UserError, match=r"config\.json"):
        resume(tmp_path / "run")


def test_settings_are_checked() -> None:
    for wrong in ({"steps": 0}, {"clip": 0.0}, {"clip": math.nan}, {"patience": -1}, {"eval_every": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TrainerSettings(**{"steps": 5, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["lstm", "gpt"])
def test_stopped_while_it_writes_a_sample(tmp_path: Path, text: str, kind: str) -> None:
    """At the step of an evaluation: the checkpoint of that step must not be there before the sample is."""
    config = LanguageModelling(data=text, **{**OPTIONS[kind], "sample_every": 6})
    whole = config.start(tmp_path / "whole")
    whole.fit(Silent())
    whole.run_folder.close()
    trainer = config.start(tmp_path / "parts")
    write = trainer.write

    def killed(step: int) -> str:
        if step == 12:
            raise SystemExit
        return write(step)

    trainer.write = killed
    with pytest.raises(SystemExit):
        trainer.fit(Silent())
    trainer.run_folder.close()
    again = resume(tmp_path / "parts")
    assert again.fit(Silent()) == "finished"
    again.run_folder.close()
    assert final(tmp_path / "whole") == final(tmp_path / "parts")


KILLED = {"lstm": {**TINY, "steps": 1800, "eval_every": 15, "hidden_dim": 24},
          "gpt": {**TINY_GPT, "steps": 1500, "eval_every": 15, "sample_every": 10, "sample_prompt": "one "}}


@pytest.mark.parametrize("kind", ["lstm", "gpt"])
def test_samples_change_no_bit_and_are_the_same_on_every_run(tmp_path: Path, text: str, kind: str) -> None:
    outs = {"none": 0, "some": 5, "more": 1}
    for name, sample_every in outs.items():
        options = {**OPTIONS[kind], "sample_every": sample_every}
        trainer = LanguageModelling(data=text, **options).start(tmp_path / name)
        trainer.fit(Silent())
        trainer.run_folder.close()
    (none, state, losses), *others = (final(tmp_path / name) for name in outs)
    samples = []
    for arrays, other_state, metrics in others:
        assert arrays == none
        assert other_state == state
        assert [r for r in metrics if "sample" not in r] == losses
        samples.append({r["step"]: r["sample"] for r in metrics if "sample" in r})
    few, all_steps = samples
    assert list(few) == [5, 10, 15, 20, 24]
    assert list(all_steps) == list(range(1, 25))
    assert few.items() <= all_steps.items(), "a sample is a function of seed and step"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("kind", KILLED)
def test_sigkill_at_20_random_moments(tmp_path: Path, text: str, kind: str) -> None:
    """Killed while starting, stepping, evaluating, sampling and writing; resumed each time."""
    options = KILLED[kind]
    whole = LanguageModelling(data=text, **options).start(tmp_path / "whole")
    whole.fit(Silent())
    whole.run_folder.close()

    flags = [f for k, v in options.items() for f in (f"--{k.replace('_', '-')}", str(v))]
    out = tmp_path / "killed"
    base = [sys.executable, "-m", "minillm", "train", "lm", "--out", str(out)]
    begin, go_on = [*base, "--data", text, *flags], [*base, "--resume"]
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    rng, checkpoint, steps_at_kill, kills = random.Random(1), out / "checkpoint.safetensors", set(), 0
    for kill in range(20):
        command = go_on if (out / "config.json").exists() else begin
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
        before = _changed(checkpoint)
        # Most kills come once the process is at work, some while it is still starting.
        at_work = kill % 5 != 0
        deadline = time.monotonic() + (120 if at_work else rng.uniform(0, 0.8))
        while time.monotonic() < deadline and process.poll() is None:
            if at_work and _changed(checkpoint) != before:
                time.sleep(rng.uniform(0, 0.05))
                break
            time.sleep(0.001)
        kills += process.poll() is None
        process.kill()
        _, stderr = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), stderr.decode()
        if checkpoint.exists():
            steps_at_kill.add(load_checkpoint(checkpoint)[1]["step"])
    assert kills == 20, "the run was over before the last kill: give it more steps"
    assert len(steps_at_kill) > 10, "the kills should fall at different steps"
    finished = subprocess.run(go_on, capture_output=True, text=True, check=False, env=env)
    assert finished.returncode == 0, finished.stderr
    assert final(tmp_path / "whole") == final(out)


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
