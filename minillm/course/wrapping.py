"""Lines broken to a terminal's width, Chinese too: a character takes two columns, and may end a line."""

from __future__ import annotations

import itertools
import re

from rich.cells import cell_len

_CLOSING = "，。、；：！？）》」』】〕”’…％"  # none of these begins a line
_OPENING = "（《「『【〔“‘"  # none of these ends one
_HAN = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_PIECE = re.compile(rf"`[^`\n]{{1,32}}`|[{_HAN}{_CLOSING}{_OPENING}]|[^\s{_HAN}{_CLOSING}{_OPENING}]+")


def wrapped(text: str, width: int, indent: str = "") -> str:
    """The text with its lines broken at spaces and beside Chinese characters.

    Args:
        text: its own line ends stay.
        width: columns of the terminal. A word that is wider, such as a path, stays whole: the terminal folds
            it, and it can still be copied.
        indent: of the lines that are added, in addition to that of the line broken.
    """
    return "\n".join(line for given in text.split("\n") for line in _lines(given, width, indent))


def _lines(line: str, width: int, indent: str) -> list[str]:
    indent += line[:len(line) - len(line.lstrip(" "))]
    if cell_len(indent) > width // 2:
        indent = ""
    at = [0, *breaks(line, width, cell_len(indent)), len(line)]
    parts = [line[begin:end].rstrip() for begin, end in itertools.pairwise(at)]
    return [parts[0], *(indent + part for part in parts[1:])]


def breaks(line: str, width: int, indent: int = 0) -> list[int]:
    """Where a line is to be broken: indices of the characters that new lines begin with.

    Args:
        line: without a line's end.
        width: columns.
        indent: columns that the new lines have less.
    """
    found: list[int] = []
    begin, taken = 0, 0  # of the present line: its first character, and the columns before it
    for first, last in _units(line):
        if line[begin:first].strip() and taken + cell_len(line[begin:last]) > width:
            found.append(first)
            begin, taken = first, indent
    return found


def _units(line: str) -> list[tuple[int, int]]:
    """(begin, end) of each word, Chinese character or short `code`, with the punctuation next to it."""
    units: list[tuple[int, int]] = []
    for piece in _PIECE.finditer(line):
        close = bool(units) and units[-1][1] == piece.start()
        if close and (piece[0] in _CLOSING or line[piece.start() - 1] in _OPENING):
            units[-1] = units[-1][0], piece.end()
        else:
            units.append(piece.span())
    return units
