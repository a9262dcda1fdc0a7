"""The HDF5 reader against h5py: the same arrays and texts, and one line for whatever Keras does not write."""

import io
import random
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minillm.errors import UserError
from minillm.weights.hdf5 import HDF5

h5py = pytest.importorskip("h5py")

DTYPES = [f"{order}{kind}{size}" for order in "<>" for kind in "fiu" for size in (2, 4, 8)]
DTYPES += ["i1", "u1"]
names = st.text(st.characters(codec="ascii", exclude_characters="/\0"), min_size=1, max_size=6)
names = names.filter(lambda name: name not in (".", ".."))
arrays = hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))


def written(fill, **options):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        fill(file)
    return buffer.getvalue()


def arrays_of(data):
    return {name: np.frombuffer(data[t.offset : t.offset + t.n_bytes], t.type).reshape(t.shape)
            for name, t in HDF5(data, "'w'").tensors.items()}


@settings(max_examples=40)
@given(st.dictionaries(st.lists(names, min_size=1, max_size=3).map("/".join), arrays, max_size=5))
def test_what_h5py_writes(tensors):
    clash = [a for a in tensors for b in tensors if b.startswith(a + "/")]
    tensors = {name: a for name, a in tensors.items() if name not in clash}

    def fill(file):
        for name, a in tensors.items():
            file[name] = a

    found = arrays_of(written(fill))
    assert found.keys() == tensors.keys()
    for name, a in tensors.items():
        assert (found[name].dtype, found[name].shape) == (a.dtype, a.shape)
        assert found[name].tobytes() == a.tobytes()


def test_many_members_and_long_headers():
    """A tree of several levels, and attributes that continue an object header elsewhere."""
    def fill(file):
        for i in range(1500):
            file[f"g/{i}"] = np.float32(i)
        for i in range(60):
            file["g"].attrs[f"a{i}"] = "text " * i

    data = written(fill)
    found, file = arrays_of(data), HDF5(data, "'w'")
    assert {name: int(a) for name, a in found.items()} == {f"g/{i}": i for i in range(1500)}
    assert [file.strings("g", f"a{i}") for i in range(60)] == [["text " * i] for i in range(60)]


@pytest.mark.parametrize("value", [["a", "bcd", ""], [], ["é 模型"], ["x" * 10_000, "y"]])
def test_texts(value):
    def fill(file):
        group = file.create_group("g")
        group.attrs["some"] = np.array(value, dtype=h5py.string_dtype())
        group.attrs["one"] = "".join(value)
        group.attrs["nämlich"] = "".join(value)
        if value:
            group.attrs["fixed"] = np.array([v.encode() for v in value])  # as Keras 2 wrote them

    file = HDF5(written(fill), "'w'")
    assert file.groups == ["", "g"]
    assert file.strings("g", "some") == value
    assert file.strings("g", "one") == file.strings("g", "nämlich") == ["".join(value)]
    assert file.strings("g", "fixed") == (value or None)
    assert file.strings("g", "none") is None
    assert file.strings("", "some") is None


def link(file):
    file["a"] = h5py.ExternalLink("other.h5", "/x")


def soft(file):
    file["b"], file["a"] = np.zeros(1), h5py.SoftLink("/b")


def cycle(file):
    file.create_group("a")
    file["a/b"] = file["a"]


def twice(file):
    file["a"] = np.zeros(3)
    file["b"] = file["a"]


def deep(file):
    file["/".join("a" * 40)] = np.zeros(1)


def outside(file):
    file.create_dataset("a", (4,), "f4", external=[("other.bin", 0, 16)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("a", layout)


def compact(file):
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.COMPACT)
    h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), plan)


def no_text(file):
    file.attrs["t"] = 3


FOREIGN = [
    (lambda f: f.create_dataset("a", (10_000,), "f4", compression="gzip"), "'a' has compressed data, unlike"),
    (lambda f: f.create_dataset("a", (10**12,), "f4", chunks=(1000,)), "'a' has data not in one piece"),
    (compact, "'a' has data not in one piece"),
    (lambda f: f.create_dataset("a", (10**9,), "f4"), "'a' of shape '(1000000000,)' takes 4000000000 bytes"),
    (lambda f: f.create_dataset("a", (0, 2**40, 2**40), "f4"), "larger than any array"),
    (outside, "'a' has data in other files"),
    (virtual, "'a' has"),
    (link, "'w'"),
    (soft, "the group '' has a link, which is not followed"),
    (cycle, "or twice the same"),
    (twice, "or twice the same"),
    (deep, "lies too deep"),
    (lambda f: f.create_dataset("a", data="text"), "'a' holds neither floats nor integers"),
    (lambda f: f.create_dataset("a", data=np.zeros(2, bool)), "'a' holds neither floats nor integers"),
    (lambda f: f.create_dataset("a", data=np.zeros(2, complex)), "'a' holds neither floats nor integers"),
    (lambda f: f.create_dataset("a", data=np.zeros(2, "V2")), "'a' holds neither floats nor integers"),
    (lambda f: f.create_dataset("a", data=h5py.Empty("f4")), "'a'"),
    (lambda f: f.create_group("a" * 1001), "lies too deep"),
    (lambda f: f.create_group("模型"), "links of later HDF5"),
]


@pytest.mark.parametrize(("fill", "line"), FOREIGN)
def test_what_keras_does_not_write_gets_one_line(fill, line):
    with pytest.raises(UserError) as caught:
        HDF5(written(fill), "'w'")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"libver": "latest"}, {"track_order": True}, {"userblock_size": 512}])
