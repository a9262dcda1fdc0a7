"""The benchmark of `batch_invariant`: what it counts, and what it prints."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from minillm import batch_invariant

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("batch_invariant_benchmark",
                                                      ROOT / "benchmarks/batch_invariant.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return module


def test_distinct_logits_are_counted(benchmark, monkeypatch):
    model = benchmark.models()["gpt"]
    assert batch_invariant()(benchmark.distinct)(model, length=3, largest=5) == 1
    # A model whose numbers tell the size of the batch has as many results as there are batches.
    monkeypatch.setattr(benchmark, "logits", lambda model, ids: ids + 0.5 * np.ones((len(ids), 1)) * len(ids))
    assert benchmark.distinct(None, length=3, largest=5) == 5


def test_report(benchmark):
    one = {"ratio": {"median": 1.5, "p20": 1.4, "p80": 1.6}, "us": {"median": 2500.0}}
    text = benchmark.report({"gpt": {"cost": {"a prompt": {"invariant": one}},
                                     "distinct": {1: {"ordinary": 6, "invariant": 1}}}})
    assert "1.50  (1.40 - 1.60)      2.50 ms" in text
    assert "6 without, 1 with the mode" in text
