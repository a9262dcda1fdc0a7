"""GPT against Hugging Face's GPT-2: logits, gradients of all parameters, and fifty steps of AdamW."""

import dataclasses

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


@given(configs, st.booleans())
def test_the_number_of_parameters_is_known_before_they_are_made(config, bias):
    config = dataclasses.replace(config, bias=bias)
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


@pytest.mark.parametrize(("change", "message"), [
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
