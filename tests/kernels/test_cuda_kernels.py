"""The CUDA C kernels, run on the CPU: every variant that a GPU would get, against the formulas in float64."""

from __future__ import annotations

import itertools
import mmap

import ml_dtypes
import numpy as np
import pytest

from kernels import tuning
from kernels.adam import AdamOptions, launch
from kernels.arrays import View, numpy_dtype, view
from kernels.cuda import adam, cross_entropy, host, module
from kernels.guards import guarded
from kernels.pointer_table import AdamTensor
from minillm import formulas

pytestmark = pytest.mark.skipif(host.compiler() is None, reason="needs g++: apt-get install g++")

IGNORE = -100
MAP_NORESERVE = 0x4000  # Linux's, where alone the kernels run on the CPU
CLUSTERS = [{"cluster": c} for c in (1, 2, 4, 8)]
KERNELS = [*CLUSTERS, {"streaming": True}]


def named(kernel):
    return "-".join(f"{key}{value}" for key, value in kernel.items())


# ---- Cross-entropy: reference and launch --------------------------------------------------------------


def reference(x, y, *, e=0.0, z=0.0, w=None, c=None, scales=(1, 1), grad=1.0):
    """(loss, lse, dx) in float64, by the formulas of cross_entropy.cuh, written down independently of it."""
    raw = x.astype(np.float64)
    rows, V = raw.shape
    kept = (y != IGNORE)
    raw = np.where(kept[:, None], raw, 0)
    x = raw if c is None else np.where(raw == -np.inf, raw, c * np.tanh(raw / c))
    w = np.ones(V) if w is None else w.astype(np.float64)
    i, label = np.arange(rows), np.where(kept, y, 0)
    m = x.max(1, keepdims=True)
    exp = np.exp(x - m)
    r = exp.copy()
    r[i, label] = 0
    r = r.sum(1)
    s = r + exp[i, label]
    lse = m[:, 0] + np.log(s)
    present = x > -np.inf
    share = e / present.sum(1, keepdims=True) * np.where(present, w, 0)  # (rows, V)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        near = exp[i, label] >= r
        nll = np.where(near, np.log1p(r / exp[i, label]), lse - x[i, label])
    ce = (1 - e) * w[label] * nll
    if e:
        ce += np.sum(share * np.where(present, lse[:, None] - x, 0), axis=1)
    q = share.copy()
    q[i, label] += (1 - e) * w[label]
    a = q.sum(1, keepdims=True)
    dx = scales[0] * (a * exp / s[:, None] - q)
    dx[i, label] = scales[0] * ((a[:, 0] - q[i, label]) - a[:, 0] * (r / s))
    dx += scales[1] * 2 * z * lse[:, None] * exp / s[:, None]
    if c is not None:
        dx *= 1 - np.tanh(raw / c) ** 2
    dx *= np.broadcast_to(grad, (rows,))[:, None]
    loss = scales[0] * ce + scales[1] * z * lse**2
    return np.where(kept, loss, 0), np.where(kept, lse, 0), np.where(kept[:, None], dx, 0)


def placed(values, offset=0, gap=0):
    """The same values `offset` elements beyond a multiple of 16 bytes, and `gap` elements between rows."""
    R, V = values.shape
    size = values.itemsize
    raw = np.full(64 + (offset + R * (V + gap)) * size, 0xFF, np.uint8)
    start = -raw.ctypes.data % 64 + offset * size
    array = np.ndarray((R, V), values.dtype, raw, start, ((V + gap) * size, size))
    array[...] = values
    return array


