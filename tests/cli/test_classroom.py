"""`minillm class` as a teacher meets it: a process, its output and its exit status."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from minillm.classroom import find_assignment
from minillm.classroom.journal import Journal
from minillm.cli.classroom import class_

ROOT = Path(__file__).parents[2]
COMMANDS = ["new", "list", "make", "grade", "regrade", "report", "similar", "export", "verify"]


def start(*args, cwd):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "120"}
    return subprocess.Popen([sys.executable, "-m", "minillm", "class", *map(str, args)], cwd=cwd, env=env,
                            text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")


def run(*args, cwd, status=0):
    process = start(*args, cwd=cwd)
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, out + err
    assert "Traceback" not in err
    if status:
        assert not err or len(err.strip().splitlines()) == 1
    return out + err


@pytest.fixture
def course(tmp_path):
    """A course of one assignment with three students."""
    said = run("new", "course", "-a", "adam", cwd=tmp_path)
    assert "cd course" in said
    folder = tmp_path / "course"
    (folder / "roster.csv").write_text("id,name,email\ns1,Jane Doe,j@x.edu\ns2,John Roe,r@x.edu\n"
                                       "s3,Li Na,l@x.edu\n")
    return folder


@pytest.fixture
def submissions(tmp_path):
    solution = find_assignment("04_adam").solution()
    folder = tmp_path / "submissions"
    for student, data in (("s1", solution.text.encode()), ("s2", solution.student.encode()),
                          ("stranger", solution.text.encode())):
        (folder / student).mkdir(parents=True)
        (folder / student / "adam.py").write_bytes(data)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command):
    said = CliRunner().invoke(class_, [command, "--help"], env={"COLUMNS": "200"})
    assert said.exit_code == 0
    assert f"minillm class {command}" in re.sub(r"\s+", " ", said.output)
    assert "Example" in said.output


def test_every_command_is_listed():
    said = CliRunner().invoke(class_, ["--help"], env={"COLUMNS": "200"}).output
    assert all(re.search(rf"\b{command}\b", said) for command in COMMANDS)


def test_without_a_course_it_says_how_to_make_one(tmp_path):
    for command in (["grade", "x"], ["regrade"], ["report"], ["export", "--csv"], ["make"], ["similar"]):
        assert "minillm class new my-course" in run(*command, cwd=tmp_path, status=1)
    assert "is no course" in run("list", "--course", tmp_path, cwd=tmp_path, status=1)
    assert "04_adam" in run("list", cwd=tmp_path)
    assert "Adam 优化器" in run("list", "--lang", "zh", cwd=tmp_path)


def test_mistakes_are_one_line(course):
    for args, said in ((["grade", "nowhere"], "does not exist"),
                       (["grade", ".", "-a", "zzz"], "is no assignment of this course"),
                       (["report"], "was not graded yet"), (["regrade"], "was not graded yet"),
                       (["export"], "--gradescope, --canvas, --moodle, --exercism, --csv"),
                       (["export", "--csv"], "was not graded yet"), (["list", "--lang", "fr"],
                                                                     "must be en or zh"),
                       (["verify", "zzz"], "is no assignment")):
        assert said in run(*args, cwd=course, status=1)
    assert "see --help" in run("grade", ".", "--jobs", "0", cwd=course, status=2)


@pytest.mark.slow
def test_a_class_is_graded_and_reported(course, submissions):
    inner = course / "inner"
    inner.mkdir()
    said = run("grade", submissions, "--jobs", 2, cwd=inner)  # the course is above
    assert "2 submissions: 2 graded now, 0 kept from before; mean 50.0 of 100, full marks 1" in said
    assert "stranger: matches nobody in the roster" in said
    assert "Nothing handed in (1): s3" in said
    assert "Protections: process" in said
    assert re.search(r"04_adam.*\b2\s*$", run("list", cwd=course), re.M)
    assert "0 graded now, 2 kept" in run("grade", submissions, cwd=course)
    assert "0 graded now, 2 kept" in run("regrade", cwd=course)
    assert "1 graded now, 0 kept" in run("regrade", "--all", "--only", "s2", cwd=course)
    (submissions / "s2" / "adam.py").write_bytes((submissions / "s1" / "adam.py").read_bytes() + b"# mine\n")
    said = run("grade", submissions, "--only", "changed", "--lang", "zh", cwd=course)
    assert "共 2 份提交：本次评分 1 份，沿用 1 份；平均 100.0 分（满分 100），满分 2 人" in said
    said = run("report", cwd=course)
    page = Path(said.strip().partition("Written: ")[2])
    assert page.is_file()
    assert page.is_relative_to(course)
    said = run("export", "--csv", "--gradescope", "--exercism", "--moodle", "--out", "grades", cwd=course)
    assert said.count("Written: ") == 4
    assert "s1" in (course / "grades" / "grades.csv").read_text(encoding="utf-8-sig")
    assert json.loads((course / "grades" / "gradescope" / "s1" / "results.json").read_text())["score"] == 100
    said = run("make", "-a", "adam", cwd=course)
    assert (course / "out" / "student" / "04_adam" / "adam.py").is_file()


@pytest.mark.slow
def test_verify(course):
    assert run("verify", "adam", cwd=course) == "04_adam: as it should be\n"


@pytest.mark.slow
def test_verify_finds_what_is_wrong(course):
    own = course / "05_own"
    shutil.copytree(find_assignment("04_adam").folder, own)
    text = (own / "assignment.toml").read_text(encoding="utf-8").replace('title_zh = "Adam 优化器"',
                                                                         'title_zh = "Adam"')
    (own / "assignment.toml").write_text(text, encoding="utf-8")
    assert "title: no Chinese text" in run("verify", "05_own", cwd=course, status=1)


def test_ctrl_c_says_how_to_go_on(course, submissions):
    (submissions / "s2" / "adam.py").write_text("import time\ntime.sleep(1000)\n")
    process = start("grade", submissions, "--jobs", 1, cwd=course)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if (course / "journal.sqlite").exists():
            with Journal(course / "journal.sqlite") as journal:
                if journal.graded():
                    break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert not err
    assert "Stopped: 1 of 2 are in the journal. Go on with:" in out
    assert f"minillm class grade {submissions} -a 04_adam" in out
    for command in (["report"], ["export", "--csv"]):
        said = run(*command, cwd=course)
        assert f"Grading was stopped: 1 of 2; go on with: minillm class grade {submissions} -a 04_adam\n" in (
            said)
    grades = (course / "out" / "export" / "04_adam" / "grades.csv").read_text(encoding="utf-8-sig")
    assert [row[-2] for row in csv.reader(grades.splitlines())][2:] == ["handed in, not graded yet",
                                                                      "nothing handed in"]


@pytest.fixture
def stub():
    """Needs no sandbox: it is graded at once."""
    return b"def ("


def test_a_late_submission_leaves_the_class_as_it_is(course, tmp_path, stub):
    for student in ("sub/s1", "sub/s2", "late/s3"):
        (tmp_path / student).mkdir(parents=True)
        (tmp_path / student / "adam.py").write_bytes(stub)
    run("grade", tmp_path / "sub", cwd=course)
    said = run("grade", tmp_path / "late", cwd=course)
    assert "Not in this folder: 2 (all graded before)" in said
    assert "Nothing handed in" not in said
    assert "3 submissions: 0 graded now, 3 kept" in run("regrade", cwd=course)
    (tmp_path / "sub" / "s1" / "adam.py").write_bytes(stub + b"x")
    (tmp_path / "late" / "s3" / "adam.py").write_bytes(stub + b"y")
    assert "3 submissions: 2 graded now, 1 kept" in run("regrade", cwd=course)
    assert "3 submissions: 3 graded now, 0 kept" in run("regrade", "--all", cwd=course)
    assert "1 submissions: 1 graded now" in run("regrade", "--all", "--only", "s2", cwd=course)
    shutil.rmtree(tmp_path / "late")
    said = run("regrade", cwd=course)
    assert "late is gone; left out: s3" in said
    assert "2 submissions: 0 graded now, 2 kept" in said
    shutil.rmtree(tmp_path / "sub")
    assert "is gone: say where the submissions are" in run("regrade", cwd=course, status=1)


def test_similar_takes_each_students_latest(course, tmp_path, stub):
    pytest.importorskip("copydetect")
    for student in ("sub/s1", "sub/s2", "late/s3"):
        (tmp_path / student).mkdir(parents=True)
        (tmp_path / student / "adam.py").write_bytes(stub)
    run("grade", tmp_path / "sub", cwd=course)
    run("grade", tmp_path / "late", cwd=course)
    run("similar", cwd=course)
    page = (course / "out" / "similar" / "04_adam" / "similar.html").read_text(encoding="utf-8")
    assert "3 submissions" in page
    # What cannot be written is told in a line.
    shutil.rmtree(course / "out")
    (course / "out").write_text("")
    run("similar", cwd=course, status=1)


def test_of_several_assignments_the_wrong_one_is_told(tmp_path, stub):
    run("new", "course", "-a", "adam", "-a", "12", cwd=tmp_path)
    (tmp_path / "sub" / "s1").mkdir(parents=True)
    (tmp_path / "sub" / "s1" / "adam.py").write_bytes(stub)
    course = tmp_path / "course"
    said = run("grade", tmp_path / "sub", "-a", "12", cwd=course, status=1)
    assert "did you mean -a 04_adam?" in said
    assert "minillm class report -a 04_adam" in run("grade", tmp_path / "sub", "-a", "adam", cwd=course)
    assert re.search(r"04_adam.*\b1\s*$", run("list", cwd=course), re.M)
    assert re.search(r"12_test_adam.*\b0\s*$", run("list", cwd=course), re.M)


def test_export_writes_what_it_can(course, tmp_path, stub):
    for student, name in (("s1", "adam.py"), ("s2", "notes.txt")):
        (tmp_path / "sub" / student).mkdir(parents=True)
        (tmp_path / "sub" / student / name).write_bytes(stub)
    assert "mean of the 1 graded 0.0 of 100" in run("grade", tmp_path / "sub", cwd=course)
    assert re.search(r"04_adam.*\b1\s*$", run("list", cwd=course), re.M)  # of two reports
    process = start("export", "--canvas", "--moodle", "--csv", cwd=course)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out.count("Written: ") == 2
    assert "1 not graded, left blank: s2" in out
    assert err.startswith("error: not written: --canvas: Canvas needs ID")
    shutil.rmtree(course / "out")
    (course / "out").write_text("no folder")
    for command in (["report"], ["export", "--csv"]):
        assert "cannot write" in run(*command, cwd=course, status=1)


def test_a_broken_course_is_no_missing_course(course):
    (course / "course.toml").write_text("name = 1\n")
    for command in ("list", "verify"):
        assert "name must be a text in quotes" in run(command, cwd=course, status=1)


def test_a_course_lies_in_no_other(course):
    assert "courses do not nest" in run("new", "inner", cwd=course, status=1)
    assert not (course / "inner").exists()


def test_a_damaged_journal_is_told(course):
    (course / "journal.sqlite").write_bytes(b"no database\n" * 500)
    assert "journal.sqlite was damaged; it is kept as journal.sqlite.damaged-1" in run("list", cwd=course)
    assert (course / "journal.sqlite.damaged-1").is_file()
