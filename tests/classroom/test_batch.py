"""The batch: nothing stops it, everything is in the journal, and a killed one goes on to the same end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from minillm.classroom import assignment as assignments
from minillm.classroom import batch as batches
from minillm.classroom.batch import grade
from minillm.classroom.batch_progress import BatchProgress
from minillm.classroom.journal import Journal
from minillm.classroom.roster import Student
from minillm.errors import UserError

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FAKE = "fake_grader:grade"
SECRET = bytes(32)


@pytest.fixture
def assignment(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))  # the grader's process looks for modules where this one does
    return assignments.find_assignment("04_adam")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "submissions"
    path.mkdir()
    return path


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def hand_in(folder, **submissions):
    for student, text in submissions.items():
        (folder / student).mkdir(exist_ok=True)
        (folder / student / "adam.py").write_text(text)


def run(assignment, folder, journal, **options):
    return grade(assignment, folder, journal, SECRET, **{"grade_with": FAKE, **options})


def final(journal, assignment):
    return json.dumps([r.without_times() for r in journal.reports(assignment.id)])


def test_every_submission_gets_a_report_whatever_happens(assignment, folder, journal, capfd):
    hand_in(folder, ada="share=1", bob="raise", carl="die", dora="print share=0.5", eve="share=0",
            fay="share=1")
    (folder / "gus").mkdir()
    (folder / "hal").mkdir()
    (folder / "hal" / "adam.py").symlink_to("/dev/zero")
    batch = run(assignment, folder, journal, jobs=2)
    reports = {r.student: r for r in journal.reports(assignment.id)}
    assert list(reports) == ["ada", "bob", "carl", "dora", "eve", "fay", "gus", "hal"] == batch.students
    assert {s: r.score for s, r in reports.items()} == {
        "ada": 100, "bob": 0, "carl": 0, "dora": 50, "eve": 0, "fay": 100, "gus": 0, "hal": 0}
    assert {s: r.state for s, r in reports.items() if r.state != "graded"} == {
        "bob": "refused", "carl": "refused", "gus": "no_file", "hal": "unreadable"}
    assert "KeyError: 'a bug\\nof the grader'" in reports["bob"].en
    assert "status -9" in reports["carl"].en
    assert "评分程序本身出错" in reports["carl"].zh
    assert [t.score for t in reports["gus"].tests] == [0] * len(assignment.tests)
    assert (batch.graded, batch.kept, len(batch.failed), len(batch.unreadable)) == (4, 0, 2, 2)
    assert not batch.interrupted
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_result_does_not_depend_on_jobs(assignment, folder, journal, tmp_path, jobs):
    hand_in(folder, **{f"s{n}": f"share={n / 10} sleep={0.05 * (n % 3)}" for n in range(8)})
    run(assignment, folder, journal, jobs=jobs)
    with Journal(tmp_path / "other.sqlite") as other:
        run(assignment, folder, other, jobs=2)
        assert final(journal, assignment) == final(other, assignment)
        assert [r.student for r in journal.reports(assignment.id)] == [f"s{n}" for n in range(8)]


def test_what_the_journal_has_is_kept_and_what_changed_is_graded(assignment, folder, journal, tmp_path,
                                                                 monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("FAKE_GRADER_LOG", str(log))

    def graded(**options):
        log.write_text("")
        batch = run(assignment, folder, journal, **options)
        return sorted(line.split()[0] for line in log.read_text().splitlines()), batch.kept

    hand_in(folder, ada="share=1", bob="share=0.5", carl="raise")
    assert graded() == (["ada", "bob", "carl"], 0)
    assert graded() == (["carl"], 2)  # the grader failed on it: again
    hand_in(folder, bob="share=0.7")
    hand_in(folder, carl="share=0.2")
    assert graded() == (["bob", "carl"], 1)
    assert [r.score for r in journal.reports(assignment.id)] == [100, 70, 20]
    hand_in(folder, bob="share=0.5")  # as at first: in the journal still
    assert graded() == ([], 3)
    assert [r.score for r in journal.reports(assignment.id)] == [100, 50, 20]
    assert graded(again="all", only=["ada"]) == (["ada"], 0)
    assert graded(again="all") == (["ada", "bob", "carl"], 0)
    assert graded() == ([], 3)
    # Another grader: everything, unless only changed files count.
    monkeypatch.setitem(assignment.__dict__, "fingerprint", "another")
    assert graded(again="files") == ([], 3)
    hand_in(folder, ada="share=0.9")
    assert graded(again="files") == (["ada"], 2)


def test_regrading_all_goes_on_after_a_kill(assignment, folder, journal):
    hand_in(folder, ada="share=1", bob="share=0.5")
    run(assignment, folder, journal)
    journal.mark_stale(assignment.id)  # what `again="all"` does first, and then it was killed
    assert run(assignment, folder, journal).graded == 2


def test_the_roster_unmatched_and_missing(assignment, folder, journal):
    hand_in(folder, ada="share=1", stranger="share=1")
    batch = run(assignment, folder, journal, people=[Student("ada"), Student("zoe")])
    assert batch.students == ["ada"]
    assert batch.missing == ("zoe",)
    assert [u[0] for u in batch.unmatched] == ["stranger"]
    assert [r.student for r in journal.reports(assignment.id)] == ["ada"]


def test_who_was_graded_before_is_not_missing(assignment, folder, journal, tmp_path):
    people = [Student("ada"), Student("bob"), Student("zoe")]
    hand_in(folder, ada="share=1", bob="share=1")
    run(assignment, folder, journal, people=people)
    late = tmp_path / "late"
    late.mkdir()
    hand_in(late, bob="share=0.5")
    batch = run(assignment, late, journal, people=people)
    assert (batch.missing, batch.elsewhere) == (("zoe",), ("ada",))
    assert {s: Path(one.where).name for s, one in journal.seen(assignment.id).items()} == {
        "ada": "submissions", "bob": "late"}
    batch = run(assignment, folder, journal, people=people, skip=["bob"])
    assert (batch.students, batch.kept) == (["ada"], 1)


def test_what_a_stop_leaves_is_known(assignment, folder, journal, monkeypatch):
    class Stop:
        def begin(self, total):
            pass

        def done(self, report, kept, failed):
            raise KeyboardInterrupt

    hand_in(folder, ada="share=1", bob="share=1", carl="share=1")
    assert run(assignment, folder, journal, progress=Stop()).interrupted
    assert sorted(journal.waiting(assignment.id)) == ["bob", "carl"]
    run(assignment, folder, journal)
    assert journal.waiting(assignment.id) == {}
    hand_in(folder, bob="share=0.5", carl="share=0.5")
    assert run(assignment, folder, journal, progress=Stop()).interrupted  # ada is kept, and then it stops
    assert sorted(journal.waiting(assignment.id)) == ["bob", "carl"]
    assert [r.score for r in journal.reports(assignment.id)] == [100, 100, 100]


def test_submissions_of_another_assignment_leave_the_journal_alone(assignment, folder, journal):
    hand_in(folder, ada="share=1", bob="share=1")
    run(assignment, folder, journal)
    others = {"adam.py": "04_adam"}
    twelve = assignments.find_assignment("12_test_adam")
    with pytest.raises(UserError, match=r"2 of 2 have adam.py: did you mean -a 04_adam\?"):
        run(twelve, folder, journal, others=others)
    assert journal.seen(twelve.id) == {}
    assert list(journal.reports(twelve.id)) == []
    (folder / "ada" / "adam_tests.py").write_text("share=1")  # one has it: the others get their line
    batch = run(twelve, folder, journal, others=others)
    assert [(s, "which belongs to 04_adam" in en) for s, en, _ in batch.unreadable] == [("bob", True)]


def test_texts_do_not_name_folders_and_addresses_of_this_run(assignment, folder, journal):
    hand_in(folder, ada="folder")
    run(assignment, folder, journal)
    report, = journal.reports(assignment.id)
    assert report.printed == "adam.py:3: <object object at 0x...> 0x1234567"


def test_notes_of_the_intake_are_on_the_report(assignment, folder, journal):
    (folder / "ada").mkdir()
    (folder / "ada" / "Adam.py").write_text("share=1")
    run(assignment, folder, journal)
    report, = journal.reports(assignment.id)
    assert [en for en, _ in report.notes] == ["found", "taken: Adam.py, though it should be called adam.py"]
    assert run(assignment, folder, journal).kept == 1
    (folder / "ada" / "Adam.py").rename(folder / "ada" / "ADAM.py")
    assert run(assignment, folder, journal).graded == 1


def test_mistakes_are_one_line(assignment, folder, journal):
    with pytest.raises(UserError, match="no submissions of adam.py"):
        run(assignment, folder, journal)
    with pytest.raises(UserError, match="does not exist"):
        run(assignment, folder / "nowhere", journal)
    hand_in(folder, ada="share=1")
    with pytest.raises(UserError, match="no submission of bob was found; there are ada"):
        run(assignment, folder, journal, only=["bob"])
    with pytest.raises(UserError, match="jobs = 0"):
        run(assignment, folder, journal, jobs=0)
    with pytest.raises(UserError, match="matches? nobody"):
        run(assignment, folder, journal, people=[Student("zoe")])


def test_a_machine_that_cannot_grade_stops_the_batch(assignment, folder, journal):
    hand_in(folder, **{f"s{n}": "stop" for n in range(5)})
    with pytest.raises(UserError, match="no sandbox here"):
        run(assignment, folder, journal, jobs=2)
    assert list(journal.reports(assignment.id)) == []


def test_a_grader_that_hangs_is_ended(assignment, folder, journal, monkeypatch):
    monkeypatch.setattr(batches, "patience", lambda assignment: 2.0)
    hand_in(folder, ada="sleep=60", bob="share=1")
    batch = run(assignment, folder, journal, jobs=1)
    assert batch.failed == [("ada", "it took more than 2 s")]
    assert batch.graded == 1


def test_a_process_grades_many_and_is_replaced(assignment, folder, journal, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "RECYCLE", 3)
    log = tmp_path / "log"
    monkeypatch.setenv("FAKE_GRADER_LOG", str(log))
    hand_in(folder, **{f"s{n}": "share=1" for n in range(7)})
    run(assignment, folder, journal)
    processes = [line.split()[1] for line in log.read_text().splitlines()]
    assert [processes.count(p) for p in dict.fromkeys(processes)] == [3, 3, 1]


def test_few_submissions_are_read_ahead(assignment, folder, journal, monkeypatch):
    hand_in(folder, **{f"s{n:02d}": "share=1" for n in range(12)})
    ahead = []
    read = batches.Intake.read

    def count(self, place):
        ahead.append(len(list(journal.reports(assignment.id))))
        return read(self, place)

    monkeypatch.setattr(batches.Intake, "read", count)
    run(assignment, folder, journal, jobs=2)
    assert ahead[:12] == [0] * 12  # one look at each, for what a stop would leave
    assert all(n - done <= 3 for n, done in enumerate(ahead[12:]))


BATCH = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from minillm.classroom.assignment import find_assignment
from minillm.classroom.batch import grade
from minillm.classroom.journal import Journal
if __name__ == "__main__":
    with Journal({journal!r}) as journal:
        batch = grade(find_assignment("04_adam"), {folder!r}, journal, bytes(32), jobs=2,
                      grade_with="fake_grader:grade")
    print("interrupted" if batch.interrupted else "done", flush=True)
"""