def run(x, y, *, dx=None, e=0.0, z=0.0, w=None, c=None, scales=None, grad=None, gradient=True, **kernel):
    """Launches the kernel in guarded memory; (loss, lse, dx)."""
    if gradient and dx is None:
        dx = placed(np.zeros_like(x))
    given = [x, y, dx, np.full(len(x), 9, np.float32), np.full(len(x), 9, np.float32),
             None if scales is None else np.array(scales, np.float32),
             None if grad is None else np.asarray(grad, np.float32), w]
    views = [None if array is None else view(array) for array in given]
    names = ("x", "y", "dx", "loss", "lse", "scales", "grad", "weights")
    with guarded(views, names) as (x_, y_, dx_, loss, lse, scales_, grad_, w_):
        cross_entropy.rows(x_, y_, dx_, loss, lse, scales=scales_, grad=grad_, weights=w_,
                           ignore_index=IGNORE, label_smoothing=e, z_loss=z, softcap=c, **kernel)
    return given[3], given[4], dx


def batch(dtype, V, rows=6, seed=0, scale=3.0):
    """Logits with labels at both ends and in the middle, and one row that is ignored and holds NaN."""
    rng = np.random.default_rng(seed)
    x = (scale * rng.standard_normal((rows, V))).astype(numpy_dtype(dtype))
    y = rng.integers(0, V, rows)
    y[:2] = 0, V - 1
    if rows > 3:
        y[3], x[3] = IGNORE, np.nan
    return x, y


def half_ulp(values, dtype):
    """Half the distance between neighbours at these values: what one rounding may cost."""
    kind = ml_dtypes.finfo(numpy_dtype(dtype))
    return 0.5 * np.maximum(np.abs(values) * 2.0**-kind.nmant, float(kind.smallest_subnormal))


def check(got, want, dtype, rtol=3e-6, atol=0.0):
    """Loss and lse to float32, every gradient to one rounding and a relative error (atol: cancellation)."""
    for mine, right in zip(got[:2], want[:2], strict=True):
        np.testing.assert_allclose(mine, right, rtol=2e-6, atol=2e-6)
    error = np.abs(got[2].astype(np.float64) - want[2])
    allowed = 1.01 * half_ulp(want[2], dtype) + rtol * np.abs(want[2]) + atol
    assert np.all(error <= allowed), np.max(error / allowed)


# ---- Cross-entropy: every variant ---------------------------------------------------------------------

EVERYTHING = {"e": 0.1, "z": 1e-3, "c": 8.0, "scales": (0.25, 0.125), "grad": np.arange(6) - 2.5}


@pytest.mark.parametrize("kernel", KERNELS, ids=named)
@pytest.mark.parametrize("V", [1003, 2049])
def test_bfloat16_at_any_alignment(kernel, V):
    x, y = batch("bfloat16", V)
    check(run(x, y, **kernel), reference(x, y), "bfloat16", rtol=2e-5)


@pytest.mark.parametrize(("dtype", "kernel"), [
    ("float32", {"cluster": 2}), ("float32", {"streaming": True}),
    ("float16", {"cluster": 1}), ("bfloat16", {"cluster": 1})])
def test_aligned_rows(dtype, kernel):
    x, y = batch(dtype, 2064)
    x = placed(x)
    check(run(x, y, **kernel), reference(x, y), dtype, rtol=2e-5 if dtype != "float32" else 3e-6)


@pytest.mark.parametrize("kernel", [{"cluster": 4}, {"streaming": True}], ids=named)
def test_all_options_at_once(kernel):
    x, y = batch("float32", 1003)
    x[0, 100:300] = -np.inf
    x[4, :900] = -np.inf
    y[4] = 950
    w = np.random.default_rng(1).uniform(0.5, 2, 1003).astype(np.float32)
    check(run(x, y, w=w, **EVERYTHING, **kernel), reference(x, y, w=w, **EVERYTHING), "float32", atol=3e-8)


@pytest.mark.parametrize("options", [{"w": np.linspace(0, 2, 1003, dtype=np.float32)}, {"z": 0.01},
                                     {"grad": 3.0}, {"scales": (0.5, 0.0), "z": 1.0}])
def test_options_that_are_decided_at_run_time(options):
    x, y = batch("bfloat16", 1003)
    check(run(x, y, cluster=4, **options), reference(x, y, **options), "bfloat16", rtol=3e-5)


