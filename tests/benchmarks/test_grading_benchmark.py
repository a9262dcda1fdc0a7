"""The benchmark of grading: its submissions are as it says, and a killed grader ends as another does."""

import importlib.util
import json
from pathlib import Path

import pytest

from minillm.classroom import find_assignment

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark():
    path = ROOT / "benchmarks/grading.py"
    spec = importlib.util.spec_from_file_location("grading_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path.parent))
        spec.loader.exec_module(module)
    return module


def test_the_mix_is_the_same_each_time_and_has_every_sort(benchmark, tmp_path):
    assignment = find_assignment("04_adam")
    mixes = [benchmark.make_submissions(assignment, tmp_path / name, 120) for name in ("one", "other")]
    assert mixes[0] == mixes[1]
    assert sum(mixes[0].values()) == 120
    assert set(mixes[0]) == {"correct", "wrong", "stub", "hostile", "not readable"}
    one, other = ({p.parent.name: p.read_bytes() for p in (tmp_path / name).glob("*/adam.py")}
                  for name in ("one", "other"))
    assert one == other
    assert len(set(one.values())) == 120
    text = b"".join(one.values())
    assert all(name.encode() in text for name in benchmark.HOSTILE)
    assert all(m.key.encode() in text for m in assignment.misconceptions)


def test_it_says_where_reports_differ(benchmark):
    tests = [{"name": "a", "kind": "passed", "en": "right", "score": 100}]
    one = {"student": "s1", "en": "x", "tests": tests}
    other = {**one, "tests": [{**tests[0], "kind": "too_slow", "score": 0}]}
    data = [json.dumps(r).encode() for r in (one, other)]
    assert benchmark.differing(data[0], data[0]) == []
    assert benchmark.differing(*data) == ["s1: ['tests'] [('a', 'passed', 'right', 'too_slow', 'right')]"]
    assert benchmark.scores(b"\n".join(data)) == {"full": 1, "some": 0, "none": 1}


@pytest.mark.slow
def test_killed_and_resumed_the_reports_are_the_same(benchmark):
    result = benchmark.measure("04_adam", count=24, jobs=2, kills=3)
    assert result["same_bytes"], result["differing"]
    assert result["killed"]["kills"] >= 1
    assert result["left_behind"] == []
    assert sum(result["scores"].values()) == 24
    assert result["scores"]["full"] == result["mix"]["correct"]
