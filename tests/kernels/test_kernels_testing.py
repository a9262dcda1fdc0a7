"""The judges: they pass the shipped kernels and a right learner's, and say of wrong ones what is wrong."""

import ctypes
import functools
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

import kernels
from kernels.testing import AdamCase as PublicAdamCase
from kernels.testing import CrossEntropyCase, Report, check_adam, check_softmax_cross_entropy, isolate
from kernels.testing import adam_wrong as wrong_adam
from kernels.testing import cross_entropy_wrong as wrong_rows
from kernels.testing.adam import EVERYTHING
from kernels.testing.adam_reference import Case as AdamCase
from kernels.testing.adam_reference import State
from kernels.testing.compare import Broken, agree, same_bits, ulp
from kernels.testing.cross_entropy_reference import Case
from kernels.testing.memory import TorchMemory
from kernels.testing.strategies import adam_cases, cross_entropy_cases

ROOT = Path(kernels.__file__).parents[1]


# ---- Right kernels -----------------------------------------------------------------------------------

@pytest.mark.parametrize("strict", [False, True])
def test_shipped_kernels_pass(strict):
    rows = functools.partial(kernels.softmax_cross_entropy, backend="numpy")
    step = functools.partial(kernels.adam_step, backend="numpy")
    for report in (check_softmax_cross_entropy(rows, seeds=[3], strict=strict),
                   check_adam(step, seeds=[3], strict=strict)):
        assert report.ok, str(report)
        assert {o.verdict for o in report.outcomes} == {"pass"}


def minimal_rows(logits, labels):
    """What a learner hands in after the first lesson: no options, textbook formula."""
    x = logits.astype(np.float32)
    m = x.max(axis=1, keepdims=True) if x.size else np.zeros((len(x), 1), np.float32)
    e = np.exp(x - m)
    s = e.sum(axis=1, keepdims=True)
    lse = (m + np.log(s))[:, 0]
    i = np.arange(len(x))
    loss = np.float32(np.mean(lse - x[i, labels]) if len(x) else 0)
    d = e / s
    d[i, labels] -= 1
    return loss, lse, (d / max(len(x), 1)).astype(logits.dtype)


def minimal_adam(params, grads, exp_avg, exp_avg_sq, step, *, lr, beta1, beta2, eps):
    for p, g, m, v in zip(params, grads, exp_avg, exp_avg_sq, strict=True):
        g, t = g.astype(np.float32), int(step)
        new_m = beta1 * m.astype(np.float32) + (1 - beta1) * g
        new_v = beta2 * v.astype(np.float32) + (1 - beta2) * g * g
        update = lr / (np.sqrt(new_v / (1 - beta2**t)) + eps) * (new_m / (1 - beta1**t))
        m[...], v[...], p[...] = new_m, new_v, p.astype(np.float32) - update


def test_a_minimal_kernel_passes_and_its_options_are_not_supported():
    report = check_softmax_cross_entropy(minimal_rows)
    assert report.ok, str(report)
    verdicts = {o.name: o.verdict for o in report.outcomes}
    assert verdicts["agreement"] == verdicts["minus_inf_blocks"] == "pass"
    assert verdicts["ignored_rows"] == verdicts["in_place"] == "not supported"
    assert "not supported" in str(report)
    assert "minimal_rows: ok" in str(report)
    report = check_adam(minimal_adam)
    assert report.ok, str(report)
    assert {o.name: o.verdict for o in report.outcomes}["stochastic_rounding"] == "not supported"


def test_kernels_that_take_torch_are_judged_on_torch():
    """The same guards around torch's arrays, with strides and alignment."""
    torch = pytest.importorskip("torch")
    seen = set()

    def rows(logits, labels, **options):
        seen.add(type(logits))
        return kernels.softmax_cross_entropy(logits, labels, backend="numpy", **options)

    def step(params, *rest, **options):
        seen.add(type(params[0]))
        kernels.adam_step(params, *rest, backend="numpy", **options)

    memory = TorchMemory("cpu")
    for report in (check_softmax_cross_entropy(rows, seeds=[0], memory=memory, strict=True, isolate=False),
                   check_adam(step, seeds=[0], memory=memory, strict=True, isolate=False)):
        assert report.ok, str(report)
    assert seen == {torch.Tensor}


