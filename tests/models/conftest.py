"""What the transformers are compared with."""

import os

import pytest


@pytest.fixture(scope="module")
def transformers():
    try:
        import transformers
    except ImportError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no transformers: pip install transformers")
    return transformers
