"""Every kernel of the table keeps its limits; and the gates see what they are there to see.

A test for each entry of `kernels.aot.table`, so that what fails names itself. Kernels are compiled once for
all of a backend's entries on a target, by whichever test worker comes first.
"""

import dataclasses
import functools
import json
import os
import re
import shutil
from pathlib import Path

import filelock
import numpy as np
import pytest

from kernels import report
from kernels.aot import amdgcn, emulator, gates, launches, nvrtc, problems, ptx, table
from kernels.aot.problems import Bytes, Problem, Work
from kernels.aot.table import Entry
from kernels.aot.values import EmulationError

ENTRIES = table.entries()


def need(backend):
    """Skip without the backend's compiler; in CI, where it must be there, fail."""
    reason = gates.missing(backend)
    if reason:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@functools.cache
def failures(backend, target, shared_folder):
    """Failures of every entry, by its name."""
    chosen = [e for e in ENTRIES if (e.backend, e.target) == (backend, target)]
    if shared_folder is None:
        return {r.entry.name: r.failures for r in gates.run(chosen)}
    path = shared_folder / f"gates-{backend}-{target}.json"
    with filelock.FileLock(f"{path}.lock"):
        if not path.exists():
            path.write_text(json.dumps({r.entry.name: r.failures for r in gates.run(chosen)}))
        return json.loads(path.read_text())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.backend}-{e.target}-{e.kernel} {e.variant}")
def test_gate(entry, tmp_path_factory):
    need(entry.backend)
    in_workers = "PYTEST_XDIST_WORKER" in os.environ  # their folders lie in one
    shared = tmp_path_factory.getbasetemp().parent if in_workers else None
    assert not failures(entry.backend, entry.target, shared)[entry.name]


def test_the_table_names_every_entry_once():
    names = [e.name for e in ENTRIES]
    assert len(names) == len(set(names))


def test_what_is_accepted_has_a_reason():
    assert [e.name for e in ENTRIES if not e.why and (e.spills or e.requests > 1 or e.width < 16)] == []


def test_the_table_has_every_target_and_every_source():
    assert {(e.backend, e.target) for e in ENTRIES} == {
        ("triton", "sm_80"), ("triton", "sm_90"), ("triton", "gfx942"), ("cuda", "sm_80"), ("cuda", "sm_90")}
    need("cuda")
    folder = Path(gates.__file__).parents[1] / "cuda"
    launched = [launches.record("cuda", e.module, e.target, e.problem().call)[0]
                for e in ENTRIES if e.backend == "cuda"]
    assert {Path(launch.job["source"]) for launch in launched} == set(folder.glob("*.cu"))
    assert {launch.cluster for launch in launched} == {1, 2, 4, 8}


# ---- Doctored kernels are rejected -----------------------------------------------------------------------

def doctored(tmp_path, variant, *changes, target="sm_90", defines=(), source=None, **limits):
    """The failures of a shipped CUDA kernel in which each (old, new) of `changes` was replaced."""
    need("cuda")
    entry = next(e for e in ENTRIES if e.backend == "cuda" and e.target == target
                 and f"{e.kernel} {e.variant}" == variant)
    problem = entry.problem()
    launch, = launches.record("cuda", entry.module, entry.target, problem.call)
    folder = shutil.copytree(Path(launch.job["source"]).parent, tmp_path / "cuda")
    for old, new in changes:
        files = [f for f in folder.glob("*.cu*") if old in f.read_text()]
        assert files, f"{old!r} is no longer in the source: mend this test"
        for file in files:
            file.write_text(file.read_text().replace(old, new))
    options = [o.replace(str(folder.parent), str(folder)) for o in launch.job["options"]]
    options = [f"-I{folder}" if o.startswith("-I") else o for o in options] + list(defines)
    for define in defines:
        options = [o for o in options if o.split("=")[0] != define.split("=")[0] or o == define]
    job = {"source": str(folder / Path(launch.job["source"]).name), "options": options}
    launch = dataclasses.replace(launch, job=job)
    return gates.judge(dataclasses.replace(entry, **limits), problem, launch).failures