def test_a_refusal_is_not_a_failure():
    def rows(logits, labels, **options):
        if options.get("softcap"):
            raise NotImplementedError("softcap")
        if options.get("z_loss"):
            raise TypeError("z_loss is not for this kernel")
        return kernels.softmax_cross_entropy(logits, labels, **options)

    report = check_softmax_cross_entropy(rows, seeds=[0])
    assert report.ok, str(report)
    assert "softcap" in next(o for o in report.outcomes if o.name == "agreement").unsupported


def test_the_judge_is_deterministic():
    one, two = (str(check_softmax_cross_entropy(broken_rows("sign"), seeds=[1])) for _ in range(2))
    assert one == two


# ---- Wrong kernels -----------------------------------------------------------------------------------

def broken_rows(wrong):
    def learner(logits, labels, *, ignore_index=-100, label_smoothing=0.0, z_loss=0.0, class_weights=None,
                softcap=None, reduction="mean", grad_loss=None):
        loss, lse, d = wrong_rows.formula(
            logits, labels, ignore_index=ignore_index, label_smoothing=label_smoothing, z_loss=z_loss,
            class_weights=class_weights, softcap=softcap, reduction=reduction, grad_loss=grad_loss,
            wrong=wrong)
        return np.float32(loss), lse.astype(np.float32), d.astype(logits.dtype)

    return learner


def broken_adam(wrong):
    def learner(params, grads, exp_avg, exp_avg_sq, step, *, lr, beta1, beta2, eps, weight_decay=0.0,
                decoupled=True, amsgrad=False, max_exp_avg_sq=None, maximize=False, grad_scale=None,
                found_inf=None, master=None):
        state = State(params, grads, exp_avg, exp_avg_sq, max_exp_avg_sq, master)
        new = wrong_adam.formula(state, int(step), {
            "lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay,
            "decoupled": decoupled, "amsgrad": amsgrad, "maximize": maximize, "grad_scale": grad_scale,
            "found_inf": found_inf}, wrong)
        for name in ("params", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "master"):
            for a, b in zip(getattr(state, name) or [], getattr(new, name) or [], strict=True):
                a[...] = b

    return learner


def test_the_wrong_formulas_without_a_mistake_are_right():
    assert check_softmax_cross_entropy(broken_rows("")).ok
    assert check_adam(broken_adam("")).ok


@pytest.mark.parametrize("wrong", wrong_rows.MISTAKES)
def test_every_known_mistake_in_cross_entropy_is_named(wrong):
    low = wrong in ("low precision", "low loss")
    report = check_softmax_cross_entropy(broken_rows(wrong), dtypes=["bfloat16" if low else "float32"],
                                         seeds=[0])
    assert not report.ok
    assert any(wrong_rows.MISTAKES[wrong] in failure.cause for failure in report.failures), str(report)


@pytest.mark.parametrize("wrong", wrong_adam.MISTAKES)
def test_every_known_mistake_in_adam_is_named(wrong):
    kinds = ("bfloat16", "bfloat16", "float32") if wrong == "master" else ("float32",) * 3
    report = check_adam(broken_adam(wrong), dtypes=[kinds], seeds=[0])
    assert not report.ok
    assert wrong_adam.MISTAKES[wrong] in report.failures[0].cause, str(report)


