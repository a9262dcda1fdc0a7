"""Texts that go to teachers and students as they are, each in a file of its own."""

from __future__ import annotations

from pathlib import Path


def text(name: str) -> str:
    """A text of this folder, such as `agents.md`."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
