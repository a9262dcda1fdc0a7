"""The guide for authors of assignments: its example works, and it names what there is."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from minillm.classroom.assignment import Assignment, Limits, Test, load_assignment
from minillm.classroom.make import student_files
from minillm.classroom.scenario import Scenario

TEXT = (Path(__file__).parents[2] / "lessons" / "assignments" / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def example(tmp_path):
    found = re.findall(r"^`([\w/]+\.\w+)`\n\n```\w+\n(.*?)^```$", TEXT, re.M | re.S)
    files = ("assignment.toml", "solution.py", "checks.py")
    assert [name for name, _ in found] == [f"41_rms/{name}" for name in files]
    for name, text in found:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return load_assignment(tmp_path / "41_rms")


@pytest.mark.slow
def test_the_example_is_as_it_should_be(example):
    from minillm.classroom.verify import verify

    assert verify(example) == []


def test_students_get_the_example(example):
    files = student_files(example, "both")
    assert b"# Square, mean, root: in this order.\n    raise NotImplementedError" in files["rms.py"]


@pytest.mark.parametrize(("kind", "section", "not_keys"), [
    (Assignment, "## assignment.toml", {"folder", "id", "tests", "limits", "hints", "hints_zh"}),
    (Test, "## assignment.toml", set()), (Limits, "## assignment.toml", set()),
    (Scenario, "## checks.py", set())])
def test_every_key_is_explained(kind, section, not_keys):
    part = TEXT.split(section, 1)[1].split("\n## ", 1)[0]
    keys = {f.name for f in fields(kind)} - not_keys
    assert [key for key in keys if not re.search(rf"`{key}\b", part)] == []


def test_the_defaults_are_those_of_the_code():
    for f in fields(Limits):
        assert re.search(rf"`{f.name}`[\w ]*\({f.default:g}\)", TEXT), f.name
    assert f"`cases` is how many inputs are drawn ({Scenario.__dataclass_fields__['cases'].default})" in TEXT
