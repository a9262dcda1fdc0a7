"""Gradescope's zip, unpacked and run in a tree of folders like its container's."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from minillm.classroom import find_assignment
from minillm.classroom.grade import grade_submission
from minillm.classroom.make import autograder, gradescope_zip

SECRET = bytes(range(32))
ROSTER = "id,name,email\ns17,Ada,Ada@x.org\n".encode("utf-8-sig")
RESULTS = {"score", "execution_time", "output", "output_format", "visibility", "stdout_visibility", "tests",
           "extra_data"}
HOSTILE = """
import atexit, os, sys

FULL = '{"score": 100, "tests": []}'


def overwrite():
    for path in [@RESULTS@, "results.json", "../results/results.json", "/autograder/results/results.json"]:
        try:
            with open(path, "w") as file:
                file.write(FULL)
        except OSError:
            pass


def adam_step(theta, g, m, v, t, **options):
    overwrite()
    return theta, m, v


overwrite()
atexit.register(overwrite)
if os.fork() == 0:
    import time
    for _ in range(100):
        time.sleep(0.1)
        overwrite()
    os._exit(0)
"""


@pytest.fixture(scope="module")
def adam():
    return find_assignment("adam")


@pytest.fixture(scope="module")
def zipped(adam):
    return gradescope_zip(adam, SECRET, "en", ROSTER)


class Container:
    """The folders of Gradescope's container, below a folder of ours."""

    def __init__(self, root, zipped):
        self.root = root
        for name in ("source", "submission", "results", "bin"):
            (root / name).mkdir(parents=True)
        with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
            for info in archive.infolist():  # as `unzip` does
                path = root / "source" / info.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(info))
                path.chmod(info.external_attr >> 16 & 0o777)
        self.users([{"email": "ada@X.org", "id": 4, "name": "Ada"}])
        for module in ("safetensors", "typer", "rich", "matplotlib", "filelock", "torch", "pytest"):
            (root / "bin" / f"{module}.py").write_text("raise ModuleNotFoundError('only NumPy is here')\n")
        python = root / "bin" / "python3"  # the image's own Python, which has NumPy
        ahead = f'PYTHONPATH="$PYTHONPATH:{root / "bin"}"'
        python.write_text(f'#!/bin/sh\n{ahead} exec "{sys.executable}" "$@"\n')
        python.chmod(0o755)

    def users(self, users):
        (self.root / "submission_metadata.json").write_text(json.dumps({"id": 1, "users": users}))

    def run(self, script, check=True):
        environment = {"PATH": f"{self.root / 'bin'}:{os.environ['PATH']}", "HOME": str(self.root),
                       "MINILLM_AUTOGRADER": str(self.root)}
        done = subprocess.run([str(self.root / "source" / script)], env=environment, cwd="/", text=True,
                              capture_output=True, timeout=120)
        assert done.returncode == 0 or not check, done.stderr
        return done

    def grade(self, text=None):
        shutil.rmtree(self.root / "submission")
        (self.root / "submission").mkdir()
        if text is not None:
            (self.root / "submission" / "adam.py").write_text(text)
        self.run("run_autograder")
        return self.results()

    def results(self):
        assert [p.name for p in (self.root / "results").iterdir()] == ["results.json"]
        return json.loads((self.root / "results" / "results.json").read_text())


@pytest.fixture
def container(tmp_path, zipped):
    made = Container(tmp_path / "autograder", zipped)
    made.run("setup.sh")
    return made


def test_the_zip_is_the_same_bytes_and_has_what_gradescope_asks_for(adam, zipped):
    assert gradescope_zip(adam, SECRET, "en", ROSTER) == zipped
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        modes = {i.filename: i.external_attr >> 16 & 0o777 for i in archive.infolist()}
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        setup = archive.read("setup.sh").decode()
    assert list(modes) == sorted(modes)
    assert (modes["setup.sh"], modes["run_autograder"], modes["secret"]) == (0o755, 0o755, 0o600)
    assert "assignment/04_adam/solution.py" in modes
    assert "package/minillm/classroom/grade.py" in modes
    assert not [n for n in modes if n.startswith("package/kernels") or n.endswith(".pyc") or "_lessons" in n]
    assert 'packages=("numpy>=2.0")' in setup
    assert "has() {" in setup
    assert "PACKAGES@" not in setup
    assert 'sys.argv[1:]))\' numpy 2>' in setup


def test_kernels_go_along_where_they_are_needed(small):
    names = zipfile.ZipFile(io.BytesIO(gradescope_zip(
        small({'file = "mean.py"': 'file = "mean.py"\nprovide = ["kernels"]\nimports = ["numpy", "triton"]'}),
        SECRET))).namelist()
    assert "package/kernels/__init__.py" in names
    assert "package/kernels/cuda/adam.cu" in names or any(n.endswith((".cu", ".cuh")) for n in names)


