"""The files for other systems, held against what those systems read."""

import csv
import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.classroom.export import (
    KINDS,
    canvas_table,
    exercism_results,
    export,
    gradescope_results,
    moodle_table,
    plain_table,
    safe_names,
)
from minillm.classroom.reports import student_html, student_markdown, teacher_html
from minillm.errors import UserError
from tests.classroom.examples import ADAM, REPORTS, STUDENTS, Student, report

VISIBILITIES = {"hidden", "after_due_date", "after_published", "visible"}
FORMATS = {"text", "html", "simple_format", "md", "ansi"}


def check_gradescope(data):
    """Gradescope's autograder specification, as far as our files use it."""
    data = json.loads(json.dumps(data))
    assert set(data) <= {"score", "execution_time", "output", "output_format", "test_output_format",
                         "test_name_format", "visibility", "stdout_visibility", "extra_data", "tests",
                         "leaderboard"}
    assert math.isfinite(data["score"])
    assert data["score"] >= 0
    assert data["visibility"] in VISIBILITIES
    assert data["stdout_visibility"] in VISIBILITIES
    assert data["output_format"] in FORMATS
    for test in data["tests"]:
        assert set(test) <= {"score", "max_score", "status", "name", "name_format", "number", "output",
                             "output_format", "tags", "visibility", "extra_data"}
        assert 0 <= test.get("score", 0) <= test.get("max_score", 0)
        assert test.get("status", "passed") in {"passed", "failed"}
        assert test["visibility"] in VISIBILITIES
        assert test["output_format"] in FORMATS
        assert all(isinstance(tag, str) for tag in test.get("tags", []))
    assert data["score"] == pytest.approx(sum(t.get("score", 0) for t in data["tests"]))


def check_exercism(data):
    """Exercism's test runner interface, version 3."""
    data = json.loads(json.dumps(data))
    assert data["version"] == 3
    assert data["status"] in {"pass", "fail", "error"}
    assert (data["message"] is None) == (data["status"] != "error")
    if data["status"] == "error":
        assert data["message"].strip()
        return
    assert data["tests"]
    for test in data["tests"]:
        assert test["name"]
        assert test["test_code"]
        assert test["status"] in {"pass", "fail", "error"}
        assert isinstance(test["task_id"], int)
        assert (test["message"] is None) == (test["status"] == "pass")
    assert (data["status"] == "pass") == all(t["status"] == "pass" for t in data["tests"])


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("one", REPORTS, ids=["right", "wrong", "slow", "evil", "none"])
def test_gradescope_and_exercism(one, lang):
    check_gradescope(gradescope_results(one, lang))
    check_exercism(exercism_results(one, lang))


def test_what_was_printed_is_for_the_instructors():
    """A submission can print what hidden tests give it."""
    loud = type(REPORTS[0])(**{**REPORTS[0].__dict__, "printed": "hidden inputs"})
    data = gradescope_results(loud)
    assert [t["visibility"] for t in data["tests"] if "hidden inputs" in t["output"]] == ["hidden"]
    assert "hidden inputs" not in data["output"]
    for lang in ("en", "zh"):
        assert "hidden inputs" not in student_html(loud, lang) + student_markdown(loud, lang)
        assert "hidden inputs" in teacher_html(ADAM, [loud], lang)


def test_hidden_tests_wait_until_the_grades_are_published():
    shown = {t["extra_data"]["test"]: t["visibility"] for t in gradescope_results(REPORTS[0])["tests"]}
    assert shown == {t.name: "visible" if t.visibility == "public" else "after_published" for t in ADAM.tests}


def test_exercism_tells_failure_from_error():
    data = exercism_results(REPORTS[2])
    assert [t["status"] for t in data["tests"]] == ["pass", "fail", "pass", "error", "pass"]
    assert data["tests"][1]["message"] == "said of any_step"
    assert exercism_results(REPORTS[0])["status"] == "pass"
    broken = report("x", {t.name: ("syntax", "") for t in ADAM.tests})
    assert exercism_results(broken) == {"version": 3, "status": "error", "message": "said of first_step",
                                        "tests": []}


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


