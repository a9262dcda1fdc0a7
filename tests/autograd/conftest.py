"""Lets the tests of this folder import its helpers, `rule_*.py` and `rows_*.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
