"""Each format against a loop over its weights, written from ggml's definition, and against `gguf`."""

import importlib.util
import os
import struct
import tracemalloc

import numpy as np
import pytest
from weight_writers import GGML

from minillm.weights import FORMATS, dequantize

QUANTISED = [name for name in GGML if name.startswith("Q")]
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}

# ---- weight i of a block, as the C code has it: one at a time, float32 throughout


def half(block, at):
    return np.float32(struct.unpack_from("<e", block, at)[0])


def signed(byte):
    return byte - 256 if byte > 127 else byte


def nibble32(qs, i):
    """Of 16 bytes: weights 0 to 15 are their low halves, 16 to 31 their high ones."""
    return qs[i] & 15 if i < 16 else qs[i - 16] >> 4


def fifth_bit(block, at, i):
    return (struct.unpack_from("<I", block, at)[0] >> i) & 1


def q4_0(block, i):
    return half(block, 0) * np.float32(nibble32(block[2:], i) - 8)


def q4_1(block, i):
    return half(block, 0) * np.float32(nibble32(block[4:], i)) + half(block, 2)


def q5_0(block, i):
    return half(block, 0) * np.float32((nibble32(block[6:], i) | fifth_bit(block, 2, i) << 4) - 16)


def q5_1(block, i):
    q = nibble32(block[8:], i) | fifth_bit(block, 4, i) << 4
    return half(block, 0) * np.float32(q) + half(block, 2)


def q8_0(block, i):
    return half(block, 0) * np.float32(signed(block[2 + i]))


def scale_and_min(packed, j):
    """ggml's get_scale_min_k4."""
    if j < 4:
        return packed[j] & 63, packed[j + 4] & 63
    return (
        (packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4),
        (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4),
    )


