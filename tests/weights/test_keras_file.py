"""Keras's files: what is read, what is written, and archives and configs that lie."""

import io
import json
import os
import tracemalloc
import zipfile

import numpy as np
import pytest

from minillm.errors import UserError
from minillm.weights.keras_file import KerasFile, write_model, write_weights

h5py = pytest.importorskip("h5py")

LAYERS = {"dense": {"vars/0": np.arange(6, dtype="f4").reshape(2, 3), "vars/1": np.ones(3, "f8")},
          "dropout": {},
          "lstm_1": {f"cell/vars/{i}": np.full(i + 1, i, "f4") for i in range(12)}}
CONFIG = {"class_name": "Sequential", "config": {"layers": []}}


def hdf5(fill):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    return buffer.getvalue()


def archive(members, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as z:
        for name, data in members.items():
            z.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.keras"


def opened(path, data):
    path.unlink(missing_ok=True)  # never in place: an older map may be alive
    path.write_bytes(data)
    return KerasFile(path)


def weights(tmp_path):
    write_weights(tmp_path / "w.weights.h5", LAYERS)
    return (tmp_path / "w.weights.h5").read_bytes()


def check_layers(file):
    wanted = {layer: [f"layers/{layer}/{name}" for name in arrays] for layer, arrays in LAYERS.items()}
    assert file.layers == wanted  # lists: 10 comes behind 9
    for layer, arrays in LAYERS.items():
        for name, a in arrays.items():
            found = file.read(f"layers/{layer}/{name}", None)
            assert found.dtype == a.dtype
            assert found.tobytes() == a.tobytes()
    assert file.read("layers/dense/vars/1").dtype == np.float32


def test_what_is_written_is_read(tmp_path, path):
    weights(tmp_path)
    file = KerasFile(tmp_path / "w.weights.h5")
    check_layers(file)
    assert (file.config, file.legacy) == (None, False)
    write_model(path, CONFIG, LAYERS)
    file = KerasFile(path)
    check_layers(file)
    assert file.config == CONFIG
    assert repr(file) == f"KerasFile({str(path)!r}, 14 tensors)"
    first = path.read_bytes()
    write_model(path, CONFIG, LAYERS)
    assert path.read_bytes() == first
    with zipfile.ZipFile(path) as z:
        assert {info.date_time[0] for info in z.infolist()} == {1980}  # no clock
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.keras", "w.weights.h5"]  # nothing left beside


def test_a_packed_archive_is_read(tmp_path, path):
    data = {"config.json": json.dumps(CONFIG), "model.weights.h5": weights(tmp_path)}
    check_layers(opened(path, archive(data, compression=zipfile.ZIP_DEFLATED)))


def test_the_state_of_a_random_generator_is_no_weight(tmp_path):
    layers = {"dropout": {"seed_generator/vars/0": np.zeros(2, "u4")}, "dense": {"vars/0": np.ones(2, "f4")}}
    write_weights(tmp_path / "w.weights.h5", layers)
    assert KerasFile(tmp_path / "w.weights.h5").layers == {"dense": ["layers/dense/vars/0"], "dropout": []}


def legacy(file, root="model_weights/", order=("b", "a"), names=("b/kernel:0", "b/bias:0")):
    if root:
        file.attrs["model_config"] = json.dumps(CONFIG).encode()
    file[f"{root}b/b/bias:0"], file[f"{root}b/b/kernel:0"] = np.ones(2, "f4"), np.zeros((1, 2), "f4")
    file.create_group(f"{root}a").attrs["weight_names"] = np.zeros(0, "S1")
    file[f"{root}b"].attrs["weight_names"] = [name.encode() for name in names]
    file[root or "/"].attrs["layer_names"] = [name.encode() for name in order]


@pytest.mark.parametrize("root", ["model_weights/", ""])
def test_keras_2(path, root):
    file = opened(path, hdf5(lambda f: legacy(f, root)))
    assert file.legacy
    assert list(file.layers.items()) == [("b", [f"{root}b/b/kernel:0", f"{root}b/b/bias:0"]), ("a", [])]
    assert (file.read(f"{root}b/b/bias:0") == 1).all()
    assert file.config == (CONFIG if root else None)


def refused(path, data, line):
    """One line that names the file, and no more memory than a little beyond what is there."""
    tracemalloc.start()
    with pytest.raises(UserError) as caught:
        opened(path, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    text = str(caught.value)
    assert line in text
    assert "\n" not in text
    assert repr(str(path)) in text
    assert peak < (1 << 20) + 20 * len(data)


@pytest.mark.parametrize(("fill", "line"), [
    (lambda f: f.create_group("other"), 'neither a group "layers" nor the attribute "layer_names"'),
    (lambda f: legacy(f, order="bb"), "its layer 'b' has no weight_names, or is there twice"),
    (lambda f: legacy(f, order="bac"), "its layer 'c' has no weight_names"),
    (lambda f: legacy(f, names=["b/kernal:0"]), "has no tensor 'model_weights/b/b/kernal:0'"),
    (lambda f: (legacy(f), f.attrs.__setitem__("model_config", "{")), "its config is no JSON"),
    (lambda f: (legacy(f), f.attrs.__setitem__("model_config", "[]")), "its config is no JSON object"),
])
def test_hdf5_that_is_not_keras(path, fill, line):
    refused(path, hdf5(fill), line)


def test_archives_that_lie(tmp_path, path):
    good = {"config.json": json.dumps(CONFIG), "model.weights.h5": weights(tmp_path)}
    refused(path, archive(good)[:-30], "damaged or cut short: as a zip archive")
    refused(path, b"PK\x03\x04", "damaged or cut short: as a zip archive")
    refused(path, b"\x89HDF", "holds no HDF5, or is cut short")
    refused(path, b"text", "holds no HDF5, or is cut short")
    refused(path, b"", "is empty")
    for name in ("../x", "a/../../x", "/x", "c:x", "a\\x"):
        refused(path, archive(good | {name: ""}), "which leads out of it")
    refused(path, archive({"config.json": "{}"}), "without model.weights.h5")
    refused(path, archive({"model.weights.h5": ""}), "without config.json")
    refused(path, archive(good | {"config.json": "["}), "its config is no JSON")
    refused(path, archive(good | {"config.json": "[" * 100_000}), "nested too deeply")
    refused(path, archive(good | {"config.json": "[]"}), "its config is no JSON object")
    refused(path, archive(good | {"config.json": b"\xff"}), "its config is no JSON")
    refused(path, archive(good | {"model.weights.h5": "PK"}), "holds no HDF5")
    refused(path, archive(good, compression=zipfile.ZIP_LZMA), "packed in a way that Keras does not use")
    twice = archive(good | {"config.jsoM": "{}"}).replace(b"config.jsoM", b"config.json")
    refused(path, twice, "two of its members have one name")


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_a_bomb_is_refused_before_it_is_unpacked(path, name):
    bomb = archive({"config.json": "{}", "model.weights.h5": "", name: b" " * (64 << 20)},
                   compression=zipfile.ZIP_DEFLATED)
    refused(path, bomb, f"{name} claims {64 << 20} bytes, more than the")
    lying = bytearray(bomb)  # the directory claims 100 bytes, the data go on
    at = lying.rindex(b"PK\x01\x02", 0, lying.rindex(name.encode()))
    lying[at + 24 : at + 28] = (100).to_bytes(4, "little")
    refused(path, bytes(lying), "damaged or cut short")


def test_a_stored_member_that_claims_more_than_there_is(tmp_path, path):
    data = bytearray(archive({"config.json": "{}", "model.weights.h5": weights(tmp_path)}))
    at = data.rindex(b"PK\x01\x02")
    for field in (20, 24):  # packed and unpacked size
        data[at + field : at + field + 4] = (10 * len(data)).to_bytes(4, "little")
    refused(path, bytes(data), "damaged or cut short")


def test_paths(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        KerasFile(tmp_path / "none.keras")
    with pytest.raises(UserError, match="is not a file"):
        KerasFile(tmp_path)
    with pytest.raises(UserError, match=r"does not end in \.weights\.h5: Keras would not read it$"):
        write_weights(tmp_path / "w.h5", LAYERS)
    with pytest.raises(UserError, match=r"does not end in \.keras: Keras would not read it$"):
        write_model(tmp_path / "w.zip", CONFIG, LAYERS)
    with pytest.raises(UserError, match=r"^cannot write .*there is no folder .*none"):
        write_weights(tmp_path / "none" / "w.weights.h5", LAYERS)
    (tmp_path / "d.keras").mkdir()
    with pytest.raises(UserError, match=r"^cannot write .*d\.keras"):
        write_model(tmp_path / "d.keras", CONFIG, LAYERS)
    assert os.listdir(tmp_path) == ["d.keras"]


def test_names_and_dtypes(tmp_path):
    weights(tmp_path)
    file = KerasFile(tmp_path / "w.weights.h5")
    with pytest.raises(UserError, match="close are 'layers/dense/vars/0'"):
        file.read("layers/dense/vars/00")
    with pytest.raises(TypeError, match="dtype is int64"):
        file.read("layers/dense/vars/0", np.int64)


def test_without_h5py_reading_works_and_writing_says_what_to_install(tmp_path, monkeypatch):
    weights(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    check_layers(KerasFile(tmp_path / "w.weights.h5"))
    with pytest.raises(UserError, match=r"^writing Keras's weights needs h5py: pip install h5py$"):
        weights(tmp_path)
