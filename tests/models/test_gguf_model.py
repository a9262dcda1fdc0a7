"""Llama out of GGUF files: written here by another rule for the order of rows, and refused where they lie."""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from minillm.errors import UserError
from minillm.models import Llama, LlamaConfig, load_gguf, load_pretrained
from minillm.text import AddedToken, BPETokenizer
from minillm.weights import GGUF

sys.path.insert(0, str(Path(__file__).parents[1] / "weights"))
from weight_writers import ARRAY, BOOL, F32, I32, STRING, U32, gguf

TEXT = "the cat sat on the mat in 2024; the cat's hat. 人工智能的稳定性，人工智能。" * 4
CONFIG = LlamaConfig(300, 2, 48, 6, 2, 8, 40, 32, 500.0, 1e-4)
BASE = BPETokenizer.train(TEXT, vocab_size=298, special_tokens=["<|end|>", "<|mid|>"], pre_tokenizer="digits")
TOKENIZER = BPETokenizer({**BASE.vocab, "<tool>": 298, "<人>": 299},
                         BASE.merges, {**BASE.added, 298: AddedToken("<tool>", special=False),
                                       299: AddedToken("<人>")},
                         pre_tokenizer="digits", unk_token="<|end|>")


def neighbours(matrix, d):
    """Rows of heads so that numbers i and i + d/2 of a head, a rotary pair, come to stand side by side."""
    rows = []
    for head in range(len(matrix) // d):
        for i in range(d // 2):
            rows += [matrix[head * d + i], matrix[head * d + d // 2 + i]]
    return np.array(rows)


def named_tensors(model):
    """name -> array, as llama.cpp names and lays them out."""
    p, d = model.state_dict(), model.config.d
    tensors = {"token_embd.weight": p["tokens.weight"], "output_norm.weight": p["norm.weight"]}
    if "output.weight" in p:
        tensors["output.weight"] = p["output.weight"].T
    for i in range(model.config.n_layer):
        ours, theirs = f"blocks.{i}.", f"blk.{i}."
        tensors |= {
            theirs + "attn_norm.weight": p[ours + "norm1.weight"],
            theirs + "ffn_norm.weight": p[ours + "norm2.weight"],
            theirs + "attn_q.weight": neighbours(p[ours + "attention.query.weight"].T, d),
            theirs + "attn_k.weight": neighbours(p[ours + "attention.key.weight"].T, d),
            theirs + "attn_v.weight": p[ours + "attention.value.weight"].T,
            theirs + "attn_output.weight": p[ours + "attention.output.weight"].T,
            theirs + "ffn_gate.weight": p[ours + "mlp.gate.weight"].T,
            theirs + "ffn_up.weight": p[ours + "mlp.up.weight"].T,
            theirs + "ffn_down.weight": p[ours + "mlp.down.weight"].T}
    return tensors


def metadata_of(c, tokenizer=TOKENIZER):
    tokens = [token for token, _ in sorted(tokenizer.vocab.items(), key=lambda item: item[1])]
    types = [1] * len(tokens)
    for i, token in tokenizer.added.items():
        types[i] = 3 if token.special else 4
    return {
        "general.architecture": (STRING, "llama"), "llama.block_count": (U32, c.n_layer),
        "llama.context_length": (U32, c.block_size), "llama.embedding_length": (U32, c.n_embd),
        "llama.feed_forward_length": (U32, c.mlp_dim), "llama.attention.head_count": (U32, c.n_head),
        "llama.attention.head_count_kv": (U32, c.kv_heads), "llama.rope.freq_base": (F32, c.rope_base),
        "llama.attention.layer_norm_rms_epsilon": (F32, c.norm_eps), "llama.vocab_size": (U32, c.vocab_size),
        "llama.rope.dimension_count": (U32, c.d), "tokenizer.ggml.model": (STRING, "gpt2"),
        "tokenizer.ggml.pre": (STRING, "smollm"), "tokenizer.ggml.tokens": (ARRAY, (STRING, tokens)),
        "tokenizer.ggml.token_type": (ARRAY, (I32, types)), "tokenizer.ggml.add_space_prefix": (BOOL, False),
        "tokenizer.ggml.merges": (ARRAY, (STRING, [" ".join(pair) for pair in tokenizer.merges])),
        "tokenizer.ggml.unknown_token_id": (U32, 0)}


def file_of(path, metadata, tensors, kind="F32"):
    """A GGUF file: vectors in F32, matrices in `kind`."""
    stored = []
    for name, array in tensors.items():
        if array.ndim == 1 or kind == "F32":
            stored.append((name, "F32", array.shape, np.ascontiguousarray(array, "<f4").tobytes()))
        elif kind == "F16":
            stored.append((name, "F16", array.shape, np.ascontiguousarray(array, "<f2").tobytes()))
        elif kind == "BF16":
            bits = np.ascontiguousarray(array, "<f4").view("<u4") >> 16
            stored.append((name, "BF16", array.shape, bits.astype("<u2").tobytes()))
        else:  # Q8_0: 32 signed bytes share a scale
            blocks = np.ascontiguousarray(array, "<f4").reshape(-1, 32)
            scale = (np.abs(blocks).max(1, keepdims=True) / 127).astype("<f2")
            q = np.round(blocks / scale.astype("<f4")).clip(-127, 127).astype("i1")
            stored.append((name, "Q8_0", array.shape, np.hstack([scale.view("u1"), q.view("u1")]).tobytes()))
    path.write_bytes(gguf([(key, *value) for key, value in metadata.items()], stored))
    return path


def random_model(rng, c=CONFIG):
    model = Llama(c, rng=rng).eval()
    for p in model.parameters():
        p.data += 0.1 * rng.standard_normal(p.shape).astype(np.float32)
    return model


@pytest.mark.parametrize("tied", [False, True])
def test_the_model_in_the_file_is_the_one_that_was_written(rng, tmp_path, tied):
    c = LlamaConfig(**{**CONFIG.__dict__, "tied": tied})
    model = random_model(rng, c)
    path = file_of(tmp_path / "m.gguf", metadata_of(c), named_tensors(model))
    ours, tokenizer = load_pretrained(path)
    assert ours.config == c
    assert not ours.training
    assert_array_equal(ours(np.arange(12)[None]).numpy(), model(np.arange(12)[None]).numpy())
    for name, array in model.state_dict().items():
        assert_array_equal(ours.state_dict()[name], array, err_msg=name)
    assert tokenizer == TOKENIZER
    text = "the cat <tool><人> sat in 2024<|end|>"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def ids_in(**ids):
    return {f"tokenizer.ggml.{name}_token_id": (U32, i) for name, i in ids.items()}


def flags(**values):
    return {f"tokenizer.ggml.add_{name}_token": (BOOL, value) for name, value in values.items()}


LLAMA3 = {"tokenizer.ggml.pre": (STRING, "llama-bpe")}


@pytest.mark.parametrize(("change", "marks"), [
    ({}, {}),
    (ids_in(bos=1, eos=299), {"bos_id": 1, "eos_ids": (299,)}),
    ({**ids_in(bos=1, eos=299), **flags(bos=True, eos=True)},
     {"bos_id": 1, "eos_ids": (299,), "prefix": (1,), "suffix": (299,)}),
    (ids_in(eos=0, eot=299, eom=0), {"eos_ids": (0, 299)}),
    ({**ids_in(bos=1), **LLAMA3}, {"bos_id": 1, "prefix": (1,)}),
    ({**ids_in(bos=1), **LLAMA3, **flags(bos=False)}, {"bos_id": 1}),
    (LLAMA3, {})], ids=str)
def test_where_texts_begin_and_end(rng, tmp_path, change, marks):
    path = file_of(tmp_path / "m.gguf", {**metadata_of(CONFIG), **change}, named_tensors(random_model(rng)))
    _, tokenizer = load_gguf(path)
    found = {name: getattr(tokenizer, name) for name in ("bos_id", "eos_ids", "prefix", "suffix")}
    assert found == {"bos_id": None, "eos_ids": None, "prefix": (), "suffix": (), **marks}
    assert tokenizer.decode(tokenizer.encode("the cat")) == "the cat"


def test_transformers_with_the_rows_put_back_in_its_order(transformers, rng, tmp_path):
    c = CONFIG
    path = file_of(tmp_path / "m.gguf", metadata_of(c), named_tensors(random_model(rng)))
    ours, _ = load_gguf(path)
    theirs = llama_of_transformers(transformers, path, c)
    ids = rng.integers(0, c.vocab_size, (2, 20))
    with torch.no_grad():
        assert_allclose(ours(ids).numpy(), theirs(torch.from_numpy(ids)).logits.numpy(), atol=1e-5, rtol=1e-5)


def llama_of_transformers(transformers, path, c):
    """LlamaForCausalLM with the tensors of a GGUF file."""
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=c.vocab_size, hidden_size=c.n_embd, intermediate_size=c.mlp_dim,
        num_hidden_layers=c.n_layer, num_attention_heads=c.n_head, num_key_value_heads=c.kv_heads,
        head_dim=c.d, max_position_embeddings=c.block_size, rms_norm_eps=c.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": c.rope_base}, tie_word_embeddings=c.tied,
        bos_token_id=None, eos_token_id=None, attn_implementation="eager")).eval()
    state = dict(theirs.named_parameters())
    file = GGUF(path)
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
             "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
             "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    for name in file.tensors:
        *layer, part, _ = name.split(".")
        weight = file.read(name)
        if part in ("attn_q", "attn_k"):
            back = np.argsort(neighbours(np.arange(len(weight)), c.d))  # where each row has gone
            weight = weight[back]
        prefix = f"model.layers.{layer[1]}." if layer else ""
        with torch.no_grad():
            state.pop(f"{prefix}{names[part]}.weight").copy_(torch.from_numpy(weight))
    assert not state
    return theirs


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0"])
def test_other_types_are_dequantised_into_the_parameters(rng, tmp_path, kind):
    c = LlamaConfig(300, 1, 64, 4, 2, 16, 96, 32, tied=True)
    path = file_of(tmp_path / "m.gguf", metadata_of(c), named_tensors(random_model(rng, c)), kind)
    ours, _ = load_gguf(path)
    file = GGUF(path)
    assert_array_equal(ours.tokens.weight.data, file.read("token_embd.weight"))
    block = ours.blocks[0]
    assert_array_equal(block.mlp.down.weight.data, file.read("blk.0.ffn_down.weight").T)
    assert_array_equal(neighbours(block.attention.query.weight.data.T, c.d), file.read("blk.0.attn_q.weight"))
    assert_array_equal(neighbours(block.attention.key.weight.data.T, c.d), file.read("blk.0.attn_k.weight"))


def test_loading_takes_the_models_memory_once(rng, tmp_path):
    c = LlamaConfig(4096, 2, 256, 4, hidden_dim=512, block_size=32, tied=True)
    path = file_of(tmp_path / "m.gguf", metadata_of(c), named_tensors(Llama(c, rng=rng)), "Q8_0")
    load_gguf(path)
    tracemalloc.start()
    try:
        model, _ = load_gguf(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = 4 * model.n_params
    assert size < peak < size + (12 << 20)  # the largest parameter while it is made, a chunk, the tokenizer


# ---- what is not supported, and files that lie

def refused(rng, tmp_path, metadata=(), tensors=None, without=()):
    model = random_model(rng)
    entries = {**metadata_of(CONFIG), **dict(metadata)}
    entries = {key: value for key, value in entries.items() if key not in without}
    path = file_of(tmp_path / "m.gguf", entries, (tensors or (lambda t: t))(named_tensors(model)))
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            load_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message
    assert "m.gguf" in message
    return message


@pytest.mark.parametrize(("change", "words"), [
    ({"general.architecture": (STRING, "mamba")}, ["general.architecture = 'mamba' is not supported"]),
    ({"llama.block_count": (U32, 10**9)}, ["has no tensor 'blk.2.attn_norm.weight'"]),
    ({"llama.block_count": (U32, 1)}, ["9 tensor(s)", "blk.1."]),
    ({"llama.block_count": (U32, 0)}, ["llama.block_count is '0'"]),
    ({"llama.block_count": (STRING, "2")}, ["llama.block_count is '2', it should be a whole number"]),
    ({"llama.embedding_length": (U32, 6 * 10**8)},
     ["llama.rope.dimension_count = 8 is not the size of a head, 100000000"]),
    ({"llama.embedding_length": (U32, 49)}, ["49 must be a multiple of llama.attention.head_count = 6"]),
    ({"llama.feed_forward_length": (U32, 41)}, ["'blk.0.ffn_gate.weight' has the shape (40, 48)",
                                                "llama.feed_forward_length = 41"]),
    ({"llama.attention.head_count_kv": (U32, 4)}, ["a multiple of llama.attention.head_count_kv = 4"]),
    ({"llama.attention.head_count_kv": (U32, 3)}, ["'blk.0.attn_k.weight'", "kv * head size = 24"]),
    ({"llama.attention.head_count": (ARRAY, (U32, [6, 6]))}, ["llama.attention.head_count is"]),
    ({"llama.vocab_size": (U32, 2**31)}, ["llama.vocab_size is '2147483648'"]),
    ({"llama.vocab_size": (U32, 2**30)}, ["llama.vocab_size = 1073741824"]),
    ({"llama.vocab_size": (U32, 299)}, ["llama.vocab_size = 299, but tokenizer.ggml.tokens has 300"]),
    ({"llama.rope.dimension_count": (U32, 4)}, ["dimension_count = 4 is not the size of a head, 8"]),
    ({"llama.rope.freq_base": (F32, float("nan"))}, ["llama.rope.freq_base is 'nan'"]),
    ({"llama.rope.scaling.type": (STRING, "yarn")}, ["llama.rope.scaling.type = 'yarn'"]),
    ({"llama.expert_count": (U32, 8)}, ["llama.expert_count = '8' is not supported"]),
    ({"llama.attention.sliding_window": (U32, 8)}, ["llama.attention.sliding_window"]),
    ({"tokenizer.ggml.model": (STRING, "llama")}, ["tokenizer.ggml.model = 'llama'", "gpt2"]),
    ({"tokenizer.ggml.pre": (STRING, "qwen2")}, ["tokenizer.ggml.pre = 'qwen2' is not supported"]),
    ({"tokenizer.ggml.tokens": (U32, 3)}, ["tokenizer.ggml.tokens should be a list of texts"]),
    ({"tokenizer.ggml.tokens": (ARRAY, (STRING, ["a", "a"])),
      "tokenizer.ggml.token_type": (ARRAY, (I32, [1, 1]))},
     ["tokenizer.ggml is damaged"]),
    ({"tokenizer.ggml.token_type": (ARRAY, (I32, [1]))}, ["token_type should be a list of 300 numbers"]),
    ({"tokenizer.ggml.merges": (ARRAY, (STRING, ["abc"]))}, ["tokenizer.ggml.merges should be"]),
    ({"tokenizer.ggml.merges": (ARRAY, (STRING, ["q zz"]))}, ["tokenizer.ggml is damaged", "merges[0]"]),
    ({"tokenizer.ggml.unknown_token_id": (U32, 300)}, ["tokenizer.ggml.unknown_token_id is '300'"]),
    ({"tokenizer.ggml.bos_token_id": (U32, 300)}, ["tokenizer.ggml.bos_token_id is '300'"]),
    ({"tokenizer.ggml.eos_token_id": (STRING, "0")}, ["tokenizer.ggml.eos_token_id is '0'", "[0, 300)"]),
    ({"tokenizer.ggml.add_bos_token": (BOOL, True)}, ["add_bos_token is true", "no tokenizer.ggml.bos_"]),
    ({"tokenizer.ggml.add_eos_token": (BOOL, True)}, ["add_eos_token is true", "no tokenizer.ggml.eos_"]),
    ({"tokenizer.ggml.add_bos_token": (U32, 1)}, ["add_bos_token is '1', it should be true or false"]),
])
def test_metadata_that_lies_or_is_not_supported(rng, tmp_path, change, words):
    message = refused(rng, tmp_path, change)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("name", ["general.architecture", "llama.embedding_length", "llama.context_length",
                                  "llama.attention.layer_norm_rms_epsilon", "tokenizer.ggml.pre"])
def test_metadata_that_is_missing(rng, tmp_path, name):
    assert name in refused(rng, tmp_path, without=[name])


@pytest.mark.parametrize(("change", "words"), [
    (lambda t: {k: v for k, v in t.items() if k != "output_norm.weight"}, ["no tensor 'output_norm.weight'"]),
    (lambda t: {**t, "rope_freqs.weight": np.ones(4, np.float32)}, ["'rope_freqs.weight' scales"]),
    (lambda t: {**t, "blk.0.attn_q.bias": np.ones(48, np.float32)}, ["1 tensor(s)", "'blk.0.attn_q.bias'"]),
    (lambda t: {**t, "blk.1.attn_q.weight": t["blk.1.attn_q.weight"][:-8]},
     ["'blk.1.attn_q.weight' has the shape (40, 48)", "llama.attention.head_count * head size = 48"])])
def test_tensors_that_do_not_fit(rng, tmp_path, change, words):
    message = refused(rng, tmp_path, tensors=change)
    assert [word for word in words if word not in message] == []
