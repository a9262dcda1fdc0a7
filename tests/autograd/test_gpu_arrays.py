"""Arrays of another library, as CuPy's are: they stay where they are, from the input to the update."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from device_array import DeviceArray, asarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rule_checks import parts_of
from rule_rows import ROWS

import kernels
from kernels.backends import BackendUnavailable
from minillm import Tensor, formulas, nn, optim
from minillm.autograd import detect_anomaly, grad, implementations, no_grad, use_kernels
from minillm.autograd.devices import beside, device_of, is_foreign, moved, to_host
from minillm.autograd.fused import dropout, embedding, linear, lstm, softmax_cross_entropy
from minillm.autograd.fused.registry import kernel
from minillm.formulas.ledger import LEDGER
from minillm.models import LSTMConfig, LSTMLanguageModel
from minillm.train.checkpoint import load_checkpoint, save_checkpoint

slow_to_draw = [HealthCheck.too_slow, HealthCheck.filter_too_much]
IDS = np.random.default_rng(0).integers(0, 11, (4, 6))
LABELS = np.random.default_rng(1).integers(0, 11, (4, 6))


@pytest.fixture
def fake_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """`import cupy` gives the stand-in."""
    runtime = SimpleNamespace(CUDARuntimeError=ZeroDivisionError)
    cuda = SimpleNamespace(Device=lambda number=0: nullcontext(), runtime=runtime)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(asarray=asarray, cuda=cuda))


def language_model(dtype: Any, dropout: float = 0.0) -> LSTMLanguageModel:
    config = LSTMConfig(11, 5, 7, 2, dropout=dropout)
    return LSTMLanguageModel(config, rng=np.random.default_rng(2), dtype=dtype)


def train(model: Any, optimizer: Any, steps: int = 3) -> list[float]:
    losses = []
    for _ in range(steps):
        logits, _ = model(IDS)
        loss = softmax_cross_entropy(logits, LABELS, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 0.5)
        optimizer.step()
        losses.append(float(loss))
    return losses


def available(backend: str) -> str:
    """The backend; skips where it cannot run, but not in CI."""
    try:
        kernels.softmax_cross_entropy(np.zeros((1, 2), np.float32), np.array([0]), backend=backend)
    except BackendUnavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    return backend


# ---- the stand-in is as strict as what it stands for --------------------------------------------

def test_the_stand_in_refuses_what_cupy_refuses():
    x = asarray(np.ones((2, 2)))
    for wrong in (lambda: np.asarray(x), lambda: x + np.ones(2), lambda: np.concatenate([x, np.ones((2, 2))]),
                  lambda: x.dot(np.ones(2)), lambda: np.full(2, 1.0, like=x), lambda: np.dot(np.ones(2), x)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(AttributeError):
        np.where(True, x, 0)
    assert type(np.sum(x)) is DeviceArray


# ---- Tensors -------------------------------------------------------------------------------------

def test_a_tensor_holds_the_array_itself():
    array = asarray(np.array([[1.0, 2.0]], np.float32))
    x = Tensor(array, requires_grad=True, name="x")
    assert x.data is array
    assert (x.shape, x.dtype, x.ndim, x.size, len(x)) == ((1, 2), np.float32, 2, 2, 1)
    y = (np.tanh(x) * 2 + x).sum()
    assert type(y.data) is DeviceArray
    y.backward()
    assert type(x.grad) is DeviceArray
    np.testing.assert_allclose(x.grad.get(), 3 - 2 * np.tanh([[1, 2]]) ** 2, rtol=1e-6)
    assert type(x.numpy()) is np.ndarray
    assert "device=" in repr(x)
    assert "[[1., 2.]]" in repr(x)
    with pytest.raises(TypeError, match="Implicit"):
        np.asarray(x.detach())


def test_operators_between_an_array_and_a_tensor_are_recorded():
    array, x = asarray(np.array([1.0, 2.0])), Tensor(asarray(np.array([3.0, 4.0])), requires_grad=True)
    for y in (array * x, np.multiply(array, x), x * array):
        x.grad = None
        y.sum().backward()
        np.testing.assert_array_equal(x.grad.get(), [1, 2])


def test_a_numpy_array_is_not_foreign():
    for x in (np.ones(2), np.float32(1), 1.0, [1.0], Tensor([1.0]), "text"):
        assert not is_foreign(x)
    assert device_of(np.ones(2)) == "cpu"
    x = np.ones(2)
    assert to_host(x) is x
    assert beside(x, x) is x


@pytest.mark.parametrize("row", [row for row in ROWS if row.name != "to"], ids=lambda r: r.name)
@settings(deadline=None, max_examples=15, suppress_health_check=slow_to_draw)
@given(data=st.data())
def test_every_rule_runs_there(row, data):
    case = data.draw(row.cases)
    results = []
    for place in (lambda a: a, lambda a: DeviceArray(np.array(a))):
        options = {k: place(v) if type(v) is np.ndarray and row.name != "getitem" else v
                   for k, v in case.options.items()}
        xs = [Tensor(place(a), requires_grad=True) for a in case.arrays]
        rng = np.random.default_rng(0)
        parts = parts_of(row.f(*xs, **options))
        for y in parts:
            y.backward(rng.standard_normal(y.shape))
        results.append([to_host(a) for a in [*(y.data for y in parts),
                                             *(x.data if x.grad is None else x.grad for x in xs)]])
        kind = type(place(np.ones(1)))
        assert all(type(y.data) is kind for y in parts)
        assert all(x.grad is None or type(x.grad) is kind for x in xs)
    for a, b in zip(*results, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(b, a, rtol=1e-6 if a.dtype == np.float32 else 1e-13, atol=1e-6)


# Of the formulas of kernels the reference is in NumPy alone.
@pytest.mark.parametrize("name", [name for name in LEDGER if not name.startswith("cross_entropy_rows")])
def test_every_formula_runs_there_unchanged(name):
    row = LEDGER[name]
    args = row.example(np.random.default_rng(0))
    labels_here = name in ("cross_entropy_of_labels", "softmax_cross_entropy")  # they look at their labels

    def there(a: Any) -> Any:
        is_array = isinstance(a, np.ndarray) and not (labels_here and a.dtype.kind == "i")
        return asarray(a) if is_array else a

    expected, found = (parts_of(row.reference(*a)) for a in (args, map(there, args)))
    for a, b in zip(expected, found, strict=True):
        if any(isinstance(x, np.ndarray) for x in args):
            assert type(b) is DeviceArray
        np.testing.assert_allclose(to_host(b), a, rtol=1e-14, atol=1e-15)


# ---- fused ops -----------------------------------------------------------------------------------

def draws(*shapes: tuple[int, ...], dtype: Any = np.float64) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


FUSED = {
    "linear": (linear, draws((2, 3, 4), (4, 5), (5,)), []),
    "lstm": (lambda *a: np.concatenate([np.reshape(y, -1) for y in lstm(*a)]),
             draws((2, 3, 4), (2, 5), (2, 5), (4, 20), (5, 20), (20,)), []),
    "dropout": (lambda x, keep: dropout(x, keep, p=0.25), draws((3, 4)), [np.eye(3, 4) == 0]),
    "embedding": (lambda w, ids: embedding(ids, w), draws((11, 3)), [IDS]),
    "softmax_cross_entropy": (softmax_cross_entropy, draws((4, 6, 11)), [LABELS]),
    "smoothed": (lambda x, y: softmax_cross_entropy(x, y, label_smoothing=0.2, ignore_index=3),
                 draws((4, 6, 11)), [LABELS]),
}


@pytest.mark.parametrize("constants", ["host", "device"])
@pytest.mark.parametrize("name", FUSED)
def test_a_fused_op_gives_the_same_there_with_its_derivatives(name, constants):
    f, arrays, rest = FUSED[name]
    results = []
    for place in (lambda a: a, asarray):
        xs = [Tensor(place(a), requires_grad=True) for a in arrays]
        y = f(*xs, *(place(a) if constants == "device" else a for a in rest))
        first = grad((y * y).sum(), xs, create_graph=True)
        second = grad(sum((d * d).sum() for d in first), xs)
        (y * y).sum().backward()
        results.append([y.numpy(), *(d.numpy() for d in first), *(d.numpy() for d in second),
                        *(to_host(x.grad) for x in xs)])
        assert type(y) is Tensor
        assert {type(t.data) for t in (y, *first, *second)} == {type(place(arrays[0]))}
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-12)


def test_wrong_labels_and_ids_on_the_cpu_are_named():
    x = asarray(np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"labels\[1\] = 3 is outside \[0, 3\)"):
        softmax_cross_entropy(x, np.array([0, 3]))
    with pytest.raises(ValueError, match=r"ids\[0\] = -1 is outside \[0, 2\)"):
        embedding(np.array([-1]), Tensor(x))
    with pytest.raises(TypeError, match="ids must be integers"):
        embedding(asarray(np.array([1.0])), Tensor(x))


# ---- kernels -------------------------------------------------------------------------------------

@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every call of kernels.softmax_cross_entropy."""
    made: list[dict[str, Any]] = []
    original = kernels.softmax_cross_entropy

    def counted(logits: Any, labels: Any, **options: Any) -> Any:
        made.append({"types": (type(logits), type(labels)), **options})
        loss, lse, gradient = original(logits, labels, **options)
        return loss, lse, None if gradient is None else gradient.copy()  # memory of its own, as on a GPU

    monkeypatch.setattr(kernels, "softmax_cross_entropy", counted)
    return made


