"""Keras's weights: Keras 3's `.weights.h5` and `.keras`, Keras 2's `.h5`.

`.weights.h5` (keras/src/saving/saving_lib.py) names a layer by its class and a count, whatever its
own name is; each group of variables has them under the names 0, 1, ...

    layers/embedding/vars/0   layers/lstm/cell/vars/0, 1, 2   layers/dense_1/vars/0, 1   optimizer/...

`.keras` is a zip archive of config.json, metadata.json and model.weights.h5. A Keras 2 file keeps its
order in attributes: `layer_names` of the whole, `weight_names` of each layer, `model_config` as JSON.

HDF5 is read by `hdf5.py`, from untrusted files too, and written by h5py, which is an optional package.
Nothing is unpickled, and no code that a config may hold is run.
"""

from __future__ import annotations

import importlib
import io
import json
import mmap
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minillm.errors import UserError
from minillm.files import write_atomically
from minillm.weights.hdf5 import HDF5
from minillm.weights.mapped_file import TensorInfo, display, find, float_dtype, map_file, shown

_WEIGHTS, _CONFIG, _METADATA = "model.weights.h5", "config.json", "metadata.json"
_MAX_CONFIG = 16 << 20  # bytes of JSON; the config of a layer takes about a thousand
_UNPACKED = 20  # times the archive's length that a member may take; weights hardly shrink, JSON does


class KerasFile:
    """A file of Keras's, opened: its tensors' places, and its model's config if it has one.

    path: `.weights.h5`, `.keras`, or a `.h5` of Keras 2 (told by content, not by name).

    tensors: name in the HDF5 file -> TensorInfo; `type` is NumPy's, such as "<f4".
    layers: name of a layer's group -> its tensors' names, in the order of Keras's `get_weights`. In a
        Keras 2 file the layers stand in the model's order and under their own names.
    config: the model's configuration (`class_name`, `config`, ...), or None.
    legacy: whether the layout is Keras 2's.

    Memory: of a `.keras` archive at most 20 times its length; otherwise the headers, as the weights are
    mapped and read when they are asked for.

    Raises UserError, in one line that says what is wrong: a missing, unreadable, damaged or foreign
    file, and tensors that are no plain arrays of numbers.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._shown = display(path)
        self.tensors: dict[str, TensorInfo] = {}
        self.layers: dict[str, list[str]] = {}
        self.config: dict[str, Any] | None = None
        self.legacy = False
        self._data: mmap.mmap | bytes = map_file(path, "Keras weight")
        if self._data[:4] == b"PK\x03\x04":
            self.config, self._data = _unzipped(Path(path), len(self._data), self._shown)
        file = HDF5(self._data, self._shown)
        self.tensors = file.tensors
        root = "model_weights" if "model_weights" in file.groups else ""
        order = file.strings(root, "layer_names")
        self.legacy = order is not None
        if order is not None:
            self._open_legacy(file, root, order)
            return
        if "layers" not in file.groups:
            raise UserError(f"{self._shown} is HDF5 but no Keras weight file: it has neither a group"
                            " \"layers\" nor the attribute \"layer_names\"")
        for group in file.groups:
            if group.startswith("layers/") and group.count("/") == 1:
                self.layers[group.partition("/")[2]] = []
        for name in sorted(self.tensors, key=_order):
            top, _, rest = name.partition("/")
            # a random generator's state is no weight
            if top == "layers" and "/vars/" in rest and "seed_generator" not in rest:
                self.layers[rest.partition("/")[0]].append(name)

    def _open_legacy(self, file: HDF5, root: str, order: list[str]) -> None:
        for layer in order:
            group = f"{root}/{layer}".lstrip("/")
            names = file.strings(group, "weight_names")
            if names is None or layer in self.layers:
                raise UserError(f"{self._shown} is damaged: its layer {shown(layer)} has no weight_names, or"
                                " is there twice")
            self.layers[layer] = [f"{group}/{name}" for name in names]
            for name in self.layers[layer]:
                find(self.tensors, name, self._shown)
        config = file.strings("", "model_config")
        if config:
            self.config = _parse(config[0], self._shown)

    def read(self, name: str, dtype: DTypeLike | None = np.float32) -> NDArray[Any]:
        """A tensor as a new array of its shape.

        dtype: a floating type; what lies beyond its range becomes infinite. None keeps the stored type.

        Raises UserError for a name that the file has not, TypeError for another dtype.
        """
        info = find(self.tensors, name, self._shown)
        stored = np.frombuffer(self._data, np.uint8)[info.offset : info.offset + info.n_bytes]
        values = stored.view(info.type).reshape(info.shape)
        wanted = values.dtype.newbyteorder("=") if dtype is None else float_dtype(dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(wanted)

    def __repr__(self) -> str:
        return f"KerasFile({self._shown}, {len(self.tensors)} tensors)"


def write_weights(path: str | os.PathLike[str], layers: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
    """Write a `.weights.h5` that Keras 3's `load_weights` takes.

    path: replaced in one step if it is there. Keras wants a name that ends in `.weights.h5`.
    layers: group of the layer, such as "lstm_1" -> variable, such as "cell/vars/0" -> array.

    Raises UserError: another ending, no h5py, or a path that cannot be written.
    """
    if not os.fspath(path).endswith(".weights.h5"):
        raise UserError(f"{display(path)} does not end in .weights.h5: Keras would not read it")
    write_atomically(path, _hdf5(layers))


def write_model(path: str | os.PathLike[str], config: Mapping[str, Any],
                layers: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
    """Write a `.keras` archive that Keras 3's `load_model` takes: the same bytes for the same model.

    config: what goes into config.json. path, layers: as for `write_weights`, but ending in `.keras`.

    Raises UserError: as `write_weights`.
    """
    if not os.fspath(path).endswith(".keras"):
        raise UserError(f"{display(path)} does not end in .keras: Keras would not read it")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        for name, data in ((_METADATA, json.dumps({"keras_version": "3.8.0", "written_by": "minillm"})),
                           (_CONFIG, json.dumps(config)), (_WEIGHTS, _hdf5(layers))):
            z.writestr(zipfile.ZipInfo(name), data)  # a ZipInfo of 1980: no clock in the file
    write_atomically(path, archive.getvalue())


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")  # so named, it needs no type stubs either
    except ImportError:
        raise UserError("writing Keras's weights needs h5py: pip install h5py") from None


def _order(name: str) -> tuple[list[str], int]:
    """A layer's own variables before those of its parts, each group's by number."""
    *groups, last = name.split("/")
    return ["" if g == "vars" else g for g in groups], int(last) if last.isdecimal() and last.isascii() else 0


def _unzipped(path: Path, size: int, where: str) -> tuple[dict[str, Any], bytes]:
    """The config and the bytes of the weights in a `.keras` archive of `size` bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for name in names:
                # nothing is unpacked to disk; a name like this is a sign of tampering all the same
                if name.startswith("/") or any(c in name for c in "\\:\0") or ".." in name.split("/"):
                    raise UserError(f"{where} holds a member named {shown(name)}, which leads out of it:"
                                    " get the file again from where you trust it")
            if len(set(names)) != len(names):
                raise UserError(f"{where} is damaged: two of its members have one name")
            config = _member(archive, _CONFIG, min(_MAX_CONFIG, _UNPACKED * size), where)
            return _parse(config, where), _member(archive, _WEIGHTS, _UNPACKED * size, where)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        # RuntimeError: encrypted, or (NotImplementedError) packed in a way that zipfile does not know
        raise UserError(f"{where} is damaged or cut short: as a zip archive, {shown(str(error))}") from None


