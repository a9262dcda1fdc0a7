"""torch's layers and ours compute the same from the same state dict, in both directions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import nn
from minillm.models.torch_layers import from_torch, to_torch
from minillm.weights import Safetensors

torch = pytest.importorskip("torch")

sizes, few = st.integers(1, 7), settings(max_examples=15)


def to_tensors(state):
    return {name: torch.from_numpy(a) for name, a in state.items()}


def randomised(module):
    """The same module with no weight at a value that an error could hide behind (0, 1)."""
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(0.5 * torch.randn_like(p))
    return module.eval()


def check_both_ways(theirs, ours, run_theirs, run_ours):
    """State over, outputs equal; fresh weights back, outputs equal; and the state unchanged on the way."""
    randomised(theirs)
    ours.eval()
    from_torch(theirs.state_dict(), ours)
    with torch.no_grad():
        np.testing.assert_allclose(run_ours(ours), run_theirs(theirs), rtol=1e-5, atol=1e-5)
    for p in ours.parameters():
        p.data[...] = np.random.default_rng(1).standard_normal(p.shape) / 2
    state = to_torch(ours)
    theirs.load_state_dict(to_tensors(state))
    with torch.no_grad():
        np.testing.assert_allclose(run_ours(ours), run_theirs(theirs), rtol=1e-5, atol=1e-5)
    before = {name: a.copy() for name, a in ours.state_dict().items()}
    from_torch(theirs.state_dict(), ours)
    for name, a in ours.state_dict().items():
        assert a.tobytes() == before[name].tobytes(), name


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@few
@given(sizes, sizes, st.booleans())
def test_linear(d, e, bias):
    x = numbers(3, d)
    check_both_ways(torch.nn.Linear(d, e, bias), nn.Linear(d, e, bias),
                    lambda m: m(torch.from_numpy(x)), lambda m: m(x).data)


@few
@given(sizes, sizes)
def test_embedding(v, d):
    ids = np.arange(v)[::-1].copy()
    check_both_ways(torch.nn.Embedding(v, d), nn.Embedding(v, d),
                    lambda m: m(torch.from_numpy(ids)), lambda m: m(ids).data)


@few
@given(st.integers(2, 9), st.booleans())
def test_norms(c, bias):
    x = numbers(3, c)
    check_both_ways(torch.nn.LayerNorm(c, bias=bias), nn.LayerNorm(c, bias=bias),
                    lambda m: m(torch.from_numpy(x)), lambda m: m(x).data)
    check_both_ways(torch.nn.RMSNorm(c, eps=1e-6), nn.RMSNorm(c),
                    lambda m: m(torch.from_numpy(x)), lambda m: m(x).data)


@few
@given(sizes, sizes, st.integers(1, 3))
def test_lstm(d, h, layers):
    x = numbers(2, 4, d)
    check_both_ways(torch.nn.LSTM(d, h, layers, batch_first=True), nn.LSTM(d, h, layers),
                    lambda m: m(torch.from_numpy(x))[0], lambda m: m(x)[0].data)


def test_an_lstm_layer_by_itself_and_one_without_biases():
    x, theirs, ours = numbers(2, 4, 3), randomised(torch.nn.LSTM(3, 5, bias=False, batch_first=True)), None
    ours = nn.LSTMLayer(3, 5)
    assert ours.b.data.any()
    from_torch(theirs.state_dict(), ours)
    assert not ours.b.data.any()
    np.testing.assert_allclose(ours(x)[0].data, theirs(torch.from_numpy(x))[0].detach(), atol=1e-6)


@few
@given(st.integers(1, 3), sizes, st.booleans())
def test_attention(heads, d, bias):
    C = heads * d
    x, memory = numbers(2, 3, C), numbers(2, 4, C)
    check_both_ways(torch.nn.MultiheadAttention(C, heads, bias=bias, batch_first=True),
                    nn.MultiHeadAttention(C, heads, bias=bias),
                    lambda m: m(*map(torch.from_numpy, (x, memory, memory)), need_weights=False)[0],
                    lambda m: m(x, memory).data)


options = st.fixed_dictionaries({"activation": st.sampled_from(["relu", "gelu"]), "norm_first": st.booleans(),
                                 "bias": st.booleans()})


@few
@given(st.integers(1, 3), sizes, sizes, options)
def test_encoder_and_decoder_layers(heads, d, f, options):
    C = heads * d
    x, memory = numbers(2, 3, C), numbers(2, 4, C)
    causal = torch.nn.Transformer.generate_square_subsequent_mask(3)
    check_both_ways(torch.nn.TransformerEncoderLayer(C, heads, f, batch_first=True, **options),
                    nn.TransformerEncoderLayer(C, heads, f, **options),
                    lambda m: m(torch.from_numpy(x)), lambda m: m(x).data)
    check_both_ways(torch.nn.TransformerDecoderLayer(C, heads, f, batch_first=True, **options),
                    nn.TransformerDecoderLayer(C, heads, f, **options),
                    lambda m: m(torch.from_numpy(x), torch.from_numpy(memory), causal),
                    lambda m: m(x, memory).data)


class Transformer(nn.Module):
    """The parts of torch's `nn.Transformer` under its names."""

    def __init__(self, C, H, L, F):
        def norm():
            return nn.LayerNorm(C)

        self.encoder = nn.TransformerEncoder([nn.TransformerEncoderLayer(C, H, F) for _ in range(L)], norm())
        self.decoder = nn.TransformerDecoder([nn.TransformerDecoderLayer(C, H, F) for _ in range(L)], norm())

    def forward(self, source, target):
        return self.decoder(target, self.encoder(source))


