"""The memory benchmark counts what the call needs, and its committed figures are what it gives."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark():
    path = ROOT / "benchmarks/linear_cross_entropy.py"
    spec = importlib.util.spec_from_file_location("memory_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_peak_counts_what_is_gone_again(benchmark):
    def call():
        gone = np.ones(1 << 20, np.uint8)
        return gone[:1000].copy()

    result, beyond = benchmark.peak(call)
    assert len(result) == 1000
    assert (1 << 20) - 5000 < beyond < (1 << 20) + 5000


def test_chunks_need_less_and_give_the_same(benchmark):
    r = benchmark.measure(256, 8, 4096)
    assert r["apart_mib"] >= r["logits_mib"] == 4.0
    assert r["ratio"] > 1.5
    assert r["largest_difference"] < 1e-6


def test_the_committed_figures_say_so(benchmark):
    results = json.loads((ROOT / "benchmarks/results/linear_cross_entropy.json").read_text())["results"]
    assert [(r["rows"], r["features"], r["classes"]) for r in results] == list(benchmark.SHAPES)
    for r in results:
        assert r["logits_mib"] == r["rows"] * r["classes"] * 4 / (1 << 20)
        assert r["ratio"] == pytest.approx(r["apart_mib"] / r["chunked_mib"])
