"""safetensors: files that the package writes, folders with an index, and files that lie."""

import json
import struct
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from weight_writers import safetensors as written

from minillm.errors import UserError
from minillm.weights import Safetensors

DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8"]
DTYPES += ["uint64", "uint32", "uint16", "uint8", "bool"]
any_array = hnp.arrays(
    st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
)
names = st.text(max_size=8).filter(lambda name: name != "__metadata__")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("safetensors") / "w.safetensors"


def opened(path, data):
    path.unlink(missing_ok=True)  # never in place: an older map may be alive
    path.write_bytes(data)
    return Safetensors(path)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# ---- what goes in comes out


@given(st.dictionaries(names, any_array, max_size=4), st.dictionaries(names, st.text(), max_size=3))
def test_what_the_package_writes(path, arrays, metadata):
    # None: given two empty dicts, safetensors 0.8 writes a file that nobody can read
    file = opened(path, safetensors.numpy.save(arrays, metadata or None))
    assert file.metadata == metadata
    assert file.tensors.keys() == arrays.keys()
    content = path.read_bytes()
    for name, array in arrays.items():
        info = file.tensors[name]
        assert (info.name, info.shape, info.n_elements) == (name, array.shape, array.size)
        assert content[info.offset : info.offset + info.n_bytes] == array.tobytes()
        assert same(file.read(name, None), array)
        assert same(file.raw(name), array.view(np.uint8) if array.dtype == bool else array)
        with np.errstate(over="ignore"):
            assert np.array_equal(file.read(name), array.astype(np.float32), equal_nan=True)


def test_bfloat16(path):
    values = np.array([[1.0, -2.0, 3.5]], np.float32)
    bits = (values.view(np.uint32) >> 16).astype("<u2")
    file = opened(path, written([("w", "BF16", (1, 3), bits.tobytes())]))
    assert same(file.read("w"), values)
    assert same(file.read("w", None), values)
    assert file.read("w", np.float64).dtype == np.float64
    assert same(file.raw("w"), bits)


def test_a_bool_that_is_neither_0_nor_1(path):
    file = opened(path, written([("w", "BOOL", (3,), b"\0\1\7")]))
    assert file.read("w", None).dtype == bool
    assert file.read("w", None).view(np.uint8).tolist() == [0, 1, 1]
    assert file.raw("w").tolist() == [0, 1, 7]


