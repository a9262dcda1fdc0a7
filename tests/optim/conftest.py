"""Lets the tests of this folder import the stand-in for CuPy's arrays."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "autograd"))
