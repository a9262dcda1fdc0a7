"""Any tokenizer from the JSON object that its `to_json` gave: run folders can hold each kind."""

from collections.abc import Mapping

from minillm.errors import UserError
from minillm.text.bpe import BPETokenizer
from minillm.text.bytes_tokenizer import ByteTokenizer
from minillm.text.tokenizer import CharTokenizer

Tokenizer = CharTokenizer | ByteTokenizer | BPETokenizer

TOKENIZERS: dict[str, type[CharTokenizer] | type[ByteTokenizer] | type[BPETokenizer]] = {
    "char": CharTokenizer,
    "byte": ByteTokenizer,
    "bpe": BPETokenizer,
}


def tokenizer_from_json(data: object) -> Tokenizer:
    """The tokenizer that `to_json` described, of the kind it names. Raises UserError for others."""
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(kind, str) or kind not in TOKENIZERS:
        raise UserError(
            f"the tokenizer's kind is {kind!r}, not one of {', '.join(TOKENIZERS)}: use the file that"
            " training wrote"
        )
    return TOKENIZERS[kind].from_json(data)
