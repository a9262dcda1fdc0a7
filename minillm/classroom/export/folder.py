"""The folder that results are written into."""

from __future__ import annotations

from pathlib import Path

from minillm.errors import UserError
from minillm.files import cannot_write


def make_folder(path: Path) -> Path:
    """Make a folder with those above it, if it is not there.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(cannot_write(path, error)) from None
    return path
