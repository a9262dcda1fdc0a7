"""Archives that are the same bytes for the same content: sorted names, one date, plain permissions."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Mapping

import numpy as np

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold


def archive(files: Mapping[str, bytes], executable: Collection[str] = (),
            private: Collection[str] = (), *, in_order: bool = False) -> bytes:
    """A zip file.

    Args:
        files: path in the archive, with slashes -> content.
        executable: those that may be run.
        private: those that only their owner may read.
        in_order: as given, not sorted by name.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as zipped:
        for name in files if in_order else sorted(files):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = 3  # Unix: there the permissions count
            mode = 0o755 if name in executable else 0o600 if name in private else 0o644
            info.external_attr = (0o100000 | mode) << 16
            zipped.writestr(info, files[name], zipfile.ZIP_DEFLATED, 9)
    return out.getvalue()


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """What `np.load(..., allow_pickle=False)` reads.

    Args:
        arrays: name -> array of numbers; they keep their order.
    """
    files = {}
    for name, array in arrays.items():
        out = io.BytesIO()
        np.lib.format.write_array(out, np.asarray(array), allow_pickle=False)
        files[f"{name}.npy"] = out.getvalue()
    return archive(files, in_order=True)
