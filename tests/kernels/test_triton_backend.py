"""The Triton kernels in Triton's interpreter, against float64 (cross-entropy) and float32 (Adam) in NumPy."""

import importlib
import importlib.util
import os
import sys
import threading
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import tuning
from kernels.adam import AdamOptions
from kernels.arrays import View, view
from kernels.backends import BackendUnavailable
from kernels.pointer_table import AdamTensor, Table, table_arrays

ml_dtypes = pytest.importorskip("ml_dtypes")
# kernels.triton comes before Triton itself, which then interprets
adam = pytest.importorskip("kernels.triton.adam", exc_type=BackendUnavailable)
cross_entropy, interpreter, launch = (importlib.import_module(f"kernels.triton.{name}")
                                      for name in ("cross_entropy", "interpreter", "launch"))
triton = importlib.import_module("triton")
tl, Launch = triton.language, launch.Launch

F32, F16, BF16 = np.dtype("float32"), np.dtype("float16"), np.dtype(ml_dtypes.bfloat16)
EPS = {F32: 2.0**-23, F16: 2.0**-10, BF16: 2.0**-7}  # the distance from 1 to the next number
TINY = {F32: 2.0**-149, F16: 2.0**-24, BF16: 2.0**-133}


def opt(array):
    return None if array is None else view(array)


# ---- The interpreter ---------------------------------------------------------------------------------

