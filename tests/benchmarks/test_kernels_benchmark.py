"""The benchmark of the kernels, without a GPU: its arithmetic, its judgement, and that the script runs."""

import importlib
import json
import os
import platform
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

import kernels

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RESULTS = BENCHMARKS / "results"


@pytest.fixture
def bench(monkeypatch):
    """Modules of the benchmark, by the part of their name after `kernels_`."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda name: importlib.import_module(f"kernels_{name}")


@pytest.fixture
def run_of(bench, tmp_path):
    """A run over tiny cases on the CPU, made but not started."""
    def make(only="", **options):
        given = {"smoke": True, "max_seconds": 60, "case_seconds": 1, "only": only,
                 "json": tmp_path / "run.json"}
        return bench("run").Run(torch, Namespace(**(given | options)))
    threads = torch.get_num_threads()
    yield make
    torch.set_num_threads(threads)


def script(*arguments, **environment):
    command = [sys.executable, str(BENCHMARKS / "kernels.py"), *map(str, arguments)]
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | environment
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)


# ---- bytes models and cases


@pytest.mark.parametrize(("dtype", "moments", "master", "expected"), [
    ("float32", "float32", False, 28), ("bfloat16", "bfloat16", False, 14), ("bfloat16", "float32", True, 28),
    ("bfloat16", "float32", False, 22)])
def test_bytes_of_an_adam_step(bench, dtype, moments, master, expected):
    case = bench("cases").Adam("x", ((10, 10), (5,)), dtype, moments, master)
    assert case.bytes == 105 * expected


def test_bytes_of_cross_entropy(bench):
    """At the 3.35 TB/s of an H100's datasheet they give the floors that the design quotes, in ms."""
    CE = bench("cases").CrossEntropy
    for vocab, bf16, fp32 in [(32000, 0.313, 0.626), (128256, 1.255, 2.509), (262144, 2.564, 5.128)]:
        assert CE(8192, vocab, "bfloat16", True).bytes / 3.35e9 == pytest.approx(bf16, abs=5e-4)
        assert CE(8192, vocab, "float32", True).bytes / 3.35e9 == pytest.approx(fp32, abs=5e-4)
    assert CE(8, 10, "float32", False).bytes == 8 * 10 * 4


def test_flops_of_linear_cross_entropy(bench):
    case = bench("cases").LinearCrossEntropy(3, 5, 7, "float32")
    assert case.flops == 3 * 2 * 3 * 5 * 7
    assert case.bytes == 2 * 4 * (3 * 5 + 7 * 5)


def test_gpt2_small_has_its_parameters(bench):
    shapes = bench("cases").gpt2_shapes()
    assert len(shapes) == 148
    assert sum(int(np.prod(s)) for s in shapes) == 124_439_808


def test_a_full_run_has_every_case_and_the_numbers_to_beat_first(bench):
    cases = bench("cases").cases()
    assert [c.id for c in cases[:2]] == ["cross-entropy-forward-backward-8192x128256-bf16", "adam-1e9-fp32"]
    ids = [c.id for c in cases]
    assert len(ids) == len(set(ids))
    for vocab in (32000, 50257, 128256, 262144):
        for dtype in ("bf16", "fp32"):
            for way in ("forward", "forward-backward"):
                assert f"cross-entropy-{way}-8192x{vocab}-{dtype}" in ids
    assert {"adam-1e8-fp32", "adam-gpt-2-small-fp32", "adam-1e9-bf16"} <= set(ids)
    assert any(i.startswith("linear-") for i in ids)


# ---- errors


def test_ulp_is_the_distance_of_neighbours(bench, rng):
    ulp = bench("problems").ulp
    x = np.concatenate([rng.standard_normal(100) * 10.0**rng.integers(-30, 30, 100), [0, 1, 2**-126, 1e-44]])
    x = x.astype(np.float32)
    assert np.array_equal(ulp(x.astype(np.float64), "float32"), np.spacing(np.abs(x)))
    assert ulp(np.array([1.0, 1.99, 2.0, -3.0]), "bfloat16").tolist() == [2**-7, 2**-7, 2**-6, 2**-6]


