"""Canaries: stray writes are found with their place, stray reads bring in nan, results come back."""

import ctypes

import ml_dtypes
import numpy as np
import pytest

from kernels import arrays, guards
from kernels.guards import StrayWrite, guarded


def poke(view, offset, value=0):
    """What a kernel does that has its addresses wrong."""
    ctypes.c_uint8.from_address(view.address + offset).value = value


def in_guards(body, **named):
    """Run body on guarded views of the arrays."""
    with guarded([arrays.view(a) for a in named.values()], list(named)) as moved:
        body(*moved)


def test_results_come_back_and_views_keep_their_alignment():
    memory = np.arange(20, dtype=np.float32)
    a, b = memory[3:9], memory[9:]
    with guarded([arrays.view(a), None, arrays.view(b)], ["a", "none", "b"]) as (a_, none, b_):
        assert none is None
        assert a_.address != a.ctypes.data
        assert a_.address % guards.ALIGNMENT == a.ctypes.data % guards.ALIGNMENT
        arrays.as_numpy(a_)[...] = 7
        arrays.as_numpy(b_)[-1] = 8
        assert a[0] == 3  # the caller's array changes only when all is checked
    assert (a == 7).all()
    assert b.tolist() == [*range(9, 19), 8]
    assert memory[:3].tolist() == [0, 1, 2]


@pytest.mark.parametrize(("offset", "place"), [
    (-1, "1 bytes before the start of a"), (24, "0 bytes after the end of a"),
    (24 + 999, "999 bytes after the end"),
    (-guards.ZONE, f"{guards.ZONE} bytes before")])
def test_a_write_outside_is_reported_and_nothing_comes_back(offset, place):
    a = np.zeros(6, np.float32)

    def body(a_):
        arrays.as_numpy(a_)[...] = 1
        poke(a_, offset)

    with pytest.raises(StrayWrite, match=place):
        in_guards(body, a=a)
    assert not a.any()


def test_a_write_between_rows_is_reported():
    memory = np.zeros((4, 10), np.float32)
    x = memory[:, :7]

    def body(x_):
        arrays.as_numpy(x_)[...] = 1
        poke(x_, 4 * 17, 1)  # row 1, column 7

    with pytest.raises(StrayWrite, match="between the rows, 68 bytes from the start of x"):
        in_guards(body, x=x)


def test_reads_outside_bring_in_nan():
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        a = np.zeros(4, dtype)
        with guarded([arrays.view(a)], ["a"]) as (a_,):
            beyond = np.ndarray(1, dtype, (ctypes.c_char * 8).from_address(a_.address + a.nbytes))
            with np.errstate(invalid="ignore"):  # a signalling nan says so when it is looked at
                assert np.isnan(beyond)


def test_a_guard_that_is_read_and_written_back_is_caught():
    """What a missing mask does in place: quiet NaN would come back bit for bit."""
    a = np.zeros(4, np.float32)

    def body(a_):
        beyond = np.ndarray(1, np.float32, (ctypes.c_char * 4).from_address(a_.address + a.nbytes))
        beyond[...] = beyond * np.float32(0.9)

    with pytest.raises(StrayWrite, match="after the end of a"), np.errstate(invalid="ignore"):
        in_guards(body, a=a)


def test_arrays_that_share_memory_share_a_copy():
    a = np.zeros((3, 4), np.float32)
    with guarded([arrays.view(a), arrays.view(a), arrays.view(a[1:])], ["x", "dx", "tail"]) as (x, dx, tail):
        assert x.address == dx.address == tail.address - 16
        arrays.as_numpy(dx)[...] = 5
        assert (arrays.as_numpy(x) == 5).all()
    assert (a == 5).all()


def test_two_arrays_side_by_side_have_no_gap_and_still_guards_outside():
    memory = np.zeros(8, np.float32)
    with pytest.raises(StrayWrite, match="of left"):  # a write into the neighbour is a stray write too
        in_guards(lambda left, right: poke(left, 16), left=memory[:4], right=memory[4:])


def test_very_long_spans_are_used_as_they_are(monkeypatch):
    monkeypatch.setattr(guards, "LIMIT", 100)
    a = np.zeros(1000, np.uint8)
    with guarded([arrays.view(a)], ["a"]) as (a_,):
        assert a_.address == a.ctypes.data