def test_views_and_copies(path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    file = opened(path, safetensors.numpy.save({"w": array}))
    for read in (file.read("w"), file.read("w", None)):
        read[:] = 0  # a copy of one's own
    assert same(file.read("w"), array)
    assert not file.raw("w").flags.writeable
    assert not file.raw("w").flags.owndata
    with pytest.raises(TypeError, match="dtype is int8: give a floating type"):
        file.read("w", np.int8)
    with pytest.raises(UserError, match=r"w\.safetensors' has no tensor 'W' among its 1"):
        file.read("W")


def test_names_in_any_script_and_spaces_after_the_header(path):
    header = '{"größe 模型":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}    '
    file = opened(path, written(header=header) + b"\x05")
    assert file.read("größe 模型") == 5


# ---- folders


def shards(folder, index=None, **files):
    folder.mkdir(exist_ok=True)
    for file, arrays in files.items():
        (folder / f"{file}.safetensors").write_bytes(safetensors.numpy.save(arrays, {"from": file}))
    if index is None:
        index = {"weight_map": {name: f"{file}.safetensors" for file in files for name in files[file]}}
    text = index if isinstance(index, str) else json.dumps(index)
    (folder / "model.safetensors.index.json").write_text(text)
    return folder


def test_a_folder_of_shards(tmp_path, rng):
    arrays = {name: rng.normal(size=(3, 2)).astype(np.float32) for name in "abcd"}
    one, two = ({name: arrays[name] for name in half} for half in ("ac", "bd"))
    folder = shards(tmp_path / "m", one=one, two=two)
    for path in (folder, folder / "model.safetensors.index.json"):
        file = Safetensors(path)
        assert sorted(file.tensors) == list("abcd")
        for name, array in arrays.items():
            assert same(file.read(name), array)
    assert repr(Safetensors(folder)).endswith("m', 4 tensors)")


def test_the_index_decides_where_two_shards_hold_a_name(tmp_path):
    one, two = np.ones(2, np.float32), np.full(2, 2, np.float32)
    index = {"weight_map": {"w": "two.safetensors", "v": "one.safetensors"}}
    file = Safetensors(shards(tmp_path / "m", index, one={"w": one, "v": one}, two={"w": two, "x": two}))
    assert same(file.read("w"), two)
    assert same(file.read("v"), one)
    assert sorted(file.tensors) == ["v", "w"]


def test_which_file_of_a_folder(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    with pytest.raises(UserError, match=r"m' holds 0 \.safetensors files"):
        Safetensors(folder)
    (folder / "x.safetensors").write_bytes(safetensors.numpy.save({"x": np.ones(1)}))
    assert list(Safetensors(folder).tensors) == ["x"]
    (folder / "y.safetensors").write_bytes(safetensors.numpy.save({"y": np.ones(1)}))
    with pytest.raises(UserError, match=r"m' holds 2 \.safetensors files and neither model\.safetensors nor"):
        Safetensors(folder)
    shards(folder, one={"z": np.ones(1)})
    assert list(Safetensors(folder).tensors) == ["z"]
    (folder / "model.safetensors").write_bytes(safetensors.numpy.save({"m": np.ones(1)}))
    assert list(Safetensors(folder).tensors) == ["m"]


def test_shards_may_be_links_as_in_hugging_faces_cache(tmp_path):
    blob = tmp_path / "blob"
    blob.write_bytes(safetensors.numpy.save({"w": np.ones(1)}))
    folder = shards(tmp_path / "m", {"weight_map": {"w": "one.safetensors"}})
    try:
        (folder / "one.safetensors").symlink_to(blob)
    except OSError:
        pytest.skip("this system makes no links")
    assert list(Safetensors(folder).tensors) == ["w"]


OUTSIDE = ["../outside.safetensors", "/outside.safetensors", "..\\outside.safetensors",
           "C:outside.safetensors", "sub/../../outside.safetensors", "sub/x.safetensors", "x\0.safetensors"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_shard_leads_out_of_the_folder(tmp_path, name, monkeypatch):
    (tmp_path / "outside.safetensors").write_bytes(safetensors.numpy.save({"w": np.ones(1)}))
    index = {"weight_map": {"v": "one.safetensors", "w": name}}
    folder = shards(tmp_path / "m", index, one={"v": np.ones(1)})
    monkeypatch.setattr("minillm.weights.safetensors_file._open", None)  # not even the good one is opened
    with pytest.raises(UserError, match=r"puts 'w' into .*: give a plain file name"):
        Safetensors(folder)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("[1]", "its JSON is not an object"),
        ("{", "its JSON cannot be read"),
        ({"metadata": {}}, 'has no "weight_map"'),
        ({"weight_map": {}}, 'has no "weight_map"'),
        ({"weight_map": ["one.safetensors"]}, 'has no "weight_map"'),
        ({"weight_map": {"v": 3}}, "the file of 'v' is no string"),
        ({"weight_map": {"v": "one.bin"}}, "puts 'v' into 'one.bin': give a plain file name"),
        ({"weight_map": {"v": "two.safetensors"}}, r"there is no file '.*two\.safetensors'"),
        ({"weight_map": {"w": "one.safetensors"}}, "says that 'one.safetensors' holds 'w': it does not"),
        ('{"weight_map":{"v":"one.safetensors","v":"one.safetensors"}}', "the name 'v' is there twice"),
    ],
)
def test_a_bad_index(tmp_path, index, message):
    folder = shards(tmp_path / "m", index, one={"v": np.ones(1)})
    with pytest.raises(UserError, match=message) as error:
        Safetensors(folder)
    assert "\n" not in str(error.value)


# ---- what is refused

GOOD = written([("w", "F32", (2, 3), bytes(24)), ("v", "BF16", (2,), bytes(4))], {"format": "pt"})


def test_a_file_cut_short_anywhere_or_too_long(path):
    opened(path, GOOD)
    for length in range(1, len(GOOD)):
        with pytest.raises(UserError, match="cut short") as error:
            opened(path, GOOD[:length])
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="its tensors take 28 bytes, its data 29"):
        opened(path, GOOD + b"\0")


def one(data=bytes(8), **changed):
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changed
    return written(header=json.dumps({"w": entry})) + data


