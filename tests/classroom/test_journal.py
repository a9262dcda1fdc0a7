"""The journal: what is committed stays, damage is kept and explained, one grading at a time."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from minillm.classroom import journal as journals
from minillm.classroom.journal import Journal, grading_lock
from minillm.classroom.report import Report, TestResult
from minillm.errors import UserError

ROOT = Path(__file__).parents[2]


def report(student="ada", submission="s1", grader="g1", score=7.0, assignment="04_adam"):
    test = TestResult("a", "A", "甲", "public", score, 10.0, "wrong", "a reason", "原因", ratio=1.5)
    return Report(student, assignment, submission, grader, "graded", "en", "中\udc80", (test,), ("landlock",),
                  (("n", "注"),), printed="x" * 3000)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


def test_a_report_comes_back_as_it_was(path):
    with Journal(path) as journal:
        journal.record(report())
        assert journal.note is None
    with Journal(path) as journal:
        assert journal.find("04_adam", "ada", "s1", "g1") == report()
        assert list(journal.reports("04_adam")) == [report()]
    assert sorted(p.name for p in path.parent.iterdir()) == ["journal.sqlite"]


def test_another_file_or_grader_is_another_key(path):
    with Journal(path) as journal:
        journal.record(report())
        assert journal.find("04_adam", "ada", "s2", "g1") is None
        assert journal.find("04_adam", "ada", "s1", "g2") is None
        assert journal.find("04_adam", "bob", "s1", "g1") is None
        assert journal.find("05_x", "ada", "s1", "g1") is None
        assert journal.find("04_adam", "ada", "s1", None) == report()


def test_the_current_report_is_the_last_recorded_or_kept(path):
    first, second = report(score=1.0), report(submission="s2", score=2.0)
    with Journal(path) as journal:
        for student in ("eve", "bob"):
            journal.record(replace(first, student=student))
        journal.record(first)
        journal.record(second)
        assert [r.student for r in journal.reports("04_adam")] == ["ada", "bob", "eve"]
        assert next(journal.reports("04_adam", ["ada"])) == second
        journal.keep(first)  # handed in again as it was at first
        assert list(journal.reports("04_adam", ["ada"])) == [first]
        assert journal.graded() == {"04_adam": 3}


def test_what_is_stale_or_not_final_is_shown_but_not_found(path):
    with Journal(path) as journal:
        journal.record(report(), final=False)
        assert journal.find("04_adam", "ada", "s1", "g1") is None
        assert list(journal.reports("04_adam")) == [report()]
        journal.record(report())
        journal.record(report("bob"))
        journal.mark_stale("04_adam", ["ada"])
        assert journal.find("04_adam", "ada", "s1", "g1") is None
        assert journal.find("04_adam", "bob", "s1", "g1") is not None
        journal.mark_stale("04_adam")
        assert journal.find("04_adam", "bob", "s1", None) is None
        assert len(list(journal.reports("04_adam"))) == 2


def test_what_was_seen_and_what_of_it_waits(path):
    with Journal(path) as journal:
        journal.saw("04_adam", "here", {"ada": "s1", "bob": "s1", "a:b": "s9"})
        journal.record(report())
        journal.record(report("bob", "s0"))
    with Journal(path) as journal:
        assert {s: (one.submission, one.where) for s, one in journal.seen("04_adam").items()} == {
            "ada": ("s1", "here"), "bob": ("s1", "here"), "a:b": ("s9", "here")}
        assert sorted(journal.waiting("04_adam")) == ["a:b", "bob"]
        journal.saw("04_adam", "there", {"bob": "s0"})
        assert sorted(journal.waiting("04_adam")) == ["a:b"]
        assert journal.seen("05_other") == {}


def test_only_what_was_graded_counts_as_graded(path):
    with Journal(path) as journal:
        journal.record(report())
        journal.record(replace(report("bob"), state="no_file"))
        assert journal.graded() == {"04_adam": 1}


def test_settings(path):
    with Journal(path) as journal:
        assert journal.setting("04_adam", "submissions") == ""
        journal.remember("04_adam", "submissions", "here")
        journal.remember("04_adam", "submissions", "there")
        assert journal.setting("04_adam", "submissions") == "there"


def test_committed_reports_survive_a_kill(path):
    code = f"""
import os, sys
sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
from test_journal import report
from minillm.classroom.journal import Journal
journal = Journal({str(path)!r})
for n in range(10_000):
    journal.record(report(f"s{{n:05d}}"))
    print(n, flush=True)
