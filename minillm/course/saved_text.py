"""A learner's file as an editor saved it: byte order marks, line ends, and bytes that are not UTF-8."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class NotUtf8(ValueError):
    """A file that Python cannot read; `en` and `zh` say what is wrong and how to save it right, in a line."""

    def __init__(self, en: str, zh: str, line: int) -> None:
        super().__init__(en)
        self.en, self.zh, self.line = en, zh, line


@dataclass(frozen=True)
class Saved:
    """A file's text.

    Attributes:
        text: without a byte order mark, its line ends are LF.
        note: what the editor should have saved otherwise, in English and Chinese, each a line; or None.
    """

    text: str
    note: tuple[str, str] | None = None


def read_saved(path: Path) -> Saved:
    """A learner's file.

    Raises:
        NotUtf8: it holds bytes that are not UTF-8.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    name = path.name
    again = "save it again with the encoding UTF-8 (in the editor's Save As)"
    again_zh = "请用编辑器的“另存为”，编码选 UTF-8，再存一次"
    if data.startswith(_UTF16):
        raise NotUtf8(f"{name} is saved as UTF-16, which Python does not read: {again}",
                      f"{name} 存成了 UTF-16，Python 读不了：{again_zh}", 1)
    bare = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = bare.decode("utf-8")
    except UnicodeDecodeError as error:
        line = _lines(bare[:error.start].decode("utf-8")).count("\n") + 1
        byte = f"0x{bare[error.start]:02x}"
        raise NotUtf8(f"{name}, line {line}, is not UTF-8 (byte {byte}): {again}",
                      f"{name} 第 {line} 行不是 UTF-8（字节 {byte}）：{again_zh}", line) from None
    return Saved(_lines(text), _note(name, data, text))


def _note(name: str, data: bytes, text: str) -> tuple[str, str] | None:
    bom, crlf = data.startswith(codecs.BOM_UTF8), "\r" in text
    if not bom and not crlf:
        return None
    if bom and crlf:
        en, zh = "a byte order mark and line ends CRLF: choose UTF-8 without BOM, and LF", \
            "带有 BOM，换行符是 CRLF：请选“UTF-8（无 BOM）”和 LF"
    elif bom:
        en, zh = "a byte order mark: choose UTF-8 without BOM", "带有 BOM：请选“UTF-8（无 BOM）”"
    else:
        en, zh = "line ends CRLF: choose LF", "换行符是 CRLF：请选 LF"
    return (f"{name} was saved with {en}, in the editor's status bar or Save As; it is read all the same",
            f"{name} {zh}（在编辑器的状态栏或“另存为”里）；现在照样可以检查")


def salvaged(path: Path) -> str:
    """A file's text for `reset`: what is no UTF-8 is kept as it is, and comes out again with
    `errors="surrogateescape"`; UTF-16 becomes what it says.

    Raises:
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    if data.startswith(_UTF16):
        return _lines(data.decode("utf-16", errors="replace"))
    return _lines(data.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="surrogateescape"))


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
