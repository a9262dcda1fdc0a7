"""What `batch_invariant` promises, op by op, as functions that assert it; a program that runs them all.

As a program it runs under settings that must be made before NumPy is imported: threads, BLAS kernels.
"""

from __future__ import annotations

import numpy as np

from minillm import Tensor, batch_invariant, formulas, lstm, no_grad
from minillm.autograd import fused

DTYPES = (np.float32, np.float64)


def assert_same_bits(a, b, note=""):
    a, b = (np.ascontiguousarray(x.data if isinstance(x, Tensor) else x) for x in (a, b))
    assert (a.dtype, a.shape) == (b.dtype, b.shape), note
    different = a.view(f"u{a.itemsize}") != b.view(f"u{b.itemsize}")
    assert not different.any(), f"{different.sum()} of {a.size} numbers differ: {note}"


def draw(rng, *shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def columns(x):
    """(N, C) -> (C, N), in C order: NumPy sums up along a lone column otherwise than down many."""
    return Tensor(np.ascontiguousarray(x.data.T))


# Functions of rows x (N, C), each with weights for C; C comes first, since the weights hang on it.
def row_functions(rng, C, dtype):
    W, V = draw(rng, C, 7, dtype=dtype), draw(rng, 5, C, dtype=dtype)
    b, gamma, column = draw(rng, 7, dtype=dtype), draw(rng, C, dtype=dtype), draw(rng, C, 1, dtype=dtype)
    cube = draw(rng, C, 2, 3, dtype=dtype)
    return {
        "matmul": lambda x: x @ W,
        "matmul with a transposed weight": lambda x: x @ Tensor(V).T,
        "matmul with one column": lambda x: x @ column,
        "matmul with a vector": lambda x: x @ gamma,
        "matmul with part of a weight": lambda x: x @ V.T[:, ::2],
        "dot": lambda x: np.dot(x, W),
        "tensordot": lambda x: np.tensordot(x, cube, 1),
        "einsum": lambda x: np.einsum("nc,cd->nd", x, W),
        "einsum of three": lambda x: np.einsum("nc,c,cd->nd", x, gamma, W),
        "einsum of one": lambda x: np.einsum("nc->n", x),
        "einsum of rows": lambda x: np.einsum("nc,nc->n", x, x),
        "sum": lambda x: x.sum(-1),
        "mean": lambda x: x.mean(-1, keepdims=True),
        "var": lambda x: x.var(-1),
        "std": lambda x: np.std(x, axis=-1),
        "prod": lambda x: x.prod(-1),
        "sum over the axis in front": lambda x: columns(x).sum(0),
        "mean over the axis in front": lambda x: columns(x).mean(0),
        "var over the axis in front": lambda x: columns(x).var(0),
        "prod over the axis in front": lambda x: columns(x).prod(0),
        "softmax": lambda x: formulas.softmax(x),
        "linear": lambda x: fused.linear(x, W, b),
        "layer norm": lambda x: fused.layer_norm(x, gamma, gamma),
        "layer norm of columns": lambda x: fused.layer_norm(Tensor(np.asfortranarray(x.data)), gamma),
        "rms norm": lambda x: fused.rms_norm(x, gamma),
        "gelu": lambda x: fused.gelu(x),
        "gelu tanh": lambda x: fused.gelu_tanh(x),
        "swiglu": lambda x: formulas.swiglu(x, x * 2),
        "rotation": lambda x: np.cos(formulas.rope_angles(x[:, 0], 6)),
    }


def check_rows(rng, N, C, dtype):
    """A row alone, some rows in their order, and the batch turned around: the same bits."""
    x = draw(rng, N, C, dtype=dtype)
    i = int(rng.integers(N))
    j = int(rng.integers(i, N)) + 1
    with batch_invariant(), no_grad():
        for name, f in row_functions(rng, C, dtype).items():
            whole = f(Tensor(x)).data
            assert_same_bits(f(Tensor(x[i:i + 1])), whole[i:i + 1], name)
            assert_same_bits(f(Tensor(x[i:j])), whole[i:j], name)
            assert_same_bits(f(Tensor(x[::-1])), whole[::-1], name)


def check_stacks(rng, B, T, C, dtype):
    """(B, T, C) is the same as its rows (T, C); a stack of right matrices is, too."""
    x, W, stack = (draw(rng, *s, dtype=dtype) for s in ((B, T, C), (C, 9), (B, C, 4)))
    with batch_invariant(), no_grad():
        together, own = Tensor(x) @ W, Tensor(x) @ stack
        batched = np.einsum("btc,bcd->btd", Tensor(x), stack)
        for b in range(B):
            assert_same_bits(Tensor(x[b]) @ W, together[b])
            assert_same_bits(Tensor(x[b]) @ stack[b], own[b])
            assert_same_bits(Tensor(x[b, -1]) @ stack[b], own[b, -1])
            assert_same_bits(np.einsum("btc,bcd->btd", Tensor(x[b:b + 1]), stack[b:b + 1]), batched[b:b + 1])


def check_lstm(rng, B, T, D, H, dtype):
    """A row alone, in two chunks, is the row of the batch in one."""
    x, h, c = (draw(rng, *s, dtype=dtype) for s in ((B, T, D), (B, H), (B, H)))
    weights = [draw(rng, *s, dtype=dtype) for s in ((D, 4 * H), (H, 4 * H), (4 * H,))]
    b, t = int(rng.integers(B)), int(rng.integers(T + 1))
    one = slice(b, b + 1)
    with batch_invariant(), no_grad():
        hs, last = lstm(x, h, c, *weights)
        first, middle = lstm(x[one, :t], h[one], c[one], *weights)
        second, end = lstm(x[one, t:], first[:, -1] if t else h[one], middle, *weights)
    assert_same_bits(np.concatenate([first.data, second.data], axis=1), hs.data[one])
    assert_same_bits(end, last.data[one])


def check_attention(rng, B, heads, S, d, e, dtype, softcap=None):
    """Causal attention with left padding: by row, without the padding, and by chunks behind a cache."""
    H, H_kv = heads
    q, k, v = (draw(rng, *s, dtype=dtype) for s in ((B, H, S, d), (B, H_kv, S, d), (B, H_kv, S, e)))
    start = rng.integers(0, S, B)
    mask = (np.arange(S) >= start[:, None])[:, None, None]  # (B, 1, 1, S)
    step = int(rng.integers(1, S + 1))
    with batch_invariant(), no_grad():
        whole = fused.attention(q, k, v, mask=mask, softcap=softcap).data
        for t in range(0, S, step):
            end = min(t + step, S)
            part = fused.attention(q[:, :, t:end], k[:, :, :end], v[:, :, :end], mask=mask[..., :end],
                                   softcap=softcap)
            assert_same_bits(part, whole[:, :, t:end], f"queries {t} to {end} of {S}")
        for b, s in enumerate(start):
            one = slice(b, b + 1)
            alone = fused.attention(q[one, :, s:], k[one, :, s:], v[one, :, s:], softcap=softcap)
            assert_same_bits(alone, whole[one, :, s:], f"row {b}, {s} of {S} are padding")
            newest = fused.attention(q[one, :, -1:], k[one, :, s:], v[one, :, s:], softcap=softcap)
            assert_same_bits(newest, whole[one, :, -1:], "the last query")


def check_cross_attention(rng, B, heads, T, S, d, dtype):
    """Padding behind the keys, a mask by head and query, and how many keys other rows have, do not matter."""
    H, H_kv = heads
    q, k, v = (draw(rng, *s, dtype=dtype) for s in ((B, H, T, d), (B, H_kv, S, d), (B, H_kv, S, d)))
    length = rng.integers(1, S + 1, B)
    mask = rng.random((B, H, T, S)) < 0.8
    mask[..., 0] = True  # no key before the first that is seen
    mask &= (np.arange(S) < length[:, None])[:, None, None]
    with batch_invariant(), no_grad():
        whole = fused.attention(q, k, v, causal=False, mask=mask).data
        for b, n in enumerate(length):
            one = slice(b, b + 1)
            alone = fused.attention(q[one], k[one, :, :n], v[one, :, :n], causal=False,
                                    mask=mask[one, ..., :n])
            assert_same_bits(alone, whole[one], f"row {b}, {n} of {S} keys")


def check_all(seed, rounds):
    rng = np.random.default_rng(seed)

    def up_to(n):
        return int(rng.integers(1, n + 1))

    for _ in range(rounds):
        for dtype in DTYPES:
            check_rows(rng, up_to(200), up_to(300), dtype)
            check_stacks(rng, up_to(5), up_to(20), up_to(100), dtype)
            check_lstm(rng, up_to(20), up_to(6), up_to(40), up_to(40), dtype)
            heads = [(1, 1), (4, 2), (6, 2), (3, 3)][up_to(4) - 1]
            check_attention(rng, up_to(4), heads, up_to(150), 2 * up_to(40), up_to(70), dtype)
            check_cross_attention(rng, up_to(4), heads, up_to(20), up_to(150), up_to(70), dtype)


if __name__ == "__main__":
    check_all(seed=0, rounds=10)
    print("ok")
