"""The journal of a course: every report that was ever made, in one SQLite file that a kill leaves whole.

A rollback journal and not WAL: there is one file to copy, it works on network drives, and a few commits a
second are all that grading needs. With `synchronous=FULL` a commit is on the disk before `record` returns.
SQLite itself sees no damage inside a row, so each row carries its hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from minillm.errors import UserError

from .report import Report

SCHEMA = 1
APPLICATION = 0x6D636C73  # "mcls"; SQLite keeps it in the file's header
WAIT = 30.0  # seconds for another process's commit

_SEEN = "seen:"  # before a student's id, as a key of the settings: no older journal lacks a table

_TABLES = """
CREATE TABLE reports (
    assignment TEXT NOT NULL, student TEXT NOT NULL, submission TEXT NOT NULL, grader TEXT NOT NULL,
    stale INTEGER NOT NULL DEFAULT 0, graded_at REAL NOT NULL, hash TEXT NOT NULL, report TEXT NOT NULL,
    PRIMARY KEY (assignment, student, submission, grader));
CREATE TABLE current (
    assignment TEXT NOT NULL, student TEXT NOT NULL, submission TEXT NOT NULL, grader TEXT NOT NULL,
    PRIMARY KEY (assignment, student));
CREATE TABLE settings (assignment TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (assignment, key));
"""


@dataclass(frozen=True)
class Seen:
    """What a run found of a student.

    Attributes:
        submission: SHA-256 of what was handed in, in hex.
        where: the folder or zip that it was in.
    """

    submission: str
    where: str


class Journal:
    """A course's journal; use it as a context manager.

    A file that is damaged is kept under another name; what can be read of it goes into a new one.

    Args:
        path: its file; it is made if it is not there.

    Attributes:
        path: see above.
        note: (English, Chinese) if the file was damaged, else None.

    Raises:
        UserError: it was written by a newer version, is no journal of ours, or cannot be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.note: tuple[str, str] | None = None
        try:
            try:
                self._db = _open(self.path)
            except sqlite3.OperationalError:
                raise  # locked, not writable, no space: nothing is damaged
            except sqlite3.DatabaseError:
                self._db = self._start_anew()
        except (sqlite3.Error, OSError) as error:
            raise UserError(_line(self.path, error)) from None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def record(self, report: Report, *, final: bool = True) -> None:
        """Write a report down as the student's current one, in one transaction.

        Args:
            report: keyed by its assignment, student, submission and grader; one with that key is replaced.
            final: False where the grader itself failed: the report is shown, and made anew next time.
        """
        text = json.dumps(report.to_json(), ensure_ascii=True, separators=(",", ":"))
        key = _key(report)
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO reports VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                             (*key, int(not final), time.time(), _hash(key, text), text))
            self._db.execute("INSERT OR REPLACE INTO current VALUES (?, ?, ?, ?)", key)

    def keep(self, report: Report) -> None:
        """Make a report that is written down already the student's current one."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO current VALUES (?, ?, ?, ?)", _key(report))

    def find(self, assignment: str, student: str, submission: str, grader: str | None) -> Report | None:
        """The report of a submission, or None if it is to be graded.

        Args:
            assignment, student, submission: whose, of what.
            grader: fingerprint; None for any, the newest first.
        """
        said = "SELECT * FROM reports WHERE assignment = ? AND student = ? AND submission = ? AND NOT stale"
        values: tuple[Any, ...] = (assignment, student, submission)
        if grader is not None:
            said, values = said + " AND grader = ?", (*values, grader)
        for row in self._rows(said + " ORDER BY graded_at DESC", values):
            if (report := _report(row)) is not None:
                return report
        return None

    def reports(self, assignment: str, students: Iterable[str] | None = None) -> Iterator[Report]:
        """The current report of each student, by the student's id.

        Args:
            assignment: the assignment's id.
            students: ids; None for all. Those without a report are left out.
        """
        wanted = None if students is None else set(students)
        for student in self.reported(assignment):
            if wanted is None or student in wanted:
                for row in self._rows("SELECT reports.* FROM reports NATURAL JOIN current "
                                      "WHERE assignment = ? AND student = ?", (assignment, student)):
                    if (report := _report(row)) is not None:
                        yield report

    def mark_stale(self, assignment: str, students: Iterable[str] | None = None) -> None:
        """Let `find` pass over what is written down, so that it is graded anew.

        A kill in between loses nothing.
        """
        with self._transaction():
            if students is None:
                self._db.execute("UPDATE reports SET stale = 1 WHERE assignment = ?", (assignment,))
            else:
                self._db.executemany("UPDATE reports SET stale = 1 WHERE assignment = ? AND student = ?",
                                     [(assignment, s) for s in students])

    def setting(self, assignment: str, key: str) -> str:
        """What `remember` wrote, or ""."""
        rows = self._rows("SELECT value FROM settings WHERE assignment = ? AND key = ?", (assignment, key))
        return str(rows[0][0]) if rows else ""

    def remember(self, assignment: str, key: str, value: str) -> None:
        """Write a word about an assignment down, such as where its submissions are."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", (assignment, key, value))

    def saw(self, assignment: str, where: str, submissions: Mapping[str, str]) -> None:
        """Write down what a run found, before it grades any of it.

        Args:
            assignment: the assignment's id.
            where: the folder or zip.
            submissions: student -> SHA-256 of what was handed in.
        """
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)",
                                 [(assignment, _SEEN + s, json.dumps([sha, where]))
                                  for s, sha in submissions.items()])

    def seen(self, assignment: str) -> dict[str, Seen]:
        """What was last found of each student, by the student's id; see `saw`."""
        rows = self._rows("SELECT key, value FROM settings WHERE assignment = ? AND substr(key, 1, ?) = ? "
                          "ORDER BY key", (assignment, len(_SEEN), _SEEN))
        return {key[len(_SEEN):]: Seen(*json.loads(value)) for key, value in rows}

    def waiting(self, assignment: str) -> dict[str, Seen]:
        """Of `seen` what was not graded yet, for the grading was stopped: the student has no report, or one
        of another file.
        """
        done = dict(self._rows("SELECT student, submission FROM current WHERE assignment = ?", (assignment,)))
        return {s: one for s, one in self.seen(assignment).items() if done.get(s) != one.submission}

    def reported(self, assignment: str) -> list[str]:
        """Ids of the students that have a report, sorted."""
        return [str(row[0]) for row in self._rows("SELECT student FROM current WHERE assignment = ? "
                                                  "ORDER BY student", (assignment,))]

    def graded(self) -> dict[str, int]:
        """Assignment's id -> how many students' submissions were graded; 0 where none could be."""
        ids = [row[0] for row in self._rows("SELECT DISTINCT assignment FROM current ORDER BY assignment",
                                            ())]
        return {a: sum(r.state == "graded" for r in self.reports(a)) for a in ids}

    def _rows(self, said: str, values: tuple[Any, ...]) -> list[Any]:
        try:
            return self._db.execute(said, values).fetchall()
        except sqlite3.Error as error:
            raise UserError(_line(self.path, error)) from None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # SQLite rolls back by itself where the disk is full
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise UserError(_line(self.path, error)) from None

    def _start_anew(self) -> sqlite3.Connection:
        """Keep the damaged file, and take what can be read of it into a new one."""
        kept = _free_name(self.path)
        os.replace(self.path, kept)
        for suffix in ("-journal", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self.path}{suffix}", f"{kept}{suffix}")
        new = _open(self.path)
        saved = _salvage(kept, new)
        self.note = (f"{self.path.name} was damaged; it is kept as {kept.name}. {saved} reports could be "
                     "read from it; what is missing is graded again",
                     f"{self.path.name} 已损坏，保留为 {kept.name}。从中读回了 {saved} 份报告；缺少的会重新评"
                     "分")
        return new


