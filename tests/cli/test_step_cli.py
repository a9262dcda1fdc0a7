"""`minillm step`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minillm.cli.step import step
from minillm.errors import UserError

ROOT = Path(__file__).parents[2]


def minillm(*args, cwd=None):
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run([sys.executable, "-m", "minillm", *args], capture_output=True, text=True, cwd=cwd,
                          check=False, encoding="utf-8", env=env, timeout=120)


@pytest.mark.parametrize(("name", "first"), [
    ("adam", "Adam"), ("4.1", "softmax cross-entropy"), ("4.2", "gradient descent"), ("4.3", "Adam"),
    ("lstm", "LSTM cell"), ("softmax-cross-entropy", "softmax cross-entropy")])
def test_equations_by_name_and_by_section(name, first):
    done = minillm("step", name, "--plain")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(first)
    assert "backward" in done.stdout


def test_chinese():
    assert "求导规则" in minillm("step", "4.3", "--lang", "zh").stdout


def test_a_function_of_ones_own(tmp_path):
    (tmp_path / "mine.py").write_text("import numpy as np\ndef loss(x, n):\n    return np.sum(x ** n)\n")
    done = minillm("step", "mine.py:loss", "--args", "[1.0, 2.0], 3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "∑ xⁿ" in done.stdout
    assert "[ 3. 12.]" in done.stdout  # d(sum x^3)/dx = 3 x^2


@pytest.mark.parametrize(("args", "message"), [
    (["nosuch"], "no equation is named 'nosuch'"), (["adm"], "did you mean adam"),
    (["no.py:f"], "there is no file 'no.py'"),
    (["mine.py:g"], "has no function 'g': it has loss, bad, stop, name"),
    (["mine.py:loss"], "say what loss shall be computed with"),
    (["mine.py:loss", "--args", "import os"], "must be numbers and lists"),
    (["mine.py:loss", "--args", "[[1.0], [1.0, 2.0]]"], "not of one length"),
    (["mine.py:bad", "--args", "[1.0]"], "ValueError: no"), (["broken.py:f"], "cannot be run: SyntaxError"),
    (["mine.py:loss", "--args", "3"], "computed nothing with Tensors"),
    (["adam", "--at", "99"], "at = 99 is outside the steps 1 to 46"),
    (["adam", "--all-kernels"], "--all-kernels goes with a kernel"),
    (["triton:nosuch"], "there are triton:cross-entropy and triton:adam"),
    (["triton:adam", "--args", "3"], "an example of its own: leave out --args"),
    (["adam", "--lang", "fr"], "must be en or zh"), (["adam", "--html", "x.txt"], "must end in .html"),
    (["mine.py:stop", "--args", "[1.0]"], "SystemExit: 3"),
    (["mine.py:name", "--args", "[1.0]"], "NameError")])
def test_mistakes_are_one_line(tmp_path, args, message):
    (tmp_path / "mine.py").write_text("def loss(x):\n    return x * 2\n\n"
                                      "def bad(x):\n    raise ValueError('no')\n\n"
                                      "def stop(x):\n    raise SystemExit(3)\n\n"
                                      "def name(x):\n    return nosuch\n")
    (tmp_path / "broken.py").write_text("def f(:\n")
    done = minillm("step", *args, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture
def without(monkeypatch):
    """Makes a package look as if it were not installed."""
    return lambda name: monkeypatch.setitem(sys.modules, name, None)


def test_without_triton_one_line_says_how_to_get_it(without):
    without("triton")
    with pytest.raises(UserError, match=r"^Triton is not installed: pip install triton \(Linux\)$"):
        step("triton:cross-entropy")


def test_without_latex2mathml_one_line_says_how_to_get_it(without, tmp_path, capsys):
    without("latex2mathml")
    step("adam", html=tmp_path / "adam.html")
    assert (tmp_path / "adam.html").is_file()
    error = capsys.readouterr().err
    assert "`pip install latex2mathml`" in error
    assert len(error.splitlines()) == 1
    (tmp_path / "mine.py").write_text("def loss(x):\n    return x * 2\n")
    step(f"{tmp_path / 'mine.py'}:loss", "[1.0]", html=tmp_path / "mine.html")
    assert capsys.readouterr().err == ""


def test_a_kernels_page(tmp_path):
    pytest.importorskip("triton", reason="no Triton here: pip install triton")
    done = minillm("step", "triton:cross-entropy", "--html", "ce.html", "--lang", "zh", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"ce\.html: \d+ steps; open it in a browser\.\n", done.stdout)
    page = (tmp_path / "ce.html").read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in page
    assert '"kernel":"one_sweep"' in page
    assert '"name":"softmax_cross_entropy"' in page  # the equation beside it
    assert "inverse_counts" not in page
    everything = minillm("step", "triton:softmax-cross-entropy", "--html", "all.html", "--all-kernels",
                         cwd=tmp_path)
    assert everything.returncode == 0, everything.stderr
    assert '"kernel":"inverse_counts"' in (tmp_path / "all.html").read_text(encoding="utf-8")


def test_every_equation_can_be_stepped():
    assert "cos ⟦(π·s)⟧" in minillm("step", "warmup_cosine", "--plain").stdout


def test_kernels_program_by_program():
    pytest.importorskip("triton", reason="no Triton here: pip install triton")
    done = minillm("step", "triton:cross-entropy", "--plain")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("one_sweep\none_sweep: each program reads one row of logits")
    assert "one_sweep, program 1" in done.stdout
    assert "inverse_counts" not in done.stdout
    assert "inverse_counts" in minillm("step", "triton:cross-entropy", "--plain", "--all-kernels").stdout
    assert "elements of X:" in done.stdout
    adam = minillm("step", "triton:adam", "--lang", "zh")
    assert adam.returncode == 0
    assert re.search(r"6 个|的 \d+ 个元素中的 6 个", adam.stdout)
    assert not re.search(r"(加载|写回): .*0x", adam.stdout)  # p, g, m and v have their names
    wrong = minillm("step", "triton:nosuch")
    assert wrong.returncode == 1
    assert "there are triton:cross-entropy and triton:adam" in wrong.stderr