def test_a_failure_tells_all_that_is_needed():
    report = check_adam(broken_adam("eps inside"), seeds=[0])
    text = str(report)
    for part in ("not ok", "agreement", "FAIL", "params is wrong", "params[0][1]: got", "wanted",
                 "ulp of the output's type", "eps stands inside the root",
                 "again with: check_adam(learner, only='agreement', case=AdamCase(sizes=(5, 33)"):
        assert part in text, text
    case = report.failures[0].case  # and it fails again
    again = check_adam(broken_adam("eps inside"), dtypes=[case.dtypes], options=[case.options],
                       seeds=[case.seed])
    assert str(again.failures[0]) == str(report.failures[0])


@pytest.mark.parametrize(("fn", "words"), [
    (lambda logits, labels: None, "must return (loss, lse, dlogits), not a NoneType"),
    (lambda logits, labels: (np.float32(0), np.zeros(len(logits), np.float32), logits[:, :1]),
     "dlogits has the wrong shape"),
    (lambda logits, labels: (np.float32(0), np.zeros(len(logits), np.float32), logits.astype(np.float64)),
     "dlogits must have the logits' element type"),
    (lambda logits, labels: (np.float16(0), np.zeros(len(logits), np.float32), logits),
     "loss must be float32 or wider"),
    (lambda logits, labels: 1 // 0, "the kernel raised ZeroDivisionError: integer division"),
    (lambda logits, labels: labels[10**6], "the kernel raised IndexError"),
], ids=["None", "shape", "type", "half", "exception", "index"])
def test_other_failures_are_words_too(fn, words):
    report = check_softmax_cross_entropy(fn, seeds=[0])
    assert words in str(report.failures[0])
    assert "Traceback" not in str(report)
    assert "the same as in agreement" in str(report)  # told once, not 20 times


def test_stray_writes_are_seen():
    def writes_beyond(logits, labels):
        result = minimal_rows(logits, labels)
        if logits.size:
            np.lib.stride_tricks.as_strided(logits, (1, logits.shape[1] + 1))[0, -1] = 0
        return result

    def overwrites(logits, labels):
        result = minimal_rows(logits, labels)
        logits[...] = 0
        return result

    report = check_softmax_cross_entropy(writes_beyond, seeds=[0])
    assert "a stray write: memory beside logits changed" in str(report) or "is an input" in str(report)
    assert "row_strides" in [failure.name for failure in report.failures]
    assert "logits is an input, but was changed" in str(check_softmax_cross_entropy(overwrites, seeds=[0]))

    def changes_gradients(params, grads, exp_avg, exp_avg_sq, step, *, lr, beta1, beta2, eps):
        minimal_adam(params, grads, exp_avg, exp_avg_sq, step, lr=lr, beta1=beta1, beta2=beta2, eps=eps)
        for g in grads:
            g *= 0.5

    assert "grads[0] is an input, but was changed" in str(check_adam(changes_gradients, seeds=[0]))


def test_an_untidy_option_is_caught():
    """A kernel may lack an option, but not take one and do something else."""
    def rows(logits, labels, *, reduction="mean"):
        loss, lse, d = minimal_rows(logits, labels)
        return (loss if reduction == "mean" else loss * (len(logits) + 1)), lse, d

    report = check_softmax_cross_entropy(rows, seeds=[0])
    assert not report.ok
    assert "'reduction': 'sum'" in str(report)


# ---- The parts ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_ulp_is_numpys_spacing(dtype):
    kind = np.dtype(dtype)
    x = np.array([0, 1, 1.5, 3, 6e-5, 1e-7, 1000, -3], kind)
    np.testing.assert_array_equal(ulp(x, dtype), np.abs(np.spacing(x)).astype(np.float64))


def test_ulp_of_bfloat16():
    assert ulp(1.0, "bfloat16") == 2.0**-7
    assert ulp(0.0, "bfloat16") == 2.0**-133


def test_comparisons_tell_apart_what_differs():
    with pytest.raises(Broken, match="wrong: x\\[1\\] = 2, wanted 3"):
        agree("x", [1.0, 2.0], [1.0, 3.0], 0.5, "float32", "wrong")
    agree("x", [np.nan, np.inf, 1.0], [np.nan, np.inf, 1.1], 0.2, "float32", "wrong")
    for got in ([np.inf], [np.nan], [1.5]):
        with pytest.raises(Broken):
            agree("x", got, [1.0], 0.4, "float32", "wrong")
    with pytest.raises(Broken):
        same_bits("x", np.array([0.0]), np.array([-0.0]), "the sign of zero")
    same_bits("x", np.array([np.nan]), np.array([-np.nan]), "nan is nan")


@given(cross_entropy_cases(), adam_cases())
def test_cases_print_what_makes_them_again(rows, tensors):
    assert eval(str(rows), {"CrossEntropyCase": Case}) == rows
    assert eval(str(tensors), {"AdamCase": AdamCase}) == tensors
    for a, b in zip(rows.draw()[:2], rows.draw()[:2], strict=True):
        np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


def test_judges_need_numpy_alone():
    code = ("import sys\n"
            "for name in ('torch', 'triton', 'cupy', 'hypothesis', 'ml_dtypes'): sys.modules[name] = None\n"
            "from kernels.testing import check_adam, check_softmax_cross_entropy as c\n"
            "import kernels\n"
            "r = c(kernels.softmax_cross_entropy, seeds=[0]); assert r.ok, r\n"
            "r = check_adam(kernels.adam_step, seeds=[0]); assert r.ok, r\n")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True,
                          cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]


