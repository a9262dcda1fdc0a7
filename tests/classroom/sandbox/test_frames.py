"""The wire: what is sent arrives, and whatever else arrives is refused before it costs anything."""

import contextlib
import os
import struct
import threading
import tracemalloc

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.classroom.sandbox import frames
from minillm.classroom.sandbox.frames import HEADER, MAGIC, NPY, Decoder, Frame, FrameError, encode

dtypes = st.sampled_from([np.dtype(("|" if name[1] == "1" and len(name) == 2 else "<") + name)
                          for name in frames.DTYPES])
shapes = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
arrays = dtypes.flatmap(lambda dtype: hnp.arrays(dtype, shapes))
meta = st.dictionaries(st.text(max_size=20), st.none() | st.booleans() | st.integers(-2**60, 2**60)
                       | st.floats(allow_nan=False) | st.text(max_size=50), max_size=4)
some_frames = st.builds(Frame, st.integers(0, 255), st.integers(0, 2**64 - 1),
                        st.dictionaries(st.text(max_size=20), arrays, max_size=3), meta)
LIMIT = 1 << 16


def same(a, b):
    assert (a.kind, a.request, a.meta) == (b.kind, b.request, b.meta)
    assert list(a.arrays) == list(b.arrays)
    for name, array in a.arrays.items():
        other = b.arrays[name]
        assert type(other) is np.ndarray
        assert (array.dtype, array.shape) == (other.dtype, other.shape)
        assert array.tobytes() == other.tobytes()
        assert other.flags.writeable


def decoded(data, limit=LIMIT, piece=1 << 16):
    """The first frame of some bytes that arrive in pieces."""
    decoder = Decoder(limit)
    for start in range(0, len(data), piece):
        frame = decoder.feed(data[start:start + piece])
        if frame is not None:
            return frame
    return None


@given(some_frames, st.integers(1, 300))
def test_what_is_sent_arrives_in_pieces_of_any_size(frame, piece):
    same(frame, decoded(encode(frame), piece=piece))


@given(st.lists(some_frames, max_size=3))
def test_frames_follow_one_another(sent):
    decoder = Decoder(LIMIT)
    data = b"".join(map(encode, sent))
    for frame in sent:
        same(frame, decoder.feed(data))
        data = b""
    assert len(decoder) == 0


def test_the_worker_reads_what_the_grader_writes():
    out, into = os.pipe()
    frame = Frame(frames.RUN, 7, {"x": np.arange(100000.0)}, {"source": "s"})
    writer = threading.Thread(target=frames.write_frame, args=(into, frame))
    writer.start()
    same(frame, frames.read_frame(out))
    writer.join()
    os.close(into)
    assert frames.read_frame(out) is None
    os.close(out)


@given(st.binary(max_size=300))
def test_bytes_at_random_are_refused_or_waited_for(data):
    with contextlib.suppress(FrameError):
        assert decoded(MAGIC + data) is None or data
    if not MAGIC.startswith(data[:4]) and len(data) >= HEADER.size:
        with pytest.raises(FrameError):
            decoded(data)


@given(some_frames, st.data())
def test_a_frame_with_a_wrong_byte_is_a_frame_or_refused(frame, data):
    whole = bytearray(encode(frame))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decoded(bytes(whole))
    except FrameError:
        return
    for array in {} if found is None else found.arrays.values():
        assert array.dtype.kind in "biufc"


@given(some_frames, st.data())
def test_a_frame_that_is_cut_off_is_waited_for(frame, data):
    whole = encode(frame)
    assert decoded(whole[:data.draw(st.integers(0, len(whole) - 1))]) is None


@pytest.mark.parametrize("size", [LIMIT + 1, 1 << 40, 2**64 - 1])
def test_a_frame_that_is_too_large_is_refused_by_its_header(size):
    with pytest.raises(FrameError, match=f"a frame of {size} bytes; 65536 are allowed"):
        decoded(HEADER.pack(MAGIC, frames.ARRAYS, 1, 0, 1, size))


def header(count=1, meta=0, size=1000):
    return HEADER.pack(MAGIC, frames.ARRAYS, count, meta, 1, size)


def one_array(text, data=b"", name=b"x"):
    """A frame with an array whose .npy header is `text`."""
    npy = NPY + struct.pack("<H", len(text)) + text + data
    body = struct.pack("<H", len(name)) + name + struct.pack("<Q", len(npy)) + npy
    return header(size=len(body)) + body


def said(descr, shape, more=""):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, {more}}}\n".encode()


def test_a_frame_made_by_hand_is_read():
    frame = decoded(one_array(said("'<f8'", "(1,)"), struct.pack("<d", 3.0)))
    assert frame.arrays["x"].tolist() == [3.0]


