"""The READMEs: their code runs, their paths exist, and both say the same."""

import re
from pathlib import Path

import numpy as np
import pytest

import minillm
from minillm.formulas import LEDGER

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]


@pytest.mark.parametrize("path", READMES, ids=lambda p: p.name)
def test_the_engine_example_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL)[0]
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with pytest.raises(FloatingPointError, match="log gave"):  # its last line shows what anomaly mode says
        exec(compile(code, path.name, "exec"), names)
    x = np.linspace(-2, 2, 5)
    y = np.tanh(x)
    np.testing.assert_allclose(names["d2y"].data, (1 - y**2) * (2 - 6 * y**2))  # type: ignore[attr-defined]
    assert (tmp_path / "graph.svg").exists()


@pytest.mark.parametrize("path", READMES, ids=lambda p: p.name)
def test_what_it_names_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / link).exists(), link
    for folder in re.findall(r"^    ((?:minillm|kernels|tests|benchmarks)/[\w/]*)", text, re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder
    for name in re.findall(r"`formulas\.(\w+)`", text):
        assert name in LEDGER, name
    for module, name in re.findall(r"`(optim|nn)\.(\w+)", text):
        assert hasattr(getattr(minillm, module), name), name


def test_both_languages_have_the_same_parts() -> None:
    def skeleton(path: Path) -> list[str]:
        lines = path.read_text("utf-8").splitlines()
        marks = [line for line in lines if line.startswith(("#", "```", "| 3", "| 4", "| 5", "<!--"))]
        return [re.sub(r"[^#`|<!\-\w:]|[^\x00-\x7f]|\b[a-zA-Z]+\b", "", m)[:3] for m in marks]

    assert skeleton(READMES[0]) == skeleton(READMES[1])