def test_reports_are_plain():
    report = check_adam(minimal_adam, options=[{}, EVERYTHING], seeds=[0])
    assert isinstance(report, Report)
    assert report.failures == ()
    assert all(len(line) < 250 for line in str(report).splitlines())


def test_a_kernel_for_one_element_type_breaks_one_property():
    def float32_alone(logits, labels):
        loss, lse, d = kernels.softmax_cross_entropy(logits.astype(np.float32), labels)
        return loss, lse, d

    report = check_softmax_cross_entropy(float32_alone)
    assert [failure.name for failure in report.failures] == ["element_types"]
    assert "judge it with dtypes='float32'" in str(report)
    assert check_softmax_cross_entropy(float32_alone, dtypes=("float32",)).ok


def test_an_overflow_is_named_whatever_numbers_come_of_it():
    def overflows(logits, labels):
        p = np.exp(logits)
        s, rows = p.sum(-1), np.arange(len(labels))
        loss, d = -np.log(p[rows, labels] / s).sum() / max(len(labels), 1), p / s[:, None]
        d[rows, labels] -= 1
        return loss, np.log(s), d / max(len(labels), 1)

    report = check_softmax_cross_entropy(overflows, dtypes=("float32",))
    assert [(f.name, f.cause) for f in report.failures] == [
        ("huge_logits", "it looks as if each row's own maximum was not subtracted before exp")]


# ---- Kernels that end the process ----------------------------------------------------------------------

FORKS = pytest.mark.skipif(not isolate.possible(), reason="needs a process that may fork")
quick = functools.partial(check_softmax_cross_entropy, dtypes="float32", seeds=[0])


def dies(how):
    """minimal_rows, but for a single class it ends the process."""
    def learner(logits, labels):
        if logits.shape[1] == 1:
            how()
        return minimal_rows(logits, labels)

    return learner


@FORKS
@pytest.mark.parametrize(("how", "words"), [
    (lambda: ctypes.string_at(0), "the kernel crashed the process (signal 11, SIGSEGV)"),
    (os.abort, "the kernel crashed the process (signal 6, SIGABRT)"),
    (lambda: sys.exit(3), "the kernel ended the process (exit status 1)"),
    (lambda: time.sleep(60), "the kernel took longer than 1 s"),
], ids=["segfault", "abort", "exit", "hang"])
def test_a_crash_is_one_failure_among_the_verdicts(how, words):
    report = quick(dies(how), limit=1)
    assert [failure.name for failure in report.failures] == ["one_class"], str(report)
    assert words in str(report)
    assert report.failures[0].case == CrossEntropyCase(1, 2, "float32", {}, 0)
    assert {o.name: o.verdict for o in report.outcomes}["overflow_by_stride"] == "pass"


