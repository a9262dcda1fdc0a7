"""Softmax cross-entropy on every backend: its properties, torch's function, calls below the API's checks."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import kernels
from kernels import arrays, backends, tuning
from kernels.testing import cross_entropy as ce
from kernels.testing import raw
from kernels.testing.compare import round_to, same_bits
from kernels.testing.cross_entropy_reference import Case, expected
from kernels.testing.memory import Memory
from kernels.testing.strategies import cross_entropy_cases

# The interpreter takes its time, and each pair of dtype and options is one compilation of CUDA C.
EXAMPLES = {"numpy": 12, "triton": 4, "cuda": 6}
PAIRS = [(ce.DTYPES[i % 3], options) for i, options in enumerate(ce.OPTIONS)]
PAIRS += [(dtype, options) for dtype in ce.DTYPES for options in ({}, ce.EVERYTHING)]


def pairs(p, backend):
    dtypes = p.dtypes or ce.DTYPES
    if p.options is None:
        every = [(d, o) for d in ce.DTYPES for o in ce.OPTIONS] if backend == "numpy" else PAIRS
        return [(d, o) for d, o in every if d in dtypes]
    return [(d, o) for d in dtypes for o in p.options]


@pytest.mark.parametrize("prop", ce.PROPERTIES, ids=lambda p: p.name)
def test_property(prop, backend, cross_entropy):
    heavy = prop.name in ("minus_inf_long_row", "minus_inf_blocks", "larger_rows", "overflow_by_stride")
    examples = max(2, EXAMPLES[backend] // (3 if heavy else 1))

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(cross_entropy_cases(pairs(prop, backend)))
    def holds(case):
        prop.check(cross_entropy, case)

    holds()


@pytest.mark.parametrize("dtype", ce.DTYPES)
def test_largest_errors_in_ulp(backend, cross_entropy, memory, dtype):
    """The bound is a bound for all; this is how near the shipped kernels come on ordinary logits."""
    x, y, _ = Case(rows=8, vocab=999, dtype=dtype).draw()
    got, want = cross_entropy(x, y), expected(x, y, strict=True)
    # 2 bytes: rounded once, at the end. float32: a GPU's approximate exp is off by 1.2 ulp for each unit of x
    exact = {"float32": 8 if memory.name == "cpu" else 64, "float16": 0.51, "bfloat16": 0.51}[dtype]
    units = ce.FORMATS[dtype][0]
    large = np.abs(want.dlogits) > 2.0**-14
    error = np.abs(got.dlogits.astype(np.float64) - want.dlogits)[large]
    ulp = 2.0 ** (np.floor(np.log2(np.abs(want.dlogits[large]))) - units)
    assert (error / ulp).max() <= exact


# ---- torch -------------------------------------------------------------------------------------------

TORCH = [{}, {"reduction": "sum"}, {"reduction": "none"}, {"label_smoothing": 0.1},
         {"class_weights": True}, {"class_weights": True, "label_smoothing": 0.2, "reduction": "sum"},
         {"class_weights": True, "label_smoothing": 0.2, "ignore_index": 3},
         {"class_weights": True, "reduction": "none", "label_smoothing": 0.1, "ignore_index": 0}]


@pytest.mark.parametrize("options", TORCH, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_against_torch(backend, cross_entropy, options, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    V = 37
    x = round_to(rng.normal(0, 3, (9, V)), dtype)
    y = rng.integers(0, V, 9)
    y[2] = options.get("ignore_index", -100)
    ours = dict(options)
    w = rng.uniform(0.25, 2, V).astype(np.float32) if ours.pop("class_weights", None) else None
    upstream = np.asarray(rng.uniform(-2, 2, 9 if options.get("reduction") == "none" else ()), np.float32)
    raw = torch.tensor(x.astype(np.float64), requires_grad=True)
    loss = torch.nn.functional.cross_entropy(
        raw, torch.tensor(y), weight=None if w is None else torch.tensor(w, dtype=torch.float64),
        **{k: v for k, v in options.items() if k != "class_weights"})
    loss.backward(torch.tensor(upstream, dtype=torch.float64))
    got = cross_entropy(x, y, {**ours, "class_weights": w, "grad_loss": upstream})
    np.testing.assert_allclose(got.loss, loss.detach().numpy(), rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(got.dlogits.astype(np.float64), raw.grad.numpy(),
                               rtol=1e-5 if dtype == "float32" else 2**-8, atol=1e-7)


def test_softcap_and_z_loss_against_torch(backend, cross_entropy):
    torch = pytest.importorskip("torch")
    x, y, options = Case(rows=7, vocab=29, options={"softcap": 4.0, "z_loss": 0.02}, spread=4).draw()
    raw = torch.tensor(x.astype(np.float64), requires_grad=True)
    capped = 4 * torch.tanh(raw / 4)
    lse = torch.logsumexp(capped, 1)
    loss = torch.nn.functional.cross_entropy(capped, torch.tensor(y)) + 0.02 * (lse**2).mean()
    loss.backward()
    got = cross_entropy(x, y, options)
    np.testing.assert_allclose(got.loss, loss.item(), rtol=2e-6)
    np.testing.assert_allclose(got.dlogits, raw.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_gradient_is_the_derivative_of_the_loss(backend, cross_entropy):
    """Against the kernel's own loss, so that both cannot be wrong in the same way."""
    x, y, options = Case(rows=2, vocab=5, options={**ce.EVERYTHING, "reduction": "sum"}, spread=1).draw()
    options.pop("grad_loss")
    got, h = cross_entropy(x, y, options), np.float32(2.0**-6)
    for i, j in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[i, j] += h
        down[i, j] -= h
        rise = float(cross_entropy(up, y, options).loss) - float(cross_entropy(down, y, options).loss)
        assert got.dlogits[i, j] == pytest.approx(rise / (2 * h), abs=2e-4)