@pytest.mark.slow
def test_right_wrong_hostile_and_empty_submissions(container, adam):
    right = container.grade(adam.solution().text)
    assert set(right) <= RESULTS
    assert right["score"] == 100
    assert [t["max_score"] for t in right["tests"]] == [t.points for t in adam.tests]

    text = adam.misconceptions[0].applied(adam.solution().text)
    wrong = container.grade(text)
    ours = grade_submission(adam, "s17", {"adam.py": text.encode()}, SECRET)
    assert wrong["score"] == ours.score < 100
    assert [t["score"] for t in wrong["tests"]] == [t.score for t in ours.tests]
    # the roster's id, so the same numbers
    assert [t["output"] for t in wrong["tests"]] == [t.en for t in ours.tests]
    assert wrong["extra_data"]["grader"] == ours.grader

    path = str(container.root / "results" / "results.json")
    hostile = container.grade(HOSTILE.replace("@RESULTS@", repr(path)))
    assert hostile["score"] == 0
    assert len(hostile["tests"]) == len(adam.tests)

    empty = container.grade()
    assert empty["score"] == 0
    assert "adam.py" in empty["output"]
    assert [t["score"] for t in empty["tests"]] == [0] * len(adam.tests)
    assert adam.solution().text not in json.dumps([right, wrong, hostile, empty])


@pytest.mark.parametrize(("harm", "said"), [
    (lambda root: (root / "source" / "secret").unlink(), "FileNotFoundError"),
    (lambda root: (root / "source" / "secret").write_text("xyz"), "ValueError: non-hexadecimal"),
    (lambda root: (root / "source" / "autograder.json").write_text("{"), "JSONDecodeError"),
    (lambda root: (root / "submission_metadata.json").unlink(), "submission_metadata.json"),
    (lambda root: (root / "submission_metadata.json").write_text('{"users": []}'), "names no student"),
    (lambda root: (root / "source/assignment/04_adam/assignment.toml").write_text("x ="), "Invalid value"),
    (lambda root: shutil.rmtree(root / "source/package/minillm/classroom/sandbox"), "sandbox"),
    (lambda root: (root / "source/python").unlink(), "its setup.sh did not finish"),
    (lambda root: (root / "source/python").write_text("/nowhere/python\n"), "Python ended with status 127"),
    (lambda root: shutil.rmtree(root / "submission"), "there is no folder"),
])
def test_a_broken_grader_says_so_in_one_line(container, adam, harm, said):
    (container.root / "submission" / "adam.py").write_text(adam.solution().text)
    (container.root / "results" / "results.json").write_text('{"score": 100}')  # of an earlier run
    harm(container.root)
    container.run("run_autograder")
    results = container.results()
    assert results["score"] == 0
    assert results["visibility"] == "visible"
    assert results["output"].startswith("The autograder is broken; it is not your mistake.")
    assert said in results["output"]
    assert "\n" not in results["output"]


def test_a_broken_grader_speaks_chinese():
    assert autograder.broken("x\ny", "zh")["output"] == "自动评分程序出错了，不是你的错。请告诉老师：x y"


def test_a_python_that_is_too_old_ends_the_set_up(tmp_path, zipped):
    container = Container(tmp_path / "autograder", zipped)
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14", "apt-get"):
        path = container.root / "bin" / name
        path.write_text("#!/bin/sh\nexit 1\n")
        path.chmod(0o755)
    done = container.run("setup.sh", check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "minillm's grader needs Python 3.11 or newer: choose a newer base image"


@pytest.mark.parametrize(("users", "student"), [
    ([{"email": "ada@x.ORG"}], "s17"),
    ([{"email": "zoe@x.org"}, {"email": "ada@x.org"}], "s17"),
    ([{"email": "Zoe@x.org"}, {"email": "bo@x.org"}], "bo@x.org"),
    ([{"id": 12, "email": None}], "gradescope-12"),
])
def test_who_handed_it_in(tmp_path, users, student):
    (tmp_path / "m.json").write_text(json.dumps({"users": users}))
    (tmp_path / "roster.csv").write_bytes(ROSTER)
    assert autograder.who(tmp_path / "m.json", tmp_path / "roster.csv") == student


def test_what_stands_in_the_results_place_goes(tmp_path):
    (tmp_path / "results" / "results.json").mkdir(parents=True)
    autograder._write(tmp_path / "results" / "results.json", {"score": 1})
    assert json.loads((tmp_path / "results" / "results.json").read_text()) == {"score": 1}
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "results.json").symlink_to(tmp_path / "elsewhere")
    autograder._write(tmp_path / "two" / "results.json", {"score": 2})
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert json.loads((tmp_path / "two" / "results.json").read_text()) == {"score": 2}