@FORKS
def test_a_32_bit_offset_that_crashes_is_named():
    def learner(logits, labels):
        if logits.strides[0] > 2**32:
            ctypes.string_at(0)
        return minimal_rows(logits, labels)

    report = quick(learner, only="overflow_by_stride")
    assert "row * stride was computed in 32 bits" in report.failures[0].cause


@FORKS
def test_kernels_that_always_hang_do_not_hang_the_judge():
    report = quick(lambda logits, labels: time.sleep(60), limit=0.2)
    assert {o.verdict for o in report.outcomes} == {"FAIL", "not run"}
    assert "2 others took too long" in str(report)


@FORKS
def test_children_compute_with_torch_and_leave_the_parents_alone():
    """torch's threads are not in a forked child, which must not wait for them."""
    torch = pytest.importorskip("torch")
    before = torch.ones(600, 600) @ torch.ones(600, 600)  # starts them

    def learner(logits, labels):
        big = torch.ones(600, 600) @ torch.ones(600, 600)
        assert float(big.sum()) == float(before.sum())
        return minimal_rows(logits, labels)

    threads = torch.get_num_threads()
    assert quick(learner, only=("agreement", "larger_rows"), isolate=True).ok
    assert torch.get_num_threads() == threads


def test_isolation_changes_no_word_of_a_report():
    reports = [str(quick(broken_rows("columns"), isolate=asked)) for asked in (False, None)]
    assert reports[0] == reports[1]


@FORKS
def test_a_missing_backend_is_no_verdict_in_a_child_either():
    def learner(logits, labels):
        raise kernels.backends.BackendUnavailable("needs a compiler")

    with pytest.raises(kernels.backends.BackendUnavailable, match="needs a compiler"):
        quick(learner)


@FORKS
def test_an_error_of_the_judge_itself_is_raised_with_its_traceback():
    with pytest.raises(RuntimeError, match="(?s)child process.*ZeroDivisionError"):
        isolate.in_child(lambda progress: 1 // 0, 5)


# ---- Own Triton kernels --------------------------------------------------------------------------------

SCALE = """
import numpy as np
from kernels.guards import StrayWrite
from kernels.testing import run_triton
import kernels.triton
import triton
import triton.language as tl

@triton.jit
def scale(x, n, a, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + i, a * tl.load(x + i, mask=i < n), mask=i < n)

@triton.jit
def unmasked(x, n, a, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + i, a * tl.load(x + i, mask=i <= n), mask=i <= n)

x = np.arange(1000, dtype=np.float32)
run_triton(scale, 4, x, len(x), 2.0, BLOCK=256)
assert (x == 2 * np.arange(1000)).all()
for call, words in (
        (lambda: run_triton(unmasked, 4, x, len(x), 2.0, BLOCK=256), "after the end of x"),
        (lambda: run_triton(scale, (4, 2), x, len(x), 2.0, BLOCK=256), "must be one number"),
        (lambda: run_triton(scale, 4, x, BLOCK=256), "missing a required argument: 'n'"),
        (lambda: run_triton(scale, 4, 1, 1, 2.0, BLOCK=256), "none of the arguments is an array")):
    try:
        call()
    except (StrayWrite, TypeError, ValueError) as error:
        assert words in str(error), error
    else:
        raise AssertionError(words)
"""


def test_an_own_triton_kernel_runs_with_guards(need_backend, tmp_path):
    need_backend("triton")
    (tmp_path / "own.py").write_text(SCALE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, tmp_path / "own.py"], capture_output=True, text=True,
                          env=environment)
    assert done.returncode == 0, done.stderr[-2000:]


