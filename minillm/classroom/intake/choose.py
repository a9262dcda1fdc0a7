"""Which of the files that were handed in is the wanted one; and if none is, what to do about it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from .entries import FILE_BYTES, SUBMISSION_BYTES, Entry, Refused, size_words
from .labels import canvas_file, split_suffix, without_copy, words
from .source_text import check_size, check_source, notebook_cells, written_file

NOTEBOOK_BYTES = 4_000_000
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z", ".xz", ".bz2")
_DOCUMENTS = {".docx": ("a Word document", " Word 文档"), ".doc": ("a Word document", " Word 文档"),
              ".pdf": ("a PDF", " PDF 文档"), ".rtf": ("a rich-text document", " RTF 文档"),
              ".odt": ("a text document", " ODT 文档"), ".txt": ("a plain text", "纯文本"),
              ".html": ("a web page", "网页"), ".pyc": ("compiled Python", "编译后的 Python 文件"),
              ".png": ("a picture", "图片"), ".jpg": ("a picture", "图片"), ".jpeg": ("a picture", "图片")}
Notes = list[tuple[str, str]]


@dataclass(frozen=True)
class Chosen:
    """The wanted file's bytes, and what the student should know about how it was found."""

    data: bytes
    notes: tuple[tuple[str, str], ...]


def choose(entries: Sequence[Entry], wanted: str, owner: Collection[str] = ()) -> Chosen | None:
    """The wanted file among what was handed in; None if nothing comes near.

    Args:
        entries: what was handed in, nearest to the top first.
        wanted: the file's name.
        owner: words that name the student, which may stand before the file's name.

    Raises:
        Refused: it is there, and cannot be taken.
    """
    exact = [e for e in entries if e.name == wanted]
    near = [e for e in entries
            if e.name != wanted and e.kind != "bad_name" and is_near(e.name, wanted, owner)]
    numbered = [e for e in (*exact, *near) if e.order]
    if numbered:
        chosen = max(numbered, key=lambda e: e.order)
    elif exact:
        depth = min(len(e.path) for e in exact)
        chosen = max((e for e in exact if len(e.path) == depth), key=_newest)
    elif near:
        chosen = max(near, key=_newest)
    else:
        return _from_notebook(entries, wanted)
    notes: Notes = []
    if chosen.name != wanted and not _by_canvas(chosen, wanted):
        notes.append((f"taken: {chosen.label}, though it should be called {wanted}",
                      f"采用了 {chosen.label}，但文件名应为 {wanted}"))
    others = [e for e in (*exact, *near) if e is not chosen]
    if others:
        notes.append((f"{len(others) + 1} files could be {wanted}: {chosen.label} was taken, "
                      f"{_list(others)} not", f"有 {len(others) + 1} 个文件都可能是 {wanted}：采用"
                                              f"了 {chosen.label}，"
                      f"没有采用 {_list(others)}"))
    data = load(chosen, wanted)
    return Chosen(data, tuple(notes))


def _by_canvas(entry: Entry, wanted: str) -> bool:
    """Whether only Canvas changed the name: it calls a later upload of adam.py adam-1.py."""
    stem, suffix = split_suffix(wanted)
    return entry.order > 0 and re.fullmatch(rf"{re.escape(stem)}-\d{{1,3}}{re.escape(suffix)}",
                                            entry.name) is not None


def others_file(entries: Sequence[Entry], wanted: str, others: Mapping[str, str],
                owner: Collection[str] = ()) -> str:
    """The file of another assignment that is among what was handed in, or ""."""
    return next((file for file in others if file != wanted and any(
        e.kind == "file" and is_near(e.name, file, owner) for e in entries)), "")


def load(entry: Entry, wanted: str) -> bytes:
    """The source of an entry, read and checked.

    Raises:
        Refused: it is no ordinary file, too large, or no Python source.
    """
    kinds = {"link": (f"{entry.label} is a link, and links are not followed: hand in the file itself",
                      f"{entry.label} 是链接，不会跟随：请提交文件本身"),
             "special": (f"{entry.label} is a device, pipe or socket, not a file: hand in {wanted} itself",
                         f"{entry.label} 是设备、管道或套接字，不是文件：请提交 {wanted} 本身"),
             "folder": (f"{entry.label} is a folder: hand in a file of that name",
                        f"{entry.label} 是文件夹：请提交同名的文件")}
    if entry.kind in kinds:
        raise Refused(*kinds[entry.kind])
    check_size(entry.name, entry.size, wanted)
    return check_source(entry.load(FILE_BYTES + 1), entry.name, wanted)


def is_near(name: str, wanted: str, owner: Collection[str] = ()) -> bool:
    """Whether a name is the wanted one but for case, a mark of a copy, or who handed it in."""
    stem, suffix = split_suffix(canvas_file(name))
    goal, goal_suffix = split_suffix(wanted)
    if suffix != goal_suffix:
        return False
    stem = without_copy(stem.strip()).strip().casefold()
    if stem == goal:
        return True
    before = stem[:-len(goal)] if stem.endswith(goal) else ""
    return before[-1:] in ("_", "-", " ", ".") and bool(words(before)) and set(words(before)) <= set(owner)


