"""Models, and how to load one."""

from __future__ import annotations

from ._names import only
from .model import Sequential
from .saving import load_model

__all__ = ["Sequential", "load_model"]
__getattr__ = only(__name__, __all__)
