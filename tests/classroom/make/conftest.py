"""A small assignment to make things of."""

import os
import subprocess
import sys

import pytest

from minillm.classroom import load_assignment

SOLUTION = '''"""A mean, in small."""

import numpy as np


def mean(x):
    """The mean of x."""
    # BEGIN SOLUTION
    total_of_the_elements = np.sum(x)
    return total_of_the_elements / x.size
    # END SOLUTION


def centred(x):
    """x without its mean."""
    # BEGIN SOLUTION
    return x - mean(x)[None, ...]
    # END SOLUTION
'''
CHECKS = '''
import numpy as np

from minillm.classroom import Scenario


def numbers(rng):
    return {"x": rng.normal(size=5)}


def run_mean(student, inputs):
    return {"mean": student.mean(inputs["x"])}


def run_centred(student, inputs):
    return {"centred": student.centred(inputs["x"])}


TESTS = {"mean": Scenario(numbers, run_mean), "centred": Scenario(numbers, run_centred)}
'''
TOML = '''
title = "Mean"
title_zh = "平均值"
minutes = 10
file = "mean.py"
text = "Write the mean."
text_zh = "写出平均值。"

[[tests]]
name = "mean"
title = "The mean"
title_zh = "平均值"
points = 60
visibility = "public"

[[tests]]
name = "centred"
title = "Centred"
title_zh = "去中心"
points = 40
visibility = "hidden"
'''


def pytest_configure(config):
    if config.getoption("--kernels-device", default="cpu") == "cpu":
        # before anything imports Triton: an assignment on a kernel is made in its interpreter
        os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture
def small(tmp_path):
    """small(...) -> an assignment; its files as they are above, with changes old -> new."""
    count = iter(range(50, 99))

    def write(changes=(), solution=SOLUTION, checks=CHECKS, toml=TOML):
        folder = tmp_path / "assignments" / f"{next(count)}_mean"
        folder.mkdir(parents=True)
        for name, text in (("solution.py", solution), ("checks.py", checks), ("assignment.toml", toml)):
            for old, new in dict(changes).items():
                text = text.replace(old, new)
            (folder / name).write_text(text)
        return load_assignment(folder)

    return write


@pytest.fixture
def students_python():
    """Runs Python as on a student's machine: nothing of ours can be imported."""
    alone = ("import runpy, sys; sys.modules['minillm'] = sys.modules['kernels'] = None; "
             "sys.argv = sys.argv[1:]; sys.path.insert(0, '.'); runpy.{}(sys.argv[0], run_name='__main__')")

    def run(folder, *arguments, **environment):
        what = "run_module" if arguments[0] == "pytest" else "run_path"
        ours = ("PYTHON", "PYTEST", "MINILLM", "COV")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        done = subprocess.run(
            [sys.executable, "-B", "-c", alone.format(what), *arguments], cwd=folder, text=True,
            capture_output=True, env={**kept, "PYTHONUTF8": "1", **environment}, timeout=120)
        assert "Traceback" not in done.stdout + done.stderr or len(arguments) > 1
        return done.returncode, done.stdout + done.stderr

    return run