def start(folder, path, tmp_path):
    code = BATCH.format(root=str(ROOT), here=str(HERE), journal=str(path), folder=str(folder))
    (tmp_path / "batch.py").write_text(code)
    (tmp_path / "temporary").mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, str(tmp_path / "batch.py")], stdout=subprocess.PIPE, text=True,
                            env={**os.environ, "FAKE_GRADER_LOG": str(tmp_path / "log"),
                                 "TMPDIR": str(tmp_path / "temporary")})


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_killed_at_random_it_ends_with_the_same_reports(assignment, folder, tmp_path, rng):
    hand_in(folder, **{f"s{n:02d}": f"share={n % 5 / 4} sleep={0.1 * (n % 3)}" for n in range(30)})
    with Journal(tmp_path / "whole.sqlite") as journal:
        run(assignment, folder, journal, jobs=2)
        want = final(journal, assignment)
    path, log = tmp_path / "killed.sqlite", tmp_path / "log"

    def begun():
        return len(log.read_text().splitlines()) if log.exists() else 0

    for _ in range(5):
        process, before = start(folder, path, tmp_path), begun()
        until, deadline = before + rng.integers(1, 7), time.monotonic() + 120
        while begun() < until and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        assert process.communicate()[0] == ""  # it was not done
    with Journal(path) as journal:
        assert 0 < len(list(journal.reports(assignment.id))) < 30
    assert start(folder, path, tmp_path).communicate(timeout=300)[0] == "done\n"
    with Journal(path) as journal:
        assert journal.note is None
        assert final(journal, assignment) == want
    graders = {int(line.split()[1]) for line in log.read_text().splitlines()}
    deadline = time.monotonic() + 30
    while any(map(alive, graders)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in graders if alive(pid)]
    assert not list((tmp_path / "temporary").iterdir())


