"""The READMEs: their code runs, their paths exist, and both say the same."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

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


@pytest.fixture
def gxx() -> str:
    """The compiler that runs CUDA C on the CPU; CI is to have it."""
    found = shutil.which("g++")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no g++: apt-get install g++")
    return found


@pytest.mark.parametrize("path", READMES, ids=lambda p: p.name)
def test_the_kernel_example_runs(path: Path, gxx: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    code, = (block for block in blocks if "import kernels" in block)
    exec(compile(code, path.name, "exec"), {})
    said = capsys.readouterr().out
    assert "mine: not ok" in said
    assert "maximum was not subtracted before exp" in said


def test_the_cuda_example_runs(tmp_path: Path, gxx: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/kernels.md").read_text("utf-8")
    code, = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "kernels.md", "exec"), names)
    np.testing.assert_array_equal(names["x"], 2 * np.arange(1000))
    for path in re.findall(r"^    (kernels/[\w/.]*)", text, re.MULTILINE):
        assert (ROOT / path).exists(), path


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


def skeleton(text: str) -> list[str]:
    """What a translation leaves alone: heading levels, marks, code, and tables' numbers and code.

    In code, comments and quoted text after `--prompt` are for the reader; of the map, the folders count.
    """
    parts, fenced = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
            parts.append(line)
        elif fenced or line.startswith("    "):
            code = re.sub(r'--prompt "[^"]*"', "--prompt", re.sub(r"\s*(^|\s)#\s.*", "", line))
            folder = re.match(r"    (minillm|kernels|lessons|tests|benchmarks)/\S*", code)
            parts.append(folder[0] if folder else code)
        elif line.startswith("#"):
            parts.append(line.split()[0])
        elif line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            kept = [cell if re.fullmatch(r"[-\d.,x×%]+", cell) else " ".join(re.findall(r"`[^`]+`", cell))
                    for cell in cells]
            parts.append(f"| {' | '.join(kept)} |")
        elif line.startswith("<!--"):
            parts.append(line)
    return parts


def test_both_languages_have_the_same_parts() -> None:
    english, chinese = (skeleton(path.read_text("utf-8")) for path in READMES)
    assert english == chinese
    assert any("`optim.Adam`" in part for part in english)
    assert any("kernels.report" in part for part in english)
    assert "import minillm as tf" in english


@pytest.mark.parametrize(("old", "new"), [
    ("## Speed", "### Speed"), ("learning_rate=0.001", "learning_rate=0.01"), ("--top-p 0.95", "--top-p 0.9"),
    ("    make test", "    make tests"), ("| `optim.Adam`,", "| `optim.AdamW`,"), ("| 4.3 |", "| 4.2 |"),
    ("    minillm/keras/ ", "    minillm/kera/ "), ("<!-- speed:end -->", ""), ("\n## Map\n", "\n"),
    ("np.tanh(x) ** 2 ", "np.tanh(x) ** 3 "),
])
def test_a_part_that_differs_is_seen(old: str, new: str) -> None:
    text = READMES[0].read_text("utf-8")
    assert text.count(old) == 1
    assert skeleton(text.replace(old, new)) != skeleton(text)