def test_json_with_many_keys_is_refused():
    """A dict of keys that were chosen to have one hash takes quadratic time."""
    few, many = (b"{" + b",".join(b'"%d":1' % k for k in range(n)) + b"}" for n in (100, 101))
    assert len(decoded(header(0, len(few), len(few)) + few).meta) == frames.META_KEYS == 100
    with pytest.raises(FrameError, match="JSON cannot be read"):
        decoded(header(0, len(many), len(many)) + many)


@pytest.mark.parametrize("data", [
    header(count=1001), header(meta=1 << 17, size=1 << 16), header(meta=11, size=10),
    header(size=0), header(size=2) + b"\xff\xff", header(count=0, size=3) + b"abc",
    header(0, 4, 4) + b"[1]]", header(0, 3, 3) + b"[1]", header(0, 8, 8) + b'{"a":{}}',
    header(0, 2, 2) + b"\xff\xff", header(0, 60000, 60000) + b"[" * 60000,
    header(0, 20007, 20007) + b'{"a":' + b"1" * 20000 + b" }",
    one_array(b"", name=b"\xff"), one_array(b"", name=b"n" * 201), one_array(b"junk"),
    one_array(said("'|O'", "(1,)"), bytes(8)), one_array(said("'<U1'", "(1,)"), bytes(4)),
    one_array(said("'>f8'", "(1,)"), bytes(8)), one_array(said("'<M8'", "(1,)"), bytes(8)),
    one_array(said("'<f16'", "(1,)"), bytes(16)), one_array(said("[('a', '<f8')]", "(1,)"), bytes(8)),
    one_array(said("'<f8'", "(2,)"), bytes(8)), one_array(said("'<f8'", "(-1,)"), bytes(8)),
    one_array(said("'<f8'", "(1e0,)"), bytes(8)), one_array(said("'<f8'", "(1 1,)"), bytes(8)),
    one_array(said("'<f8'", f"({'1, ' * 33})"), bytes(8)), one_array(said("'<f8'", "(0, 99999999999999999)")),
    one_array(said("'<f8'", "(0, 999999999999999, 999999999999999)")),
    one_array(said("'<f8'", f"({10**15 - 1}, {10**15 - 1})")), one_array(said("'<f8'", "(,)")),
    one_array(said("'<f8'", "(1,)", "'x': __import__('os')"), bytes(8)),
    one_array(b"(" * 5000 + b"\n"),
], ids=lambda d: str(d[32:80]))
def test_forged_frames_are_refused(data):
    with pytest.raises(FrameError):
        decoded(data, 1 << 17)


def test_the_same_name_twice_is_refused():
    part = encode(Frame(0, 0, {"x": np.zeros(1)}))[HEADER.size:][2:]  # without the JSON, which is {}
    with pytest.raises(FrameError, match="twice"):
        decoded(header(2, 0, 2 * len(part)) + part + part)


@given(st.binary(max_size=200))
def test_an_array_of_any_bytes_is_numbers_or_refused(data):
    for start in (b"", NPY):
        with contextlib.suppress(FrameError):
            assert frames.decode_array(memoryview(start + data)).dtype.kind in "biufc"


def test_a_truth_value_is_0_or_1_whatever_its_byte_says():
    found = decoded(one_array(said("'|b1'", "(3,)"), b"\x00\x02\xff")).arrays["x"]
    assert found.tobytes() == b"\x00\x01\x01"


def test_refusing_costs_nothing():
    shapes = [f"({10**14},)", f"({10**9}, {10**5})", "(0, 1)", "(4, 4)"]
    tracemalloc.start()
    try:
        for shape in shapes:
            with pytest.raises(FrameError):
                decoded(one_array(said("'<c16'", shape), bytes(100)))
        with pytest.raises(FrameError):
            decoded(HEADER.pack(MAGIC, frames.ARRAYS, 1, 0, 1, 1 << 50))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("frame", "says"), [
    (Frame(1, 1, {"x": np.array(["a"])}), "x: an array of dtype <U1"),
    (Frame(1, 1, {"x": np.array([None])}), "x: an array of dtype object"),
    (Frame(1, 1, {"x": np.zeros(1, ">f8")}), "x: an array of dtype >f8"),
    (Frame(1, 1, {"n" * 201: np.zeros(1)}), "at most 200 bytes"),
    (Frame(1, 1, {str(n): np.zeros(1) for n in range(1001)}), "1001 arrays"),
    (Frame(1, 1, {}, {"a": "x" * (1 << 16)}), "too many for a frame"),
], ids=lambda v: v if isinstance(v, str) else "")
def test_what_cannot_be_sent_is_said(frame, says):
    with pytest.raises(FrameError, match=says):
        encode(frame)
