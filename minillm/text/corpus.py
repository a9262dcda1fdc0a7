"""Texts to learn from: the default one, a user's file, and an honest split in three parts."""

import hashlib
import math
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from minillm.errors import UserError

_BLOCK_CHARACTERS = 1000


def load_default() -> str:
    """The Python language reference as `help()` shows it: the topics of `pydoc_data.topics`.

    The topics are joined by a blank line in the order of their names, so the text depends on
    nothing but the Python version (a patch release may change some words). On Python 3.11.7:
    79 topics, 465,126 characters, 103 of them distinct; 2,608 paragraphs, of which 2,071 are
    unique. Counted by `python -c "import minillm.text as t; s = t.load_default(); print(len(s),
    len(set(s)), t.split(s))"`.

    Raises UserError where Python was packaged without it.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise UserError(
            "this Python has no pydoc_data.topics, the default text: name a UTF-8 text file instead"
        ) from None
    return "\n\n".join(topics[name] for name in sorted(topics))


def read_text(path: str | os.PathLike[str]) -> str:
    r"""The text of a UTF-8 file, with line ends as `\n` and without a byte order mark.

    Raises UserError, in one line, for a path that is missing, a directory, a device, unreadable,
    empty (or all white space), or not UTF-8; the last names the offset of the first wrong byte.
    """
    shown = repr(os.fspath(path))
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise UserError(f"{shown} is a directory: name one UTF-8 text file in it")
        if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):  # reading /dev/zero would never end
            raise UserError(f"{shown} is a device: name a UTF-8 text file")
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise UserError(f"{shown} does not exist: check the path of the text file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"cannot read {shown} ({reason}): name a text file you can read") from None
    try:
        text = decoded(data)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{shown} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x};"
            " save it again as UTF-8, for example with iconv -t UTF-8"
        ) from None
    if not text.strip():
        raise UserError(f"{shown} is empty: name a file with text to learn from")
    return text


def decoded(data: bytes) -> str:
    r"""UTF-8 as text, with line ends as `\n` and without a byte order mark; else UnicodeDecodeError."""
    return data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def unique_paragraphs(text: str) -> list[str]:
    """The paragraphs of `text` (runs of lines between blank lines), each kept the first time only.

    Two paragraphs are the same if they differ in white space alone; what is returned is the
    original, with its indentation and line breaks.
    """
    return _unique(_paragraphs(text))


@dataclass(frozen=True)
class Split:
    """Three parts of one text, and what was counted on the way.

    `unit` says what was kept whole: "paragraph", "line" or "piece" (see `split`). `n_units` units
    were shared out after `n_dropped` repeats had been dropped.
    """

    train: str
    validation: str
    test: str
    unit: str
    n_units: int
    n_dropped: int

    def __repr__(self) -> str:
        sizes = ", ".join(
            f"{name}={len(getattr(self, name)):,}" for name in ("train", "validation", "test")
        )
        return (
            f"Split({sizes} characters; {self.n_units:,} {self.unit}s,"
            f" {self.n_dropped:,} repeats dropped)"
        )


def split(text: str, *, fractions: Sequence[float] = (0.9, 0.05, 0.05), seed: int = 0) -> Split:
    """Drop repeated paragraphs, then share the rest out to train, validation and test.

    Neighbouring paragraphs are first gathered in blocks of at least 1,000 characters (fewer in
    a short text). A hash of `seed` and of the block's number orders the blocks; in that order each
    goes to the first of test and validation that still has room for it, else to train. Within a
    part the blocks keep the order of the text, so a state carried through it mostly reads running
    text. No random generator is used: the same text and seed give the same split everywhere.

    Why so. Repeats are dropped *before* splitting because the default text repeats itself: without
    that, 22% to 43% of the 40-character windows of validation also stand in train (seeds 0 to 4,
    Python 3.11.7, each run of white space as one space); after it, 2% to 7%, from near-repeats.
    tests/text/test_text_corpus.py counts them again. Blocks, not single paragraphs,
    because a paragraph's neighbours give it away; blocks no larger, because a small part must hold
    many of them to be like the rest. Still, validation is of the same style and subject as train.

    A text with too few paragraphs for its smallest part is shared out by lines instead (repeated
    lines dropped), and one with too few lines by pieces of equal length, where repeats within the
    text go unseen; `Split.unit` tells.

    `fractions` are those of the characters: train > 0, validation and test >= 0, sum 1. They are
    met to within a block. Raises ValueError for other fractions, UserError for a text that is too
    short.
    """
    _check_fractions(fractions)
    smallest = min(f for f in fractions if f > 0)
    needed = math.ceil(1 / smallest - 1e-9)
    unit, separator, units, n_dropped = _units(text, needed, smallest)
    blocks = _blocks(units, min(_BLOCK_CHARACTERS, sum(map(len, units)) * smallest / 4))
    if len(blocks) < sum(f > 0 for f in fractions):  # a few giant units took all the others in
        blocks = [[u] for u in units]
    part_of = _assign([sum(map(len, block)) for block in blocks], fractions, seed)
    train, validation, test = (
        separator.join(
            u for block, p in zip(blocks, part_of, strict=True) if p == part for u in block
        )
        for part in range(3)
    )
    return Split(train, validation, test, unit, len(units), n_dropped)


def _check_fractions(fractions: Sequence[float]) -> None:
    ok = len(fractions) == 3 and all(0 <= f <= 1 for f in fractions) and fractions[0] > 0
    if not ok or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(
            f"fractions = {tuple(fractions)}: give (train > 0, validation >= 0, test >= 0), sum 1"
        )


def _paragraphs(text: str) -> list[str]:
    lines = text.split("\n")
    return ["\n".join(g) for has_text, g in groupby(lines, lambda s: bool(s.strip())) if has_text]


def _unique(units: Iterable[str]) -> list[str]:
    first: dict[str, str] = {}
    for unit in units:
        first.setdefault(" ".join(unit.split()), unit)
    return list(first.values())


def _units(text: str, needed: int, smallest: float) -> tuple[str, str, list[str], int]:
    """(name, separator, units, repeats dropped) of the coarsest division with `needed` units."""
    paragraphs = _paragraphs(text)
    unique = _unique(paragraphs)
    n_dropped = len(paragraphs) - len(unique)
    if len(unique) >= needed:
        return "paragraph", "\n\n", unique, n_dropped
    lines = [line for paragraph in unique for line in paragraph.split("\n")]
    unique = _unique(lines)
    n_dropped += len(lines) - len(unique)
    if len(unique) >= needed:
        return "line", "\n", unique, n_dropped
    rest = "\n".join(unique)
    if len(rest) < needed:
        raise UserError(
            f"the text has {len(rest)} characters without its repeats, too few to split"
            f" (at least {needed}): use a longer text"
        )
    size = max(1, min(_BLOCK_CHARACTERS, int(len(rest) * smallest / 4)))
    return "piece", "", [rest[i : i + size] for i in range(0, len(rest), size)], n_dropped


def _blocks(units: list[str], block_characters: float) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    size = 0
    for unit in units:
        if blocks[-1] and size >= block_characters:
            blocks.append([])
            size = 0
        blocks[-1].append(unit)
        size += len(unit)
    return blocks


def _assign(sizes: list[int], fractions: Sequence[float], seed: int) -> list[int]:
    """The part (0 train, 1 validation, 2 test) of each block."""
    room = [f * sum(sizes) + 1e-6 for f in fractions]
    part_of = [0] * len(sizes)
    order = sorted((hashlib.sha256(f"{seed}/{i}".encode()).digest(), i) for i in range(len(sizes)))
    for _, i in order:
        part = next((p for p in (2, 1) if sizes[i] <= room[p]), 0)
        part_of[i] = part
        room[part] -= sizes[i]
    for part in (1, 2):
        if fractions[part] > 0 and part not in part_of:  # no block was short enough, or none left
            richest = max(range(3), key=part_of.count)
            given = min((i for i, p in enumerate(part_of) if p == richest), key=sizes.__getitem__)
            part_of[given] = part
    return part_of
