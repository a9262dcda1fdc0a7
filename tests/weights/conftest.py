"""Lets the tests of this folder import their helper, `weight_writers.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
