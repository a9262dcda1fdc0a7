"""Hugging Face's tokenizer.json, for the byte-level BPE tokenizers that it can hold."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as short
from typing import Any

from minillm.errors import UserError
from minillm.text.bpe import BPETokenizer
from minillm.text.byte_level import AddedToken
from minillm.text.pretokenize import PATTERNS

_PLAIN_FLAGS = ("single_word", "lstrip", "rstrip")
_ADVICE = "use the tokenizer.json of a byte-level BPE model (GPT-2, SmolLM, Llama 3)"


def save_tokenizer_json(path: str | os.PathLike[str], tokenizer: BPETokenizer) -> None:
    """Write `tokenizer` as a tokenizer.json, which `tokenizers` and `transformers` read.

    Raises UserError if the file cannot be written.
    """
    text = json.dumps(to_tokenizer_json(tokenizer), ensure_ascii=False, indent=2)
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write {str(path)!r} ({error.strerror}): name a file in a folder of yours"
        ) from None


def load_tokenizer_json(path: str | os.PathLike[str]) -> BPETokenizer:
    """The tokenizer of a tokenizer.json: it encodes token for token as `tokenizers` does with the file.

    Two things differ. What a template of the file adds around a text (Llama 3's <|begin_of_text|>)
    becomes `prefix` and `suffix` of the tokenizer; `encode` leaves it out, as `add_special_tokens=False`
    does. And a byte without a token, in a file without unk_token, is an error when it is met; it is not
    dropped. `bos_id` and `eos_ids` have no place in such a file (a model's config.json has them).

    Raises UserError, in one line, for a file that is missing, damaged, or that holds anything which
    would change the ids and is not known here: another model, pre-tokenizer or decoder, a normalizer,
    padding, truncation, dropout, added tokens that take the spaces around them, a post_processor that
    adds anything but tokens before and behind.
    """
    shown = repr(str(path))
    try:
        data = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {shown} ({error.strerror}): name a tokenizer.json") from None
    except (ValueError, RecursionError):
        raise UserError(f"{shown} is damaged or is no JSON: use another copy") from None
    try:
        return from_tokenizer_json(data)
    except UserError as error:
        raise UserError(f"{shown}: {error}") from None


def to_tokenizer_json(tokenizer: BPETokenizer) -> dict[str, Any]:
    """The object that a tokenizer.json of `tokenizer` holds."""
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": tokenizer.add_prefix_space,
        "trim_offsets": True,
        "use_regex": tokenizer.pre_tokenizer != "llama3",
    }
    first = {
        "digits": {"type": "Digits", "individual_digits": True},
        "llama3": {
            "type": "Split",
            "pattern": {"Regex": PATTERNS["llama3"]},
            "behavior": "Isolated",
            "invert": False,
        },
    }.get(tokenizer.pre_tokenizer)
    sequence = {"type": "Sequence", "pretokenizers": [first, byte_level]}
    added = [
        {
            "id": i,
            "content": token.content,
            **dict.fromkeys(_PLAIN_FLAGS, False),
            "normalized": token.late,
            "special": token.special,
        }
        for i, token in sorted(tokenizer.added.items())
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": sequence if first else byte_level,
        "post_processor": _template(tokenizer),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": tokenizer.unk_token,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": tokenizer.whole_chunks,
            "vocab": dict(sorted(tokenizer.vocab.items(), key=lambda item: item[1])),
            "merges": [list(pair) for pair in tokenizer.merges],
        },
    }


def from_tokenizer_json(data: Any) -> BPETokenizer:
    """The tokenizer of a tokenizer.json's object. Raises UserError as `load_tokenizer_json` does."""
    try:
        for part in ("normalizer", "truncation", "padding"):
            if data.get(part) is not None:
                raise _Other(f"it has a {part}")
        model = data["model"]
        _check_model(model)
        if (data.get("decoder") or {}).get("type") != "ByteLevel":
            raise _Other("its decoder is not ByteLevel")
        kind, prefix_space = _pre_tokenizer(data["pre_tokenizer"])
        prefix, suffix = _around(data.get("post_processor"))
        return BPETokenizer(
            _mapping(model["vocab"], "vocab"),
            [_pair(i, merge) for i, merge in enumerate(model["merges"])],
            _added(data.get("added_tokens") or [], model["vocab"]),
            pre_tokenizer=kind,
            add_prefix_space=prefix_space,
            whole_chunks=model.get("ignore_merges", False),
            unk_token=model.get("unk_token"),
            prefix=prefix,
            suffix=suffix,
        )
    except _Other as error:
        raise UserError(f"{error}, which is not supported: {_ADVICE}") from None
    except KeyError as error:
        raise UserError(f"this is not a tokenizer.json, it has no {error}: {_ADVICE}") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise UserError(f"this tokenizer.json is damaged ({error}): use another copy") from None


class _Other(Exception):
    """A tokenizer.json that is sound, but of another kind."""


def _check_model(model: Mapping[str, Any]) -> None:
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind != "BPE":
        raise _Other(f"its model is {short(kind)}, not 'BPE'")
    unsupported = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "fuse_unk")
    for option in unsupported:
        if model.get(option):
            raise _Other(f"its model has {option} = {short(model[option])}")


def _pre_tokenizer(data: Mapping[str, Any] | None) -> tuple[str, bool]:
    """(kind, add_prefix_space)."""
    steps = [data or {}]
    if steps[0].get("type") == "Sequence":
        steps = list(steps[0]["pretokenizers"])
    if not steps or steps[-1].get("type") != "ByteLevel":
        raise _Other("its pre_tokenizer does not end with ByteLevel")
    *first, last = steps
    pattern = bool(last.get("use_regex", True))
    prefix_space = bool(last["add_prefix_space"])
    if not first and pattern:
        return "gpt2", prefix_space
    if len(first) == 1 and not prefix_space:
        step = first[0]
        if step.get("type") == "Digits" and step.get("individual_digits") and pattern:
            return "digits", False
        if step.get("type") == "Split" and not pattern:
            isolated = step.get("behavior") == "Isolated" and not step.get("invert")
            for kind, known in PATTERNS.items():
                if isolated and step.get("pattern") == {"Regex": known}:
                    return kind, False
    raise _Other("its pre_tokenizer is an unknown one")


def _template(tokenizer: BPETokenizer) -> dict[str, Any] | None:
    """The post_processor that adds the tokenizer's prefix and suffix."""
    if not tokenizer.prefix and not tokenizer.suffix:
        return None
    names = {i: token for token, i in tokenizer.vocab.items()}
    names.update((i, token.content) for i, token in tokenizer.added.items())

    def around(text: str, kind: int) -> list[Any]:
        def special(ids: tuple[int, ...]) -> list[Any]:
            return [{"SpecialToken": {"id": names[i], "type_id": kind}} for i in ids]

        sequence = {"Sequence": {"id": text, "type_id": kind}}
        return [*special(tokenizer.prefix), sequence, *special(tokenizer.suffix)]

    special = {
        names[i]: {"id": names[i], "ids": [i], "tokens": [names[i]]}
        for i in (*tokenizer.prefix, *tokenizer.suffix)
    }
    return {
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": [*around("A", 0), *around("B", 1)],
        "special_tokens": special,
    }


def _around(data: Mapping[str, Any] | None) -> tuple[list[int], list[int]]:
    """The ids that a post_processor adds before and behind a single text."""
    steps = [] if data is None else [data]
    if steps and steps[0].get("type") == "Sequence":
        steps = list(steps[0]["processors"])
    steps = [step for step in steps if step.get("type") != "ByteLevel"]  # it moves offsets only
    if not steps:
        return [], []
    if len(steps) > 1 or steps[0].get("type") != "TemplateProcessing":
        raise _Other(f"its post_processor is {' and '.join(short(step.get('type')) for step in steps)}")
    before: list[int] = []
    behind: list[int] | None = None
    for part in steps[0]["single"]:
        if "SpecialToken" in part:
            ids = steps[0]["special_tokens"][part["SpecialToken"]["id"]]["ids"]
            (before if behind is None else behind).extend(ids)
        elif behind is None and part["Sequence"]["id"] == "A":
            behind = []
        else:
            raise _Other("its post_processor has a template of more than one text")
    if behind is None:
        raise _Other("its post_processor has a template without a text")
    return before, behind


def _added(tokens: list[Any], vocab: Mapping[str, int]) -> dict[int, AddedToken]:
    added: dict[int, AddedToken] = {}
    following = len(vocab)
    for token in tokens:
        content, i = token["content"], token["id"]
        for flag in _PLAIN_FLAGS:
            if token.get(flag):
                raise _Other(f"its added token {short(content)} has {flag}")
        if content not in vocab:
            # `tokenizers` numbers new tokens itself, on from the vocabulary, whatever `id` says
            if i != following:
                raise ValueError(f"the added token {short(content)} has the id {short(i)}, not {following}")
            following += 1
        if i in added:
            raise ValueError(f"id {short(i)} is that of two added tokens")
        added[i] = AddedToken(content, token.get("special", False), token.get("normalized", True))
    return added


def _pair(i: int, merge: Any) -> tuple[str, str]:
    """A merge, written "a b" until 2024 and ["a", "b"] since."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(p, str) for p in parts):
        raise ValueError(f"merges[{i}] is {short(merge)}: a merge is two tokens")
    return parts[0], parts[1]


def _mapping(data: Any, name: str) -> Mapping[str, int]:
    if not isinstance(data, dict):
        raise ValueError(f"{name} is no object")
    return data
