"""docs/data.md: its names are those of the code, and its counts are counted again where the text is there."""

import re
from pathlib import Path

import pytest

from minillm.errors import UserError
from minillm.tasks.text_data import encode, train_tokenizer
from minillm.text import read_sources, split
from minillm.text.extras import EXTRAS
from minillm.text.sources import MAX_BYTES

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")


def test_every_extra_is_documented_with_its_command() -> None:
    assert set(re.findall(r"^\| `(\w+)` \| [^\d]", TEXT, re.MULTILINE)) == set(EXTRAS)
    for name, extra in EXTRAS.items():
        assert re.search(rf"^    {re.escape(extra.install)} +# --data {name}$", TEXT, re.MULTILINE)
    assert TEXT.count(f"{MAX_BYTES >> 20} MiB") == 2  # in English and in Chinese


@pytest.mark.parametrize("name", EXTRAS)
def test_its_counts(name: str) -> None:
    try:
        text = read_sources([name]).text
    except UserError as error:
        pytest.skip(str(error))
    parts = split(text)
    row, = (line for line in TEXT.splitlines() if line.startswith(f"| `{name}`"))
    assert f"| {len(text):,} | {len(set(text)):,} |" in row
    assert f"| {len(parts.train):,} / {len(parts.validation):,} / {len(parts.test):,} |" in row
    column = ["kjv", "sanguo"].index(name) + 3
    for begin, kind, size in (("| `byte`", "byte", 0), ("| `bpe`, `--vocab-size 1024`", "bpe", 1024)):
        row, = (line for line in TEXT.splitlines() if line.startswith(begin))
        tokens = len(encode(train_tokenizer(kind, parts.train, size), parts.validation))
        assert row.split("|")[column].strip() == f"{len(parts.validation) / tokens:.2f}"
