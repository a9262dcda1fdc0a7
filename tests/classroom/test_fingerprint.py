"""A fingerprint says what a verdict rests on: when it changes, work is graded anew."""

import shutil
from pathlib import Path

import pytest

import minillm.classroom.assignment as module
from minillm.classroom.assignment import load_assignment
from tests.classroom import toys


@pytest.fixture
def fingerprint(tmp_path, monkeypatch):
    """fingerprint(): with a copy of the package's code, in `fingerprint.code`."""
    code = tmp_path / "minillm"
    for part in ("classroom", "course"):
        shutil.copytree(Path(module.__file__).parents[1] / part, code / part)
    monkeypatch.setattr(module, "__file__", str(code / "classroom" / "assignment.py"))
    toy = toys.toys(tmp_path)

    def of():
        return load_assignment(toy.folder).fingerprint

    of.code, of.folder = code, toy.folder
    return of


def edit(path):
    path.write_text(path.read_text(encoding="utf-8") + "\n# another line\n", encoding="utf-8")


@pytest.mark.parametrize("name", ["classroom/grade.py", "classroom/sandbox/serve.py", "classroom/wording.py",
                                  "classroom/mutation.py", "course/causes.py", "course/compare.py"])
def test_code_that_decides_counts(fingerprint, name):
    before = fingerprint()
    edit(fingerprint.code / name)
    assert fingerprint() != before


@pytest.mark.parametrize("name", ["checks.py", "solution.py", "assignment.toml"])
def test_the_assignment_counts(fingerprint, name):
    before = fingerprint()
    edit(fingerprint.folder / name)
    assert fingerprint() != before


@pytest.mark.parametrize("name", ["classroom/reports/page.py", "classroom/export/gradescope.py",
                                  "classroom/journal.py", "classroom/make/readme.py",
                                  "course/site/__init__.py"])
def test_code_that_only_carries_a_verdict_about_does_not(fingerprint, name):
    before = fingerprint()
    edit(fingerprint.code / name)
    assert fingerprint() == before


def test_every_name_that_is_left_out_is_there():
    ours = Path(module.__file__).parent
    assert [name for name in module._NO_VERDICT if not (ours / name).exists()] == []