def test_error_in_ulp_and_of_the_norm(bench):
    error = bench("problems").error
    e = error(np.array([3.0, 4.0 + 2**-20]), np.array([3.0, 4.0]), "float32")
    assert e["ulp"] == 2.0
    assert e["relative"] == pytest.approx(2**-20 / 5, rel=1e-2)
    changed = error(np.array([1.1]), np.array([1.2]), "float32", before=np.array([1.0]))
    assert changed["relative"] == pytest.approx(0.5)
    assert error(np.array([1.0, np.nan]), np.ones(2), "float32")["ulp"] is None


def test_what_is_wrong_is_refused(bench):
    problems = bench("problems")
    right = {"gradient": {"ulp": 1.0, "relative": 1e-7}}
    assert problems.wrong(right, "float32") is None
    lost = {"gradient": {"ulp": None, "relative": None}}
    assert "gradient is not finite" in problems.wrong(lost, "float32")
    off = {"gradient": {"ulp": 9.0, "relative": 0.02}}
    assert "off by 0.02" in problems.wrong(off, "float32")
    assert problems.wrong(off, "bfloat16") is None


def test_the_reference_of_cross_entropy(bench):
    case = bench("cases").CrossEntropy(40, 33, "bfloat16", True)
    problem = bench("problems").CrossEntropyProblem(case, torch, "cpu")
    x = problem.logits.double().requires_grad_()
    loss = torch.nn.functional.cross_entropy(x, problem.labels)
    (gradient,) = torch.autograd.grad(loss, x)
    np.testing.assert_allclose(problem.reference["loss"], loss.item(), rtol=1e-14)
    np.testing.assert_allclose(problem.reference["gradient"], gradient[problem.rows], rtol=1e-12, atol=1e-18)


def test_the_reference_of_linear_cross_entropy(bench):
    case = bench("cases").LinearCrossEntropy(300, 5, 17, "float32")  # more rows than one chunk
    problem = bench("problems").LinearCrossEntropyProblem(case, torch, "cpu")
    x, w = problem.x.double().requires_grad_(), problem.weight.double().requires_grad_()
    loss = torch.nn.functional.cross_entropy(x @ w.T, problem.labels)
    dx, dw = torch.autograd.grad(loss, (x, w))
    expected = {"loss": loss.detach(), "dx": dx[problem.rows], "dweight": dw[problem.classes]}
    assert problem.reference.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(problem.reference[name], value, rtol=1e-10, atol=1e-16)


def test_the_reference_of_adam_starts_where_the_contestants_do(bench):
    case = bench("cases").Adam("x", ((700,), (40, 50)))
    problem = bench("problems").AdamProblem(case, torch, "cpu")
    first = [p.clone() for p in problem.p]
    contestant = bench("peers").ADAM["torch AdamW, foreach"](problem, 0)
    errors = problem.judge(contestant.look(contestant.run(0)))
    assert errors["parameters"]["relative"] < 1e-6
    assert not torch.equal(problem.p[0], first[0])
    problem.start()
    assert all(map(torch.equal, problem.p, first))
    untouched = problem.judge({"parameters": problem.sample(problem.p)})  # a kernel that does nothing
    assert bench("problems").wrong(untouched, "float32")


# ---- peers


def test_an_absent_peer_is_named(bench):
    peers = bench("peers")
    with pytest.raises(peers.Absent) as e:
        peers.imported("no_such_peer.loss", "no-such-peer")
    assert peers.why_not(e.value) == "absent: no-such-peer is not installed"


@pytest.mark.parametrize(("text", "says"), [
    ("import no_such_need", "absent: peer is installed, but needs no_such_need, which is not"),
    ("raise OSError('no driver')", "absent: peer is installed, but does not import: OSError: no driver")])
