"""Hugging Face's model folders, both directions: GPT-2 and Llama as `transformers` writes them.

    config.json                        sizes, and options that change what is computed
    model.safetensors, or several and model.safetensors.index.json
    tokenizer.json

What a configuration asks for and our models do not compute is refused by name. Nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minillm import nn
from minillm.autograd.devices import to_host
from minillm.errors import UserError
from minillm.text import BPETokenizer
from minillm.weights import Safetensors

from .fields import Fields, read_json
from .gpt import GPT, GPTConfig
from .huggingface_tokenizer import load_tokenizer, save_tokenizer, special_ids
from .llama import Llama, LlamaConfig
from .model_folder import CONFIG, WEIGHTS, new_folder, write_json, write_safetensors
from .slots import Slot, check_slots, fill, numbered


def load_huggingface(folder: str | os.PathLike[str]) -> tuple[GPT | Llama, BPETokenizer]:
    """The model and the tokenizer of a folder, as `save_pretrained` of `transformers` writes it.

    The tokenizer's `bos_id` and `eos_ids` are those of generation_config.json, else of config.json; ids
    that it does not have are left out, as no text can hold them.

    Raises:
        UserError: what `load_huggingface_model` and `text.load_tokenizer_json` refuse, a folder without
            tokenizer.json, or a tokenizer with more ids than the model has.
    """
    opened = _open(folder)
    tokenizer = load_tokenizer(Path(folder), opened.config)
    return _filled(opened), tokenizer


def load_huggingface_model(folder: str | os.PathLike[str]) -> GPT | Llama:
    """The model alone, in float32 and in eval mode. Its weights are read straight into its parameters.

    Raises:
        UserError: in one line, before anything large is allocated: a file is missing or damaged, the model
            is neither GPT-2 nor Llama, an option is not computed here, or sizes and tensors do not agree.
    """
    return _filled(_open(folder))


class _Opened(NamedTuple):
    """A folder whose configuration and tensors fit each other."""

    config: Fields
    kind: _Kind
    ours: Any
    weights: Safetensors
    slots: list[Slot]


def _open(folder: str | os.PathLike[str]) -> _Opened:
    config = read_json(Path(folder) / CONFIG)
    kind = config.text("model_type")
    if kind not in _KINDS:
        raise UserError(f"{config.where}: model_type = {kind!r} is not supported: use a model of type "
                        f"{' or '.join(_KINDS)}")
    found = _KINDS[kind]
    config.absent("quantization_config", "is_encoder_decoder", "add_cross_attention")
    ours = found.config(config)
    weights = Safetensors(folder)
    where = repr(str(folder))
    _check_tied_head(weights, config, found, where)
    ignored = frozenset(name for name in weights.tensors if found.ignored.fullmatch(name))
    slots = check_slots(found.slots(ours, _prefix(weights, found)), weights, where, CONFIG, ignored)
    return _Opened(config, found, ours, weights, slots)


def _filled(opened: _Opened) -> GPT | Llama:
    with nn.init.empty():
        model: GPT | Llama = opened.kind.model(opened.ours)
    fill(model, opened.slots, opened.weights)
    model.eval()
    return model


def save_huggingface(folder: str | os.PathLike[str], model: GPT | Llama,
                     tokenizer: BPETokenizer | None = None, *, overwrite: bool = False) -> None:
    """Write a model as `from_pretrained` of `transformers` reads it, whole or not at all.

    A GPT without biases is written with biases of zero: GPT-2 always has them.

    Args:
        folder: made if it is missing.
        model: a GPT or a Llama.
        tokenizer: None writes none.
        overwrite: replace the model that the folder holds.

    Raises:
        UserError: the folder is taken, or cannot be written.
        ValueError: the model is of another kind, GPT-2 or Llama has no such option, or the tokenizer is
            no BPETokenizer or has more ids than the model.
    """
    kind = next((kind for kind in _KINDS.values() if isinstance(model, kind.model)), None)
    if kind is None:
        raise ValueError(f"model is a {type(model).__name__}, which Hugging Face has no such model of: give "
                         f"one of {', '.join(kind.model.__name__ for kind in _KINDS.values())}")
    if tokenizer is not None and not isinstance(tokenizer, BPETokenizer):
        raise ValueError(f"tokenizer is a {type(tokenizer).__name__}, which tokenizer.json has no form for: "
                         "give a BPETokenizer, or None")
    c = model.config
    for field in dataclasses.fields(c):
        if field.name not in (*kind.known, "init") and getattr(c, field.name) != field.default:
            raise ValueError(f"config.{field.name} = {getattr(c, field.name)!r} has no counterpart in "
                             f"Hugging Face's {kind.name}: only {field.default!r} can be saved")
    if tokenizer is not None and tokenizer.vocab_size > c.vocab_size:
        raise ValueError(f"the tokenizer has {tokenizer.vocab_size} ids, but the model has vocab_size = "
                         f"{c.vocab_size}")
    parameters = {name: to_host(p.data) for name, p in model.named_parameters()}
    arrays = {}
    for slot in kind.slots(c, kind.prefix):
        p = parameters.get(slot.parameter)
        if p is None:  # a bias
            p = np.zeros(slot.shape, model.tokens.weight.dtype)
        arrays[slot.tensor] = p.T if slot.kind == "matrix" else p
    config = {"architectures": [kind.architecture], **kind.theirs(c), "vocab_size": c.vocab_size,
              "dtype": model.tokens.weight.dtype.name, **special_ids(tokenizer)}
    with new_folder(folder, overwrite) as new:
        write_json(new / CONFIG, config)
        write_safetensors(new / WEIGHTS, arrays, {"format": "pt"})
        if tokenizer is not None:
            save_tokenizer(new, tokenizer, c.block_size)


def _prefix(weights: Safetensors, kind: _Kind) -> str:
    """What stands before the names: GPT-2's own files have none, those of `save_pretrained` do."""
    return kind.prefix if any(name.startswith(kind.prefix) for name in weights.tensors) else ""


