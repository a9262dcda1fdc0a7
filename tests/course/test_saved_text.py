"""A learner's file as editors save it: byte order marks, CRLF, other encodings; and what `reset` keeps."""

import codecs
from pathlib import Path

import pytest

from minillm.course.check_process import check_file
from minillm.course.lesson_api import run_lesson
from minillm.course.saved_text import NotUtf8, read_saved
from minillm.course.workspace import start

LESSONS = Path(__file__).parent / "example_lesson"
SLUG, CHECKS = "01_mean_square", LESSONS / "01_mean_square" / "checks.py"
STUB = b'raise NotImplementedError("write mean_square here")'
RIGHT, WRONG = b"return np.mean(x * x)  # ", b"return np.sum(x * x)  # "


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILLM_LESSONS", str(LESSONS))
    return start(tmp_path / "mine")


@pytest.mark.parametrize(("save", "words"), [
    (lambda data: codecs.BOM_UTF8 + data, "byte order mark: choose UTF-8 without BOM,"),
    (lambda data: data.replace(b"\n", b"\r\n"), "line ends CRLF: choose LF,"),
    (lambda data: data.replace(b"\n", b"\r"), "line ends CRLF: choose LF,"),
    (lambda data: codecs.BOM_UTF8 + data.replace(b"\n", b"\r\n"), "byte order mark and line ends CRLF"),
    (lambda data: data, None),
])
def test_what_python_reads_is_checked_all_the_same(course, save, words):
    path = course.file(SLUG)
    text = path.read_bytes().replace(STUB, WRONG + "平均".encode())
    path.write_bytes(save(text))
    note = read_saved(path).note
    assert (note is None) == (words is None)
    if words is not None:
        assert words in note[0]
        assert all("\n" not in line for line in note)
    result = check_file(path, CHECKS, "mean_square")
    assert result.cause == "sum"
    assert read_saved(path).text.encode() == text
    assert run_lesson(path).error.endswith("the text says 3.83, but the value is 15.3125")
    before = path.read_bytes()
    assert course.reset(SLUG, "mean_square_grad").read_bytes() == before
    assert path.read_bytes() == text  # the other exercise, as it was; saved as it should be


@pytest.mark.parametrize(("data", "line", "words"), [
    (RIGHT + "平均".encode("gbk"), 41, "line 41, is not UTF-8 (byte 0xbe)"),
    (RIGHT + b"\xff", 41, "(byte 0xff)"),
])
@pytest.mark.parametrize("bom", [b"", codecs.BOM_UTF8])
def test_what_is_no_utf8_is_said_in_a_line(course, data, line, words, bom):
    path = course.file(SLUG)
    path.write_bytes(bom + path.read_bytes().replace(STUB, data).replace(b"\n", b"\r\n"))
    before = path.read_bytes()
    result = check_file(path, CHECKS, "mean_square")
    assert (result.kind, result.line) == ("encoding", line)
    assert words in result.en
    assert "UTF-8" in result.zh
    assert "\n" not in result.en + result.zh
    kept = course.reset(SLUG, "mean_square_grad")  # elsewhere in the file
    assert kept.read_bytes() == before
    assert path.read_bytes() == before.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    course.reset(SLUG, "mean_square")
    assert check_file(path, CHECKS, "mean_square").kind == "not_written"


def test_utf16_is_said_and_reset(course):
    path = course.file(SLUG)
    stubs = path.read_text(encoding="utf-8")
    path.write_bytes(stubs.replace(STUB.decode(), (RIGHT + "平均".encode()).decode()).encode("utf-16"))
    before = path.read_bytes()
    with pytest.raises(NotUtf8, match="UTF-16"):
        read_saved(path)
    assert check_file(path, CHECKS, "mean_square").kind == "encoding"
    assert course.line_of(SLUG, "mean_square") == stubs.split("\n").index("def mean_square(x):") + 1
    assert course.reset(SLUG, "mean_square_grad").read_bytes() == before
    assert check_file(path, CHECKS, "mean_square").passed