def explain(entries: Sequence[Entry], wanted: str, most: int = 0, other: tuple[str, str] = ("", "")
            ) -> Refused:
    """Why there is nothing to grade, from what there is instead.

    Args:
        entries, wanted: see `choose`.
        most: so many were looked at, of more.
        other: (file, id) of another assignment of the course, if that was handed in.
    """
    if other[0]:
        return Refused(f"found {other[0]}, which belongs to {other[1]}, and no {wanted}: hand in {wanted}",
                       f"找到的是 {other[0]}，那是作业 {other[1]} 的文件，没有 {wanted}：请提交 {wanted}")
    if most:
        return Refused(f"more than {most} files, and no {wanted} among those looked at: hand "
                       f"in {wanted} alone",
                       f"文件超过 {most} 个，查看过的文件里没有 {wanted}：请只提交 {wanted}")
    if not entries:
        return Refused(f"nothing is in it: hand in {wanted}", f"里面什么都没有：请提交 {wanted}")
    python = [e for e in entries if split_suffix(e.name)[1] == ".py"]
    if bad := [e for e in entries if e.kind == "bad_name"]:
        return _bad(bad[0], wanted)
    if python:
        return Refused(f"found {_list(python)}, wanted {wanted}: rename the file and hand it in again",
                       f"找到的是 {_list(python)}，要求的是 {wanted}：请改名后重新提交")
    for entry in entries:
        suffix = PurePosixPath(entry.name).suffix.lower()
        if suffix == ".ipynb":
            return Refused(f"{entry.label} is a notebook: put the code in {wanted}, or begin a cell with "
                           f"%%writefile {wanted}",
                           f"{entry.label} 是 notebook：请把代码写进 {wanted}，或在单元格首行写 "
                           f"%%writefile {wanted}")
        if suffix in _DOCUMENTS:
            en, zh = _DOCUMENTS[suffix]
            return Refused(f"{entry.label} is {en}, not Python source: save the code as plain text "
                           f"in {wanted}",
                           f"{entry.label} 是{zh}，不是 Python 源代码：请把代码存成纯文本文件 {wanted}")
        if suffix in ARCHIVES:
            return Refused(f"{entry.label} ({size_words(entry.size)}) is not opened: hand in {wanted} "
                           "itself, or a small zip of it",
                           f"{entry.label}（{size_words(entry.size)}）不会被打开：请直接提交 {wanted}，或只含"
                           "它的小 zip")
    return Refused(f"no {wanted} in it, only {_list(entries)}: hand in {wanted}",
                   f"里面没有 {wanted}，只有 {_list(entries)}：请提交 {wanted}")


def _bad(entry: Entry, wanted: str) -> Refused:
    return Refused(f"{entry.label} is a name that leads out of the zip or cannot be written: make an "
                   f"ordinary zip of {wanted}",
                   f"{entry.label} 这个名字指向压缩包之外或不合法：请用普通方式打包 {wanted}")


def _from_notebook(entries: Sequence[Entry], wanted: str) -> Chosen | None:
    for entry in entries:
        if PurePosixPath(entry.name).suffix.lower() != ".ipynb" or entry.kind != "file":
            continue
        if entry.size > NOTEBOOK_BYTES:
            raise Refused(f"{entry.label} has {size_words(entry.size)}: put the code in {wanted} and hand "
                          "that in",
                          f"{entry.label} 有 {size_words(entry.size)}：请把代码写进 {wanted} 再提交")
        cells = notebook_cells(entry.load(NOTEBOOK_BYTES))
        text = None if cells is None else written_file(cells, wanted)
        if text is not None:
            data = check_source(text.encode("utf-8", "surrogatepass"), wanted, wanted)
            return Chosen(data, ((f"taken: the cell %%writefile {wanted} of {entry.label}; hand in the file "
                                  "itself",
                                  f"采用了 {entry.label} 中 %%writefile {wanted} 的单元格；以后请提交文件本"
                                  "身"),))
    return None


def the_zip(entries: Sequence[Entry]) -> Entry | None:
    """The newest zip among what was handed in.

    Raises:
        Refused: it is too large to look into.
    """
    zips = [e for e in entries if e.kind == "file" and e.name.lower().endswith(".zip")]
    if not zips:
        return None
    newest = max(zips, key=_newest)
    if newest.size > SUBMISSION_BYTES:
        raise Refused(f"{newest.label} has {size_words(newest.size)}; a submission may have "
                      f"{size_words(SUBMISSION_BYTES)} at most: hand in only what was asked for",
                      f"{newest.label} 有 {size_words(newest.size)}；一份提交最"
                      f"大 {size_words(SUBMISSION_BYTES)}：请只提交要求的文件")
    return newest


def renamed(entry: Entry, name: str, order: int) -> Entry:
    """A file at the top, under the name that it had when it was handed in."""
    return replace(entry, path=(name,), order=order)


def _newest(entry: Entry) -> tuple[int, float, tuple[str, ...]]:
    return entry.order, entry.when, entry.path


def _list(entries: Sequence[Entry], most: int = 3) -> str:
    names = [e.label for e in entries[:most]]
    left = len(entries) - len(names)
    return ", ".join(names) + (f" (+{left})" if left > 0 else "")