@pytest.mark.parametrize("kernel", [{"cluster": 8}, {"streaming": True}], ids=named)
def test_short_rows_leave_blocks_and_threads_without_columns(kernel):
    for V in (1, 2, 7, 8, 9, 15, 16, 17, 24, 31, 65):
        x, y = batch("bfloat16", V, seed=V)
        check(run(x, y, **kernel), reference(x, y), "bfloat16", rtol=2e-5)


def test_without_a_gradient_only_the_losses():
    x, y = batch("bfloat16", 1003)
    loss, lse, none = run(x, y, gradient=False)
    want = reference(x, y)
    assert none is None
    np.testing.assert_allclose(loss, want[0], rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(lse, want[1], rtol=2e-6, atol=2e-6)


def test_int32_labels():
    x, y = batch("bfloat16", 1003)
    check(run(x, y.astype(np.int32), cluster=1), reference(x, y), "bfloat16", rtol=2e-5)


def test_the_approximate_exponential_is_good_enough(monkeypatch):
    """With fast_exp off by as many ulp as the GPU's may be, bfloat16 results stay within the same bounds."""
    monkeypatch.setattr(cross_entropy, "load", lambda source, defines, **how: module.load(
        source, {**defines, "PERTURB": 1}, **how))
    x, y = batch("bfloat16", 1003)
    for seed in range(3):
        check(run(x, y, cluster=1, seed=seed), reference(x, y), "bfloat16", rtol=4e-5)


# ---- Cross-entropy: the same bits wherever and whenever ---------------------------------------------------


def same_bits(got, want):
    for mine, first in zip(got, want, strict=True):
        assert np.ascontiguousarray(mine).tobytes() == np.ascontiguousarray(first).tobytes()


@pytest.mark.parametrize("kernel", [{"cluster": 1}, {"cluster": 4}, {"streaming": True}], ids=named)
def test_bits_do_not_depend_on_alignment(kernel):
    x, y = batch("bfloat16", 333)
    want = run(placed(x), y, **kernel)
    for offset, d_offset in itertools.product(range(8), range(8)):
        dx = placed(np.zeros_like(x), d_offset, gap=d_offset % 3)
        same_bits(run(placed(x, offset, gap=offset % 5), y, dx=dx, **kernel), want)


def test_bits_of_aligned_rows_are_those_of_unaligned_ones():
    x, y = batch("bfloat16", 2064)
    same_bits(run(placed(x), y, cluster=1), run(placed(x, 3), y, cluster=1))


@pytest.mark.parametrize("kernel", KERNELS, ids=named)
def test_in_place_and_in_any_order_of_threads(kernel):
    x, y = batch("bfloat16", 1003)
    want = run(x, y, **kernel)
    for seed, offset in enumerate((0, 1, 5, 7, 0, 3)):
        mine = placed(x, offset)
        same_bits(run(mine, y, dx=mine, seed=seed, **kernel), want)


def test_a_row_does_not_depend_on_the_others():
    x, y = batch("bfloat16", 1003)
    loss, lse, dx = run(x, y, cluster=4)
    for i in range(len(x)):
        same_bits(run(x[i:i + 1].copy(), y[i:i + 1], cluster=4), (loss[i:i + 1], lse[i:i + 1], dx[i:i + 1]))


@pytest.mark.parametrize("kernel", [{"cluster": 4}, {"streaming": True}], ids=named)
def test_a_row_stride_beyond_int32(kernel):
    V, stride = 1003, 2**31 + 9
    x, y = batch("bfloat16", V, rows=2)
    arrays = []
    for _ in range(2):  # address space only: two rows are touched
        memory = mmap.mmap(-1, 2 * (stride + V), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        arrays.append(np.ndarray((2, V), x.dtype, memory, strides=(2 * stride, 2)))
    far, dx = arrays
    far[...] = x
    check(run(far, y, dx=dx, **kernel), reference(x, y), "bfloat16", rtol=2e-5)


# ---- Cross-entropy: edges ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [{"cluster": 1}, {"cluster": 4}, {"streaming": True}], ids=named)
def test_infinities(kernel):
    V = 1003
    x, y = batch("bfloat16", V, rows=9)
    x[0, :990], y[0] = -np.inf, 995   # all but the last blocks are absent
    x[1, 1:], y[1] = -np.inf, 0       # one class: certain
    x[2], y[2] = -np.inf, 5           # none: NaN, with lse -inf
    x[4, 7], y[4] = -np.inf, 7        # the label is absent: loss inf, gradient finite
    x[5, 500] = np.inf
    x[6, 500] = np.nan
    x[7, 20], y[7] = np.nan, 20
    x[8, 20], y[8] = np.inf, 20
    loss, lse, dx = run(x, y, **kernel)
    with np.errstate(invalid="ignore", divide="ignore"):
        want = reference(x, y)
    plain = [0, 1, 3]
    check((loss[plain], lse[plain], dx[plain]), [part[plain] for part in want], "bfloat16", rtol=2e-5)
    assert loss[1] == 0
    assert not dx[1].astype(float).any()
    assert loss[4] == np.inf
    check((lse[4:5], lse[4:5], dx[4:5]), (want[1][4:5], want[1][4:5], want[2][4:5]), "bfloat16", rtol=2e-5)
    for i in (2, 5, 6, 7, 8):
        assert np.isnan([loss[i], *dx[i].astype(float)]).all(), i
    assert lse[2] == -np.inf
    assert np.isnan(lse[5:]).all()


@pytest.mark.parametrize("kernel", [{"cluster": 4}, {"streaming": True}], ids=named)
def test_smoothing_over_the_classes_that_are_there(kernel):
    x, y = batch("float32", 1003)
    x[:, 200:700] = -np.inf
    y = np.where(y == IGNORE, y, y % 200)
    y[0] = 300  # absent: loss inf, gradient finite
    got, want = run(x, y, e=0.2, **kernel), reference(x, y, e=0.2)
    assert got[0][0] == np.inf
    check((got[0][1:], got[1][1:], got[2]), (want[0][1:], want[1][1:], want[2]), "float32", atol=3e-8)
    assert not got[2][1:, 200:700].any()


@pytest.mark.parametrize("kernel", [{"cluster": 1}, {"streaming": True}], ids=named)
@pytest.mark.parametrize("ahead", [4, 12, 30, 60])
def test_the_labels_gradient_keeps_its_digits_as_p_goes_to_1(kernel, ahead):
    x, y = batch("bfloat16", 1003, scale=0.5)
    x[np.arange(6), y] = ahead
    got, want = run(x, y, **kernel), reference(x, y)
    check(got, want, "bfloat16", rtol=2e-5)  # relative: at ahead = 60 the label's gradient is -1e-23
    np.testing.assert_allclose(got[0], want[0], rtol=2e-5)


@pytest.mark.parametrize("kernel", [{"cluster": 4}, {"streaming": True}], ids=named)
@pytest.mark.parametrize("bad", [-1, 1003, 2**40, -2**62])
def test_a_label_outside_the_row_makes_its_row_nan(kernel, bad):
    x, y = batch("bfloat16", 1003)
    want = reference(x, y)
    y[4] = bad
    loss, lse, dx = run(x, y, **kernel)
    assert np.isnan([loss[4], lse[4], *dx[4].astype(float)]).all()
    rest = [0, 1, 2, 3, 5]
    check((loss[rest], lse[rest], dx[rest]), [part[rest] for part in want], "bfloat16", rtol=2e-5)


def test_scales_and_total():
    rng = np.random.default_rng(0)
    w = rng.uniform(0, 2, 50).astype(np.float32)
    for rows in (1, 63, 64, 1000):
        y = rng.integers(-1, 51, rows)
        y[::3] = 7  # ignored here, though a class
        kept = y[(y >= 0) & (y < 50) & (y != 7)]
        for weights in (None, w):
            out = np.full(2, 9, np.float32)
            given = [view(y), None if weights is None else view(weights), view(out)]
            with guarded(given, ("y", "weights", "out")) as (y_, w_, out_):
                cross_entropy.scales(y_, w_, out_, ignore_index=7, vocab=50)
            D = float(len(kept)) if weights is None else weights.astype(np.float64)[kept].sum()
            want = [1 / D if D else 0, 1 / len(kept) if len(kept) else 0]
            np.testing.assert_allclose(out, want, rtol=1e-7)
        losses, out = rng.standard_normal(rows).astype(np.float32), np.zeros((), np.float32)
        with guarded([view(losses), view(out)], ("loss", "out")) as (losses_, out_):
            cross_entropy.total(losses_, out_)
        assert out == np.float32(losses.sum(dtype=np.float64))


# ---- Cross-entropy: which variant -------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "V", "sm_80", "sm_90"), [  # (cluster, KiB of shared memory); 0: streaming
    ("bfloat16", 32000, (1, 63), (1, 63)), ("bfloat16", 50257, (1, 99), (1, 99)),
    ("bfloat16", 128256, (0, 0), (4, 63)), ("bfloat16", 262144, (0, 0), (8, 64)),
    ("float32", 32000, (1, 125), (2, 63)), ("float32", 50257, (0, 0), (2, 99)),
    ("float32", 128256, (0, 0), (8, 63)), ("float32", 262144, (0, 0), (8, 128)),
    ("float32", 1 << 20, (0, 0), (0, 0))])
