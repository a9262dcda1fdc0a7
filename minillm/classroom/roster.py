"""A roster: who is in the course; written by hand, or exported by Canvas, Moodle or Gradescope."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minillm.errors import UserError

LARGEST = 16 << 20  # bytes; a roster of a hundred thousand students fits
# Names of columns, in lower case, as people and systems write them.
_ID = ("id", "student id", "student_id", "sid", "id number", "idnumber", "学号", "学生编号", "编号")
_NAME = ("name", "full name", "student name", "student", "姓名", "学生姓名", "全名")
_FIRST, _LAST = ("first name", "firstname", "名"), ("last name", "lastname", "surname", "姓", "姓氏")
_EMAIL = ("email", "e-mail", "email address", "e-mail address", "mail", "邮箱", "电子邮箱", "电子邮件",
          "邮件地址", "电子邮件地址")
_USER = ("username", "user name", "用户名")
_CANVAS_IDS = ("SIS User ID", "SIS Login ID", "ID")
# "2.02312E+11": what a spreadsheet makes of a long number
_SHORTENED = re.compile(r"\d([.,]\d+)?[eE]\+?\d+")


@dataclass(frozen=True)
class Student:
    """A line of the roster.

    Attributes:
        id: how submissions, seeds and reports name the student.
        name, email: may be empty.
        columns: every column of the line, by the names in the roster's first line, for the exports.
    """

    id: str
    name: str = ""
    email: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


def read_roster(path: str | Path) -> tuple[Student, ...]:
    """The students of a roster, in its order.

    Commas, semicolons or tabs; UTF-8 with or without a mark, UTF-16 with one, or GB 18030 if it is plainly
    Chinese. The columns are `id`, and perhaps `name` and `email`; or those of a grade book from Canvas, where
    the id is the SIS User ID, else the SIS Login ID, else the ID; or those of Moodle (ID number, else the
    username, else the e-mail address) or Gradescope (SID, else the e-mail address).

    Raises:
        UserError: what is wrong with it, and in which line.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: write one with the columns id,name,email") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > LARGEST:
        raise UserError(f"{path} is larger than {LARGEST >> 20} MiB: that is no roster")
    return parse_roster(data, str(path))


def parse_roster(data: bytes, where: str = "roster.csv") -> tuple[Student, ...]:
    """The students in the bytes of a roster; see `read_roster`.

    Args:
        data: the file.
        where: its name, for messages.

    Raises:
        UserError: what is wrong with it, and in which line.
    """
    lines = _decoded(data, where).splitlines(keepends=True)
    skipped = 0
    while lines and (not lines[0].strip() or lines[0].startswith("#") or lines[0].lower().startswith("sep=")):
        del lines[0]
        skipped += 1
    if not lines:
        raise UserError(f"{where} is empty: its first line names the columns: id,name,email")
    delimiter = max(",;\t", key=lines[0].count)  # a tie is a comma
    reader = csv.reader(io.StringIO("".join(lines), newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num + skipped, [" ".join(cell.split()) for cell in row]) for row in reader]
    except csv.Error as error:
        raise UserError(f"{where}, line {reader.line_num + skipped}: {error}") from None
    header = rows[0][1]
    for name in header:
        if name and header.count(name) > 1 and name.casefold() in (*_ID, *_NAME, *_EMAIL):
            raise UserError(f"{where} has two columns called {name}")
    canvas = "Student" in header and "id" not in header and any(c in header for c in _CANVAS_IDS)
    students: list[Student] = []
    seen: dict[str, int] = {}
    for number, row in rows[1:]:
        if not any(row) or row[0].startswith("#"):
            continue
        if len(row) > len(header) and any(row[len(header):]):
            raise UserError(f"{where}, line {number}: {len(row)} cells, but there are {len(header)} columns: "
                            "a name with a comma stands in double quotes")
        line = dict(zip(header, row + [""] * len(header)))
        if canvas and _not_a_student(line):
            continue
        if line.get("Role", "").casefold() in ("instructor", "ta", "reader"):  # Gradescope
            continue
        student = _student(line, canvas, f"{where}, line {number}", header, where)
        key = unicodedata.normalize("NFKC", student.id).casefold()
        if key in seen:
            raise UserError(f"{where}: the id {student.id} stands in line {seen[key]} and in line {number}; "
                            "each student has an id of their own")
        seen[key] = number
        students.append(student)
    return tuple(students)


def _decoded(data: bytes, where: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError:
            raise UserError(f"{where} begins as UTF-16 and is not: save it as CSV UTF-8") from None
    if b"\0" in data:
        kind = "an Excel workbook" if data.startswith(b"PK") else "not text"
        raise UserError(f"{where} is {kind}: save it as CSV UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    try:
        text = data.decode("gb18030")
        if _plainly_chinese(text):
            return text
    except UnicodeDecodeError:
        pass
    raise UserError(f"{where}, line {line} is not UTF-8, nor plainly Chinese in GBK: save it as CSV UTF-8")


def _plainly_chinese(text: str) -> bool:
    """Whether text read as GB 18030 was that: bytes of Latin-1 give characters that hardly anybody uses."""
    foreign = [c for c in text if ord(c) > 127]

    def common(c: str) -> bool:
        try:
            c.encode("gb2312")
        except UnicodeEncodeError:
            return False
        return True

    return sum(map(common, foreign)) >= 0.8 * len(foreign)


def _not_a_student(line: Mapping[str, str]) -> bool:
    """Lines of a Canvas grade book that are about columns, or about the test student."""
    return line["Student"] in ("", "Points Possible", "Student, Test") and not line.get("SIS User ID")


def _student(line: Mapping[str, str], canvas: bool, at: str, header: Sequence[str], where: str) -> Student:
    def cell(names: Sequence[str]) -> str:
        return next((line[h] for name in names for h in header if h.casefold() == name and line[h]), "")

    email = cell(_EMAIL)
    if canvas:
        found = next((line[c] for c in _CANVAS_IDS if line.get(c)), "")
        email = email or next((line[c] for c in ("SIS Login ID",) if "@" in line.get(c, "")), "")
    else:
        found = line.get("id") or cell(_ID) or cell(_USER) or email
    if not found:
        if not {h.casefold() for h in header} & {*_ID, *_USER, *_EMAIL, *map(str.casefold, _CANVAS_IDS)}:
            raise UserError(f"{where} has no column id; its columns are {', '.join(filter(None, header))}. "
                            "The first line is id,name,email, or that of an export from Canvas or Moodle")
        raise UserError(f"{at}: no id")
    if _SHORTENED.fullmatch(found):
        raise UserError(f"{at}: the id {found} was shortened by a spreadsheet: format the column as text, "
                        "put the numbers in again, and save as CSV UTF-8")
    if len(found) > 100 or found in (".", "..") or re.search(r"[/\\\x00-\x1f\x7f-\x9f\ufffd]", found):
        raise UserError(f"{at}: the id {found[:40]!r} is no id: at most 100 characters, no slashes")
    first, last = cell(_FIRST), cell(_LAST)
    apart = "" if re.search(r"[\u4e00-\u9fff]", first + last) else " "
    parts = (last, first) if not apart else (first, last)
    return Student(found, cell(_NAME) or apart.join(filter(None, parts)), email, dict(line))