def test_cross_entropy_there_is_one_call_of_the_kernel(calls):
    logits, = draws((4, 6, 11), dtype=np.float32)
    x, z = Tensor(asarray(logits), requires_grad=True), Tensor(logits, requires_grad=True)
    loss, expected = softmax_cross_entropy(x, LABELS), softmax_cross_entropy(z, LABELS)
    loss.backward()
    assert [c["types"] for c in calls] == [(DeviceArray, DeviceArray)]
    assert (calls[0]["gradient"], calls[0]["backend"]) == (True, None)
    expected.backward()
    assert len(calls) == 1
    np.testing.assert_allclose(float(loss), float(expected), rtol=1e-6)
    np.testing.assert_allclose(x.grad.get(), z.grad, atol=1e-7)
    with no_grad():
        softmax_cross_entropy(x, LABELS)
    assert calls[1]["gradient"] is False
    softmax_cross_entropy(Tensor(asarray(logits.astype(float)), requires_grad=True), LABELS).backward()
    with use_kernels(None):
        softmax_cross_entropy(x, LABELS).backward()
    assert len(calls) == 2  # float64, and without kernels: the formula


def test_an_upstream_gradient_multiplies_the_kernel_s():
    logits, = draws((4, 6, 11), dtype=np.float32)
    x, plain = (Tensor(asarray(logits), requires_grad=True) for _ in range(2))
    softmax_cross_entropy(plain, LABELS).backward()
    (3 * softmax_cross_entropy(x, LABELS)).backward()
    np.testing.assert_allclose(x.grad.get(), 3 * plain.grad.get(), rtol=1e-6)


