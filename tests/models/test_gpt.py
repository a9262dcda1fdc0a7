"""GPT against Hugging Face's GPT-2: logits, gradients of all parameters, and fifty steps of AdamW."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minillm import optim
from minillm.autograd.fused import softmax_cross_entropy
from minillm.models import GPT, GPTConfig

NAMES = {"tokens.weight": "transformer.wte.weight", "positions.weight": "transformer.wpe.weight",
         "norm.weight": "transformer.ln_f.weight", "norm.bias": "transformer.ln_f.bias"}
PARTS = {"norm1": "ln_1", "attention.qkv": "attn.c_attn", "attention.output": "attn.c_proj", "norm2": "ln_2",
         "mlp.up": "mlp.c_fc", "mlp.down": "mlp.c_proj"}


def their_name(name):
    if name in NAMES:
        return NAMES[name]
    _, layer, *part, kind = name.split(".")
    return f"transformer.h.{layer}.{PARTS['.'.join(part)]}.{kind}"


def both(transformers, config, seed):
    """A GPT, and Hugging Face's with the same parameters; large ones, so that differences would show."""
    rng = np.random.default_rng(seed)
    ours = GPT(config, rng=rng)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=config.vocab_size, n_positions=config.block_size, n_layer=config.n_layer,
        n_head=config.n_head, n_embd=config.n_embd, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
        layer_norm_epsilon=config.norm_eps, attn_implementation="eager"))
    state = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        p.data += 0.1 * rng.standard_normal(p.shape).astype(np.float32)
        with torch.no_grad():
            state[their_name(name)].copy_(torch.from_numpy(p.data))
    assert len(state) == len(ours.parameters())
    return ours, theirs.train()


configs = st.builds(
    lambda V, T, L, H, d: GPTConfig(V, T, L, H, H * d),
    st.integers(2, 60), st.integers(1, 17), st.integers(1, 3), st.integers(1, 4), st.integers(1, 6))


