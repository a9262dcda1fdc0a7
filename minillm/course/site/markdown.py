"""A lesson's text as HTML: Markdown by markdown-it, formulas as MathML by latex2mathml."""

from __future__ import annotations

import functools
import html
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minillm.course.plain_math import plain_math
from minillm.errors import UserError
from minillm.stepper.page.code import pieces

INSTALL = "pip install latex2mathml markdown-it-py nbformat"

# $$display$$ and $inline$, but not in `code`; an inline formula neither begins nor ends with a space.
_MATH = re.compile(r"(?P<code>```.*?```|`[^`\n]+`)|\$\$(?P<display>.+?)\$\$|"
                   r"\$(?P<inline>[^\s$](?:[^$\n]*[^\s$])?)\$", re.DOTALL)
_HELD = re.compile("\ue000(\\d+)\ue001")  # a formula's place while Markdown is read: private characters

_CHINESE = "[\u3000-\u9fff\uff00-\uffef]"
_GLUED = re.compile(f"(?<={_CHINESE})\n(?={_CHINESE})")  # no space between them where a line ends


@dataclass
class Section:
    """A heading of a page and the text below it, for the contents and the search."""

    anchor: str
    title: str
    text: str


class Markdown:
    """Turns the texts of one page into HTML and keeps its headings."""

    def __init__(self) -> None:
        self.sections: list[Section] = []
        self._parser = _library("markdown_it").MarkdownIt("commonmark", {"html": False}).enable("table")
        self._parser.add_render_rule("heading_open", lambda p, tokens, i, *_: self._heading(tokens, i))
        self._parser.add_render_rule("heading_close", lambda p, tokens, i, *_: f"</{_tag(tokens[i])}>\n")
        self._parser.add_render_rule("fence", lambda p, tokens, i, *_: code_html(tokens[i].content))

    def html(self, text: str, searched: bool = True) -> str:
        """The HTML of a Markdown text.

        Args:
            text: it may have headings, if it is searched.
            searched: whether the search finds its words.

        Raises:
            ValueError: a formula cannot be read.
            UserError: a library is missing.
        """
        formulas: list[str] = []
        self._plain: list[str] = []

        def hold(found: re.Match[str]) -> str:
            if found["code"] is not None:
                return found["code"]
            display = found["display"] is not None
            latex = found["display"] if display else found["inline"]
            formulas.append(mathml(latex, display))
            self._plain.append(plain_math(latex))
            return f"\ue000{len(formulas) - 1}\ue001"

        held = _MATH.sub(hold, text)
        tokens = self._parser.parse(held)
        made: str = self._parser.renderer.render(tokens, self._parser.options, {})
        if searched:
            self._collect(tokens)
        return _HELD.sub(lambda found: formulas[int(found[1])], made)

    def _heading(self, tokens: Any, i: int) -> str:
        anchor = f"s{len(self.sections) + 1}"
        title = self._put_back(re.sub(r"[*_`]", "", tokens[i + 1].content))
        self.sections.append(Section(anchor, title, ""))
        return f'<{_tag(tokens[i])} id="{anchor}">'

    def _collect(self, tokens: Any) -> None:
        """The words of each section; headings were counted while they were rendered."""
        headings = sum(token.type == "heading_open" for token in tokens)
        at = len(self.sections) - headings
        for n, token in enumerate(tokens):
            if token.type == "heading_open":
                at += 1
            elif token.type == "inline" and tokens[n - 1].type != "heading_open":
                if not self.sections:
                    self.sections.append(Section("", "", ""))
                    at = 1
                words = "".join("\n" if c.type in ("softbreak", "hardbreak") else c.content
                                for c in token.children or ()
                                if c.type in ("text", "code_inline", "softbreak", "hardbreak"))
                words = _GLUED.sub("", words)
                self.sections[max(at, 1) - 1].text += self._put_back(words) + " "

    def _put_back(self, text: str) -> str:
        """A text with its formulas as plain text."""
        return _HELD.sub(lambda found: self._plain[int(found[1])], text)


def _tag(token: Any) -> str:
    """A lesson's headings begin at ##; the page's title is <h1>."""
    return f"h{min(max(int(token.tag[1]), 2), 6)}"


def mathml(latex: str, display: bool = False) -> str:
    """A formula as a <math> element that also says its LaTeX.

    Raises:
        ValueError: latex2mathml does not know a command.
    """
    convert: Callable[..., str] = _library("latex2mathml.converter").convert
    try:
        made = convert(latex, display="block" if display else "inline")
    except Exception as error:  # its errors share no base class
        raise ValueError(f"the formula ${latex}$ cannot be read: {type(error).__name__}: {error}") from error
    if "\\" in re.sub(r"<annotation.*?</annotation>", "", made, flags=re.DOTALL):
        raise ValueError(f"the formula ${latex}$ has a command that latex2mathml does not know")
    return made


def code_html(code: str) -> str:
    """Python with its colours, as the stepper has them."""
    lines = pieces(code.rstrip("\n").split("\n"))
    body = "\n".join("".join(f'<span class="{kind}">{html.escape(text)}</span>' if kind else html.escape(text)
                             for kind, text in line) for line in lines)
    return f'<pre class="code" tabindex="0"><code>{body}\n</code></pre>'


@functools.cache
def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"the site needs {name.partition('.')[0]}: {INSTALL}") from error
