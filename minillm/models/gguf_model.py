"""Llama out of a GGUF file, with its tokenizer: weights dequantised once, to float32.

llama.cpp turns neighbours: numbers 2i and 2i + 1 of a head are a rotary pair. Here, as in `transformers`,
i goes with i + d/2. Its converter reorders the rows of the query and key matrices for that, and this
reader orders them back (github.com/ggml-org/llama.cpp, convert_hf_to_gguf.py, `permute`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from minillm import nn
from minillm.errors import UserError
from minillm.text import AddedToken, BPETokenizer
from minillm.weights import GGUF

from .fields import Fields
from .llama import Llama, LlamaConfig
from .slots import Slot, check_slots, fill, numbered

# The names that llama.cpp gives to ways of cutting a text into chunks -> ours
_PRE_TOKENIZERS = {"smollm": "digits", "gpt-2": "gpt2", "llama-bpe": "llama3", "llama3": "llama3"}
_CONTROL, _USER_DEFINED = 3, 4  # types of tokens that are cut out of a text whole


def load_gguf(path: str | os.PathLike[str]) -> tuple[Llama, BPETokenizer]:
    """The model, in eval mode, and its tokenizer.

    Raises:
        UserError: in one line, before anything large is allocated: the file is missing or damaged
            (`weights.GGUF`), its architecture is not llama, it has an option that is not computed here, its
            hyperparameters do not fit its tensors, or its tokenizer is not byte-level BPE.
    """
    file = GGUF(path)
    fields = Fields(file.metadata, repr(str(path)))
    architecture = fields.text("general.architecture")
    if architecture != "llama":
        raise UserError(f"{fields.where}: general.architecture = {architecture!r} is not supported: use a "
                        "GGUF of a Llama, such as SmolLM2")
    tokenizer = _tokenizer(fields)
    config = _config(fields, file, tokenizer.vocab_size)
    slots = check_slots(_slots(config), file, fields.where, "its metadata")
    with nn.init.empty():
        model = Llama(config)
    fill(model, slots, file)
    model.eval()
    return model, tokenizer


def _config(f: Fields, file: GGUF, n_tokens: int) -> LlamaConfig:
    f.only("llama.rope.scaling.type", "none")
    f.absent("llama.attention.sliding_window", "llama.expert_count")
    f.only("llama.attention.causal", True)
    if "rope_freqs.weight" in file.tensors:
        raise UserError(f"{f.where}: tensor 'rope_freqs.weight' scales the rotary angles, which is not "
                        "supported: use a model without it")
    C, H = f.size("llama.embedding_length"), f.size("llama.attention.head_count")
    kv = f.size("llama.attention.head_count_kv", H)
    if H % kv:
        raise UserError(f"{f.where}: llama.attention.head_count = {H} must be a multiple of "
                        f"llama.attention.head_count_kv = {kv}")
    if "llama.attention.key_length" not in f.values and C % H:
        raise UserError(f"{f.where}: llama.embedding_length = {C} must be a multiple of "
                        f"llama.attention.head_count = {H}")
    d = f.size("llama.attention.key_length", C // H or None)
    for name in ("llama.attention.value_length", "llama.rope.dimension_count"):
        if f.size(name, d) != d:
            raise UserError(f"{f.where}: {name} = {f.get(name)} is not the size of a head, {d}: this model "
                            "computes nothing else")
    if d % 2:
        raise UserError(f"{f.where}: a head of llama.attention has {d} numbers: rotary positions need an "
                        "even number")
    V = f.size("llama.vocab_size", n_tokens)
    if V < n_tokens:
        raise UserError(f"{f.where}: llama.vocab_size = {V}, but tokenizer.ggml.tokens has {n_tokens}")
    return LlamaConfig(V, f.size("llama.block_count"), C, H, kv, d, f.size("llama.feed_forward_length"),
                       f.size("llama.context_length"), _float32(f, "llama.rope.freq_base", 10000.0),
                       _float32(f, "llama.attention.layer_norm_rms_epsilon"),
                       tied="output.weight" not in file.tensors)


def _float32(f: Fields, name: str, default: float | None = None) -> float:
    """A number stored as float32, as the decimal that was meant: 1e-5, not 9.999999747378752e-06."""
    return float(str(np.float32(f.positive(name, default))))


def _slots(c: LlamaConfig) -> Iterator[Slot]:
    V, C = ("llama.vocab_size", c.vocab_size), ("llama.embedding_length", c.n_embd)
    F = ("llama.feed_forward_length", c.mlp_dim)
    q = ("llama.attention.head_count * head size", c.n_head * c.d)
    kv = ("llama.attention.head_count_kv * head size", c.kv_heads * c.d)
    yield Slot("tokens.weight", "token_embd.weight", (V, C))
    yield from numbered(c.n_layer, {
        "norm1.weight": ("attn_norm.weight", (C,), "same"),
        "attention.query.weight": ("attn_q.weight", (q, C), "pairs"),
        "attention.key.weight": ("attn_k.weight", (kv, C), "pairs"),
        "attention.value.weight": ("attn_v.weight", (kv, C), "matrix"),
        "attention.output.weight": ("attn_output.weight", (C, q), "matrix"),
        "norm2.weight": ("ffn_norm.weight", (C,), "same"),
        "mlp.gate.weight": ("ffn_gate.weight", (F, C), "matrix"),
        "mlp.up.weight": ("ffn_up.weight", (F, C), "matrix"),
        "mlp.down.weight": ("ffn_down.weight", (C, F), "matrix"),
    }, "blk.{}", c.d)
    yield Slot("norm.weight", "output_norm.weight", (C,))
    if not c.tied:
        yield Slot("output.weight", "output.weight", (V, C), "matrix")


def _tokenizer(f: Fields) -> BPETokenizer:
    f.only("tokenizer.ggml.model", "gpt2")
    pre = f.text("tokenizer.ggml.pre")
    if pre not in _PRE_TOKENIZERS:
        raise UserError(f"{f.where}: tokenizer.ggml.pre = {pre!r} is not supported: use a model with one of "
                        f"{', '.join(_PRE_TOKENIZERS)}")
    tokens, types, merges = (f.get(f"tokenizer.ggml.{name}") for name in ("tokens", "token_type", "merges"))
    if not _texts(tokens):
        raise UserError(f"{f.where}: tokenizer.ggml.tokens should be a list of texts")
    if not _texts(merges) or not all(merge.count(" ") == 1 for merge in merges):
        raise UserError(f"{f.where}: tokenizer.ggml.merges should be a list of pairs of tokens")
    if types is None:
        types = np.ones(len(tokens), np.int32)
    if not isinstance(types, np.ndarray) or types.shape != (len(tokens),):
        raise UserError(f"{f.where}: tokenizer.ggml.token_type should be a list of {len(tokens)} numbers, "
                        "one for each token")
    added = {int(i): AddedToken(tokens[i], special=bool(types[i] == _CONTROL))
             for i in np.flatnonzero((types == _CONTROL) | (types == _USER_DEFINED))}
    unknown = _token_id(f, "unknown_token_id", len(tokens))
    kind = _PRE_TOKENIZERS[pre]
    begin = _token_id(f, "bos_token_id", len(tokens))
    ends = [_token_id(f, f"{name}_token_id", len(tokens)) for name in ("eos", "eot", "eom")]
    # llama.cpp's own default: Llama 3 begins with its token, whether its file says so or not
    first = f.flag("tokenizer.ggml.add_bos_token", kind == "llama3" and begin is not None)
    last = f.flag("tokenizer.ggml.add_eos_token", False)
    for added_id, wanted, name in ((begin, first, "bos"), (ends[0], last, "eos")):
        if wanted and added_id is None:
            raise UserError(f"{f.where}: tokenizer.ggml.add_{name}_token is true, but there is no "
                            f"tokenizer.ggml.{name}_token_id")
    try:
        return BPETokenizer({token: i for i, token in enumerate(tokens)},
                            [(a, b) for a, b in (merge.split(" ") for merge in merges)], added,
                            pre_tokenizer=kind, whole_chunks=kind == "llama3",
                            add_prefix_space=f.flag("tokenizer.ggml.add_space_prefix", False),
                            unk_token=None if unknown is None else tokens[unknown], bos_id=begin,
                            eos_ids=list(dict.fromkeys(i for i in ends if i is not None)) or None,
                            prefix=[begin] if first and begin is not None else [],
                            suffix=[ends[0]] if last and ends[0] is not None else [])
    except ValueError as error:
        raise UserError(f"{f.where}: tokenizer.ggml is damaged ({error}): use another copy") from None


def _token_id(f: Fields, name: str, n_tokens: int) -> int | None:
    i = f.get(f"tokenizer.ggml.{name}")
    if i is not None and (type(i) is not int or not 0 <= i < n_tokens):
        raise f.wrong(f"tokenizer.ggml.{name}", f"in [0, {n_tokens})")
    return i


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
