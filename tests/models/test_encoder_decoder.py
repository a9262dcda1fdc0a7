"""Both encoder-decoders: against torch, against themselves without padding and cache, and at work."""

import dataclasses
import importlib.util
import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minillm import optim
from minillm.autograd.fused import softmax_cross_entropy
from minillm.generate.batch import Batch
from minillm.generate.beam import beam_search
from minillm.models import (
    EncoderDecoder,
    LSTMEncoderDecoder,
    LSTMEncoderDecoderConfig,
    TransformerEncoderDecoder,
    TransformerEncoderDecoderConfig,
)

VS, VT = 11, 13
LSTM = LSTMEncoderDecoderConfig(VS, VT, 5, 6)
TRANSFORMER = TransformerEncoderDecoderConfig(VS, VT, 24, 2, 2, 8, 2)
CONFIGS = {
    "lstm additive": LSTM,
    "lstm dot": dataclasses.replace(LSTM, attention="dot", num_layers=2, bidirectional=False),
    "lstm general, fed": dataclasses.replace(LSTM, attention="general", num_layers=2, input_feeding=True),
    "transformer": TRANSFORMER,
    "transformer, all options": dataclasses.replace(
        TRANSFORMER, n_head=4, n_kv_head=2, norm_first=False, positions="learned", tied=False, qk_norm=True,
        softcap=3.0, activation="gelu", bias=False, final_norm=True, hidden_dim=10),
    "transformer, shared": dataclasses.replace(TRANSFORMER, source_vocab_size=VT, shared=True),
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def model_of(config, seed=0, dtype=np.float64):
    """With large parameters, so that each of them matters."""
    rng = np.random.default_rng(seed)
    model = EncoderDecoder.of(config, rng=rng, dtype=dtype)
    for p in model.parameters():
        p.data += 0.3 * rng.standard_normal(p.shape).astype(dtype)
    return model


def batch(rng, B=3, S=6, T=5):
    """source, target_in, and a mask with padding on the right: a whole row, and rows of 1 to S."""
    lengths = np.array([S, *rng.integers(1, S, B - 1)])
    return rng.integers(0, VS, (B, S)), rng.integers(0, VT, (B, T)), np.arange(S) < lengths[:, None]


# ---- against torch


def torch_stack(ours, kind, H, F, activation, norm_first):
    """torch's stack with the parameters of ours, and the gradients of ours by torch's names."""
    C = ours.layers[0].norm1.weight.shape[0]
    layer = getattr(torch.nn, f"Transformer{kind}Layer")(C, H, F, 0, activation, batch_first=True,
                                                         norm_first=norm_first, dtype=torch.float64)
    norm = None if ours.norm is None else torch.nn.LayerNorm(C, dtype=torch.float64)
    options = {"enable_nested_tensor": False} if kind == "Encoder" else {}
    theirs = getattr(torch.nn, f"Transformer{kind}")(layer, len(ours.layers), norm, **options)

    def state(of):
        s = {}
        for i, one in enumerate(ours.layers):
            for mine, name in (("self_attention", "self_attn"), ("cross_attention", "multihead_attn")):
                if (a := getattr(one, mine, None)) is not None:
                    three = (a.query, a.key, a.value)
                    s[f"layers.{i}.{name}.in_proj_weight"] = np.concatenate([of(m.weight).T for m in three])
                    s[f"layers.{i}.{name}.in_proj_bias"] = np.concatenate([of(m.bias) for m in three])
                    s[f"layers.{i}.{name}.out_proj.weight"] = of(a.output.weight).T
                    s[f"layers.{i}.{name}.out_proj.bias"] = of(a.output.bias)
            for mine, name in (("up", "linear1"), ("down", "linear2"), ("norm1", "norm1"), ("norm2", "norm2"),
                               ("norm3", "norm3")):
                if (m := getattr(one, mine, None)) is not None:
                    s[f"layers.{i}.{name}.weight"], s[f"layers.{i}.{name}.bias"] = of(m.weight).T, of(m.bias)
        if ours.norm is not None:
            s["norm.weight"], s["norm.bias"] = of(ours.norm.weight), of(ours.norm.bias)
        return s

    theirs.load_state_dict({name: torch.tensor(a) for name, a in state(lambda p: p.data).items()})
    return theirs, lambda: state(lambda p: p.grad)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_transformer_is_torch_s(norm_first, positions, tied, rng):
    config = dataclasses.replace(TRANSFORMER, norm_first=norm_first, positions=positions, tied=tied,
                                 activation="relu" if tied else "gelu", hidden_dim=10)
    model = model_of(config)
    C, H = config.n_embd, config.n_head
    source, target_in, mask = batch(rng)
    labels = rng.integers(0, VT, target_in.shape)
    (encoder, encoder_grads), (decoder, decoder_grads) = (
        torch_stack(stack, kind, H, 10, config.activation, norm_first)
        for stack, kind in ((model.encoder, "Encoder"), (model.decoder, "Decoder")))
    leaves = {name: torch.tensor(p.data, requires_grad=True) for name, p in model.named_parameters()
              if not name.startswith(("encoder.", "decoder."))}

    def embedded(ids, side):
        x = leaves[f"{side}_tokens.weight"][torch.tensor(ids)] * C**0.5
        if positions == "learned":
            return x + C**0.5 * leaves[f"{side}_positions.weight"][:ids.shape[1]]
        t, i = torch.arange(ids.shape[1], dtype=torch.float64)[:, None], torch.arange(0, C, 2)
        angle = t / 10000 ** (i / C)
        pe = torch.zeros(ids.shape[1], C, dtype=torch.float64)
        pe[:, 0::2], pe[:, 1::2] = torch.sin(angle), torch.cos(angle)
        return x + pe

    hidden = torch.tensor(~mask)
    memory = encoder(embedded(source, "source"), src_key_padding_mask=hidden)
    y = decoder(embedded(target_in, "target"), memory, memory_key_padding_mask=hidden,
                tgt_mask=torch.tensor(~np.tri(target_in.shape[1], dtype=bool)))
    wanted = y @ (leaves["target_tokens.weight"].T if tied else leaves["output.weight"])
    logits = model(source, target_in, mask)
    assert_allclose(logits.data, wanted.detach().numpy(), rtol=1e-8, atol=1e-10)
    softmax_cross_entropy(logits, labels).backward()
    torch.nn.functional.cross_entropy(wanted.flatten(0, 1), torch.tensor(labels).flatten()).backward()
    own = dict(model.named_parameters())
    for name, leaf in leaves.items():
        assert_allclose(own[name].grad, leaf.grad.numpy(), rtol=1e-7, atol=1e-9, err_msg=name)
    for theirs, grads in ((encoder, encoder_grads()), (decoder, decoder_grads())):
        for name, p in theirs.named_parameters():
            assert_allclose(grads[name], p.grad.numpy(), rtol=1e-7, atol=1e-9, err_msg=name)


class TorchLSTM(torch.nn.Module):
    """The same model as one would write it in torch: packed sequences, and attention step by step."""

    def __init__(self, c):
        super().__init__()
        H, options = c.hidden_dim, {"num_layers": c.num_layers, "batch_first": True}
        self.c = c
        self.source = torch.nn.Embedding(c.source_vocab_size, c.embedding_dim)
        self.target = torch.nn.Embedding(c.target_vocab_size, c.embedding_dim)
        self.encoder = torch.nn.LSTM(c.embedding_dim, H // 2 if c.bidirectional else H,
                                     bidirectional=c.bidirectional, **options)
        self.decoder = torch.nn.LSTM(c.embedding_dim + H * c.input_feeding, H, **options)
        self.query, self.key = torch.nn.Linear(H, H), torch.nn.Linear(H, H, bias=False)
        self.score = torch.nn.Parameter(torch.zeros(H))
        self.combine, self.output = torch.nn.Linear(2 * H, H), torch.nn.Linear(H, c.target_vocab_size)

    def load(self, ours):
        def fill(theirs, value):
            theirs.copy_(torch.tensor(value))

        def lstm(theirs, i, layer, reverse=""):
            for name, value in (("weight_ih", layer.W.data.T), ("weight_hh", layer.U.data.T),
                                ("bias_ih", layer.b.data), ("bias_hh", 0 * layer.b.data)):
                fill(getattr(theirs, f"{name}_l{i}{reverse}"), value)

        with torch.no_grad():
            fill(self.source.weight, ours.source_tokens.weight.data)
            fill(self.target.weight, ours.target_tokens.weight.data)
            for i, layer in enumerate(ours.encoder.forwards):
                lstm(self.encoder, i, layer)
            for i, layer in enumerate(ours.encoder.backwards):
                lstm(self.encoder, i, layer, "_reverse")
            for i, layer in enumerate(ours.decoder.layers):
                lstm(self.decoder, i, layer)
            for theirs, layer in ((self.combine, ours.combine), (self.output, ours.output),
                                  (self.query, ours.attention.query), (self.key, ours.attention.key)):
                if layer is not None:
                    fill(theirs.weight, layer.weight.data.T)
                    if layer.bias is not None:
                        fill(theirs.bias, layer.bias.data)
            if ours.attention.score is not None:
                fill(self.score, ours.attention.score.data)
        return self

    def forward(self, source, target_in, mask):
        c, lengths = self.c, mask.sum(1)
        packed = torch.nn.utils.rnn.pack_padded_sequence(self.source(source), lengths, batch_first=True,
                                                         enforce_sorted=False)
        states, (h, s) = self.encoder(packed)
        m, _ = torch.nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
        if c.bidirectional:
            h, s = (torch.cat([a[0::2], a[1::2]], -1) for a in (h, s))
        fed, logits = torch.zeros_like(h[0]), []
        for t in range(target_in.shape[1]):
            x = self.target(target_in[:, t])
            y, (h, s) = self.decoder((torch.cat([x, fed], -1) if c.input_feeding else x)[:, None], (h, s))
            q = y[:, 0]
            if c.attention == "additive":
                a = torch.tanh(self.query(q)[:, None] + self.key(m)) @ self.score
            else:
                a = ((self.key(m) if c.attention == "general" else m) @ q[:, :, None])[:, :, 0]
            p = a.masked_fill(~mask[:, :a.shape[1]], -torch.inf).softmax(-1)
            fed = torch.tanh(self.combine(torch.cat([(p[:, None] @ m)[:, 0], q], -1)))
            logits.append(self.output(fed))
        return torch.stack(logits, 1)


@settings(max_examples=20)
@given(attention=st.sampled_from(["additive", "dot", "general"]), bidirectional=st.booleans(),
       input_feeding=st.booleans(), layers=st.integers(1, 2), B=st.integers(1, 4), S=st.integers(2, 6),
       T=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_the_lstm_is_one_written_in_torch(attention, bidirectional, input_feeding, layers, B, S, T, seed):
    rng = np.random.default_rng(seed)
    config = LSTMEncoderDecoderConfig(VS, VT, 5, 6, layers, bidirectional, attention, input_feeding)
    model = model_of(config, seed)
    theirs = TorchLSTM(config).double().load(model)
    source, target_in, mask = batch(rng, B, S, T)
    labels = rng.integers(0, VT, (B, T))
    logits, wanted = model(source, target_in, mask), theirs(*map(torch.tensor, (source, target_in, mask)))
    assert_allclose(logits.data, wanted.detach().numpy(), rtol=1e-9, atol=1e-11)
    softmax_cross_entropy(logits, labels).backward()
    torch.nn.functional.cross_entropy(wanted.flatten(0, 1), torch.tensor(labels).flatten()).backward()
    pairs = {"source": (model.source_tokens.weight.grad, theirs.source.weight.grad),
             "target": (model.target_tokens.weight.grad, theirs.target.weight.grad)}
    for name in ("combine", "output", "query", "key"):
        layer = getattr(model, name, None) or getattr(model.attention, name, None)
        if layer is not None:
            pairs[name] = layer.weight.grad.T, getattr(theirs, name).weight.grad
    if model.attention.score is not None:
        pairs["score"] = model.attention.score.grad, theirs.score.grad
    stacks = {("encoder", ""): model.encoder.forwards, ("encoder", "_reverse"): model.encoder.backwards,
              ("decoder", ""): model.decoder.layers}
    for (side, reverse), stack in stacks.items():
        for i, layer in enumerate(stack):
            for ours, name in (("W", "weight_ih"), ("U", "weight_hh"), ("b", "bias_ih")):
                pairs[f"{side}.{i}.{ours}{reverse}"] = (getattr(layer, ours).grad.T, getattr(
                    getattr(theirs, side), f"{name}_l{i}{reverse}").grad)
    for name, (found, right) in pairs.items():
        assert_allclose(found, right.numpy(), rtol=1e-8, atol=1e-10, err_msg=name)


# ---- padding


@each_config
def test_a_padded_row_is_what_it_is_alone(config, rng):
    """Values, and gradients of all parameters; padding on the right."""
    model = model_of(config)
    source, target_in, mask = batch(rng)
    weights = rng.standard_normal((*target_in.shape, VT))
    together = model(source, target_in, mask)
    (together * weights).sum().backward()
    grads = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    for b, n in enumerate(mask.sum(1)):
        alone = model(source[b:b + 1, :n], target_in[b:b + 1])
        assert_allclose(together.data[b], alone.data[0], rtol=1e-10, atol=1e-12)
        (alone * weights[b:b + 1]).sum().backward()
    for name, p in model.named_parameters():
        assert_allclose(grads[name], p.grad, rtol=1e-9, atol=1e-11, err_msg=name)


@each_config
def test_it_does_not_matter_where_padding_is_and_what_it_holds(config, rng):
    model = model_of(config)
    source, target_in, mask = batch(rng)
    labels = rng.integers(0, VT, target_in.shape)
    wanted = model(source, target_in, mask)
    softmax_cross_entropy(wanted, labels).backward()
    grads = [p.grad for p in model.parameters()]
    wide, real = np.full((3, 9), -100), np.zeros((3, 9), bool)  # no ids at all where nothing is real
    for b, n in enumerate(mask.sum(1)):
        places = np.sort(rng.permutation(9)[:n])
        wide[b, places], real[b, places] = source[b, :n], True
    model.zero_grad()
    logits = model(wide, target_in, real)
    softmax_cross_entropy(logits, labels).backward()
    assert_allclose(logits.data, wanted.data, rtol=1e-12, atol=1e-13)
    for p, g in zip(model.parameters(), grads, strict=True):
        assert_allclose(p.grad, g, rtol=1e-11, atol=1e-12)


@each_config
def test_no_position_sees_a_later_one_and_all_see_the_source(config, rng):
    model = model_of(config)
    source, target_in, mask = batch(rng)
    before = model(source, target_in, mask).data
    target_in[:, 3:] = (target_in[:, 3:] + 1) % VT
    after = model(source, target_in, mask).data
    assert_array_equal(after[:, :3], before[:, :3])
    assert (np.abs(after[:, 3:] - before[:, 3:]).max(-1) > 1e-6).all()
    source[:, 0] = (source[:, 0] + 1) % VS
    assert (np.abs(model(source, target_in, mask).data - after).max(-1) > 1e-6).all()


# ---- token by token


@each_config
@settings(max_examples=15)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_token_by_token_as_all_at_once(config, data, seed):
    """Whatever the pieces, with padding of the source, and targets that begin at different places."""
    rng, model = np.random.default_rng(seed), model_of(config, seed)
    source, target_in, mask = batch(rng, T=7)
    start = np.array([0, *rng.integers(0, 4, 2)])
    cuts = [*sorted(data.draw(st.sets(st.integers(4, 6)))), 7]
    given_source = model.given(source, mask)
    cache = given_source.new_cache(3, 9, start)
    for begin, end in pairwise([0, *cuts]):
        logits = given_source.next_logits(target_in[:, begin:end], cache)
        assert not logits.requires_grad
        assert cache.length == end
        for b in range(3):
            wanted = model(source[b:b + 1], target_in[b:b + 1, start[b]:end], mask[b:b + 1]).data[0, -1]
            assert_allclose(logits.data[b], wanted, rtol=1e-8, atol=1e-10)


@each_config
def test_token_by_token_in_float32(config, rng):
    model = EncoderDecoder.of(config, rng=rng)
    source, target_in, mask = batch(rng, T=7)
    given_source = model.given(source, mask)
    cache = given_source.new_cache(3, 7)
    found = [given_source.next_logits(target_in[:, t:t + 1], cache).data for t in range(7)]
    assert found[0].dtype == np.float32
    assert_allclose(np.stack(found, axis=1), model(source, target_in, mask).data, atol=1e-5, rtol=0)


@each_config
def test_rows_taken_take_their_source_with_them(config, rng):
    model = model_of(config)
    source, target_in, mask = batch(rng)
    given_source = model.given(source, mask)
    cache = given_source.new_cache(3, 5)
    given_source.next_logits(target_in[:, :4], cache)
    rows = np.array([2, 0, 2, 1])
    cache.take(rows)
    assert cache.batch_size == 4
    wanted = model(source, target_in, mask).data[rows, -1]
    assert_allclose(given_source.next_logits(target_in[rows, 4:], cache).data, wanted, rtol=1e-9, atol=1e-11)
    again = given_source.new_cache(3, 5)  # the source itself is as it was
    wanted = model(source, target_in, mask).data[:, -1]
    assert_allclose(given_source.next_logits(target_in, again).data, wanted, rtol=1e-9, atol=1e-11)


@each_config
def test_generation_takes_it_for_a_language_model(config, rng):
    """A batch whose targets begin with more or fewer tokens and end at different steps; and a beam."""
    model = model_of(config).eval()
    source, _, mask = batch(rng)
    beginnings = [[1], [1, 2, 3], [1, 2]]
    together = Batch(model.given(source, mask), beginnings, 6, temperature=0, eos=[4, 8])
    list(together)
    for b, beginning in enumerate(beginnings):
        rows = slice(b, b + 1)
        alone = Batch(model.given(source[rows], mask[rows]), [beginning], 6, temperature=0, eos=[4, 8])
        list(alone)
        assert together.texts[b] == alone.texts[0]
        best = beam_search(model.given(source[rows], mask[rows]), beginning, 4, n_beams=5, eos=[4])[0]
        logits = model(source[rows], [beginning + best.ids[:-1]], mask[rows]).data[0, len(beginning) - 1:]
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        assert best.log_p == pytest.approx(log_p[np.arange(len(best.ids)), best.ids].sum(), abs=1e-9)


# ---- at work

BOS, EOS, V = 10, 11, 12


def digits(rng, n, order):
    """n strings of 1 to 7 digits, and what becomes of them; padded on the right."""
    lengths = rng.integers(1, 8, n)
    source, mask = rng.integers(0, 10, (n, 7)), np.arange(7) < lengths[:, None]
    labels, target_in = np.full((n, 8), -100), np.full((n, 8), EOS)
    for row, k in enumerate(lengths):
        labels[row, :k + 1] = [*order(source[row, :k]), EOS]
        target_in[row, :k + 1] = [BOS, *labels[row, :k]]
    return source, mask, target_in, labels


def exact(model, source, mask, labels):
    """The share of strings that greedy decoding gets right to the last digit."""
    given_source = model.given(source, mask)
    cache, ids, out = given_source.new_cache(len(source), 8), np.full((len(source), 1), BOS), []
    for _ in range(8):
        ids = given_source.next_logits(ids, cache).data.argmax(-1)[:, None]
        out.append(ids)
    return ((np.concatenate(out, axis=1) == labels) | (labels == -100)).all(axis=1).mean()


def backwards(x):
    return x[::-1]


@pytest.mark.parametrize(("config", "order", "B", "steps", "lr"), [
    (LSTMEncoderDecoderConfig(V, V, 32, 64), backwards, 32, 300, 1e-2),
    pytest.param(LSTMEncoderDecoderConfig(V, V, 32, 48, 1, False, "dot", True), np.sort, 32, 400, 1e-2,
                 marks=pytest.mark.slow),
    (TransformerEncoderDecoderConfig(V, V, 16, 1, 1, 48, 4, hidden_dim=96, positions="learned"), backwards,
     64, 450, 7e-3),
    pytest.param(TransformerEncoderDecoderConfig(V, V, 16, 1, 1, 64, 4, hidden_dim=128, norm_first=False),
                 backwards, 64, 1400, 2e-3, marks=pytest.mark.slow),
], ids=["lstm reverses", "lstm sorts", "transformer reverses", "post-norm transformer reverses"])
def test_they_learn(config, order, B, steps, lr):
    rng = np.random.default_rng(0)
    model = EncoderDecoder.of(config, rng=rng)
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=0)
    for step in range(steps):
        source, mask, target_in, labels = digits(rng, B, order)
        optimizer.lr = lr * min(1, (step + 1) / 50) * (1 - step / steps)
        loss = softmax_cross_entropy(model(source, target_in, mask), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    source, mask, _, labels = digits(np.random.default_rng(1), 500, order)
    assert exact(model.eval(), source, mask, labels) > 0.9


# ---- on a GPU, as far as a stand-in for one can tell


@pytest.fixture
def device(monkeypatch):
    """Arrays that never turn into NumPy's by themselves; see tests/autograd/device_array.py."""
    place = Path(__file__).parents[1] / "autograd" / "device_array.py"
    spec = importlib.util.spec_from_file_location("device_array", place)
    module = sys.modules.get("device_array") or importlib.util.module_from_spec(spec)
    if "device_array" not in sys.modules:
        monkeypatch.setitem(sys.modules, "device_array", module)
        spec.loader.exec_module(module)
    return module


@each_config
def test_they_compute_where_their_parameters_are(config, device, rng):
    model, moved = model_of(config), model_of(config)
    for p in moved.parameters():
        p.data = device.asarray(p.data)
    source, target_in, mask = batch(rng)
    weights = rng.standard_normal((*target_in.shape, VT))
    logits, wanted = moved(source, target_in, mask), model(source, target_in, mask)
    assert_allclose(logits.numpy(), wanted.data, rtol=1e-9, atol=1e-11)
    (logits * device.asarray(weights)).sum().backward()
    (wanted * weights).sum().backward()
    for (name, p), there in zip(model.named_parameters(), moved.parameters(), strict=True):
        assert_allclose(there.grad.get(), p.grad, rtol=1e-8, atol=1e-10, err_msg=name)
    given_source, start = moved.given(source, mask), np.array([0, 2, 1])
    cache = given_source.new_cache(3, 5, start)
    given_source.next_logits(target_in[:, :4], cache)
    cache.take([2, 0])
    after = given_source.next_logits(target_in[[2, 0], 4:], cache)
    for logit, b in zip(after.numpy(), (2, 0), strict=True):
        alone = model(source[b:b + 1], target_in[b:b + 1, start[b]:], mask[b:b + 1])
        assert_allclose(logit, alone.data[0, -1], rtol=1e-9, atol=1e-11)


# ---- sizes


@each_config
def test_the_number_of_parameters_is_known_before_they_are_made(config):
    assert EncoderDecoder.of(config).n_params == config.n_params


lstms = st.builds(LSTMEncoderDecoderConfig, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9),
                  st.sampled_from([2, 4, 10]), st.integers(1, 3), st.booleans(),
                  st.sampled_from(["additive", "dot", "general"]), st.booleans())
transformers = st.builds(
    lambda V, W, L, M, Hkv, G, d, F, **o: TransformerEncoderDecoderConfig(
        V, W, 9, L, M, Hkv * G * 2 * d, Hkv * G, Hkv, F, **o),
    st.integers(1, 9), st.integers(1, 9), *(st.integers(1, 3),) * 6, norm_first=st.booleans(),
    final_norm=st.sampled_from([None, True, False]), positions=st.sampled_from(["sinusoidal", "learned"]),
    tied=st.booleans(), bias=st.booleans(), qk_norm=st.booleans())


@given(lstms | transformers)
def test_the_number_of_parameters_for_any_sizes(config):
    assert EncoderDecoder.of(config).n_params == config.n_params


def test_vaswani_s_base_model_has_65_million_parameters():
    config = TransformerEncoderDecoderConfig(37000, 37000, 512, 6, 6, 512, 8, norm_first=False, shared=True,
                                             dropout=0.1)
    assert config.n_params == pytest.approx(65e6, rel=0.05)  # table 3; the paper does not say V to the unit
    # six operations a weight and token, and the table once, at the output
    assert config.flops(100, 100) == pytest.approx(6 * 100 * (config.n_params), rel=0.05)


def test_a_configuration_finds_its_model():
    assert isinstance(EncoderDecoder.of(LSTM), LSTMEncoderDecoder)
    assert isinstance(EncoderDecoder.of(TRANSFORMER), TransformerEncoderDecoder)
    with pytest.raises(TypeError, match="config is a dict, it must be one of LSTMEncoderDecoderConfig, Tran"):
        EncoderDecoder.of({})


def test_one_seed_gives_one_model():
    for config in (LSTM, TRANSFORMER):
        one, two = (EncoderDecoder.of(config, rng=np.random.default_rng(3)).state_dict() for _ in range(2))
        assert all(np.array_equal(one[name], two[name]) for name in one)


@each_config
def test_dropout_is_for_training(config, rng):
    model = EncoderDecoder.of(dataclasses.replace(config, dropout=0.3), rng=rng)
    source, target_in, mask = batch(rng)
    assert not np.array_equal(model(source, target_in, mask).data, model(source, target_in, mask).data)
    model.eval()
    assert_array_equal(model(source, target_in, mask).data, model(source, target_in, mask).data)


def taken(work):
    """Bytes of Python and NumPy at the peak of some work, and after it."""
    tracemalloc.start()
    try:
        kept = work()
        return tracemalloc.get_traced_memory()[::-1], kept
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("config", "B", "S", "T"), [
    (TransformerEncoderDecoderConfig(100, 100, 64, 3, 3, 128), 8, 64, 64),
    (TransformerEncoderDecoderConfig(100, 100, 128, 4, 1, 128, hidden_dim=256), 8, 128, 32),
    (TransformerEncoderDecoderConfig(100, 100, 128, 1, 4, 128), 8, 32, 128),
    (TransformerEncoderDecoderConfig(100, 100, 64, 2, 2, 128, activation="gelu"), 8, 64, 64),
    (TransformerEncoderDecoderConfig(100, 100, 64, 2, 2, 128, dropout=0.1), 8, 64, 64),
    (TransformerEncoderDecoderConfig(2000, 2000, 32, 2, 2, 64), 16, 32, 32),
    (LSTMEncoderDecoderConfig(100, 100), 16, 32, 32),
    (LSTMEncoderDecoderConfig(100, 100, num_layers=2, attention="dot", bidirectional=False), 16, 64, 32),
    (LSTMEncoderDecoderConfig(100, 100, attention="dot", input_feeding=True), 16, 32, 32),
    (LSTMEncoderDecoderConfig(2000, 2000, attention="general"), 16, 32, 32)])