"""
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        last = [int(process.stdout.readline()) for _ in range(20)][-1]
        process.send_signal(signal.SIGKILL)
        last = max([last, *map(int, filter(str.isdigit, process.stdout.read().splitlines()))])
        process.wait()
        process.stdout.close()
        with Journal(path) as journal:
            assert journal.note is None
            students = [r.student for r in journal.reports("04_adam")]
        assert {f"s{n:05d}" for n in range(last + 1)} <= set(students)


def test_a_newer_format_is_refused_and_left_alone(path):
    Journal(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match="newer minillm.*format 99"):
        Journal(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_another_programs_database_is_refused_and_left_alone(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.commit()
    db.close()
    with pytest.raises(UserError, match="another program"):
        Journal(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("damage", ["text", "empty_page", "cut", "flipped", "wiped"])
def test_a_damaged_file_is_kept_and_what_is_whole_comes_over(path, damage):
    with Journal(path) as journal:
        for n in range(60):
            journal.record(report(f"s{n:02d}"))
        journal.remember("04_adam", "submissions", "there")
    data = bytearray(path.read_bytes())
    if damage == "text":
        data = bytearray(b"this is no database\n" * 300)
    elif damage == "cut":
        del data[len(data) // 2:]
    elif damage == "empty_page":
        data[3 * 4096:4 * 4096] = bytes(4096)
    elif damage == "wiped":
        data[8192:] = bytes(len(data) - 8192)
    else:
        at = data.index(b"a reason", len(data) // 2)
        data[at] ^= 1  # SQLite does not notice
    path.write_bytes(data)
    with Journal(path) as journal:
        left = {r.student for r in journal.reports("04_adam")}
        assert all(r == report(r.student) for r in journal.reports("04_adam"))
        journal.record(report("new"))
        assert "new" in {r.student for r in journal.reports("04_adam")}
        if damage == "flipped":
            assert len(left) == 59
            return
        assert "damaged" in journal.note[0]
        assert "已损坏" in journal.note[1]
        assert "\n" not in journal.note[0]
    kept = path.with_name("journal.sqlite.damaged-1")
    assert kept.read_bytes() == bytes(data)
    if damage in ("cut", "empty_page"):
        assert len(left) > 5
    with Journal(path) as journal:
        assert journal.note is None


def test_an_empty_file_is_a_new_journal(path):
    path.write_bytes(b"")
    with Journal(path) as journal:
        journal.record(report())
    with Journal(path) as journal:
        assert len(list(journal.reports("04_adam"))) == 1


def test_a_folder_in_its_place_and_a_missing_folder_are_one_line(tmp_path):
    (tmp_path / "journal.sqlite").mkdir()
    for path in (tmp_path / "journal.sqlite", tmp_path / "nowhere" / "journal.sqlite"):
        with pytest.raises(UserError, match="cannot be written") as error:
            Journal(path)
        assert "\n" not in str(error.value)


def test_a_full_disk_loses_nothing(path):
    with Journal(path) as journal:
        journal.record(report())
        pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
        journal._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(UserError, match="no space is left"):
            journal.record(replace(report("bob"), printed="y" * 100_000))
        assert [r.student for r in journal.reports("04_adam")] == ["ada"]


def test_two_graders_share_a_journal_or_are_told(path, monkeypatch):
    monkeypatch.setattr(journals, "WAIT", 0.2)
    with Journal(path) as one, Journal(path) as other:
        one.record(report())
        other.record(report("bob"))
        assert len(list(one.reports("04_adam"))) == 2
        one._db.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match="in use by another process"):
            other.record(report("eve"))
        one._db.execute("ROLLBACK")


def test_one_grading_at_a_time_and_a_kill_frees_the_lock(path):
    code = f"""
import sys, time
sys.path[:0] = [{str(ROOT)!r}]
from pathlib import Path
from minillm.classroom.journal import grading_lock
with grading_lock(Path({str(path)!r})):
    print("locked", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(UserError, match=f"process {process.pid}"), grading_lock(path):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with grading_lock(path), pytest.raises(UserError, match="another grading"), grading_lock(path):
        pass


def test_a_commit_waits_for_the_disk_and_the_journal_is_one_file(path):
    with Journal(path) as journal:
        assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_the_row_is_plain_json(path):
    with Journal(path) as journal:
        journal.record(report())
    db = sqlite3.connect(path)
    text, = db.execute("SELECT report FROM reports").fetchone()
    db.close()
    assert json.loads(text)["tests"][0]["score"] == 7.0
