"""What the READMEs say of the grading benchmark is what its committed run measured."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


ENGLISH = r"(\d+) submissions .*?(\d+) hostile, graded in (\d+) s.*?above (\d+) MB"
CHINESE = r"的 (\d+) 份提交，其中恶意的 (\d+) 份，.*?(\d+) 秒评完.*?不超过 (\d+) MB"


@pytest.mark.parametrize(("name", "words"), [("README.md", ENGLISH), ("README.zh-CN.md", CHINESE)])
def test_figures(name, words):
    r = json.loads((ROOT / "benchmarks/results/grading.json").read_text())["results"]
    said = re.search(words, (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    whole = r["undisturbed"]
    assert [int(x) for x in said.groups()] == [r["submissions"], r["mix"]["hostile"], round(whole["seconds"]),
                                               whole["grader_peak_mb"]]
    assert r["same_bytes"]
    assert r["killed"]["kills"] == 10
    assert r["jobs"] == 2
    assert whole["seconds"] < 300
