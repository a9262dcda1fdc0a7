"""Training on arrays of another library: the losses are the CPU's, and checkpoints load anywhere."""

import importlib.util
import json
import random
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minillm.generate import generate
from minillm.tasks.language_modelling import LanguageModelling, load_model, resume

TINY = {"steps": 12, "batch_size": 4, "seq_len": 8, "embedding_dim": 8, "hidden_dim": 16, "num_layers": 2,
        "dropout": 0.2, "eval_every": 6, "log_every": 4, "warmup": 3, "l2": 1e-4}


class Silent:
    def step(self, record: dict[str, Any]) -> None: ...
    def evaluated(self, record: dict[str, Any]) -> None: ...
    def sampled(self, record: dict[str, Any]) -> None: ...


def on_the_gpu(trainer: Any, config: LanguageModelling) -> Any:
    state = trainer.optimizer.state_dict()
    trainer.model.to("cuda")
    trainer.optimizer = config._optimizer(trainer.model)
    trainer.optimizer.load_state_dict(state)
    return trainer


def losses(out: Path) -> list[float]:
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [r.get("loss") or r["val_loss"] for r in records if "sample" not in r]


def test_a_run_there_is_a_run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path(__file__).parents[1] / "autograd" / "device_array.py"
    spec = importlib.util.spec_from_file_location("device_array", place)
    device_array = sys.modules.get("device_array") or importlib.util.module_from_spec(spec)
    if "device_array" not in sys.modules:
        monkeypatch.setitem(sys.modules, "device_array", device_array)
        spec.loader.exec_module(device_array)
    runtime = SimpleNamespace(CUDARuntimeError=OSError)
    cuda = SimpleNamespace(Device=lambda number=0: nullcontext(), runtime=runtime)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(asarray=device_array.asarray, cuda=cuda))
    rng = random.Random(0)
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(" ".join(rng.choices(["one", "two", "three"], k=12)) for _ in range(80)))
    config = LanguageModelling(data=str(text), **TINY)
    here, there = tmp_path / "here", tmp_path / "there"
    trainer = config.start(here)
    trainer.fit(Silent())
    trainer.run_folder.close()
    trainer = on_the_gpu(config.start(there), config)
    trainer.fit(Silent())
    trainer.run_folder.close()
    np.testing.assert_allclose(losses(there), losses(here), rtol=1e-4)
    assert type(trainer.model.parameters()[0].data) is device_array.DeviceArray
    again = on_the_gpu(resume(there), config)
    assert again.step == 12
    assert again.evaluate(again.validation) == pytest.approx(trainer.evaluate(trainer.validation), rel=1e-6)
    again.run_folder.close()
    model, _, _ = load_model(there)
    ids = [list(generate(m, np.array([1, 2]), 5, rng=np.random.default_rng(0), temperature=0))
           for m in (model, load_model(there)[0].to("cuda"))]
    assert ids[0] == ids[1]
