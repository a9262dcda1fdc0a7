"""What byte-level tokenizers share: special tokens cut out first, and decoding through bytes."""

import codecs
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What tokenizers of published models call the token that a text begins with, and those that a text or a
# turn of a talk ends with: for files that do not say it themselves.
BEGIN_TOKENS = ("<|begin_of_text|>", "<|endoftext|>", "<s>", "<bos>")
END_TOKENS = (
    "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|im_end|>", "<|end|>", "</s>", "<eos>",
)


@dataclass(frozen=True)
class AddedToken:
    """A token that stands for itself, whole, wherever its text occurs: `<|endoftext|>`.

    special: `decode(..., skip_special=True)` leaves it out. late: it is looked for after the others,
    in what they leave (`normalized` in tokenizer.json).
    """

    content: str
    special: bool = True
    late: bool = False


class ByteLevelTokenizer:
    """A tokenizer whose tokens are strings of bytes, so that no text is unknown to it.

    `tokens[id]` is the bytes of each id; `added` maps ids to the tokens that are cut out of the text
    before anything else. A subclass says how the text between them is encoded.

    What a model's files say about where a text begins and ends; `encode` adds nothing of it:
    bos_id: the token that a text begins with. eos_ids: those that end one, the main one first.
    prefix, suffix: the ids that stood before and behind each text that the model learned from.
    None: the files do not say, and the names of the tokens decide (`begin_ids`, `end_ids`).
    """

    bos_id: int | None = None
    eos_ids: tuple[int, ...] | None = None
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()

    def __init__(self, tokens: Sequence[bytes], added: dict[int, AddedToken]) -> None:
        self._tokens = list(tokens)
        self._added = dict(added)
        self._unspecial = list(tokens)
        for i, token in added.items():
            self._tokens[i] = token.content.encode()
            self._unspecial[i] = b"" if token.special else token.content.encode()
        self._added_ids = {token.content: i for i, token in added.items()}
        self._cuts = [
            _alternatives(token.content for token in added.values() if token.late == late)
            for late in (False, True)
        ]

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included: ids lie in [0, vocab_size)."""
        return len(self._tokens)

    @property
    def added_ids(self) -> dict[str, int]:
        """The ids of the special and other added tokens, by their text."""
        return dict(self._added_ids)

    @property
    def begin_ids(self) -> tuple[int, ...]:
        """What a text without a beginning of its own begins with: `prefix`, else the begin token.

        That is `bos_id`, else the first of BEGIN_TOKENS that is here; () if none is.
        """
        bos_id = self.bos_id
        if bos_id is None:
            bos_id = next((self._added_ids[t] for t in BEGIN_TOKENS if t in self._added_ids), None)
        return self.prefix or (() if bos_id is None else (bos_id,))

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The ids that end a text: `eos_ids`, else those of END_TOKENS that are here."""
        if self.eos_ids is not None:
            return self.eos_ids
        return tuple(self._added_ids[t] for t in END_TOKENS if t in self._added_ids)

    def is_special(self, i: int) -> bool:
        """Whether id `i` is a special token: one that is left out of a text that is shown."""
        token = self._added.get(i)
        return token is not None and token.special

    def token_bytes(self, i: int) -> bytes:
        """The bytes that id `i` stands for, not UTF-8 by itself when it is part of a character."""
        if not 0 <= i < self.vocab_size:
            raise ValueError(f"i = {i} is outside [0, {self.vocab_size})")
        return self._tokens[i]

    def encode(self, text: str | bytes, *, special: bool = True) -> NDArray[np.int64]:
        """The ids of `text`, shape (T,), in [0, vocab_size); T depends on the text.

        Bytes need not be UTF-8: `decode_bytes` gives them back whatever they are. `special=False`
        reads special tokens as ordinary text: say so for a text that strangers wrote.
        """
        whole = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
        ids: list[int] = []
        for piece in self._pieces(whole) if special else [whole]:
            if isinstance(piece, int):
                ids.append(piece)
            elif piece:
                ids += self._encode_text(piece)
        return np.array(ids, np.int64)

    def encode_batch(
        self, texts: Iterable[str | bytes], *, special: bool = True
    ) -> list[NDArray[np.int64]]:
        """`encode` of each text; the arrays differ in length, padding is the model's matter."""
        return [self.encode(text, special=special) for text in texts]

    def decode_bytes(
        self, ids: NDArray[np.integer[Any]] | Sequence[int], *, skip_special: bool = False
    ) -> bytes:
        """The bytes of `ids`, shape (T,). `skip_special` leaves special tokens out.

        Raises ValueError for an id outside [0, vocab_size) or more than one axis, TypeError for
        ids that are not integers.
        """
        ids = np.asarray(ids)
        if ids.ndim != 1:
            raise ValueError(f"ids has shape {ids.shape}: give one sequence, of shape (T,)")
        if ids.size == 0:
            return b""
        if ids.dtype.kind not in "iu":
            raise TypeError(f"ids has dtype {ids.dtype}: give integers")
        wrong = (ids < 0) | (ids >= self.vocab_size)
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(f"ids[{i}] = {ids[i]} is outside [0, {self.vocab_size})")
        table = self._unspecial if skip_special else self._tokens
        return b"".join(map(table.__getitem__, ids.tolist()))

    def decode(
        self,
        ids: NDArray[np.integer[Any]] | Sequence[int],
        *,
        skip_special: bool = False,
        errors: str = "replace",
    ) -> str:
        """The text of `ids`. Bytes that are not UTF-8 become U+FFFD, the replacement character.

        `errors` is that of `bytes.decode`: "strict" raises UnicodeDecodeError for such bytes,
        "surrogateescape" keeps them so that `encode` gives the same bytes again. Otherwise raises
        as `decode_bytes` does.
        """
        return self.decode_bytes(ids, skip_special=skip_special).decode("utf-8", errors)

    def _encode_text(self, text: str) -> Iterable[int]:
        raise NotImplementedError(f"{type(self).__name__} defines no _encode_text")

    def _pieces(self, text: str) -> Iterable[str | int]:
        """`text` in order: ids of added tokens, and the texts between them."""
        pieces: list[str | int] = [text]
        for cut in self._cuts:
            if cut is not None:
                found = (cut.split(piece) if isinstance(piece, str) else [piece] for piece in pieces)
                # what was split at stands at odd places, and is in _added_ids
                pieces = [
                    self._added_ids[piece] if isinstance(piece, str) and i % 2 else piece
                    for i, piece in chain.from_iterable(map(enumerate, found))
                ]
        return pieces


