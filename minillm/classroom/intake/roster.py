"""Whose is it? A label is matched to the students of the roster; what is not clear is left to the teacher."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol

from .labels import words

# Columns of a roster that hold another number or name of the student.
_NUMBERS = {"id", "sis user id", "sis login id", "sid", "username", "student id", "user id"}


class Person(Protocol):
    """A student of the roster."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def email(self) -> str: ...


class Roster:
    """Finds students by id, e-mail or name."""

    def __init__(self, people: Iterable[Person]) -> None:
        self.people = sorted(people, key=lambda p: p.id)
        self.ids = [p.id for p in self.people]
        # By how sure a match is: the whole label is an id, an e-mail, the part before its @, a name.
        self._whole: list[dict[str, set[str]]] = [defaultdict(set) for _ in range(4)]
        self._id_words: dict[tuple[str, ...], set[str]] = defaultdict(set)
        self._name_words: list[tuple[set[str], str]] = []
        for person in self.people:
            email = _plain(person.email)
            name = words(_letters(person.name))
            self._whole[0][_plain(person.id)].add(person.id)
            self._id_words[words(_plain(person.id))].add(person.id)
            for column, value in getattr(person, "columns", {}).items():
                if value and column.casefold() in _NUMBERS:
                    self._whole[1][_plain(value)].add(person.id)
            if email:
                self._whole[1][email].add(person.id)
                self._whole[2][email.partition("@")[0]].add(person.id)
            if name:
                # As it stands, and run together in both orders, as Canvas does.
                for text in ("".join(name), "".join(name[-1:] + name[:-1]), "".join(name[1:] + name[:1])):
                    self._whole[3][text].add(person.id)
                self._name_words.append((set(name), person.id))

    def find(self, label: str, keys: Iterable[str] = ()) -> list[str]:
        """Ids of the students that a label may mean: one is sure, none or several are not."""
        text = _plain(label)
        squeezed = "".join(words(_letters(label)))
        for level, table in enumerate(self._whole):
            for key in (squeezed,) if level == 3 else (text, *keys):
                if found := table.get(key):
                    return sorted(found)
        parts = words(text)
        tokens = {parts[i:j] for i in range(len(parts)) for j in range(i + 1, min(i + 5, len(parts)) + 1)}
        # The 4 of `hw 4` is no student; and no first name is somebody's e-mail address.
        sure = {key: ids for key, ids in self._id_words.items()
                if len("".join(key)) > 2 or not "".join(key).isdigit()}
        sure |= {(key,): ids for key, ids in self._whole[2].items() if re.search(r"\d", key)}
        found = set().union(*(ids for key, ids in sure.items() if key in tokens))
        named = [(len(name), who) for name, who in self._name_words
                 if name <= {*parts, *words(_letters(label))} and (len(name) > 1 or len(max(name)) > 1)]
        longest = max((n for n, _ in named), default=0)
        return sorted(found | {who for n, who in named if n == longest})


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip().casefold()


def _letters(name: str) -> str:
    """A name without marks inside its words: platforms drop them, and O'Neil hands in as oneil."""
    return re.sub(r"[^\w\s\-.,;()（），·@+]", "", _plain(name))
