"""kernels.cuda.module: what CuPy is asked to do on a GPU, seen through a stand-in for CuPy."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kernels.backends import BackendUnavailable
from kernels.cuda import module
from kernels.cuda.host import HostModule


class NVRTCError(RuntimeError):
    pass


class Cupy:
    """What `kernels.cuda.module` uses of CuPy 14, writing down what it is asked to do."""

    def __init__(self, capability: str = "90", log: str = "") -> None:
        self.did: list[Any] = []
        self.log, self.capability = log, capability
        self.cuda = SimpleNamespace(Device=self.device, nvrtc=self, Stream=self)
        self.NVRTCError = NVRTCError
        self.where: list[str] = []

    # cupy.cuda.nvrtc
    def getVersion(self):
        return 13, 0

    def createProgram(self, code, name, headers, include_names):
        self.did.append(("create", name, headers, include_names))
        return 7

    def compileProgram(self, program, options):
        assert program == 7
        self.did.append(("options", options))
        if self.log:
            raise NVRTCError("NVRTC_ERROR_COMPILATION (6)")

    def getProgramLog(self, program):
        return self.log

    def getCUBIN(self, program):
        return b"machine code"

    def destroyProgram(self, program):
        self.did.append(("destroy", program))

    # cupy.cuda.Device, cupy.cuda.Stream
    def device(self, index):
        return Device(self, index)

    @contextmanager
    def on(self, name):
        self.where.append(name)
        yield
        self.where.remove(name)

    def from_external(self, stream):
        version, handle = stream.__cuda_stream__()
        assert version == 0
        return self.on(f"stream {handle}")

    # cupy.RawModule and its kernels
    def RawModule(self, *, path):
        self.did.append(("load", Path(path).read_bytes()))
        return self

    def get_function(self, name):
        assert self.where
        return Kernel(self, name)


class Device:
    def __init__(self, cupy: Cupy, index: int) -> None:
        self.compute_capability, self.context = cupy.capability, lambda: cupy.on(f"device {index}")

    def __enter__(self):
        self.entered = self.context()
        self.entered.__enter__()

    def __exit__(self, *error):
        self.entered.__exit__(*error)


class Kernel:
    def __init__(self, cupy: Cupy, name: str) -> None:
        object.__setattr__(self, "cupy", cupy)
        object.__setattr__(self, "name", name)

    def __setattr__(self, name, value):
        self.cupy.did.append((name, value))

    def __call__(self, grid, block, args, *, shared_mem=0):
        self.cupy.did.append((self.name, tuple(self.cupy.where), grid, block, args, shared_mem))


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "some.cu"
    path.write_text('extern "C" __global__ void k(float* x) {}\n')
    return path


@pytest.fixture
def cupy(monkeypatch, tmp_path) -> Cupy:
    return install(monkeypatch, tmp_path, Cupy())


def install(monkeypatch, tmp_path, fake: Cupy) -> Cupy:
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path / "cache"))
    module._load.cache_clear()
    return fake


def test_compiles_once_with_exact_options(cupy, source):
    for _ in range(2):
        module.CupyModule(source, {"T": "bf16", "CLUSTER": 4}, exact=True, index=1)
    assert [what[0] for what in cupy.did] == ["create", "options", "destroy", "load", "load"]
    options = cupy.did[1][1]
    assert options[0] == "--gpu-architecture=sm_90"
    assert {"--std=c++17", "--fmad=false", "--prec-div=true", "--prec-sqrt=true", "--ftz=false", "-DT=bf16",
            "-DCLUSTER=4", f"-I{module.HERE}"} <= set(options)
    assert cupy.did[-1] == ("load", b"machine code")


def test_fast_options_keep_denormals(cupy, source):
    module.CupyModule(source, {}, exact=False, index=0)
    options = cupy.did[1][1]
    assert {"--fmad=true", "--prec-div=false", "--prec-sqrt=false", "--ftz=false"} <= set(options)
    assert "--use_fast_math" not in options


def test_launches_on_the_arrays_device_and_the_current_stream(cupy, source):
    made = module.CupyModule(source, {}, exact=True, index=1)
    args = [np.uint64(4096), np.int32(3)]
    made.launch("k", args, grid=8, block=256)
    made.launch("k", args, grid=(8, 2), block=(32, 4), stream=99, shared=1000)
    assert cupy.did[-2:] == [("k", ("device 1",), (8,), (256,), tuple(args), 0),
                             ("k", ("device 1", "stream 99"), (8, 2), (32, 4), tuple(args), 1000)]
    assert cupy.where == []


def test_sizes_of_a_launch_are_integers(cupy, source):
    made = module.CupyModule(source, {}, exact=True, index=0)
    made.launch("k", [], grid=np.int64(8), block=(np.int32(4), 2))
    assert cupy.did[-1] == ("k", ("device 0",), (8,), (4, 2), (), 0)
    assert all(type(n) is int for n in (*cupy.did[-1][2], *cupy.did[-1][3]))
    with pytest.raises(TypeError, match="^grid=7.8125 must be an integer"):
        made.launch("k", [], grid=2000 / 256, block=1)


def test_much_shared_memory_is_asked_for_once(cupy, source):
    made = module.CupyModule(source, {}, exact=True, index=0)
    before = len(cupy.did)
    for shared in (40 << 10, 48 << 10, 50_000, 50_000, 100_000, 60_000):
        made.launch("k", [], grid=1, block=1, shared=shared)
    asked = [what for what in cupy.did[before:] if what[0] == "max_dynamic_shared_size_bytes"]
    assert [value for _, value in asked] == [48 << 10, 50_000, 100_000]  # static memory counts too


def test_no_clusters_before_sm_90(monkeypatch, tmp_path, source):
    install(monkeypatch, tmp_path, Cupy(capability="80"))
    made = module.CupyModule(source, {}, exact=True, index=0)
    made.launch("k", [], grid=4, block=1)
    with pytest.raises(RuntimeError, match="k wants a cluster of 4 blocks, and this GPU, sm_80, has none"):
        made.launch("k", [], grid=4, block=1, cluster=4)


def test_compile_error_is_the_first_line(monkeypatch, tmp_path, source):
    log = "some.cu(1): warning: x\nsome.cu(3): error: identifier \"y\" is undefined\nsome.cu(4): error: z\n"
    fake = install(monkeypatch, tmp_path, Cupy(log=log))
    with pytest.raises(RuntimeError) as caught:
        module.CupyModule(source, {}, exact=True, index=0)
    assert str(caught.value) == ('some.cu does not compile for sm_90: '
                                 'some.cu(3): error: identifier "y" is undefined')
    assert fake.did[-1] == ("destroy", 7)
    assert not list((tmp_path / "cache").rglob("*.cubin"))


def test_cubins_follow_sources_and_options(cupy, source):
    def made(**more: Any) -> Path:
        return module.cached_cubin(source, **{"defines": {}, "exact": True, "arch": 90, **more})

    first = made()
    others = {made(exact=False), made(arch=80), made(defines={"A": 1})}
    source.write_text(source.read_text() + "// changed\n")
    assert len(others | {first, made()}) == 5
    assert all(path.read_bytes() == b"machine code" for path in others)
    assert len(list(first.parent.iterdir())) == 5  # nothing half written left behind


def test_load_is_by_device_and_gives_the_same_module_again(cupy, source):
    here = module.load(str(source), {"A": 1, "B": 2}, exact=True, device="cuda:0")
    assert isinstance(here, module.CupyModule)
    assert module.load(str(source), {"B": 2, "A": 1}, exact=True, device="cuda:0") is here
    assert module.load(str(source), {"A": 1, "B": 2}, exact=True, device="cuda:1") is not here
    assert module.load(str(source), {"A": 1, "B": 2}, exact=False, device="cuda:0") is not here


def test_on_the_cpu_the_host_runs_it(source):
    from kernels.cuda.host import compiler

    if compiler() is None:
        with pytest.raises(BackendUnavailable, match="g\\+\\+"):
            module.load(str(source), {}, exact=True, device="cpu")
    else:
        made = module.load(str(source), {}, exact=True, device="cpu")
        assert isinstance(made, HostModule)
        made.launch("k", [np.uint64(0)], grid=1, block=1, stream=5)


@pytest.mark.parametrize("what", ["no cupy", "no nvrtc"])
def test_without_cupy(monkeypatch, source, what):
    def missing():
        raise RuntimeError("Failure finding libnvrtc.so\nand more")

    fake = Cupy()
    fake.getVersion = missing
    monkeypatch.setitem(sys.modules, "cupy", None if what == "no cupy" else fake)
    with pytest.raises(BackendUnavailable, match=r"^CUDA kernels on a GPU need CuPy with NVRTC: .*$"):
        module.CupyModule(source, {}, exact=True, index=0)
