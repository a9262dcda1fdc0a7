"""What a hostile submission is, and the lines that every one begins with."""

from __future__ import annotations

import os
from dataclasses import dataclass

# In the name or the text of everything that an attack writes; several processes may be at it at once.
MARK = f"attack-left-this-{os.getpid()}"

# An attacker is told more than any student knows: all paths, ports and process numbers, as W.
BEGIN = '''
import json, os, sys, time
import numpy as np
W = json.loads({world!r})

def got(what):
    """Say that something was had which should not be: the grader's tests read it in what was printed."""
    print("GOT", what, flush=True)

def attempt(what, do):
    try:
        print("GOT" if do() else "no", what, flush=True)
    except BaseException as error:
        print("no", what, type(error).__name__, str(error)[:80], flush=True)

def syscall(number, *args):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

X86 = os.uname().machine == "x86_64"
'''
# A wrong answer to 04_adam, which earns nothing by itself, and the right one.
ADAM = '''
def wrong(theta, g, m, v, t, **options):
    return theta, m, v

def right(theta, g, m, v, t, *, alpha=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return theta - alpha / (np.sqrt(v / (1 - beta2**t)) + eps) * (m / (1 - beta1**t)), m, v

adam_step = wrong
'''


@dataclass(frozen=True)
class Attack:
    """A hostile submission and what is wanted of it.

    Attributes:
        name: short, unique.
        tries: what it is after, in a line of the table in docs/attacks.md.
        source: the file, after BEGIN and, for Adam, ADAM; or the whole file, with `whole`.
        on: key of `assignments.assignment`.
        stopped_by: layers of which each alone keeps it from what it is after; () where no layer is needed.
        kinds: what may become of its first test (report.KINDS).
        score: the points that it has earned, or (least, most).
        says, says_zh: words that its report must have.
        whole: `source` is the whole file.
        seconds: wall clock that its grading may take.
        linux: it can be tried on Linux only.
        certain: without the layers of `stopped_by` it gets what it is after, or its test could not fail.
        always: to be tried within every set of layers, though none of them is needed to stop it.
        note: a sentence for the table, where the outcome needs one.
    """

    name: str
    tries: str
    source: str | bytes
    on: str = "adam"
    stopped_by: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("wrong",)
    score: float | tuple[float, float] = 0.0
    says: str = ""
    says_zh: str = ""
    whole: bool = False
    seconds: float = 40.0
    linux: bool = False
    certain: bool = True
    always: bool = False
    note: str = ""

    @property
    def wanted(self) -> tuple[float, float]:
        """Least and most points."""
        return self.score if isinstance(self.score, tuple) else (self.score, self.score)

    def file(self, world: str) -> bytes:
        """What is handed in."""
        if isinstance(self.source, bytes):
            return self.source
        if self.whole:
            return self.source.encode("utf-8", "surrogatepass")
        begin = BEGIN.replace("{world!r}", repr(world)) + (ADAM if self.on in ("adam", "quick") else "")
        return (begin + self.source).encode()


def rows(group: str, *attacks: Attack) -> tuple[str, tuple[Attack, ...]]:
    """A group of attacks, with the heading that it has in the table."""
    return group, attacks
