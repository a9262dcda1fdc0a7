"""The wheel, away from the checkout: lessons, assignments and pages are in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """run(*arguments, cwd): the `minillm` command of the built wheel; what it printed."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder / "built", ROOT], check=True, timeout=300)
    wheel, = (folder / "built").glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True,
                   timeout=300)

    def run(*arguments, cwd):
        done = subprocess.run(
            [sys.executable, "-c", "import minillm, sys; from minillm.cli.main import main; "
             "print(minillm.__file__, file=sys.stderr); main()", *arguments],
            cwd=cwd, env={**os.environ, "PYTHONPATH": str(folder / "site"), "COLUMNS": "200"}, timeout=300,
            capture_output=True, text=True, encoding="utf-8")
        assert done.returncode == 0, done.stdout + done.stderr
        assert str(folder / "site") in done.stderr.splitlines()[0]
        return done.stdout

    return run


@pytest.mark.slow
def test_the_course(installed, tmp_path):
    installed("learn", "start", "mine", cwd=tmp_path)
    assert "numerical_gradient" in installed("learn", "next", cwd=tmp_path / "mine")
    page = tmp_path / "adam.html"
    installed("step", "adam", "--html", page.name, cwd=tmp_path)
    assert "<script" in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_classroom(installed, tmp_path):
    assert "12_test_adam" in installed("class", "list", cwd=tmp_path)
    installed("class", "new", "course", "-a", "adam", cwd=tmp_path)
    course = tmp_path / "course"
    installed("class", "make", cwd=course)
    handed_in = tmp_path / "handed_in"
    (handed_in / "ann").mkdir(parents=True)
    stub = course / "out" / "student" / "04_adam" / "adam.py"
    (handed_in / "ann" / "adam.py").write_bytes(stub.read_bytes())
    assert "1 graded now" in installed("class", "grade", str(handed_in), "-a", "adam", cwd=course)
