"""Entry of the worker process: `python worker.py SETUP REQUESTS REPLIES CONTROL`; it holds nothing secret.

SETUP is a JSON file, the others are descriptors. It needs the standard library, NumPy and the files beside
it.
"""

import sys
from types import ModuleType

if __name__ == "__main__":
    # The folder as a package, without the grader's __init__.py and the rest of minillm.
    package = ModuleType("sandbox")
    package.__path__ = [__file__.rpartition("/")[0] or "."]
    sys.modules["sandbox"] = package
    from sandbox.keeper import main  # type: ignore[import-not-found]

    main(sys.argv[1], *map(int, sys.argv[2:5]))
