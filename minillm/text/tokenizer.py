"""Characters to integers and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minillm.errors import UserError

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class CharTokenizer:
    """One id for each character (Unicode code point); id 0 is `<unk>`, one never trained on.

    The vocabulary is learned on the training part alone, in code point order, so it depends on
    nothing but which characters occur. A character it lacks gets `unk_id`: the model has never seen
    that id as a label, so it gives it a tiny probability, and the validation loss honestly pays
    for the surprise. Mask `unk_id` when sampling.

    `characters` is the vocabulary without `<unk>`: `characters[i]` has the id `i + 1`.
    Raises ValueError for characters that repeat or are halves of a surrogate pair.
    """

    unk_id = 0

    def __init__(self, characters: str) -> None:
        points = _code_points(characters)
        if len(np.unique(points)) != len(points):
            twice = next(c for i, c in enumerate(characters) if c in characters[:i])
            raise ValueError(f"characters holds {twice!r} twice: each may stand once")
        half = (points >= 0xD800) & (points < 0xE000)
        if half.any():
            i = int(half.argmax())
            raise ValueError(
                f"characters[{i}] is U+{points[i]:04X}, half of a surrogate pair: decode the text"
                " as strict UTF-8"
            )
        self.characters = characters
        self._points = np.concatenate(([ord(_REPLACEMENT)], points)).astype("<u4")  # (V,)
        # A table over all code points up to the largest, then one more row for those above it:
        # 8 bytes each, 9 MB at the very most, and an order of magnitude quicker than a search.
        self._ids = np.zeros(int(points.max(initial=0)) + 2, dtype=np.int64)
        self._ids[points] = np.arange(1, len(points) + 1)

    @classmethod
    def train(cls, text: str) -> "CharTokenizer":
        """The tokenizer of the characters in `text`. Raises UserError for an empty text."""
        if not text:
            raise UserError("the training text is empty: use a longer text")
        return cls("".join(sorted(set(text))))

    @property
    def vocab_size(self) -> int:
        """Number of ids, `<unk>` included: ids lie in [0, vocab_size)."""
        return len(self._points)

    def encode(self, text: str) -> NDArray[np.int64]:
        """The ids of `text`, shape (len(text),), in [0, vocab_size).

        int64 is what indexing, NumPy's and torch's alike, converts every narrower integer to: with
        it an embedding lookup copies nothing. It costs 8 bytes a character.
        """
        points = _code_points(text)
        return self._ids[np.minimum(points, len(self._ids) - 1)]

    def decode(self, ids: NDArray[np.integer[Any]] | Sequence[int]) -> str:
        """The text of `ids`, shape (T,); `<unk>` becomes U+FFFD, the replacement character.

        Raises ValueError for an id outside [0, vocab_size) or more than one axis, TypeError for
        ids that are not integers.
        """
        ids = np.asarray(ids)
        if ids.ndim != 1:
            raise ValueError(f"ids has shape {ids.shape}: give one sequence, of shape (T,)")
        if ids.size == 0:
            return ""
        if ids.dtype.kind not in "iu":
            raise TypeError(f"ids has dtype {ids.dtype}: give integers")
        wrong = (ids < 0) | (ids >= self.vocab_size)
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(f"ids[{i}] = {ids[i]} is outside [0, {self.vocab_size})")
        return self._points[ids].tobytes().decode("utf-32-le")

    def to_json(self) -> dict[str, Any]:
        """A JSON object (a dict of plain values), for a checkpoint's state or a config file."""
        return {"kind": "char", "characters": self.characters}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CharTokenizer":
        """The tokenizer that `to_json` described. Raises UserError for anything else."""
        try:
            if data["kind"] != "char":
                raise ValueError(f"its kind is {data['kind']!r}, not 'char'")
            return cls(data["characters"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(
                f"this is not a character tokenizer ({error}): use the file that training wrote"
            ) from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CharTokenizer):
            return NotImplemented
        return self.characters == other.characters

    def __hash__(self) -> int:
        return hash(self.characters)

    def __repr__(self) -> str:
        shown = self.characters if len(self.characters) <= 24 else self.characters[:24] + "..."
        return f"CharTokenizer({shown!r}, vocab_size={self.vocab_size})"


def _code_points(text: str) -> NDArray[np.uint32]:
    # surrogatepass: a prompt typed in a wrong encoding holds lone halves; they are merely unknown
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