def test_canvas():
    rows = rows_of(canvas_table(ADAM, REPORTS, STUDENTS))
    assert rows[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Adam"]
    assert rows[1] == ["    Points Possible", "", "", "", "", "100"]
    assert rows[2] == ["A, Ann", "17", "", "", "S1", "100"]
    assert [r[-1] for r in rows[3:]] == ["50", "50", "", ""]  # dee's cannot be graded, eve has none: no zero


def test_canvas_uses_the_column_it_knows():
    students = [Student(s.id, s.name, s.email, s.columns | {"Adam (4711)": ""}) for s in STUDENTS]
    assert rows_of(canvas_table(ADAM, REPORTS, students))[0][-1] == "Adam (4711)"
    with pytest.raises(UserError, match="SIS User ID"):
        canvas_table(ADAM, REPORTS, [Student("ann", "Ann")])


def test_moodle():
    rows = rows_of(moodle_table(ADAM, REPORTS, STUDENTS))
    assert rows[0] == ["useremail", "useridnumber", "Adam", "Adam (feedback)"]
    assert rows[1] == ["ann@x.org", "ann", "100", ""]
    assert [r[1] for r in rows[1:]] == ["ann", "bo", "chen", "dee"]  # no row for eve: it would erase a grade
    assert "said of any_step" in rows[2][3]
    assert rows_of(moodle_table(ADAM, REPORTS, STUDENTS, "zh"))[0][2] == ADAM.title_zh


def test_a_spreadsheet_finds_no_formula():
    rows = rows_of(plain_table(ADAM, REPORTS, STUDENTS))
    assert rows[0][:5] == ["id", "name", "email", "score", "points"]
    assert [r[3] for r in rows[1:6]] == ["100", "50", "50", "", ""]
    assert rows[4][-2:] == ["no_file", "no adam.py"]
    assert rows[5][1] == "'=cmd|x"
    assert len(rows) == 7  # the one that is not on the roster is there too
    assert all(len(r) == len(rows[0]) for r in rows)
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row)


def test_what_waits_is_no_nothing():
    rows = rows_of(plain_table(ADAM, REPORTS[:1], STUDENTS, waiting=["ann", "bo"]))
    assert [r[-2] for r in rows[1:4]] == ["graded; a newer file is not graded yet",
                                          "handed in, not graded yet", "nothing handed in"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_lone_surrogate_stops_nothing(kind, tmp_path):
    bad = report("bo", {"options": ("wrong", "")}, printed="\ud800", notes=(("\ud800", "\ud800"),))
    tests = tuple(type(t)(**{**t.__dict__, "en": "it is '\ud800'"}) for t in bad.tests)
    export(kind, ADAM, [type(bad)(**{**bad.__dict__, "tests": tests})],
           [Student("bo", "\ud800", "", {"ID": "1"})], tmp_path)


def test_no_protection_is_told_of_where_nothing_ran():
    assert "protections" not in gradescope_results(REPORTS[4])["output"]
    assert "rlimits, landlock" in gradescope_results(REPORTS[0])["output"]


@pytest.mark.parametrize("kind", KINDS)
def test_files(kind, tmp_path):
    where = export(kind, ADAM, REPORTS, STUDENTS, tmp_path)
    if kind in ("gradescope", "exercism"):
        found = sorted(p.parent.name for p in where.rglob("results.json"))
        assert [name for name in found if "script" not in name] == ["ann", "bo", "chen", "dee"]
        assert len(found) == len(REPORTS)
    else:
        assert where.read_bytes().startswith(b"\xef\xbb\xbf")  # Excel
        assert b"\r\n" in where.read_bytes()
        assert "陈" in where.read_text(encoding="utf-8-sig") or kind == "moodle"
    assert not list(tmp_path.rglob("*.tmp"))


def test_unknown_kind(tmp_path):
    with pytest.raises(UserError, match="gradescope, exercism, canvas, moodle, csv"):
        export("excel", ADAM, REPORTS, STUDENTS, tmp_path)


@given(st.lists(st.text(st.characters(blacklist_categories=()), min_size=1, max_size=80), max_size=8))
def test_names_stay_in_their_folder(students):
    students += ["ann", "Ann", "../ann", "ann/", "con", "nul.txt"]
    names = safe_names(students)
    assert set(names) == set(students)
    assert len({n.casefold() for n in names.values()}) == len(names)
    for name in names.values():
        assert name
        assert not set(name) & set('/\\:*?"<>|\0\n ')
        assert name not in (".", "..")
        assert len(name.encode()) < 255
    assert names["ann"] == "ann" or "Ann" in names


def test_gradescope_says_nothing_of_hidden_tests_before_the_grades():
    one = report("x", {"options": ("wrong", "uncorrected")}, en="4 of 5 tests passed", zh="5 项测试通过 4 项")
    assert "4 of 5" not in gradescope_results(one)["output"]
    assert "public checks: 2 of 2" in gradescope_results(one)["output"]
    assert "no adam.py" in gradescope_results(REPORTS[4])["output"]
