"""A learner's progress: a text file that only grows, one line an event, so that it can be read and merged."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from minillm.errors import UserError

EVENTS = ("at", "checked", "solved", "hint", "reset")
_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)  (\w+)  (\S+)(?:  (\S+))?\s*")
HEAD = "# Your progress, a line an event. `minillm learn` adds to it and never changes what is here.\n"


@dataclass
class Progress:
    """What the file says.

    Attributes:
        path: the file.
        at: (slug, exercise) where the learner is, or None before the first lesson.
        solved: (slug, exercise) of what was right.
        hints: (slug, exercise) -> how many hints were shown.
        checked: (slug, exercise) of the last check, or None where the learner has moved on since.
        unreadable: numbers of the lines that say nothing; they stay in the file.
    """

    path: Path
    at: tuple[str, str] | None = None
    solved: set[tuple[str, str]] = field(default_factory=set)
    hints: dict[tuple[str, str], int] = field(default_factory=dict)
    checked: tuple[str, str] | None = None
    unreadable: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Progress:
        """The progress that a file holds; a file that is not there is a beginning.

        Raises:
            UserError: it is there, but cannot be read.
        """
        progress = cls(path)
        try:
            text = path.read_bytes().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return progress
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); move it away to begin anew") from None
        # The order of the lines counts, not their times: clocks step back, for summer time or a journey.
        for number, line in enumerate(text.splitlines(), 1):
            match = _LINE.fullmatch(line)
            if match and match[2] in EVENTS:
                progress._take(match[2], (match[3], match[4] or ""))
            elif line.strip() and not line.startswith("#"):
                progress.unreadable.append(number)
        return progress

    def _take(self, event: str, place: tuple[str, str]) -> None:
        if event == "at":
            self.at, self.checked = place, None
        elif event == "checked":
            self.checked = place
        elif event == "solved":
            self.solved.add(place)
        elif event == "hint":
            self.hints[place] = self.hints.get(place, 0) + 1
        else:
            for known in [p for p in self.solved if p == place or (p[0] == place[0] and not place[1])]:
                self.solved.discard(known)

    def add(self, event: str, place: tuple[str, str], now: datetime | None = None) -> None:
        """Write an event at the file's end, with a time no earlier than those before it.

        Raises:
            UserError: the file cannot be written.
        """
        when = f"{now or datetime.now():%Y-%m-%d %H:%M:%S}"
        try:
            with self.path.open("ab+") as file:
                file.seek(0)
                lines = file.read().decode("utf-8", errors="replace").splitlines()
                times = [match[1] for match in map(_LINE.fullmatch, lines) if match]
                line = "  ".join(filter(None, [max([when, *times[-1:]]), event, *place])) + "\n"
                file.seek(0, 2)
                if file.tell() == 0:
                    line = HEAD + line
                else:
                    file.seek(-1, 2)
                    if file.read(1) != b"\n":  # an editor left the last line open
                        line = "\n" + line
                file.write(line.encode())
        except OSError as error:
            raise UserError(f"{self.path} cannot be written ({error.strerror})") from None
        self._take(event, place)
