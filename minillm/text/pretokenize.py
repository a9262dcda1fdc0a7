"""Cut a text into chunks, roughly words: byte-pair merges never cross from one into the next."""

import re
import unicodedata
from functools import cache
from itertools import groupby

# Unicode's White_Space. Python's own \s adds U+001C ... U+001F.
_WHITE_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

# In the notation of the regex module, Oniguruma and tokenizer.json. Each pattern matches every text
# from end to end, without a gap.
PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama3": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}

# "digits" is GPT-2's pattern in the pieces between digits, each digit being a chunk: SmolLM's.
PRE_TOKENIZERS = (*PATTERNS, "digits")


def pretokenize(text: str, kind: str = "gpt2") -> list[str]:
    r"""The chunks of `text`; joined, they are `text` again.

    `kind` "gpt2" cuts as GPT-2's pattern does, "llama3" as Llama 3's, "digits" as SmolLM's. In GPT-2's,
    a chunk is a contraction's end ('s, 't, 're, 've, 'm, 'll, 'd), or a run of letters (`\p{L}`), of
    numbers (`\p{N}`) or of anything else but white space, with the space before it, if any; white
    space apart from that one space makes chunks of its own.

    What is a letter is what the running Python's Unicode version says; characters that are assigned
    later count as "anything else". Source: Radford et al. (2019); Llama Team, arXiv:2407.21783.

    Raises ValueError for an unknown kind.
    """
    if kind not in PRE_TOKENIZERS:
        raise ValueError(f"kind is {kind!r}: choose from {', '.join(map(repr, PRE_TOKENIZERS))}")
    if kind != "digits":
        return _compiled(kind).findall(text)
    gpt2 = _compiled("gpt2")
    chunks: list[str] = []
    for i, piece in enumerate(_digit().split(text)):
        if i % 2:  # split's odd entries are what it split at
            chunks.append(piece)
        else:
            chunks += gpt2.findall(piece)
    return chunks


def translate(pattern: str) -> str:
    r"""`pattern` for the standard library's `re`, which lacks `\p{L}` and `\p{N}`.

    These and `\s`, `\S` are written out as ranges of characters, alone or inside [...] (`\S` only
    alone). Nothing else is changed.
    """
    classes = {r"\p{L}": _ranges("L"), r"\p{N}": _ranges("N"), r"\s": _WHITE_SPACE}

    def expand(match: re.Match[str]) -> str:
        found = match[0]
        if found.startswith("["):
            return re.sub(r"\\p\{[LN]\}|\\s", lambda m: classes[m[0]], found)
        return f"[^{_WHITE_SPACE}]" if found == r"\S" else f"[{classes[found]}]"

    return re.sub(r"\[[^\]]*\]|\\p\{[LN]\}|\\[sS]", expand, pattern)


@cache
def _compiled(kind: str) -> re.Pattern[str]:
    return re.compile(translate(PATTERNS[kind]))


@cache
def _digit() -> re.Pattern[str]:
    return re.compile(f"([{_ranges('N')}])")


@cache
def _ranges(major: str) -> str:
    """The characters of a major category ("L": letters, "N": numbers), as ranges for [...]."""
    points = [p for p in range(0x110000) if unicodedata.category(chr(p))[0] == major]
    parts = []
    for _, run in groupby(enumerate(points), lambda pair: pair[1] - pair[0]):
        ends = [p for _, p in run]
        parts.append(f"\\U{ends[0]:08x}-\\U{ends[-1]:08x}")
    return "".join(parts)