@triton.jit
def convert(X, Y, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    x = tl.load(X + i, mask=i < n)
    tl.store(Y + i, x.to(Y.dtype.element_ty), mask=i < n)


@triton.jit
def scalars(Y, a, b):
    tl.store(Y, a + b)


def test_float32_to_bfloat16_rounds_as_a_gpu_does(rng):
    exact = np.arange(1 << 16, dtype=np.uint32) << 16  # every bfloat16, NaNs and subnormals among them
    bits = np.concatenate([exact, exact + 0x7FFF, exact + 0x8000, exact + 0x8001, exact + 0xFFFF,
                           rng.integers(0, 1 << 32, 1 << 16).astype(np.uint32)])
    x, got = bits.view(np.float32), np.zeros(len(bits), BF16)
    Launch(convert, {"X": view(x), "Y": view(got), "n": len(x)}, {"B": 1 << 19}, grid=1, warps=1)()
    with np.errstate(all="ignore"):
        want = x.astype(BF16)
    nan = np.isnan(x)
    assert np.isnan(got[nan].astype(np.float32)).all()
    assert np.array_equal(got[~nan].view(np.uint16), want[~nan].view(np.uint16))


def test_bfloat16_to_float32_is_exact():
    x = np.arange(1 << 16).astype(np.uint16).view(BF16)
    got = np.zeros(len(x), np.float32)
    Launch(convert, {"X": view(x), "Y": view(got), "n": len(x)}, {"B": 1 << 16}, grid=1, warps=1)()
    assert np.array_equal(got.view(np.uint32) >> 16, x.view(np.uint16))


def test_a_python_float_is_a_float32():
    out = np.zeros(1)  # float64: a sum in double would show
    Launch(scalars, {"Y": view(out), "a": 1.0, "b": 1e-9}, {}, grid=1, warps=1)()
    assert out[0] == 1
    Launch(scalars, {"Y": view(out), "a": 0.0, "b": 1e-42}, {}, grid=1, warps=1)()
    assert out[0] == np.float32(1e-42)


@triton.jit
def promise(X):
    tl.store(tl.multiple_of(X, 16), 1.0)


def test_a_false_promise_of_alignment_is_found():
    x = np.zeros(8, np.float32)
    first = -x.ctypes.data % 16 // 4
    Launch(promise, {"X": view(x[first:])}, {}, grid=1, warps=1)()
    with pytest.raises(Exception, match="is no multiple of 16 bytes"):
        Launch(promise, {"X": view(x[first + 1:])}, {}, grid=1, warps=1)()


def test_other_kernels_are_interpreted_as_before():
    a, b = np.arange(3, dtype=np.float32), np.zeros(3, np.float32)
    for _ in range(2):
        convert[(1,)](interpreter._Tensor(view(a)), interpreter._Tensor(view(b)), 3, B=4)
    assert np.array_equal(a, b)
    assert interpreter._patches.done is None


def test_without_triton_one_line_says_so(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match="needs Triton: pip install triton"):
        interpreter.prepare()


def test_prepare_keeps_a_choice_that_was_made(monkeypatch):
    monkeypatch.setattr(interpreter, "gpu_present", lambda: False)
    monkeypatch.setitem(os.environ, "TRITON_INTERPRET", "0")
    interpreter.prepare()
    assert os.environ["TRITON_INTERPRET"] == "0"


def test_a_kernel_on_the_wrong_side_is_one_line():
    from triton.runtime.jit import JITFunction

    x = view(np.zeros(1, np.float32))
    with pytest.raises(BackendUnavailable, match="set TRITON_INTERPRET=1 before the first import of triton"):
        Launch(JITFunction(convert.fn), {"X": x}, {}, grid=1, warps=1)()
    with pytest.raises(BackendUnavailable, match="arrays on cuda:0 need Triton's compiler: start Python"):
        Launch(convert, {"X": View(0, "float32", (1,), (1,), "cuda:0")}, {}, grid=1, warps=1)()


# ---- Launching on a GPU, with fakes ------------------------------------------------------------------

class Device:
    """torch.cuda.device or cupy.cuda.Device."""

    current = threading.local()

    def __init__(self, index):
        self.index, self.compute_capability = index, "120"

    def __enter__(self):
        self.before, Device.current.index = getattr(Device.current, "index", 0), self.index

    def __exit__(self, *error):
        Device.current.index = self.before


def fake_cupy(stream):
    cuda = types.SimpleNamespace(
        Device=Device, get_current_stream=lambda: types.SimpleNamespace(ptr=stream()),
        runtime=types.SimpleNamespace(getDevice=lambda: Device.current.index, setDevice=None))
    return types.SimpleNamespace(cuda=cuda)


class Recorder:
    """Stands in for a compiled kernel: asks the driver what Triton's launch asks it."""

    device_caches = None

    def __init__(self, meet=None):
        self.seen, self.meet = [], meet

    def __getitem__(self, grid):
        return self

    def __call__(self, **arguments):
        driver = triton.runtime.driver.active
        if self.meet:
            self.meet.wait(5)  # both threads are inside their launch
        device = driver.get_current_device()
        self.seen.append((device, driver.get_current_stream(device), arguments))


@pytest.fixture
def driver(monkeypatch):
    fake = types.SimpleNamespace(get_current_device=lambda: 7, get_current_stream=lambda device: 70 + device,
                                 get_current_target=lambda: types.SimpleNamespace(warp_size=32))
    monkeypatch.setattr(triton.runtime.driver, "_active", fake)
    return fake


def on_gpu(library, index=1):
    owner = type("ndarray", (), {"__module__": library, "__dlpack__": None, "__dlpack_device__": None})()
    return View(256, "float32", (4,), (1,), f"cuda:{index}", owner)


def test_launch_runs_on_the_stream_of_the_arrays_library(driver, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(lambda: 100 + Device.current.index))
    stream = lambda index: types.SimpleNamespace(cuda_stream=200 + index)
    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(device=Device, current_stream=stream))
    monkeypatch.setitem(sys.modules, "torch", torch)
    kernel = Recorder()
    for _ in range(2):
        Launch(kernel, {"X": on_gpu("cupy")}, {"B": 4}, grid=3, warps=2, fuse=False)()
    Launch(kernel, {"n": 3, "X": None, "Y": on_gpu("torch", 2)}, {}, grid=1, warps=8)()
    (d0, s0, arguments), (d1, s1, _), (d2, s2, _) = kernel.seen
    assert [(d0, s0), (d1, s1), (d2, s2)] == [(1, 101), (1, 101), (2, 202)]
    del arguments["X"]
    assert arguments == {"B": 4, "num_warps": 2, "enable_fp_fusion": False}
    assert (driver.get_current_device(), driver.get_current_stream(3)) == (7, 73)  # other launches as before


def test_two_threads_launch_on_their_own_streams(driver, monkeypatch):
    mine = threading.local()
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(lambda: mine.stream))
    kernel = Recorder(threading.Barrier(2))

    def run(index):
        mine.stream = 10 * index
        Launch(kernel, {"X": on_gpu("cupy", index)}, {}, grid=1, warps=1)()

    threads = [threading.Thread(target=run, args=(i,)) for i in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen[:2] for seen in kernel.seen) == [(1, 10), (2, 20)]