@pytest.mark.filterwarnings("ignore:.*nested_tensor")
def test_a_whole_transformer():
    source, target = numbers(2, 5, 6), numbers(2, 3, 6)
    causal = torch.nn.Transformer.generate_square_subsequent_mask(3)
    theirs = torch.nn.Transformer(6, 2, 2, 2, 8, batch_first=True)
    check_both_ways(theirs, Transformer(6, 2, 2, 8),
                    lambda m: m(torch.from_numpy(source), torch.from_numpy(target), tgt_mask=causal),
                    lambda m: m(source, target).data)
    encoder = Transformer(6, 2, 2, 8).encoder
    state = theirs.state_dict()
    with pytest.raises(ValueError, match=r"unknown \['decoder\."):
        from_torch(state, encoder)
    from_torch({n: a for n, a in state.items() if n.startswith("encoder.")}, encoder, "encoder.")
    np.testing.assert_allclose(encoder(source).data, theirs.encoder(torch.from_numpy(source)).detach(),
                               atol=1e-5)


def test_a_sequential_and_the_prefix():
    x = numbers(4, 3)
    check_both_ways(torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.LayerNorm(5), torch.nn.Linear(5, 2)),
                    nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2)),
                    lambda m: m(torch.from_numpy(x)), lambda m: m(x).data)
    assert list(to_torch(nn.Linear(2, 3), "a.b.")) == ["a.b.weight", "a.b.bias"]
    state = to_torch(nn.Linear(2, 3), "a.b.") | {"c": numbers(1)}
    from_torch(state, nn.Linear(2, 3), "a.b.")


def test_kinds_of_arrays(tmp_path):
    theirs, ours = randomised(torch.nn.Linear(3, 2)), nn.Linear(3, 2)
    exact = theirs.state_dict()
    from_torch(dict(theirs.named_parameters()), ours)  # they require a gradient
    assert (ours.weight.data == exact["weight"].numpy().T).all()
    from_torch({n: a.bfloat16() for n, a in exact.items()}, ours)
    assert (ours.weight.data == exact["weight"].bfloat16().float().numpy().T).all()
    wide = nn.Linear(3, 2, dtype=np.float64)
    from_torch({n: a.numpy() for n, a in exact.items()}, wide)
    assert wide.weight.dtype == np.float64
    assert to_torch(wide)["weight"].dtype == np.float64
    save = pytest.importorskip("safetensors.torch").save_file
    save(exact, tmp_path / "w.safetensors")
    torch.save(exact, tmp_path / "w.pt")
    from minillm.weights.torch_file import TorchFile
    for file in (Safetensors(tmp_path / "w.safetensors"), TorchFile(tmp_path / "w.pt")):
        ours.weight.data[...] = 0
        from_torch(file, ours)
        assert (ours.weight.data == exact["weight"].numpy().T).all()