def test_a_peer_that_does_not_import_is_named(bench, tmp_path, monkeypatch, text, says):
    peers = bench("peers")
    (tmp_path / "broken_peer.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(peers.Absent) as e:
        peers.imported("broken_peer", "peer")
    assert peers.why_not(e.value) == says


def test_a_peer_that_raises_is_named_without_paths(bench):
    why_not = bench("peers").why_not
    place = "/".join(["", "opt", "x", "lib.so"])
    long = RuntimeError(f"\ncannot open {place}: bad\nmore")
    assert why_not(long) == "raised RuntimeError: cannot open <path>: bad"
    assert why_not(ValueError()) == "raised ValueError"
    assert why_not(torch.OutOfMemoryError("tried to allocate")) == "out of memory"
    assert why_not(kernels.backends.BackendUnavailable("needs g++")) == "absent: needs g++"


def test_a_wrong_contestant_is_not_timed(run_of, bench, monkeypatch):
    run = run_of("forward-4x37")
    right = bench("peers").CROSS_ENTROPY["torch eager"]

    def wrong(problem, free):
        contestant = right(problem, free)
        look = contestant.look
        contestant.look = lambda result: {"loss": look(result)["loss"] * 1.01}
        return contestant

    monkeypatch.setitem(bench("run").CONTESTANTS, "cross_entropy", {"right": right, "wrong": wrong})
    run.all_cases()
    (case,) = run.results["cases"]
    assert list(case["contestants"]) == ["right"]
    assert case["without"]["wrong"].startswith("wrong, so it was not timed: loss is off by 0.01")


def test_a_contestant_that_raises_does_not_stop_the_others(run_of, bench, monkeypatch):
    run = run_of("forward-4x37")

    def bad(problem, free):
        raise RuntimeError("out of luck")

    right = bench("peers").CROSS_ENTROPY["torch eager"]
    monkeypatch.setitem(bench("run").CONTESTANTS, "cross_entropy", {"bad": bad, "right": right})
    run.all_cases()
    (case,) = run.results["cases"]
    assert case["without"] == {"bad": "raised RuntimeError: out of luck"}
    assert list(case["contestants"]) == ["right"]


def test_a_kill_loses_no_contestant_that_was_timed(run_of, bench, monkeypatch):
    run = run_of("forward-4x37")

    def killed(problem, free):
        raise KeyboardInterrupt

    right = bench("peers").CROSS_ENTROPY["torch eager"]
    monkeypatch.setitem(bench("run").CONTESTANTS, "cross_entropy", {"right": right, "killed": killed})
    with pytest.raises(KeyboardInterrupt):
        run.all_cases()
    (case,) = json.loads(run.path.read_text())["cases"]
    assert list(case["contestants"]) == ["right"]


def test_past_the_time_limit_cases_are_named_and_not_run(run_of):
    run = run_of("adam", max_seconds=0)
    run.all_cases()
    assert len(run.results["cases"]) == 2
    for case in run.results["cases"]:
        assert case["skipped"] == "left out: the limit of 0 s came first"
        assert not case["contestants"]


def test_what_does_not_fit_is_named_with_its_size(run_of, monkeypatch):
    run = run_of("forward-4x37")
    monkeypatch.setattr(run.clock, "free_bytes", lambda: 1000)
    run.all_cases()
    assert run.results["cases"][0]["skipped"] == "needs 0.0 GB for the data alone; 0.0 GB are free"


# ---- timing


class FakeTorch:
    """Writes down what the GPU's clock does. Every piece of work takes a millisecond, a head start ten."""

    def __init__(self):
        self.log, self.now = [], 0.0
        fake = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                self.at = fake.now
                fake.log.append("event")

            def elapsed_time(self, after):
                return after.at - self.at

        class Scratch:
            def zero_(self):
                fake.work("flush")

        self.cuda = Namespace(Event=Event, synchronize=lambda: self.log.append("wait"),
                              get_device_properties=lambda i: Namespace(L2_cache_size=100 << 20),
                              _sleep=lambda cycles: self.work("sleep", 10))
        self.int8 = None

        def empty(size, **_):
            self.scratch_bytes = size
            return Scratch()
        self.empty = empty

    def work(self, name, ms=1.0):
        self.log.append(name)
        self.now += ms


def test_the_device_is_timed_around_the_call_alone(bench):
    clock_of, fake = bench("clock"), FakeTorch()
    clock = clock_of.GpuClock(fake)
    assert fake.scratch_bytes == 400 << 20  # four times the L2 cache
    contestant = clock_of.Contestant(lambda i: fake.work(f"run {i}", 3), lambda result: {},
                                     reset=lambda i: fake.work(f"reset {i}"), buffers=2)
    assert clock.device_ms(contestant, 3, head_start=1e-3) == [3, 3, 3]
    once = ["reset 0", "flush", "sleep", "event", "run 0", "event"]
    other = [step.replace("0", "1") for step in once]
    assert fake.log == [*once, *other, *once, "wait"]


def test_an_overwritten_buffer_is_restored_before_each_use(bench):
    """No run may see what an earlier one left: not in warm-ups, not in batches of calls."""
    clock = bench("clock")
    fresh = [True] * 3

    def run(i):
        assert fresh[i], "the buffer holds what an earlier call left"
        fresh[i] = False

    def reset(i):
        fresh[i] = True

    reset_all = clock.Contestant(run, lambda result: {}, reset, buffers=3)
    figures = clock.measure(reset_all, clock.CpuClock(), 1.0)
    assert figures["calls"] == 3
    assert figures["repetitions"] == 2


def test_figures_are_medians_with_their_percentiles(bench, monkeypatch):
    clock = bench("clock")
    fake = clock.CpuClock()
    fake.device_ms = lambda contestant, repetitions, head_start: list(range(1, 102))
    figures = clock.measure(clock.Contestant(lambda i: time.sleep(1e-3), lambda result: {}), fake, 1.0)
    assert figures["device_ms"] == {"median": 51, "p20": 21, "p80": 81}
    assert 1 <= figures["call_ms"]["median"] < 100
    assert figures["measurement"] is False


@pytest.mark.parametrize(("seconds", "one", "expected"), [(1, 1e-4, 100), (1, 0.0125, 80), (1, 1, 5)])
def test_repetitions_follow_the_time_cap(bench, seconds, one, expected):
    assert bench("clock").repetitions_within(seconds, one) == expected


# ---- report and picture


def made_up(measurement=True):
    """Results that nobody measured, for the table and the picture only."""
    def row(ms, share):
        spread = {"median": ms, "p20": ms * 0.9, "p80": ms * 1.1}
        return {"measurement": measurement, "device_ms": spread, "call_ms": spread, "repetitions": 30,
                "calls": 20, "peak_bytes": 7_000_000, "tb_s": share * 2, "of_copy": share, "capped": True,
                "errors": {"loss": {"dtype": "float32", "ulp": 0.25, "relative": 1e-8},
                           "gradient": {"dtype": "bfloat16", "ulp": 0.5, "relative": 1e-3}}}
    case = {"id": "a", "kind": "cross_entropy", "title": "made-up case", "bytes": 4_000_000_000,
            "flops": None, "copy": {"tb_s": 2.0},
            "contestants": {"torch eager": row(4.0, 0.5), "minillm triton": row(2.5, 0.8)},
            "without": {"Quack": "absent: quack-kernels is not installed"}}
    other = {**case, "id": "b", "title": "too large", "contestants": {}, "skipped": "needs 9 GB"}
    return {"schema": 1, "measurement": measurement, "machine": {"device": "Made-up H200", "driver": None},
            "cases": [case, other]}


def test_a_table_names_everybody_fastest_first(bench):
    text = bench("report").report(made_up())
    lines = text.splitlines()
    rows = [line for line in lines if line.startswith(("  minillm", "  torch"))]
    assert [row.split()[0] for row in rows] == ["minillm", "torch"]
    assert "80.0%" in rows[0]
    assert "(30 repetitions)" in rows[0]
    assert "0.25" in rows[0]
    assert "  - Quack: absent: quack-kernels is not installed" in lines
    assert "  not run: needs 9 GB" in lines
    assert "not a measurement" not in text
    marked = bench("report").report(made_up(False)).splitlines()
    assert all("not a measurement" in line for line in marked if line.startswith(("  minillm", "  torch")))


def test_the_picture_and_its_words(bench, tmp_path):
    pytest.importorskip("matplotlib")
    from PIL import Image

    report = bench("report")
    path = report.plot(made_up(), tmp_path / "x.png")
    with Image.open(path) as picture:
        assert picture.size[0] > 400
        assert len(set(picture.convert("L").tobytes())) > 10  # something is drawn
        words = picture.text["Description"]
    assert "made-up case: minillm triton 1.6, torch eager 1; copy 2" in words
    assert "Made-up H200" in words
    assert "NOT A MEASUREMENT" not in words
    assert "NOT A MEASUREMENT" in report.alt_text(made_up(False))
    with pytest.raises(ValueError, match="nothing to draw"):
        report.plot({**made_up(), "cases": made_up()["cases"][1:]}, tmp_path / "y.png")


def test_families_differ_in_grey(bench):
    from matplotlib.colors import to_rgb

    report = bench("report")
    greys = [np.dot(to_rgb(colour), [0.299, 0.587, 0.114]) for colour, _ in report.STYLES.values()]
    assert min(np.diff(sorted(greys))) > 0.1
    names = {name for table in bench("peers").CONTESTANTS.values() for name in table}
    assert not [name for name in names if not name.startswith(tuple(report.STYLES))]


def test_datasheet_rates(bench):
    rate = bench("report").datasheet_tb_s
    assert rate("NVIDIA H100 80GB HBM3") == 3.35
    assert rate("NVIDIA H200") == 4.8
    assert rate("Some other") is None


def test_a_file_is_named_by_its_device(bench):
    assert bench("run").slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"


# ---- the script


def test_a_sibling_that_imports_kernels_gets_the_package():
    """benchmarks/kernels.py has the package's name, and stands first on the path of scripts beside it."""
    code = (f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import kernels; "
            "print(kernels.softmax_cross_entropy.__name__, sys.modules['kernels'] is kernels)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100,
                          cwd=BENCHMARKS)
    assert done.stdout.split() == ["softmax_cross_entropy", "True"], done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: it would be measured")
def test_without_a_gpu_one_line_says_so():
    done = script()
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "no GPU" in done.stderr
    assert "--smoke" in done.stderr


@pytest.mark.slow
def test_a_smoke_run_goes_from_end_to_end(tmp_path):
    before = sorted(RESULTS.iterdir())
    path = tmp_path / "smoke.json"
    done = script("--smoke", "--json", path)
    assert done.returncode == 0, done.stderr
    assert sorted(RESULTS.iterdir()) == before
    results = json.loads(path.read_text(encoding="utf-8"))
    assert results["schema"] == 1
    assert results["measurement"] is False
    known = {"device", "driver", "cpu", "python", "numpy", "torch", "triton", "cupy", "liger-kernel"}
    assert results["machine"].keys() >= known
    assert platform.node() not in path.read_text()
    assert {c["kind"] for c in results["cases"]} == {"cross_entropy", "adam", "linear_cross_entropy"}
    for case in results["cases"]:
        assert "skipped" not in case
        assert not {k: v for k, v in case["without"].items() if not v.startswith(("absent:", "left out"))}
        assert "minillm numpy" in case["contestants"]
        assert ("torch eager" in case["contestants"]) == (case["kind"] != "adam")
        for name, row in case["contestants"].items():
            assert name in done.stdout
            assert row["measurement"] is False
            for figure in (row["device_ms"], row["call_ms"]):
                assert 0 < figure["p20"] <= figure["median"] <= figure["p80"]
            assert row["tflop_s" if case["flops"] else "tb_s"] > 0
        assert "torch.compile" in case["without"]
    timed = [line for line in done.stdout.splitlines() if line.startswith(("  minillm", "  torch"))]
    assert timed
    assert all(line.endswith("not a measurement") for line in timed)
