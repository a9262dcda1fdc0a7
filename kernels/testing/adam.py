"""What is true of every right Adam kernel: a table of properties, and the judge.

A property is a plain function of (kernel, case) that raises `Broken`. The table at the end names them; the
judge and the package's own tests run the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from kernels.tuning import ADAM_TILE

from .adam_reference import CHANGED, Case, State, expected, formula
from .adam_wrong import STEP_IN_FLOAT32, explains, likely_cause
from .compare import Broken, Unsupported, agree, round_to, same_bits
from .judge import (
    Judge,
    Kernel,
    accepts,
    available,
    chosen_properties,
    element_type,
    isolation,
    known_options,
    title_of,
)
from .memory import Memory
from .report import Property, Report

f32 = np.float32
Kinds = tuple[str, str, str]
DTYPES: tuple[Kinds, ...] = (("float32", "float32", "float32"), ("bfloat16", "bfloat16", "float32"),
                             ("bfloat16", "bfloat16", "bfloat16"), ("float16", "float16", "float32"),
                             ("float32", "bfloat16", "float32"))
EVERYTHING = {"weight_decay": 0.1, "amsgrad": True, "maximize": True, "grad_scale": 3.0, "found_inf": 0.0}
OPTIONS: tuple[Mapping[str, Any], ...] = (
    {}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": False}, {"amsgrad": True},
    {"maximize": True}, {"grad_scale": 3.0}, EVERYTHING)
PLAIN: tuple[Mapping[str, Any], ...] = ({},)
REQUIRED = ("lr", "beta1", "beta2", "eps")
KNOWN = (*REQUIRED, "weight_decay", "decoupled", "amsgrad", "maximize", "grad_scale", "found_inf",
         "rounding_seed", "exact")


@dataclass
class Adam(Kernel):
    """A kernel with the signature of `kernels.adam_step`, called in guarded memory."""

    memory: Memory = field(default_factory=Memory)

    judged_by: ClassVar[str] = "check_adam"
    hints: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("'list'", "non-int of type", "not 'list'", "list indices"),
                        "params, grads, exp_avg and exp_avg_sq are lists of arrays: loop over them"),
        "positional argument": "the kernel is called with five: params, grads, exp_avg, exp_avg_sq, step",
        "ZeroDivisionError": "steps are counted from 1: at step 0 the bias correction 1 - beta^0 is 0"}

    def __call__(self, state: State, step: Any, options: Mapping[str, Any], *,
                 shifts: Sequence[int] = (0,)) -> State:
        """The state after one step; the given one is not changed.

        Args:
            state: lists of NumPy arrays.
            step: an int, or a NumPy array () that is put into the kernel's memory.
            options: keywords, lr and the betas too. A NumPy array () for lr is put there as well, and so
                are grad_scale and found_inf.
            shifts: elements by which tensors are off alignment, in turn.
        """
        if missing := [name for name in REQUIRED if not accepts(self.fn, name)]:
            raise Broken(f"the kernel must take lr, beta1, beta2 and eps as keywords, but does not take "
                         f"{', '.join(missing)}")
        placed: dict[str, list[Any]] = {}
        k = 0
        for name, given in zip(State._fields, state, strict=True):
            if given is not None:
                placed[name] = []
                for a in given:
                    placed[name].append(self.memory.place(a, shift=shifts[k % len(shifts)]))
                    k += 1
        keywords = {name: self.memory.scalar(float(value), "float32")
                    if name in ("grad_scale", "found_inf") or isinstance(value, np.ndarray) else value
                    for name, value in options.items()}
        for name in ("max_exp_avg_sq", "master"):
            if name in placed:
                keywords[name] = [p.array for p in placed[name]]
        where = self.memory.place(step).array if isinstance(step, np.ndarray) else step
        lists = [[p.array for p in placed[name]] for name in State._fields[:4]]
        self.call((*lists, where), keywords)
        for name, several in placed.items():
            for i, p in enumerate(several):
                p.check(f"{name}[{i}]", unchanged=name == "grads")
        values: Any = [[p.values() for p in placed[name]] if name in placed else None
                       for name in State._fields]
        result = State(*values)
        self.calls.append(Call(state, step, dict(options), result))
        return result


class Call(NamedTuple):
    """One call, for the diagnosis."""

    state: State
    step: Any
    options: dict[str, Any]
    result: State


def check_adam(fn: Callable[..., Any], *, dtypes: Any = DTYPES,
               options: Iterable[Mapping[str, Any]] = OPTIONS, seeds: Iterable[int] = (0, 1),
               memory: Memory | None = None, strict: bool = False, only: str | Sequence[str] = (),
               case: Case | None = None, isolate: bool | None = None, limit: float = 60.0) -> Report:
    """Judge an Adam kernel by its properties.

    Args:
        fn: fn(params, grads, exp_avg, exp_avg_sq, step, *, lr, beta1, beta2, eps, **options) on lists of
            NumPy arrays of one axis, updated in place, as `kernels.adam_step` documents. Options that it
            does not take are reported as not supported, and are no failure.
        dtypes: element types of (params, grads, moments) to try. A single type stands for params and grads
            with float32 moments. "bfloat16" needs ml_dtypes.
        options: sets of keywords to try.
        seeds: of the random numbers. The report is the same on every run.
        memory: where the arrays lie; the CPU, and NumPy's arrays, by default.
        strict: float32 results must be the formula's bit for bit.
        only: the name or names of the properties to try; all of them by default.
        case: the one case to try, instead of those of dtypes, options and seeds.
        isolate: run each property in a child process, so that a kernel which crashes or never ends is
            reported like any other. False runs them here, as a debugger needs it. None is True where that
            is safe: arrays of the CPU, in a process that can fork and has not used a GPU.
        limit: seconds that a case may take in a child.

    Returns:
        A `Report`: `.ok`, `.failures`, and `str()` of it for people.

    Raises:
        ValueError: there is no such property, option or element type, or isolate=True cannot be.
    """
    kernel = Adam(fn, strict, memory=memory or Memory())
    sets, all_seeds = known_options([case.options] if case else options, KNOWN), tuple(seeds)
    judge = Judge(kernel, likely_cause, chosen_properties(PROPERTIES, only),
                  isolation(isolate, kernel.memory.name), limit)
    several = [kinds for kinds in _kinds(dtypes) if len(available(kinds)) == len(set(kinds))]

    def cases(p: Property) -> Iterable[Case]:
        if case is not None:
            yield case
            return
        for kinds in several if p.dtypes is None else [k for k in several if k[0] in p.dtypes]:
            for chosen in sets if p.options is None else p.options:
                for seed in all_seeds:
                    for step in (1, 3) if p.options is None else (3,):
                        yield Case(dtypes=kinds, options=dict(chosen), seed=seed, step=step)

    return Report(title_of(fn), judge(PROPERTIES, cases))


def _kinds(dtypes: Any) -> list[Kinds]:
    """Element types of params, grads and moments, from what a caller may write.

    Raises:
        ValueError: one is unknown, or there are not three.
    """
    if isinstance(dtypes, str) or not isinstance(dtypes, Iterable):
        dtypes = [dtypes]
    several: dict[Kinds, None] = {}
    for given in dtypes:
        if isinstance(given, str) or not isinstance(given, Iterable):
            given = (given, given, "float32")
        names = [element_type(one) for one in given]
        if len(names) != 3:
            raise ValueError(f"dtypes: {tuple(given)!r} must be three types, of params, grads and moments")
        several[names[0], names[1], names[2]] = None
    return list(several)


# ---- Agreement with the formula ----------------------------------------------------------------------

def agreement(kernel: Adam, case: Case) -> None:
    _right(kernel, case.draw(), case.step, case.keywords)


def odd_sizes(kernel: Adam, case: Case) -> None:
    T = ADAM_TILE
    _right(kernel, case.but(sizes=(1, 2, 3, 7, 9, 31, T - 1, T, T + 1)).draw(), case.step, case.keywords)
    _right(kernel, case.but(sizes=(2 * T + 5, 17)).draw(), case.step, case.keywords)


def many_steps(kernel: Adam, case: Case) -> None:
    """Bias correction from the first step on; each step starts from what the kernel itself left."""
    state, rng = case.but(step=1).draw(), np.random.default_rng(case.seed)
    for t in range(1, 13):
        grads = [round_to(rng.standard_normal(len(g)), g.dtype.name) for g in state.grads]
        state = _right(kernel, state._replace(grads=grads), t, case.keywords, f"in step {t} ")


def first_step(kernel: Adam, case: Case) -> None:
    """From zero state the first step is lr in the direction of -g, whatever the gradient's size."""
    state = case.but(step=1, scale=1.0).draw()
    keywords = {**case.keywords, "eps": 1e-12}
    got = kernel(state, 1, keywords)
    for i, (before, g, after) in enumerate(zip(state.params, state.grads, got.params, strict=True)):
        moved = after.astype(np.float64) - before.astype(np.float64)
        want = -keywords["lr"] * np.sign(g.astype(np.float64))
        room = 1e-4 * keywords["lr"] + (np.abs(before.astype(np.float64)) + keywords["lr"]) * {
            "float32": 2.0**-22, "float16": 2.0**-10, "bfloat16": 2.0**-7}[before.dtype.name]
        agree(f"params[{i}] - old", moved, want, room, before.dtype.name,
              "the first step from zero state is not lr in the direction of -g")


