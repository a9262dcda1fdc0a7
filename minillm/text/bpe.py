"""Byte-level byte-pair encoding (BPE): GPT-2's kind of tokenizer, with its training."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from reprlib import repr as short
from typing import Any

from minillm.errors import UserError
from minillm.text.bpe_merge import merge
from minillm.text.bpe_training import count_chunks, train_merges
from minillm.text.byte_alphabet import byte_alphabet, from_alphabet, text_bytes, to_alphabet
from minillm.text.byte_level import AddedToken, ByteLevelTokenizer, check_special
from minillm.text.pretokenize import PRE_TOKENIZERS, pretokenize

_CACHE_ENTRIES, _CACHE_LENGTH = 1 << 17, 64  # chunks that are kept, and the longest one, characters


class BPETokenizer(ByteLevelTokenizer):
    """Frequent strings of bytes have an id each; the text is built from them by learned merges.

    A text is cut into chunks (`pretokenize`); a chunk starts as its bytes, and of the pairs of
    neighbours the one that was learned first is merged, the leftmost of equals, until none is left.

    vocab: token -> id, tokens written in GPT-2's byte alphabet (`byte_alphabet`); the ids of `vocab`
    and `added` are 0 ... vocab_size - 1. merges: pairs of tokens, the first learned first; what they
    make is in `vocab`. added: id -> token to be cut out whole, with the id it has in `vocab` if it
    is there. pre_tokenizer: "gpt2", "digits" or "llama3". add_prefix_space: begin as after a space.
    whole_chunks: a chunk that is a token is taken as it is, whatever the merges say (Llama 3).
    unk_token: the token, of `vocab`, for bytes that have none (SmolLM's lacks 21); training gives all
    256. Without it `encode` raises ValueError for such a byte. bos_id, eos_ids, prefix, suffix: see
    `ByteLevelTokenizer`.

    Raises ValueError, in one line, if these do not fit together.
    Source: Sennrich et al. (2016), arXiv:1508.07909; Radford et al. (2019).
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        merges: Iterable[tuple[str, str]],
        added: Mapping[int, AddedToken] | None = None,
        *,
        pre_tokenizer: str = "gpt2",
        add_prefix_space: bool = False,
        whole_chunks: bool = False,
        unk_token: str | None = None,
        bos_id: int | None = None,
        eos_ids: Iterable[int] | None = None,
        prefix: Iterable[int] = (),
        suffix: Iterable[int] = (),
    ) -> None:
        if pre_tokenizer not in PRE_TOKENIZERS:
            raise ValueError(f"pre_tokenizer is {pre_tokenizer!r}: choose from {PRE_TOKENIZERS}")
        _check_flags("the tokenizer", add_prefix_space, whole_chunks)
        self.vocab = dict(vocab)
        self.merges = [(a, b) for a, b in merges]
        self.added = dict(added or {})
        self.pre_tokenizer = pre_tokenizer
        self.add_prefix_space = add_prefix_space
        self.whole_chunks = whole_chunks
        self.unk_token = unk_token
        if unk_token is not None and unk_token not in self.vocab:
            raise ValueError(f"unk_token is {short(unk_token)}, which is not in vocab")
        super().__init__(_token_bytes(self.vocab, self.added), self.added)
        self._merges = _merge_table(self.vocab, self.merges)
        unknown = -1 if unk_token is None else self.vocab[unk_token]
        self._byte_ids = [self.vocab.get(character, unknown) for character in byte_alphabet()]
        self._cache: dict[str, list[int]] = {}
        self._mark(bos_id, eos_ids, prefix, suffix)

    def marked(
        self,
        *,
        bos_id: int | None = None,
        eos_ids: Iterable[int] | None = None,
        prefix: Iterable[int] = (),
        suffix: Iterable[int] = (),
    ) -> "BPETokenizer":
        """The same tokenizer with other ids for where a text begins and ends (`ByteLevelTokenizer`).

        Raises ValueError for an id outside [0, vocab_size).
        """
        other = copy.copy(self)  # all else is never changed, and shared
        other._mark(bos_id, eos_ids, prefix, suffix)
        return other

    def _mark(
        self, bos_id: int | None, eos_ids: Iterable[int] | None, prefix: Iterable[int], suffix: Iterable[int]
    ) -> None:
        self.bos_id = None if bos_id is None else self._id("bos_id", bos_id)
        self.eos_ids = None if eos_ids is None else tuple(self._id("eos_ids", i) for i in eos_ids)
        self.prefix = tuple(self._id("prefix", i) for i in prefix)
        self.suffix = tuple(self._id("suffix", i) for i in suffix)

    def _id(self, name: str, i: object) -> int:
        if type(i) is not int or not 0 <= i < self.vocab_size:
            raise ValueError(f"{name} holds {short(i)}: give ids in [0, {self.vocab_size})")
        return i

    @classmethod
    def train(
        cls,
        text: str | bytes | Iterable[str | bytes],
        *,
        vocab_size: int = 4096,
        min_frequency: int = 2,
        special_tokens: Sequence[str] = (),
        pre_tokenizer: str = "gpt2",
    ) -> "BPETokenizer":
        """The tokenizer of the pairs that are frequent in `text`, or in several texts.

        Ids: the special tokens, the 256 bytes in the order of their characters (`byte_alphabet`),
        then the merges' tokens as they are learned. There are fewer than `vocab_size` ids if no pair
        is left that occurs `min_frequency` times. Of equally frequent pairs the one with the smaller
        ids comes first (`train_merges`): the same text gives the same tokenizer, and the one that
        Hugging Face's `BpeTrainer` makes of it. Special tokens in the text are learned from as any
        other text: give a list of documents instead of joining them with one, and choose special
        tokens such as "<|end|>" that no chunk can hold whole.

        Raises UserError for an empty text, ValueError for a `vocab_size` below 256 + the special
        tokens and for special tokens that repeat or have fewer than two characters.
        """
        special_tokens = tuple(special_tokens)
        check_special(special_tokens)
        if vocab_size < 256 + len(special_tokens):
            raise ValueError(
                f"vocab_size = {vocab_size} has no room for 256 bytes and {len(special_tokens)}"
                f" special tokens: take at least {256 + len(special_tokens)}"
            )
        chunks = count_chunks([text] if isinstance(text, str | bytes) else text, pre_tokenizer)
        if not chunks:
            raise UserError("the training text is empty: use a longer text")
        alphabet = byte_alphabet()
        tokens = [*special_tokens, *sorted(alphabet)]
        ids = {token: i for i, token in enumerate(tokens)}
        pairs = train_merges(chunks, tokens, [ids[c] for c in alphabet], vocab_size, min_frequency)
        return cls(
            {token: i for i, token in enumerate(tokens)},
            [(tokens[a], tokens[b]) for a, b in pairs],
            {i: AddedToken(token) for i, token in enumerate(special_tokens)},
            pre_tokenizer=pre_tokenizer,
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object (a dict of plain values), for a checkpoint's state or a config file."""
        added = [[i, token.content, token.special, token.late] for i, token in self.added.items()]
        return {
            "kind": "bpe",
            "vocab": dict(self.vocab),
            "merges": [list(pair) for pair in self.merges],
            "added": added,
            "pre_tokenizer": self.pre_tokenizer,
            "add_prefix_space": self.add_prefix_space,
            "whole_chunks": self.whole_chunks,
            "unk_token": self.unk_token,
            "bos_id": self.bos_id,
            "eos_ids": None if self.eos_ids is None else list(self.eos_ids),
            "prefix": list(self.prefix),
            "suffix": list(self.suffix),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "BPETokenizer":
        """The tokenizer that `to_json` described. Raises UserError for anything else."""
        try:
            if data["kind"] != "bpe":
                raise ValueError(f"its kind is {data['kind']!r}, not 'bpe'")
            added = {i: AddedToken(content, special, late) for i, content, special, late in data["added"]}
            return cls(
                data["vocab"],
                data["merges"],
                added,
                pre_tokenizer=data["pre_tokenizer"],
                add_prefix_space=data["add_prefix_space"],
                whole_chunks=data["whole_chunks"],
                unk_token=data["unk_token"],
                bos_id=data.get("bos_id"),  # older files have none of the four
                eos_ids=data.get("eos_ids"),
                prefix=data.get("prefix", ()),
                suffix=data.get("suffix", ()),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(
                f"this is not a BPE tokenizer ({error}): use the file that training wrote"
            ) from None

    def _encode_text(self, text: str) -> list[int]:
        if self.add_prefix_space and not text.startswith(" "):
            text = " " + text
        found = self._cache
        chunks = pretokenize(text, self.pre_tokenizer)
        try:
            return list(chain.from_iterable([found[chunk] for chunk in chunks]))
        except KeyError:
            return list(chain.from_iterable([self._encode_chunk(chunk) for chunk in chunks]))

    def _encode_chunk(self, chunk: str) -> list[int]:
        ids = self._cache.get(chunk)
        if ids is not None:
            return ids
        data = text_bytes(chunk)
        ids = [self._byte_ids[b] for b in data]
        if -1 in ids:
            raise ValueError(
                f"text holds the byte 0x{data[ids.index(-1)]:02X}, for which this vocabulary has no"
                " token: remove it, or use a tokenizer with all 256"
            )
        whole = self.vocab.get(to_alphabet(data)) if self.whole_chunks else None
        ids = merge(ids, self._merges) if whole is None else [whole]
        if len(chunk) <= _CACHE_LENGTH:
            if len(self._cache) >= _CACHE_ENTRIES:
                self._cache.clear()
            self._cache[chunk] = ids
        return ids

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BPETokenizer):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.vocab_size, *self.merges[:16]))

    def __repr__(self) -> str:
        return f"BPETokenizer(vocab_size={self.vocab_size}, merges={len(self.merges)})"