def test_later_hdf5_gets_one_line(options):
    with pytest.raises(UserError, match=r"^'w'.* (unlike a file of Keras's|holds no HDF5)"):
        HDF5(written(lambda f: f.create_dataset("a", (3,), "f4", data=np.zeros(3)), **options), "'w'")


def test_an_attribute_that_is_no_text():
    with pytest.raises(UserError, match="^'w' is damaged: the attribute 't' is no text$"):
        HDF5(written(no_text), "'w'").strings("", "t")


def some(file):
    file["layers/dense/vars/0"] = np.arange(6, dtype="f4").reshape(2, 3)
    file["layers/dense/vars/1"] = np.zeros(3, "f4")
    file["layers/dense"].attrs["weight_names"] = ["kernel", "bias"]
    file.attrs["model_config"] = "{}"


def read_whole(data):
    file = HDF5(data, "'w'")
    assert file.strings("layers/dense", "weight_names") in (["kernel", "bias"], None)
    return file, file.strings("", "model_config")


def test_every_cut_is_noticed():
    data = written(some)
    file, _ = read_whole(data)
    used = max(len(data.rstrip(b"\0")), *(t.offset + t.n_bytes for t in file.tensors.values()))
    for end in range(0, used, 23):
        with pytest.raises(UserError, match="cut short"):
            read_whole(data[:end])


def patched(data, old, new, count=1):
    assert data.count(old) == count
    assert len(old) == len(new)
    return data.replace(old, new)


def test_headers_that_overlap_do_not_multiply():
    """Eight headers that all continue in the same 65,000 empty messages: long files could have 10^10."""
    addresses = []

    def fill(file):
        for i in range(8):
            addresses.append(h5py.h5o.get_info(file.create_group(str(i)).id).addr)

    data = bytearray(written(fill))
    empty = len(data)
    data += bytes(8 * 65_100)
    for i, address in enumerate(addresses):
        struct.pack_into("<H", data, address + 2, 65_000)
        data += data[address + 16 : address + 40]  # the group's own message, now behind the empty ones
        data += struct.pack("<HH4xQQ", 0x10, 16, empty + 8 * i, 8 * 65_000)
        struct.pack_into("<HH4xQQ", data, address + 16, 0x10, 16, len(data) - 48, 48)
    with pytest.raises(UserError, match="its HDF5 has more parts than fit into it"):
        HDF5(bytes(data), "'w'")


def test_texts_that_lie():
    def fill(file):
        file.attrs["long"] = np.array(["x" * 1000, *["y" * 8] * 200], dtype=h5py.string_dtype())
        file.attrs["fixed"] = np.array([b"abc"] * 3)

    data = written(fill)
    at = data.index(struct.pack("<I", 1000))
    same = bytearray(data)
    for i in range(201):  # all texts are the first: 200,000 bytes of a file of fewer
        same[at + 16 * i : at + 16 * i + 16] = data[at : at + 16]
    with pytest.raises(UserError, match="the attribute 'long' is longer than the file"):
        HDF5(bytes(same), "'w'").strings("", "long")
    longer = bytearray(data)
    for i in range(1, 201):
        struct.pack_into("<I", longer, at + 16 * i, 9)  # of 8, then the next begins
    assert HDF5(bytes(longer), "'w'").strings("", "long") == ["x" * 1000, *["y" * 8] * 200]
    nothing = patched(data, b"\x13\x01\0\0\x03\0\0\0", b"\x13\x01\0\0\0\0\0\0")
    with pytest.raises(UserError, match="the attribute 'fixed' is no text"):
        HDF5(nothing, "'w'").strings("", "fixed")


def test_arrays_and_names_that_are_there_twice():
    def fill(file):
        file["a"], file["b"] = np.full(3, 1, "f4"), np.full(3, 2, "f4")

    data = written(fill)
    a, b = (HDF5(data, "'w'").tensors[name].offset for name in "ab")
    with pytest.raises(UserError, match="overlaps"):
        HDF5(patched(data, struct.pack("<QQ", b, 12), struct.pack("<QQ", a, 12)), "'w'")
    with pytest.raises(UserError, match="has a member named 'a', or two"):
        HDF5(patched(data, b"a" + bytes(7) + b"b" + bytes(7), b"a" + bytes(7) + b"a" + bytes(7)), "'w'")


@pytest.mark.parametrize(("seed", "files"), [*((seed, 400) for seed in range(4)),
                                             pytest.param(4, 10_000, marks=pytest.mark.slow)])
def test_mutated_files_are_read_or_refused(seed, files):
    """Nothing but UserError comes out, soon, and the memory stays in proportion."""
    draw, whole, read, lines = random.Random(seed), written(some), 0, 0
    used = [i for i, byte in enumerate(whole) if byte]  # most of the file is empty room
    for _ in range(files):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            data[draw.choice(used)] = draw.choice([0, 1, 0x7F, 0xFF, draw.randrange(256)])
        tracemalloc.start()
        try:
            file = HDF5(bytes(data), "'w'")
            file.strings("layers/dense", "weight_names")
            file.strings("", "model_config")
            assert all(t.offset + t.n_bytes <= len(data) for t in file.tensors.values())
            read += 1
        except UserError as error:
            lines = str(error).count("\n")
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert (lines, peak < 64 * len(data)) == (0, True)
    assert read > 10