def large_steps(kernel: Adam, case: Case) -> None:
    for t in (10**4, 10**6, 2**31 - 1):
        _right(kernel, case.draw(), t, case.keywords, f"in step {t} ")


def device_step(kernel: Adam, case: Case) -> None:
    """t and lr from an array () give what Python's numbers give.

    NumPy raises a float to the power of a float32 array in float32, which costs a learner's 1 - beta^t its
    digits. That is no mistake in the kernel's formula, so it is only said.
    """
    state, keywords = case.draw(), case.keywords
    lr, low = f32(keywords["lr"]), ""
    for t in (1, 2, 1000, 10**6):
        for dtype in ("int64", "int32", "float32"):
            got = kernel(state, np.array(t, dtype), keywords)
            try:
                _compare(kernel, got, state, t, keywords, f"with step = {t} as an array () of {dtype}, ")
            except Broken:
                if kernel.strict or dtype != "float32" or not explains(kernel.calls[-1], STEP_IN_FLOAT32):
                    raise
                low = "step as a float32 array: beta**float(step) keeps 1 - beta^t in double"
        rounded = {**keywords, "lr": np.array(lr)}
        _compare(kernel, kernel(state, t, rounded), state, t, rounded, "with lr as an array (), ")
    if low:
        raise Unsupported(low)


