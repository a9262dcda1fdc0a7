import json
import math
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save, save_file

from minillm.errors import UserError
from minillm.train.checkpoint import load_checkpoint, save_checkpoint

DTYPES = ["bool", "int8", "uint8", "int16", "int32", "int64", "uint32", "uint64"]
DTYPES += ["float16", "float32", "float64"]

any_array = hnp.arrays(
    st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
)
keys = st.text().filter(lambda key: key != "__ndarray__")  # hypothesis reads the source's strings
any_state = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def same(a, b):
    """Equal in type and value, to the last bit; NaN equals NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or struct.pack("d", a) == struct.pack("d", b)
    return a == b


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors"


# --- what goes in comes out


@given(
    st.dictionaries(st.text(max_size=8), any_array, max_size=4),
    st.dictionaries(keys, any_state, max_size=4),
)
def test_round_trip(path, arrays, state):
    save_checkpoint(path, arrays, state)
    loaded, loaded_state = load_checkpoint(path)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert same(loaded[name], array), name
        assert loaded[name].flags.writeable
    assert same(loaded_state, state)


@given(any_array, st.integers(-1000, 1000))
def test_arrays_and_numpy_scalars_in_the_state(path, array, number):
    state = {"a": array, "deep": [{"b": array}], "n": np.int64(number), "x": np.float32(number / 7)}
    save_checkpoint(path, {}, state)
    _, loaded = load_checkpoint(path)
    assert same(loaded["a"], array) or array.dtype.kind == "f"  # a NaN's payload may change
    np.testing.assert_array_equal(loaded["a"], array)
    np.testing.assert_array_equal(loaded["deep"][0]["b"], array)
    assert same(loaded["n"], number)
    assert np.float32(loaded["x"]) == np.float32(number / 7)


@pytest.mark.parametrize(
    "view",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.arange(12)[::-2],
        np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
        np.arange(12, dtype=">f8"),
        np.arange(6, dtype=">i4").reshape(2, 3).T,
        np.broadcast_to(np.float32(3), (2, 3)),
        np.float64(2.5),
        np.zeros((3, 0, 2)),
    ],
    ids=["transposed", "reversed", "fortran", "big-endian", "both", "broadcast", "scalar", "empty"],
)
def test_views_are_stored_by_value(path, view):
    save_checkpoint(path, {"view": view}, {})
    loaded = load_checkpoint(path)[0]["view"]
    assert loaded.shape == view.shape
    assert loaded.dtype == view.dtype.newbyteorder("=")
    np.testing.assert_array_equal(loaded, view)


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_a_random_generator_goes_on_where_it_was(path, kind):
    generator = np.random.Generator(getattr(np.random, kind)(1))
    generator.standard_normal(7)
    generator.integers(5, dtype=np.int32)  # leaves half a word behind
    save_checkpoint(path, {}, {"random": generator.bit_generator.state})
    other = np.random.Generator(getattr(np.random, kind)(2))
    other.bit_generator.state = load_checkpoint(path)[1]["random"]
    assert other.integers(5, dtype=np.int32) == generator.integers(5, dtype=np.int32)
    assert other.standard_normal(100).tobytes() == generator.standard_normal(100).tobytes()


def test_the_file_is_plain_safetensors_with_the_state_in_its_metadata(path):
    save_checkpoint(path, {"w": np.ones(3)}, {"step": 5})
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    assert metadata == {"format": "minillm-checkpoint", "version": "1", "state": '{"step":5}'}


def test_tuples_become_lists(path):
    save_checkpoint(path, {}, {"betas": (0.9, 0.999)})
    assert load_checkpoint(path)[1] == {"betas": [0.9, 0.999]}


@pytest.mark.parametrize(
    ("arrays", "state", "error", "message"),
    [
        ({"w": np.array([1j])}, {}, TypeError, r"arrays\['w'\] has dtype complex128"),
        ({"w": np.array(["a"])}, {}, TypeError, r"arrays\['w'\] has dtype <U1"),
        ({"w": np.array([None])}, {}, TypeError, r"arrays\['w'\] has dtype object"),
        ({"__metadata__": np.ones(1)}, {}, ValueError, "keeps for itself"),
        ({}, {"a": [{"b": {1}}]}, TypeError, r"state\['a'\]\[0\]\['b'\] is a set"),
        ({}, {"a": {1: 2}}, TypeError, r"state\['a'\] has the key 1"),
        ({}, {"__ndarray__": 2}, TypeError, "other than '__ndarray__'"),
        ({}, {"a": np.array([None])}, TypeError, r"state\['a'\] has dtype object"),
        ({}, {"a": b"bytes"}, TypeError, r"state\['a'\] is a bytes"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_the_old_file_stays(path, arrays, state, error, message):
    save_checkpoint(path, {}, {"step": 1})
    with pytest.raises(error, match=message):
        save_checkpoint(path, arrays, state)
    assert load_checkpoint(path)[1] == {"step": 1}


def test_a_header_that_could_not_be_read_again_is_not_written(path, monkeypatch):
    monkeypatch.setattr("minillm.train.checkpoint._MAX_HEADER", 1000)
    save_checkpoint(path, {}, {"step": 1})
    with pytest.raises(ValueError, match="move its large arrays"):
        save_checkpoint(path, {}, {"log": "x" * 1000})
    assert load_checkpoint(path)[1] == {"step": 1}


# --- files that are no checkpoint


def refused(path, message):
    with pytest.raises(UserError, match=message) as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)
    assert repr(str(path)) in str(error.value)


def test_missing_and_directory_and_too_long(tmp_path):
    refused(tmp_path / "none.safetensors", "there is no checkpoint")
    refused(tmp_path / "no" / "folder.safetensors", "there is no checkpoint")
    refused(tmp_path, "cannot read")
    refused(tmp_path / ("n" * 300), "cannot read")


def test_cut_short_anywhere(tmp_path):
    whole = tmp_path / "whole.safetensors"
    save_checkpoint(whole, {"w": np.arange(20.0), "b": np.ones(3, bool)}, {"step": 1})
    data = whole.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        refused(cut, "damaged or cut short")
    cut.write_bytes(data + b"\0")
    refused(cut, "damaged or cut short")


@given(st.binary(max_size=200))
def test_other_bytes(path, data):
    path.write_bytes(data)
    refused(path, "is not a safetensors file|damaged or cut short")


@pytest.mark.parametrize(
    "data",
    [
        b"Once upon a time there was a text file.",
        b"PK\x03\x04" + bytes(100),
        b"\x80\x04\x95" + bytes(100),  # a pickle
        struct.pack("<Q", 2**63) + b"{" + bytes(100),
        struct.pack("<Q", 100_000_001) + b"{" + bytes(100),
    ],
    ids=["text", "zip", "pickle", "header of 2**63 bytes", "header above the limit"],
)
def test_foreign_files(tmp_path, data):
    path = tmp_path / "foreign"
    path.write_bytes(data)
    refused(path, "is not a safetensors file")


def test_safetensors_of_another_program(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"w": np.ones(3)}, path)
    refused(path, "no checkpoint of minillm")
    save_file({"w": np.ones(3)}, path, {"format": "pt"})
    refused(path, "no checkpoint of minillm")


def ours(**change):
    return {"format": "minillm-checkpoint", "version": "1", "state": "{}", **change}


def test_another_version(tmp_path):
    path = tmp_path / "future.safetensors"
    save_file({}, path, ours(version="2"))
    refused(path, "has format version '2', this minillm reads '1'")


@pytest.mark.parametrize(
    "state",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"a": {"__ndarray__": [1], "dtype": "object", "shape": [1]}}',
        '{"a": {"__ndarray__": [1], "dtype": "int64", "shape": [1000000000000]}}',
        '{"a": {"__ndarray__": [300], "dtype": "uint8", "shape": [1]}}',
        '{"a": {"__ndarray__": [1]}}',
    ],
)
def test_damaged_state(tmp_path, state):
    path = tmp_path / "odd.safetensors"
    save_file({}, path, ours(state=state))
    refused(path, "damaged or cut short")
    metadata = ours()
    del metadata["state"]
    save_file({}, path, metadata)
    refused(path, "damaged or cut short")


def test_a_header_longer_than_the_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "lie.safetensors"
    path.write_bytes(struct.pack("<Q", 99_000_000) + b"{}")
    monkeypatch.setattr("minillm.train.checkpoint.safe_open", pytest.fail)
    refused(path, "damaged or cut short")


def test_a_lying_header_costs_no_memory(tmp_path):
    """A tensor said to be 8 TB, a header said to be 99 MB: refused before anything is taken."""
    path = tmp_path / "lie.safetensors"
    data = save({"w": np.ones(1)}, ours())
    n = 2**40
    lie = data[8:-8].replace(b'"shape":[1]', b'"shape":[%d]' % n)
    lie = lie.replace(b"[0,8]", b"[0,%d]" % (8 * n))
    assert lie.count(b"%d" % n) == lie.count(b"%d" % (8 * n)) == 1
    tracemalloc.start()
    try:
        path.write_bytes(struct.pack("<Q", len(lie)) + lie + bytes(8))
        refused(path, "damaged or cut short")
        path.write_bytes(struct.pack("<Q", 99_000_000) + data[8:])
        refused(path, "damaged or cut short")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
