"""CUDA on the CPU for one's own .cu file: arrays between guards, NVIDIA's headers, loops that never end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from kernels.arrays import View, view
from kernels.cuda.host import HostModule, build, compiler
from kernels.guards import StrayWrite

SOURCES = Path(__file__).parent
ROOT = SOURCES.parents[2]
LOOPS = ("empty_loop", "in_a_template", "in_the_cold", "in_a_cold_block", "for_a_flag", "at_barriers",
         "at_shuffles", "with_printf", "in_the_library")


@pytest.fixture(scope="module", autouse=True)
def _gxx():
    if compiler() is None:
        reason = "g++ is not installed (or this is not Linux): CUDA kernels were not run on the CPU"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def own() -> HostModule:
    return HostModule(SOURCES / "own.cu")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def scale(own: HostModule, x, out, n: int, *, by: int = 0, grid=1, block=32) -> None:
    own.launch("scale", [x, out, np.int32(n), np.float32(2), np.int32(by)], grid=grid, block=block)


# ---- Arrays -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [lambda a: a, view], ids=["array", "View"])
def test_arrays_go_in_and_come_back(own, how):
    x, out = np.arange(20, dtype=np.float32), np.full(20, -1, np.float32)
    scale(own, how(x), how(out), 19)
    np.testing.assert_array_equal(out, [*(2 * x[:19]), -1])
    scale(own, how(x), how(x), 20)  # the same memory twice is one copy
    np.testing.assert_array_equal(x, 2 * np.arange(20))


def test_an_array_between_others_of_its_own(own):
    x, y = np.zeros((4, 8), np.float32), np.arange(3, dtype=np.float32)
    y.flags.writeable = False
    own.launch("in_place", [x[1:3, 2:5], y, np.uint32(2), np.int32(8)], grid=1, block=3)
    want = np.zeros((4, 8))
    want[1:3, 2:5] = y
    np.testing.assert_array_equal(x, want)


@pytest.mark.parametrize(("n", "by", "said"), [
    (32, 0, "0 bytes after the end of out"), (20, -1, "4 bytes before the start of out"),
    (20, 1000, "3920 bytes after the end of out")])
def test_a_stray_write_names_the_parameter_and_harms_nobody(own, n, by, said):
    x, out = np.ones(32, np.float32), np.zeros(20, np.float32)
    with pytest.raises(StrayWrite) as caught:
        scale(own, x, out, n, by=by)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not out.any()


def test_a_stray_write_between_rows(own):
    x, y = np.zeros((4, 8), np.float32), np.ones(4, np.float32)
    with pytest.raises(StrayWrite, match="between the rows, 14 bytes from the start of x"):
        own.launch("in_place", [x[:, :3], y, np.uint32(4), np.int32(8)], grid=1, block=4)  # 0 to 0x3f800000
    assert not x.any()


def test_a_stray_read_is_nan(own):
    x, out = np.ones(20, np.float32), np.zeros(32, np.float32)
    scale(own, x, out, 32)
    assert (out[:20] == 2).all()
    assert np.isnan(out[20:]).all()


def test_a_read_only_array_stays_so(own):
    x, fixed = np.ones(20, np.float32), np.zeros(20, np.float32)
    fixed.flags.writeable = False
    with pytest.raises(StrayWrite, match="^scale: the kernel wrote to out, which is read-only$"):
        scale(own, x, fixed, 20)
    assert not fixed.any()
    base = np.ones(20, np.float32)
    same = base[:]
    same.flags.writeable = False
    own.launch("in_place", [base, same, np.uint32(1), np.int32(0)], grid=1, block=20)  # written through base
    scale(own, same, x, 20)
    assert (x == 4).all()


def test_an_empty_array_has_no_room(own):
    x, none = np.ones(20, np.float32), np.zeros(0, np.float32)
    scale(own, none, none, 0)
    with pytest.raises(StrayWrite, match="which is empty$"):
        scale(own, x, none, 1, block=1)


def test_nothing_comes_back_from_a_launch_that_failed(own):
    out = np.zeros(4, np.int32)
    with pytest.raises(RuntimeError, match="0.1 seconds"):
        own.launch("at_shuffles", [np.int32(0), out], grid=1, block=32, seconds=0.1)
    assert not out.any()


def test_arrays_of_other_types(own):
    args = [np.int64(2), np.zeros(8, np.complex64).view(np.uint8), np.zeros(1, bool), np.zeros(1, np.int32),
            np.zeros(1, np.float16), np.zeros(4, np.float32)]
    own.launch("types", args, grid=1, block=1)
    assert [a.ravel()[0] for a in args[1:5]] == [7, True, 2, 0.5]
    assert args[5].tolist() == [0, 3, 0, 0]


@pytest.mark.parametrize(("at", "given", "said"), [
    (0, np.zeros(2, np.int64), "argument 0 is an array; the kernel takes an integer of 8"),
    (3, np.zeros(2, np.int64), "argument 3 is an array of integers of 8 bytes; .* are integers of 4"),
    (3, np.zeros(2, np.float32), "argument 3 is an array of floats of 4 bytes; .* are integers of 4"),
    (4, np.zeros(2, np.float32), "argument 4 is an array of floats of 4 bytes; .* are elements of 2")])
def test_arrays_of_the_wrong_type(own, at, given, said):
    args = [np.int64(2), np.zeros(8, np.uint8), np.zeros(1, bool), np.zeros(1, np.int32),
            np.zeros(1, np.float16), np.zeros(4, np.float32)]
    args[at] = given
    with pytest.raises(RuntimeError, match=f"^types: {said}"):
        own.launch("types", args, grid=1, block=1)


def test_arrays_that_cannot_be_passed(own):
    x = np.zeros(4, np.float32)
    for wrong, error, said in [
            (x[::-1], ValueError, r"args\[1\] of scale runs backwards: pass np.ascontiguousarray"),
            (x.astype(complex), TypeError, r"args\[1\] of scale: element type complex128 is none of"),
            (View(64, "float32", (4,), (1,), "cuda:0"), ValueError, r"args\[1\] of scale is on cuda:0"),
            ([1.0], TypeError, r"args\[1\] of scale must be a NumPy number, .*, or an array, not list")]:
        with pytest.raises(error, match=said):
            scale(own, x, wrong, 4)


def test_parameters_by_name():
    text = """
    extern "C" __global__ void __launch_bounds__(f(1, 2)) k(const float *__restrict__ x, int (&y)[3],
        Pair<int, 2> z, // a comment, with a comma
        float w[], int last = f(1, 2)) {}
    __global__ void none() {}
    __global__ void macro(ARGS) {}
    """
    assert build.parameters_in(text)["k"][0] == "x"
    assert build.parameters_in(text)["k"][2:] == ["z", "w", "last"]
    assert build.parameters_in(text)["none"] == []


def test_without_names_it_is_the_position(tmp_path, cache):
    path = tmp_path / "some.cu"
    path.write_text('#define ARGS float* x, float* y\n'
                    'extern "C" __global__ void k(ARGS) { y[threadIdx.x] = x[0]; }\n')
    with pytest.raises(StrayWrite, match=r"0 bytes after the end of args\[1\]"):
        HostModule(path).launch("k", [np.ones(1, np.float32), np.ones(2, np.float32)], grid=1, block=3)


# ---- Sizes ------------------------------------------------------------------------------------------


def test_sizes_are_integers_of_any_kind(own):
    x = np.arange(64, dtype=np.float32)
    scale(own, x, x, 64, grid=np.int64(4), block=(np.int32(16), 1))
    np.testing.assert_array_equal(x, 2 * np.arange(64))
    with pytest.raises(TypeError, match=r"^grid=3.90625 must be an integer or 1 to 3 of them; rounded up"):
        scale(own, x, x, 64, grid=1000 / 256)
    for block, said in [(2048, "block=2048 has 2048 threads; a block has at most 1024"),
                        ((1, 1, 65), r"block=\(1, 1, 65\) is too large along z, .* at most 64"),
                        ((1, 1, 1, 1), "must be 1 to 3 sizes"),
                        ((4, 0), r"block=\(4, 0\) must be 1 to 3 sizes of at least 1")]:
        with pytest.raises(ValueError, match=said):
            scale(own, x, x, 64, block=block)
    with pytest.raises(RuntimeError, match="^empty_loop: 4294901760 blocks are more than the CPU runs: 2684"):
        own.launch("empty_loop", [np.int32(-1)], grid=(65536, 65535), block=1)
    for seconds in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="seconds="):
            own.launch("empty_loop", [np.int32(-1)], grid=1, block=1, seconds=seconds)


# ---- Loops that never end ---------------------------------------------------------------------------


def more(kernel: str) -> list[np.ndarray]:
    """Its arguments beside `who`."""
    dtype = {"in_a_template": np.float64, "in_a_cold_block": np.int32, "for_a_flag": np.int32,
             "at_shuffles": np.int32, "in_the_library": np.float32}.get(kernel)
    return [] if dtype is None else [np.zeros(2, dtype)]


@pytest.mark.parametrize("kernel", LOOPS)
def test_a_time_limit_names_the_thread(own, kernel, capfd):
    for _ in range(2):
        with pytest.raises(RuntimeError) as caught:
            own.launch(kernel, [np.int32(5), *more(kernel)], grid=2, block=32, seconds=0.1)
        said = str(caught.value)
        who = "" if kernel.startswith("at_") else "5, 0, 0) of block ("
        assert said.startswith(f"{kernel}: thread ({who}")
        assert said.endswith("had not ended after the 0.1 seconds that the launch was given")
    x = np.ones(20, np.float32)
    own.launch("scale", [x, x, np.int32(20), np.float32(2), np.int32(0)], grid=1, block=32, seconds=60)
    assert (x == 2).all()  # and the next launch is sound


CTRL_C = """
import os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from kernels.cuda.host import HostModule, _one_at_a_time