def test_without_torch_the_driver_asks_cupy(driver, monkeypatch):
    from triton.backends.nvidia import driver as nvidia

    def none_active(drivers):
        raise RuntimeError("0 active drivers")

    monkeypatch.setattr(triton.runtime.driver, "_active", None)
    monkeypatch.setattr(type(triton.runtime.driver), "default", property(none_active))
    monkeypatch.setattr(nvidia, "CudaUtils", lambda: None)
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(lambda: 5))
    kernel = Recorder()
    Launch(kernel, {"X": on_gpu("cupy", 3)}, {}, grid=1, warps=1)()
    active = triton.runtime.driver.active
    assert kernel.seen[0][:2] == (3, 5)
    assert isinstance(active, nvidia.CudaDriver)
    with Device(3):
        assert active.get_current_target().arch == 120
    Launch(kernel, {"X": on_gpu("cupy", 3)}, {}, grid=1, warps=1)()
    assert triton.runtime.driver.active is active


# ---- Cross-entropy -----------------------------------------------------------------------------------

def reference(raw, y, *, scales=None, grad=None, weights=None, ignore_index=-100, label_smoothing=0.0,
              z_loss=0.0, softcap=None):
    """loss, lse, gradient in float64; what float32 may get wrong of the first and last, in units of its eps.

    The last is the sum of the terms' magnitudes, times the few roundings on their way: x - m, rounded, has an
    error in proportion to its size, and exp makes it a relative one.
    """
    R, V = raw.shape
    e, z = label_smoothing, z_loss
    scale_ce, scale_z = (1, 1) if scales is None else scales.astype(float)
    loss, lse, of_loss = np.zeros(R), np.zeros(R), np.zeros(R)
    d, size = np.zeros((R, V)), np.zeros((R, V))
    for i in range(R):
        if y[i] == ignore_index:
            continue
        if not 0 <= y[i] < V:
            loss[i] = lse[i] = d[i] = np.nan
            continue
        x, t = raw[i].astype(float), 0.0
        w = np.ones(V) if weights is None else weights.astype(float)
        if softcap is not None:
            t = np.tanh(x / softcap)
            x = np.where(x == -np.inf, x, softcap * t)
        there, label = x != -np.inf, np.arange(V) == y[i]
        m, share = x.max() if there.any() else 0, e / max(there.sum(), 1)
        exp = np.exp(x - m)
        r, e_y = exp[~label].sum(), exp[y[i]]
        s = r + e_y
        lse[i] = m + np.log(s)
        nll = np.log1p(r / e_y) if e_y >= r else np.log(s) + (m - x[y[i]])
        far = np.where(there, w * (lse[i] - np.where(there, x, 0)), 0)
        loss[i] = scale_ce * ((1 - e) * w[y[i]] * nll + share * far.sum()) + scale_z * z * lse[i] ** 2
        of_loss[i] = loss[i] + scale_ce * share * w[there].sum() * nll  # the smoothing's part is W nll - C
        g = 1.0 if grad is None else float(grad if grad.ndim == 0 else grad[i])
        W = w[there].sum()
        a, others = (1 - e) * w[y[i]] + share * W, share * w[there & ~label].sum()
        ce = np.where(label, others - a * r / s, a * exp / s - share * w * there)
        d[i] = g * (scale_ce * ce + scale_z * 2 * z * lse[i] * exp / s)
        off = m - (x if V == 1 else np.where(label, x[~label].max(), x))  # what r is made of, at the label
        roundings = 8 + np.minimum(off, 100) + 4 * (softcap or 0)
        size[i] = g * (scale_ce * np.where(label, others + a * r / s, a * exp / s + share * w * there)
                       + scale_z * 2 * z * abs(lse[i]) * exp / s) * roundings
        if softcap is not None:
            slope = np.where(there, 1 / np.cosh(np.where(there, raw[i].astype(float), 0) / softcap) ** 2, 0)
            d[i], size[i] = d[i] * slope, size[i] * slope
    return loss, lse, d, of_loss, size


