"""submission_metadata.yml of a Gradescope export: who handed in which folder, and when.

Read line by line, as far as it is needed: names in it are the students' own, and YAML can do too much.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

METADATA = "submission_metadata.yml"
BYTES = 32_000_000


@dataclass
class Exported:
    """One folder of the export.

    Attributes:
        people: of each submitter what identifies it: sid, e-mail, name.
        when: seconds since 1970, 0 if unknown.
    """

    people: list[dict[str, str]] = field(default_factory=list)
    when: float = 0.0


def read_metadata(data: bytes) -> dict[str, Exported]:
    """Folder's name -> who and when. Lines that are not understood are passed over."""
    found: dict[str, Exported] = {}
    now: Exported | None = None
    inside = False
    for raw in data.decode("utf-8", "replace").splitlines():
        line = raw.rstrip()
        if head := re.fullmatch(r"(submission_\d+):.*", line):
            now = found.setdefault(head[1], Exported())
            inside = False
            continue
        entry = re.fullmatch(r"( *)(- )?:?(\w+):(?: (.*))?", line)
        if now is None or entry is None:
            continue
        indent, dash, key, value = len(entry[1]), entry[2], entry[3], _scalar(entry[4] or "")
        if indent <= 2 and not dash:  # a key of the submission
            inside = key == "submitters"
            if key == "created_at":
                now.when = _time(value)
        elif inside:
            if dash:
                now.people.append({})
            if now.people and key in ("name", "email", "sid") and value:
                now.people[-1].setdefault(key, value)
    return found


def _scalar(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        inner = text[1:-1]
        return inner.replace("''", "'") if text[0] == "'" else re.sub(r'\\(["\\])', r"\1", inner)
    return text if text not in ("null", "~") else ""


def _time(text: str) -> float:
    found = re.match(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d{1,6})?)\d*\s*(Z|[+-]\d\d:?\d\d)?", text)
    if not found:
        return 0.0
    try:
        zone = (found[3] or "Z").replace("Z", "+00:00")
        return datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}").timestamp()
    except ValueError:
        return 0.0
