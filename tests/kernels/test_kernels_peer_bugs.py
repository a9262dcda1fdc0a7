"""Bugs of peers, each by name: that its test exists, and those that no property covers."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kernels
from kernels import arrays, pointer_table
from kernels.testing import adam as adam_properties
from kernels.testing import cross_entropy as ce
from kernels.testing import peer_bugs
from kernels.testing.adam_reference import HYPER
from kernels.testing.cross_entropy_reference import Case, expected
from kernels.testing.peer_bugs import PEER_BUGS

ROOT = Path(kernels.__file__).parents[1]


@pytest.mark.parametrize("bug", PEER_BUGS, ids=lambda bug: f"{bug.peer} {bug.reference}")
def test_each_bug_has_its_test(bug):
    path, _, name = bug.test.partition("::")
    function, _, parameter = name.rstrip("]").partition("[")
    tree = ast.parse((ROOT / path).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    properties = {p.name for p in (*ce.PROPERTIES, *adam_properties.PROPERTIES)}
    assert not parameter or parameter in properties


def test_the_notes_bugs_are_all_here():
    """Every issue number of the notes, and the four peers in which -inf blocks give NaN."""
    numbers = {(bug.peer, bug.reference) for bug in PEER_BUGS}
    for peer, issues in {"Liger-Kernel": "1268 272 343 1251 177 678 1362", "Unsloth": "5002", "Apex": "1825",
                         "torch": "116349 11551 111484", "flash-attn": "714",
                         "TransformerEngine": "2918 3202", "DeepSpeed": "7640", "torchao": "4915",
                         "bitsandbytes": "2010"}.items():
        for issue in issues.split():
            assert (peer, f"#{issue}") in numbers
    assert len({bug.peer for bug in PEER_BUGS if "first block" in bug.what}) == 4


def test_the_table_prints(capsys):
    assert peer_bugs.main() == 0
    text = capsys.readouterr().out
    assert text.count("tests/kernels/") == len(PEER_BUGS)
    assert re.search(r"bitsandbytes +#2010 +weight decay after", text)


def test_help_is_help(capsys):
    with pytest.raises(SystemExit) as status:
        peer_bugs.main(["--help"])
    assert status.value.code == 0
    assert "kernels of others" in capsys.readouterr().out


def test_a_reader_that_leaves_is_no_traceback():
    command = [sys.executable, "-m", "kernels.testing.peer_bugs"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


# ---- Those that no property covers ---------------------------------------------------------------------

def test_liger_272_gradient_is_used_twice(cross_entropy):
    """The returned gradient is the caller's: a second call does not change the first one's."""
    x, y, _ = Case(rows=4, vocab=40).draw()
    first = cross_entropy(x, y).dlogits
    kept = first.copy()
    cross_entropy(x * 2, y)
    np.testing.assert_array_equal(first, kept)


def test_liger_343_logits_are_needed_again(backend, memory):
    """Out of place, logits are as they were, in the caller's own array; twice gives the same."""
    x, y, _ = Case(rows=4, vocab=40, dtype="bfloat16").draw()
    X, Y = memory.place(x), memory.place(y)
    results = [kernels.softmax_cross_entropy(X.array, Y.array, backend=backend) for _ in range(2)]
    X.check("logits", unchanged=True)
    np.testing.assert_array_equal(*(memory.host(r[2]).astype(np.float32) for r in results))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_liger_1251_upstream_gradient_is_applied_once(cross_entropy, reduction):
    """In place, with an upstream gradient: times 3 is times 3, not 9."""
    x, y, _ = Case(rows=4, vocab=40).draw()
    three = np.full(4 if reduction == "none" else (), 3, np.float32)
    options = {"reduction": reduction}
    plain = cross_entropy(x, y, options)
    scaled = cross_entropy(x, y, {**options, "grad_loss": three}, in_place=True)
    np.testing.assert_allclose(scaled.dlogits, 3 * plain.dlogits, rtol=1e-6)
    np.testing.assert_array_equal(scaled.loss, plain.loss)


def test_torch_116349_every_label_is_ignored(cross_entropy):
    """Also with class weights and smoothing, where the mean divides by a sum of no weights."""
    x, _, _ = Case(rows=4, vocab=40).draw()
    w = np.linspace(0, 1, 40, dtype=np.float32)
    got = cross_entropy(x, np.full(4, -100), {"class_weights": w, "label_smoothing": 0.1, "z_loss": 0.1})
    assert got.loss == 0
    assert not got.dlogits.any()
    zero_weight = cross_entropy(x, np.zeros(4, np.int64), {"class_weights": w})  # D = w_0 = 0, rows kept
    assert zero_weight.loss == 0
    assert not zero_weight.dlogits.any()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_torch_11551_minus_inf_in_ignored_rows(cross_entropy, reduction):
    x, y, _ = Case(rows=4, vocab=40).draw()
    x[1], y[1] = -np.inf, -100
    x[2, :39], y[2] = -np.inf, -100
    got, want = cross_entropy(x, y, {"reduction": reduction}), expected(x, y, reduction=reduction)
    np.testing.assert_allclose(got.loss, want.loss, rtol=1e-5)
    np.testing.assert_allclose(got.dlogits, want.dlogits, atol=1e-6)