def test_variants(dtype, V, sm_80, sm_90):
    for architecture, (cluster, kib) in (("sm_80", sm_80), ("sm_90", sm_90)):
        got = cross_entropy.variant(dtype, V, architecture=architecture)
        streaming = got.source == "cross_entropy_streaming.cu"
        assert (0 if streaming else got.cluster, -(-got.shared // 1024)) == (cluster, kib)
        assert (got.block, got.cluster) == (got.defines["THREADS"], got.defines["CLUSTER"])


@pytest.mark.parametrize("architecture", ["sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "cpu"])
def test_a_variant_fits_its_machine(architecture):
    for dtype, V in itertools.product(("bfloat16", "float32"), (1, 100, 4096, 50257, 250000, 10**6, 2**30)):
        for gradient in (True, False):
            got = cross_entropy.variant(dtype, V, architecture=architecture, gradient=gradient)
            assert got.block in (32, 64, 128, 256, 512, 1024)
            assert got.block * got.defines["BLOCKS"] <= tuning.CUDA_THREADS_ON_SM
            assert got.cluster == 1 or architecture not in ("sm_80", "sm_86")
            need = got.shared + 2048
            assert need <= {"sm_80": 163, "sm_86": 99, "sm_120": 99}.get(architecture, 227) << 10


def test_a_vocabulary_beyond_int32_is_refused():
    with pytest.raises(ValueError, match="1073741825 logits"):
        cross_entropy.variant("bfloat16", 2**30 + 1)
    with pytest.raises(ValueError, match="takes 262144 bytes"):
        cross_entropy.variant("bfloat16", 2**17, cluster=1)


# ---- Adam -------------------------------------------------------------------------------------------------

SIZES = (1, 4095, 4096, 9001)


def f32(values):
    return np.asarray(values).astype(np.float32)


def fmix32(x):
    x = x.astype(np.uint32)
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def rounded_stochastically(theta, seed, step, place):
    mask = 0xFFFFFFFF
    key = fmix32(np.array([seed & mask ^ (step * 0x85EBCA6B & mask)]))
    key = fmix32(key ^ np.array([place * 0x9E3779B9 & mask], np.uint32))
    h = fmix32(np.arange(theta.size) ^ fmix32(key))  # i_hi is 0
    bits = theta.view(np.uint32)
    up = ((bits + (h & np.uint32(0xFFFF))) >> 16).astype(np.uint16).view(ml_dtypes.bfloat16)
    return np.where(np.isfinite(theta), up, theta.astype(ml_dtypes.bfloat16))


def adam_reference(state, o, place):
    """One tensor's new (p, m, v, vmax, master): float32 NumPy, every operation rounded once."""
    p, g, m, v, vmax, master = state
    theta, g, m, v = f32(p if master is None else master), f32(g), f32(m), f32(v)
    lr, step = (float(x.owner) if isinstance(x, View) else x for x in (o.lr, o.step))
    step = int(step)
    alpha, lam = np.float32(lr), np.float32(o.weight_decay)
    decay = alpha * lam if isinstance(o.lr, View) else np.float32(lr * o.weight_decay)
    if o.found_inf is not None and o.found_inf.owner != 0:
        return p, state[2], state[3], vmax, master
    with np.errstate(over="ignore", invalid="ignore"):
        if o.grad_scale is not None:
            g = g / f32(o.grad_scale.owner)
        g = -g if o.maximize else g
        if o.weight_decay and o.decoupled:
            theta = theta - decay * theta
        elif o.weight_decay:
            g = g + lam * theta
        m = np.float32(o.beta1) * m + np.float32(1 - o.beta1) * g
        v = np.float32(o.beta2) * v + np.float32(1 - o.beta2) * (g * g)
        used = v if vmax is None else np.maximum(f32(vmax), v)
        m_hat, v_hat = m / np.float32(1 - o.beta1**step), used / np.float32(1 - o.beta2**step)
        theta = theta - alpha / (np.sqrt(v_hat) + np.float32(o.eps)) * m_hat
    new_p = theta.astype(p.dtype) if o.rounding_seed is None else rounded_stochastically(
        theta, o.rounding_seed, step, place)
    return (new_p, m.astype(state[2].dtype), v.astype(state[3].dtype),
            None if vmax is None else used.astype(vmax.dtype), None if master is None else theta)


def adam_states(p, g, m, *, amsgrad=False, master=False, offset=0, seed=0):
    """Tensors of SIZES as (p, g, m, v, vmax, master), `offset` elements beyond a multiple of 16 bytes."""
    rng = np.random.default_rng(seed)

    def made(values, dtype):
        return placed(values.astype(numpy_dtype(dtype)).reshape(1, -1), offset)[0]

    states = []
    for n in SIZES:
        theta, moment = rng.standard_normal(n), rng.standard_normal(n) * 0.1
        v = rng.uniform(0, 0.1, n) ** 2
        states.append((made(theta, p), made(rng.standard_normal(n) * rng.choice([1e-4, 1, 30], n), g),
                       made(moment, m), made(v, m), made(v * rng.uniform(0.5, 2, n), m) if amsgrad else None,
                       made(theta, "float32") if master else None))
    return states


def adam_run(states, options, **how):
    tensors = [AdamTensor(*(None if a is None else view(a) for a in state)) for state in states]
    launch(adam, tensors, range(3, 3 + len(states)), options, **how)


def adam_check(states, o):
    want = [adam_reference(tuple(None if a is None else a.copy() for a in state), o, 3 + k)
            for k, state in enumerate(states)]
    adam_run(states, o)
    for state, right in zip(states, want, strict=True):
        for got, value in zip((state[0], *state[2:]), right, strict=True):
            assert (got is None) == (value is None)
            assert got is None or got.tobytes() == value.tobytes()


def options(**changed):
    usual = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "step": 7}
    return AdamOptions(**{**usual, **changed})


def scalar(value, dtype=np.float32):
    return view(np.array(value, dtype))


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize(("types", "changed"), [
    (("float32", "float32", "float32"), {}),
    (("float32", "float32", "float32"), {"weight_decay": 0.1, "maximize": True, "step": 1}),
    (("float32", "float32", "float32"), {"weight_decay": 0.1, "decoupled": False, "amsgrad": True,
                                         "grad_scale": scalar(1024), "found_inf": scalar(0)}),
    (("bfloat16", "bfloat16", "bfloat16"), {"rounding_seed": 2**40 + 5, "step": 300}),
    (("bfloat16", "bfloat16", "float32"), {"master": True, "weight_decay": 0.01, "amsgrad": True}),
    (("float16", "float32", "bfloat16"), {"weight_decay": 0.01}),
], ids=["plain", "decoupled-maximize", "coupled-amsgrad-scaled", "stochastic", "master-amsgrad", "mixed"])
def test_adam_is_bit_equal_to_numpy(types, changed, offset):
    changed = dict(changed)
    master = changed.pop("master", False)
    adam_check(adam_states(*types, amsgrad=changed.get("amsgrad", False), master=master, offset=offset),
               options(**changed))


def test_adam_is_bit_equal_to_the_formula():
    states = adam_states("float32", "float32", "float32")
    want = [formulas.adam_step(p, g, m, v, 7) for p, g, m, v, _, _ in states]
    adam_run(states, options())
    for (p, _, m, v, _, _), right in zip(states, want, strict=True):
        for got, value in zip((p, m, v), right, strict=True):
            assert value.dtype == np.float32
            assert got.tobytes() == value.tobytes()


@pytest.mark.parametrize("step", [scalar(7, np.int64), scalar(1000, np.int32), scalar(300, np.float32)],
                         ids=["int64", "int32", "float32"])
def test_adam_step_and_lr_on_the_device(step):
    # beta^t by squaring may differ from Python's pow in float64's last place, which float32 seldom shows.
    adam_check(adam_states("float32", "float32", "float32"),
               options(step=step, lr=scalar(3e-3), weight_decay=0.1))


@pytest.mark.parametrize("found", [1, np.inf, np.nan])
def test_adam_changes_nothing_after_an_overflow(found):
    adam_check(adam_states("float32", "float32", "float32"), options(found_inf=scalar(found)))


def test_adam_keeps_nan_and_inf():
    states = adam_states("bfloat16", "float32", "bfloat16", amsgrad=True)
    for _, g, _, _, vmax, _ in states:
        g[::7] = np.array(0x7FFFFFFF, np.uint32).view(np.float32)  # the GPU's NaN, all ones
        g[1::7], vmax[2::7] = np.inf, np.nan
    adam_run(states, options(amsgrad=True, rounding_seed=1))
    for p, _, m, v, vmax, _ in states:
        for array in (p, m, v, vmax):
            assert np.isnan(array[::7].astype(float)).all()
        for array in (p, vmax):
            assert np.isnan(array[2::7].astype(float)).all()
        assert (m[1::7] == np.inf).all()
        assert (vmax[1::7] == np.inf).all()


# What the fast mode may differ by in a float32 parameter: an ulp of it, and so many ulp of its update.
FAST_ULP = 8


def test_fast_adam_differs_by_few_ulp(monkeypatch):
    monkeypatch.setattr(adam, "load", lambda source, defines, **how: module.load(
        source, {**defines, "PERTURB": 1}, **how))
    before = adam_states("float32", "float32", "float32")
    exact, fast = ([tuple(None if a is None else a.copy() for a in s) for s in before] for _ in range(2))
    adam_run(exact, options(weight_decay=0.1))
    adam_run(fast, options(weight_decay=0.1, exact=False))
    worst = 0.0
    for (old, *_), (p, _, _, v, _, _), (p_, _, _, v_, _, _) in zip(before, exact, fast, strict=True):
        update = np.abs(p.astype(np.float64) - old)
        excess = np.abs(p_.astype(np.float64) - p) - np.spacing(np.abs(p))
        worst = max(worst, np.max(excess / np.spacing(update.astype(np.float32))))
        np.testing.assert_array_max_ulp(v_, v, 1)
    assert 0 < worst <= FAST_ULP, worst
