"""The teacher's page."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from minillm.classroom.report import Report
from minillm.classroom.sandbox.layers import SAYS, SAYS_ZH

from .page import number, page
from .summary import BINS, Mistake, Summary, TestSummary, summarise
from .words import kind_word, word

_SHOWN = 12  # students named beside a mistake


def teacher_html(assignment: Any, reports: Sequence[Report], lang: str = "en", *,
                 names: Mapping[str, str] | None = None, links: Mapping[str, str] | None = None,
                 waiting: Collection[str] = ()) -> str:
    """One page: distribution, failure rate of each test, commonest mistakes, time, every student.

    Args:
        assignment: an Assignment.
        reports: one a student.
        lang: "en" or "zh".
        names: id -> name, of all students on the roster.
        links: id -> address of the student's own report.
        waiting: ids of students whose files were handed in and are not graded yet.
    """
    names, links = names or {}, links or {}
    s = summarise(assignment, reports, list(names), waiting)
    title = assignment.title_zh if lang == "zh" else assignment.title
    title += ("：" if lang == "zh" else ": ") + word("class_report", lang)
    parts = [_overview(s, lang, sum(t.points for t in assignment.tests)), _heading("distribution", lang),
             _histogram(s.bins, lang), _heading("tests", lang), _tests(s, lang), _heading("mistakes", lang),
             _mistakes(assignment, [m for m in s.mistakes if len(m.students) > 1], lang)
             or f"<p>{html.escape(word('no_mistakes', lang))}</p>"]
    if single := [m for m in s.mistakes if len(m.students) == 1]:
        parts += [_heading("singles", lang), _mistakes(assignment, single, lang)]
    if s.waiting:
        parts += [_heading("waiting", lang), _waiting(s, lang, names)]
    if s.not_graded:
        parts += [_heading("not_graded", lang), _not_graded(s.not_graded, lang, names, links)]
    parts += [_heading("students", lang), _students(assignment, s, lang, names, links)]
    if said := [r for r in s.graded if r.printed]:
        note = html.escape(word("printed_note", lang))
        parts += [_heading("printed", lang), f'<p class="quiet">{note}</p>', *map(_printed, said)]
    if s.missing:
        missing = ", ".join(f"{m} {names.get(m, '')}".strip() for m in s.missing)
        parts += [_heading("missing", lang), f"<p>{html.escape(missing)}</p>"]
    parts += [_heading("layers", lang), _layers(s, lang)]
    return page(title, "\n".join(parts), lang)


def _heading(key: str, lang: str) -> str:
    return f"<h2>{html.escape(word(key, lang))}</h2>"


def _overview(s: Summary, lang: str, points: float) -> str:
    left_out = bool(s.not_graded or s.waiting or s.missing)
    said = []
    if left_out or s.mean is None:
        said.append(word("overview", lang).format(graded=len(s.graded)))
    if s.not_graded:
        said.append(word("overview_not", lang).format(not_graded=len(s.not_graded)))
    if s.waiting:
        said.append(word("overview_waiting", lang).format(waiting=len(s.waiting)))
    if s.missing:
        said.append(word("overview_missing", lang).format(missing=len(s.missing)))
    if s.mean is not None and s.median is not None:
        key = "overview_mean" if left_out else "overview_whole"
        said.append(word(key, lang).format(graded=len(s.graded), mean=number(s.mean),
                                           median=number(s.median), points=number(points)))
    lines = [f"<p>{html.escape((', ' if lang == 'en' else '，').join(said))}</p>"]
    if s.slowest is not None:
        took = word("time_all", lang).format(all=s.seconds, student=s.slowest.student, most=s.slowest.seconds)
        lines.append(f'<p class="quiet" id="time">{html.escape(took)}</p>')
    return "\n".join(lines)


def _histogram(bins: Sequence[int], lang: str) -> str:
    wide, high = 64, 120
    most = max(bins, default=0) or 1
    bars = []
    for i, count in enumerate(bins):
        top = high * count / most
        bars.append(f'<rect x="{i * wide + 6}" y="{20 + high - top:.1f}" width="{wide - 12}" '
                    f'height="{top:.1f}"/><text x="{(i + 0.5) * wide}" y="{14 + high - top:.1f}" '
                    f'text-anchor="middle">{count or ""}</text><text x="{(i + 0.5) * wide}" y="{high + 38}" '
                    f'text-anchor="middle">{100 * i // BINS}-{100 * (i + 1) // BINS}%</text>')
    told = ", ".join(f"{100 * i // BINS}-{100 * (i + 1) // BINS}%: {count}" for i, count in enumerate(bins))
    label = html.escape(f"{word('distribution_alt', lang)}: {told}")
    return (f'<div class="wide"><svg role="img" aria-label="{label}" viewBox="0 0 {wide * len(bins)} '
            f'{high + 46}" width="{wide * len(bins)}" height="{high + 46}">{"".join(bars)}</svg></div>')


def _table(head: Sequence[str], rows: Sequence[str], lang: str) -> str:
    cells = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in head)
    return (f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
            "</div>")


def _tests(s: Summary, lang: str) -> str:
    head = [word("test", lang), word("kind", lang), word("failed", lang), word("mean_points", lang),
            word("how", lang)]
    return _table(head, [_test_row(t, len(s.graded), lang) for t in s.tests], lang)


def _test_row(t: TestSummary, graded: int, lang: str) -> str:
    share = t.failed / graded if graded else 0.0
    how = (", " if lang == "en" else "，").join(f"{kind_word(kind, lang)} {count}" for kind, count in
                    sorted(t.kinds.items(), key=lambda item: (-item[1], item[0])))
    title = t.test.title_zh if lang == "zh" else t.test.title
    return (f'<tr><th scope="row">{html.escape(title)}</th><td>{html.escape(word(t.test.visibility, lang))}'
            f'</td><td><span class="share" style="width:{5 * share:.2f}em"></span>{t.failed} '
            f'({100 * share:.0f}%)</td><td class="n">{number(t.mean)} / {number(t.test.points)}</td>'
            f"<td>{html.escape(how)}</td></tr>")


def _mistakes(assignment: Any, mistakes: Sequence[Mistake], lang: str) -> str:
    if not mistakes:
        return ""
    titles = {t.name: t.title_zh if lang == "zh" else t.title for t in assignment.tests}
    rows = []
    for m in mistakes:
        who = ", ".join(m.students[:_SHOWN]) + (", ..." if len(m.students) > _SHOWN else "")
        where = ("；" if lang == "zh" else "; ").join(titles.get(t, t) for t in m.tests)
        rows.append(f'<tr><th scope="row">{html.escape(m.zh if lang == "zh" else m.en)}</th>'
                    f'<td class="n">{len(m.students)}</td><td>{html.escape(who)}</td>'
                    f"<td>{html.escape(where)}</td></tr>")
    return _table([word("mistake", lang), word("count", lang), word("who", lang), word("in_tests", lang)],
                  rows, lang) + f'<p class="quiet">{html.escape(word("person", lang))}</p>'


def _waiting(s: Summary, lang: str, names: Mapping[str, str]) -> str:
    said = []
    for student in s.waiting:
        who = f"{student} {names.get(student, '')}".strip()
        said.append(f"{who} {word('older', lang)}" if student in s.older else who)
    return (f'<p class="warn">{html.escape(word("waiting_note", lang))}</p>'
            f"<p>{html.escape((', ' if lang == 'en' else '，').join(said))}</p>")


def _not_graded(reports: Sequence[Report], lang: str, names: Mapping[str, str], links: Mapping[str, str]
                ) -> str:
    rows = [f'<tr><th scope="row">{_linked(r.student, links)}</th>{_name_cell(r.student, names)}'
            f"<td>{html.escape(r.zh if lang == 'zh' else r.en)}</td></tr>" for r in reports]
    return _table([word("student", lang), *([word("name", lang)] if names else []), word("why", lang)], rows,
                  lang)


def _linked(student: str, links: Mapping[str, str]) -> str:
    who = html.escape(student)
    return f'<a href="{html.escape(links[student])}">{who}</a>' if student in links else who


def _name_cell(student: str, names: Mapping[str, str]) -> str:
    return f"<td>{html.escape(names.get(student, ''))}</td>" if names else ""


def _students(assignment: Any, s: Summary, lang: str, names: Mapping[str, str],
              links: Mapping[str, str]) -> str:
    head = [word("student", lang), *([word("name", lang)] if names else []), word("score", lang),
            *(t.name for t in assignment.tests)]
    rows = []
    for report in s.graded:
        found = {t.name: t for t in report.tests}
        who, name = _linked(report.student, links), _name_cell(report.student, names)
        cells = "".join(_mark(found.get(t.name), lang) for t in assignment.tests)
        rows.append(f'<tr><th scope="row">{who}</th>{name}<td class="n">{number(report.score)}</td>{cells}'
                    "</tr>")
    return _table(head, rows, lang)


def _printed(report: Report) -> str:
    return (f"<details><summary>{html.escape(report.student)}</summary>"
            f'<pre tabindex="0">{html.escape(report.printed)}</pre></details>')


def _mark(test: Any, lang: str) -> str:
    if test is None:
        return '<td class="n">-</td>'
    said = html.escape(kind_word(test.kind, lang))
    return f'<td class="n" title="{said}">{number(test.score)}</td>'


def _layers(s: Summary, lang: str) -> str:
    if not s.layers:
        return f'<p class="warn">{html.escape(word("no_layers", lang))}</p>' if s.ran else "<p>-</p>"
    says, colon = (SAYS_ZH, "：") if lang == "zh" else (SAYS, ": ")
    items = "".join(f"<li>{html.escape(layer)}{colon}{count} / {s.ran}"
                    + (f"{'，' if lang == 'zh' else ', '}{html.escape(says[layer])}" if layer in says else "")
                    + "</li>" for layer, count in sorted(s.layers.items()))
    note = word("layers_note", lang).format(ran=s.ran)
    if rest := len(s.graded) + len(s.not_graded) - s.ran:
        note += word("layers_rest", lang).format(rest=rest)
    return f'<p class="quiet">{html.escape(note)}</p><ul>{items}</ul>'
