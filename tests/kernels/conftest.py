"""Where the kernels' tests run: CPU arrays, or with --kernels-device=cuda those of a GPU.

On the CPU the "triton" backend runs Triton's interpreter and "cuda" runs the CUDA C source. The NumPy backend
stays on the CPU in either case.
"""

import functools
import os
from pathlib import Path

import pytest

import kernels
from kernels import backends
from kernels.backends import BackendUnavailable
from kernels.testing.adam import Adam
from kernels.testing.cross_entropy import CrossEntropy
from kernels.testing.memory import CupyMemory, Memory, TorchMemory

BACKENDS = ("numpy", "triton", "cuda")


def pytest_addoption(parser):
    parser.addoption("--kernels-device", choices=("cpu", "cuda"), default="cpu",
                     help="where the arrays of the kernels' tests lie")


def pytest_configure(config):
    if on_gpu(config):
        return
    # before anything imports Triton: CPU arrays need its interpreter, on a machine with a GPU too
    os.environ.setdefault("TRITON_INTERPRET", "1")


def on_gpu(config):
    return config.getoption("--kernels-device", default="cpu") == "cuda"


def pytest_collection_modifyitems(config, items):
    """On a GPU, the tests whose arrays lie there; all others are the same on a machine without one."""
    def on_the_device(item):
        backend = getattr(item, "callspec", None) and item.callspec.params.get("backend")
        return "memory" in item.fixturenames and backend != "numpy"

    def belongs(item):
        if on_gpu(config):
            return on_the_device(item)
        return item.get_closest_marker("device") is None

    here = [item for item in items if item.path.parent == Path(__file__).parent]
    gone = [item for item in here if not belongs(item)]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in set(gone)]


def missing(reason):
    """A backend that cannot run is skipped at home, and is a failure in CI, where it was to be installed."""
    if os.environ.get("CI"):
        pytest.fail(f"CI is to test every backend: {reason}")
    pytest.skip(reason)


@functools.cache
def why_not(backend):
    """Why a backend cannot run on the CPU; "" if it can."""
    try:
        for kernel in ("cross_entropy", "adam"):
            backends.load(backend, kernel)
        if backend == "cuda":
            import numpy as np

            kernels.softmax_cross_entropy(np.zeros((1, 2), np.float32), np.zeros(1, np.int64), backend="cuda")
    except BackendUnavailable as reason:
        return str(reason)
    return ""


@pytest.fixture
def need_backend():
    """A function that skips, or in CI fails, where a backend cannot run on the CPU."""
    def need(name):
        if reason := why_not(name):
            missing(reason)
    return need


@pytest.fixture(params=BACKENDS)
def backend(request):
    """The name of a backend that runs here, on the device that was asked for."""
    if not (on_gpu(request.config) and request.param != "numpy") and (reason := why_not(request.param)):
        missing(reason)
    return request.param


@pytest.fixture
def memory(request, backend):
    """Where the arrays of a backend's tests lie."""
    if not on_gpu(request.config) or backend == "numpy":
        here = Memory()
    else:
        here = TorchMemory("cuda") if backend == "triton" else CupyMemory()
    yield here
    here.release()


@pytest.fixture
def cross_entropy(backend, memory):
    """The shipped kernel, called in guarded memory."""
    return CrossEntropy(functools.partial(kernels.softmax_cross_entropy, backend=backend), strict=True,
                        memory=memory)


@pytest.fixture
def adam(backend, memory):
    """The shipped kernel, called in guarded memory."""
    return Adam(functools.partial(kernels.adam_step, backend=backend), strict=True, memory=memory)