# ---- Options -----------------------------------------------------------------------------------------

def found_inf(kernel: Adam, case: Case) -> None:
    state = case.draw()
    state.grads[0][:] = np.nan
    for value in (1.0, np.inf, np.nan):
        got = kernel(state, case.step, {**case.keywords, "found_inf": value})
        for name in CHANGED:
            _same_lists(name, getattr(got, name), getattr(state, name),
                        f"found_inf = {value:g} does not skip the step")
    ordinary = case.draw()
    one = kernel(ordinary, case.step, case.without("found_inf").keywords)
    two = kernel(ordinary, case.step, {**case.keywords, "found_inf": 0.0})
    _same_lists("params", two.params, one.params, "found_inf = 0 changes the step")


def grad_scale(kernel: Adam, case: Case) -> None:
    """Gradients times 8 with grad_scale = 8 are the gradients themselves, exactly."""
    state = case.without("grad_scale").draw()
    times = state._replace(grads=[round_to(8 * g.astype(f32), g.dtype.name) for g in state.grads])
    one = kernel(state, case.step, case.without("grad_scale").keywords)
    two = kernel(times, case.step, {**case.keywords, "grad_scale": 8.0})
    for name in CHANGED:
        _same_lists(name, getattr(two, name), getattr(one, name), "grad_scale = 8 does not divide by 8")


def maximize(kernel: Adam, case: Case) -> None:
    state = case.draw()
    negated = state._replace(grads=[-g for g in state.grads])
    one = kernel(negated, case.step, case.keywords)
    two = kernel(state, case.step, {**case.keywords, "maximize": True})
    for name in CHANGED:
        _same_lists(name, getattr(two, name), getattr(one, name),
                    "maximize is not the step of the negated gradient")


