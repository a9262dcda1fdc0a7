"""The pages around the lessons: head, navigation, contents, foot."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minillm.course.percent import Lesson

from .markdown import Section
from .words import WORDS


@dataclass(frozen=True)
class Link:
    """Where to, and what it is called."""

    to: str
    title: str


@dataclass(frozen=True)
class Page:
    """A lesson's page.

    Attributes:
        slug, title, minutes: of the lesson.
        body: its HTML.
        sections: its headings.
        needs: lessons before it that it builds on.
        previous, next: its neighbours, or None.
    """

    slug: str
    title: str
    minutes: int
    body: str
    sections: Sequence[Section]
    needs: Sequence[Link]
    previous: Link | None
    next: Link | None


def lesson_page(page: Page, lang: str, contents: Sequence[Link]) -> str:
    """The HTML of a lesson's page."""
    w, book = WORDS[lang], f"../notebooks/{lang}"
    about = [w["minutes"].format(page.minutes)]
    if page.needs:
        about.append(w["needs"] + w["comma"].join(map(_anchor, page.needs)))
    about.append(f'<a href="{book}/{page.slug}.ipynb" download>{w["notebook"]}</a>{w["comma"]}'
                 f'<a href="{book}/solutions/{page.slug}.ipynb" download>{w["with_solutions"]}</a>')
    inside = "".join(f'<li><a href="#{s.anchor}">{html.escape(s.title)}</a></li>'
                     for s in page.sections if s.anchor)
    beside = "".join(f'<a class="{way}" rel="{rel}" href="{link.to}"><span>{w[way]}</span> '
                     f"{html.escape(link.title)}</a>" for way, rel, link in
                     (("previous", "prev", page.previous), ("next", "next", page.next)) if link)
    main = (f"<h1>{html.escape(page.title)}</h1>\n<p class='about'>{' · '.join(about)}</p>\n"
            f"<nav class='inside' aria-label='{w['contents']}'><ul>{inside}</ul></nav>\n{page.body}\n"
            f"<nav class='beside' aria-label='{w['previous']}, {w['next']}'>{beside}</nav>")
    return _page(page.title, main, lang, f"{page.slug}.html", contents)


def index_page(lang: str, lessons: Mapping[str, Lesson], contents: Sequence[Link],
               terms: Sequence[tuple[str, str]]) -> str:
    """The page with all lessons and the glossary."""
    w = WORDS[lang]
    rows = "".join(f"<li>{_anchor(link)} <small>{w['minutes'].format(lesson.minutes)}</small></li>"
                   for link, lesson in zip(contents, lessons.values(), strict=True))
    pairs = "".join(f"<tr><td lang='{'en' if lang == 'en' else 'zh-CN'}'>{html.escape(a)}</td>"
                    f"<td lang='{'zh-CN' if lang == 'en' else 'en'}'>{html.escape(b)}</td></tr>"
                    for a, b in (terms if lang == "en" else [(zh, en) for en, zh in terms]))
    glossary = (f"<h2 id='glossary'>{w['glossary']}</h2><table class='terms'><thead><tr><th>{w['term']}</th>"
                f"<th>{w['in_other']}</th></tr></thead><tbody>{pairs}</tbody></table>" if terms else "")
    terminal = _code(w["terminal"])
    main = (f"<h1>{w['site']}</h1>\n<p>{w['intro']}</p>\n<p>{terminal}</p>\n<h2>{w['lessons']}</h2>\n"
            f"<ul class='lessons'>{rows}</ul>\n{glossary}")
    return _page(w["site"], main, lang, "index.html", contents)


def _page(title: str, main: str, lang: str, name: str, contents: Sequence[Link]) -> str:
    w = WORDS[lang]
    other = "zh" if lang == "en" else "en"
    nav = "".join(f"<li>{_anchor(link, here=link.to == name)}</li>" for link in contents)
    return f"""<!doctype html>
<html lang="{'zh-CN' if lang == 'zh' else 'en'}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)} · minillm</title>
<link rel="stylesheet" href="../site.css">
<link rel="alternate" hreflang="{'zh-CN' if other == 'zh' else 'en'}" href="../{other}/{name}">
<script src="search.js" defer></script>
<script src="../site.js" defer></script>
</head>
<body>
<a class="skip" href="#main">{w['skip']}</a>
<header>
<a class="home" href="index.html">minillm</a>
<div class="search" role="search">
<input id="search" type="search" autocomplete="off" placeholder="{w['search']}" aria-label="{w['search']}"
 role="combobox" aria-expanded="false" aria-controls="found" aria-autocomplete="list"
 data-nothing="{w['nothing']}" data-count="{w['count']}">
<ol id="found" role="listbox" aria-label="{w['search']}" hidden></ol>
<p id="count" class="heard" role="status"></p>
</div>
<a class="other" href="../{other}/{name}" hreflang="{'zh-CN' if other == 'zh' else 'en'}">{w['other']}</a>
<button id="theme" type="button" aria-label="{w['theme']}" title="{w['theme']}">◐</button>
</header>
<div class="columns">
<nav class="lessons" aria-label="{w['lessons']}"><ol>{nav}</ol></nav>
<main id="main">
{main}
</main>
</div>
</body>
</html>
"""


def _anchor(link: Link, here: bool = False) -> str:
    current = ' aria-current="page"' if here else ""
    return f'<a href="{link.to}"{current}>{html.escape(link.title)}</a>'


def _code(text: str) -> str:
    """`like this` as <code>."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))
