"""`to_html`: the page put together from its parts, in one file that asks nothing of the network."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import os
import re
from importlib import resources
from pathlib import Path
from typing import Any

from minillm.errors import UserError
from minillm.stepper.equation import equation_of
from minillm.stepper.kernel import KernelSteps
from minillm.stepper.recording import Recording

from .data import Data
from .graph import svg
from .kernel_data import KernelData

LANGUAGES = ("en", "zh")
# In this order; what is between the two is what is special to a recording of the engine, or of kernels.
SCRIPTS = ("words", "numbers", "arrays", "code"), ("step", "walk", "look", "events")
SPECIAL = {"engine": ("graph", "engine"), "kernels": ("kernel_words", "memory", "kernels")}
NOTEBOOK_HEIGHT = 760  # pixels


def to_html(recording: Recording | KernelSteps, path: str | os.PathLike[str] | None = None, *,
            title: str | None = None, lang: str = "en") -> str:
    """A recording as one HTML file: step, jump and follow a number, with keyboard or mouse, in any browser.

    Styles, scripts and numbers are inside; a content security policy forbids it the network. The same
    recording gives the same text. An address that ends in `#step=12&lang=zh&theme=dark` opens it there.

    Args:
        recording: what to show; without steps the page says so.
        path: where to write it; left out, nothing is written.
        title: the heading, in place of the equation's title, the function's name or the kernels'.
        lang: "en" or "zh", the language that the page opens in; it can be switched there.

    Returns:
        The HTML.

    Raises:
        UserError: lang is neither, or `path` cannot be written.
    """
    if lang not in LANGUAGES:
        raise UserError(f"lang = {lang!r} is neither 'en' nor 'zh'")
    page = _page(recording, title, lang)
    if path is not None:
        try:
            Path(path).write_text(page, encoding="utf-8", newline="\n")
        except OSError as e:
            raise UserError(f"cannot write the page to {str(path)!r}: {e.strerror}") from None
    return page


def in_notebook(recording: Recording | KernelSteps, lang: str = "en") -> str:
    """The page inside a frame, which keeps its styles and keys apart from the notebook's; `lang` as above."""
    page = html.escape(to_html(recording, lang=lang))
    name = html.escape(_titles(recording, None)[lang])
    return (f'<iframe title="{name}" sandbox="allow-scripts" width="100%" height="{NOTEBOOK_HEIGHT}" '
            f'style="border: 1px solid #8886; border-radius: 8px" srcdoc="{page}"></iframe>')


def _page(recording: Recording | KernelSteps, title: str | None, lang: str) -> str:
    titles = _titles(recording, title)
    picture, json_ = "", {"title": titles}
    if isinstance(recording, KernelSteps):
        json_ |= KernelData(recording).json
        script = _script("kernels")
    else:
        data = Data(recording)
        json_ |= data.json
        picture, script = svg(recording, data.titles), _script("engine")
    style = _asset("page.css")
    parts = {
        "lang": "zh-CN" if lang == "zh" else "en",
        "policy": f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
                  "img-src data:; base-uri 'none'; form-action 'none'",
        "title": html.escape(titles[lang]),
        "style": style,
        "graph": picture,
        "data": _json(json_),
        "script": script,
    }
    # One pass, so that nothing is looked for inside what was put in.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset("page.html"))


def _titles(recording: Recording | KernelSteps, title: str | None) -> dict[str, str]:
    if isinstance(recording, KernelSteps):
        row, name = None, recording.title
    else:
        row = equation_of(recording.function)
        name = getattr(recording.function, "__name__", type(recording.function).__name__)
    return {"en": title or (row.title if row else name), "zh": title or (row.title_zh if row else name)}


def _json(data: dict[str, Any]) -> str:
    """JSON that cannot end the <script> that it stands in."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _hash(text: str) -> str:
    """What a content security policy knows an inline script or style by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@functools.cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


@functools.cache
def _script(kind: str) -> str:
    names = (*SCRIPTS[0], *SPECIAL[kind], *SCRIPTS[1])
    parts = "\n".join(_asset(f"{name}.js") for name in names)
    return f'(() => {{\n"use strict";\n{parts}\n}})();\n'