def q4_k(block, i):
    group, place = divmod(i, 64)
    byte = block[16 + 32 * group + place % 32]
    scale, least = scale_and_min(block[4:16], i // 32)
    q = byte & 15 if place < 32 else byte >> 4
    return half(block, 0) * np.float32(scale) * np.float32(q) - half(block, 2) * np.float32(least)


def q5_k(block, i):
    group, place = divmod(i, 64)
    byte = block[48 + 32 * group + place % 32]
    q = byte & 15 if place < 32 else byte >> 4
    if block[16 + i % 32] & (1 << (i // 32)):
        q += 16
    scale, least = scale_and_min(block[4:16], i // 32)
    return half(block, 0) * np.float32(scale) * np.float32(q) - half(block, 2) * np.float32(least)


def q6_k(block, i):
    side, place = divmod(i, 128)
    quarter, l = divmod(place, 32)
    ql, qh = block[64 * side :], block[128 + 32 * side :]
    low = [ql[l] & 15, ql[l + 32] & 15, ql[l] >> 4, ql[l + 32] >> 4][quarter]
    q = (low | ((qh[l] >> (2 * quarter)) & 3) << 4) - 32
    scale = signed(block[192 + 8 * side + l // 16 + 2 * quarter])
    return half(block, 208) * np.float32(scale) * np.float32(q)


LOOPS = {"Q4_0": q4_0, "Q4_1": q4_1, "Q5_0": q5_0, "Q5_1": q5_1, "Q8_0": q8_0,
         "Q4_K": q4_k, "Q5_K": q5_k, "Q6_K": q6_k}


def random_blocks(rng, kind, *shape):
    """Random bytes, but scales of the size that weights have."""
    blocks = rng.integers(0, 256, (*shape, GGML[kind][2]), dtype=np.uint8)
    for at in HALVES.get(kind, []):
        scales = rng.normal(0, 0.1, (*shape, 1)).astype("<f2")
        blocks[..., at : at + 2] = scales.view(np.uint8)
    return blocks


def test_the_table_knows_ggmls_sizes():
    sizes = {name: (format.n_weights, format.n_bytes) for name, format in FORMATS.items()}
    assert sizes == {name: (weights, size) for name, (_, weights, size) in GGML.items()}


@pytest.mark.parametrize("kind", QUANTISED)
def test_every_weight_of_a_block_is_the_loops(kind, rng):
    blocks = random_blocks(rng, kind, 3, 4)
    n_weights = GGML[kind][1]
    weights = dequantize(blocks, kind)
    assert weights.shape == (3, 4 * n_weights)
    assert weights.dtype == np.float32
    expected = [LOOPS[kind](block.tobytes(), i) for block in blocks.reshape(12, -1) for i in range(n_weights)]
    assert np.array_equal(weights.ravel(), np.array(expected))
    assert len(np.unique(weights)) > 100  # not all alike


@pytest.mark.parametrize("kind", QUANTISED)
def test_extreme_bytes(kind):
    """All zero and all one bits: the largest q and scales, signs, and NaN scales without a warning."""
    blocks = np.repeat(np.array([[0], [255]], np.uint8), GGML[kind][2], axis=1)
    weights = dequantize(blocks[:, None], kind)
    assert np.array_equal(weights[0], np.zeros(GGML[kind][1]))
    assert np.isnan(weights[1]).all()  # 0xFFFF is a NaN
    for at in HALVES[kind]:
        blocks[1, at : at + 2] = np.array([1], "<f2").view(np.uint8)
    expected = [LOOPS[kind](blocks[1].tobytes(), i) for i in range(GGML[kind][1])]
    assert np.array_equal(dequantize(blocks[1:], kind), expected)


@pytest.mark.parametrize("kind", ["F32", "F16", "F64", "I8", "I16", "I32", "I64"])
def test_plain_types_are_read_as_they_are(kind, rng):
    dtype = np.dtype({"F": "float", "I": "int"}[kind[0]] + kind[1:])
    values = rng.integers(-100, 100, (4, 6)).astype(dtype)
    blocks = values.astype(dtype.newbyteorder("<")).view(np.uint8).reshape(4, 6, -1)
    assert np.array_equal(dequantize(blocks, kind), values.astype(np.float32))


def test_bfloat16_is_the_upper_half_of_a_float32():
    values = np.array([1.0, -2.5, 0.0, 3.0e38, 1e-40, np.inf], np.float32)
    bits = (values.view(np.uint32) >> 16).astype("<u2")
    read = dequantize(bits.view(np.uint8).reshape(6, 1, 2), "BF16")
    assert np.array_equal(read.view(np.uint32)[:, 0], values.view(np.uint32) & 0xFFFF0000)


def test_dtypes(rng):
    blocks = random_blocks(rng, "Q8_0", 2, 5)
    single = dequantize(blocks, "Q8_0")
    for dtype in (np.float16, np.float64):
        assert dequantize(blocks, "Q8_0", dtype).dtype == dtype
        assert np.array_equal(dequantize(blocks, "Q8_0", dtype), single.astype(dtype))
    large = np.full((1, 1, 4), 0x7F, np.uint8)
    large[..., 3] = 0x7E
    assert dequantize(large, "F32", np.float16) == np.inf  # beyond its range, and no warning


@pytest.mark.parametrize("kind", GGML)
def test_blocks_that_are_not_contiguous(kind, rng):
    blocks = random_blocks(rng, kind, 4, 6)
    for other in (blocks[::2, ::-1], np.asfortranarray(blocks[0]), blocks[:, 0]):
        assert np.array_equal(dequantize(other, kind), dequantize(other.copy("C"), kind), equal_nan=True)


def test_infinite_scales_give_no_warning():
    block = np.zeros((1, 1, 34), np.uint8)
    block[..., :2] = np.array([np.inf], "<f2").view(np.uint8)
    block[..., 2] = 1
    weights = dequantize(block, "Q8_0")[0]
    assert weights[0] == np.inf
    assert np.isnan(weights[1:]).all()  # inf * 0


def test_a_large_tensor_is_decoded_in_chunks(rng):
    blocks = random_blocks(rng, "Q4_K", 1, 20_000)  # 5 million weights
    tracemalloc.start()
    weights = dequantize(blocks, "Q4_K")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - weights.nbytes < 8 << 20
    for at in (0, 1023, 1024, 19_999):  # both sides of a chunk's edge
        assert np.array_equal(weights[0, 256 * at :][:256], dequantize(blocks[0, at : at + 1], "Q4_K"))


@pytest.mark.parametrize(
    ("blocks", "kind", "dtype", "error", "message"),
    [
        (np.zeros((1, 18), np.uint8), "Q9_9", np.float32, ValueError, "kind is 'Q9_9'"),
        (np.zeros((1, 18), np.int8), "Q4_0", np.float32, TypeError, "blocks has dtype int8"),
        (np.zeros((1, 17), np.uint8), "Q4_0", np.float32, ValueError, r"Q4_0 needs \(\.\.\., n_blocks, 18\)"),
        (np.zeros(18, np.uint8), "Q4_0", np.float32, ValueError, r"shape \(18,\)"),
        (np.zeros((1, 18), np.uint8), "Q4_0", np.int32, TypeError, "dtype is int32: give a floating type"),
    ],
)
def test_mistakes_are_named(blocks, kind, dtype, error, message):
    with pytest.raises(error, match=message):
        dequantize(blocks, kind, dtype)


# ---- the gguf package, ggml's own Python


@pytest.fixture(scope="module")
def gguf_package():
    if importlib.util.find_spec("gguf") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no gguf: pip install gguf")
    return pytest.importorskip("gguf")


@pytest.mark.parametrize("kind", [*QUANTISED, "BF16", "F16"])
def test_bit_for_bit_what_gguf_computes(kind, gguf_package, rng):
    number = gguf_package.GGMLQuantizationType(GGML[kind][0])
    assert number.name == kind
    blocks = random_blocks(rng, kind, 7, 33)
    with np.errstate(invalid="ignore"):  # F16 and BF16 of random bytes hold NaN
        theirs = gguf_package.quants.dequantize(blocks.reshape(7, -1), number)
    assert np.array_equal(dequantize(blocks, kind).view(np.uint32), theirs.astype(np.float32).view(np.uint32))


@pytest.mark.parametrize(
    ("kind", "error"), [("Q8_0", 0.007), ("Q5_0", 0.05), ("Q5_1", 0.05), ("Q4_0", 0.1), ("Q4_1", 0.1)]
)
def test_what_gguf_quantises_comes_back_near(kind, error, gguf_package, rng):
    """Not only the same numbers: the weights that went in, as near as the format's bits allow."""
    weights = rng.normal(size=(8, 256)).astype(np.float32)
    number = gguf_package.GGMLQuantizationType(GGML[kind][0])
    blocks = gguf_package.quants.quantize(weights, number).reshape(8, -1, GGML[kind][2])
    rms = np.sqrt(np.mean((dequantize(blocks, kind) - weights) ** 2))
    assert error / 5 < rms < error
