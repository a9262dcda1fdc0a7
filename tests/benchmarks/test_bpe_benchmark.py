"""The benchmark of byte-pair encoding measures what it says, and refuses to time wrong results."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark():
    path = ROOT / "benchmarks/bpe.py"
    spec = importlib.util.spec_from_file_location("bpe_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path.parent))
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("maker", ["library_source", "invented_chinese"])
def test_texts_have_their_size_and_are_the_same_each_time(benchmark, maker):
    make = getattr(benchmark, maker)
    text = make(30_000)
    assert 29_990 <= len(text.encode()) <= 30_010  # a character that the end cut through is left out
    assert make(30_000) == text
    share = sum("\u4e00" <= c <= "\u9fff" for c in text) / len(text)
    assert share > 0.7 if maker == "invented_chinese" else share < 0.1


def test_a_small_run(benchmark):
    result = benchmark.measure("chinese", benchmark.invented_chinese(20_000), 600)
    assert result["vocab_size"] == 600
    assert result["bytes_per_id"] == pytest.approx(result["megabytes"] * 1e6 / result["ids"])
    assert result["counting_anew_s_per_merge"] > result["train_s_per_merge"] > 0


def test_wrong_merges_are_not_timed(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "count_anew", lambda text, merges: [])
    with pytest.raises(SystemExit, match="counting anew gives other merges"):
        benchmark.measure("text", "the cat and the hat and the mat", 270)