def placed(values, dtype, offset, stride, fill):
    """`values` as rows `stride` apart, `offset` elements past a 16-byte boundary, in a buffer of `fill`."""
    R, V = values.shape
    buffer = np.full(16 + offset + R * stride + 64, fill, dtype)
    buffer = buffer[(-buffer.ctypes.data % 16) // dtype.itemsize:]
    strides = (stride * dtype.itemsize, dtype.itemsize)
    array = np.lib.stride_tricks.as_strided(buffer[16 + offset:], (R, V), strides)
    array[...] = values.astype(dtype)
    return array, buffer


def outside(array, buffer):
    """The buffer's elements that are not the array's."""
    mask = np.ones(len(buffer), bool)
    first = (array.ctypes.data - buffer.ctypes.data) // buffer.itemsize
    for i in range(len(array)):
        start = first + i * array.strides[0] // buffer.itemsize
        mask[start:start + array.shape[1]] = False
    return buffer[mask]


def run_rows(x, y, dx, *, scales=None, grad=None, weights=None, ignore_index=-100, label_smoothing=0.0,
             z_loss=0.0, softcap=None):
    loss, lse = np.full((2, len(x)), 7, np.float32)
    cross_entropy.rows(view(x), view(y), opt(dx), view(loss), view(lse), scales=opt(scales), grad=opt(grad),
                       weights=opt(weights), ignore_index=ignore_index, label_smoothing=label_smoothing,
                       z_loss=z_loss, softcap=softcap)
    return loss, lse


def close(got, want, bound, name):
    got = got.astype(float)
    assert np.array_equal(np.isnan(got), np.isnan(want)), f"{name}: NaN at other places"
    assert np.array_equal(got[np.isinf(want)], want[np.isinf(want)]), f"{name}: infinities differ"
    sound = np.isfinite(want)
    error = np.abs(got[sound] - want[sound]) / np.maximum(bound[sound], 1e-300)
    assert error.size == 0 or error.max() <= 1, f"{name}: {error.max():.3g} times the error allowed"


def check_rows(x, y, dx, got, options):
    with np.errstate(all="ignore"):
        loss, lse, d, of_loss, size = reference(x, y, **options)
    units = 8 + 4 * (options.get("softcap") or 0)  # a softcap's x is off by a few ulp of c, not of x
    close(got[1], lse, EPS[F32] * (4 + np.abs(lse) + (options.get("softcap") or 0)), "lse")
    close(got[0], loss, EPS[F32] * (units * np.abs(of_loss) + units / 4), "loss")
    if dx is not None:
        subnormal = TINY[dx.dtype] + 32 * TINY[F32]  # of the result, and of an exp before its factor
        close(dx, d, EPS[F32] * size + EPS[dx.dtype] / 2 * np.abs(d) + subnormal, "gradient")


@pytest.fixture(params=["one_sweep", "two_sweeps"])
def kernel(request, monkeypatch):
    """Which kernel a short row goes to: two_sweeps takes it in blocks of 64 columns."""
    if request.param == "two_sweeps":
        monkeypatch.setattr(tuning, "triton_cross_entropy", lambda vocab, options=0: (64, 1))
        monkeypatch.setattr(cross_entropy, "one_sweep", cross_entropy.two_sweeps)
    return request.param


def problems(draw):
    R, V = draw(st.integers(1, 3)), draw(st.integers(1, 40) | st.integers(100, 300))
    dtype = draw(st.sampled_from([F32, F16, BF16]))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    x = rng.standard_normal((R, V)) * draw(st.sampled_from([0.1, 3, 20]))
    x[rng.random((R, V)) < draw(st.sampled_from([0, 0.3, 0.9]))] = -np.inf
    y = rng.integers(0, V, R).astype(draw(st.sampled_from([np.int64, np.int32])))
    ignore_index = draw(st.sampled_from([-100, 1]))  # a class may be the one to ignore
    y[rng.random(R) < draw(st.sampled_from([0, 0.3]))] = ignore_index
    x[y == ignore_index] = np.nan
    y[rng.random(R) < draw(st.sampled_from([0, 0.3]))] = draw(st.sampled_from([-1, V, 2**31 - 1]))
    some = lambda n: rng.uniform(0.25, 2, n).astype(np.float32)
    pick = lambda *choices: draw(st.sampled_from(choices))
    options = {"ignore_index": ignore_index, "label_smoothing": pick(0.0, 0.1, 0.9),
               "z_loss": pick(0.0, 0.1), "softcap": pick(None, 1.0, 30.0), "weights": pick(None, some(V)),
               "scales": pick(None, some(2)), "grad": pick(None, some(()), some(R))}
    offset, pad = draw(st.integers(0, 8)), draw(st.integers(0, 8))
    return x, y, dtype, options, offset, V + pad, pick(offset, 3), V + pick(pad, 5)


def _check(problem):
    values, y, dtype, options, offset, stride, dx_offset, dx_stride = problem
    with np.errstate(over="ignore"):
        x, _ = placed(values, dtype, offset, stride, np.nan)
    dx, buffer = placed(np.full(values.shape, 7), dtype, dx_offset, dx_stride, 5)
    got = run_rows(x, y, dx, **options)
    check_rows(x, y, dx, got, options)
    assert (outside(dx, buffer) == 5).all()
    again = run_rows(x, y, None, **options)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(got, again, strict=True))