def only(found, *patterns):
    """Every line matches a pattern, and every pattern a line."""
    assert all(any(re.search(p, line) for p in patterns) for line in found), found
    assert all(any(re.search(p, line) for line in found) for p in patterns), found


def test_an_untouched_copy_passes(tmp_path):
    assert doctored(tmp_path, "adam float32") == []


def test_an_extra_load_is_rejected(tmp_path):
    found = doctored(tmp_path, "adam float32", ("load(m, t.m + i);", "load(m, t.m + i); load(m, t.m + i);"))
    only(found, r"a full tile reads 65536 bytes of m0, the model says 32768 and \d+ for scalars")


def test_an_extra_load_in_a_loop_is_rejected(tmp_path):
    found = doctored(tmp_path, "cross_entropy bfloat16 32000",
                     ("raw[u] = x.load<How>(j + u * THREADS * N)",
                      "x.load<How>(j + u * THREADS * N), raw[u] = x.load<How>(j + u * THREADS * N)"))
    only(found, r"a row reads 2[45]\d{4} bytes of logits, the model says 128000")


def test_a_store_by_elements_is_rejected(tmp_path):
    found = doctored(tmp_path, "adam float32",
                     ("    store(t.v + i, v);\n", "    for (int k = 0; k < N; k++) t.v[i + k] = v[k];\n"))
    # Four stores of 4 bytes: the very line of the model, but not 16 bytes at a time.
    only(found, r"a full tile writes 32768 bytes of v0 only 4 at a time; 0 may be narrow")


def test_a_missing_store_is_rejected(tmp_path):
    found = doctored(tmp_path, "adam float32", ("    store(t.v + i, v);\n", ""))
    only(found, "a full tile writes 0 bytes of v0, the model says 32768: the model is wrong, or the kernel",
         r"v0\[\d+\] = ")


def test_spills_are_rejected(tmp_path):
    found = doctored(tmp_path, "adam bfloat16 p g, master, amsgrad", defines=["-DBLOCKS=8"])
    only(found, r"\d+ bytes of spills, the limit is 0", r"\d+ bytes of local memory a thread, the limit is 0")


def test_too_many_registers_are_rejected(tmp_path):
    assert doctored(tmp_path, "adam float32", registers=24)[0].endswith("registers a thread, the limit is 24")


def test_a_stray_store_is_rejected(tmp_path):
    # Behind the last of a tensor's elements, where masks would be wrong by one.
    found = doctored(tmp_path, "adam float32", ("i < end; i += THREADS", "i <= end; i += THREADS"))
    only(found, r"reaches \d+ bytes behind \w+ \(\d+ bytes\): ")


def test_wrong_numbers_are_rejected(tmp_path):
    only(doctored(tmp_path, "adam float32", ("x.m = f.beta1 * x.m", "x.m = f.beta2 * x.m")),
         r"[pm]\d\[\d+\] = \S+, the formula gives \S+")


def test_a_missing_barrier_of_some_threads_is_rejected(tmp_path):
    found = doctored(tmp_path, "cross_entropy bfloat16 32000",
                     ("    if (lane == 0) warps[warp] = sum;\n    __syncthreads();",
                      "    if (lane == 0) { warps[warp] = sum; __syncthreads(); }"))
    only(found, r"reads a thread that is not there|threads never reach the barrier")


TRITON = '''
import triton
import triton.language as tl

@triton.jit(do_not_specialize=["n"])
def double(X, Y, n, BLOCK: tl.constexpr, HOW: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    if HOW == "mask":
        tl.store(Y + at, 2.0 * tl.load(X + at, mask=at < n), mask=at < n)
    elif HOW == "twice":
        tl.store(Y + at, tl.load(X + at, volatile=True) + tl.load(X + at, volatile=True))
    else:
        tl.store(Y + at, 2.0 * tl.load(X + at))
'''


