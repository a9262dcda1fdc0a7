"""Grades attacks in a process of its own, which an attack may kill; run through `run`, or as a module.

As a module it reads jobs, one JSON object a line, and writes what was found: attack, layers and whether the
next submission is to be graded too. It is the subreaper of all that descends from it, so that whatever an
attack leaves running ends up among its descendants and is seen.
"""

from __future__ import annotations

import contextlib
import html.parser
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[3]
ORDINARY = REPO / "tests" / "classroom" / "sandbox" / "ordinary.py"
LONGEST = 120.0  # seconds for an attack


def grade(attack: Any, layers: Sequence[str] | None, world: Any, following: bool) -> dict[str, Any]:
    """Grade an attack, look around, grade a right submission after it."""
    from minillm.classroom.grade import grade_submission
    from tests.classroom.attacks.assignments import assignment
    from tests.classroom.attacks.world import SECRET

    what = assignment(attack.on)
    start = time.monotonic()
    found: dict[str, Any] = {"name": attack.name}
    try:
        report = grade_submission(what, "ann", {what.file: attack.file(world.told())}, SECRET, layers=layers)
    except Exception as error:  # "never raises" is what is tried here
        return found | {"raised": f"{type(error).__name__}: {error}", "seconds": time.monotonic() - start}
    found["seconds"] = time.monotonic() - start
    found["processes"] = descendants(wait=2.0)
    for pid in found["processes"]:
        with contextlib.suppress(OSError):
            os.kill(int(pid.split()[0]), signal.SIGKILL)
    found |= {"report": report.to_json(), "left": world.left(), "packets": world.packets(),
              "readers": readers(report)}
    if following:
        adam = assignment("adam")
        files = {adam.file: adam.solution().text.encode()}
        right = grade_submission(adam, "next", files, SECRET, layers=layers)
        found["next"] = right.score / right.points * 100
        found["next_says"] = [t.en for t in right.tests if not t.passed]
    return found


def descendants(wait: float) -> list[str]:
    """Processes that descend from this one and do not end by themselves within `wait` seconds."""
    end = time.monotonic() + wait
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        found = _alive()
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.02)


def _alive() -> list[str]:
    parents: dict[int, tuple[int, str]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    before, _, after = file.read().rpartition(")")
                state, parent = after.split()[:2]
                parents[int(name)] = (int(parent), f"{name} {state}{before.partition('(')[2]}")
    me, found = os.getpid(), []
    for pid, (_, said) in parents.items():
        above = pid
        while above in parents and above != me:
            above = parents[above][0]
        if above == me and pid != me:
            found.append(said)
    return found


class _Tags(html.parser.HTMLParser):
    """Whether a page holds elements or attributes that a submission has put there."""

    def __init__(self) -> None:
        super().__init__()
        self.evil: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        bad = [n for n, v in attrs if n.startswith("on") or "javascript:" in (v or "") or v == "http://x/y"]
        if bad or tag in ("img", "iframe", "object", "embed") or (tag == "script" and not attrs):
            self.evil.append(f"{tag} {bad}")


def readers(report: Any) -> list[str]:
    """What in the report, or in the pages made of it, would do something to whoever reads it."""
    import re

    from minillm.classroom.reports import student as pages

    evil = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
    found = []
    texts = {"en": report.en, "zh": report.zh, "printed": report.printed}
    texts |= {f"{t.name}.{f}": getattr(t, f) for t in report.tests for f in ("en", "zh", "cause", "kind")}
    texts |= {f"note {n}": " ".join(note) for n, note in enumerate(report.notes)}
    for where, text in texts.items():
        if (sign := evil.search(text)) is not None:
            found.append(f"{where}: {sign[0]!a} in {text[:200]!a}")
        if where != "printed" and len(text) > 4000:
            found.append(f"{where} has {len(text)} characters")
    json.dumps(report.to_json()).encode()
    for lang in ("en", "zh"):
        tags = _Tags()
        tags.feed(pages.student_html(report, lang))
        found += [f"in the page: {tag}" for tag in tags.evil]
        if re.search(r"(?<!\\)[!\]]\((javascript|http)|(?<!\\)<(script|img)",
                     pages.student_markdown(report, lang).partition("```")[0]):
            found.append("a link or an element in the Markdown")
    return found


def main() -> None:
    """The process: jobs on stdin, findings on stdout."""
    from minillm.classroom.sandbox import kernel
    from tests.classroom.attacks.suite import BY_NAME
    from tests.classroom.attacks.world import World

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if kernel.LINUX:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    with World() as world:
        for line in sys.stdin:
            job = json.loads(line)
            found = grade(BY_NAME[job["attack"]], job["layers"], world, job["next"])
            answers.write(json.dumps(found) + "\n")
            answers.flush()


@contextmanager
def harness(ordinary: bool) -> Iterator[Any]:
    """`ask(attack, layers, following)` to a process of its own, started again where it has died.

    Args:
        ordinary: it runs as an ordinary user, where this process is root.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), *filter(None, [
        os.environ.get("PYTHONPATH")])]), "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-W", "ignore", "-m", "tests.classroom.attacks.harness"]
    if ordinary and os.geteuid() == 0:
        command.insert(4, str(ORDINARY))
    running: list[subprocess.Popen[str]] = []

    def ask(attack: str, layers: Sequence[str] | None, following: bool = True) -> dict[str, Any]:
        import threading

        if not running:
            running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                            env=environment, cwd="/", start_new_session=True))
        process = running[0]
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(LONGEST, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps({"attack": attack, "layers": layers, "next": following}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            timer.cancel()
        if line:
            return dict(json.loads(line))
        status = _end(running.pop())
        return {"name": attack, "raised": f"the grader ended with status {status}"}

    try:
        yield ask
    finally:
        for process in running:
            _end(process)


def _end(process: subprocess.Popen[str]) -> int:
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()
    try:
        return process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


if __name__ == "__main__":
    main()
