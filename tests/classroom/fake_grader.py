"""Stands in for grade_submission where a test is about the batch: what to do is written in the submission."""

import os
import signal
import tempfile
import time

from minillm.classroom.evidence import submission_hash
from minillm.classroom.report import Report, TestResult


def grade(assignment, student, files, secret, *, layers=None):
    printed = ""
    tempfile.mkdtemp()  # as the sandbox does; a kill leaves it behind
    said = files[assignment.file].decode().split()
    if log := os.environ.get("FAKE_GRADER_LOG"):
        with open(log, "a") as file:
            file.write(f"{student} {os.getpid()}\n")
    for word in said:
        what, _, value = word.partition("=")
        if what == "raise":
            raise KeyError("a bug\nof the grader")
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "print":
            print("not an answer", flush=True)
        if what == "folder":
            printed = f"/var/x/minillm-worker-{time.time_ns()}/code/adam.py:3: {object()!r} 0x1234567"
        if what == "sleep":
            time.sleep(float(value))
        if what == "stop":
            from minillm.errors import UserError

            raise UserError("no sandbox here: use Linux")
    share = next((float(w[6:]) for w in said if w.startswith("share=")), 1.0)
    tests = tuple(TestResult(t.name, t.title, t.title_zh, t.visibility, share * t.points, t.points,
                             "passed" if share == 1 else "wrong", "said", "说", seconds=time.perf_counter())
                  for t in assignment.tests)
    return Report(student, assignment.id, submission_hash(files), assignment.fingerprint, "graded", "en",
                  "中", tests, ("fake",), (("found", "发现"),), printed, seconds=time.perf_counter())