def _check_tied_head(weights: Safetensors, config: Fields, kind: _Kind, where: str) -> None:
    """A file may hold the output layer of a tied model too; it must be the table then."""
    head, table = "lm_head.weight", _prefix(weights, kind) + kind.table
    tied = config.flag("tie_word_embeddings", kind.tied)
    if tied and head in weights.tensors and table in weights.tensors \
            and not np.array_equal(weights.raw(head), weights.raw(table)):
        raise UserError(f"{where}: tensor '{head}' is not {table!r}, though {CONFIG} has "
                        "tie_word_embeddings = true: one of the two is wrong")


# ---- GPT-2

def _gpt_config(f: Fields) -> GPTConfig:
    f.only("activation_function", "gelu_new", "gelu_pytorch_tanh")
    f.only("scale_attn_weights", True)
    f.only("scale_attn_by_inverse_layer_idx", False)
    f.only("tie_word_embeddings", True)
    C, H = f.size("n_embd"), f.size("n_head")
    if f.size("n_inner", 4 * C) != 4 * C:
        raise UserError(f"{f.where}: n_inner = {f.get('n_inner')} is not what this model computes, only "
                        f"4 n_embd = {4 * C} is")
    if C % H:
        raise UserError(f"{f.where}: n_embd = {C} must be a multiple of n_head = {H}")
    dropout = f.get("resid_pdrop", 0.1)
    if type(dropout) not in (int, float) or not 0 <= dropout < 1:
        raise f.wrong("resid_pdrop", "in [0, 1)")
    return GPTConfig(f.size("vocab_size"), f.size("n_positions"), f.size("n_layer"), H, C, float(dropout),
                     norm_eps=f.positive("layer_norm_epsilon", 1e-5))


def _gpt_theirs(c: GPTConfig) -> dict[str, Any]:
    return {"model_type": "gpt2", "n_positions": c.block_size, "n_layer": c.n_layer, "n_head": c.n_head,
            "n_embd": c.n_embd, "n_inner": None, "activation_function": "gelu_new",
            "layer_norm_epsilon": c.norm_eps, "resid_pdrop": c.dropout, "embd_pdrop": c.dropout,
            "attn_pdrop": 0.0, "scale_attn_weights": True, "tie_word_embeddings": True}


def _gpt_slots(c: GPTConfig, prefix: str) -> Iterator[Slot]:
    """GPT-2's linear layers are (in, out), as ours are: its class for them is Conv1D."""
    C = ("n_embd", c.n_embd)
    wide, qkv = ("4 n_embd", 4 * c.n_embd), ("3 n_embd", 3 * c.n_embd)
    yield Slot("tokens.weight", f"{prefix}wte.weight", (("vocab_size", c.vocab_size), C))
    yield Slot("positions.weight", f"{prefix}wpe.weight", (("n_positions", c.block_size), C))
    parts: dict[str, Any] = {}
    for ours, theirs, shape in (("norm1", "ln_1", (C,)), ("attention.qkv", "attn.c_attn", (C, qkv)),
                                ("attention.output", "attn.c_proj", (C, C)), ("norm2", "ln_2", (C,)),
                                ("mlp.up", "mlp.c_fc", (C, wide)), ("mlp.down", "mlp.c_proj", (wide, C))):
        parts[f"{ours}.weight"] = f"{theirs}.weight", shape, "same"
        parts[f"{ours}.bias"] = f"{theirs}.bias", shape[-1:], "same"
    yield from numbered(c.n_layer, parts, prefix + "h.{}")
    yield Slot("norm.weight", f"{prefix}ln_f.weight", (C,))
    yield Slot("norm.bias", f"{prefix}ln_f.bias", (C,))


# ---- Llama

