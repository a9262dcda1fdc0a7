"""File names for students, whose ids may be anything."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # Windows keeps these for devices


def safe_names(students: Sequence[str]) -> dict[str, str]:
    """A name for each student that stays in its folder on every system; two students never share one.

    An id of letters, digits, `.`, `-` and `_` keeps its name; any other gets the beginning of its SHA-256.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for student in sorted(set(students)):
        name = re.sub(r"[^\w.-]+", "_", student).strip(".")[:60]
        if name != student or name.casefold() in taken or _RESERVED.fullmatch(name):
            name = f"{name}-{hashlib.sha256(student.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"
        taken.add(name.casefold())
        names[student] = name
    return names
