"""The benchmark of the engine: it runs, it refuses to time what is wrong, and the engine keeps its pace."""

import dataclasses
import importlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def mlp(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("mlp")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(what a quick run prints, what it writes)."""
    path = tmp_path_factory.mktemp("benchmark") / "engine.json"
    command = [sys.executable, str(BENCHMARKS / "engine.py"), "--quick", "--json", str(path)]
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_quick_run_measures_everything(run):
    printed, results = run
    assert results["quick"] is True
    assert results["machine"].keys() >= {"cpu", "cores", "python", "numpy", "blas", "torch"}
    mlp, step = results["mlp"], results["training_step"]
    assert mlp["threads"] == 1
    assert step["threads"] == 2
    assert mlp["contestants"].keys() | {name.split(" (")[0] for name in mlp["absent"]} == {
        "NumPy by hand", "minillm", "minillm, plain formula", "torch eager", "HIPS autograd", "MyGrad"}
    tables = [mlp["contestants"], step["contestants"], step["lstm"]["contestants"]]
    for table in tables:
        for name, row in table.items():
            assert name in printed
            for figure in (row["ratio"], row["us"]):
                assert 0 < figure["p20"] <= figure["median"] <= figure["p80"]
    assert step["tokens_per_s"].keys() == step["contestants"].keys()
    assert step["contestants"][step["base"]]["ratio"]["median"] == 1


@pytest.mark.slow
def test_the_profile_covers_the_step(run):
    _, results = run
    profile = results["training_step"]["profile"]
    assert sum(profile.values()) == pytest.approx(1, abs=0.01)
    pieces = {"embedding", "LSTM", "dropout", "output layer", "cross-entropy"}
    assert profile.keys() >= {f"{p}, {way}" for p in pieces for way in ("forward", "backward")}
    assert profile.keys() >= {"clipping", "Adam", "next window", "the walk itself", "the rest"}
    assert "other ops, backward" not in profile  # every op belongs to a piece
    assert profile["LSTM, forward"] + profile["LSTM, backward"] > 0.3


@pytest.mark.slow
def test_the_mlp_keeps_its_pace(run):
    """Medians of ratios within a round, in processor time on one thread; 1.5 is the aim.

    With a loop on each of two cores beside it the figure was 1.49, and 1.48 without: load alone does
    not reach the gate. Against torch nothing is asserted: that would be a test of torch's build too.
    """
    assert run[1]["mlp"]["contestants"]["minillm"]["ratio"]["median"] < 2.2


def test_the_results_name_no_machine_and_no_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    facts = json.dumps(importlib.import_module("machine").facts())
    assert platform.node() not in facts
    assert "/" not in facts


@pytest.mark.parametrize("spoil", ["loss", 0, 1, 2, 3])
def test_a_wrong_contestant_is_not_timed(mlp, monkeypatch, spoil):
    def wrong(problem):
        right = mlp.hand_written(problem)

        def result():
            loss, grads = right.result()
            grads = [g.copy() for g in grads]
            if spoil == "loss":
                return loss + 1e-9, grads
            grads[spoil].flat[-1] += 1e-9
            return loss, grads

        return dataclasses.replace(right, result=result)

    monkeypatch.setattr(mlp, "CONTESTANTS", {"NumPy by hand": mlp.hand_written, "wrong": wrong})
    monkeypatch.setattr(mlp, "rounds_of", lambda *_, **__: pytest.fail("it was timed"))
    with pytest.raises(SystemExit, match="wrong: .* nothing was timed"):
        mlp.measure(rounds=1, calls=1)


def test_an_absent_peer_is_named(mlp, monkeypatch):
    def peer(problem):
        raise ModuleNotFoundError("No module named 'peer'", name="peer")

    monkeypatch.setattr(mlp, "CONTESTANTS", {"NumPy by hand": mlp.hand_written, "Peer": peer})
    results = mlp.measure(rounds=1, calls=1)
    assert results["absent"] == ["Peer (peer is not installed)"]
    assert list(results["contestants"]) == ["NumPy by hand"]


def test_ratios_are_taken_within_a_round(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    timing = importlib.import_module("timing")
    seconds = {"a": np.array([1.0, 10.0, 2.0]), "b": np.array([2.0, 20.0, 4.0])}
    table = timing.compare(seconds, "a")
    assert table["b"]["ratio"] == {"median": 2, "p20": 2, "p80": 2}
    assert table["b"]["us"]["median"] == 4e6


def test_every_contestant_gets_every_turn(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    timing = importlib.import_module("timing")
    calls = []
    steps = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    now = iter(range(1000))
    seconds = timing.rounds_of(steps, rounds=4, calls=5, warm_up=2, clock=lambda: next(now))
    assert {name: values.tolist() for name, values in seconds.items()} == dict.fromkeys("abc", [0.2] * 4)
    assert {name: calls.count(name) for name in "abc"} == dict.fromkeys("abc", 4 * 7)
    rounds = [tuple(dict.fromkeys(calls[i:i + 21])) for i in range(0, 84, 21)]
    assert all(sorted(r) == ["a", "b", "c"] for r in rounds)
    assert len(set(rounds)) > 1  # the order changes
