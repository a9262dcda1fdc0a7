"""Near-copies among submissions, found by copydetect's winnowing; what they mean a person decides."""

from __future__ import annotations

import csv
import html
import io
import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minillm.errors import UserError
from minillm.files import write_atomically

from .export.folder import make_folder
from .reports.page import page

K = 25  # characters of tokenised code in a fingerprint: copydetect's own default
WINDOW = 1  # every fingerprint is kept: submissions are short
SHOWN = 100  # pairs on the page


@dataclass(frozen=True)
class Pair:
    """Two submissions that share code.

    Attributes:
        one, other: the students.
        share: of the shorter way round: shared tokens over each file's own, the larger of the two, in [0, 1].
        of_reference: how much of the two is in the reference solution as well (the larger of the two): where
            it is as large as `share`, the likeness says nothing.
        passages: the shared lines, (of one, of other).
    """

    one: str
    other: str
    share: float
    of_reference: float
    passages: tuple[tuple[str, str], ...]


def pairs(texts: Mapping[str, str], given: str, reference: str) -> list[Pair]:
    """All pairs that share code, those that share most first.

    Names, comments and layout do not count: copydetect compares tokens.

    Args:
        texts: student -> what was handed in.
        given: the file as students got it; what it holds is nobody's copy.
        reference: the solution.

    Raises:
        UserError: copydetect is not installed.
    """
    Fingerprint, compare = _copydetect()
    empty = list(Fingerprint("given.py", K, WINDOW, fp=io.StringIO(given), language="python").hashes)

    def mark(name: str, text: str) -> Any:
        return Fingerprint(name, K, WINDOW, boilerplate=empty, fp=io.StringIO(text), language="python")

    marks = {student: mark(student, text) for student, text in sorted(texts.items())}
    solution = mark("solution.py", reference)
    like_solution = {s: _share(compare, m, solution) for s, m in marks.items()}
    found = []
    for one, other in itertools.combinations(marks, 2):
        if not marks[one].hashes & marks[other].hashes:
            continue
        overlap, (a, b), (slices_a, slices_b) = compare(marks[one], marks[other])
        if not overlap:
            continue
        found.append(Pair(one, other, min(1.0, float(max(a, b))),
                          max(like_solution[one], like_solution[other]),
                          tuple(zip(_passages(texts[one], slices_a), _passages(texts[other], slices_b),
                                    strict=False))))
    return sorted(found, key=lambda p: (-p.share, p.one, p.other))


def similar(assignment: Any, texts: Mapping[str, str], out: Path, *, lang: str = "en") -> Path:
    """Write `out/similar.html` and `out/similar.csv` about all pairs of submissions.

    Args:
        assignment: an Assignment.
        texts: student -> the file that was handed in.
        out: folder to write into; it is made.
        lang: "en" or "zh".

    Returns:
        The page.

    Raises:
        UserError: copydetect is not installed, there are fewer than two submissions, or `out` cannot be
            written.
    """
    if len(texts) < 2:
        raise UserError(f"{len(texts)} submission of {assignment.id}: two at least can be alike")
    solution = assignment.solution(lang)
    found = pairs(texts, solution.student, solution.text)
    make_folder(out)
    table = io.StringIO()
    rows = [["one", "other", "share", "of_reference"],
            *([p.one, p.other, f"{p.share:.3f}", f"{p.of_reference:.3f}"] for p in found)]
    csv.writer(table, lineterminator="\r\n").writerows(rows)
    # A student's text may hold a lone surrogate, which no encoding has.
    write_atomically(out / "similar.csv", table.getvalue().encode("utf-8-sig", "replace"), flush=False)
    path = out / "similar.html"
    write_atomically(path, _page(assignment, found, len(texts), lang).encode("utf-8", "replace"), flush=False)
    return path


def _copydetect() -> tuple[Any, Any]:
    try:
        from copydetect.detector import CodeFingerprint, compare_files
    except ImportError:
        raise UserError("similar needs copydetect: pip install copydetect") from None
    return CodeFingerprint, compare_files


def _share(compare: Any, one: Any, other: Any) -> float:
    if not one.hashes & other.hashes:
        return 0.0
    return min(1.0, float(compare(one, other)[1][0]))


def _passages(text: str, slices: Any) -> list[str]:
    """Whole lines that hold the shared slices."""
    found = []
    for start, end in zip(*slices.astype(int), strict=True):
        first = text.rfind("\n", 0, start) + 1
        last = text.find("\n", end)
        found.append(text[first:len(text) if last < 0 else last])
    return found


def _page(assignment: Any, found: Sequence[Pair], count: int, lang: str) -> str:
    zh = lang == "zh"
    title = assignment.title_zh if zh else assignment.title
    usual = statistics.median(p.share for p in found) if found else 0.0
    warning = (
        "本页只说明哪些作业相似，不说明原因。作业很短时，独立完成的正确答案也会几乎相同；请先看“与参考答案相同”一列，"
        "再读代码、与学生交谈，由教师判断。" if zh else
        "This page says which submissions are alike, not why. In a short assignment right answers that were "
        "written independently look nearly the same: compare with the column on the reference solution, read "
        "the code, talk to the students. A person decides.")
    summary = (f"{count} 份提交，{len(found)} 对有相同的代码；相同比例的中位数为 {usual:.0%}。" if zh else
               f"{count} submissions, {len(found)} pairs share code; half of these pairs share more than "
               f"{usual:.0%}.")
    head = ("一", "二", "相同比例", "与参考答案相同", "相同的代码") if zh else \
        ("One", "Other", "Shared", "Shared with the reference", "Code")
    rows = "".join(_row(p, zh) for p in found[:SHOWN])
    cells = "".join(f'<th scope="col">{h}</th>' for h in head)
    return page(f"{title}{'：相似的提交' if zh else ': similar submissions'}",
                f'<p class="warn">{html.escape(warning)}</p><p>{html.escape(summary)}</p>'
                f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>'
                "</div>", lang)


def _row(p: Pair, zh: bool) -> str:
    shown = "".join(f"<pre>{html.escape(a)}</pre><pre>{html.escape(b)}</pre>" for a, b in p.passages)
    return (f'<tr><th scope="row">{html.escape(p.one)}</th><th scope="row">{html.escape(p.other)}</th>'
            f'<td class="n">{p.share:.0%}</td><td class="n">{p.of_reference:.0%}</td>'
            f'<td><details><summary>{"查看" if zh else "show"}</summary>{shown}</details></td></tr>')