def decay(kernel: Adam, case: Case) -> None:
    """Decoupled decay is theta (1 - lr lambda) before an ordinary step; coupled decay is in the gradient."""
    state, keywords = case.draw(), case.keywords
    plain = kernel(state, case.step, keywords)
    coupled = kernel(state, case.step, {**keywords, "weight_decay": 0.5, "decoupled": False})
    decoupled = kernel(state, case.step, {**keywords, "weight_decay": 0.5, "decoupled": True})
    _same_lists("exp_avg", decoupled.exp_avg, plain.exp_avg, "decoupled decay changes the moments")
    if all(np.array_equal(a, b) for a, b in zip(coupled.exp_avg, plain.exp_avg, strict=True)):
        raise Broken("coupled decay does not reach the moments: it belongs to the gradient")
    for name, result in (("coupled", coupled), ("decoupled", decoupled)):
        _compare(kernel, result, state, case.step,
                 {**keywords, "weight_decay": 0.5, "decoupled": name == "decoupled"}, f"with {name} decay ")


def amsgrad(kernel: Adam, case: Case) -> None:
    """A large v, then small gradients: the largest v stays, and keeps the steps small."""
    case = case.having(amsgrad=True)
    state = case.draw()
    assert state.max_exp_avg_sq is not None
    for a in state.max_exp_avg_sq:
        a[:] = round_to(np.where(np.arange(len(a)) % 2, 4.0, 0.0), a.dtype.name)
    got = _right(kernel, state, case.step, case.keywords, "with amsgrad ")
    assert got.max_exp_avg_sq is not None
    for i, (old, new, v) in enumerate(zip(state.max_exp_avg_sq, got.max_exp_avg_sq, got.exp_avg_sq,
                                          strict=True)):
        same_bits(f"max_exp_avg_sq[{i}]", new, np.maximum(old, v), "the largest v is not the largest")


def non_finite(kernel: Adam, case: Case) -> None:
    """A NaN or infinite gradient makes its own element NaN, and no other."""
    clean = case.draw()
    state = case.draw()
    g = state.grads[1]
    g[0], g[5], g[-1] = np.nan, np.inf, -np.inf
    got = _right(kernel, state, case.step, case.keywords, "with a NaN or inf in the gradient ")
    alone = kernel(clean, case.step, case.keywords)
    others = np.ones(len(g), bool)
    others[[0, 5, -1]] = False
    same_bits("params[1]", got.params[1][others], alone.params[1][others],
              "a NaN in the gradient changes other elements")
    if not np.isnan(got.params[1][~others].astype(f32)).all():
        raise Broken("a NaN or inf in the gradient must show in the parameter",
                     "params[1][0]", got.params[1][0], "nan")


def zero_gradient(kernel: Adam, case: Case) -> None:
    state = case.but(step=1, scale=0.0).draw()
    got = kernel(state, 1, case.keywords)
    _same_lists("params", got.params, state.params, "a zero gradient and zero state move the parameters")


def tiny_gradients(kernel: Adam, case: Case) -> None:
    """Gradients around 1e-19: v is a denormal number, and must not be flushed to zero."""
    state = case.but(step=1, scale=1e-19).draw()
    keywords = {**case.keywords, "eps": 1e-22}
    want = formula(state, 1, dict(keywords))
    got = kernel(state, 1, keywords)
    for name in CHANGED:
        _same_lists(name, getattr(got, name), getattr(want, name), "denormal numbers are lost")


# ---- Lists and layouts -------------------------------------------------------------------------------

def empty_tensors(kernel: Adam, case: Case) -> None:
    """An empty tensor first, in the middle, last, alone, and nothing but empty ones."""
    for sizes in ((0, 5, 33), (5, 0, 33), (5, 33, 0), (0, 5, 0, 0, 33, 0), (0,), (0, 0)):
        _right(kernel, case.but(sizes=sizes).draw(), case.step, case.keywords,
               f"with tensors of {', '.join(map(str, sizes))} elements ")


def one_by_one(kernel: Adam, case: Case) -> None:
    state = case.but(sizes=(5, 33, 1, 4100)).draw()
    together = kernel(state, case.step, case.keywords)
    for i in range(4):
        single: Any = [None if lists is None else [lists[i]] for lists in state]
        alone = kernel(State(*single), case.step, case.keywords)
        for name in CHANGED:
            lists, own = getattr(together, name), getattr(alone, name)
            if own is not None:
                same_bits(f"{name}[{i}]", lists[i], own[0], "tensors in one call and one by one differ")


