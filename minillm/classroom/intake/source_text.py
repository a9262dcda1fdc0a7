"""Is it Python source that can be read? Says how to save it where it is not."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

from .entries import FILE_BYTES, Refused, shown, size_words

_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # PEP 263
_BLANK = re.compile(rb"^[ \t\f]*(?:#.*)?$")
# Encodings of text that Python may be told to read: no codec that unpacks, rewrites or takes its time.
_HONOURED = {codecs.lookup(name).name for name in (
    "utf-8", "utf-8-sig", "ascii", "latin-1", "iso-8859-2", "iso-8859-5", "iso-8859-9", "iso-8859-15",
    "cp1250", "cp1251", "cp1252", "cp1254", "koi8-r", "gbk", "gb2312", "gb18030", "big5", "cp950",
    "shift_jis", "cp932", "euc-jp", "euc-kr", "cp949")}
_LOOKS = ((b"PK\3\4", "a zip or Word document", " zip 或 Word 文档"), (b"%PDF", "a PDF", " PDF 文档"),
          (b"{\\rtf", "a rich-text document", " RTF 文档"),
          (b"\xd0\xcf\x11\xe0", "an old Word document", "旧版 Word 文档"),
          (b"\x7fELF", "a program", "可执行程序"), (b"MZ", "a program", "可执行程序"),
          (b"\x1f\x8b", "a packed file", "压缩文件"), (b"Rar!", "a rar archive", " rar 压缩包"))


def check_size(name: str, size: int, wanted: str) -> None:
    """Refuse what is larger than a wanted file may be."""
    if size > FILE_BYTES:
        raise Refused(f"{shown(name)} has {size_words(size)}; {wanted} may have {size_words(FILE_BYTES)} at "
                      "most",
                      f"{shown(name)} 有 {size_words(size)}；{wanted} 最大 {size_words(FILE_BYTES)}")


def check_source(data: bytes, name: str, wanted: str) -> bytes:
    """The source in UTF-8; its grammar is not looked at.

    Raises:
        Refused: empty, another kind of file, an encoding that Python would not know.
    """
    name = shown(name)
    check_size(name, len(data), wanted)
    if not data.strip():
        raise Refused(f"{name} is empty ({size_words(len(data))}): save your work and hand it in again",
                      f"{name} 是空文件（{len(data)} 字节）：请保存后重新提交")
    for magic, en, zh in _LOOKS:
        if data.startswith(magic) and (b"\0" in data or magic[:1] in b"%{"):
            raise Refused(f"{name} is {en}, not Python source: save the code as plain text in {wanted}",
                          f"{name} 是{zh}，不是 Python 源代码：请把代码存成纯文本文件 {wanted}")
    utf16 = next((e for e in ("utf-16", "utf-32") if _wide(data, e)), "")
    if utf16:
        raise Refused(f"{name} is saved as {utf16.upper()}, which Python does not read: save it as UTF-8",
                      f"{name} 的编码是 {utf16.upper()}，Python 读不了：请另存为 UTF-8")
    if b"\0" in data:
        raise Refused(f"{name} holds NUL bytes, so it is not Python source: save the code as plain text",
                      f"{name} 里有 NUL 字节，不是 Python 源代码：请存成纯文本")
    if notebook_cells(data) is not None:
        raise Refused(f"{name} is a notebook with the name of a Python file: hand in the code itself "
                      f"as {wanted}",
                      f"{name} 其实是 notebook，只是改了名：请把代码本身存成 {wanted}")
    return _utf8(data, name)


def _utf8(data: bytes, name: str) -> bytes:
    """The source in UTF-8, though a coding line says that it is saved otherwise."""
    bom = data.startswith(codecs.BOM_UTF8)
    said = _coding_line(data[3:] if bom else data)
    encoding = "utf-8"
    if said:
        try:
            encoding = codecs.lookup(said).name if re.fullmatch(r"[-\w.]{1,30}", said) else ""
        except (LookupError, ValueError):
            encoding = ""
        if encoding not in _HONOURED or (bom and encoding not in ("utf-8", "utf-8-sig")):
            raise Refused(f"{name} says in its coding line that it is {shown(said)!r}: save it as UTF-8 and "
                          "delete that line",
                          f"{name} 的编码声明是 {shown(said)!r}：请另存为 UTF-8 并删去这一行")
    try:
        text = data.decode(encoding)
        if encoding in ("utf-8", "utf-8-sig", "ascii"):
            return data
        # What stands before the name is ASCII in all these encodings: the lines stay as many as they were.
        return text.replace(said, "utf-8", 1).encode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        if said:
            raise Refused(f"{name}, line {line}: not {shown(said)}, though the coding line says so: save it "
                          "as UTF-8 and delete that line",
                          f"{name} 第 {line} 行不是编码声明所说的 {shown(said)}：请另存为 UTF-8 并删去声"
                          "明") from None
        likely = _likely(data)
        line_en = f", or write # -*- coding: {likely.lower()} -*- in its first line" if likely else ""
        line_zh = f"，或在第一行写上 # -*- coding: {likely.lower()} -*-" if likely else ""
        raise Refused(f"{name}, line {line}: not UTF-8{f' but probably {likely}' if likely else ''}: save it "
                      f"as UTF-8{line_en}",
                      f"{name} 第 {line} 行不是 UTF-8{f'，可能是 {likely}' if likely else ''}：请另存为 UTF-8"
                      f"{line_zh}") from None


def _coding_line(data: bytes) -> str:
    for line in data.split(b"\n", 2)[:2]:
        if found := _CODING.match(line):
            return found[1].decode("ascii", "replace")
        if not _BLANK.match(line.rstrip(b"\r")):
            return ""
    return ""


def _wide(data: bytes, encoding: str) -> bool:
    """Whether it is text in units of two or four bytes, with or without a mark."""
    if encoding == "utf-16" and data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return data[:4] != codecs.BOM_UTF32_LE
    if encoding == "utf-32" and data[:4] in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        return True
    head = data[:400]
    odd, even = head[1::2].count(0), head[::2].count(0)
    half = len(head) / 2
    return encoding == "utf-16" and max(odd, even) > 0.8 * half and min(odd, even) < 0.2 * half


def _likely(data: bytes) -> str:
    """GBK, if it reads as such and gives Chinese characters in common use."""
    try:
        text = data.decode("gbk")
    except UnicodeDecodeError:
        return ""
    foreign = [c for c in text if ord(c) > 127]
    common = sum(0x4E00 <= ord(c) <= 0x9FFF or c in "，。：；、（）“”‘’！？《》" for c in foreign)
    return "GBK" if common > 0.9 * len(foreign) else ""


def notebook_cells(data: bytes) -> list[str] | None:
    """The sources of a notebook's code cells, or None if it is no notebook."""
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") or b'"cells"' not in data:
        return None
    try:
        book: Any = json.loads(data)
        return [cell["source"] if isinstance(cell["source"], str) else "".join(map(str, cell["source"]))
                for cell in book["cells"] if cell["cell_type"] == "code"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def written_file(cells: list[str], wanted: str) -> str | None:
    """What the last `%%writefile wanted` cell writes (with -a: appends), or None."""
    text = None
    for source in cells:
        head, _, body = source.partition("\n")
        found = re.fullmatch(r"%%(?:writefile|file)\s+(-a\s+)?[\"']?(?:\./)?(\S+?)[\"']?\s*", head)
        if found and found[2] == wanted:
            text = (text or "") + body + "\n" if found[1] else body + "\n"
    return text
