"""`python -m minillm.course.site`: build the site; `make site` calls it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from minillm.errors import UserError

from .build import build_site


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m minillm.course.site",
                                     description="Run all lessons and build them to static pages.")
    parser.add_argument("--out", type=Path, default=Path("site"), help="folder to write (default: site)")
    parser.add_argument("--lessons", type=Path, help="folder of lessons (default: the package's)")
    parser.add_argument("only", nargs="*", help="lessons to build, such as 01 or 04_adam (default: all)")
    options = parser.parse_args()
    try:
        built = build_site(options.out, lessons=options.lessons, only=options.only, say=print)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(built)} lessons in two languages: open {options.out}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
