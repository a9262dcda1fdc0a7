"""Bytes to integers and back: the tokenizer that needs no training."""

from collections.abc import Mapping, Sequence
from typing import Any

from minillm.errors import UserError
from minillm.text.byte_alphabet import text_bytes
from minillm.text.byte_level import AddedToken, ByteLevelTokenizer, check_special


class ByteTokenizer(ByteLevelTokenizer):
    """One id for each byte of the text's UTF-8: ids 0 ... 255, then the special tokens.

    Nothing is unknown to it and nothing is lost. English takes a byte for a character, Chinese three.
    Raises ValueError for special tokens that repeat or have fewer than two characters.
    """

    def __init__(self, special_tokens: Sequence[str] = ()) -> None:
        special_tokens = tuple(special_tokens)
        check_special(special_tokens)
        self.special_tokens = special_tokens
        tokens = [bytes([b]) for b in range(256)] + [token.encode() for token in special_tokens]
        super().__init__(tokens, {256 + i: AddedToken(token) for i, token in enumerate(special_tokens)})

    @classmethod
    def train(cls, text: str | bytes, *, special_tokens: Sequence[str] = ()) -> "ByteTokenizer":
        """The same tokenizer for every `text`: it stands here so that all tokenizers are made alike."""
        return cls(special_tokens)

    def to_json(self) -> dict[str, Any]:
        """A JSON object (a dict of plain values), for a checkpoint's state or a config file."""
        return {"kind": "byte", "special_tokens": list(self.special_tokens)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ByteTokenizer":
        """The tokenizer that `to_json` described. Raises UserError for anything else."""
        try:
            if data["kind"] != "byte":
                raise ValueError(f"its kind is {data['kind']!r}, not 'byte'")
            if not isinstance(data["special_tokens"], list):
                raise TypeError("its special_tokens are no list")
            return cls(data["special_tokens"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(
                f"this is not a byte tokenizer ({error}): use the file that training wrote"
            ) from None

    def _encode_text(self, text: str) -> bytes:
        return text_bytes(text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ByteTokenizer):
            return NotImplemented
        return self.special_tokens == other.special_tokens

    def __hash__(self) -> int:
        return hash(self.special_tokens)

    def __repr__(self) -> str:
        return f"ByteTokenizer({self.special_tokens!r})"