def test_triton_without_its_interpreter_is_one_clear_cause():
    def learner(logits, labels):
        raise RuntimeError("0 active drivers ([]). There should only be one.")

    assert "set TRITON_INTERPRET=1 before the first import of triton" in quick(learner).failures[0].cause


# ---- Causes ----------------------------------------------------------------------------------------------

def test_a_wrong_kernel_that_subtracts_the_maximum_is_not_told_to():
    for wrong in ("sum", "loss of the sum", "gradient of the sum", "sign", "sign of the loss", "axis"):
        failures = {f.name: f for f in quick(broken_rows(wrong), only="huge_logits").failures}
        assert "maximum" not in failures["huge_logits"].cause, wrong


def test_a_loss_by_probabilities_is_named_where_the_gradient_is_finite():
    def learner(logits, labels):
        loss, lse, d = minimal_rows(logits, labels)
        p = np.exp(logits - lse[:, None])[np.arange(len(labels)), labels]
        return (-np.log(p).mean() if len(p) else loss), lse, d

    assert "underflows" in {f.name: f.cause for f in quick(learner).failures}["huge_logits"]


@pytest.mark.parametrize(("change", "words"), [
    (lambda loss, lse, d: (loss, d, lse), "came in another order"),
    (lambda loss, lse, d: (lse, loss, d), "came in another order"),
    (lambda loss, lse, d: (loss, lse[:, None], d), "keepdims=True"),
    (lambda loss, lse, d: (loss, d.sum(axis=0), d), "softmax was taken over axis 0"),
], ids=["lse-dlogits", "loss-lse", "keepdims", "axis"])
def test_wrong_shapes_have_causes(change, words):
    report = quick(lambda logits, labels: change(*minimal_rows(logits, labels)), only="larger_rows")
    assert words in report.failures[0].cause


def test_a_load_beyond_the_row_is_named():
    """The canaries between and after the rows are NaN."""
    def learner(logits, labels):
        wide = np.lib.stride_tricks.as_strided(logits, (len(logits), logits.shape[1] + 1), logits.strides)
        loss, lse, d = minimal_rows(wide[-1:], labels[-1:])
        return loss, np.repeat(lse, len(labels)), np.repeat(d[:, :-1], len(labels), axis=0)

    assert "beyond a row's end" in quick(learner, only="agreement").failures[0].cause


def test_two_values_are_counted():
    assert "not a tuple of 2 values" in str(quick(lambda logits, labels: (0, 0), only="agreement"))


def test_the_mean_of_no_rows_is_named():
    def learner(logits, labels):
        loss, lse, d = minimal_rows(logits, labels)
        return (loss if len(logits) else np.float32(np.nan)), lse, d

    report = quick(learner)
    assert [f.name for f in report.failures] == ["empty_batch"]
    assert "0 / 0" in report.failures[0].cause


@pytest.mark.parametrize("guarded", [False, True])
def test_ignored_rows_times_zero_are_told_from_a_mean_of_nothing(guarded):
    def learner(logits, labels, *, ignore_index=-100):
        kept = labels != ignore_index
        n = kept.sum() if not guarded else max(kept.sum(), 1)
        _, lse, d = minimal_rows(logits, np.where(kept, labels, 0))
        each = (lse - logits[np.arange(len(labels)), np.where(kept, labels, 0)]) * kept
        return np.float32(each.sum() / n), lse * kept, (d * len(d) * kept[:, None] / n).astype(logits.dtype)

    causes = {f.name: f.cause for f in quick(learner, only=("all_ignored", "ignored_rows")).failures}
    assert ("NaN * 0 is NaN" if guarded else "0 / 0") in causes["all_ignored"]
    assert "NaN * 0 is NaN" in causes["ignored_rows"]


