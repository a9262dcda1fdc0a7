"""`python -m tests.classroom.attacks.table [FILE]`: run every attack within several sets of layers and write
docs/attacks.md, a table of what each tried and which layer stopped it. It takes some minutes.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from minillm.classroom.report import KINDS
from minillm.classroom.sandbox.landlock import version
from minillm.classroom.sandbox.layers import NAMES, SAYS, probe
from tests.classroom.attacks.attack import Attack
from tests.classroom.attacks.harness import harness
from tests.classroom.attacks.suite import GROUPS, SETS, here, problems, succeeded

FILE = Path(__file__).resolve().parents[3] / "docs" / "attacks.md"
SINGLE = tuple(name for name in NAMES if name not in ("process", "user"))
HEADS = ["tries to", "points", "told as", *SETS, "one layer is enough"]
WORDS = {"all": "all layers", "no Landlock": "without Landlock", "no namespaces": "without namespaces",
         "no seccomp": "without seccomp", "limits only": "limits alone"}

TOP = """# What a submission can do to the grader

A submission runs in a process of its own, inside whichever of these layers the machine has; every report
names them:

{layers}

**The promise.** Student code cannot write its own verdict: the grader keeps tests, seeds, reference and
verdicts, and takes nothing but arrays of numbers from the process, which it checks byte by byte and never
unpickles. Runaway code is stopped: time, memory, output, processes, files. With Landlock or mount namespaces
it cannot read hidden tests, the solution or another submission. It leaves no file, no process and no packet,
and the next submission is graded as if it had never been.

**What is not promised.**

- It is no boundary against a fault in the kernel. Grade on a machine, or in a virtual machine, that holds
  nothing else of value.
- Hidden *inputs* always reach the worker. What it prints is shown to the teacher alone, but the message of an
  exception can carry a few of them to the student. Every student has other numbers, at every test.
- What a test works out inside the worker can be forged there, so tests return arrays that nobody knows
  beforehand, and flags and counts only beside them. How a number was computed cannot be seen: NumPy in place
  of a kernel gives the same numbers. The guards around a kernel's arrays are in the worker too and can be
  switched off; so the backward's arrays of assignment 11 have places to spare, which come back to the grader.
- What a worker says of its time is not believed: the grader measures. Points for speed still depend on a
  quiet machine.
- With the limits alone (macOS, or a kernel without Landlock, namespaces and seccomp, for an ordinary user)
  the verdict is as safe as ever, but code can read what your account can read, and reach the network.
  `minillm class grade` says so in every report.

## How it was measured

{machine}.

{count} hostile submissions, each graded end to end within each set of layers as an ordinary user{also}. Most
hand in Adam (three tests of `04_adam`, 50 points) with a wrong answer; they are told every path, port and
process number that a student could only guess. *held*: the submission got nothing of what it was after;
*through*: it got it; *part*: some of it. The last column names the layers of which each was enough alone;
*design* means that no layer is needed. `python -m tests.classroom.attacks.table` writes this page;
`tests/classroom/attacks/` has the submissions, and CI grades all of them.

