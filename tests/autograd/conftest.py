"""Lets the tests of this folder import its helpers `rule_checks` and `rule_rows`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
