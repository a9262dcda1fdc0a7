"""The tokenizer in Hugging Face's model folders, and the ids with which its texts begin and end.

    tokenizer.json           the tokenizer, with what it adds around a text
    generation_config.json   bos_token_id and eos_token_id; where it is missing,
    config.json              has them
    tokenizer_config.json    is written for `transformers`, and not read
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minillm.errors import UserError
from minillm.text import BPETokenizer, load_tokenizer_json, save_tokenizer_json

from .fields import Fields, read_json
from .model_folder import TOKENIZER, write_json

_GENERATION = "generation_config.json"
_OTHER_FORMS = ("vocab.json", "merges.txt", "tokenizer.model")


def load_tokenizer(folder: Path, config: Fields) -> BPETokenizer:
    """The tokenizer of a folder, with `bos_id` and `eos_ids`.

    Args:
        folder: of the model.
        config: its config.json.

    Raises:
        UserError: there is none, `text.load_tokenizer_json` refuses it, it has more ids than the model, or
            a begin or end token is no whole number.
    """
    if not (folder / TOKENIZER).is_file():
        found = [name for name in _OTHER_FORMS if (folder / name).is_file()]
        held = f", only {' and '.join(found)}" if found else ""
        raise UserError(f"the folder {str(folder)!r} holds no {TOKENIZER}{held}: write one with "
                        "AutoTokenizer.from_pretrained(...).save_pretrained(...) of transformers")
    tokenizer = load_tokenizer_json(folder / TOKENIZER)
    if tokenizer.vocab_size > config.size("vocab_size"):
        raise UserError(f"{config.where}: vocab_size = {config.size('vocab_size')}, but {TOKENIZER} has "
                        f"{tokenizer.vocab_size} ids: the two are of different models")
    files = [read_json(folder / _GENERATION)] if (folder / _GENERATION).is_file() else []
    bos, eos = (_token_ids([*files, config], f"{name}_token_id", tokenizer.vocab_size)
                for name in ("bos", "eos"))
    return tokenizer.marked(bos_id=bos[0] if bos else None, eos_ids=eos or None, prefix=tokenizer.prefix,
                            suffix=tokenizer.suffix)


def save_tokenizer(folder: Path, tokenizer: BPETokenizer, max_length: int) -> None:
    """Write tokenizer.json and tokenizer_config.json."""
    save_tokenizer_json(folder / TOKENIZER, tokenizer)
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length,
        "clean_up_tokenization_spaces": False, "bos_token": _content(tokenizer, tokenizer.begin_ids),
        "eos_token": _content(tokenizer, tokenizer.end_ids)})


def special_ids(tokenizer: BPETokenizer | None) -> dict[str, Any]:
    """bos_token_id and eos_token_id of config.json: an id, a list of several ends, or null."""
    begin, ends = ((), ()) if tokenizer is None else (tokenizer.begin_ids, tokenizer.end_ids)
    return {"bos_token_id": next(iter(begin), None),
            "eos_token_id": list(ends) if len(ends) > 1 else next(iter(ends), None)}


def _token_ids(files: list[Fields], name: str, n_tokens: int) -> list[int]:
    """The ids below n_tokens in the first of the files that gives any: one or a list."""
    file = next((file for file in files if file.get(name) is not None), None)
    if file is None:
        return []
    given = file.get(name)
    ids = given if isinstance(given, list) else [given]
    if any(type(i) is not int for i in ids):
        raise file.wrong(name, "a whole number or a list of them")
    return [i for i in ids if 0 <= i < n_tokens]


def _content(tokenizer: BPETokenizer, ids: tuple[int, ...]) -> str | None:
    """The text of the first of these ids, if it is an added token: any other would become one there."""
    return next((tokenizer.added[i].content for i in ids[:1] if i in tokenizer.added), None)
