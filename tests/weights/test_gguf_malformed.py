"""GGUF files that lie: each is refused for its own reason, in one line, and takes no memory."""

import os
import struct
import tracemalloc

import pytest
from weight_writers import (
    ARRAY,
    BOOL,
    F64,
    GGML,
    I32,
    STRING,
    U8,
    U16,
    U32,
    U64,
    entry,
    gguf,
    raw_gguf,
    string,
    tensor_entry,
)

from minillm.errors import UserError
from minillm.weights import GGUF


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("gguf") / "w.gguf"


def opened(path, data):
    path.unlink(missing_ok=True)  # never in place: an older map may be alive
    path.write_bytes(data)
    return GGUF(path)


def refused(path, data, message):
    with pytest.raises(UserError, match=message) as error:
        opened(path, data)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400 + len(str(path))
    assert repr(str(path)) in str(error.value)
    return str(error.value)


GOOD = gguf(
    [("general.architecture", STRING, "llama"), ("n", U32, 3), ("a", ARRAY, (STRING, ["x", "yz"]))],
    [("w", "Q4_0", (2, 32), bytes(36)), ("v", "F32", (3,), bytes(12))],
)


def test_a_file_cut_short_anywhere(path):
    opened(path, GOOD)
    for length in range(1, len(GOOD) - 20):  # the last 20 bytes are padding
        refused(path, GOOD[:length], "cut short|is not a GGUF file")
    opened(path, GOOD[:-20])


@pytest.mark.parametrize("place", ["missing", "folder", "empty", "pipe", "nul"])
def test_no_file(tmp_path, place):
    path = tmp_path / place
    message = {
        "missing": "there is no file", "folder": "is not a file", "empty": "is empty: name a GGUF file",
        "pipe": "is not a file: name a GGUF file", "nul": "cannot read",
    }[place]
    if place == "folder":
        path.mkdir()
    elif place == "empty":
        path.write_bytes(b"")
    elif place == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("this system has no named pipes")
        os.mkfifo(path)  # opening it must not wait for a writer
    elif place == "nul":
        path = str(path) + "\0"
    with pytest.raises(UserError, match=message):
        GGUF(path)


I8_TYPE = GGML["I8"][0]
HUGE = [2**31, 2**32 - 1, 2**60, 2**63 - 1, 2**63, 2**64 - 1]


def one(name="w", kind=I8_TYPE, dims=(4,), offset=0, data=bytes(32)):
    head = raw_gguf(tensors=tensor_entry(name, kind, dims, offset), n_tensors=1)
    return head + bytes(-len(head) % 32) + data


def two(offset, size=40):
    table = tensor_entry("first", I8_TYPE, (size,), 0) + tensor_entry("second", I8_TYPE, (8,), offset)
    head = raw_gguf(tensors=table, n_tensors=2)
    return head + bytes(-len(head) % 32) + bytes(128)


def array_of(kind, count, rest=b""):
    return raw_gguf(
        metadata=string("key") + struct.pack("<IIQ", ARRAY, kind, count) + rest, n_metadata=1
    )


def nested(depth):
    levels = struct.pack("<IQ", ARRAY, 1) * (depth - 1) + struct.pack("<IQ", U8, 0)
    return raw_gguf(metadata=string("key") + struct.pack("<I", ARRAY) + levels, n_metadata=1)


