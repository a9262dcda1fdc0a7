"""Keras itself, on its torch backend, to compare with; without it those tests are skipped."""

from __future__ import annotations

import os
import warnings
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def keras() -> ModuleType:
    os.environ["KERAS_BACKEND"] = "torch"  # Keras reads it when it is imported, so it is set before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("keras", exc_type=ImportError)
    if module.backend.backend() != "torch":
        pytest.skip(f"Keras is already imported, with backend {module.backend.backend()}")
    return module
