"""Whose is what at the top of a folder or zip of submissions: one place for each student."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from minillm.errors import UserError

from .archives import ZipTree
from .choose import renamed
from .entries import ENTRIES, SUBMISSIONS, Entry, Refused, Tree, shown
from .gradescope import BYTES, METADATA, Exported, read_metadata
from .labels import GRADESCOPE, Label, file_label, folder_label, words
from .roster import Roster


@dataclass(frozen=True)
class Place:
    """Where a student's submission lies.

    Attributes:
        student: the student's id; without a roster, what the name says.
        source: name of the folder or files at the top, safe to print.
        owner: words that name the student.
        folder: the folder, or None.
        entries: the files at the top, where there is no folder.
        when, order, rank: of two submissions the one with more counts: rank, then order, then when.
        notes: (English, Chinese) on how it was found.
    """

    student: str
    source: str
    owner: frozenset[str] = frozenset()
    folder: Entry | None = None
    entries: tuple[Entry, ...] = ()
    when: float = 0.0
    order: int = 0
    rank: int = 2
    notes: tuple[tuple[str, str], ...] = ()


@dataclass
class Sorter:
    """Gives each thing at the top to a student.

    Attributes:
        tree, name: the folder or zip, and what it is called.
        wanted, roster: the wanted file's name, the students.
        others: file -> id, of the course's other assignments.
        places: one a student, sorted by the student's id.
        unmatched: (source, English, Chinese).
        missing: ids of the students that nothing was found for.
    """

    tree: Tree
    wanted: str
    roster: Roster
    name: str
    others: Mapping[str, str] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    unmatched: list[tuple[str, str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def sort(self) -> Sorter:
        """Look through the folder or zip."""
        top, more = self.tree.top(SUBMISSIONS)
        if more:
            raise UserError(f"{shown(self.name)} holds more than {SUBMISSIONS} folders and files; give the "
                            "folder that has one for each student")
        whole = [e for e in top if e.name == self.wanted]
        if whole and not self._students_among(top):  # it is one student's folder
            self._take(folder_label(self.name), shown(self.name), folder=Entry((), "folder"))
            return self._done()
        metadata = next((e for e in top if e.name == METADATA and e.kind == "file"), None)
        exported = read_metadata(metadata.load(BYTES)) if metadata else {}
        for entry in top:
            if entry.kind == "folder" or (entry.kind == "link" and "." not in entry.name):
                if GRADESCOPE.fullmatch(entry.name) and entry.name in exported:
                    self._exported(entry, exported[entry.name])
                else:
                    self._take(folder_label(entry.name), shown(entry.name), folder=entry)
        self._files([e for e in top if e.kind != "folder" and not (e.kind == "link" and "." not in e.name)
                     and e is not metadata])
        if self.roster.people and not self.places and self.roster.find(folder_label(self.name).who):
            self.unmatched.clear()
            self._take(folder_label(self.name), shown(self.name), folder=Entry((), "folder"))
        return self._done()

    def of_files(self, files: list[Entry]) -> Sorter:
        """Take these files alone."""
        self._files(files)
        return self._done()

    def _students_among(self, top: list[Entry]) -> bool:
        others = [e for e in top if e.name != self.wanted]
        if self.roster.people:
            labels = (folder_label(e.name) if e.kind == "folder"
                      else file_label(e.name, self.wanted, self.others) for e in others)
            return any(self.roster.find(label.who) for label in labels)
        return any(e.kind == "folder" for e in others) and len(others) > 1

    def _files(self, files: list[Entry]) -> None:
        groups: dict[str, list[tuple[Label, Entry]]] = {}
        for entry in files:
            if entry.kind == "bad_name":
                self._unmatched(entry.label, "a name that leads out of the zip; it was not read",
                                "这个名字指向压缩包之外，没有读取")
                continue
            label = file_label(entry.name, self.wanted, self.others)
            if not self.roster.people and not _hands_in(entry.name):
                self._unmatched(entry.label, f"no submission: neither a folder nor {self.wanted} nor a zip",
                                f"不是提交：既不是文件夹，也不是 {self.wanted} 或 zip")
                continue
            groups.setdefault(label.key.casefold(), []).append((label, entry))
        for found in groups.values():
            best = max((label for label, _ in found), key=lambda one: (one.rank, one.order))
            entries = tuple(renamed(e, label.file or e.name, label.order) for label, e in found)
            self._take(best, ", ".join(shown(e.name) for _, e in found[:3]) + ", ..." * (len(found) > 3),
                       entries=entries, order=max(e.order for e in entries),
                       late=any(label.late for label, _ in found))

    def _exported(self, entry: Entry, about: Exported) -> None:
        """A folder of a Gradescope export: of one student, or of a group."""
        if not about.people:
            self._take(folder_label(entry.name), shown(entry.name), folder=entry)
        for one in about.people:
            keys = [one[k] for k in ("sid", "email", "name") if k in one]
            if not keys:
                self._unmatched(shown(entry.name), "the export names nobody", "导出文件里没有姓名")
                continue
            label = Label(keys[0], keys[0], tuple(keys))
            found = next((ids for k in keys if len(ids := self.roster.find(k)) == 1), [])
            self._take(label, shown(entry.name), folder=entry, when=about.when, ids=found)

    def _take(self, label: Label, source: str, *, folder: Entry | None = None,
              entries: tuple[Entry, ...] = (), order: int = 0, late: bool = False, when: float = 0.0,
              ids: list[str] | None = None) -> None:
        if self.roster.people:
            found = ids or (self.roster.find(label.who, label.keys) if label.who else [])
            if len(found) != 1:
                among = ", ".join(map(shown, found[:3])) + ", ..." * (len(found) > 3)
                en = f"could be {among}" if found else "matches nobody in the roster"
                zh = f"可能是 {among}" if found else "在名单里找不到对应的学生"
                if label.keys:  # a platform's numbers, which its own list has
                    en_do = "use the platform's own list (grade book, participants) as roster.csv"
                    zh_do = "请把该平台自己导出的名单（成绩册）用作 roster.csv"
                else:
                    en_do = "call it after the student's id, or add the student to roster.csv"
                    zh_do = "请用学号给它改名，或把学生加进 roster.csv"
                self._unmatched(source, f"{en}; {en_do}", f"{zh}；{zh_do}")
                return
            student = found[0]
        else:
            student = shown(unicodedata.normalize("NFC", label.key).strip())
            if not student:
                self._unmatched(source, "names no student; put it in a folder called after the student",
                                "名字里看不出是谁的；请放进以学生命名的文件夹")
                return
        person = next((p for p in self.roster.people if p.id == student), None)
        about = [label.who, *label.keys, student]
        if person is not None:
            about += [person.name, person.email.partition("@")[0]]
        notes = (("the platform marked it as late", "平台标记为迟交"),) if late else ()
        newest = when or max((e.when for e in entries), default=folder.when if folder else 0.0)
        owner = frozenset(w for a in about for w in words(a))
        self.places.append(Place(student, source, owner, folder, entries, newest, order, label.rank, notes))

    def _unmatched(self, source: str, en: str, zh: str) -> None:
        self.unmatched.append((source, en, zh))

    def _done(self) -> Sorter:
        by_student: dict[str, list[Place]] = {}
        for place in self.places:
            by_student.setdefault(place.student, []).append(place)
        self.places = [self._newest(found) for _, found in sorted(by_student.items())]
        self.missing = [i for i in self.roster.ids if i not in by_student]
        return self

    def _newest(self, found: list[Place]) -> Place:
        if len(found) == 1:
            return found[0]
        # A folder's own time is that of its last new name: look at what is in it.
        found = [replace(p, when=self._time(p)) for p in found]
        found.sort(key=lambda p: (p.rank, p.order, p.when, p.source))
        best, others = found[-1], ", ".join(p.source for p in found[-2:-5:-1])
        note = (f"{len(found)} submissions: {best.source} was taken, the newest; not {others}",
                f"有 {len(found)} 份提交：采用了最新的 {best.source}，没有采用 {others}")
        return replace(best, notes=(*best.notes, note))

    def _time(self, place: Place) -> float:
        if place.folder is None or place.folder.kind != "folder" or isinstance(self.tree, ZipTree):
            return place.when
        if GRADESCOPE.fullmatch(place.source):
            return place.when
        try:
            return max((e.when for e in self.tree.below(place.folder, ENTRIES)[0]), default=place.when)
        except Refused:
            return place.when


def _hands_in(name: str) -> bool:
    """Whether a file at the top is somebody's submission, where no roster says so."""
    low = name.lower()
    return not low.startswith("readme") and low.endswith((
        ".py", ".py.txt", ".zip", ".ipynb", ".docx", ".doc", ".pdf", ".rtf", ".odt", ".txt", ".rar", ".7z",
        ".tar", ".gz", ".tgz"))
