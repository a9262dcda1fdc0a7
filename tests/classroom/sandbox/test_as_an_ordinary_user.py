"""These tests once more without root: in user namespaces, and attacks that another account would stop."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="this is an ordinary user already")
def test_as_an_ordinary_user():
    here = Path(__file__)
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o777)
        command = [sys.executable, str(here.with_name("ordinary.py")), "-m", "pytest", "-q", "-x", "-m",
                   "not slow", "-p", "no:cacheprovider", "--basetemp", f"{home}/t", str(here.parent)]
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": f"{home}/h", "PYTHONPATH": paths,
                       "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