@settings(max_examples=80)
@given(st.composite(problems)())
def test_rows_in_one_sweep(problem):
    _check(problem)


@settings(max_examples=80)
@given(st.composite(problems)())
def test_rows_in_two_sweeps(problem):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "triton_cross_entropy", lambda vocab, options=0: (64, 1))
        patch.setattr(cross_entropy, "one_sweep", cross_entropy.two_sweeps)
        _check(problem)


@pytest.mark.parametrize(("vocab", "dtype"), [(32768, F32), (32001, BF16), (50257, BF16), (65600, F16)])
def test_real_vocabularies(vocab, dtype, rng):
    x, _ = placed(rng.standard_normal((2, vocab)) * 4, dtype, 0, vocab, np.nan)
    y, dx = rng.integers(0, vocab, 2), np.zeros((2, vocab), dtype)
    some = [view(a) for a in (x, y, dx, dx, dx)]
    plan = cross_entropy.plan(*some, None, None, None, -100, 0.0, 0.0, None)
    assert plan.kernel is (cross_entropy.one_sweep if vocab <= 32768 else cross_entropy.two_sweeps)
    check_rows(x, y, dx, run_rows(x, y, dx), {})


@pytest.mark.parametrize("dtype", [F32, F16, BF16])
def test_the_labels_gradient_keeps_its_digits_as_its_probability_goes_to_1(kernel, dtype):
    gaps = np.array([1, 8, 16, 30, 60, 85])
    x = np.zeros((len(gaps), 100), dtype)
    x[:, 70] = gaps
    dx = np.zeros_like(x)
    loss, _ = run_rows(x, np.full(len(gaps), 70), dx)
    want = np.log1p(99 * np.exp(-gaps.astype(float)))
    close(loss, want, 4 * EPS[F32] * want, "loss")
    want = -99 / (99 + np.exp(gaps.astype(float)))  # p_y - 1
    close(dx[:, 70], want, (4 * EPS[F32] + EPS[dtype] / 2) * np.abs(want) + TINY[dtype], "label's gradient")


def test_whole_blocks_of_minus_infinity(kernel, rng):
    x = np.full((5, 300), -np.inf)
    x[0, 200:] = rng.standard_normal(100)  # leading blocks
    x[1, :100] = rng.standard_normal(100)  # trailing ones
    x[2, 130] = 3.0  # a single class
    x[3, 250:260] = 1e4  # and large values after nothing
    y = np.array([205, 50, 130, 255, 7])  # the last row has no class at all
    for options in ({}, {"label_smoothing": 0.1, "z_loss": 0.01}):
        dx = np.zeros((5, 300), np.float32)
        got = run_rows(x.astype(np.float32), y, dx, **options)
        check_rows(x[:4].astype(np.float32), y[:4], dx[:4], [part[:4] for part in got], options)
        assert np.isnan(got[0][4])
        assert np.isnan(dx[4]).all()


def test_infinite_and_nan_logits(kernel):
    x = np.zeros((4, 200), np.float32)
    x[0, 150], x[1, 150], x[2, 20], x[3, 20] = np.inf, np.nan, np.inf, -np.inf
    dx = np.zeros_like(x)
    loss, lse = run_rows(x, np.array([20, 20, 20, 20]), dx)
    assert np.isnan(loss[:3]).all()
    assert np.isnan(lse[:3]).all()
    assert np.isnan(dx[:3, 20]).all()
    assert loss[3] == np.inf  # the label is an absent class
    assert np.isclose(dx[3, 20], -1)
    assert np.allclose(np.delete(dx[3], 20), 1 / 199)


