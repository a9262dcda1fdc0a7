"""Llama against Hugging Face's: logits and gradients of all parameters, with groups of heads and padding."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minillm import optim
from minillm.autograd.fused import softmax_cross_entropy
from minillm.models import Llama, LlamaConfig

NAMES = {"tokens.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight",
         "output.weight": "lm_head.weight"}
PARTS = {"norm1": "input_layernorm", "norm2": "post_attention_layernorm",
         "attention.query": "self_attn.q_proj", "attention.key": "self_attn.k_proj",
         "attention.value": "self_attn.v_proj", "attention.output": "self_attn.o_proj",
         "mlp.gate": "mlp.gate_proj", "mlp.up": "mlp.up_proj", "mlp.down": "mlp.down_proj"}


def their_name(name):
    if name in NAMES:
        return NAMES[name]
    _, layer, *part, _ = name.split(".")
    return f"model.layers.{layer}.{PARTS['.'.join(part)]}.weight"


def theirs_of(name, array):
    """Our (in, out) matrices are their (out, in); tables are alike."""
    return array.T if array.ndim == 2 and name != "tokens.weight" else array


def both(transformers, c, seed):
    rng = np.random.default_rng(seed)
    ours = Llama(c, rng=rng)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=c.vocab_size, hidden_size=c.n_embd, intermediate_size=c.mlp_dim, head_dim=c.d,
        num_hidden_layers=c.n_layer, num_attention_heads=c.n_head, num_key_value_heads=c.kv_heads,
        rms_norm_eps=c.norm_eps, max_position_embeddings=c.block_size, rope_theta=c.rope_base,
        tie_word_embeddings=c.tied, attn_implementation="eager"))
    state = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        p.data += 0.1 * rng.standard_normal(p.shape).astype(np.float32)
        with torch.no_grad():
            state[their_name(name)].copy_(torch.from_numpy(theirs_of(name, p.data).copy()))
    assert len(state) == len(ours.parameters())
    return ours, theirs.train()


configs = st.builds(
    lambda V, L, Hkv, G, d, F, tied, base: LlamaConfig(V, L, Hkv * G * d, Hkv * G, Hkv, None, F, 32, base,
                                                       tied=tied),
    st.integers(2, 60), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.sampled_from([2, 4, 6]),
    st.integers(1, 20), st.booleans(), st.sampled_from([1e4, 5e5]))


@settings(max_examples=25)
@given(config=configs, B=st.integers(1, 3), T=st.integers(1, 17), padded=st.booleans(),
       seed=st.integers(0, 2**32 - 1))
def test_logits_and_gradients_are_those_of_llama(transformers, config, B, T, padded, seed):
    ours, theirs = both(transformers, config, seed)
    rng = np.random.default_rng(seed)
    ids, labels = rng.integers(0, config.vocab_size, (2, B, T))
    mask, options = None, {}
    if padded:
        mask = np.arange(T) >= rng.integers(0, T, B)[:, None]  # (B, T), padding on the left
        labels[~mask] = -100
        positions = torch.from_numpy(np.maximum(mask.cumsum(1) - 1, 0))
        options = {"attention_mask": torch.from_numpy(mask.astype(int)), "position_ids": positions}
    logits = ours(ids, mask)
    wanted = theirs(torch.from_numpy(ids), **options).logits
    seen = np.ones((B, T), bool) if mask is None else mask
    assert_allclose(logits.numpy()[seen], wanted.detach().numpy()[seen], atol=1e-5, rtol=1e-5)
    softmax_cross_entropy(logits, labels).backward()
    torch.nn.functional.cross_entropy(wanted.flatten(0, 1), torch.from_numpy(labels).flatten()).backward()
    state = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        assert_allclose(theirs_of(name, p.grad), state[their_name(name)].grad.numpy(), atol=2e-5, rtol=1e-4,
                        err_msg=name)


def test_fifty_steps_of_adamw_follow_torch(transformers):
    ours, theirs = both(transformers, LlamaConfig(31, 2, 24, 4, 2, block_size=16), seed=1)
    options = {"lr": 1e-3, "weight_decay": 0.1}
    mine = optim.AdamW(ours.parameters(), **options)
    peer = torch.optim.AdamW(theirs.parameters(), **options)
    rng = np.random.default_rng(2)
    for _ in range(50):
        ids = rng.integers(0, 31, (4, 17))
        x, y = ids[:, :-1], ids[:, 1:]
        loss = softmax_cross_entropy(ours(x), y)
        mine.zero_grad()
        loss.backward()
        mine.step()
        wanted = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)).logits.flatten(0, 1),
                                                   torch.from_numpy(y).flatten())
        peer.zero_grad()
        wanted.backward()
        peer.step()
        assert abs(float(loss) - wanted.item()) < 1e-4


@given(configs, st.booleans())
def test_the_number_of_parameters_is_known_before_they_are_made(config, qk_norm):
    config = LlamaConfig(**{**config.__dict__, "qk_norm": qk_norm})
    assert Llama(config).n_params == config.n_params


def test_smollm2_has_135_million_parameters():
    config = LlamaConfig(49152, 30, 576, 9, 3, hidden_dim=1536, block_size=8192, rope_base=1e5, tied=True)
    assert config.n_params == 134_515_008
    wanted = 6 * 134_515_008 + 12 * 30 * 576 * 100  # tied: the table is multiplied too
    assert config.flops_per_token(100) == wanted
    untied = dataclasses.replace(config, tied=False)
    assert untied.flops_per_token(100) == wanted  # a second table, but the first is looked up


def test_the_cap_holds_the_logits(rng):
    config = LlamaConfig(11, 1, 8, 2)
    plain, capped = (Llama(dataclasses.replace(config, logit_softcap=c), rng=np.random.default_rng(0))
                     for c in (None, 0.03))
    ids = rng.integers(0, 11, (2, 6))
    wanted = 0.03 * np.tanh(plain(ids).numpy() / 0.03)
    assert_allclose(capped(ids).numpy(), wanted, atol=1e-7)
    assert np.abs(plain(ids).numpy()).max() > 0.03


def test_padding_changes_nothing(rng):
    model = Llama(LlamaConfig(11, 2, 16, 4, 2), rng=rng)
    ids = rng.integers(0, 11, (1, 6))
    padded = np.concatenate([np.full((1, 3), 7), ids], axis=1)
    mask = np.arange(9)[None] >= 3
    assert_allclose(model(padded, mask).numpy()[:, 3:], model(ids).numpy(), atol=1e-6)


def test_distances_count_and_not_positions(rng):
    """Rotary positions: the same tokens behind more padding have the same logits."""
    model = Llama(LlamaConfig(11, 1, 8, 2), rng=rng)
    ids = rng.integers(0, 11, (1, 4))
    plain = model(ids).numpy()
    for n in (1, 5):
        padded, mask = np.concatenate([np.zeros((1, n), int), ids], 1), np.arange(n + 4)[None] >= n
        assert_allclose(model(padded, mask).numpy()[:, n:], plain, atol=1e-6)


def test_qk_norm_makes_attention_blind_to_the_scale_of_queries(rng):
    model = Llama(LlamaConfig(11, 1, 8, 2, qk_norm=True, norm_eps=1e-12), rng=rng)
    ids = rng.integers(0, 11, (1, 6))
    before = model(ids).numpy()
    model.blocks[0].attention.query.weight.data *= 100
    assert_allclose(model(ids).numpy(), before, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("change", "message"), [
    ({"n_kv_head": 3}, "n_head = 4 must be a multiple of n_kv_head = 3"),
    ({"n_head": 3}, "n_embd = 128 must be a"),
    ({"head_dim": 5}, "head_dim = 5 must be even"), ({"init": "x"}, "init = 'x' must be one of gpt2, normal"),
    ({"logit_softcap": -1}, "logit_softcap = -1.0 must be > 0"),
    ({"n_layer": 0}, "n_layer = 0 must be at least 1")])
def test_sizes_that_no_model_has(change, message):
    with pytest.raises(ValueError, match=message):
        LlamaConfig(10, **change)


@pytest.mark.parametrize(("ids", "mask", "message"), [
    (np.zeros(3, int), None, r"ids must be \(B, T\)"), (np.zeros((1, 9), int), None, "ids has 9 positions"),
    (np.zeros((1, 4), int), np.ones((1, 3), bool), "mask must have the shape of ids")])
def test_ids_that_do_not_fit(ids, mask, message):
    with pytest.raises(ValueError, match=message):
        Llama(LlamaConfig(10, 1, 4, 1, block_size=8))(ids, mask)