def two(first, second, size):
    entries = {
        name: {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}
        for name, (start, end) in (("first", first), ("second", second))
    }
    return written(header=json.dumps(entries)) + bytes(size)


HUGE = [2**31, 2**40, 2**60, 2**63 - 1, 2**63, 2**64 - 1, 10**30]
TWICE = "{" + ",".join(['"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'] * 2) + "}"
DEEP = 100_000
BAD = {
    "a zip file": (b"PK\x03\x04" + bytes(50), "is not a safetensors file"),
    "a GGUF file": (b"GGUF\3\0\0\0" + bytes(50), "is not a safetensors file"),
    **{f"header of {n} bytes": (written(length=n, header="{}" + " " * 99), "its header (claims|takes) ")
       for n in (102, 100_000_000, 100_000_001, *HUGE[:-1])},
    "header of 0 bytes": (written(length=0, header="{}"), "its JSON cannot be read"),
    "a header that is cut": (written(length=10, header='{"w":{"dtype":"F32"}}'), "its JSON cannot be read"),
    "a header that is not UTF-8": (written(header=b'{"\xff":1}'), "cannot be read .*utf-8"),
    "UTF-16": (written(header='{"w":1}'.encode("utf-16-le")), "its JSON"),
    "deep lists": (written(header='{"w":' + "[" * DEEP + "]" * DEEP + "}"), "nested too deeply"),
    "deep objects": (written(header='{"w":' * DEEP + "1" + "}" * DEEP), "nested too deeply"),
    "a number of a million digits": (written(header='{"w":' + "9" * 1_000_000 + "}"), "JSON cannot be read"),
    "half a surrogate pair as name": (written(header='{"\\ud800":1}'), "cannot be read .*can't encode"),
    "half a surrogate pair": (written(header='{"__metadata__":{"a":"\\udfff"}}'), "read .*can't encode"),
    "NaN": (written(header='{"w":NaN}'), "NaN is not JSON"),
    "a name twice": (written(header=TWICE) + b"1", "the name 'w' is there twice"),
    "a key twice": (written(header='{"w":{"dtype":"U8","dtype":"U8"}}'), "the name 'dtype' is there twice"),
    "a number as tensor": (written(header='{"w":1}'), "'w' does not have just dtype, shape and data_offsets"),
    "no shape": (written(header='{"w":{"dtype":"U8","data_offsets":[0,1]}}') + b"1", "does not have just"),
    "more than it should": (one(stride=[1]), "does not have just dtype"),
    "metadata as list": (written(header='{"__metadata__":["a"]}'), "__metadata__ is not an object of str"),
    "metadata of numbers": (written(header='{"__metadata__":{"a":1}}'), "__metadata__ is not"),
    "a dtype that is a list": (one(dtype=["F32"]), "'w' has a dtype that is no string"),
    "8-bit floats": (one(dtype="F8_E4M3"), "'w' has dtype 'F8_E4M3', this minillm reads F64, F32"),
    "a long dtype": (one(dtype="x\n" * 9999), "has dtype 'x"),
    **{f"shape {shape}": (one(shape=shape), "needs a shape and two data_offsets of integers, 0 or more")
       for shape in (2, None, [2.0], ["2"], [True, 2], [-2], [-1, -2], [[2]], [2**63], [10**4000])},
    **{f"offsets {offsets}": (one(data_offsets=offsets), "needs a shape and two data_offsets")
       for offsets in ([0], [0, 8, 8], [], [-8, 0], [0.0, 8], "08", {"0": 8}, [0, 2**63])},
    **{f"offsets {offsets} for 8 bytes": (one(data_offsets=offsets), "takes 8 bytes, its data_offsets are")
       for offsets in ([0, 4], [0, 12], [8, 0], [4, 4], [2**63 - 1, 0], [0, 2**63 - 1])},
    **{f"an axis of {n}": (one(shape=[n], data_offsets=[0, 8]), "claims the shape|'w' of shape|needs a shape")
       for n in HUGE},
    **{f"{n} bytes": (one(dtype="U8", shape=[n], data_offsets=[0, n]), "ends at byte|needs a shape")
       for n in HUGE},
    "lengths that wrap to 0": (one(shape=[2**31, 2**31], data_offsets=[0, 0]), "larger than any array"),
    "a huge empty array": (one(b"", shape=[2**62, 0, 2], data_offsets=[0, 0]), "larger than any array"),
    "65 axes": (one(shape=[1] * 64 + [2]), "'w' has 65 axes, at most 64"),
    "a million long axes": (one(shape=[2**63 - 1] * 1_000_000), "has 1000000 axes"),
    "past the end": (one(data_offsets=[8, 16]), "cut short: tensor 'w' ends at byte"),
    "the same bytes twice": (two((0, 8), (0, 8), 16), "tensor '(first|second)' at byte .* overlaps"),
    "overlapping": (two((0, 8), (7, 15), 16), "tensor 'second' at byte .* overlaps 'first'"),
    "a gap between": (two((0, 8), (9, 16), 16), "its tensors take 15 bytes, its data 16"),
    "a gap before": (two((1, 8), (8, 16), 16), "its tensors take 15 bytes, its data 16"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_malformed_files_are_refused_and_take_no_memory(path, what):
    data, message = BAD[what]
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=message) as error:
            Safetensors(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024 + 64 * len(data)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400 + len(str(path))


def test_the_good_neighbours_of_bad_files_are_read(path):
    """So that the table above fails for the reason it gives."""
    for data in (
        one(), two((0, 8), (8, 16), 16), two((8, 16), (0, 8), 16),
        two((0, 0), (0, 8), 8), two((0, 8), (0, 0), 8), two((8, 8), (0, 8), 8),
        one(shape=[1] * 63 + [2]), one(b"", shape=[2**60, 0], data_offsets=[0, 0]),
        written(header="{}"), written(header="{}" + " " * 99),
    ):  # fmt: skip
        for name in opened(path, data).tensors:
            Safetensors(path).read(name)


def crowd(n=30_000):
    """Headers that ask for the most Python objects per byte."""
    names = [format(i, "x") for i in range(n)]
    scalars = {x: {"dtype": "U8", "shape": [], "data_offsets": [i, i + 1]} for i, x in enumerate(names)}
    return {
        "empty lists": '{"w":[' + ",".join(["[]"] * n) + "]}",
        "lists of lists": '{"w":[' + ",".join(["[[[]]]"] * n) + "]}",
        "deep lists": '{"w":[' + ",".join(["[" * 300 + "]" * 300] * (n // 300)) + "]}",
        "lists of one": '{"w":[' + ",".join(["[1]"] * n) + "]}",
        "empty objects": '{"w":[' + ",".join(["{}"] * n) + "]}",
        "small objects": '{"w":[' + ",".join(['{"":0}'] * n) + "]}",
        "numbers": '{"w":[' + ",".join(["1e9"] * n) + "]}",
        "names": json.dumps(dict.fromkeys(names, 0), separators=(",", ":")),
        "metadata": json.dumps({"__metadata__": dict.fromkeys(names, "")}, separators=(",", ":")),
        "wide text": '{"__metadata__":{"a":"\N{GRINNING FACE}' + "a" * 9 * n + '"}}',
        "tensors": json.dumps(scalars, separators=(",", ":")),
    }


@pytest.mark.parametrize("what", crowd(300))
def test_memory_is_in_proportion_to_the_header(path, what):
    data = written(header=crowd()[what])
    if what == "tensors":
        data += bytes(30_000)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    tracemalloc.start()
    if what in ("metadata", "wide text", "tensors"):
        Safetensors(path)
    else:
        with pytest.raises(UserError):
            Safetensors(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 1024 + 64 * len(data)


def test_a_header_longer_than_the_format_allows_is_not_read(tmp_path):
    path = tmp_path / "long.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", 100_000_001) + b"{")
        file.truncate(110_000_000)  # a sparse file, so the header would be there
    tracemalloc.start()
    with pytest.raises(UserError, match="its header claims 100000001 bytes, the format allows 100000000"):
        Safetensors(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_large_file_is_opened_without_reading_it(tmp_path):
    path = tmp_path / "large.safetensors"
    n = 64 << 20
    header = json.dumps({"w": {"dtype": "U8", "shape": [n], "data_offsets": [0, n]}}).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.seek(n - 1, 1)
        file.write(b"\x07")  # a sparse file: 64 MB long, nothing written in between
    tracemalloc.start()
    assert Safetensors(path).raw("w")[-1] == 7
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