def test_labels_that_are_no_class(kernel):
    x, dx = np.zeros((6, 100), np.float32), np.zeros((6, 100), np.float32)
    loss, lse = run_rows(x, np.array([100, -1, 2**31 + 5, -2**62, 99, 101]), dx)
    bad = [True, True, True, True, False, True]
    assert np.array_equal(np.isnan(loss), bad)
    assert np.array_equal(np.isnan(lse), bad)
    assert np.array_equal(np.isnan(dx).all(1), bad)
    assert np.isfinite(dx[4]).all()


def test_overwriting_the_logits_gives_the_same_bits(kernel, rng):
    for offset, stride in ((0, 304), (3, 301), (1, 304)):
        values, y = rng.standard_normal((3, 300)), np.array([0, 299, -100])
        x, _ = placed(values, BF16, offset, stride, np.nan)
        apart = np.zeros((3, 300), BF16)
        separate = run_rows(x, y, apart, label_smoothing=0.1, softcap=5.0)
        together = run_rows(x, y, x, label_smoothing=0.1, softcap=5.0)
        assert np.array_equal(separate, together)
        assert np.array_equal(apart.view(np.uint16), x.view(np.uint16))


def test_a_rows_bits_do_not_depend_on_other_rows(kernel, rng):
    x, _ = placed(rng.standard_normal((4, 201)), F32, 1, 203, np.nan)
    y, dx, alone = rng.integers(0, 201, 4), np.zeros((4, 201), np.float32), np.zeros((1, 201), np.float32)
    losses, _ = run_rows(x, y, dx)
    for i in range(4):
        loss, _ = run_rows(x[i:i + 1], y[i:i + 1], alone)
        assert loss[0] == losses[i]
        assert np.array_equal(alone[0], dx[i])


def test_a_row_stride_that_overflows_int32(kernel, tmp_path, rng):
    stride = (1 << 29) + 5  # the fifth row begins past 2^31 elements
    # From where a wrapped offset would lead to the last row, in a file whose untouched pages take no space.
    everything = np.memmap(tmp_path / "sparse", np.float16, "w+", shape=2 * 4 * stride + 2048)
    x = np.lib.stride_tricks.as_strided(everything[4 * stride:], (5, 100), (2 * stride, 2))
    x[...] = rng.standard_normal((5, 100))
    before, y = x.copy(), rng.integers(0, 100, 5)
    check_rows(before, y, x, run_rows(x, y, x), {})


@pytest.mark.parametrize("R", [0, 1, 4096, 9000])
def test_scales_and_total(R, rng):
    y, weights = rng.integers(-3, 12, R).astype(np.int32), rng.uniform(0.1, 2, 10).astype(np.float32)
    kept = y[(y >= 0) & (y < 10) & (y != 4)]
    out = np.zeros(2, np.float32)
    for w in (None, weights):
        cross_entropy.scales(view(y), opt(w), view(out), ignore_index=4, vocab=10)
        D = len(kept) if w is None else w[kept].sum(dtype=float)
        assert np.array_equal(out, np.float32([1 / D, 1 / len(kept)] if len(kept) else [0, 0]))
    loss, sum_ = (1e6 * rng.standard_normal(R)).astype(np.float32), np.ones((), np.float32)
    cross_entropy.total(view(loss), view(sum_))
    assert np.isclose(sum_, loss.sum(dtype=float), rtol=2e-7)


def test_no_rows_launch_nothing():
    assert run_rows(np.zeros((0, 5), np.float32), np.zeros(0, int), None)[0].shape == (0,)


# ---- Adam --------------------------------------------------------------------------------------------

def fmix32(x):
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return x ^ (x >> 16)


def stochastically(theta, seed, step, tensor):
    key = fmix32(fmix32((seed ^ (step * 0x85EBCA6B)) & 0xFFFFFFFF) ^ (tensor * 0x9E3779B9 & 0xFFFFFFFF))
    h = fmix32(np.arange(len(theta)).astype(np.uint64) ^ np.uint64(fmix32(key))) & np.uint64(0xFFFF)
    bits = theta.view(np.uint32)
    rounded = ((bits + h.astype(np.uint32)) & np.uint32(0xFFFF0000)).view(np.float32)
    return np.where(np.isfinite(theta), rounded, theta)


