"""Writing a model's folder: whole or not at all, and without a second copy of the weights in memory."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from minillm.errors import UserError

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
# What a model's folder may hold, and therefore what `overwrite` may delete
_KNOWN = {CONFIG, WEIGHTS, TOKENIZER, "tokenizer_config.json", "generation_config.json"}
# NumPy's name of a type -> safetensors': those that our folders hold
DTYPES = {"float16": "F16", "float32": "F32", "float64": "F64"}


@contextmanager
def new_folder(path: str | os.PathLike[str], overwrite: bool) -> Iterator[Path]:
    """A folder to write files into, which becomes `path` when all are written and on the disk.

    A process that is killed before leaves `path` as it was (and a hidden folder beside it). With
    `overwrite` the old folder is renamed away just before the new one takes its name: a kill between
    the two leaves both whole, the old one as `.NAME.old-...`.

    Raises:
        UserError: the system refuses, or `path` exists: without `overwrite` it must be empty, with it
            there must be no other files in it than a model's.
    """
    path = Path(path)
    shown = repr(str(path))
    mark = secrets.token_hex(4)
    try:
        target = path.resolve()
        _check_free(target, shown, overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        new, old = (target.with_name(f".{target.name}.{kind}-{mark}") for kind in ("new", "old"))
        new.mkdir()
        try:
            yield new
            for file in new.iterdir():
                _flush(file)
            _flush(new)
            if target.is_dir() and any(target.iterdir()):
                os.replace(target, old)
            elif target.is_dir():
                target.rmdir()
            os.replace(new, target)
        except BaseException:  # Ctrl-C too
            shutil.rmtree(new, ignore_errors=True)
            if old.is_dir() and not target.exists():
                os.replace(old, target)
            raise
        _flush(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise UserError(f"cannot write {shown} ({error.strerror or error}): check the place, its free space "
                        "and its permissions") from error


def _check_free(target: Path, shown: str, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise UserError(f"{shown} is a file: name a folder")
    names = {entry.name for entry in target.iterdir()}
    if names and not overwrite:
        raise UserError(f"the folder {shown} is not empty: choose another, or say overwrite=True "
                        "(--overwrite)")
    if names - _KNOWN:
        raise UserError(f"the folder {shown} holds other files than a model's ({min(names - _KNOWN)}): "
                        "choose another")


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows has no way to flush a folder
        return
    with suppress(OSError):  # some file systems refuse it for folders
        handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """A safetensors file of these arrays, one after the other; transposed views are copied one at a time.

    Raises:
        ValueError: an array is not float16, float32 or float64.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES:
            raise ValueError(f"{name} has dtype {array.dtype}: give one of {', '.join(DTYPES)}")
        start, end = end, end + array.nbytes
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": list(array.shape),
                        "data_offsets": [start, end]}
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)  # the data begins aligned
    with open(path, "xb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for array in arrays.values():
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            file.write(np.ascontiguousarray(little).data if little.size else b"")


def write_json(path: Path, data: Any) -> None:
    """A JSON file, readable. Raises ValueError for what JSON does not hold."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