def unaligned(kernel: Adam, case: Case) -> None:
    """Tensors at any multiple of their item size, each array of a tensor at its own."""
    state = case.but(sizes=(33, ADAM_TILE + 9)).draw()
    one = kernel(state, case.step, case.keywords)
    for shifts in ((1,), (2, 3, 1), (0, 0, 1), (4, 8, 5, 0)):
        two = kernel(state, case.step, case.keywords, shifts=shifts)
        for name in CHANGED:
            _same_lists(name, getattr(two, name), getattr(one, name),
                        f"arrays that are {', '.join(map(str, shifts))} elements off alignment differ")


def master_weights(kernel: Adam, case: Case) -> None:
    """Steps too small for the params' type add up in the master weights."""
    case = case.but(master=True)
    state = _right(kernel, case.draw(), case.step, case.keywords, "with master weights ")
    assert state.master is not None
    for i, (p, theta) in enumerate(zip(state.params, state.master, strict=True)):
        same_bits(f"params[{i}]", p, round_to(theta, p.dtype.name), "params are not their master rounded")
    start = [theta.copy() for theta in state.master]
    small = {**case.keywords, "lr": 1e-5}
    for t in range(case.step + 1, case.step + 21):
        state = kernel(state, t, small)
    if all(np.array_equal(a, b) for a, b in zip(start, state.master or start, strict=True)):
        raise Broken("twenty steps of lr = 1e-5 leave the master weights where they were")


# ---- Stochastic rounding -----------------------------------------------------------------------------

def stochastic_rounding(kernel: Adam, case: Case) -> None:
    """Each result is one of the two neighbours; the same seed gives the same; another one another."""
    state, keywords = case.but(sizes=(5, 3000)).draw(), case.keywords
    exact = formula(state._replace(params=[p.astype(f32) for p in state.params]), case.step, keywords)
    got = kernel(state, case.step, {**keywords, "rounding_seed": 1})
    for i, (p, theta) in enumerate(zip(got.params, exact.params, strict=True)):
        down = (theta.view(np.uint32) & np.uint32(0xFFFF0000)).view(f32)
        up = ((theta.view(np.uint32) + np.uint32(0x10000)) & np.uint32(0xFFFF0000)).view(f32)
        value = p.astype(f32)
        wrong = (value != down) & (value != np.where(theta == down, down, up))
        if wrong.any() and kernel.strict:
            at = int(np.argmax(wrong))
            raise Broken("a stochastically rounded value is neither neighbour", f"params[{i}][{at}]",
                         value[at], f"{down[at]} or {up[at]}")
    again = kernel(state, case.step, {**keywords, "rounding_seed": 1})
    _same_lists("params", again.params, got.params, "the same rounding_seed gives other bits")
    for words, step, seed in (("rounding_seed", case.step, 2), ("step", case.step + 1, 1)):
        other = kernel(state, step, {**keywords, "rounding_seed": seed})
        if np.array_equal(other.params[1].view(np.uint16) & 1, got.params[1].view(np.uint16) & 1):
            raise Broken(f"another {words} rounds the same way")
    if kernel.strict:
        want = formula(state, case.step, {**keywords, "rounding_seed": 1})
        _same_lists("params", got.params, want.params, "stochastic rounding is not the documented hash")


def unbiased_rounding(kernel: Adam, case: Case) -> None:
    """Steps of a fraction of an ulp: the mean over 20,000 elements moves as it should, by 5 sigma."""
    n = 20000
    one = round_to(np.ones(n), "bfloat16")
    for fraction in (0.1, 0.5, 0.8):
        lr = fraction * 2.0**-8  # neighbours below 1 are 2^-8 apart
        grads = [round_to(np.ones(n), case.dtypes[1])]
        zeros = [round_to(np.zeros(n), case.dtypes[2])]
        state = State([one], grads, zeros, [zeros[0].copy()])
        got = kernel(state, 1, {**case.keywords, "lr": lr, "eps": 0.0, "rounding_seed": 12345 + case.seed})
        share = float(np.mean(got.params[0].astype(np.float64) < 1))
        sigma = np.sqrt(fraction * (1 - fraction) / n)
        if abs(share - fraction) > 5 * sigma + 1e-4:
            raise Broken(f"stochastic rounding is biased: steps of {fraction} ulp move the wrong share of "
                         "elements", "share that moved", f"{share:.4f}", f"{fraction} within {5 * sigma:.4f}")


