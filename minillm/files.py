"""Files that are written whole or not at all."""

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from minillm.errors import UserError

_DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def write_atomically(path: str | os.PathLike[str], data: bytes, *, flush: bool = True) -> None:
    """Make `data` the content of `path`: wholly, or (killed, full disk) not at all.

    A temporary file in the same folder is written and flushed to the disk; renaming it over `path`
    is the one step that counts; then the folder is flushed, so that the rename outlives a power
    cut too. A temporary file that an earlier, killed write left behind is removed first.

    Args:
        path: the file; its folder exists.
        data: the whole content.
        flush: False for what can be made again: a kill still leaves old or new, a power cut may not.

    Raises:
        UserError: the system refuses; the temporary file is removed.
    """
    path = Path(path)
    prefix, suffix = f".{path.name}.", ".tmp"
    temporary = path.with_name(f"{prefix}{os.getpid()}-{secrets.token_hex(4)}{suffix}")
    try:
        for entry in path.parent.iterdir():
            if entry.name.startswith(prefix) and entry.name.endswith(suffix):
                entry.unlink(missing_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                if flush:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:  # Ctrl-C too
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise UserError(cannot_write(path, error)) from error
    if flush and os.name != "nt":  # Windows has no way to flush a folder
        with suppress(OSError):  # some file systems refuse it; the content is in place already
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def cannot_write(path: Path, error: OSError) -> str:
    """One line on why `path` cannot be written and what to do."""
    shown = repr(str(path))
    if error.errno in _DISK_FULL:
        return (
            f"the disk is full, {shown} was not written (what it held is intact): free some space,"
            " then run again"
        )
    if error.errno == errno.ENOENT:
        return f"cannot write {shown}: there is no folder {str(path.parent)!r}; make it first"
    return f"cannot write {shown} ({error.strerror or error}): check the folder and its permissions"