def test_ctrl_c_leaves_what_was_graded_and_no_process(assignment, folder, tmp_path):
    hand_in(folder, a="share=1", b="share=1", c="sleep=60", d="sleep=60", e="share=1")
    process = start(folder, tmp_path / "journal.sqlite", tmp_path)
    log = tmp_path / "log"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and len(log.read_text().splitlines()) >= 4):
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[0] == "interrupted\n"
    assert process.returncode == 0
    assert not [line for line in log.read_text().splitlines() if alive(int(line.split()[1]))]
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert [r.student for r in journal.reports("04_adam")] == ["a", "b"]


def test_a_script_without_a_guard_does_not_start_itself_again(assignment, folder, journal):
    """Processes are started anew, and not through multiprocessing, which runs the caller's script again."""
    hand_in(folder, ada="share=1")
    before = threading.active_count()
    run(assignment, folder, journal)
    assert threading.active_count() == before


@pytest.mark.parametrize(("lang", "wanted"), [
    ("en", "4/4  2 full marks, 1 in part, 1 not readable"),
    ("zh", "4/4  2 份满分，1 份部分得分，1 份无法读取")])
def test_plain_progress(assignment, folder, journal, lang, wanted):
    from rich.console import Console as Rich

    hand_in(folder, ada="share=1", bob="share=0.5", carl="share=1")
    (folder / "dora").mkdir()
    with open(os.devnull, "w") as nowhere:
        console = Rich(file=nowhere)
        lines = []
        console.print = lambda text, **_: lines.append(text)
        with BatchProgress(console, lang) as progress:
            run(assignment, folder, journal, progress=progress)
        assert lines == [wanted]
        with BatchProgress(console, lang) as progress:
            run(assignment, folder, journal, progress=progress)
        assert ("3 kept" if lang == "en" else "3 份沿用") in lines[1]
