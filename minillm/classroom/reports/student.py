"""One student's report, as Markdown and as a page.

What the program printed is on the teacher's page alone: a submission can print the inputs of hidden tests,
and how they use them.
"""

from __future__ import annotations

import html
import re
from typing import Any

from minillm.classroom.export.ran import ran
from minillm.classroom.report import Report, TestResult

from .page import number, page
from .words import kind_word, word


def student_markdown(report: Report, lang: str = "en", *, title: str = "", name: str = "") -> str:
    """The report as Markdown: score, one row a test, reasons, which protections held."""
    zh = lang == "zh"
    lines = [f"# {_plain(_title(report, lang, title, name))}", "",
             f"**{number(report.score)} / {number(report.points)}** {word('points', lang)}"
             if report.state == "graded" else f"**{word('not_graded', lang)}**", "",
             _plain(report.zh if zh else report.en), ""]
    if report.tests:
        head = [word("test", lang), word("kind", lang), word("score", lang), word("why", lang)]
        lines += ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
        for test in report.tests:
            lines.append("| " + " | ".join([
                _cell(test.title_zh if zh else test.title), word(test.visibility, lang),
                f"{number(test.score)} / {number(test.points)}", _cell(_reason(test, lang))]) + " |")
        lines.append("")
    if report.notes:
        lines += [f"## {word('notes', lang)}", "", *(f"- {_plain(note[zh])}" for note in report.notes), ""]
    if ran(report):
        lines += [_layers(report, lang), ""]
    return "\n".join(lines)


def student_html(report: Report, lang: str = "en", *, title: str = "", name: str = "") -> str:
    """The same as one self-contained page."""
    zh = lang == "zh"
    esc = html.escape
    rows = "".join(
        f'<tr class="{"ok" if t.passed else "no"}"><th scope="row">{esc(t.title_zh if zh else t.title)}</th>'
        f"<td>{esc(word(t.visibility, lang))}</td>"
        f'<td class="n">{number(t.score)} / {number(t.points)}</td><td>{esc(_reason(t, lang))}</td></tr>'
        for t in report.tests)
    head = "".join(f'<th scope="col">{esc(word(w, lang))}</th>' for w in ("test", "kind", "score", "why"))
    score = f"<b>{number(report.score)}</b> / {number(report.points)} {esc(word('points', lang))}"
    if report.state != "graded":  # no grade, and not a zero
        score = f"<b>{esc(word('not_graded', lang))}</b>"
    parts = [f'<p class="score">{score}</p>', f"<p>{esc(report.zh if zh else report.en)}</p>"]
    if rows:
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
                     f'<p class="quiet">{esc(word("hint", lang))}</p>')
    if report.notes:
        notes = "".join(f"<li>{esc(note[zh])}</li>" for note in report.notes)
        parts.append(f"<h2>{esc(word('notes', lang))}</h2><ul>{notes}</ul>")
    if ran(report):
        parts.append(f'<p class="quiet">{esc(_layers(report, lang))}</p>')
    return page(_title(report, lang, title, name), "".join(parts), lang)


def _title(report: Report, lang: str, title: str, name: str) -> str:
    who = f"{name} ({report.student})" if lang == "en" else f"{name}（{report.student}）"
    return (title or report.assignment) + (": " if lang == "en" else "：") + (who if name else report.student)


def _layers(report: Report, lang: str) -> str:
    if lang == "zh":
        return f"{word('layers', lang)}：{'、'.join(report.layers) or '无'}"
    return f"{word('layers', lang)}: {', '.join(report.layers) or '-'}"


def _reason(test: TestResult, lang: str) -> str:
    said = test.zh if lang == "zh" else test.en
    if test.line is not None and not re.search(rf"\b{test.line}\b", said):
        said += f" ({word('line', lang).format(test.line)})"
    return said or kind_word(test.kind, lang)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: a student's words make no links, pictures or HTML."""
    return re.sub(r"([\\`*_\[\]<>#|!&~])", r"\\\1", " ".join(text.split()))


def _cell(text: Any) -> str:
    return _plain(str(text))