def triton_failures(tmp_path, how, *, warps=4, block=1024, target="sm_90", **limits):
    """The failures of a small Triton kernel, doubling four blocks of numbers."""
    need("triton")
    (tmp_path / "doctored_triton.py").write_text(TRITON)
    x = launches.aligned(np.arange(4 * block, dtype=np.float32))
    y = launches.aligned(np.zeros_like(x))

    def wrong():
        return None if (y == 2 * x).all() else "y is wrong"

    n = x.nbytes
    work = Work("all", [0, 1, 2, 3], {"X": Bytes(n, 0), "Y": Bytes(0, n)})
    problem = Problem({"X": x, "Y": y}, lambda module: None, wrong, [work], x.size)
    entry = Entry("double", "triton", target, how, lambda: problem, 128, amd=(1, 1, 0, 0))
    pointers = {"X": {"dtype": "float32", "address": x.ctypes.data},
                "Y": {"dtype": "float32", "address": y.ctypes.data}}
    job = {"module": "doctored_triton", "kernel": "double", "args": {**pointers, "n": x.size},
           "constants": {"BLOCK": block, "HOW": how}, "options": {"num_warps": warps}, "target": target}
    args = {"X": np.uint64(x.ctypes.data), "Y": np.uint64(y.ctypes.data), "n": x.size}
    launch = launches.Launch("double", job, args, 4, 32 * warps)
    compiled, = gates.compile_triton([job], path=[str(tmp_path)])
    return gates.judge(dataclasses.replace(entry, **limits), problem, launch, compiled).failures


@pytest.mark.parametrize("target", ["sm_80", "sm_90", "gfx942"])
def test_triton_kernels_pass_or_fail_by_what_they_move(tmp_path, target):
    assert triton_failures(tmp_path, "plain", target=target) == []


def test_an_extra_load_in_triton_is_rejected(tmp_path):
    only(triton_failures(tmp_path, "twice"),
         r"all reads 32768 bytes of X, the model says 16384 and \d+ for scalars|only 4 at a time")


@pytest.mark.parametrize(("target", "line"), [
    ("sm_80", "all reads 16384 bytes of X only 4 at a time; 64 may be narrow"),
    ("gfx942", "0 loads and 0 stores of 16 bytes, there should be 1 and 1 at least")])
def test_masked_elements_in_triton_are_rejected(tmp_path, target, line):
    assert line in triton_failures(tmp_path, "mask", target=target)


def test_a_block_too_large_for_triton_is_rejected(tmp_path):
    only(triton_failures(tmp_path, "plain", warps=1, block=32768, registers=255),
         "bytes of spills, the limit is 0", "bytes of local memory a thread, the limit is 0")


def test_triton_code_that_does_not_compile_is_rejected(tmp_path):
    only(triton_failures(tmp_path, "plain", block=1000), "does not compile: ")


# ---- Reading PTX, ptxas and AMD's assembly ---------------------------------------------------------------

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"
COPY = HEAD + """
.visible .entry copy(
    .param .u64 .ptr .global .align 1 copy_param_0, // x
    .param .u64 copy_param_1,
    .param .u32 copy_param_2
)
.maxntid 64, 1, 1
{
    .reg .pred %p<2>; .reg .b32 %r<9>; .reg .b64 %rd<9>;
    ld.param.u64 %rd1, [copy_param_0];
    ld.param.u64 %rd2, [copy_param_1];
    ld.param.u32 %r1, [copy_param_2];
    mov.u32 %r2, %tid.x;
$L_loop:
    setp.ge.s32 %p1, %r2, %r1;
    @%p1 bra $L_end;
    mul.wide.u32 %rd3, %r2, 16;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    // begin inline asm
    { .reg .b64 place; mov.u64 place, %rd4;
      ld.global.L1::no_allocate.v4.b32 { %r3, %r4, %r5, %r6 }, [ place + 0 ]; }
    // end inline asm
    st.global.v4.b32 [%rd5], {%r3, %r4, %r5, %r6};
    add.s32 %r2, %r2, 64;
    bra.uni $L_loop;
$L_end:
    ret;
}
"""


