"""Figures as bytes, and what a notebook shows."""

from __future__ import annotations

import base64
import html
import importlib
import io
import sys
from dataclasses import dataclass
from typing import Any


def image(fig: Any, kind: str) -> bytes:
    """A figure's bytes, the same on every run."""
    import matplotlib

    data = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "minillm", "svg.fonttype": "path"}):
        fig.savefig(data, format=kind, dpi=110, bbox_inches="tight",
                    metadata={"Date": None} if kind == "svg" else {"Software": None})
    return data.getvalue()


def close(fig: Any) -> None:
    """Forget a figure: pyplot keeps each until then."""
    import matplotlib.pyplot as plt

    plt.close(fig)


def notebook_display() -> Any:
    """IPython's `display` inside a notebook, else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return importlib.import_module("IPython.display").display


def img(png: bytes, alt: str) -> str:
    """A picture as HTML that holds it."""
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


@dataclass
class Html:
    """What a notebook shows as HTML."""

    text: str

    def _repr_html_(self) -> str:
        return self.text