def _token_bytes(vocab: Mapping[str, int], added: Mapping[int, AddedToken]) -> list[bytes]:
    """The bytes of each id. Raises ValueError unless the ids are 0 ... n - 1, each with one token."""
    tokens: dict[int, bytes] = {}
    for token, i in vocab.items():
        _check_text(token)
        if type(i) is not int:  # True is an int too
            raise ValueError(f"the id of {short(token)} is {short(i)}: give an integer")
        if i in tokens:
            raise ValueError(f"id {i} has two tokens, one of them {short(token)}: give each its own")
        data = from_alphabet(token)
        tokens[i] = token.encode() if data is None else data
    contents: set[str] = set()
    for i, new in added.items():
        content = new.content
        _check_text(content)
        own = vocab.get(content, i) == i and (content in vocab or i not in tokens)
        if type(i) is not int or not own:
            raise ValueError(f"the added token {short(content)} has the id {short(i)}, not one of its own")
        _check_flags(f"the added token {short(content)}", new.special, new.late)
        if not content or content in contents:
            raise ValueError(f"the added token {short(content)} is empty or stands twice")
        contents.add(content)
        tokens[i] = content.encode()
    n = len(tokens)
    missing = next((i for i in range(n) if i not in tokens), None)
    if missing is not None:
        raise ValueError(f"id {missing} has no token, though there are {n}: ids go from 0 to {n - 1}")
    return [tokens[i] for i in range(n)]


def _merge_table(
    vocab: Mapping[str, int], merges: Iterable[tuple[str, str]]
) -> dict[tuple[int, int], tuple[int, int]]:
    """(left id, right id) -> (rank, id of both joined). Raises ValueError for a token not in `vocab`."""
    table = {}
    for rank, (a, b) in enumerate(merges):
        for token in (a, b, a + b):
            if token not in vocab:
                raise ValueError(f"merges[{rank}] = {short((a, b))}: {short(token)} is not in vocab")
        table[vocab[a], vocab[b]] = rank, vocab[a + b]
    return table


def _check_text(token: object) -> None:
    if not isinstance(token, str) or any("\ud800" <= c <= "\udfff" for c in token):
        raise ValueError(f"the token {short(token)} is not a text")


def _check_flags(whose: str, *flags: object) -> None:
    if not all(isinstance(flag, bool) for flag in flags):
        raise ValueError(f"{whose} has flags {short(flags)}: each is true or false")