def test_ptx_is_read():
    kernel, = ptx.parse(COPY)
    assert kernel.name == "copy"
    assert kernel.params == [("copy_param_0", "u64"), ("copy_param_1", "u64"), ("copy_param_2", "u32")]
    assert (kernel.width("%rd1"), kernel.width("%r1"), kernel.width("place")) == (8, 4, 8)
    load = next(i for i in kernel.code if i.name[:2] == ("ld", "global"))
    assert load.operands == (("%r3", "%r4", "%r5", "%r6"), "[place+0]")
    assert ptx.access_bytes(load) == 16
    branch = next(i for i in kernel.code if i.guard)
    assert (branch.guard, branch.negated, branch.name) == ("%p1", False, ("bra",))
    assert kernel.code[kernel.labels["$L_end"]].name == ("ret",)
    assert ptx.global_widths(kernel) == (1, 1, 0, 0)


@pytest.mark.parametrize(("text", "bytes_"), [
    ("ld.global.b32 %r1, [%rd1];", 4), ("ld.global.v2.b64 {%rd1, %rd2}, [%rd3];", 16),
    ("ld.global.nc.u16 %rs1, [%rd1];", 2),
    ("@!%p1 st.global.L2::cache_hint.v4.f32 [%rd1], {a, b, c, d}, %rd2;", 16),
    ("st.global.v2.b32 [%rd1], {%r1, %r2};", 8)])
def test_widths_of_accesses(text, bytes_):
    kernel, = ptx.parse(HEAD + f".visible .entry k()\n{{\n{text}\nret;\n}}")
    assert ptx.access_bytes(kernel.code[0]) == bytes_
    assert sum(ptx.global_widths(kernel)) == 1


LOG = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'small' for 'sm_90'
ptxas info    : Function properties for small
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 18 registers, used 0 barriers
ptxas info    : Compiling entry function 'large' for 'sm_90'
ptxas info    : Function properties for large
    40 bytes stack frame, 52 bytes spill stores, 28 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 40 bytes cumulative stack size, 272 bytes smem
"""


def test_ptxas_is_read():
    assert ptx.resources(LOG, "small") == (18, 0, 0, 0)
    assert ptx.resources(LOG, "large") == (64, 80, 40, 272)
    with pytest.raises(ValueError, match="ptxas said nothing about kernel other"):
        ptx.resources(LOG, "other")


AMD = """
    global_load_dwordx4 v[0:3], v[4:5], off nt
    buffer_load_dwordx4 v[0:3], v4, s[0:3], 0 offen
    global_load_ushort v0, v[2:3], off
    buffer_store_short v0, v1, s[0:3], 0 offen
    global_store_dwordx4 v[0:1], v[2:5], off
    global_store_dwordx2 v[0:1], v[2:3], off
    .group_segment_fixed_size: 64
    .private_segment_fixed_size: 12
    .sgpr_spill_count: 1
    .vgpr_count:     46
    .vgpr_spill_count: 2
"""


def test_amd_assembly_is_read():
    assert amdgcn.global_widths(AMD) == (2, 1, 1, 2)
    assert amdgcn.global_widths(AMD, 8) == (2, 2, 1, 1)
    assert amdgcn.resources(AMD) == (46, 8, 12, 64)
    with pytest.raises(ValueError, match="assembly without .vgpr_count"):
        amdgcn.resources("s_endpgm")


# ---- Running PTX -----------------------------------------------------------------------------------------

def emulate(text, params, arrays, **launch):
    kernel, = ptx.parse(text)
    held = [emulator.Array(name, array) for name, array in arrays.items()]
    emulator.Program(kernel).run(params, held, **launch)
    return {array.name: array.moved for array in held}


def body(code):
    """A kernel of one u64 parameter, %rd1; %r1 is the thread."""
    return HEAD + """
