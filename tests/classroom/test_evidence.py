"""What is said of a file before it runs: any bytes give a line, and nothing is raised."""

import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.classroom import evidence, find_assignment
from minillm.classroom.evidence import examine, submission_hash
from tests.classroom import toys

ADAM = find_assignment("04_adam")


@pytest.mark.parametrize(("files", "state", "en", "zh"), [
    ({}, "no_file", "nothing was handed in: adam.py is wanted", "没有提交任何文件：需要 adam.py"),
    ({"Adam.py": b""}, "no_file", "the file is called Adam.py; its name must be adam.py", "文件名是 Adam.py"),
    ({"a.py": b"", "b.txt": b""}, "no_file", "adam.py is missing; handed in: a.py, b.txt", "缺少 adam.py"),
    ({"a\nb": b""}, "no_file", r"handed in: a\nb", r"a\nb"),
    ({"adam.py": "x = 1".encode("utf-16")}, "unreadable", "adam.py is saved as UTF-16", "UTF-16"),
    ({"adam.py": b"x = 1\0"}, "unreadable", "it has null bytes", "空字节"),
    ({"adam.py": b"x = 1\n# \xd6\xd0\n"}, "unreadable", "adam.py, line 2 is not UTF-8", "第 2 行不是 UTF-8"),
    ({"adam.py": b"#" * (evidence.LARGEST + 1)}, "refused", "more than 1048576 are not graded", "不予评分"),
])
def test_what_cannot_be_graded(files, state, en, zh):
    found = examine(ADAM, files)
    assert found.state == state
    assert en in found.en
    assert zh in found.zh
    assert "\n" not in found.en + found.zh


@pytest.mark.parametrize(("text", "line", "said"), [
    ("def f(:\n", 1, "invalid syntax"), ("x = 1\n  y = 2\n", 2, "unexpected indent"),
    ("return 1\n", 1, "outside"), ("x = '\n", 1, "unterminated"),
])
def test_a_syntax_error_has_its_line(text, line, said):
    found = examine(ADAM, {"adam.py": text.encode()})
    assert found.state == "graded"
    assert found.syntax[0] == line
    assert said in found.syntax[1]


@pytest.mark.parametrize("text", ["-" * 200_000 + "1", "(" * 5_000, "a" + ".b" * 200_000,
                                  "x = " + "[" * 90 + "]" * 90,
                                  "\\" * 10_000, "lambda: " * 20_000 + "1", "if 1:\n" + " if 1:\n" * 3])
def test_text_made_to_upset_a_parser_gives_a_line(text):
    found = examine(ADAM, {"adam.py": text.encode()})
    assert found.state == "graded"


@pytest.mark.parametrize("change", [
    {"side_effect": subprocess.TimeoutExpired("python", 1)}, {"returncode": -11, "stdout": b""},
    {"returncode": 0, "stdout": b"not JSON"}])
def test_a_parser_that_does_not_come_back_costs_a_note(monkeypatch, change):
    def run(command, **options):
        if "side_effect" in change:
            raise change["side_effect"]
        if change["returncode"]:
            raise subprocess.CalledProcessError(change["returncode"], command)
        return subprocess.CompletedProcess(command, 0, change["stdout"], b"")

    monkeypatch.setattr(evidence.subprocess, "run", run)
    found = examine(ADAM, {"adam.py": b"x = 1"})
    assert found.state == "graded"
    assert found.syntax is None
    assert "could not be read" in found.notes[0][0]


def test_nothing_of_the_file_runs(tmp_path):
    examine(ADAM, {"adam.py": f"open({str(tmp_path / 'x')!r}, 'w')\n".encode()})
    assert not any(tmp_path.iterdir())


def test_imports_are_noted_once_and_with_their_line():
    text = ("import numpy as np, math\nimport torch\nfrom os.path import join\nimport torch\n"
            "from . import secret\nfrom typing import Any\ndef f():\n    import socket\nx = eval('1')\n")
    notes = [en for en, zh in examine(ADAM, {"adam.py": text.encode()}).notes]
    assert [note.split(",")[0] for note in notes] == [
        "line 2 imports torch", "line 3 imports os.path", "line 5 imports .", "line 8 imports socket",
        "line 9 calls eval"]


def test_what_is_provided_may_be_imported():
    kernel = dataclasses.replace(ADAM, provide=("kernels",), imports=("numpy", "triton"))
    text = b"import triton.language as tl\nfrom kernels.testing import close\n"
    assert not examine(kernel, {"adam.py": text}).notes


def test_a_byte_order_mark_and_other_files_do_no_harm():
    found = examine(ADAM, {"adam.py": b"\xef\xbb\xbfx = 1\n", "notes.txt": b""})
    assert found.state == "graded"
    assert found.syntax is None
    assert [en for en, _ in found.notes] == ["only adam.py is graded; handed in as well: notes.txt",
                                             "adam.py begins with a byte-order mark, which does no harm"]


def test_functions_and_tests_are_found(tmp_path):
    found = examine(toys.testing(tmp_path), {"my_tests.py": (
        b"class C: pass\ndef test_a(centred, *, x=1): pass\ndef f():\n    def test_inner(centred): pass\n")})
    assert found.defined == ("C", "test_a", "f")
    assert found.tests == (("test_a", ("centred", "x")),)


@settings(max_examples=25)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_state(data):
    found = examine(ADAM, {"adam.py": data})
    assert found.state in ("graded", "unreadable")
    assert bool(found.en) == bool(found.zh) == (found.state != "graded")


def test_the_hash_tells_names_and_contents_apart():
    many = [{}, {"a": b""}, {"ab": b""}, {"a": b"b"}, {"a": b"", "b": b""}, {"\udcff": b""},
            {"a" + "\0" * 7 + "\x01b": b""}, {"a" + "\0" * 8 + "b": b""}]
    assert len({submission_hash(files) for files in many}) == len(many)
    assert submission_hash({"a": b"1", "b": b"2"}) == submission_hash({"b": b"2", "a": b"1"})


def test_the_scanner_is_plain_python():
    assert subprocess.run([sys.executable, "-I", "-c", evidence._SCAN], input=b"def f(): pass", check=True,
                          capture_output=True).stdout.count(b'"f"') == 1