def test_what_is_returned_is_a_copy():
    for layer in (nn.Linear(2, 3), nn.Embedding(2, 3), nn.LSTM(2, 3), nn.MultiHeadAttention(2, 1)):
        before = layer.state_dict()
        for a in to_torch(layer).values():
            assert a.flags.c_contiguous
            a[...] = 7
        assert all((a == before[n]).all() for n, a in layer.state_dict().items())


def state_of(module):
    return dict(module.state_dict())


T = torch.nn
MISTAKES = {
    "missing": (lambda: {"weight": numbers(2, 3)}, lambda: nn.Linear(3, 2),
                "the state does not fit Linear: missing ['bias'], unknown none"),
    "unknown": (lambda: {"weight": numbers(2, 3), "bias": numbers(2)}, lambda: nn.Linear(3, 2, False),
                "the state does not fit Linear: missing none, unknown ['bias']"),
    "shape": (lambda: {"weight": numbers(3, 2), "bias": numbers(2)}, lambda: nn.Linear(3, 2),
              "weight has shape (3, 2) in the state, but (2, 3) in Linear"),
    "dtype": (lambda: {"weight": numbers(2, 3).astype(int)}, lambda: nn.Linear(3, 2, False),
              "weight has dtype int64 in the state: weights are floats"),
    "half a bias": (lambda: {n: a for n, a in state_of(T.LSTM(1, 1)).items() if n != "bias_hh_l0"},
                    lambda: nn.LSTM(1, 1),
                    "the state does not fit LSTM: missing ['bias_hh_l0'], unknown none"),
    "bidirectional": (lambda: state_of(T.LSTM(1, 1, bidirectional=True)), lambda: nn.LSTM(1, 1),
                      "the state does not fit LSTM: missing none, unknown ['bias_hh_l0_reverse', "
                      "'bias_ih_l0_reverse', 'weight_hh_l0_reverse', 'weight_ih_l0_reverse']: our LSTM reads "
                      "in one direction"),
    "proj_size": (lambda: state_of(T.LSTM(3, 3, proj_size=2)), lambda: nn.LSTM(3, 3),
                  "the state does not fit LSTM: missing none, unknown ['weight_hr_l0']: our LSTM has no "
                  "proj_size"),
    "too many": (lambda: state_of(T.LSTM(1, 1, 3)), lambda: nn.LSTM(1, 1),
                 "the state does not fit LSTM: missing none, unknown ['bias_hh_l1', 'bias_hh_l2', "
                 "'bias_ih_l1', 'bias_ih_l2', 'weight_hh_l1', 'weight_hh_l2'] and 2 more"),
    "kdim": (lambda: state_of(T.MultiheadAttention(2, 1, kdim=3, vdim=3, bias=False)),
             lambda: nn.MultiHeadAttention(2, 1, bias=False),
             "the state does not fit MultiHeadAttention: missing ['in_proj_weight'], unknown "
             "['k_proj_weight', 'q_proj_weight', 'v_proj_weight']: our attention has no kdim and vdim"),
    "bias_kv": (lambda: state_of(T.MultiheadAttention(2, 1, add_bias_kv=True)),
                lambda: nn.MultiHeadAttention(2, 1),
                "the state does not fit MultiHeadAttention: missing none, unknown ['bias_k', 'bias_v']: our "
                "attention has no add_bias_kv"),
    "grouped": (dict, lambda: nn.MultiHeadAttention(4, 2, n_kv_head=1),
                "torch's nn.MultiheadAttention has neither grouped queries nor qk_norm, but this layer has "
                "n_head = 2, n_kv_head = 1, qk_norm = False"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_clear_line_and_changes_nothing(name):
    state, layer, line = MISTAKES[name]
    layer = layer()
    before = layer.state_dict()
    with pytest.raises(ValueError, match=r".") as caught:
        from_torch(state(), layer)
    assert str(caught.value) == line
    assert all((a == before[n]).all() for n, a in layer.state_dict().items())
