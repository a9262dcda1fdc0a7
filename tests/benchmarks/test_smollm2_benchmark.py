"""The SmolLM2 benchmark in its quick form: both compute the same, and the table says what was measured."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(folder, **environment):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
           **environment}
    out = folder / "figures.json"
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "smollm2.py", "--quick", "--json", out],
                          env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(out.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_both_compute_the_same(tmp_path):
    if importlib.util.find_spec("transformers") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no transformers: pip install transformers")
    table, result = run(tmp_path)
    assert result["same_text"] is True
    assert "both wrote the same tokens" in table
    assert result["ratios"]["perplexity"] == pytest.approx(1, rel=1e-5)
    assert result["absent"] == []
    ours, theirs = result["contestants"]["minillm"], result["contestants"]["transformers"]
    assert ours["perplexity"] > 10  # it was measured
    for figures in (ours, theirs):
        assert figures["prompt_tokens_per_s"] > figures["written_tokens_per_s"] > 0
        assert figures["mb_peak"] is None or figures["mb_peak"] > figures["mb_after_import"]
    assert f"{ours['prompt_tokens_per_s']:.5g}" in table
    text = json.dumps(result)
    assert str(tmp_path) not in text
    assert str(ROOT) not in text


def test_without_transformers_it_runs_alone(tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'transformers' else find(name, package)\n")
    path = os.pathsep.join([str(hidden), str(ROOT), os.environ.get("PYTHONPATH", "")])
    table, result = run(tmp_path, PYTHONPATH=path)
    assert result["absent"] == ["transformers"]
    assert list(result["contestants"]) == ["minillm"]
    assert "ratios" not in result
    assert "ratio" not in table.replace("parameters", "")
