"""The transformer's layers and stacks against torch's: outputs, gradients of inputs and all parameters."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minillm import Tensor, nn

OURS = {"encoder": nn.TransformerEncoderLayer, "decoder": nn.TransformerDecoderLayer}
THEIRS = {"encoder": torch.nn.TransformerEncoderLayer, "decoder": torch.nn.TransformerDecoderLayer}
STACKS = {"encoder": (nn.TransformerEncoder, torch.nn.TransformerEncoder),
          "decoder": (nn.TransformerDecoder, torch.nn.TransformerDecoder)}
NORMS = ("norm1", "norm2", "norm3")


def in_torch(layer, of=lambda p: p.data):
    """A layer's parameters (or what `of` reads from them) by torch's names, in torch's shapes."""
    state = {}
    for ours, theirs in (("self_attention", "self_attn"), ("cross_attention", "multihead_attn")):
        if (a := getattr(layer, ours, None)) is not None:
            state[f"{theirs}.in_proj_weight"] = np.concatenate(
                [of(m.weight).T for m in (a.query, a.key, a.value)])
            state[f"{theirs}.out_proj.weight"] = of(a.output.weight).T
            if a.output.bias is not None:
                state[f"{theirs}.in_proj_bias"] = np.concatenate(
                    [of(m.bias) for m in (a.query, a.key, a.value)])
                state[f"{theirs}.out_proj.bias"] = of(a.output.bias)
    for ours, theirs in (("up", "linear1"), ("down", "linear2"), *((n, n) for n in NORMS)):
        if (m := getattr(layer, ours, None)) is not None:
            state[f"{theirs}.weight"] = of(m.weight).T
            if m.bias is not None:
                state[f"{theirs}.bias"] = of(m.bias)
    return state


def stack_in_torch(stack, of=lambda p: p.data):
    state = {f"layers.{i}.{name}": a for i, layer in enumerate(stack.layers)
             for name, a in in_torch(layer, of).items()}
    return state | ({} if stack.norm is None else
                    {"norm.weight": of(stack.norm.weight), "norm.bias": of(stack.norm.bias)})


def load(theirs, state):
    theirs.load_state_dict({name: torch.tensor(a) for name, a in state.items()})


def shaken(module, rng):
    for p in module.parameters():
        p.data += 0.3 * rng.standard_normal(p.shape)
    return module


