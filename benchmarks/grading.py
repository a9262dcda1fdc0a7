"""Grading a class: time, memory, and whether a grader that is killed again and again ends with the same.

    python benchmarks/grading.py                 300 submissions, two jobs, ten kills: five minutes
    python benchmarks/grading.py --out benchmarks/results/grading.json

The submissions are made from the assignment itself, in a fixed order: the solution, each of its known wrong
versions, the stub, files that crash, end the program, never end, fill the memory, print without end, forge
results or are no Python. They are graded once undisturbed, by `minillm class grade`. Then once more, by the
same command, which is killed with SIGKILL at random moments and started again until it is done. Both must end
with the same reports, byte for byte, apart from times. Memory is the resident set of the command's processes,
twice a second: of the grader (the command and one process a job), and of the sandboxed workers below.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import facts

from minillm.classroom import Assignment, find_assignment
from minillm.classroom.course_folder import Course
from minillm.classroom.journal import Journal

ROOT = Path(__file__).resolve().parents[1]
EVERY = 0.5  # seconds between two looks at the memory

# Put before the solution (at import) or in place of it.
HOSTILE = {
    "raises": "raise RuntimeError('at import')\n",
    "exits": "import os\nos._exit(0)\n",
    "system_exit": "import sys\nsys.exit(0)\n",
    "hangs": "while True:\n    pass\n",
    "sleeps": "import time\ntime.sleep(1000)\n",
    # At once: bit by bit, a busy machine would stop it now for its memory, now for its time.
    "memory": "x = bytearray(1 << 40)\n",
    "prints": "while True:\n    print('x' * 10_000)\n",
    "forks": "import os\nwhile True:\n    os.fork()\n",
    "kills_parent": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n",
    "segfault": "import ctypes\nctypes.string_at(0)\n",
    "writes": "import tempfile\nopen(tempfile.gettempdir() + '/was-here', 'w')\n",
    "connects": "import socket\nsocket.create_connection(('127.0.0.1', 9), timeout=1)\n",
    "reads_tests": "import pathlib\nprint(pathlib.Path('../checks.py').read_text())\n",
    "patches_numpy": "import numpy as np\nnp.allclose = np.array_equal = lambda *a, **k: True\n",
    "forges_frames": "import os\nfor fd in range(20):\n    try:\n        os.write(fd, b'\\x93NUMPY' * 100)\n"
                     "    except OSError:\n        pass\n",
    "syntax": "def adam_step(:\n",
    "recursion": "def f():\n    return f()\nf()\n",
}


def make_submissions(assignment: Assignment, folder: Path, count: int) -> dict[str, int]:
    """Write `count` submissions; how many there are of each sort. The same on every machine."""
    solution = assignment.solution()
    wrong = {m.key: m.applied(solution.text) for m in assignment.misconceptions}
    hostile = [("hostile", name, text) for name, text in HOSTILE.items()]
    kinds = [("correct", "solution", solution.text), ("stub", "stub", solution.student),
             *(("wrong", key, text) for key, text in wrong.items())]
    mix: dict[str, int] = {}
    usual = 0
    for n in range(count):
        # One in five is hostile, one in twenty is not readable; of the others every third is right.
        if n % 5 == 4:
            sort, name, text = hostile[n // 5 % len(hostile)]
        elif n % 20 == 11:
            sort, name, text = "not readable", "utf16", solution.text
        else:
            sort, name, text = kinds[0 if usual % 3 == 0 else 1 + (usual - usual // 3 - 1) % (len(kinds) - 1)]
            usual += 1
        place = folder / f"s{n:04d}"
        place.mkdir(parents=True)
        # A comment of its own, so that no two files are the same.
        data = f"{text}\n# {n}: {name}\n".encode("utf-16" if name == "utf16" else "utf-8")
        (place / assignment.file).write_bytes(data)
        mix[sort] = mix.get(sort, 0) + 1
    return mix


def start(course: Path, submissions: Path, jobs: int, log: Path) -> subprocess.Popen[bytes]:
    """`minillm class grade`, as a user starts it."""
    folder = log.parent / "temporary"
    folder.mkdir(exist_ok=True)
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": paths}
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "minillm", "class", "grade", str(submissions), "--course", str(course),
             "--jobs", str(jobs)], stdout=file, stderr=file, env=environment)


def memory(root: int) -> tuple[float, float]:
    """Resident MB of a command: (of the grader's own processes, of the workers below them). Linux only."""
    table: dict[int, tuple[int, float, bytes]] = {}
    page = os.sysconf("SC_PAGE_SIZE") / 1e6
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                pages = int((entry / "statm").read_text().split()[1])
                table[int(entry.name)] = parent, pages * page, (entry / "cmdline").read_bytes()
            except (OSError, ValueError, IndexError):
                continue
    own, workers = 0.0, 0.0
    for pid, (parent, size, command) in table.items():
        if pid == root or (parent == root and b"grader_process" in command):
            own += size
            continue
        while parent in table and parent != root:
            parent = table[parent][0]
        if parent == root:
            workers += size
    return own, workers


def undisturbed(course: Path, submissions: Path, jobs: int, log: Path) -> dict[str, Any]:
    """Grade everything, and watch time and memory."""
    begun = time.perf_counter()
    process = start(course, submissions, jobs, log)
    own, workers = [0.0], [0.0]
    while process.poll() is None:
        if sys.platform == "linux":
            one, other = memory(process.pid)
            own.append(one)
            workers.append(other)
        time.sleep(EVERY)
    if process.returncode:
        raise SystemExit(f"grading ended with status {process.returncode}: {log.read_text()[-500:]}")
    third = len(own) // 3
    return {"seconds": round(time.perf_counter() - begun, 1), "grader_peak_mb": round(max(own)),
            "grader_mb_first_third": round(max(own[:third] or own)),
            "grader_mb_last_third": round(max(own[-third:] or own)), "workers_peak_mb": round(max(workers))}


def disturbed(course: Path, submissions: Path, jobs: int, kills: int, seconds: float, log: Path,
              seed: int) -> dict[str, Any]:
    """Grade everything in `kills` + 1 sessions, all but the last of which end by SIGKILL.

    The moments are drawn from the time that the undisturbed run took, so that every part of it is hit.
    """
    draw = random.Random(seed)
    moments = sorted(draw.uniform(0.02, 0.98) * seconds for _ in range(kills))
    begun, graded, done = time.perf_counter(), [], 0
    for wait in [after - before for before, after in zip([0.0, *moments], moments)]:
        process = start(course, submissions, jobs, log)
        try:
            process.wait(0.7 + wait)  # a new process takes about so long to begin
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
        with Journal(course / "journal.sqlite") as journal:
            if journal.note is not None:
                raise SystemExit(journal.note[0])
            graded.append(sum(journal.graded().values()))
    process = start(course, submissions, jobs, log)
    if process.wait():
        raise SystemExit(f"grading ended with status {process.returncode}: {log.read_text()[-500:]}")
    return {"kills": done, "graded_at_kills": graded, "seconds": round(time.perf_counter() - begun, 1)}


def left_behind(folder: Path) -> list[str]:
    """What workers left in their temporary folder; those of a killed grader have a while to tidy up."""
    deadline = time.monotonic() + 15
    while (left := sorted(p.name for p in folder.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def final(course: Path, assignment: str) -> bytes:
    """All reports, apart from times."""
    with Journal(course / "journal.sqlite") as journal:
        return "\n".join(json.dumps(r.without_times(), ensure_ascii=True, sort_keys=True)
                         for r in journal.reports(assignment)).encode()


def differing(one: bytes, other: bytes) -> list[str]:
    """Where the reports of two runs differ: the student, and the two reports' beginnings of the "
      "difference."""
    found = []
    for left, right in zip(one.splitlines(), other.splitlines()):
        if left != right:
            a, b = json.loads(left), json.loads(right)
            keys = [k for k in a if a[k] != b[k]]
            tests = [(t["name"], t["kind"], t["en"][:80], u["kind"], u["en"][:80])
                     for t, u in zip(a["tests"], b["tests"]) if t != u]
            found.append(f"{a['student']}: {keys} {tests}")
    return found


def scores(data: bytes) -> dict[str, int]:
    """How many have full marks, some, none."""
    counts = {"full": 0, "some": 0, "none": 0}
    for line in data.splitlines():
        report = json.loads(line)
        share = sum(t["score"] for t in report["tests"])
        counts["full" if share >= 100 else "some" if share else "none"] += 1
    return counts


def measure(name: str, count: int, jobs: int, kills: int, seed: int = 0) -> dict[str, Any]:
    """The whole comparison, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="minillm-grading-") as folder:
        here = Path(folder)
        assignment = find_assignment(name)
        mix = make_submissions(assignment, here / "submissions", count)
        for course in ("whole", "killed"):
            Course.create(here / course, assignments=[str(assignment.folder)])
        (here / "killed" / "secret").write_text((here / "whole" / "secret").read_text())
        whole = undisturbed(here / "whole", here / "submissions", jobs, here / "whole.log")
        want = final(here / "whole", assignment.id)
        killed = disturbed(here / "killed", here / "submissions", jobs, kills, whole["seconds"],
                           here / "killed.log", seed)
        got = final(here / "killed", assignment.id)
        left = left_behind(here / "temporary")
        said = (here / "whole.log").read_text().splitlines()
        protections = next((line for line in said if line.startswith("Protections")), "")
        return {"assignment": assignment.id, "tests": len(assignment.tests), "submissions": count, "mix": mix,
                "jobs": jobs, "undisturbed": whole, "killed": killed, "same_bytes": got == want,
                "bytes": len(want), "sha256": hashlib.sha256(want).hexdigest(), "scores": scores(want),
                "left_behind": left, "protections": protections.partition(": ")[2],
                "differing": differing(want, got)}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--assignment", default="adam")
    parser.add_argument("--submissions", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--out", type=Path, help="write the figures as JSON here")
    options = parser.parse_args()
    r = measure(options.assignment, options.submissions, options.jobs, options.kills, options.seed)
    whole, killed = r["undisturbed"], r["killed"]
    print(f"{r['submissions']} submissions of {r['assignment']} ({r['tests']} tests), "
          f"--jobs {r['jobs']}: {r['mix']}")
    print(f"    undisturbed  {whole['seconds']:7.1f} s   grader {whole['grader_peak_mb']} MB at most "
          f"({whole['grader_mb_first_third']} in the first third, {whole['grader_mb_last_third']} in the "
          "last), "
          f"workers {whole['workers_peak_mb']} MB")
    print(f"    killed       {killed['seconds']:7.1f} s   {killed['kills']} times, with "
          f"{', '.join(map(str, killed['graded_at_kills']))} graded")
    print(f"    reports      {r['bytes']} "
          f"bytes, {'the same' if r['same_bytes'] else 'DIFFERENT'}; {r['scores']}")
    print(f"    left behind  {len(r['left_behind'])} temporary folders")
    for line in r["differing"]:
        print(f"        {line}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(
            {"date": datetime.date.today().isoformat(), "machine": facts(), "results": r}, indent=2) + "\n")
    if not r["same_bytes"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
