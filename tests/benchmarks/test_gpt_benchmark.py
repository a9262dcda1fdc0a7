"""The GPT benchmark: torch's model is the same model, and the committed figures are what it writes."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("gpt_benchmark", ROOT / "benchmarks/gpt.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return module


def test_the_two_train_alike(benchmark):
    config = benchmark.GPTConfig(19, 8, 2, 2, 12)
    ids = np.random.default_rng(0).integers(0, 19, 500)
    model = benchmark.GPT(config, rng=np.random.default_rng(0))
    twin = benchmark.torch_twin(model)
    threads = torch.get_num_threads()
    try:
        theirs = benchmark.torch_step(twin, benchmark.Windows(ids, 8, 1))
        ours = benchmark.our_step(model, benchmark.Windows(ids, 8, 1))
        losses = np.array([(ours(), theirs()) for _ in range(20)])
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], atol=1e-4)
    assert losses[-1, 0] < losses[0, 0]


def test_a_windows_labels_are_its_next_tokens(benchmark):
    x, y = benchmark.Windows(np.arange(100), 6, 0).next()
    assert x.shape == y.shape == (benchmark.BATCH, 6)
    assert (y == x + 1).all()


def test_the_profile_adds_up(benchmark):
    model = benchmark.GPT(benchmark.GPTConfig(19, 8, 1, 2, 8), rng=np.random.default_rng(0))
    step = benchmark.our_step(model, benchmark.Windows(np.arange(100) % 19, 8, 1))
    shares = benchmark.profile(step, calls=2)
    assert sum(shares.values()) == pytest.approx(1)
    assert {"attention", "attention, backward", "linear", "gelu_tanh", "layer_norm"} <= set(shares)
    assert all(0 <= share < 1 for share in shares.values())


def test_the_committed_figures_are_of_nanogpts_configuration():
    results = json.loads((ROOT / "benchmarks/results/gpt.json").read_text())
    blocks, positions, norm = 4 * (12 * 128**2 + 13 * 128), 64 * 128, 2 * 128
    vocabulary, rest = divmod(results["parameters"] - blocks - positions - norm, 128)
    assert rest == 0
    assert 90 < vocabulary < 130  # the characters of the default text, which differs between Pythons
    one, two = results["training"]["minillm"], results["training"]["torch"]
    assert one["steps"] == two["steps"] == 2000
    assert one["loss_of_last_100"] == pytest.approx(two["loss_of_last_100"], abs=0.02)
