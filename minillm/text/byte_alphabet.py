"""GPT-2's names for bytes: one printable character for each, so that tokens can be kept in JSON."""

from functools import cache


@cache
def byte_alphabet() -> tuple[str, ...]:
    """The 256 characters: `byte_alphabet()[b]` stands for byte b.

    A byte that is a printable Latin-1 character stands for itself; the 68 others (controls, space,
    no-break space, soft hyphen) take U+0100, U+0101, ... in turn: a space is 'Ġ', a newline 'Ċ'.
    Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)}
    hidden = [b for b in range(256) if b not in printable]
    return tuple(chr(0x100 + hidden.index(b)) if b in hidden else chr(b) for b in range(256))


@cache
def _bytes_of() -> dict[str, int]:
    return {character: b for b, character in enumerate(byte_alphabet())}


def to_alphabet(data: bytes) -> str:
    """`data` with each byte written as its character."""
    return "".join(map(byte_alphabet().__getitem__, data))


def from_alphabet(token: str) -> bytes | None:
    """The bytes that `token` stands for; None if one of its characters stands for no byte."""
    of = _bytes_of()
    try:
        return bytes([of[character] for character in token])
    except KeyError:
        return None


def text_bytes(text: str) -> bytes:
    """The UTF-8 of `text`, whatever it holds.

    Half a surrogate pair has no UTF-8. U+DC80 ... U+DCFF are how Python writes a byte that was not
    UTF-8 ("surrogateescape": bytes decoded so, prompts from the command line) and become that byte
    again; the other halves get the three bytes they would have if they were characters.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        return b"".join(
            c.encode("utf-8", "surrogateescape" if "\udc80" <= c <= "\udcff" else "surrogatepass")
            for c in text
        )
