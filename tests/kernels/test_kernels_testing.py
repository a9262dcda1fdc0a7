"""The judges: they pass the shipped kernels and a right learner's, and say of wrong ones what is wrong."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

import kernels
from kernels.testing import Report, check_adam, check_softmax_cross_entropy
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
    for report in (check_softmax_cross_entropy(rows, seeds=[0], memory=memory, strict=True),
                   check_adam(step, seeds=[0], memory=memory, strict=True)):
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
    for part in ("not ok", "agreement", "FAIL", "params is wrong", "params[0][0]: got", "wanted",
                 "ulp of the output's type", "eps stands inside the root", "again with: Case(sizes=(5, 33)"):
        assert part in text, text
    case = report.failures[0].case  # and it fails again
    again = check_adam(broken_adam("eps inside"), dtypes=[case.dtypes], options=[case.options],
                       seeds=[case.seed])
    assert str(again.failures[0]) == str(report.failures[0])


@pytest.mark.parametrize(("fn", "words"), [
    (lambda logits, labels: None, "must return (loss, lse, dlogits), not NoneType"),
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
    assert eval(str(rows), {"Case": Case}) == rows
    assert eval(str(tensors), {"Case": AdamCase}) == tensors
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
    assert "dtypes=('float32',)" in str(report)
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
        ("huge_logits", "it looks as if the maximum was not subtracted before exp")]
