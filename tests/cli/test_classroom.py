"""`minillm class` as a teacher meets it: a process, its output and its exit status."""

import json
import os
import re
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
    import shutil

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


def test_a_damaged_journal_is_told(course):
    (course / "journal.sqlite").write_bytes(b"no database\n" * 500)
    assert "journal.sqlite was damaged; it is kept as journal.sqlite.damaged-1" in run("list", cwd=course)
    assert (course / "journal.sqlite.damaged-1").is_file()