def test_the_loss_itself_costs_no_product(monkeypatch):
    x = Tensor(asarray(draws((4, 6, 11), dtype=np.float32)[0]), requires_grad=True)
    loss = softmax_cross_entropy(x, LABELS)
    monkeypatch.setattr(DeviceArray, "__mul__", lambda *_: pytest.fail("dlogits was read and written again"))
    loss.backward()
    grad(loss, x)


def test_a_graph_with_a_kernel_may_be_walked_twice(calls):
    x = Tensor(asarray(draws((4, 6, 11), dtype=np.float32)[0]), requires_grad=True)
    loss = softmax_cross_entropy(x, LABELS)
    loss.backward()
    once = x.grad.get()
    x.grad *= 5  # the user's own now
    x.grad = None
    loss.backward()
    np.testing.assert_array_equal(x.grad.get(), once)
    loss.backward(asarray(np.float32(2)))
    np.testing.assert_allclose(x.grad.get(), 3 * once, rtol=1e-6)


def test_nothing_asks_the_gpu_for_a_number(monkeypatch):
    model, ids, labels = language_model(np.float32), asarray(IDS), asarray(LABELS)
    for p in model.parameters():
        p.data = asarray(p.data)
    optimizer = optim.AdamW(model.parameters(), l2=0.01)
    for name in ("item", "__float__", "__int__", "__bool__", "get", "tolist"):
        monkeypatch.setattr(DeviceArray, name, lambda self: pytest.fail("the host waited"))
    for _ in range(2):
        optimizer.zero_grad()
        softmax_cross_entropy(model(ids)[0], labels).backward()
        optimizer.step()