@contextlib.contextmanager
def grading_lock(journal: Path) -> Iterator[None]:
    """One grading at a time on a journal; the lock ends with the process, however it ends.

    Raises:
        UserError: another process has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: two graders share the journal safely, and do the work twice
        yield
        return
    path = journal.with_name(journal.name + ".lock")
    try:
        file: IO[str] = path.open("a+")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read(80).strip()
            raise UserError("another grading of this course is going "
                            f"on{f' (process {who})' if who else ''}: wait "
                            "for it, or stop it with Ctrl-C") from None
        except OSError:  # a file system without locks
            yield
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _open(path: Path) -> sqlite3.Connection:
    """The file, checked, with its tables.

    Raises:
        sqlite3.DatabaseError: it is damaged.
        UserError: it is another's.
    """
    db = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA trusted_schema = OFF")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
        application = db.execute("PRAGMA application_id").fetchone()[0]
        if application == APPLICATION and version > SCHEMA:
            raise UserError(f"{path} was written by a newer minillm (format {version}; this one "
                            f"knows {SCHEMA}): update minillm with pip install -U minillm")
        if tables and application != APPLICATION:
            raise UserError(f"{path} is a database of another program: move it away, and grade again")
        if not tables:
            db.execute("PRAGMA journal_mode = DELETE")
            db.execute("BEGIN EXCLUSIVE")
            if not db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:  # nobody was faster
                for table in _TABLES.split(";\n"):
                    db.execute(table)
                db.execute(f"PRAGMA application_id = {APPLICATION}")
                db.execute(f"PRAGMA user_version = {SCHEMA}")
            db.execute("COMMIT")
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        return db
    except BaseException:
        db.close()
        raise


def _salvage(damaged: Path, new: sqlite3.Connection) -> int:
    """Copy every row that is whole, from both ends towards the damage; how many reports."""
    count = 0
    try:
        old = sqlite3.connect(damaged, timeout=WAIT, isolation_level=None)
    except sqlite3.Error:
        return 0
    new.execute("BEGIN")
    with contextlib.closing(old):
        with contextlib.suppress(sqlite3.Error):
            old.execute("PRAGMA writable_schema = ON")  # so that SQLite reads a file that was cut short
        for row in _readable(old, "reports"):
            if len(row) == 8 and _report(row) is not None:
                new.execute("INSERT OR IGNORE INTO reports VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
                count += 1
        for table, width in (("current", 4), ("settings", 3)):
            for row in _readable(old, table):
                if len(row) == width and all(isinstance(v, str) for v in row):
                    new.execute(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * width)})", row)
    # A report whose row in `current` was lost: the newest counts.
    new.execute("INSERT OR IGNORE INTO current SELECT assignment, student, submission, grader FROM reports "
                "ORDER BY graded_at DESC")
    new.execute("COMMIT")
    return count


def _readable(db: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    seen: set[int] = set()
    for order in ("ASC", "DESC"):
        try:
            for row in db.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid {order}"):
                if row[0] not in seen:
                    seen.add(row[0])
                    yield row[1:]
        except (sqlite3.Error, OverflowError, UnicodeDecodeError):
            continue


def _key(report: Report) -> tuple[str, str, str, str]:
    return report.assignment, report.student, report.submission, report.grader


def _hash(key: tuple[str, ...], text: str) -> str:
    return hashlib.sha256("\0".join((*key, text)).encode()).hexdigest()


def _report(row: tuple[Any, ...]) -> Report | None:
    """The report of a row, or None if the row is damaged."""
    *key, _stale, _at, said, text = row
    try:
        if said != _hash(tuple(key), text):
            return None
        return Report.from_json(json.loads(text))
    except (TypeError, ValueError, KeyError, AttributeError, UnicodeError):
        return None


def _free_name(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return kept


def _line(path: Path, error: Exception) -> str:
    said = str(error)
    if "locked" in said or "busy" in said:
        return f"{path} is in use by another process for {WAIT:g} s and more: wait for it, or stop it"
    if "full" in said:
        return f"no space is left for {path}: what was graded is kept; make room and grade again"
    if "readonly" in said or "unable to open" in said or isinstance(error, OSError):
        return f"{path} cannot be written ({said}): see that you may write to its folder"
    return f"{path}: {said}; grade again, and the file is repaired or kept under another name"
