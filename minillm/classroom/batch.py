"""Grade a class: many submissions, some at once, each report in the journal as soon as it is made."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from minillm.errors import UserError

from .assignment import Assignment
from .grader_process import GRADE, GraderFailed, GraderProcess
from .intake import Intake, Person, Submission, open_submissions
from .journal import Journal, grading_lock
from .report import Report, TestResult

RECYCLE = 100  # submissions that one process grades: what it leaks, if it does, is bounded
SLACK = 120.0  # seconds for starting processes on a busy machine


class Progress(Protocol):
    """Is told how the batch goes on."""

    def begin(self, total: int) -> None:
        """So many submissions were found."""

    def done(self, report: Report, kept: bool, failed: bool) -> None:
        """One more is done; `kept`: it was in the journal; `failed`: the grader itself failed."""


@dataclass
class Batch:
    """What became of a batch. The reports are in the journal: `Journal.reports`.

    Attributes:
        graded: how many were graded now.
        kept: how many were in the journal already.
        students: ids of all whose submissions were found, sorted.
        unreadable: (student, English, Chinese): submissions that could not be read.
        failed: (student, what): the grader itself failed; they are graded again next time.
        unmatched: (source, English, Chinese): submissions that no student was found for.
        missing: ids of the roster's students who handed in nothing.
        elsewhere: ids of the roster's students who are not in this folder, and were graded before.
        interrupted: it was stopped before all were done; the same command goes on.
    """

    graded: int = 0
    kept: int = 0
    students: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    unmatched: tuple[tuple[str, str, str], ...] = ()
    missing: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    interrupted: bool = False

    def add(self, other: Batch) -> None:
        """Count another folder's batch in."""
        self.graded += other.graded
        self.kept += other.kept
        self.students = sorted({*self.students, *other.students})
        self.unreadable += other.unreadable
        self.failed += other.failed
        self.unmatched += other.unmatched
        self.missing = tuple(s for s in self.missing if s in other.missing)
        self.elsewhere = tuple(s for s in self.elsewhere if s in other.elsewhere)
        self.interrupted |= other.interrupted


def grade(assignment: Assignment, submissions: str | Path, journal: Journal, secret: bytes, *,
          people: Collection[Person] = (), jobs: int = 1, only: Collection[str] = (),
          skip: Collection[str] = (), again: str = "grader", others: Mapping[str, str] | None = None,
          progress: Progress | None = None, grade_with: str = GRADE) -> Batch:
    """Grade submissions; what the journal has already is kept.

    Each report goes to the journal as soon as it is made. So a batch that was stopped, by Ctrl-C or SIGKILL,
    goes on where it stopped when it is called again, and ends with the same reports apart from times.

    Args:
        assignment: the assignment.
        submissions: a folder, a zip or a file; see `open_submissions`.
        journal: where reports go.
        secret: the course's secret.
        people: the roster.
        jobs: how many are graded at once, each in a process of its own.
        only: ids of the students to grade; empty for all.
        skip: ids of students to pass over: their latest submission is in another folder.
        again: what is graded though the journal has a report of the student: "files" if other files were
            handed in; "grader" if other files were handed in, or the assignment or the grader changed; "all"
            for everything.
        others: file -> id, of the course's other assignments.
        progress: is told how it goes on.
        grade_with: "module:function" in place of grade_submission.

    Raises:
        UserError: there are no submissions, a student of `only` is not among them, they are of another
            assignment, or another grading of the course is going on.
    """
    if jobs < 1:
        raise UserError(f"jobs = {jobs} must be at least 1")
    if again not in ("files", "grader", "all"):
        raise UserError(f"again = {again!r} must be files, grader or all")
    with grading_lock(journal.path), open_submissions(submissions, assignment.file, people,
                                                      others) as intake:
        intake = _chosen(intake, only, skip)
        where = str(Path(submissions).resolve())
        found = _looked_through(intake)  # may say that they are another assignment's: nothing is written yet
        before = set(journal.reported(assignment.id))
        known = {*before, *journal.seen(assignment.id)}
        batch = Batch(students=[p.student for p in intake.places], unmatched=intake.unmatched,
                      missing=tuple(s for s in intake.missing if s not in known),
                      elsewhere=tuple(s for s in intake.missing if s in before))
        journal.remember(assignment.id, "submissions", where)
        journal.saw(assignment.id, where, found)
        if again == "all":
            journal.mark_stale(assignment.id, batch.students)
        run = _Run(assignment, intake, journal, secret, again, progress, grade_with, batch)
        try:
            run.run(jobs)
        except KeyboardInterrupt:
            batch.interrupted = True
    return batch


def _looked_through(intake: Intake) -> dict[str, str]:
    """Student -> SHA-256 of what was handed in: so that what a stop leaves ungraded is known.

    Raises:
        UserError: they are submissions of another assignment.
    """
    found: dict[str, str] = {}
    ours, theirs = False, Counter[str]()
    for place in intake.places:
        submission = intake.read(place)
        found[place.student] = submission.sha
        ours |= bool(submission.files)
        theirs[submission.other] += 1
    del theirs[""]
    if theirs and not ours:
        (other, count), = theirs.most_common(1)
        file = next(f for f, a in intake.others.items() if a == other)
        raise UserError(f"no submission has {intake.wanted}, and {count} of {len(found)} have {file}: did "
                        f"you mean -a {other}?")
    return found