def test_the_kernel_s_derivative_can_be_differentiated(calls):
    logits, = draws((3, 5), dtype=np.float32)
    y = np.array([0, 4, 2])
    seconds = []
    for place in (lambda a: a, asarray):
        x = Tensor(place(logits), requires_grad=True)
        d = grad(softmax_cross_entropy(x, place(y)), x, create_graph=True)
        seconds.append(grad((d * d).sum(), x).numpy())
    assert len(calls) == 1
    np.testing.assert_allclose(*seconds, atol=1e-7)


@pytest.mark.parametrize("backend", ["numpy", "triton", "cuda"])
def test_a_model_learns_the_same_with_kernels(backend, calls):
    without, model = language_model(np.float32), language_model(np.float32)
    expected = train(without, optim.AdamW(without.parameters(), 0.05, l1=1e-3))
    assert not calls
    with use_kernels(available(backend)):
        calls.clear()
        losses = train(model, optim.AdamW(model.parameters(), 0.05, l1=1e-3))
    assert [c["backend"] for c in calls] == [backend] * 3
    assert expected[2] < expected[0] - 0.03
    np.testing.assert_allclose(losses, expected, rtol=2e-6)


@pytest.mark.parametrize("backend", [None, "numpy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_learns_the_same_there(dtype, backend, fake_cupy):
    here = language_model(dtype, dropout=0.3)
    there = language_model(dtype, dropout=0.3).to("cuda")
    expected = train(here, optim.Adam(here.parameters(), 0.05, weight_decay=0.1))
    optimizer = optim.Adam(there.parameters(), 0.05, weight_decay=0.1)
    before = DeviceArray.copies_to_host
    with use_kernels(backend):
        losses = train(there, optimizer)
    if dtype == np.float32 and backend:
        assert DeviceArray.copies_to_host == before
    assert expected[2] < expected[0] - 0.03
    np.testing.assert_allclose(losses, expected, rtol=1e-5 if dtype == np.float32 else 1e-12)
    for p, q in zip(here.parameters(), there.parameters(), strict=True):
        assert type(q.data) is DeviceArray
        np.testing.assert_allclose(q.numpy(), p.data, rtol=0, atol=1e-4 if dtype == np.float32 else 1e-11)


def test_use_kernels_nests_and_ends():
    x, y = np.zeros(2, np.float32), np.zeros(2)
    assert kernel("adam", x) is None
    with use_kernels("numpy"):
        assert kernel("adam", x).keywords == {"backend": "numpy"}
        assert kernel("adam", y) is None  # float64
        with use_kernels(None):
            assert kernel("adam", asarray(x)) is None
        assert kernel("adam", x) is not None
    assert kernel("adam", x) is None
    assert kernel("adam", asarray(x)).keywords == {"backend": None}
    with pytest.raises(ValueError, match="backend = 'tpu' must be one of 'numpy', 'triton', 'cuda', or None"):
        use_kernels("tpu")

    @use_kernels("numpy")
    def inside():
        return kernel("adam", x)

    assert inside() is not None
    assert kernel("adam", x) is None


def test_the_table_says_what_runs_where():
    def table() -> dict[tuple[str, str], tuple[str, str]]:
        return {(r.name, r.where): (r.kind, r.code) for r in implementations()}

    assert table()["softmax_cross_entropy", "gpu"] == ("kernel", "kernels.softmax_cross_entropy")
    assert table()["adam", "gpu"] == ("kernel", "kernels.adam_step")
    assert table()["lstm", "gpu"] == ("formula", "minillm.formulas.lstm.lstm")
    names = {"adam", "dropout", "linear", "lstm", "sgd", "softmax_cross_entropy"}
    assert names <= {name for name, _ in table()}  # others' fused ops are in it too
    assert all(row[0] == "fused" for (_, where), row in table().items() if where == "cpu")
    for code in [code for (name, _), (_, code) in table().items() if name in names]:  # there to be read
        path = code.split(".")
        cut = next(i for i in range(len(path), 0, -1) if _is_module(".".join(path[:i])))
        found: Any = importlib.import_module(".".join(path[:cut]))
        for name in path[cut:]:
            found = getattr(found, name)
        assert callable(found)
    with use_kernels("triton"):
        assert table()["adam", "cpu"] == ("kernel", "kernels.adam_step, backend 'triton'")
    with use_kernels(None):
        assert table()["softmax_cross_entropy", "gpu"][0] == "formula"


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


# ---- debugging, moving, keeping ------------------------------------------------------------------

def test_anomalies_are_found_there():
    with detect_anomaly():
        x = Tensor(asarray(np.array([1.0, 0.0])), requires_grad=True, name="p")
        (np.exp(x) * x).sum().backward()
        masked = Tensor(asarray(np.array([[1.0, -np.inf]])), requires_grad=True)
        assert np.isfinite(float(formulas.logsumexp(np.reshape(masked, (2,)))))
        with pytest.raises(FloatingPointError, match=r"log gave -inf at \[1\].*input 'p'"):
            np.log(x)


def test_a_tensor_moves_with_its_gradient(fake_cupy):
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x.to("cuda")
    assert type(y.data) is DeviceArray
    z = (y * y).to("cpu")
    assert type(z.data) is np.ndarray
    z.sum().backward()
    assert type(x.grad) is np.ndarray
    np.testing.assert_array_equal(x.grad, [2, 4])
    d = grad((x.to("cuda:0") ** 3).sum(), x, create_graph=True)
    np.testing.assert_array_equal(grad(d.sum(), x).data, [6, 12])


def test_what_cannot_be_moved_is_said_in_a_line(monkeypatch):
    x = np.ones(2)
    for name in ("gpu", "cuda:x", "cuda:", "cpu:0"):
        with pytest.raises(ValueError, match=f"device = '{name}' must be 'cpu', 'cuda' or 'cuda:' and"):
            moved(x, name)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r"^device 'cuda' needs CuPy: pip install cupy-cuda13x$"):
        Tensor(x).to("cuda")

    class Refused(Exception):
        pass

    def refuse(_: Any) -> None:
        raise Refused("cudaErrorNoDevice: no CUDA-capable device is detected\nmore")

    cuda = SimpleNamespace(Device=nullcontext, runtime=SimpleNamespace(CUDARuntimeError=Refused))
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(asarray=refuse, cuda=cuda))
    with pytest.raises(RuntimeError, match=r"^device 'cuda' cannot be used: cudaErrorNoDevice: .* detected$"):
        nn.Linear(2, 3).to("cuda")


