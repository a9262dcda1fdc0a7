"""Files that are written whole or not at all."""

import errno
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from minillm.errors import UserError

_DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def write_atomically(path: str | os.PathLike[str], data: bytes, *, flush: bool = True) -> None:
    """Make `data` the content of `path`: wholly, or (killed, full disk) not at all.

    A temporary file in the same folder is written and flushed to the disk; renaming it over `path`
    is the one step that counts; then the folder is flushed, so that the rename outlives a power
    cut too. A temporary file that an earlier, killed write left behind is removed first, unless `flush` is
    False. A file that is there keeps its mode; a symbolic link stays one, and its target is replaced.

    Args:
        path: the file; its folder exists.
        data: the whole content.
        flush: False for what can be made again: a kill still leaves old or new, a power cut may not.

    Raises:
        UserError: the system refuses; the temporary file is removed.
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        if flush:
            _tidy(path)
        try:
            with open(temporary, "xb") as file:
                with suppress(FileNotFoundError):
                    os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
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


def _tidy(path: Path) -> None:
    """Remove what writes of this very file left behind when they were killed."""
    left = re.compile(rf"\.{re.escape(path.name)}\.(\d+)-[0-9a-f]{{8}}\.tmp")
    for name in os.listdir(path.parent):
        if (found := left.fullmatch(name)) and not _alive(int(found[1])):
            with suppress(OSError):
                (path.parent / name).unlink()


def _alive(pid: int) -> bool:
    """Whether there is such a process: it may be writing still."""
    if os.name == "nt":  # there a signal of 0 would end it; a file that is open cannot be removed anyway
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def cannot_write(path: Path, error: OSError) -> str:
    """One line on why `path` cannot be written and what to do."""
    shown = repr(str(path))
    if error.errno in _DISK_FULL:
        return (
            f"the disk is full, {shown} was not written (what it held is intact): free some space,"
            " then run again"
        )
    if error.errno == errno.ENOENT and not path.parent.exists():
        return f"cannot write {shown}: there is no folder {str(path.parent)!r}; make it first"
    return f"cannot write {shown} ({error.strerror or error}): check the folder and its permissions"
