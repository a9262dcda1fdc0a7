"""Every mutant of the shipped kernels is noticed, and the shipped kernels themselves by nothing."""

import re

import pytest

from kernels import backends
from kernels.testing import mutants
from kernels.testing.mutant_table import MUTANTS, Mutant
from kernels.testing.mutants import configurations, run

BATCH = 6  # mutants a test: enough tests for several workers, few enough to read


def batches(chosen):
    return [pytest.param(chosen[i:i + BATCH], id=f"{chosen[i].backend}-{chosen[i].kernel}-{i}")
            for i in range(0, len(chosen), BATCH)]


@pytest.fixture
def available(need_backend, group):
    """Skips, or in CI fails, without the compiler that the mutants of a group need."""
    for name in {m.backend for m in group}:
        need_backend(name)


@pytest.mark.parametrize("group", batches(MUTANTS))
def test_every_mutant_is_noticed(available, group):
    survivors = [m.name for m, verdict in zip(group, run(group), strict=True) if not verdict.killed_by]
    assert not survivors


@pytest.mark.parametrize("group", batches(configurations()))
def test_no_property_complains_about_the_shipped_sources(available, group):
    """A property that fails on everything would notice every mutant."""
    verdicts = zip(group, run(group, shipped=True), strict=True)
    complaints = [(m.name, verdict) for m, verdict in verdicts if verdict.killed_by]
    assert not complaints


def test_the_table_is_long_enough():
    assert len(MUTANTS) >= 30
    assert len({m.name for m in MUTANTS}) == len(MUTANTS)
    for backend in ("triton", "cuda"):
        for kernel in ("cross_entropy", "adam"):
            assert sum((m.backend, m.kernel) == (backend, kernel) for m in MUTANTS) >= 10


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_mutant_is_up_to_date(mutant):
    mutant.source()


def test_a_mutant_out_of_date_is_an_error():
    with pytest.raises(ValueError, match=re.escape("out of date: cuda/adam.cu has 0 times, not 1 times")):
        Mutant("cuda/adam.cu", "nothing", (("no such line", "", 1),)).source()


def test_what_is_no_kernel_is_no_mutant(need_backend, monkeypatch):
    """A change that does not compile would be noticed by everything, and says nothing."""
    need_backend("cuda")
    from kernels.cuda import module

    monkeypatch.setattr(backends, "load", backends.load)  # all that a mutant changes is put back
    monkeypatch.setattr(module, "HERE", module.HERE)
    monkeypatch.setenv("MINILLM_CUDA_SEED", "0")
    bad = Mutant("cuda/adam.cu", "the language", (("x.m = f.beta1 *", "x.m = f.beta1 * *", 1),))
    with pytest.raises(RuntimeError, match="is no mutant, but an error: .* does not compile"):
        mutants.attempt(bad, bad)
    module._load.cache_clear()


def test_main_prints_a_table(capsys, need_backend):
    need_backend("triton")
    assert mutants.main(["triton/adam.py", "eps outside the root"]) == 0
    assert "agreement" in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["triton", "cuda"])
def test_what_cannot_run_is_not_noticed(backend, capfd, monkeypatch, tmp_path):
    """Without Triton or g++ no mutant has been tried, and none may count as noticed."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['triton'] = None\n"
                                               "import importlib.util as u; found = u.find_spec\n"
                                               "u.find_spec = lambda name, *a: None if name == 'triton' "
                                               "else found(name, *a)\n")
    if backend == "triton":
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "")
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    assert mutants.main([f"{backend}/adam"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(rf"{backend}: \d+ mutants not run: .*(Triton|g\+\+).*\n", err)


def test_a_backend_that_runs_is_tried_without_the_other(capsys, monkeypatch):
    monkeypatch.setattr(mutants, "why_not", lambda ours: "no g++" if ours[0].backend == "cuda" else "")
    verdict = mutants.Verdict("agreement", "", 0.0)
    monkeypatch.setattr(mutants, "run", lambda chosen: (verdict for _ in chosen))
    assert mutants.main(["adam"]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"0 survived, \d+ not run", out)
    assert err.startswith("cuda: ")


def test_a_shipped_source_that_is_noticed_makes_its_mutants_worthless(monkeypatch):
    verdict = mutants.Verdict("agreement", "no", 0.0)
    monkeypatch.setattr(mutants, "run", lambda chosen, shipped: iter([verdict]))
    assert "is noticed by agreement: no" in mutants.why_not(MUTANTS[:1])


def test_help_is_help(capsys):
    with pytest.raises(SystemExit) as status:
        mutants.main(["--help"])
    assert status.value.code == 0
    assert "usage: python -m kernels.testing.mutants" in capsys.readouterr().out