def test_a_model_is_kept_on_the_cpu_and_loaded_anywhere(fake_cupy, tmp_path):
    model, other = language_model(np.float32).to("cuda"), language_model(np.float32)
    optimizer = optim.Adam(model.parameters(), 0.05)
    train(model, optimizer, 2)
    state = optimizer.state_dict()
    assert all(type(a) is np.ndarray for a in [*model.state_dict().values(), *state["buffers"].values()])
    save_checkpoint(tmp_path / "a.safetensors", {**model.state_dict(), **state["buffers"]}, {})
    arrays, _ = load_checkpoint(tmp_path / "a.safetensors")
    names = model.state_dict().keys()
    other.load_state_dict({k: arrays[k] for k in names})
    again = optim.Adam(other.parameters(), 0.05)
    again.load_state_dict({"step": 2, "buffers": {k: v for k, v in arrays.items() if k not in names}})
    np.testing.assert_allclose(train(model, optimizer, 2), train(other, again, 2), rtol=1e-5)
    model.load_state_dict({k: np.zeros_like(arrays[k]) for k in names})
    assert not any(p.numpy().any() for p in model.parameters())
    assert all(type(p.data) is DeviceArray for p in model.parameters())
    assert model.to("cpu") is model
    assert all(type(p.data) is np.ndarray for p in model.parameters())


def test_numpy_alone_is_enough():
    code = ("import sys, minillm, minillm.models; "
            "print([m for m in ('torch', 'triton', 'cupy', 'kernels') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_decorated_function_may_run_in_two_threads_at_once():
    """Each thread ends with what it began with, although the one that entered first leaves first."""
    a_is_in, b_is_in, a_is_out = threading.Event(), threading.Event(), threading.Event()
    seen = {}

    @use_kernels("numpy")
    def work(entered, leave):
        entered.set()
        leave.wait(5)

    def run(name, backend):
        with use_kernels(backend):
            before = implementations()
            if name == "a":
                work(a_is_in, b_is_in)
                a_is_out.set()
            else:
                a_is_in.wait(5)
                work(b_is_in, a_is_out)
            seen[name] = implementations() == before

    threads = [threading.Thread(target=run, args=pair) for pair in (("a", None), ("b", "cuda"))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert seen == {"a": True, "b": True}