def test_the_memory_is_what_was_estimated(config, B, S, T, rng):
    source, target = rng.integers(0, 100, (B, S)), rng.integers(0, 100, (B, T))

    def training():
        model = EncoderDecoder.of(config, rng=rng)
        optimizer = optim.AdamW(model.parameters(), lr=1e-3)
        for _ in range(2):  # the second has gradients and moments from the first
            loss = softmax_cross_entropy(model(source, target), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            del loss  # else the tape of one step is alive while the next is written

    def generation():
        given_source = EncoderDecoder.of(config, rng=rng).given(source)
        cache = given_source.new_cache(B, T)
        given_source.next_logits(target[:, :1], cache)
        return given_source, cache

    (peak, _), _ = taken(training)
    assert config.memory_bytes(B, S, T) == pytest.approx(peak, rel=0.2)
    (_, after), _ = taken(generation)  # what stays while it goes on
    assert config.memory_bytes(B, S, T, training=False) == pytest.approx(after, rel=0.1)


# ---- mistakes


@pytest.mark.parametrize(("config", "change", "message"), [
    (LSTM, {"hidden_dim": 7}, "hidden_dim = 7 must be even"),
    (LSTM, {"num_layers": 0}, "num_layers = 0 must be at least 1"),
    (LSTM, {"attention": "cosine"}, "attention = 'cosine' must be one of additive, dot, general"),
    (LSTM, {"dropout": 1.0}, "dropout = 1.0 is outside"),
    (LSTM, {"shared": True}, "shared needs one vocabulary, not source_vocab_size = 11 and target_vocab_si"),
    (TRANSFORMER, {"shared": True}, "shared needs one vocabulary"),
    (TRANSFORMER, {"n_head": 3}, "n_embd = 8 must be a multiple of n_head = 3"),
    (TRANSFORMER, {"n_kv_head": 3}, "n_head = 2 must be a multiple of n_kv_head = 3"),
    (TRANSFORMER, {"n_embd": 9, "n_head": 3}, "n_embd = 9 must be even: sinusoidal"),
    (TRANSFORMER, {"positions": "rotary"}, "positions = 'rotary' must be one of sinusoidal, learned"),
    (TRANSFORMER, {"activation": "tanh"}, "activation = 'tanh' must be one of relu, gelu, gelu_tanh"),
    (TRANSFORMER, {"softcap": 0.0}, "softcap = 0.0 must be > 0"),
    (TRANSFORMER, {"n_decoder_layer": 0}, "n_decoder_layer = 0 must be at least 1")])
def test_sizes_that_no_model_has(config, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config, **change)


@pytest.mark.parametrize("config", [LSTM, TRANSFORMER], ids=["lstm", "transformer"])
@pytest.mark.parametrize(("source", "target_in", "mask", "message"), [
    (np.zeros(3, int), np.zeros((1, 2), int), None, r"source must be \(B, S\) with a token in each row, not"),
    (np.zeros((1, 0), int), np.zeros((1, 2), int), None, r"source must be \(B, S\) with a token in each row"),
    (np.zeros((2, 3), int), np.zeros((1, 2), int), None, r"target_in must be \(2, T\) with T at least 1"),
    (np.zeros((2, 3), int), np.zeros((2, 0), int), None, r"target_in must be \(2, T\) with T at least 1"),
    (np.zeros((2, 3), int), np.zeros((2, 2), int), np.ones((2, 4), bool), "source_mask must have the shape"),
    (np.zeros((2, 3), int), np.zeros((2, 2), int), np.ones((2, 3), bool) & [[True], [False]],
     r"source_mask\[1\] marks no token as real"),
    (np.full((2, 3), VS), np.zeros((2, 2), int), None, r"ids\[0, 0\] = 11 is outside \[0, 11\)")])
def test_inputs_that_do_not_fit(config, source, target_in, mask, message):
    with pytest.raises(ValueError, match=message):
        EncoderDecoder.of(config)(source, target_in, mask)


@pytest.mark.parametrize("config", [LSTM, TRANSFORMER], ids=["lstm", "transformer"])
def test_a_cache_that_does_not_fit(config):
    model = EncoderDecoder.of(config)
    with pytest.raises(TypeError, match="source_mask must be boolean"):
        model.given(np.zeros((2, 3), int), np.ones((2, 3)))
    given_source = model.given(np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="batch_size = 3 must be the source's number of rows, 2"):
        given_source.new_cache(3, 5)
    cache = given_source.new_cache(2, 5)
    with pytest.raises(ValueError, match=r"ids must be \(2, T\)"):
        given_source.next_logits(np.zeros((3, 1), int), cache)
    with pytest.raises(ValueError, match=r"rows = \[2\] must lie in \[0, 2\)"):
        cache.take([2])


def test_longer_than_a_transformer_can_read():
    model = EncoderDecoder.of(TRANSFORMER)
    with pytest.raises(ValueError, match="source has 25 positions, the model block_size = 24"):
        model.given(np.zeros((1, 25), int))
    given_source = model.given(np.zeros((1, 3), int))
    assert given_source.max_length == 24
    with pytest.raises(ValueError, match="max_length = 25 is beyond the model's block_size = 24"):
        given_source.new_cache(1, 25)
    with pytest.raises(ValueError, match="there is no room for 3 more"):
        given_source.next_logits(np.zeros((1, 3), int), given_source.new_cache(1, 2))
    assert EncoderDecoder.of(LSTM).given(np.zeros((1, 3), int)).max_length is None


def test_a_target_of_padding_alone_has_no_next_token():
    given_source = EncoderDecoder.of(LSTM).given(np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="row 1 is all padding"):
        given_source.next_logits(np.zeros((2, 2), int), given_source.new_cache(2, 5, [0, 2]))