def _chosen(intake: Intake, only: Collection[str], skip: Collection[str]) -> Intake:
    if skip:
        intake = replace(intake, places=tuple(p for p in intake.places if p.student not in skip),
                         missing=tuple(s for s in intake.missing if s not in skip))
    if not intake.places and not only:
        more = f"; {len(intake.unmatched)} folders or files match nobody: {intake.unmatched[0][0]}, " \
               f"{intake.unmatched[0][1]}" if intake.unmatched else ""
        raise UserError(f"no submissions of {intake.wanted} were found{more}")
    if not only:
        return intake
    if unknown := sorted(set(only) - {p.student for p in intake.places}):
        raise UserError(f"no submission of {unknown[0]} was found; there are "
                        f"{', '.join(p.student for p in intake.places[:5]) or 'none'}"
                        f"{', ...' if len(intake.places) > 5 else ''}")
    return replace(intake, places=tuple(p for p in intake.places if p.student in set(only)),
                   unmatched=(), missing=())


@dataclass
class _Run:
    """One batch on its way.

    The main thread reads submissions and writes the journal; each other thread waits for a grader process.
    """

    assignment: Assignment
    intake: Intake
    journal: Journal
    secret: bytes
    again: str
    progress: Progress | None
    grade_with: str
    batch: Batch

    def run(self, jobs: int) -> None:
        if self.progress:
            self.progress.begin(len(self.intake.places))
        # So many submissions are in memory at once, and no more.
        tasks: queue.Queue[Submission | None] = queue.Queue()
        done: queue.Queue[tuple[Submission, Report | Exception]] = queue.Queue()
        graders = [GraderProcess(self.assignment.folder, self.secret, self.grade_with)
                   for _ in range(min(jobs, len(self.intake.places)))]
        threads = [threading.Thread(target=self._serve, args=(g, tasks, done), daemon=True) for g in graders]
        for thread in threads:
            thread.start()
        waiting = 0
        try:
            for submission in self._to_grade():
                tasks.put(submission)
                waiting += 1
                if waiting > len(graders):  # one lies ready for whoever is free first
                    self._finish(*done.get())
                    waiting -= 1
            while waiting:
                self._finish(*done.get())
                waiting -= 1
        except BaseException:
            for grader in graders:
                threading.Thread(target=grader.end).start()  # all at once: each may take its time
            raise
        finally:
            for _ in threads:
                tasks.put(None)
            for thread in threads:
                thread.join()

    def _to_grade(self) -> Iterator[Submission]:
        """The submissions that are to be graded; the others are done."""
        grader = None if self.again == "files" else self.assignment.fingerprint
        for place in self.intake.places:
            submission = self.intake.read(place)
            found = self.journal.find(self.assignment.id, place.student, submission.sha, grader)
            if found is not None and not set(submission.notes) <= set(found.notes):
                found = None  # the same file, but handed in otherwise
            if not submission.files:
                self._unreadable(submission)
            elif found is not None:
                self.journal.keep(found)
                self.batch.kept += 1
                self._tell(found, kept=True)
            else:
                yield submission

    def _unreadable(self, submission: Submission) -> None:
        s = submission
        report = not_graded(self.assignment, s.student, s.sha, s.state, s.en, s.zh, s.notes)
        self.journal.record(report)
        self.batch.unreadable.append((submission.student, submission.en, submission.zh))
        self._tell(report)

    def _finish(self, submission: Submission, result: Report | Exception) -> None:
        if isinstance(result, UserError):  # of this machine, or of the assignment
            raise result
        if isinstance(result, Exception):
            what = str(result) if isinstance(result, GraderFailed) else f"{type(result).__name__}: {result}"
            report = not_graded(self.assignment, submission.student, submission.sha, "refused",
                                f"not graded: the grader itself failed ({what}), not the student's code",
                                f"未评分：评分程序本身出错（{what}），不是学生的错", submission.notes)
            self.journal.record(report, final=False)
            self.batch.failed.append((submission.student, what))
            self._tell(report, failed=True)
            return
        report = replace(result, notes=(*result.notes, *submission.notes))
        self.journal.record(report)
        self.batch.graded += 1
        self._tell(report)

    def _tell(self, report: Report, kept: bool = False, failed: bool = False) -> None:
        if self.progress:
            self.progress.done(report, kept, failed)

    def _serve(self, grader: GraderProcess, tasks: queue.Queue[Submission | None],
               done: queue.Queue[tuple[Submission, Report | Exception]]) -> None:
        seconds = patience(self.assignment)
        with grader:
            for count, submission in enumerate(iter(tasks.get, None), 1):
                try:
                    result: Report | Exception = grader.grade(submission.student, submission.files, seconds)
                except Exception as error:  # whatever it is, the main thread is to hear of it
                    result = error
                done.put((submission, result))
                if count % RECYCLE == 0:
                    grader.close()


def patience(assignment: Assignment) -> float:
    """Seconds after which a submission's grading itself must have gone wrong: all its limits, and more."""
    limits = [s.cases * (s.seconds or assignment.limits.seconds) for s in assignment.scenarios.values()]
    return SLACK + 20 * sum(limits)


def not_graded(assignment: Assignment, student: str, submission: str, state: str, en: str, zh: str,
               notes: tuple[tuple[str, str], ...] = ()) -> Report:
    """The report of a submission that could not be graded: every test has score 0."""
    tests = tuple(TestResult(t.name, t.title, t.title_zh, t.visibility, 0.0, t.points, "not_run", "not run",
                             "未运行") for t in assignment.tests)
    return Report(student, assignment.id, submission, assignment.fingerprint, state, en, zh, tests,
                  notes=notes)
