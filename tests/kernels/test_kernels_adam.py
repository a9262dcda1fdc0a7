"""Adam on every backend: its properties, torch's optimizers, and offsets that need 64 bits."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from kernels import adam as host
from kernels import arrays, backends
from kernels.numpy.adam import power
from kernels.testing import adam as ad
from kernels.testing import raw
from kernels.testing.adam_reference import HYPER, Case, State, formula
from kernels.testing.strategies import adam_cases
from kernels.tuning import ADAM_TILE

EXAMPLES = {"numpy": 10, "triton": 3, "cuda": 5}
PAIRS = [(ad.DTYPES[i % 5], options) for i, options in enumerate(ad.OPTIONS)]
PAIRS += [(ad.DTYPES[0], options) for options in ad.OPTIONS] + [(d, ad.EVERYTHING) for d in ad.DTYPES]


def pairs(p, backend):
    kinds = [d for d in ad.DTYPES if p.dtypes is None or d[0] in p.dtypes]
    if p.options is None:
        every = [(d, o) for d in ad.DTYPES for o in ad.OPTIONS] if backend == "numpy" else PAIRS
        return [(d, o) for d, o in every if d in kinds]
    return [(d, o) for d in kinds for o in p.options]


@pytest.mark.parametrize("prop", ad.PROPERTIES, ids=lambda p: p.name)
def test_property(prop, backend, adam):
    heavy = prop.name in ("many_steps", "device_step", "master_weights", "odd_sizes", "unbiased_rounding")
    examples = max(2, EXAMPLES[backend] // (3 if heavy else 1))

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(adam_cases(pairs(prop, backend)))
    def holds(case):
        prop.check(adam, case)

    holds()


def test_fast_mode_is_close(backend, adam):
    """exact=False: approximate division and root, fused multiply-add. Within the bound, not the bits."""
    case = Case(sizes=(5, 33, ADAM_TILE + 3), options={**ad.EVERYTHING, "exact": False})
    for step in (1, 2, 1000):
        ad.agreement(adam, case.but(step=step))
        ad.agreement(adam, case.but(step=step, options={"exact": False}))


def test_all_backends_have_the_same_bits(backend, adam):
    """Also where the formulas cannot tell: bfloat16 moments and stochastic rounding, over five steps."""
    case = Case(sizes=(7, ADAM_TILE + 1, 0, 64), dtypes=("bfloat16", "float16", "bfloat16"), step=1)
    state = want = case.draw()
    for t in range(1, 6):
        keywords = {**case.keywords, "weight_decay": 0.05, "rounding_seed": -(2**40) + t}
        state, want = adam(state, t, keywords), formula(want, t, keywords)
        for name in ("params", "exp_avg", "exp_avg_sq"):
            for a, b in zip(getattr(state, name), getattr(want, name), strict=True):
                np.testing.assert_array_equal(a.view(np.uint16), b.view(np.uint16))


def test_power_by_squaring_is_the_power():
    """What the kernels do with a step on the device, against Python's own power."""
    for beta in (0.9, 0.99, 0.999, 0.9999):
        for t in (1, 2, 3, 7, 100, 1023, 10**6):
            assert power(beta, t) == pytest.approx(beta**t, rel=1e-12)


# ---- torch -------------------------------------------------------------------------------------------

TORCH = [("Adam", {}), ("Adam", {"weight_decay": 0.1}), ("Adam", {"amsgrad": True}),
         ("Adam", {"maximize": True}), ("Adam", {"amsgrad": True, "maximize": True, "weight_decay": 0.05}),
         ("AdamW", {}), ("AdamW", {"weight_decay": 0.1}), ("AdamW", {"amsgrad": True, "weight_decay": 0.1}),
         ("AdamW", {"maximize": True, "weight_decay": 0.1})]


@pytest.mark.parametrize("fused", [False, True], ids=["loop", "fused"])
@pytest.mark.parametrize(("name", "options"), TORCH, ids=str)
def test_against_torch(backend, adam, name, options, fused):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    thetas = [rng.standard_normal(n).astype(np.float32) for n in (5, 33)]
    theirs = [torch.nn.Parameter(torch.tensor(a)) for a in thetas]
    make = getattr(torch.optim, name)
    how = {"fused": True} if fused else {"foreach": False}
    optimizer = make(theirs, lr=HYPER["lr"], betas=(0.9, 0.999), eps=HYPER["eps"], **options, **how)
    decay = {"weight_decay": optimizer.param_groups[0]["weight_decay"], "decoupled": name == "AdamW"}
    ours = {**HYPER, **options, **decay}
    zeros = [np.zeros_like(a) for a in thetas]
    largest = [a.copy() for a in zeros] if options.get("amsgrad") else None
    state = State(thetas, zeros, [a.copy() for a in zeros], [a.copy() for a in zeros], largest)
    for t in range(1, 9):
        grads = [rng.standard_normal(len(a)).astype(np.float32) for a in thetas]
        for p, g in zip(theirs, grads, strict=True):
            p.grad = torch.tensor(g)
        optimizer.step()
        state = adam(state._replace(grads=grads), t, ours)
        for a, p in zip(state.params, theirs, strict=True):
            np.testing.assert_allclose(a, p.detach().numpy(), rtol=2e-6, atol=2e-7)


def test_scaler_against_torch(backend, adam):
    """grad_scale and found_inf, as torch's GradScaler hands them to a fused optimizer."""
    torch = pytest.importorskip("torch")
    theta, g = np.array([1.0, -2.0, 3.0], np.float32), np.array([8.0, 4.0, -2.0], np.float32)
    p = torch.nn.Parameter(torch.tensor(theta))
    optimizer = torch.optim.AdamW([p], lr=0.01, eps=HYPER["eps"], fused=True)
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(4.0), torch.tensor(0.0)
    state = State([theta], [g], [np.zeros(3, np.float32)], [np.zeros(3, np.float32)])
    for t, infinite in ((1, 0.0), (2, 1.0), (2, 0.0)):
        p.grad, optimizer.found_inf = torch.tensor(g), torch.tensor(infinite)
        optimizer.step()
        state = adam(state, t, {**HYPER, "weight_decay": 0.01, "grad_scale": 4.0, "found_inf": infinite})
        np.testing.assert_allclose(state.params[0], p.detach().numpy(), rtol=1e-6)


def test_bfloat16_params_do_not_stick():
    """Why rounding_seed is there: steps of lr 1e-4 on params of 1 vanish when rounded to the nearest."""
    moved = {}
    for seed in (None, 1):
        one = arrays.numpy_dtype("bfloat16").type(1)
        p, m, v = (np.full(500, x, d) for x, d in ((one, one.dtype), (0, np.float32), (0, np.float32)))
        for t in range(1, 51):
            host.adam_step([p], [np.full(500, one)], [m], [v], t, lr=1e-4, beta1=0.9, beta2=0.999, eps=1e-8,
                           rounding_seed=seed)
        moved[seed] = 1 - float(p.astype(np.float64).mean())
    assert moved[None] == 0
    assert moved[1] == pytest.approx(50 * 1e-4, rel=0.2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("backend", ["triton", "cuda"], indirect=True)
def test_elements_beyond_2_to_the_31(backend, memory, dtype):
    """On the CPU only the last tile's pages take memory; a GPU has to hold all four arrays."""
    raw.elements_beyond_2_to_the_31(backends.load(backend, "adam"), memory, dtype)
