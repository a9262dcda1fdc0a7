"""What every test shares: quiet threads, hypothesis profiles, and a random generator."""

import os
import shutil
import zlib

# Before NumPy or torch is imported: a test worker is one thread, for speed when there are several
# workers and so that sums are added in one order on every machine.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import numpy as np
import pytest

# No deadline: a slow machine is not a bug. In CI the examples are the same on every run.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
           "--disable-background-networking", "--disable-sync"]


def missing(what):
    """No browser: a test less on a learner's machine, a failure in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must run these tests: {what}")
    pytest.skip(what)


@pytest.fixture(scope="session")
def browser():
    """Debian's chromium, for pages that are opened from the disk."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed: pip install playwright")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing("no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's own name: the same on every run, whatever ran before."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))