{summary}
"""


def main() -> None:
    """Run everything, write the page."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    attacks = [a for group in GROUPS.values() for a in group if here(a)]
    root = os.geteuid() == 0
    faults: list[str] = []
    rows: dict[str, list[str]] = {}
    held: dict[str, dict[str, bool]] = {}
    as_root: list[str] = []

    def some(first: int, count: int) -> None:
        """Every `count`-th attack: as an ordinary user, then as root."""
        mine = attacks[first::count]
        with harness(True) as ask:
            for attack in mine:
                rows[attack.name], held[attack.name] = _row(attack, ask, faults)
                print(f"{len(rows)} of {len(attacks)}: {attack.name}", file=sys.stderr, flush=True)
        with harness(False) as ask:
            for attack in mine if root else ():
                said = problems(attack, ask(attack.name, None, True))
                faults.extend(f"{attack.name} as root: {problem}" for problem in said)
                as_root.extend([attack.name] * (not said))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(some, range(2), [2, 2]))
    summary = "\n".join(["| layers | attacks held |", "| --- | --- |", *(
        f"| {WORDS[name]} | {sum(h[name] for h in held.values())} of {len(attacks)} |" for name in SETS), *(
        [f"| all layers, the grader being root | {len(as_root)} of {len(attacks)} |"] if root else [])])
    text = TOP.format(layers="\n".join(f"- **{n}**: {SAYS[n]}" for n in NAMES), machine=_machine(),
                      count=len(attacks), also=", and with all layers as root" if root else "",
                      summary=summary)
    whole = {"break_long_words": False, "break_on_hyphens": False}
    text = "\n\n".join(p if p[0] in "|-#*" else "\n".join(wrap(" ".join(p.split()), 110, **whole))
                       for p in text.split("\n\n"))
    text = text.rstrip("\n") + "\n"
    heads = [WORDS.get(head, head) for head in HEADS]
    for group, members in GROUPS.items():
        text += f"\n## {group}\n\n| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads) + "\n"
        text += "".join("| " + " | ".join(rows[a.name]) + " |\n" for a in members if a.name in rows)
    out.write_text(text, encoding="utf-8")
    print("\n".join(faults) or "no faults", file=sys.stderr)
    print(f"{out}: {len(attacks)} attacks", file=sys.stderr)
    sys.exit(bool(faults))


Ask = Callable[..., dict[str, Any]]


def _row(attack: Attack, ask: Ask, faults: list[str]) -> tuple[list[str], dict[str, bool]]:
    """(cells of the table, set of layers -> whether it held)."""
    held: dict[str, bool] = {}
    cells: dict[str, str] = {}
    points = kind = ""
    base: set[str] = set()
    for name, layers in reversed(SETS.items()):
        found = ask(attack.name, layers, True)
        faults += [f"{attack.name}, {name}: {problem}" for problem in problems(attack, found)]
        if "raised" in found:
            cells[name], held[name] = "?", False
            continue
        had = {_what(thing) for thing in succeeded(attack, found)}
        if name == "limits only":
            base = had
        held[name] = not had
        cells[name] = "held" if not had else "through" if had >= base else "part"
        report = found["report"]
        points = " of ".join(f"{sum(t[k] for t in report['tests']):g}" for k in ("score", "points"))
        first = report["tests"][-1 if attack.on.startswith("tests") else 0]["kind"]
        kind = first if first in KINDS else "?"
    note = f" ({attack.note})" if attack.note else ""
    return [_plain(attack.tries + note), points, kind.replace("_", " "), *(cells[name] for name in SETS),
            _enough(attack, ask)], held


def _enough(attack: Attack, ask: Ask) -> str:
    """The layers of which each by itself keeps it from everything."""
    if not _got(ask(attack.name, ("process",), False), attack):
        return "design"
    enough = [layer for layer in SINGLE if not _got(ask(attack.name, ("process", layer), False), attack)]
    return ", ".join(enough) or "several together"


def _got(found: dict[str, Any], attack: Attack) -> list[str]:
    return ["?"] if "raised" in found else succeeded(attack, found)


def _what(thing: str) -> str:
    """What was got, without the number of times and of the process."""
    return " ".join(word for word in thing.split() if not word.isdigit())


def _plain(text: str) -> str:
    for sign in "\\*|<>`_":
        text = text.replace(sign, f"\\{sign}")
    return text


def _machine() -> str:
    there = ", ".join(layer.name for layer in probe() if layer.active)
    landlock = f", Landlock version {version()}" if sys.platform == "linux" else ""
    system = f"{platform.system()} {platform.release().split('-')[0]} on {platform.machine()}{landlock}"
    return (f"{system}, Python {platform.python_version()}, NumPy {np.__version__}, {os.cpu_count()} cores; "
            f"layers that work here: {there}")


if __name__ == "__main__":
    main()