def _member(archive: zipfile.ZipFile, name: str, limit: int, where: str) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise UserError(f"{where} is a zip archive without {name}: name a file that Keras's model.save"
                        " wrote") from None
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{where}: {name} is packed in a way that Keras does not use: save the model again")
    if info.file_size > limit:
        raise UserError(f"{where}: {name} claims {info.file_size} bytes, more than the {limit} allowed for"
                        " an archive of this length: save the model again with Keras")
    with archive.open(info) as file:
        data = file.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise UserError(f"{where} is damaged: {name} has {len(data)} bytes and claims {info.file_size}")
    return data


def _parse(text: str | bytes, where: str) -> dict[str, Any]:
    """The JSON object of a model's configuration."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise UserError(f"{where} is damaged: its config is nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{where} is damaged: its config is no JSON ({shown(str(error))})") from None
    if not isinstance(value, dict):
        raise UserError(f"{where} is damaged: its config is no JSON object")
    return value


def _hdf5(layers: Mapping[str, Mapping[str, NDArray[Any]]]) -> bytes:
    buffer = io.BytesIO()
    with _h5py().File(buffer, "w") as file:
        file.create_group("vars")  # the model's own variables: none
        for layer, variables in layers.items():
            file.create_group(f"layers/{layer}/vars")
            for name, array in variables.items():
                file[f"layers/{layer}/{name}"] = array
    return buffer.getvalue()
