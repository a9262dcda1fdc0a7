"""Text from tokens that come one by one, up to the first stop string and not a character of it."""

from __future__ import annotations

from collections.abc import Sequence

from minillm.text import CharTokenizer, StreamDecoder, Tokenizer
from minillm.text.byte_level import ByteLevelTokenizer


class TextStream:
    """What `feed` and then `flush` give, joined, is the text of all ids, cut before the first stop string.

    Text that may be the beginning of a stop string is held back until more has come, and so are the bytes
    of a character that is not complete. The first stop string is the one that begins first, in whatever
    way the text was cut into tokens.

    Args:
        tokenizer: that the ids are of; special tokens are left out of the text.
        stop: strings that end the text. A special token ends it where its id comes, too.

    Attributes:
        stopped: the stop string that was found (the longest, if several have come there), or None.

    Raises:
        ValueError: a stop string is empty, or holds a special token and more: no text has both.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        stop = [stop] if isinstance(stop, str) else list(stop)
        if "" in stop:
            raise ValueError(f"stop[{stop.index('')}] is empty: a text would end before it begins")
        self.stopped: str | None = None
        self._stop = sorted(stop, key=len, reverse=True)
        self._held = ""
        self._stop_ids = {} if isinstance(tokenizer, CharTokenizer) else _special_stops(tokenizer, stop)
        self._decoder = _CharDecoder(tokenizer) if isinstance(tokenizer, CharTokenizer) else \
            StreamDecoder(tokenizer, skip_special=True)

    def feed(self, *ids: int) -> str:
        """The text that is certain after these ids: "" while all of it may be part of a stop string."""
        end = next((n for n, i in enumerate(ids) if i in self._stop_ids), None)
        if end is None:
            return self._feed(ids)
        text = self._feed(ids[:end]) + self.flush()
        if self.stopped is None:
            self.stopped = self._stop_ids[ids[end]]
        return text

    def _feed(self, ids: Sequence[int]) -> str:
        if self.stopped is not None:
            return ""
        self._held += self._decoder.feed(*ids)
        found, begun = self._found(), self._begun()
        if found <= begun:  # none that begins earlier can still come; with none at all, both are the end
            return self._cut(found)
        text, self._held = self._held[:begun], self._held[begun:]
        return text

    def flush(self) -> str:
        """The rest, when no more ids come."""
        if self.stopped is not None:
            return ""
        self._held += self._decoder.flush()
        return self._cut(self._found())

    def _found(self) -> int:
        """Where the first whole stop string begins; the end of the text if there is none."""
        places = [self._held.find(stop) for stop in self._stop]
        return min((i for i in places if i >= 0), default=len(self._held))

    def _begun(self) -> int:
        """Where the first stop string begins of which the text holds a part at its end; else its end."""
        text = self._held
        longest = len(self._stop[0]) if self._stop else 0
        for i in range(max(0, len(text) - longest + 1), len(text)):
            if any(len(stop) > len(text) - i and stop.startswith(text[i:]) for stop in self._stop):
                return i
        return len(text)

    def _cut(self, i: int) -> str:
        text, rest = self._held[:i], self._held[i:]
        self.stopped = next((stop for stop in self._stop if rest.startswith(stop)), None)
        self._held = ""
        return text


def _special_stops(tokenizer: ByteLevelTokenizer, stop: Sequence[str]) -> dict[int, str]:
    """id -> stop string, for those that are special tokens: `decode` shows nothing of them."""
    special = {token: i for token, i in tokenizer.added_ids.items() if tokenizer.is_special(i)}
    for i, one in enumerate(stop):
        held = next((token for token in special if token in one), None)
        if held is not None and one not in special:
            raise ValueError(f"stop[{i}] = {one!r} holds the special token {held!r}, which is no text: give "
                             "that token alone")
    return {special[one]: one for one in stop if one in special}


class _CharDecoder:
    """`StreamDecoder` for tokens that are whole characters."""

    def __init__(self, tokenizer: CharTokenizer) -> None:
        self._tokenizer = tokenizer

    def feed(self, *ids: int) -> str:
        return self._tokenizer.decode(ids)

    def flush(self) -> str:
        return ""
