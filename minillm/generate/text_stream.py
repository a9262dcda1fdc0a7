"""Text from tokens that come one by one, up to the first stop string and not a character of it."""

from __future__ import annotations

from collections.abc import Sequence

from minillm.text import CharTokenizer, StreamDecoder, Tokenizer


class TextStream:
    """What `feed` and then `flush` give, joined, is the text of all ids, cut before the first stop string.

    Text that may be the beginning of a stop string is held back until more has come, and so are the bytes
    of a character that is not complete. The first stop string is the one that begins first, in whatever
    way the text was cut into tokens.

    Args:
        tokenizer: that the ids are of; special tokens are left out of the text.
        stop: strings that end the text.

    Attributes:
        stopped: the stop string that was found (the longest, if several have come there), or None.

    Raises:
        ValueError: a stop string is empty.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        stop = [stop] if isinstance(stop, str) else list(stop)
        if "" in stop:
            raise ValueError(f"stop[{stop.index('')}] is empty: a text would end before it begins")
        self.stopped: str | None = None
        self._stop = sorted(stop, key=len, reverse=True)
        self._held = ""
        self._decoder = _CharDecoder(tokenizer) if isinstance(tokenizer, CharTokenizer) else \
            StreamDecoder(tokenizer, skip_special=True)

    def feed(self, *ids: int) -> str:
        """The text that is certain after these ids: "" while all of it may be part of a stop string."""
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


class _CharDecoder:
    """`StreamDecoder` for tokens that are whole characters."""

    def __init__(self, tokenizer: CharTokenizer) -> None:
        self._tokenizer = tokenizer

    def feed(self, *ids: int) -> str:
        return self._tokenizer.decode(ids)

    def flush(self) -> str:
        return ""
