"""The benchmark of the cache: both ways read the same text, and its figures are of what it says."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("kv_cache_benchmark", ROOT / "benchmarks/kv_cache.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return module


def test_both_ways_give_the_logits_of_all_places(benchmark):
    model = benchmark.GPT(benchmark.GPTConfig(benchmark.V, 12, 1, 2, 8), rng=np.random.default_rng(0))
    found = benchmark.measured(model, 12, rounds=1)
    assert found["batch_invariant"] == {"differing_logits": 0, "of": 12 * benchmark.V}
    assert found["largest_difference"] < 1e-5 < found["largest_logit"]
    assert found["cache_bytes"] == 2 * 12 * 8 * 4


def test_the_committed_figures_are_of_these_models(benchmark):
    results = json.loads((ROOT / "benchmarks/results/kv_cache.json").read_text())
    assert list(results["models"]) == list(benchmark.MODELS)
    for found in results["models"].values():
        assert found["tokens"] == 512
        assert found["batch_invariant"]["differing_logits"] == 0
        assert found["largest_difference"] < 1e-5