def rounding_keeps_non_finite(kernel: Adam, case: Case) -> None:
    state = case.draw()
    state.params[1][:3] = round_to(np.array([np.nan, np.inf, -np.inf]), "bfloat16")
    all_ones = np.uint32(0x7FFFFFFF)  # a GPU's NaN: with anything added it would be -0
    state.exp_avg[1][3:33] = round_to(np.full(30, all_ones).view(f32), state.exp_avg[1].dtype.name)
    got = kernel(state, case.step, {**case.keywords, "rounding_seed": 3})
    want = np.concatenate([state.params[1][:3], round_to(np.full(30, np.nan), "bfloat16")])
    same_bits("params[1]", got.params[1][:33], want, "NaN or inf do not survive rounding")


# ---- Helpers -----------------------------------------------------------------------------------------

def _right(kernel: Adam, state: State, step: Any, keywords: Mapping[str, Any], words: str = "") -> State:
    got = kernel(state, step, keywords)
    _compare(kernel, got, state, step, keywords, words)
    return got


def _compare(kernel: Adam, got: State, state: State, step: int, keywords: Mapping[str, Any],
             words: str) -> None:
    options = dict(keywords)
    if kernel.strict and options.get("exact", True):
        want = formula(state, step, options)
        for name in CHANGED:
            _same_lists(name, getattr(got, name), getattr(want, name),
                        f"{words}{name} is not the formula's float32, bit for bit")
        return
    right, error = expected(state, step, options)
    for name in CHANGED:
        lists = zip(getattr(got, name) or [], getattr(right, name) or [], getattr(error, name) or [],
                    getattr(state, name) or [], strict=True)
        for i, (a, b, tolerance, before) in enumerate(lists):
            agree(f"{name}[{i}]", a, b, tolerance, before.dtype.name, f"{words}{name} is wrong")


def _same_lists(name: str, got: Any, want: Any, what: str) -> None:
    for i, (a, b) in enumerate(zip(got or [], want or [], strict=True)):
        same_bits(f"{name}[{i}]", a, b, what)


_LOW = ("bfloat16", "float16")
_BF16 = ("bfloat16",)
_WIDE = ("float32",)
PROPERTIES = (
    Property("agreement", "params, m and v are the formula's", agreement),
    Property("odd_sizes", "whatever the sizes of the tensors", odd_sizes, (*PLAIN, EVERYTHING)),
    Property("first_step", "the first step is lr in the direction of -g", first_step, PLAIN),
    Property("many_steps", "twelve steps from zero state", many_steps, (*PLAIN, EVERYTHING)),
    Property("large_steps", "also in step 10^6 and 2^31 - 1", large_steps, PLAIN),
    Property("device_step", "step and lr may be arrays", device_step, (*PLAIN, {"weight_decay": 0.1})),
    Property("found_inf", "found_inf skips the step", found_inf, (*PLAIN, EVERYTHING)),
    Property("grad_scale", "gradients are divided by grad_scale", grad_scale, PLAIN),
    Property("maximize", "maximize negates the gradient", maximize, PLAIN),
    Property("decay", "decoupled and coupled decay", decay, PLAIN),
    Property("amsgrad", "the largest v so far", amsgrad, PLAIN),
    Property("non_finite", "NaN stays in its element", non_finite, PLAIN),
    Property("zero_gradient", "no gradient, no step", zero_gradient, PLAIN),
    Property("tiny_gradients", "denormal numbers count", tiny_gradients, PLAIN, _WIDE, strict=True),
    Property("empty_tensors", "empty tensors in any place", empty_tensors, (*PLAIN, EVERYTHING)),
    Property("one_by_one", "one call for all is as a call for each", one_by_one, PLAIN),
    Property("unaligned", "arrays may be unaligned", unaligned, (*PLAIN, EVERYTHING)),
    Property("master_weights", "float32 master weights hold the truth", master_weights, PLAIN, _LOW),
    Property("stochastic_rounding", "rounding_seed rounds to a neighbour, reproducibly", stochastic_rounding,
             PLAIN, _BF16),
    Property("unbiased_rounding", "and without bias", unbiased_rounding, PLAIN, _BF16),
    Property("rounding_keeps_non_finite", "and keeps NaN and inf", rounding_keeps_non_finite, PLAIN, _BF16),
)
