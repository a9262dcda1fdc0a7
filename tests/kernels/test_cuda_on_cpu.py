"""CUDA on the CPU: every feature that the kernels use, and every mistake that it must report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from kernels.cuda.host import HostModule, HostUnavailable, build, compiler

SOURCES = Path(__file__).parent / "cuda"
SEEDS = range(20)


@pytest.fixture(scope="module", autouse=True)
def _gxx():
    if compiler() is None:
        reason = "g++ is not installed (or this is not Linux): CUDA kernels were not run on the CPU"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def features() -> HostModule:
    return HostModule(SOURCES / "features.cu")


@pytest.fixture(scope="module")
def mistakes() -> HostModule:
    return HostModule(SOURCES / "mistakes.cu")


def address(array: np.ndarray) -> np.uint64:
    return np.uint64(array.ctypes.data)


def line(mark: str) -> str:
    lines = (SOURCES / "mistakes.cu").read_text().splitlines()
    return f"mistakes.cu:{next(i for i, text in enumerate(lines, 1) if text.endswith(f'// line: {mark}'))}"


def mistake(module: HostModule, kernel: str, *args: Any, block: int = 32, grid: int = 1, **more: Any) -> str:
    """The message that a launch ends with."""
    given = [address(a) if isinstance(a, np.ndarray) else a for a in args]
    with pytest.raises(RuntimeError) as caught:
        module.launch(kernel, given, grid=grid, block=block, **more)
    message = str(caught.value)
    assert message.startswith(f"{kernel}: ")
    assert "\n" not in message
    return message


# ---- Grids, arguments, shared memory ----------------------------------------------------------------


def test_three_dimensions(features):
    out = np.zeros(2 * 3 * 4 * 30, np.int32)
    features.launch("indices", [address(out)], grid=(2, 3, 4), block=(5, 3, 2))
    block, thread = np.divmod(np.arange(out.size), 30)
    np.testing.assert_array_equal(out, 1000 * block + thread)


def test_arguments_of_every_kind(features):
    out = np.zeros(6)
    args = [np.float32(0.1), np.float64(0.1), np.int32(-3), np.int64(-2**40), np.uint32(2**32 - 1), np.True_]
    features.launch("arguments", [address(out), *args], grid=1, block=1)
    np.testing.assert_array_equal(out, [np.float32(0.1), 0.1, -3, -2**40, 2**32 - 1, 1])


def test_wrong_arguments(features):
    out = np.zeros(6)
    right = [address(out), np.float32(1), np.float64(1), np.int32(1), np.int64(1), np.uint32(1), np.True_]

    def launch(args: list) -> None:
        features.launch("arguments", args, grid=1, block=1)

    with pytest.raises(RuntimeError, match="^arguments: takes 7 arguments, 6 were given$"):
        launch(right[:-1])
    with pytest.raises(RuntimeError, match="argument 4 is an integer of 4 bytes; .* takes an integer of 8"):
        launch([*right[:4], np.int32(1), *right[5:]])
    with pytest.raises(RuntimeError, match="argument 1 is an integer of 4 bytes; .* takes a float of 4"):
        launch([right[0], np.int32(1), *right[2:]])
    with pytest.raises(RuntimeError, match="argument 0 is a float of 8 bytes; .* takes an address of 8"):
        launch([np.float64(1), *right[1:]])
    with pytest.raises(TypeError, match=r"args\[3\] of arguments must be a NumPy number, .* not int"):
        launch([*right[:3], 1, *right[4:]])


@pytest.mark.parametrize(("given", "named"), [
    ({"grid": 0, "block": 1}, "grid=0"), ({"grid": 1, "block": 1025}, "block=1025"),
    ({"grid": 1, "block": (32, 33)}, "1056 threads"), ({"grid": (1, 65536), "block": 1}, "grid=.1, 65536"),
    ({"grid": 6, "block": 1, "cluster": 4}, "cluster=4"),
    ({"grid": 9, "block": 1, "cluster": 9}, "cluster=9"),
    ({"grid": 1, "block": 1, "shared": 2**20}, "shared=1048576")])
def test_sizes_that_no_gpu_takes(features, given, named):
    with pytest.raises(ValueError, match=named):
        features.launch("say", [np.int32(0)], **given)


def test_unknown_kernel_names_those_there_are(features):
    with pytest.raises(ValueError, match="features.cu has no kernel 'sum'; it has indices, arguments"):
        features.launch("sum", [], grid=1, block=1)


def test_dynamic_shared_memory_under_two_names(features):
    x, b = np.arange(300.0), np.arange(200, dtype=np.uint8)
    features.launch("reverse", [address(x)], grid=1, block=300, shared=2400)
    features.launch("reverse_bytes", [address(b)], grid=1, block=200, shared=200)
    np.testing.assert_array_equal(x, np.arange(300.0)[::-1])
    np.testing.assert_array_equal(b, np.arange(200)[::-1])


def test_printf(features, capfd):
    features.launch("say", [np.int32(7)], grid=1, block=2)
    assert capfd.readouterr().out == "block 0 says 7 and 0.50\n"


# ---- Order of threads -------------------------------------------------------------------------------


def arrivals(features: HostModule, seed: int | None, threads: int = 128) -> list[int]:
    order, counter = np.zeros(2 * threads, np.int32), np.zeros(1, np.int32)
    features.launch("arrival", [address(order), address(counter)], grid=1, block=threads, seed=seed)
    assert sorted(order[:threads]) == sorted(order[threads:]) == list(range(threads))
    return order.tolist()


def test_order_is_random_and_the_seeds_own(features):
    assert arrivals(features, 1) == arrivals(features, 1)
    both = [arrivals(features, seed) for seed in SEEDS]
    orders = {tuple(order[:128]) for order in both} | {tuple(order[128:]) for order in both}
    assert len(orders) == 2 * len(SEEDS)  # another one behind the barrier


def test_sometimes_whole_warps_go_ahead_and_never_in_lane_order(features):
    whole = 0
    for seed in SEEDS:
        order = np.array(arrivals(features, seed)[:128])
        warps = order // 32
        whole += int((np.diff(warps) != 0).sum() == 3)
        for warp in range(4):
            lanes = order[warps == warp]
            assert (np.diff(lanes) < 0).any()
    assert 3 < whole < 17


def test_default_seed_is_an_environment_variable(features, monkeypatch):
    monkeypatch.delenv("MINILLM_CUDA_SEED", raising=False)
    assert arrivals(features, None) == arrivals(features, 0)
    monkeypatch.setenv("MINILLM_CUDA_SEED", "5")
    assert arrivals(features, None) == arrivals(features, 5) != arrivals(features, 0)
    monkeypatch.setenv("MINILLM_CUDA_SEED", "x")
    with pytest.raises(ValueError, match="MINILLM_CUDA_SEED='x' is no integer"):
        arrivals(features, None)


@pytest.mark.parametrize(("kernel", "threads", "blocks"), [("block_sum", 256, 3), ("warp_sum", 32, 1)])
def test_a_deleted_barrier_shows(features, kernel, threads, blocks):
    x = np.arange(threads * blocks, dtype=np.float32)
    wrong = 0
    for seed in SEEDS:
        for barrier in (1, 0):
            out = np.zeros(blocks, np.float32)
            features.launch(kernel, [address(x), address(out), np.int32(barrier)], grid=blocks, block=threads,
                            seed=seed)
            right = np.array_equal(out, x.reshape(blocks, -1).sum(1))
            assert right or not barrier
            wrong += not right
    assert wrong > 0.9 * len(SEEDS)


# ---- Warps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [32, 16, 4])
@pytest.mark.parametrize("amount", [0, 1, 3, 17])
def test_shuffles(features, amount, width):
    out = np.zeros((64, 4), np.int32)
    features.launch("shuffles", [address(out), np.int32(amount), np.int32(width)], grid=1, block=64)
    t = np.arange(64)
    lane, first = t % 32, t % 32 // width * width
    for column, source, inside in [
            (0, lane ^ amount, lane ^ amount < first + width),
            (1, lane + amount, lane + amount < first + width),
            (2, lane - amount, lane - amount >= first), (3, first + amount % width, np.full(64, True))]:
        np.testing.assert_array_equal(out[:, column], 1000 + t - lane + np.where(inside, source, lane))


def test_divergent_halves_of_a_warp(features):
    for seed in SEEDS:
        out = np.zeros(64)
        features.launch("halves", [address(out)], grid=1, block=64, seed=seed)
        t = np.arange(64).reshape(2, 32)
        want = np.where(t % 2, t[:, 1::2].sum(1, keepdims=True), t[:, ::2].max(1, keepdims=True))
        np.testing.assert_array_equal(out.reshape(2, 32), want)


@pytest.mark.parametrize("kind", ["none", "some", "all"])
def test_votes(features, kind):
    p = {"none": np.zeros(64), "some": np.arange(64) % 3 == 0, "all": np.ones(64)}[kind].astype(np.int32) * 2
    out = np.zeros((64, 6), np.uint32)
    features.launch("votes", [address(out), address(p)], grid=1, block=64)
    for warp in range(2):
        mine, got = p[32 * warp:][:32] != 0, out[32 * warp:][:32]
        assert (got[:, 0] == sum(1 << i for i in range(32) if mine[i])).all()
        assert (got[:, 1] == mine.any()).all()
        assert (got[:, 2] == mine.all()).all()
    assert (out[:, 3:] == [(p != 0).sum(), p.any(), p.all()]).all()


def test_atomics(features):
    f, i = np.zeros(1, np.float32), np.zeros(5, np.int32)
    u, l = np.zeros(1, np.uint32), np.zeros(2, np.uint64)
    features.launch("atomics", [address(a) for a in (f, i, u, l)], grid=4, block=100)
    assert f[0] == 400
    assert (i[0], i[1], i[2], i[4]) == (400 * 399 // 2, 399, -399, 1)
    assert 1 <= i[3] <= 400
    assert u[0] == 2**32 - 400
    assert (l[0], l[1]) == (400 << 40, 399 << 40)


# ---- Clusters ---------------------------------------------------------------------------------------


def exchange(features: HostModule, seed: int, first: int = 1, last: int = 1) -> bool:
    out = np.zeros((8, 64), np.float32)
    features.launch("exchange", [address(out), np.int32(first), np.int32(last)], grid=8, block=64, cluster=4,
                    shared=256, seed=seed)
    block, thread = np.mgrid[:8, :64]
    want = 4 * thread + 100 * (16 * (block // 4) + 6) + 6e4
    return np.array_equal(out, want)


def test_a_cluster_exchanges_its_shared_memory(features):
    assert all(exchange(features, seed) for seed in SEEDS)


def test_a_missing_cluster_sync_shows(features):
    assert sum(exchange(features, seed, first=0) for seed in SEEDS) < 2


def test_a_block_that_ends_while_others_read_it_is_reported(features):
    said = []
    for seed in SEEDS:
        try:
            exchange(features, seed, last=0)
        except RuntimeError as error:
            said.append(str(error))
    assert len(said) > len(SEEDS) / 2
    assert all("of its cluster, which has ended" in text for text in said)


# ---- Numbers ----------------------------------------------------------------------------------------


def test_vector_types(features):
    x = aligned(np.arange(32, dtype=np.float32).reshape(8, 4))
    out = np.zeros((8, 2), np.float32)
    features.launch("vectors", [address(x), address(out)], grid=1, block=8)
    np.testing.assert_array_equal(out, np.stack([x[:, 0] + x[:, 1], x[:, 2] * x[:, 3]], 1))


def aligned(x: np.ndarray) -> np.ndarray:
    raw = np.zeros(x.nbytes + 16, np.uint8)
    start = -raw.ctypes.data % 16
    copy = raw[start:start + x.nbytes].view(x.dtype).reshape(x.shape)
    copy[...] = x
    return copy


@pytest.mark.parametrize(("kernel", "dtype"), [("copy_float", np.float32), ("copy_bf16", np.uint16)])
def test_16_bytes_at_once(features, kernel, dtype):
    n = 64 * 16 // np.dtype(dtype).itemsize
    x, y = aligned(np.arange(n).astype(dtype)), aligned(np.zeros(n, dtype))
    features.launch(kernel, [address(x), address(y), np.int32(n)], grid=1, block=96)
    np.testing.assert_array_equal(x, y)


def test_every_bf16_and_f16_is_widened(features):
    bits = np.arange(2**16, dtype=np.uint16)
    bf16, f16 = np.zeros(2**16, np.float32), np.zeros(2**16, np.float32)
    features.launch("widen", [address(bits), address(bf16), address(f16), np.int32(2**16)], grid=1, block=32)
    for got, want in ((bf16, bits.view(ml_dtypes.bfloat16)), (f16, bits.view(np.float16))):
        np.testing.assert_array_equal(got, want.astype(np.float32))  # NaN where NaN
        numbers = ~np.isnan(got)
        np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(want.astype(np.float32))[numbers])


def edge_floats() -> np.ndarray:
    """Every value of both types, its neighbours, the ties between values, random patterns."""
    rng = np.random.default_rng(0)
    bits = np.arange(2**16, dtype=np.uint16)
    with np.errstate(all="ignore"):
        half = bits.view(np.float16).astype(np.float32)
        ties = (half.astype(np.float64) + np.nextafter(bits.view(np.float16), np.float16(np.inf))) / 2
    upper = bits.astype(np.uint32) << 16
    some = np.float32([65519.996, 65520, 2.0**-25, 2.0**-24, 2.0**-14]).view(np.uint32)
    patterns = np.concatenate([
        upper, upper | 0x7fff, upper | 0x8000, upper | 0x8001, half.view(np.uint32), half.view(np.uint32) + 1,
        half.view(np.uint32) - 1, ties.astype(np.float32).view(np.uint32), some,
        rng.integers(0, 2**32, 10**6, dtype=np.uint32)])
    return patterns.view(np.float32)


def test_floats_are_rounded_to_nearest_even(features):
    x = edge_floats()
    bf16, f16 = np.zeros(x.size, np.uint16), np.zeros(x.size, np.uint16)
    features.launch("narrow", [address(x), address(bf16), address(f16), np.int32(x.size)], grid=1, block=32)
    nan = np.isnan(x)
    assert nan.any()
    with np.errstate(all="ignore"):
        pairs = ((bf16.view(ml_dtypes.bfloat16), x.astype(ml_dtypes.bfloat16)),
                 (f16.view(np.float16), x.astype(np.float16)))
    for got, want in pairs:
        assert np.isnan(got[nan].astype(np.float32)).all()
        np.testing.assert_array_equal(got.view(np.uint16)[~nan], want.view(np.uint16)[~nan])


def fast(perturb: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """What fast_div, fast_sqrt and fast_exp give, what is exact, and the second argument."""
    module = HostModule(SOURCES / "features.cu", {"PERTURB": perturb} if perturb else {})
    rng = np.random.default_rng(3)
    a = np.abs(rng.standard_normal(5000) * 10.0 ** rng.integers(-40, 30, 5000)).astype(np.float32)
    b = rng.uniform(-80, 80, 5000).astype(np.float32)
    a[:5], b[:5] = [0, np.inf, np.nan, 1, 4], [1, 1, 1, -np.inf, 0]
    got = [np.zeros_like(a) for _ in range(3)]
    args = [*(address(v) for v in (a, b, *got)), np.int32(a.size)]
    module.launch("fast", args, grid=1, block=64, seed=seed)
    with np.errstate(all="ignore"):
        return got, [a / b, np.sqrt(a), np.exp(b.astype(np.float64)).astype(np.float32)], b


def steps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """How many floats apart: sign and magnitude as integers."""
    def place(x: np.ndarray) -> np.ndarray:
        bits = x.view(np.int32).astype(np.int64)
        return np.where(bits < 0, -(bits & 0x7fffffff), bits)

    return np.abs(place(got) - place(want))


def test_approximate_functions_are_exact_by_default():
    got, want, _ = fast(0, 1)
    for g, w, most in zip(got, want, (0, 0, 1), strict=True):  # expf itself may miss by one
        special = ~np.isfinite(w)
        np.testing.assert_array_equal(g[special], w[special])
        assert steps(g[~special], w[~special]).max() <= most


def test_perturbation_fills_its_bounds_and_no_more():
    got, want, b = fast(1, 1)
    again, other = fast(1, 1)[0], fast(1, 2)[0]
    bounds = [np.full(b.shape, 2.0), np.full(b.shape, 2.0), 2 + np.floor(np.abs(1.173 * b)) + 1]
    for g, w, bound, a, o in zip(got, want, bounds, again, other, strict=True):
        special = ~np.isfinite(w) | (w == 0)
        np.testing.assert_array_equal(g[special], w[special])
        off = steps(g[~special], w[~special])
        assert (off <= bound[~special]).all()
        assert (off >= 1).mean() > 0.5
        assert (off == 2).any()
        np.testing.assert_array_equal(g, a)  # a function of its arguments and the seed
        assert (g != o).any()


def test_exact_does_not_fuse():
    a, c, out = np.float32([1 + 2.0**-12]), np.float32([-1 - 2.0**-11]), np.ones(1, np.float32)
    args = [address(v) for v in (a, a, c, out)]
    HostModule(SOURCES / "features.cu").launch("fused", args, grid=1, block=1)
    assert out[0] == 0  # a*a = 1 + 2^-11 + 2^-24, whose last term is rounded away
    HostModule(SOURCES / "features.cu", exact=False).launch("fused", args, grid=1, block=1)
    has_it = build._fused_multiply_add() or os.uname().machine == "aarch64"
    assert out[0] == (2.0**-24 if has_it else 0)


# ---- Mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("who", [0, 7, 95])
def test_divergence_names_the_thread_and_both_places(mistakes, who, seed):
    who_ = rf"thread ({who}, 0, 0) of block (0, 0, 0)"
    said = mistake(mistakes, "leaves", np.int32(who), block=96, seed=seed)
    assert f"{who_} has left the kernel, while thread" in said
    assert f"and 94 more wait at __syncthreads() ({line('leaves')})" in said
    said = mistake(mistakes, "two_barriers", np.int32(who), block=96, seed=seed)
    assert f"{who_} waits at __syncthreads() ({line('odd')}), while thread" in said
    assert "and 94 more wait at __syncthreads() (" + line("even") in said
    said = mistake(mistakes, "cluster_leaves", np.int32(who), block=96, grid=4, cluster=4, seed=seed)
    assert f"thread ({who}, 0, 0) of block (1, 0, 0) has left the kernel" in said
    assert "and 382 more wait at cluster_sync()" in said


def test_those_who_wait_for_many_who_left(mistakes):
    said = mistake(mistakes, "most_leave", np.int32(2), block=96)
    assert "thread (2, 0, 0) of block (0, 0, 0) has left the kernel, while thread (0, 0, 0)" in said
    assert "and 1 more wait at __syncthreads()" in said


def test_two_kinds_of_barrier(mistakes):
    said = mistake(mistakes, "block_or_warp", np.int32(40), block=64)
    assert f"thread (40, 0, 0) of block (0, 0, 0) waits at __syncwarp() ({line('warp')})" in said
    out = np.zeros(32, np.int32)
    said = mistake(mistakes, "two_masks", out)
    assert "thread (0, 0, 0) of block (0, 0, 0) waits at __shfl_xor_sync() (mistakes.cu:" in said
    assert "while thread (11, 0, 0) of block (0, 0, 0) and 20 more wait at __shfl_xor_sync()" in said


def test_a_launch_after_a_mistake_is_sound(mistakes, features):
    for seed in SEEDS:
        mistake(mistakes, "leaves", np.int32(3), block=64, seed=seed)
        out = np.zeros(32, np.int32)
        mistakes.launch("shuffle_fine", [address(out)], grid=1, block=32, seed=seed)
        np.testing.assert_array_equal(out[:31], 7)


@pytest.mark.parametrize(("kernel", "block", "said"), [
    ("shuffle_left", 32, "thread (4, 0, 0) of block (0, 0, 0) reads lane 5 at __shfl_xor_sync() (mistakes"),
    ("shuffle_left", 32, "mask 0xffffffff, but that lane has left the kernel"),
    ("shuffle_unmasked", 32, "reads lane 16 at __shfl_xor_sync()"),
    ("shuffle_unmasked", 32, "but that lane is not in the mask"),
    ("shuffle_absent", 24, "but that lane does not exist"),
    ("shuffle_without_me", 32, "mask 0x00000007, which leaves out its own lane 3")])
def test_shuffles_from_nobody(mistakes, kernel, block, said):
    for seed in range(5):
        assert said in mistake(mistakes, kernel, np.zeros(32, np.int32), block=block, seed=seed)


@pytest.mark.parametrize(("kernel", "shared"), [("behind_static", 0), ("behind_dynamic", 128)])
def test_canaries_of_shared_memory(mistakes, kernel, shared):
    mistakes.launch(kernel, [np.int32(0)], grid=3, block=32, shared=shared)
    kind = kernel.removeprefix("behind_")
    size = build_static(mistakes)
    by = 1 if shared else size // 4 - 32 + 1  # behind all static arrays
    said = mistake(mistakes, kernel, np.int32(by), grid=3, shared=shared)
    assert f"behind the {kind} shared memory" in said
    assert "block (" in said
    if not shared:
        said = mistake(mistakes, kernel, np.int32(-size // 4 - 4), grid=3)
        assert "before the static shared memory" in said


def build_static(module: HostModule) -> int:
    """Bytes of static shared memory, as the error message gives them."""
    said = mistake(module, "behind_dynamic", np.int32(1), shared=128)
    return int(said.partition("(static ")[2].partition(",")[0])


def test_an_index_beyond_a_static_array(mistakes):
    out = np.zeros(32, np.float32)
    mistakes.launch("index_of_static", [np.int32(0), address(out)], grid=1, block=32)
    said = mistake(mistakes, "index_of_static", np.int32(1), out)
    assert "thread (31, 0, 0) of block (0, 0, 0) uses index 32 of an array 'float [32]'" in said
    assert said.endswith(line("index"))


def test_addresses_that_a_gpu_refuses(mistakes):
    x = aligned(np.zeros(16, np.float32))
    mistakes.launch("misaligned16", [address(x), address(x[8:])], grid=1, block=1)
    for pair in ((x[1:], x[8:]), (x, x[9:])):
        said = mistake(mistakes, "misaligned16", *pair, block=1)
        assert "uses the misaligned address" in said
        assert "must be a multiple of 16" in said
    raw = x.view(np.uint8)[2:34]
    assert "must be a multiple of 4" in mistake(mistakes, "misaligned4", raw, x, block=1)


def test_addresses_of_nobody(mistakes):
    import faulthandler

    out, there = np.zeros(1, np.int32), faulthandler.is_enabled()
    said = mistake(mistakes, "lost", np.uint64(64), out, block=1)
    assert said == "lost: thread (0, 0, 0) of block (0, 0, 0) uses the address 0x40, where there is no memory"
    mistakes.launch("recursive", [np.int32(10), address(out)], grid=1, block=1)
    said = mistake(mistakes, "recursive", np.int32(1000), out, block=33)
    assert "overflows its stack of 131072 bytes" in said
    mistakes.launch("recursive", [np.int32(10), address(out)], grid=1, block=1)
    assert faulthandler.is_enabled() == there


def test_arithmetic_that_c_leaves_undefined(mistakes):
    out = np.zeros(1, np.int64)
    mistakes.launch("offset", [np.int32(2**16), np.int32(2**14), address(out)], grid=1, block=1)
    assert out[0] == 2**30
    said = mistake(mistakes, "offset", np.int32(2**16), np.int32(2**15), out, block=1)
    assert f"computes 65536 * 32768, which 'int' cannot hold, at {line('offset')}" in said
    assert "computes 1 / 0" in mistake(mistakes, "divide", np.int32(1), np.int32(0), out, block=1)


def test_uninitialised_shared_memory_shows(mistakes):
    sums, tops = np.zeros(64, np.float32), np.zeros(64, np.float32)
    mistakes.launch("uninitialised", [address(sums), address(tops), np.int32(1)], grid=64, block=2)
    assert (np.isnan(sums) | (sums > 1e38)).all()
    assert (tops > 1e38).any()  # a maximum passes over NaN


def test_cluster_reads_that_no_gpu_allows(mistakes):
    x = np.zeros(2, np.float32)
    assert "an address outside its shared memory" in mistake(mistakes, "reads_outside", x, x, block=1)
    said = mistake(mistakes, "reads_beyond", x, block=1, grid=2, cluster=2)
    assert "reads from block 2 of a cluster of 2" in said


def test_assert(mistakes):
    said = mistake(mistakes, "asserts", np.int32(31))
    assert f"thread (31, 0, 0) of block (0, 0, 0) assert(threadIdx.x < n) failed at {line('assert')}" in said


# ---- Building ---------------------------------------------------------------------------------------


def write(folder: Path, code: str) -> Path:
    path = folder / "some.cu"
    path.write_text(code)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_compile_error_is_the_first_with_file_and_line(tmp_path, cache):
    path = write(tmp_path, 'extern "C" __global__ void k(int* x) {\n    x[0] = nowhere;\n    y;\n}\n')
    with pytest.raises(RuntimeError) as caught:
        HostModule(path)
    said = str(caught.value)
    assert said.startswith("some.cu does not compile for the CPU: ")
    assert "some.cu:2:12: error:" in said
    assert "nowhere" in said
    assert "\n" not in said
    assert not list(cache.rglob("*.so"))


def test_too_much_static_shared_memory(tmp_path, cache):
    path = write(tmp_path, 'extern "C" __global__ void k(int i, float* x) {\n'
                           '    __shared__ float a[12289];\n    a[i] = 1;\n    x[0] = a[2 * i];\n}\n')
    with pytest.raises(RuntimeError, match="k: 491.. bytes of static shared memory; a block has 49152"):
        HostModule(path).launch("k", [np.int32(0), np.uint64(0)], grid=1, block=1)


def test_cache_follows_sources_and_flags(tmp_path, cache):
    code = 'extern "C" __global__ void k(int* x) { x[0] = %s; }\n'
    (tmp_path / "part.cuh").write_text("#define N 5\n")
    seen = []

    def value(define: int = 0) -> int:
        out = np.zeros(1, np.int32)
        HostModule(tmp_path / "some.cu", {"M": define}).launch("k", [address(out)], grid=1, block=1)
        seen.append(len(list(cache.rglob("*.so"))))
        return int(out[0])

    write(tmp_path, '#include "part.cuh"\n' + code % "N + M")
    assert (value(), value(), value(2)) == (5, 5, 7)
    (tmp_path / "part.cuh").write_text("#define N 6\n")
    assert value() == 6
    write(tmp_path, code % "9")
    assert value() == 9
    assert seen == [1, 1, 2, 3, 4]
    assert not list(cache.rglob("build-*"))


def test_two_processes_build_at_once(tmp_path, cache):
    path = write(tmp_path, 'extern "C" __global__ void k(int* x) { x[threadIdx.x] = 3; }\n')
    code = ("import sys, numpy as np; from pathlib import Path; from kernels.cuda.host import HostModule\n"
            "x = np.zeros(4, np.int32)\n"
            "HostModule(Path(sys.argv[1])).launch('k', [np.uint64(x.ctypes.data)], grid=1, block=4)\n"
            "assert (x == 3).all()")
    running = [subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=Path(__file__).parents[2])
               for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert len(list(cache.rglob("*.so"))) == 1


def test_without_gxx(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler() is None
    with pytest.raises(HostUnavailable, match=r"^CUDA on the CPU needs g\+\+: install it, .*$"):
        HostModule(SOURCES / "features.cu")


def test_names_are_found_among_attributes_and_comments():
    text = """
    // __global__ void not_this(int);
    extern "C" __global__ void plain(int x) {}
    extern "C" __global__ void __launch_bounds__(256, 2) __cluster_dims__(N, 1, 1) decked(int x) { }
    extern "C" __global__ __launch_bounds__(f(1, 2)) void before(int x);
    extern __shared__ __align__(16) unsigned char pool[];
    extern __shared__ float row [ ];
    __shared__ float fixed[32];
    """
    assert build.kernels_in(text) == ["plain", "decked", "before"]
    assert build.dynamic_in(text) == ["pool", "row"]


def test_threads_take_turns(features):
    from concurrent.futures import ThreadPoolExecutor

    x = np.arange(256, dtype=np.float32)

    def one(seed: int) -> float:
        out = np.zeros(1, np.float32)
        features.launch("block_sum", [address(x), address(out), np.int32(1)], grid=1, block=256, seed=seed)
        return float(out[0])

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(one, range(64))) == {float(x.sum())}