def test_liger_678_gradient_of_reduction_none(cross_entropy):
    """Each row has its own upstream gradient, an ignored one among them."""
    x, y, _ = Case(rows=4, vocab=40).draw()
    y[2] = -100
    g = np.array([1, -2, 5, 0], np.float32)
    got = cross_entropy(x, y, {"reduction": "none", "grad_loss": g})
    each = cross_entropy(x, y, {"reduction": "none"})
    np.testing.assert_allclose(got.dlogits, g[:, None] * each.dlogits, rtol=1e-6)
    assert not got.dlogits[2:].any()


def test_torchao_4915_step_counter_sticks(adam):
    """Steps 256, 257, 258 differ, on the device too; a counter in bfloat16, which cannot tell, is refused."""
    state = adam_properties.Case(step=3).draw()
    results = [adam(state, np.array(t, kind), HYPER).params[0] for t in (256, 257, 258)
               for kind in ("int64", "float32")]
    for k in range(0, 6, 2):
        np.testing.assert_array_equal(results[k], results[k + 1])
    assert (results[0] != results[2]).any()
    assert (results[2] != results[4]).any()
    bf16 = arrays.numpy_dtype("bfloat16")
    with pytest.raises(ValueError, match="step is bfloat16"):
        kernels.adam_step(*state[:4], np.array(256, bf16), **HYPER)


def test_bitsandbytes_2010_decay_comes_first(adam):
    """theta = 1, g = 0.5, zero state: decay first gives (1 - 0.1) - 0.5, decay after (1 - 0.5) (1 - 0.1)."""
    one, g, zero = (np.array([x], np.float32) for x in (1, 0.5, 0))
    state = adam_properties.State([one], [g], [zero], [zero.copy()])
    got = adam(state, 1, {"lr": 0.5, "beta1": 0.9, "beta2": 0.999, "eps": 1e-12, "weight_decay": 0.2})
    assert got.params[0][0] == pytest.approx(0.4, rel=1e-6)


def test_liger_1362_python_floats_are_float32(cross_entropy):
    """An option that were double in the kernel would give other bits than the float32 it is rounded to."""
    x, y, _ = Case(rows=4, vocab=400).draw()
    for name, value in (("z_loss", 0.1), ("softcap", 7.3)):
        one, two = (cross_entropy(x, y, {name: v}) for v in (value, float(np.float32(value))))
        np.testing.assert_array_equal(one.dlogits, two.dlogits)
        np.testing.assert_array_equal(one.loss, two.loss)


def test_liger_no_value_comes_back_to_the_host():
    """No .item(), .tolist(), synchronize or printing in what runs for each call."""
    folder = ROOT / "kernels"
    forbidden = re.compile(r"\.item\(|\.tolist\(|synchronize\(|\.get\(\)|asnumpy|device_print")
    for path in [folder / "cross_entropy.py", folder / "adam.py", folder / "arrays.py",
                 *folder.glob("triton/*.py"), *folder.glob("cuda/*.py")]:
        found = forbidden.findall(path.read_text()) if path.name != "interpreter.py" else []  # CPU only
        assert not found, f"{path.name}: {found}"


@pytest.mark.device
def test_liger_nothing_waits_for_the_gpu(cross_entropy, adam, memory):
    """torch raises where a call would wait; the second call, when compiling and first copies are done."""
    import torch

    x, y, _ = Case(rows=4, vocab=1000).draw()
    X, Y = memory.place(x).array, memory.place(y).array
    lists = [[memory.place(np.ones(n, np.float32)).array for n in (5, 5000)] for _ in range(4)]
    torch.cuda.set_sync_debug_mode("default")
    try:
        for mode in ("default", "error"):
            torch.cuda.set_sync_debug_mode(mode)
            cross_entropy.fn(X, Y)
            adam.fn(*lists, 1, lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_liger_loss_is_float32(cross_entropy):
    """256 rows of loss near 2 sum to more than bfloat16 can hold to the unit."""
    x, y, _ = Case(rows=256, vocab=9, dtype="bfloat16", spread=1).draw()
    want = expected(x, y, reduction="sum")
    assert cross_entropy(x, y, {"reduction": "sum"}).loss == pytest.approx(want.loss, rel=1e-6)


@pytest.mark.parametrize("index", [-1, 0, 3, 39, 40, 10**6, -(2**40)])
def test_unsloth_ignore_index_is_the_callers(cross_entropy, index):
    x, y, _ = Case(rows=4, vocab=40).draw()
    y[1] = index
    got, want = cross_entropy(x, y, {"ignore_index": index}), expected(x, y, ignore_index=index)
    np.testing.assert_allclose(got.loss, want.loss, rtol=1e-5)
    assert not got.dlogits[1].any()


def test_deepspeed_7640_no_tensor_is_forgotten():
    """The table of tiles covers every element of every tensor once."""
    lengths = (1, pointer_table.ADAM_TILE, pointer_table.ADAM_TILE + 1, 0, 3 * pointer_table.ADAM_TILE - 1)
    _, tiles = pointer_table.table_arrays([(0, 0, 0, 0, 0, 0, n, i) for i, n in enumerate(lengths)])
    covered = dict.fromkeys(range(len(lengths)), 0)
    for row, tile in tiles.tolist():
        covered[row] += min(pointer_table.ADAM_TILE, lengths[row] - tile * pointer_table.ADAM_TILE)
    assert covered == dict(enumerate(lengths))