def adam_reference(t, o, tensor):
    """New (p, m, v, vmax, master) of a dict of arrays, in float32 operation by operation."""
    f = np.float32
    if o["found_inf"] is not None and o["found_inf"] != 0:
        return [t[k] for k in ("p", "m", "v", "vmax", "master")]
    g, m, v = (t[k].astype(f) for k in "gmv")
    theta = (t["p"] if t["master"] is None else t["master"]).astype(f)
    step = int(o["step"])
    if isinstance(o["step"], int):
        c1, c2 = 1 - o["beta1"]**step, 1 - o["beta2"]**step
    else:
        c1, c2 = 1 - squared(o["beta1"], step), 1 - squared(o["beta2"], step)
    alpha, lam = f(o["lr"]), o["weight_decay"]
    if o["grad_scale"] is not None:
        g = g / o["grad_scale"]
    if o["maximize"]:
        g = -g
    if lam and o["decoupled"]:
        theta = theta - (f(o["lr"] * lam) if isinstance(o["lr"], float) else alpha * f(lam)) * theta
    elif lam:
        g = g + f(lam) * theta
    m = f(o["beta1"]) * m + f(1 - o["beta1"]) * g
    v = f(o["beta2"]) * v + f(1 - o["beta2"]) * (g * g)
    vmax = None if t["vmax"] is None else np.maximum(t["vmax"].astype(f), v)
    v_hat = (v if vmax is None else vmax) / f(c2)
    theta = theta - alpha / (np.sqrt(v_hat) + f(o["eps"])) * (m / f(c1))
    p = theta if o["rounding_seed"] is None else stochastically(theta, o["rounding_seed"], step, tensor)
    dtypes = (t["p"].dtype, t["m"].dtype, t["m"].dtype, t["m"].dtype, np.float32)
    return [None if x is None else x.astype(d) for x, d in
            zip((p, m, v, vmax, None if t["master"] is None else theta), dtypes, strict=True)]


def squared(beta, t):
    """beta^t by squaring, in double."""
    power = 1.0
    while t:
        power, beta, t = power * beta if t & 1 else power, beta * beta, t >> 1
    return power


def adam_problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    p, g, m = (np.dtype(draw(st.sampled_from(d))) for d in ([F32, BF16, F16], [F32, BF16, F16], [F32, BF16]))
    master = p != F32 and draw(st.booleans())
    amsgrad, dyadic = draw(st.booleans()), draw(st.integers(0, 2))
    tensors = []
    for n in draw(st.lists(st.sampled_from([1, 5, 300, 4096, 4100]), min_size=1, max_size=2)):
        t = {}
        shift = draw(st.sampled_from([0, 0, 1, 3]))
        for name, dtype in (("p", p), ("g", g), ("m", m), ("v", m), ("vmax", m), ("master", F32)):
            if (name == "vmax" and not amsgrad) or (name == "master" and not master):
                t[name] = t[name + " buffer"] = None
                continue
            values = rng.standard_normal((1, n)) * rng.choice([1e-3, 1, 100], (1, n))
            values[rng.random((1, n)) < 0.1] = rng.choice([0, -0.0, 1e-30])
            values[rng.random((1, n)) < 0.01 * dyadic] = np.nan
            fill = np.nan if name == "g" else 5
            values = np.square(values) if name[0] == "v" else values
            array, t[name + " buffer"] = placed(values, dtype, shift, n, fill)
            t[name] = array[0]
        tensors.append(t)
    number = lambda value: np.array(value, np.float32)
    pick = lambda *choices: draw(st.sampled_from(choices))
    step = pick(1, 2, 1000, 10**7)
    options = {
        "lr": pick(1e-3, number(1e-3)), "beta1": pick(0.9, 0.0), "beta2": 0.999,
        "eps": pick(1e-8, 1e-40, 0.0), "weight_decay": pick(0.0, 0.1),
        "step": pick(step, np.array(step), np.array(step, np.int32), number(step)),
        "decoupled": pick(True, False), "amsgrad": amsgrad, "maximize": pick(True, False),
        "grad_scale": pick(None, number(3)), "exact": pick(True, False),
        "rounding_seed": pick(None, -3, 2**40 + 1) if p == BF16 and not master else None,
        "found_inf": pick(None, number(0), number(0), number(1), number(np.nan))}
    return tensors, options