own, how = HostModule(Path(sys.argv[1])), sys.argv[2]
limit = 2 if how == "ignored" else None
def launch(): own.launch("empty_loop", [np.int32(5)], grid=2, block=32, seconds=limit)
if how == "handler": signal.signal(signal.SIGINT, lambda *_: print("handler", flush=True))
if how == "ignored": signal.signal(signal.SIGINT, signal.SIG_IGN)
def press():  # once a kernel runs
    while not _one_at_a_time.locked(): time.sleep(0.01)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=press, daemon=True).start()
try:
    if how == "thread":
        def work():
            try: launch()
            except RuntimeError as error: print(error, flush=True)
        with ThreadPoolExecutor(1) as pool: pool.submit(work).result()
    else: launch()
except BaseException as error: print(type(error).__name__, error, flush=True)
x = np.ones(3, np.float32)
own.launch("scale", [x, x, np.int32(3), np.float32(2), np.int32(0)], grid=1, block=3)
print(x.sum(), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
WHERE = "empty_loop: thread (5, 0, 0) of block ("


@pytest.mark.parametrize(("how", "said"), [
    ("plain", [f"KeyboardInterrupt {WHERE}", "6.0 True"]),
    ("handler", ["handler", f"RuntimeError {WHERE}", "6.0 False"]),
    ("thread", [WHERE, "KeyboardInterrupt", "6.0 True"]),
    ("ignored", [f"RuntimeError {WHERE}", "6.0 False"])])
def test_ctrl_c_ends_an_endless_loop(own, how, said):
    process = subprocess.Popen([sys.executable, "-c", CTRL_C, str(own.source), how], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE)
    try:
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    lines = out.splitlines()
    assert len(lines) == len(said)
    assert all(line.startswith(start) for line, start in zip(lines, said, strict=True)), lines
    if how in ("plain", "handler", "thread"):
        assert "was interrupted" in out
    assert process.returncode == 0


# ---- Headers and building ---------------------------------------------------------------------------


def test_half(own):
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = (rng.standard_normal((2, 32)) * 2.0 ** rng.integers(-12, 8, (2, 1))).astype(np.float16)
        a[:3], b[:3] = [np.inf, np.nan, 65504], [1, 1, 65504]
        total, product, wide = np.zeros_like(a), np.zeros_like(a), np.zeros(32, np.float32)
        own.launch("halves", [a, b, total, product, wide], grid=1, block=32)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(total, a + b)
            np.testing.assert_array_equal(product, a * b)
            np.testing.assert_array_equal(wide, (a.astype(np.float32) / 3).astype(np.float16))


@pytest.mark.parametrize("by", [ml_dtypes.bfloat16(1.5), np.uint16(0x3fc0)], ids=["number", "bits"])
def test_bfloat16(own, by):
    a = np.linspace(-3, 3, 32).astype(ml_dtypes.bfloat16)
    out, wide = np.zeros_like(a), np.zeros(32, np.float32)
    own.launch("bfloats", [a, out, wide, by], grid=1, block=32)
    np.testing.assert_array_equal(out, a * ml_dtypes.bfloat16(1.5))
    np.testing.assert_array_equal(wide, (a.astype(np.float32) / 3).astype(ml_dtypes.bfloat16))


@pytest.mark.parametrize(("code", "said"), [
    ("int x = __reduce_add_sync(~0u, 1);", r"some.cu:2:\d+: error: .__reduce_add_sync. was not declared"),
    ("cudaStream_t s;", r"some.cu:2:\d+: error: .cudaStream_t. was not declared"),
    ("int x; /* asm */\n asm volatile(\"mov.u32 %0, %%laneid;\" : \"=r\"(x));",
     "inline PTX, first at some.cu:3: put it behind #ifndef MINILLM_ON_CPU")])
def test_what_is_not_there_is_named_with_its_line(tmp_path, cache, code, said):
    path = tmp_path / "some.cu"
    path.write_text(f'extern "C" __global__ void k() {{  // asm\n{code}\n}}\n')
    with pytest.raises(RuntimeError, match=said) as caught:
        HostModule(path)
    assert "\n" not in str(caught.value)


def test_files_without_a_kernel_to_launch(tmp_path, cache):
    path = tmp_path / "some.cu"
    path.write_text("template <class T> __global__ void k(T* x) { x[0] = 1; }\n")
    with pytest.raises(ValueError, match="^some.cu has no kernel 'k'; it has none: they are __global__"):
        HostModule(path).launch("k", [], grid=1, block=1)


def test_every_file_that_is_read_is_in_the_key(tmp_path, cache, monkeypatch):
    """Of the package, and of the user's: beside the source, in a folder, included by what is included."""
    package, user = tmp_path / "package", tmp_path / "user"
    shutil.copytree(build.HERE, package / "host")
    shutil.copy(build.HERE.parent / "device.cuh", package)
    monkeypatch.setattr(build, "HERE", package / "host")
    monkeypatch.setattr(build, "_run", lambda command, folder, source: (folder / "made").write_text("made"))
    (user / "deep").mkdir(parents=True)
    source = user / "some.cu"
    source.write_text('#include "device.cuh"\n  #  include <cuda_fp16.h>\n#include "deep/a.hpp"\n')
    (user / "deep" / "a.hpp").write_text('#include "b.inc"\n#include <no_such_file>\n')
    (user / "deep" / "b.inc").write_text("\n")
    files = [source, *user.glob("deep/*"), package / "device.cuh",
             *(package / "host" / name for name in ("fibers.h", "runtime.cpp", "include/two_bytes.h"))]
    assert len(files) == 7
    seen = {build.library(source, {}, exact=True)}
    assert build.library(source, {}, exact=True) in seen
    for count, path in enumerate(files, 2):
        path.write_text(path.read_text() + "\n")
        seen.add(build.library(source, {}, exact=True))
        assert len(seen) == count, path.name