BAD = {
    "other magic": (b"PK\x03\x04" + GOOD[4:], r"is not a GGUF file: it begins with b'PK"),
    "version 1": (gguf(version=1), "GGUF version 1, this minillm reads 2 and 3"),
    "version 4": (gguf(version=4), "GGUF version 4"),
    "version 0": (gguf(version=0), "GGUF version 0"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    **{f"{n} tensors": (gguf(counts=(n, 0)) + bytes(99), f"number of tensors, at byte 8, is {n}")
       for n in HUGE},
    **{f"{n} entries": (gguf(counts=(0, n)) + bytes(99), f"metadata entries, at byte 16, is {n}")
       for n in HUGE},
    **{f"key of {n} bytes": (raw_gguf(metadata=struct.pack("<Q", n) + bytes(99), n_metadata=1),
                             f"a metadata key, at byte 32, takes {n} bytes and 99 are left")
       for n in HUGE},
    **{f"string of {n} bytes": (
        raw_gguf(metadata=string("k") + struct.pack("<IQ", STRING, n) + b"x", n_metadata=1),
        f"the metadata 'k', at byte 45, takes {n} bytes and 1 are left",
    ) for n in HUGE},
    **{f"array of {n} of type {kind}": (array_of(kind, n, bytes(64)),
                                        f"the length of the metadata 'key', at byte 43, is {n}")
       for n in HUGE for kind in (U8, F64, BOOL, STRING, ARRAY)},
    **{f"name of {n} bytes": (raw_gguf(tensors=struct.pack("<Q", n) + bytes(24), n_tensors=1),
                              "a tensor's name, at byte 32")
       for n in HUGE},
    **{f"axis of {n}": (one(dims=(n,)), f"'w' takes {n} bytes from byte") for n in HUGE},
    "2^256 weights": (one(dims=(2**64 - 1,) * 4), "'w' takes 1157920"),
    "lengths that multiply to 2^64 and wrap to 0": (one(dims=(2**32, 2**32)), f"takes {2**64} bytes"),
    "an axis of 0": (one(dims=(4, 0)), r"'w' has the shape \(0, 4\), an axis of length 0"),
    "5 axes": (one(dims=(1,) * 5), "'w' has 5 axes, at most 4"),
    "2^32 axes": (raw_gguf(tensors=string("w") + struct.pack("<I", 2**32 - 1) + bytes(99), n_tensors=1),
                  "has 4294967295 axes"),
    "a type without number": (one(kind=999), r"tensor 'w' has type 999 \(unknown\), this minillm reads F32"),
    "a type that is not read": (one(kind=16), r"type 16 \(IQ2_XXS\)"),
    "a row of half a block": (one(kind=2, dims=(48, 2)), "rows of 48 weights, Q4_0 stores blocks of 32"),
    "a scalar of a quantised type": (one(kind=2, dims=()), "rows of 1 weights"),
    **{f"offset {n}": (one(offset=n), r"takes 4 bytes from byte") for n in (32, 2**40, 2**63, 2**64 - 32)},
    "an unaligned offset": (one(offset=8, data=bytes(99)), "offset 8, no multiple of the alignment 32"),
    "the same bytes twice": (two(0), "tensor 'first' at byte 128 overlaps 'second', which ends at byte 136"),
    "overlapping by 8 bytes": (two(32), "tensor 'second' at byte 160 overlaps 'first'"),
    "a name twice": (raw_gguf(tensors=tensor_entry("w", I8_TYPE, (1,), 0) * 2, n_tensors=2) + bytes(99),
                     r"the tensor 'w' is there twice \(at byte 57\)"),
    "a key twice": (gguf([("k", U8, 1), ("k", U8, 1)]), "the metadata key 'k' is there twice"),
    "a value of type 13": (raw_gguf(metadata=string("k") + struct.pack("<II", 13, 0), n_metadata=1),
                           "the metadata 'k' has the unknown type 13"),
    "an array of type 13": (array_of(13, 1, bytes(9)), "'key' is an array of the unknown type 13"),
    "a bool of 2": (gguf([("k", BOOL, 2)]), "'k' has a bool that is neither 0 nor 1"),
    "an array with a bool of 2": (gguf([("k", ARRAY, (BOOL, [1, 2]))]), "neither 0 nor 1"),
    "a key that is not UTF-8": (gguf([(b"\xff", U8, 1)]), r"a metadata key is not UTF-8: b'\\xff'"),
    "a name that is not UTF-8": (one(name=b"\xff"), "a tensor's name is not UTF-8"),
    "arrays 5 deep": (nested(5), "nests arrays more than 4 deep"),
    "arrays 100,000 deep": (nested(100_000), "nests arrays more than 4 deep"),
    "a key on three lines": (gguf([("a\nb\n" + "c" * 1000, BOOL, 2)]), r"'a\\nb\\nccc.*'\.\.\. has a bool"),
    **{f"alignment {n}": (gguf([("general.alignment", U32, n)]), f"general.alignment is '{n}'")
       for n in (0, 3, 33, 2**32 - 1)},
    "alignment -8": (gguf([("general.alignment", I32, -8)]), "general.alignment is '-8'"),
    "alignment true": (gguf([("general.alignment", BOOL, 1)]), "general.alignment is 'True'"),
    "alignment as text": (gguf([("general.alignment", STRING, "x" * 999)]), "general.alignment is 'xx"),
    "alignment 2^63": (raw_gguf(metadata=entry("general.alignment", U64, 2**63), n_metadata=1, n_tensors=1,
                              tensors=tensor_entry("w", I8_TYPE, (4,), 0)) + bytes(99), "takes 4 bytes from"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_malformed_files_are_refused_and_take_no_memory(path, what):
    data, message = BAD[what]
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=message) as error:
            GGUF(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024 + 32 * len(data)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500 + len(str(path))


def test_the_good_neighbours_of_bad_files_are_read(path):
    """So that the table above fails for the reason it gives."""
    for data in (one(), two(64), nested(4), gguf(counts=(0, 0)), gguf([("general.alignment", U64, 8)])):
        opened(path, data)
    assert opened(path, one(dims=(2, 2))).tensors["w"].shape == (2, 2)


def crowd(n=20_000):
    """Headers that ask for the most Python objects per byte."""
    empty = struct.pack("<IQ", U8, 0)
    names = [format(i, "x") for i in range(n)]
    tensors = b"".join(tensor_entry(name, I8_TYPE, (1,), i) for i, name in enumerate(names))
    one_byte = entry("general.alignment", U32, 1)
    return {
        "empty strings": array_of(STRING, n, bytes(8 * n)),
        "short strings": array_of(STRING, n, string("é") * n),
        "surrogates": array_of(STRING, n, string(b"\xff") * n),
        "empty arrays": array_of(ARRAY, n, empty * n),
        "arrays of empty arrays": array_of(ARRAY, n, (struct.pack("<IQ", ARRAY, 1) + empty) * n),
        "arrays of a byte": array_of(ARRAY, n, (struct.pack("<IQ", U8, 1) + b"1") * n),
        "arrays of a bool": array_of(ARRAY, n, (struct.pack("<IQ", BOOL, 1) + b"\1") * n),
        "entries": raw_gguf(metadata=b"".join(entry(x, U16, 999) for x in names), n_metadata=n),
        "one long text": gguf([("k", STRING, "\N{GRINNING FACE}" + "a" * 40 * n)]),
        "tensors": raw_gguf(metadata=one_byte, n_metadata=1, tensors=tensors, n_tensors=n) + bytes(n),
    }


@pytest.mark.parametrize("what", crowd(1))
def test_memory_is_in_proportion_to_the_file(path, what):
    data = crowd()[what]
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    tracemalloc.start()
    file = GGUF(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert file.metadata or file.tensors
    assert peak < 64 * 1024 + 32 * len(data)