def _llama_config(f: Fields) -> LlamaConfig:
    f.only("hidden_act", "silu")
    f.absent("attention_bias", "mlp_bias", "sliding_window", "rope_interleaved")
    f.only("partial_rotary_factor", 1.0)
    C, H = f.size("hidden_size"), f.size("num_attention_heads")
    kv = f.size("num_key_value_heads", H)
    if H % kv:
        raise UserError(f"{f.where}: num_attention_heads = {H} must be a multiple of "
                        f"num_key_value_heads = {kv}")
    if f.get("head_dim") is None and C % H:
        raise UserError(f"{f.where}: hidden_size = {C} must be a multiple of num_attention_heads = {H}, or "
                        "head_dim be given")
    d = f.size("head_dim", C // H or None)
    if d % 2:
        raise UserError(f"{f.where}: head_dim = {d} must be even: rotary positions turn pairs")
    return LlamaConfig(f.size("vocab_size"), f.size("num_hidden_layers"), C, H, kv, d,
                       f.size("intermediate_size"), f.size("max_position_embeddings", 2048), _rope_base(f),
                       f.positive("rms_norm_eps", 1e-6), tied=f.flag("tie_word_embeddings", False))


def _rope_base(f: Fields) -> float:
    """The base, written as rope_theta until transformers 4, within rope_parameters since 5."""
    for name in ("rope_parameters", "rope_scaling"):
        given = f.get(name)
        if given is None:
            continue
        if not isinstance(given, dict):
            raise f.wrong(name, "an object")
        inner = Fields(given, f"{f.where}, {name}")
        inner.only("rope_type", "default")
        inner.only("type", "default")
        inner.only("partial_rotary_factor", 1.0)
        if "rope_theta" in given:
            return inner.positive("rope_theta")
    return f.positive("rope_theta", 10000.0)


def _llama_theirs(c: LlamaConfig) -> dict[str, Any]:
    return {"model_type": "llama", "hidden_size": c.n_embd, "intermediate_size": c.mlp_dim,
            "num_hidden_layers": c.n_layer, "num_attention_heads": c.n_head,
            "num_key_value_heads": c.kv_heads, "head_dim": c.d, "hidden_act": "silu",
            "max_position_embeddings": c.block_size, "rms_norm_eps": c.norm_eps, "rope_theta": c.rope_base,
            "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": c.tied}


def _llama_slots(c: LlamaConfig, prefix: str) -> Iterator[Slot]:
    V, C, F = ("vocab_size", c.vocab_size), ("hidden_size", c.n_embd), ("intermediate_size", c.mlp_dim)
    q = ("num_attention_heads * head_dim", c.n_head * c.d)
    kv = ("num_key_value_heads * head_dim", c.kv_heads * c.d)
    yield Slot("tokens.weight", f"{prefix}embed_tokens.weight", (V, C))
    yield from numbered(c.n_layer, {
        "norm1.weight": ("input_layernorm.weight", (C,), "same"),
        "attention.query.weight": ("self_attn.q_proj.weight", (q, C), "matrix"),
        "attention.key.weight": ("self_attn.k_proj.weight", (kv, C), "matrix"),
        "attention.value.weight": ("self_attn.v_proj.weight", (kv, C), "matrix"),
        "attention.output.weight": ("self_attn.o_proj.weight", (C, q), "matrix"),
        "norm2.weight": ("post_attention_layernorm.weight", (C,), "same"),
        "mlp.gate.weight": ("mlp.gate_proj.weight", (F, C), "matrix"),
        "mlp.up.weight": ("mlp.up_proj.weight", (F, C), "matrix"),
        "mlp.down.weight": ("mlp.down_proj.weight", (C, F), "matrix"),
    }, prefix + "layers.{}")
    yield Slot("norm.weight", f"{prefix}norm.weight", (C,))
    if not c.tied:
        yield Slot("output.weight", "lm_head.weight", (V, C), "matrix")


class _Kind(NamedTuple):
    """All that differs between the two."""

    name: str
    architecture: str
    model: Any
    config: Callable[[Fields], Any]
    theirs: Callable[[Any], dict[str, Any]]
    slots: Callable[[Any, str], Iterator[Slot]]
    prefix: str
    table: str
    tied: bool  # where config.json does not say
    ignored: re.Pattern[str]  # tensors without a parameter: masks and angles that are computed here
    known: tuple[str, ...]  # fields of our configuration that theirs has too


_KINDS = {
    "gpt2": _Kind(
        "GPT-2", "GPT2LMHeadModel", GPT, _gpt_config, _gpt_theirs, _gpt_slots, "transformer.", "wte.weight",
        True, re.compile(r"(transformer\.)?h\.\d+\.attn\.(masked_)?bias|lm_head\.weight"),
        ("vocab_size", "block_size", "n_layer", "n_head", "n_embd", "dropout", "bias", "norm_eps")),
    "llama": _Kind(
        "Llama", "LlamaForCausalLM", Llama, _llama_config, _llama_theirs, _llama_slots, "model.",
        "embed_tokens.weight", False, re.compile(r".*\.rotary_emb\.inv_freq|lm_head\.weight"),
        ("vocab_size", "n_layer", "n_embd", "n_head", "n_kv_head", "head_dim", "hidden_dim", "block_size",
         "rope_base", "norm_eps", "tied")),
}