@settings(max_examples=25)
@given(config=configs, B=st.integers(1, 3), data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_logits_and_gradients_are_those_of_gpt2(transformers, config, B, data, seed):
    ours, theirs = both(transformers, config, seed)
    T = data.draw(st.integers(1, config.block_size))
    ids, labels = np.random.default_rng(seed).integers(0, config.vocab_size, (2, B, T))
    logits = ours(ids)
    wanted = theirs(torch.from_numpy(ids)).logits
    assert_allclose(logits.numpy(), wanted.detach().numpy(), atol=1e-5, rtol=1e-5)
    softmax_cross_entropy(logits, labels).backward()
    torch.nn.functional.cross_entropy(wanted.flatten(0, 1), torch.from_numpy(labels).flatten()).backward()
    state = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        assert_allclose(p.grad, state[their_name(name)].grad.numpy(), atol=2e-5, rtol=1e-4, err_msg=name)


def test_fifty_steps_of_adamw_follow_torch(transformers):
    ours, theirs = both(transformers, GPTConfig(31, 16, 2, 2, 24), seed=1)
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


@given(configs, st.booleans(), st.booleans(), st.sampled_from(["pre", "post"]))
def test_the_number_of_parameters_is_known_before_they_are_made(config, bias, qk_norm, norm):
    config = dataclasses.replace(config, bias=bias, qk_norm=qk_norm, norm=norm)
    assert GPT(config).n_params == config.n_params


def test_gpt2_small_has_124_million_parameters():
    config = GPTConfig(50257, 1024, 12, 12, 768)
    assert config.n_params == 124_439_808
    assert config.flops_per_token() == pytest.approx(6 * 123.65e6 + 12 * 12 * 768 * 1024, rel=1e-3)


def test_no_position_sees_a_later_one(rng):
    model = GPT(GPTConfig(11, 8, 2, 2, 8), rng=rng)
    ids = rng.integers(0, 11, (2, 8))
    changed = ids.copy()
    changed[:, 5:] = (changed[:, 5:] + 1) % 11
    assert_allclose(model(ids).numpy()[:, :5], model(changed).numpy()[:, :5], rtol=1e-6, atol=1e-9)


def test_one_seed_gives_one_model():
    one, two = (GPT(GPTConfig(11), rng=np.random.default_rng(3)).state_dict() for _ in range(2))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    residual = one["blocks.0.mlp.down.weight"].std() / one["blocks.0.mlp.up.weight"].std()
    assert residual == pytest.approx(1 / np.sqrt(8), rel=0.03)


def test_post_norm_is_torchs(rng):
    """One block behind embeddings, against the layer of Vaswani et al. in torch."""
    model = GPT(GPTConfig(11, 8, 1, 2, 8, norm="post"), rng=rng)
    for p in model.parameters():
        p.data += 0.3 * rng.standard_normal(p.shape).astype(np.float32)
    state = {name: torch.from_numpy(a.T.copy()) for name, a in model.blocks[0].state_dict().items()}
    peer = torch.nn.TransformerEncoderLayer(8, 2, 32, dropout=0.0, activation=functools.partial(
        torch.nn.functional.gelu, approximate="tanh"), batch_first=True)
    theirs = {"self_attn.in_proj": "attention.qkv", "self_attn.out_proj": "attention.output",
              "linear1": "mlp.up", "linear2": "mlp.down", "norm1": "norm1", "norm2": "norm2"}
    names = {f"{part}{'_' if 'in_proj' in part else '.'}{kind}": f"{own}.{kind}"
             for part, own in theirs.items() for kind in ("weight", "bias")}
    peer.load_state_dict({name: state[own] for name, own in names.items()})
    ids = rng.integers(0, 11, (2, 8))
    x = model.tokens.weight.data[ids] + model.positions.weight.data
    with torch.no_grad():
        hidden = peer(torch.from_numpy(x), src_mask=torch.nn.Transformer.generate_square_subsequent_mask(8),
                      is_causal=True)
    assert_allclose(model(ids).numpy(), hidden.numpy() @ model.tokens.weight.data.T, atol=1e-5)


def test_qk_norm_makes_attention_blind_to_the_scale_of_queries(rng):
    model = GPT(GPTConfig(11, 8, 1, 2, 8, qk_norm=True, bias=False, norm_eps=1e-12), rng=rng)
    ids = rng.integers(0, 11, (1, 6))
    before = model(ids).numpy()
    model.blocks[0].attention.qkv.weight.data[:, :16] *= 100
    assert_allclose(model(ids).numpy(), before, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("scheme", "up", "down", "table"), [
    ("gpt2", 0.02, 0.02 / 4, 0.02), ("normal", 0.02, 0.02, 0.02),
    ("glorot", math.sqrt(2 / 640), math.sqrt(2 / 640), 0.02),
    ("small", math.sqrt(2 / 640), 2 / (8 * math.sqrt(128)), math.sqrt(2 / 640))])
def test_initial_values_have_the_spread_of_their_scheme(scheme, up, down, table):
    state = GPT(GPTConfig(300, n_layer=8, init=scheme), rng=np.random.default_rng(3)).state_dict()
    for name, std in (("blocks.1.mlp.up", up), ("blocks.1.mlp.down", down), ("tokens", table)):
        assert state[f"{name}.weight"].std() == pytest.approx(std, rel=0.02)


@pytest.mark.parametrize(("change", "message"), [
    ({"norm": "both"}, "norm = 'both' must be one of pre, post"),
    ({"init": "x"}, "init = 'x' must be one of"),
    ({"softcap": 0.0}, "softcap = 0.0 must be > 0, or None"),
    ({"n_head": 3}, "n_embd = 128 must be a multiple of n_head = 3"),
    ({"dropout": 1.0}, "dropout = 1.0 is outside"),
    ({"n_layer": 0}, "n_layer = 0 must be at least 1")])
def test_sizes_that_no_model_has(change, message):
    with pytest.raises(ValueError, match=message):
        GPTConfig(10, **change)


@pytest.mark.parametrize(("ids", "message"), [
    (np.zeros(3, int), r"ids must be \(B, T\), not \(3,\)"),
    (np.zeros((1, 9), int), "ids has 9 positions, the model")])
def test_ids_that_do_not_fit(ids, message):
    with pytest.raises(ValueError, match=message):
        GPT(GPTConfig(10, 8, 1, 1, 4))(ids)