.visible .entry k(.param .u64 k_param_0)
{
    .reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<20>; .reg .f32 %f<9>; .reg .b64 %rd<9>;
    .shared .align 16 .b8 place[256];
    ld.param.u64 %rd1, [k_param_0];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
""" + code + "\nret;\n}"


def run_body(code, x, **launch):
    return emulate(body(code), [np.uint64(x.ctypes.data)], {"x": x}, **{"grid": 1, "block": 64, **launch})


def numbers(n=64, dtype=np.uint32):
    return launches.aligned(np.arange(n).astype(dtype))


def test_a_loop_is_counted_by_its_turns():
    x = numbers(4 * 100)
    y = launches.aligned(np.zeros_like(x))
    params = [np.uint64(x.ctypes.data), np.uint64(y.ctypes.data), np.int32(100)]
    moved = emulate(COPY, params, {"x": x, "y": y}, grid=1, block=64)
    assert (x == y).all()
    assert moved == {"x": {("ld", 16): 1600}, "y": {("st", 16): 1600}}


def test_lanes_that_ask_for_the_same_bytes_count_once_a_warp():
    x = numbers()
    moved = run_body("ld.global.u32 %r2, [%rd1+8];", x, grid=2)
    assert moved == {"x": {("ld", 4): 2 * 2 * 4}}


@pytest.mark.parametrize(("code", "expected"), [
    ("add.s32 %r2, %r1, 5;", lambda t: t + 5),
    ("mul.lo.s32 %r2, %r1, -3;", lambda t: -3 * t),
    ("shl.b32 %r2, %r1, 3; shr.u32 %r2, %r2, 1;", lambda t: 4 * t),
    ("mov.b32 %r2, -16; shr.s32 %r2, %r2, 2;", lambda t: -4 + 0 * t),
    ("bfe.u32 %r2, %r1, 2, 3;", lambda t: t >> 2 & 7),
    ("mov.b32 %r2, 0; bfi.b32 %r2, %r1, %r2, 4, 3;", lambda t: (t & 7) << 4),
    ("prmt.b32 %r2, %r1, 258, 0x0145;", lambda t: 1 | 2 << 8 | t << 24),
    ("setp.lt.u32 %p1, %r1, 7; selp.b32 %r2, 1, 2, %p1;", lambda t: np.where(t < 7, 1, 2)),
    ("and.b32 %r3, %r1, 1; setp.eq.s32 %p1, %r3, 0; mov.b32 %r2, 9; @!%p1 mov.b32 %r2, 8;",
     lambda t: np.where(t % 2, 8, 9)),
    ("cvt.rn.f32.u32 %f1, %r1; fma.rn.f32 %f1, %f1, 0f40000000, 0f3F800000; cvt.rzi.u32.f32 %r2, %f1;",
     lambda t: 2 * t + 1),
    ("cvt.u16.u32 %rs1, %r1; mov.b16 %rs2, 3; mov.b32 %r2, {%rs1, %rs2};", lambda t: t + (3 << 16)),
    ("mul.hi.u32 %r2, %r1, 0x40000000;", lambda t: t >> 2),
    ("lop3.b32 %r2, %r1, 12, 5, 0x96;", lambda t: t ^ 12 ^ 5),
    ("shf.l.wrap.b32 %r2, 0x80000000, %r1, 1;", lambda t: 2 * t + 1),
    ("sub.s32 %r3, %r1, 9; div.s32 %r2, %r3, 4; rem.s32 %r4, %r3, 4; mad.lo.s32 %r2, %r2, 100, %r4;",
     lambda t: np.trunc((t - 9) / 4).astype(int) * 100 + np.fmod(t - 9, 4)),
    ("shfl.sync.bfly.b32 %r2|%p1, %r1, 1, 31, -1;", lambda t: t ^ 1),
    ("shfl.sync.idx.b32 %r2, %r1, 5, 31, -1;", lambda t: t // 32 * 32 + 5),
    ("shfl.sync.down.b32 %r2, %r1, 4, 31, -1;", lambda t: np.where(t % 32 < 28, t + 4, t)),
    ("mov.u32 %r4, place; shl.b32 %r5, %r1, 2; add.s32 %r5, %r4, %r5; st.shared.u32 [%r5], %r1; bar.sync 0;"
     "xor.b32 %r6, %r1, 63; shl.b32 %r6, %r6, 2; add.s32 %r6, %r4, %r6; ld.shared.u32 %r2, [%r6];",
     lambda t: 63 - t),
    ("mov.b32 %r2, 0; mov.b32 %r3, 0;\n$L: add.s32 %r2, %r2, %r3; add.s32 %r3, %r3, 1;"
     "setp.le.s32 %p1, %r3, %r1; @%p1 bra $L;", lambda t: t * (t + 1) // 2),
    ("setp.gt.s32 %p1, %r1, 9; @%p1 bra $A; mov.b32 %r2, 1; bra.uni $B;\n$A: mov.b32 %r2, 2;\n"
     "$B: shfl.sync.bfly.b32 %r2, %r2, 16, 31, -1;", lambda t: np.where((t ^ 16) > 9, 2, 1)),
])
def test_instructions(code, expected):
    x = numbers()
    run_body(code + "\nst.global.u32 [%rd3], %r2;", x)
    assert (x.view(np.int32) == expected(np.arange(64))).all(), x.view(np.int32)


def test_bfloat16_is_rounded_to_nearest_even():
    x = launches.aligned(np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, 3.4e38, np.nan] * 16, np.float32))
    run_body("ld.global.f32 %f1, [%rd3]; cvt.rn.bf16.f32 %rs1, %f1; cvt.f32.bf16 %f2, %rs1;"
             "st.global.f32 [%rd3], %f2;", x)
    assert np.array_equal(x[:4], np.array([1, 1 + 2.0**-6, np.inf, np.nan], np.float32), equal_nan=True)


def test_a_cluster_reads_its_other_blocks():
    x = numbers()
    code = """
    mov.u32 %r2, %cluster_ctarank; mov.u32 %r3, place; shl.b32 %r4, %r1, 2; add.s32 %r3, %r3, %r4;
    mad.lo.s32 %r5, %r2, 100, %r1; st.shared.u32 [%r3], %r5;
    barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;
    xor.b32 %r6, %r2, 1; mapa.shared::cluster.u32 %r7, %r3, %r6; ld.shared::cluster.u32 %r8, [%r7];
    mad.wide.u32 %rd4, %r2, 128, %rd3; st.global.u32 [%rd4], %r8;"""
    run_body(code, x, grid=2, block=32, cluster=2)
    assert (x == np.concatenate([100 + np.arange(32), np.arange(32)])).all()


@pytest.mark.parametrize(("code", "message"), [
    ("ld.global.u32 %r2, [%rd3+4];", r"reaches 4 bytes behind x \(256 bytes\): ld\.global"),
    ("ld.global.u32 %r2, [%rd1+-4];", r"reaches 4 bytes before x \(256 bytes\): ld\.global"),
    ("ld.global.u32 %r2, [%rd3+2];", "address not a multiple of 4"),
    ("ld.global.v4.b32 {%r2, %r3, %r4, %r5}, [%rd3];", "address not a multiple of 16"),
    ("mov.u32 %r2, place; ld.shared.u32 %r3, [%r2+256];", "outside shared memory"),
    ("mov.u32 %r2, place; st.shared.v2.u32 [%r2+4], {%r1, %r1};", "outside shared memory or not aligned"),
    ("setp.lt.s32 %p1, %r1, 40; @%p1 bra $A; bar.sync 0;\n$A: mov.b32 %r2, 1; bar.sync 0;",
     "threads never reach the barrier: bar.sync 0"),
    ("sin.approx.f32 %f1, %f2;", r"instruction not known: sin\.approx"),
    ("$L: bra.uni $L;", "no end"),
])
def test_what_a_gpu_would_not_do_is_an_error(code, message, monkeypatch):
    monkeypatch.setattr(emulator, "MOST_STEPS", 1000)
    x = numbers()
    with pytest.raises(EmulationError, match=message):
        run_body(code, x)


def test_threads_that_have_ended_need_no_barrier():
    run_body("setp.lt.s32 %p1, %r1, 40; @!%p1 ret;\nbar.sync 0;", numbers())


# ---- Compilers, problems, report -------------------------------------------------------------------------

def test_cuda_errors_are_one_line(tmp_path):
    need("cuda")
    source = tmp_path / "broken.cu"
    source.write_text("extern \"C\" __global__ void k() { nothing(); }")
    with pytest.raises(ValueError, match=r"broken.cu does not compile: .*nothing") as raised:
        nvrtc.compile_cuda(source, ["--gpu-architecture=sm_90"])
    assert "\n" not in str(raised.value)


def test_nvrtc_and_nvcc_read_the_same(tmp_path):
    if nvrtc.nvrtc() is None or shutil.which("nvcc") is None:
        pytest.skip("needs both NVRTC and nvcc")
    source = tmp_path / "fill.cu"
    source.write_text("extern \"C\" __global__ void fill(float4* p) { p[threadIdx.x] = float4{1, 2, 3, 4}; }")
    for compiled in (nvrtc._by_nvrtc(nvrtc.nvrtc(), source, ["--gpu-architecture=sm_90"]),
                     nvrtc._by_nvcc(shutil.which("nvcc"), source, ["--gpu-architecture=sm_90"])):
        assert ptx.global_widths(ptx.parse(compiled.ptx)[0]) == (0, 1, 0, 0)
        assert ptx.resources(compiled.log, "fill").registers > 0


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_problems_know_what_is_wrong(dtype):
    problem = problems.cross_entropy_rows(dtype, 1000, sweeps=1, smoothing=0.1, softcap=5.0, weights=True)
    loss, lse, dx = problems._cross_entropy(problem.arrays, dtype, 0.1, 0.0, 5.0)
    assert problem.wrong().startswith("loss[2] = -1, the formula gives ")
    problem.arrays["loss"][:], problem.arrays["lse"][:] = loss, lse
    assert problem.wrong().startswith("dlogits[")
    problem.arrays["dlogits"][...] = problems.encode(dx, dtype)
    assert problem.wrong() is None
    problem.arrays["lse"][2] = np.nan
    assert problem.wrong().startswith("lse[2] = nan")


def test_the_report_prints_a_table(capsys, tmp_path):
    need("cuda")
    where = tmp_path / "table.json"
    chosen = ["--backend", "cuda", "--target", "sm_90", "--variant", "5000"]
    assert report.main([*chosen, "--json", str(where)]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 110
    assert re.search(r"total 5000 rows +512 .* 4\.00 +4\.00  ok", printed)
    assert "2 kernels, none failed." in printed
    made = json.loads(where.read_text())
    assert [(row["code_bytes"], row["failures"]) for row in made][1] == (20000, [])


def test_the_report_fails_with_the_gates(capsys, monkeypatch):
    need("cuda")
    strict = [dataclasses.replace(e, registers=8) for e in ENTRIES]
    monkeypatch.setattr(report, "entries", lambda: strict)
    assert report.main(["--backend", "cuda", "--target", "sm_90", "--kernel", "total"]) == 1
    assert "registers a thread, the limit is 8" in capsys.readouterr().out


def test_the_report_says_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(gates, "missing", lambda backend: f"install {backend}")
    assert report.main(["--kernel", "adam"]) == 2
    assert capsys.readouterr().out.splitlines()[-2:] == ["missing: install triton", "missing: install cuda"]


def test_the_report_of_nothing(capsys):
    assert report.main(["--kernel", "no such kernel"]) == 2
    assert "no kernel of the table is so named" in capsys.readouterr().err