def same_gradients(found, theirs):
    wanted = dict(theirs.named_parameters())
    assert found.keys() == wanted.keys()
    for name, g in found.items():
        assert_allclose(g, wanted[name].grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("kind", OURS)
@settings(max_examples=30)
@given(B=st.integers(1, 3), T=st.integers(1, 5), S=st.integers(1, 6), H=st.integers(1, 3),
       d=st.integers(1, 4), F=st.integers(1, 9), norm_first=st.booleans(),
       activation=st.sampled_from(["relu", "gelu", "gelu_tanh"]), bias=st.booleans(), causal=st.booleans(),
       masked=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_layers_against_torch(kind, B, T, S, H, d, F, norm_first, activation, bias, causal, masked, seed):
    rng = np.random.default_rng(seed)
    options = {"norm_first": norm_first, "bias": bias}
    ours = shaken(OURS[kind](H * d, H, F, activation=activation, rng=rng, dtype=np.float64, **options), rng)
    theirs = THEIRS[kind](H * d, H, F, dropout=0, batch_first=True, dtype=torch.float64, activation={
        "relu": "relu", "gelu": "gelu",
        "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh")}[activation], **options)
    load(theirs, in_torch(ours))
    x, memory = rng.standard_normal((B, T, H * d)), rng.standard_normal((B, S, H * d))
    mask, memory_mask = (rng.random((B, n)) < 0.6 if masked else None for n in (T, S))
    triangle = torch.tensor(~np.tri(T, dtype=bool)) if causal else None
    if masked:
        mask[:, 0] = memory_mask[:, 0] = True  # torch makes nan of a query that sees nothing
    hidden, memory_hidden = (None if m is None else torch.tensor(~m) for m in (mask, memory_mask))
    (a, m), (a_, m_) = ([make(v) for v in (x, memory)] for make in (
        lambda v: Tensor(v, requires_grad=True), lambda v: torch.tensor(v, requires_grad=True)))
    if kind == "encoder":
        y = ours(a, mask, causal=causal)
        y_ = theirs(a_, src_mask=triangle, src_key_padding_mask=hidden)
    else:
        y = ours(a, m, mask=mask, memory_mask=memory_mask, causal=causal)
        y_ = theirs(a_, m_, tgt_mask=triangle, tgt_key_padding_mask=hidden,
                    memory_key_padding_mask=memory_hidden)
    assert_allclose(y.data, y_.detach().numpy(), rtol=1e-9, atol=1e-11)
    g = rng.standard_normal(y.shape)
    y.backward(g)
    y_.backward(torch.tensor(g))
    assert_allclose(a.grad, a_.grad.numpy(), rtol=1e-8, atol=1e-10)
    if kind == "decoder":
        assert_allclose(m.grad, m_.grad.numpy(), rtol=1e-8, atol=1e-10)
    same_gradients(in_torch(ours, lambda p: p.grad), theirs)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # torch has no quick way for some options
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_whole_transformer_against_torch(norm_first, activation, rng):
    """torch's nn.Transformer: a norm after the last layer of both stacks, whether pre-norm or post-norm."""
    C, H, F, L = 12, 3, 20, 2
    options = {"activation": activation, "norm_first": norm_first}
    encoder, decoder = (shaken(STACKS[kind][0](
        [OURS[kind](C, H, F, rng=rng, dtype=np.float64, **options) for _ in range(L)],
        nn.LayerNorm(C, dtype=np.float64)), rng) for kind in OURS)
    theirs = torch.nn.Transformer(C, H, L, L, F, dropout=0, batch_first=True, dtype=torch.float64, **options)
    load(theirs.encoder, stack_in_torch(encoder))
    load(theirs.decoder, stack_in_torch(decoder))
    source, target = rng.standard_normal((3, 7, C)), rng.standard_normal((3, 5, C))
    real = np.arange(7) < np.array([[7], [4], [1]])
    x, z = (Tensor(a, requires_grad=True) for a in (source, target))
    x_, z_ = (torch.tensor(a, requires_grad=True) for a in (source, target))
    y = decoder(z, encoder(x, real), memory_mask=real)
    hidden = torch.tensor(~real)
    y_ = theirs(x_, z_, tgt_mask=torch.tensor(~np.tri(5, dtype=bool)), src_key_padding_mask=hidden,
                memory_key_padding_mask=hidden)
    assert_allclose(y.data, y_.detach().numpy(), rtol=1e-9, atol=1e-11)
    g = rng.standard_normal(y.shape)
    y.backward(g)
    y_.backward(torch.tensor(g))
    assert_allclose(x.grad, x_.grad.numpy(), rtol=1e-8, atol=1e-10)
    assert_allclose(z.grad, z_.grad.numpy(), rtol=1e-8, atol=1e-10)
    same_gradients(stack_in_torch(encoder, lambda p: p.grad), theirs.encoder)
    same_gradients(stack_in_torch(decoder, lambda p: p.grad), theirs.decoder)


class Halves(nn.Module):
    """In the place of dropout: what it does is known, so that where it is done can be seen."""

    p = 0.0

    def forward(self, x):
        return 0.5 * x


class TorchHalves(torch.nn.Module):
    def forward(self, x):
        return 0.5 * x


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("norm_first", [True, False])
def test_dropout_is_where_torch_has_it(kind, norm_first, rng):
    ours = shaken(OURS[kind](8, 2, 10, norm_first=norm_first, rng=rng, dtype=np.float64), rng)
    theirs = THEIRS[kind](8, 2, 10, dropout=0, batch_first=True, norm_first=norm_first, dtype=torch.float64)
    load(theirs, in_torch(ours))
    x, memory = rng.standard_normal((2, 2, 4, 8))
    more = () if kind == "encoder" else (memory,)
    plain = ours(x, *more).data
    ours.dropout = Halves()
    for name in ("dropout", "dropout1", "dropout2", "dropout3"):
        if hasattr(theirs, name):
            setattr(theirs, name, TorchHalves())
    y = ours(x, *more, causal=False).data
    assert_allclose(y, theirs(*map(torch.tensor, (x, *more))).detach().numpy(), rtol=1e-9, atol=1e-11)
    assert not np.allclose(y, plain)


@pytest.mark.parametrize("kind", OURS)
def test_dropout_reaches_every_part_and_only_in_training(kind, rng):
    layer = OURS[kind](8, 2, 10, dropout=0.25, rng=rng)
    assert {name: part.p for name, part in parts(layer) if isinstance(part, nn.Dropout)} == {
        name: 0.25 for name in ("dropout", "self_attention.dropout", "cross_attention.dropout")
        if kind == "decoder" or "cross" not in name}
    x, memory = rng.standard_normal((2, 2, 4, 8)).astype(np.float32)
    more = () if kind == "encoder" else (memory,)
    assert not np.array_equal(layer(x, *more).data, layer(x, *more).data)
    layer.eval()
    assert_array_equal(layer(x, *more).data, layer(x, *more).data)


def parts(module, prefix=""):
    for name, part in module.children():
        yield prefix + name, part
        yield from parts(part, f"{prefix}{name}.")


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_decoder_reads_on_from_its_cache(norm_first, rng):
    C, L = 8, 2
    decoder = shaken(nn.TransformerDecoder(
        [nn.TransformerDecoderLayer(C, 4, 12, n_kv_head=2, norm_first=norm_first, rng=rng, dtype=np.float64)
         for _ in range(L)]), rng)
    x, memory = rng.standard_normal((2, 6, C)), rng.standard_normal((2, 5, C))
    real = np.arange(5) < [[5], [3]]
    cache, once = nn.KVCache(L, 2, 2, 6, 2, dtype=np.float64), decoder.keys_values(memory)
    parts = []
    for begin, end in ((0, 2), (2, 3), (3, 6)):
        parts.append(decoder(x[:, begin:end], once, memory_mask=real, cache=cache).data)
        cache.advance(end - begin)
    assert_allclose(np.concatenate(parts, axis=1), decoder(x, memory, memory_mask=real).data, rtol=1e-10,
                    atol=1e-12)


def test_options_reach_both_attentions(rng):
    layer = nn.TransformerDecoderLayer(8, 4, 8, n_kv_head=2, qk_norm=True, softcap=5.0, rng=rng)
    for a in (layer.self_attention, layer.cross_attention):
        assert (a.n_kv_head, a.softcap, a.key_norm.weight.shape) == (2, 5.0, (2,))


@pytest.mark.parametrize(("options", "message"), [
    ({"activation": "tanh"}, "activation = 'tanh' must be one of 'relu', 'gelu', 'gelu_tanh'"),
    ({"n_head": 3}, "dim = 8 must be a multiple of n_head = 3"),
    ({"dropout": 1.0}, "dropout p = 1.0 is outside")])
@pytest.mark.parametrize("kind", OURS)
def test_sizes_that_no_layer_has(kind, options, message):
    with pytest.raises(ValueError, match=message):
        OURS[kind](**{"dim": 8, "n_head": 2, "hidden_dim": 8, **options})