class StreamDecoder:
    """Text from ids that come one by one: a character is handed out once all its bytes are there.

    What `feed` gives, then `flush`, joined is `tokenizer.decode(ids)`.
    """

    def __init__(self, tokenizer: ByteLevelTokenizer, *, skip_special: bool = False) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, *ids: int) -> str:
        """The characters that `ids` complete; "" while the last one lacks bytes."""
        return self._decoder.decode(self._tokenizer.decode_bytes(ids, skip_special=self._skip_special))

    def flush(self) -> str:
        """U+FFFD if a character lacks bytes, else "". The decoder can be used anew then."""
        return self._decoder.decode(b"", final=True)


def check_special(special_tokens: Sequence[str]) -> None:
    """Raise ValueError unless `special_tokens` are texts of two characters or more, all different."""
    for i, token in enumerate(special_tokens):
        if len(token) < 2 or any("\ud800" <= c <= "\udfff" for c in token):
            raise ValueError(
                f"special_tokens[{i}] is {token!r}: take a text of two characters or more, such as"
                " '<|endoftext|>'"
            )
        if token in special_tokens[:i]:
            raise ValueError(f"special_tokens holds {token!r} twice: each may stand once")


def _alternatives(contents: Iterable[str]) -> re.Pattern[str] | None:
    # the longest first, as where "<a>" and "<a><b>" both match the longer is meant
    longest = sorted(contents, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest))})") if longest else None