def test_a_textbook_adam_is_not_wrong_because_the_step_is_an_array():
    def textbook(params, grads, exp_avg, exp_avg_sq, step, *, lr, beta1, beta2, eps):
        for p, g, m, v in zip(params, grads, exp_avg, exp_avg_sq, strict=True):
            m[...] = beta1 * m + (1 - beta1) * g
            v[...] = beta2 * v + (1 - beta2) * g * g
            p -= lr * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps)

    report = check_adam(textbook, dtypes="float32", seeds=[0])
    assert report.ok, str(report)
    assert "step as a float32 array: beta**float(step)" in str(report)


def test_an_adam_with_other_arguments_is_told_so():
    def torchs(params, grads, exp_avg, exp_avg_sq, step, *, lr, betas, eps):
        raise AssertionError("not called")

    report = check_adam(torchs, dtypes="float32", seeds=[0])
    assert len(report.failures) > 10
    assert "but does not take beta1, beta2" in report.failures[0].broken.what

    def one_tensor(p, g, m, v, t, *, lr, beta1, beta2, eps):
        m[...] = 0.9 * m + (1 - beta1) * g

    report = check_adam(one_tensor, dtypes="float32", seeds=[0], only="agreement")
    assert "are lists of arrays" in report.failures[0].cause


# ---- What the judge is asked -----------------------------------------------------------------------------

def test_what_again_with_says_can_be_pasted():
    def mine(logits, labels):
        loss, lse, d = minimal_rows(logits, labels)
        return loss, lse, -d

    def adam(params, *rest, lr, beta1, beta2, eps):
        pass

    names = {"check_softmax_cross_entropy": check_softmax_cross_entropy, "check_adam": check_adam,
             "CrossEntropyCase": CrossEntropyCase, "AdamCase": PublicAdamCase, "mine": mine, "adam": adam}
    for report in (quick(mine), check_adam(adam, dtypes="float32", seeds=[0])):
        failure = report.failures[-1]
        again = eval(failure.again, names)
        assert [o.name for o in again.outcomes] == [failure.name]
        assert str(again.failures[0]) == str(failure)


@pytest.mark.parametrize(("asked", "words"), [
    ({"options": [{"label_smooting": 0.1}]}, "'label_smooting' is no option; there are ignore_index"),
    ({"options": {"label_smoothing": 0.1}}, "must be dictionaries"),
    ({"only": "agrement"}, "'agrement' is no property; there are element_types, agreement"),
    ({"dtypes": "float8"}, "'float8' is none of 'float32', 'float16', 'bfloat16'"),
    ({"dtypes": (np.int32,)}, "is none of"),
])
def test_what_is_not_there_is_one_line(asked, words):
    with pytest.raises(ValueError, match=words) as error:
        check_softmax_cross_entropy(minimal_rows, **asked)
    assert "\n" not in str(error.value)


def test_element_types_may_be_written_in_several_ways():
    for dtypes in ("float32", ("float32",), np.float32, [np.dtype("float32")]):
        assert check_softmax_cross_entropy(minimal_rows, dtypes=dtypes, only="agreement", seeds=[0]).ok
        assert check_adam(minimal_adam, dtypes=dtypes, only="agreement", seeds=[0]).ok
    with pytest.raises(ValueError, match="must be three types"):
        check_adam(minimal_adam, dtypes=[("float32", "float32")])
    with pytest.raises(ValueError, match="'float8' is none of"):
        check_adam(minimal_adam, dtypes="float8")
    with pytest.raises(ValueError, match="'beta3' is no option"):
        check_adam(minimal_adam, options=[{"beta3": 0.1}])


def test_names_and_figures_are_for_people():
    assert quick(functools.partial(minimal_rows), only="one_class").kernel == "minimal_rows()"
    assert quick(broken_rows(""), only="one_class").kernel == "learner"
    text = str(quick(broken_rows("maximum")))
    assert "more than 1e6 ulp" in text or "ulp" not in text
    assert text.count("likely cause: it looks as if") <= 2