# ---- Below the API's checks --------------------------------------------------------------------------

def test_label_out_of_range_reads_nothing(backend, memory):
    """In a process of its own, which a read at the label's place would end."""
    if memory.name != "cpu":
        raw.labels_out_of_range(backends.load(backend, "cross_entropy"), memory)
        return
    code = ("from kernels import backends; from kernels.testing import memory, raw; "
            f"raw.labels_out_of_range(backends.load({backend!r}, 'cross_entropy'), memory.Memory())")
    root = Path(kernels.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=root)
    assert done.returncode == 0, done.stderr[-2000:] or f"a stray read ended it: {done.returncode}"


def test_int32_labels_below_the_api(backend, memory):
    """int32 labels at an address that is no multiple of 8."""
    module = backends.load(backend, "cross_entropy")
    x = np.random.default_rng(1).standard_normal((3, 9)).astype(np.float32)
    X, Y = memory.place(x), memory.place(np.array([3, -100, 8], np.int32), shift=1)
    D, loss, lse = (memory.place(np.zeros(shape, np.float32)) for shape in (x.shape, 3, 3))
    views = [arrays.view(a.array) for a in (X, Y, D, loss, lse)]
    module.rows(*views, ignore_index=-100, label_smoothing=0.0, z_loss=0.0, softcap=None)
    want = expected(x, np.array([3, -100, 8]), reduction="none")
    np.testing.assert_allclose(loss.values(), want.loss, rtol=1e-5)
    assert not D.values()[1].any()
    np.testing.assert_allclose(D.values(), want.dlogits, atol=1e-6)


@pytest.mark.parametrize("rows", [0, 1, 5, 300, 4100])
@pytest.mark.parametrize(("weighted", "label_type"), [(False, "int64"), (True, "int32")])
def test_scales_and_total(backend, memory, rows, weighted, label_type):
    module = backends.load(backend, "cross_entropy")
    raw.scales_and_total(module, memory, rows, weighted, label_type)


# ---- Kernels that ordinary sizes do not reach ---------------------------------------------------------

SOME = [p for p in ce.PROPERTIES if p.name in ("agreement", "larger_rows", "minus_inf_blocks", "in_place",
                                               "ignored_and_masked", "label_gradient", "non_finite_rows")]


@pytest.mark.parametrize("prop", SOME, ids=lambda p: p.name)
@pytest.mark.parametrize("backend", ["triton"], indirect=True)
def test_triton_two_sweeps(prop, backend, cross_entropy, monkeypatch):
    """The kernel for rows longer than registers hold, at sizes that it would not get."""
    monkeypatch.setattr(tuning, "TRITON_ONE_SWEEP", 0)
    monkeypatch.setattr(tuning, "TRITON_TWO_SWEEPS", 256)
    for i, options in enumerate(prop.options or ({}, ce.EVERYTHING)):
        prop.check(cross_entropy, Case(3, 300, ce.DTYPES[i % 3], dict(options), seed=i, shift=i, gap=3))


@pytest.mark.parametrize("prop", SOME, ids=lambda p: p.name)
@pytest.mark.parametrize("how", [{"streaming": True}, {"cluster": 4, "streaming": False}], ids=str)
@pytest.mark.parametrize("backend", ["cuda"], indirect=True)
def test_cuda_kernels_for_long_rows(prop, how, backend, cross_entropy, monkeypatch):
    """The streaming kernel, and a row that four blocks share, at sizes that would not get them."""
    module = backends.load("cuda", "cross_entropy")
    monkeypatch.setattr(module, "rows", functools.partial(module.rows, **how))
    for i, options in enumerate(prop.options or ({}, ce.EVERYTHING)):
        prop.check(cross_entropy, Case(3, 300, ("float32", "bfloat16")[i % 2], dict(options), seed=i, gap=i))


@pytest.mark.parametrize("backend", ["cuda"], indirect=True)
def test_cuda_threads_may_run_in_any_order(backend, cross_entropy, memory, monkeypatch):
    if memory.name != "cpu":
        pytest.skip("a GPU runs its threads in its own order")
    x, y, options = Case(rows=2, vocab=2000, options=ce.EVERYTHING).draw()
    first = cross_entropy(x, y, options)
    for seed in range(1, 5):
        monkeypatch.setenv("MINILLM_CUDA_SEED", str(seed))
        for a, b in zip(cross_entropy(x, y, options), first, strict=True):
            same_bits("result", a, b, "the order of the threads changes the result")


def test_memory_finds_stray_writes():
    """The guard itself: a write beside an array and one between its rows are told."""
    for at in (-1, 3, 18):
        placed = Memory().place(np.zeros((2, 3), np.float32), gap=4)
        placed.check("x", unchanged=True)
        flat = placed.handle[:len(placed.handle) // 4 * 4].view(np.float32)
        first = (placed.array.ctypes.data - placed.handle.ctypes.data) // 4
        flat[first + at] = 1
        with pytest.raises(ce.Broken, match="a stray write"):
            placed.check("x", unchanged=False)
