"""`make learn`: the command line that it runs, in an environment that is there already."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"

pytestmark = pytest.mark.skipif(shutil.which("make") is None or os.name == "nt", reason="no make here")


@pytest.fixture
def make(tmp_path):
    """make in a checkout whose `minillm` only prints what it is called with."""
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    command = tmp_path / ".venv/bin/minillm"
    command.write_text('#!/bin/sh\n'
                       'echo "$(basename "$(pwd)"): minillm $*${MINILLM_LEARN_CD:+, cd $MINILLM_LEARN_CD}"\n')
    command.chmod(0o755)
    for stamp in ("venv", "core"):
        (tmp_path / f".venv/.stamp-{stamp}").touch()
        os.utime(tmp_path / f".venv/.stamp-{stamp}", (time.time() + 60,) * 2)  # newer than pyproject.toml

    def run(*args, **environment):
        ours = ("LANGUAGE", "COURSE", "MAKEFLAGS", "MAKELEVEL")
        kept = {k: v for k, v in os.environ.items() if k not in ours}
        done = subprocess.run(["make", "-s", "-f", MAKEFILE, "learn", *args], cwd=tmp_path, text=True,
                              timeout=60, env=kept | environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    return run


@pytest.mark.parametrize(("args", "words"), [
    ([], "learn start my-course"),
    (["LANGUAGE=zh"], "learn start my-course --lang zh"),
    (["COURSE=kurs", "LANGUAGE=en"], "learn start kurs --lang en"),
])
def test_a_new_course(make, tmp_path, args, words):
    assert make(*args) == f"{tmp_path.name}: minillm {words}"


def test_a_course_that_is_there(make, tmp_path):
    (tmp_path / "my-course").mkdir()
    assert make("LANGUAGE=zh") == "my-course: minillm learn --lang zh, cd my-course"
    assert make() == "my-course: minillm learn, cd my-course"


def test_gettexts_variable_is_no_choice_of_the_readers(make, tmp_path):
    assert make(LANGUAGE="de:en") == f"{tmp_path.name}: minillm learn start my-course"