NAMES = ("p", "g", "m", "v", "vmax", "master")


def run_adam(tensors, options, places):
    views = [AdamTensor(*(opt(t[name]) for name in NAMES)) for t in tensors]
    table = table_arrays([(*(0 if v is None else v.address for v in t), t.p.size, place)
                          for t, place in zip(views, places, strict=True)])
    seen = {k: view(o) if isinstance(o, np.ndarray) else o for k, o in options.items()}
    adam.update(views, AdamOptions(**seen), Table(*map(view, table)))


@settings(max_examples=100)
@given(st.composite(adam_problems)())
def test_adam_is_bit_equal_to_numpy(problem):
    tensors, options = problem
    places = [3 + 2 * i for i in range(len(tensors))]
    with np.errstate(all="ignore"):
        wanted = [adam_reference(t, options, place) for t, place in zip(tensors, places, strict=True)]
    run_adam(tensors, options, places)
    for t, want in zip(tensors, wanted, strict=True):
        for name, expected in zip(("p", "m", "v", "vmax", "master"), want, strict=True):
            if expected is None:
                continue
            got, kind = t[name], f"u{t[name].itemsize}"
            nan = np.isnan(expected.astype(float))
            assert np.array_equal(nan, np.isnan(got.astype(float))), name
            assert np.array_equal(got[~nan].view(kind), expected[~nan].view(kind)), name
            assert (outside(got[None], t[name + " buffer"]) == 5).all(), f"{name}: written outside"


def test_stochastic_rounding_keeps_the_mean():
    n, f = 4096, np.float32
    p, zeros = np.ones(n, BF16), lambda: np.zeros(n, f)
    t = {"p": p, "g": zeros(), "m": zeros(), "v": zeros(), "vmax": None, "master": None}
    # the decay moves every p by 0.0005 down; the bfloat16 below 1 is 2^-8 = 0.0039 away
    options = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.5, "step": 1,
               "rounding_seed": 0}
    run_adam([t], options, [0])
    down = np.mean(p.astype(f) < 1)
    assert set(np.unique(p.astype(f))) == {f(1), f(1 - 2**-8)}
    assert abs(down - 0.0005 * 2**8) < 0.02
    first = p.copy()
    p[...] = 1
    run_adam([t], options | {"rounding_seed": 1}, [0])
    assert not np.array_equal(first, p)


SMALL = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "step": 1}


@pytest.mark.parametrize("found_inf", [1, 2, -1, np.nan, np.inf])
def test_found_inf_changes_nothing(found_inf):
    t = dict.fromkeys(NAMES) | {name: np.ones(5, np.float32) for name in "pgmv"}
    run_adam([t], SMALL | {"found_inf": np.array(found_inf, np.float32)}, [0])
    assert all((t[name] == 1).all() for name in "pgmv")


def test_stochastic_rounding_leaves_nan_alone():
    # All ones, so that any random bits added to it would carry into the sign and leave 0.
    t = dict.fromkeys(NAMES) | {name: np.ones(300, np.float32) for name in "gmv"} | {"p": np.ones(300, BF16)}
    t["g"].view(np.uint32)[:] = 0x7FFFFFFF
    run_adam([t], SMALL | {"rounding_seed": 1}, [0])
    assert np.isnan(t["p"].astype(np.float32)).all()


def test_exact_mode_forbids_fma():
    t = AdamTensor(*(view(np.ones(4, np.float32)) for _ in range(4)), None, None)
    table = Table(*map(view, table_arrays([(t.p.address,) * 4 + (0, 0, 4, 0)])))
    for exact in (True, False):
        o = AdamOptions(lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, step=1, exact=exact)
        assert adam.plan([t], o, table).options(32)["enable_fp_fusion"] is not exact


def test_launches_name_only_arguments_that_exist():
    assert Launch(convert, {}, {}, grid=1, warps=4).options(32) == {"num_warps": 4, "enable_fp_fusion": True}
    wide = Launch(convert, {}, {}, grid=1, warps=32)
    assert [wide.options(lanes)["num_warps"] for lanes in (32, 64)] == [32, 16]  # 1024 threads
