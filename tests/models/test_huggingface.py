"""Hugging Face's folders: what `transformers` writes is read here, and the other way round."""

import json
import tracemalloc

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from minillm.errors import UserError
from minillm.models import (
    GPT,
    GPTConfig,
    Llama,
    LlamaConfig,
    LSTMConfig,
    LSTMLanguageModel,
    load_huggingface,
    load_huggingface_model,
    load_pretrained,
    save_huggingface,
)
from minillm.text import BPETokenizer, ByteTokenizer, CharTokenizer, save_tokenizer_json

GPT2 = {"vocab_size": 43, "n_positions": 16, "n_layer": 2, "n_head": 3, "n_embd": 12, "bos_token_id": None,
        "eos_token_id": None}
LLAMA = {"vocab_size": 43, "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 2,
         "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 16,
         "bos_token_id": None, "eos_token_id": None, "rms_norm_eps": 1e-4}
KINDS = {"gpt2": GPT2, "llama": LLAMA, "llama, tied": {**LLAMA, "tie_word_embeddings": True},
         "llama, wide heads": {**LLAMA, "head_dim": 10},
         "llama, no groups": {**LLAMA, "num_key_value_heads": 6},
         "llama, base": {**LLAMA, "rope_parameters": {"rope_type": "default", "rope_theta": 300.0}}}
TEXT = "the cat sat on the mat; the cat's hat. 人工智能的稳定性，人工智能。" * 4


def their_model(transformers, kind, seed=0):
    torch.manual_seed(seed)
    name = "GPT2" if kind == "gpt2" else "Llama"
    config = getattr(transformers, f"{name}Config")(**KINDS[kind], attn_implementation="eager")
    model = getattr(transformers, "GPT2LMHeadModel" if name == "GPT2" else "LlamaForCausalLM")(config)
    with torch.no_grad():  # large weights, and biases and norms that are not 0 and 1: differences show
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model.eval()


@pytest.fixture(params=sorted(KINDS))
def theirs(request, transformers, tmp_path):
    model = their_model(transformers, request.param)
    model.save_pretrained(tmp_path / "theirs")
    return model, tmp_path / "theirs"


def ids_of(rng, V=43):
    return rng.integers(0, V, (3, 16))


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.from_numpy(ids)).logits.numpy()


def test_what_they_save_computes_the_same_here(theirs, rng):
    model, folder = theirs
    ours = load_huggingface_model(folder)
    assert not ours.training
    ids = ids_of(rng)
    assert_allclose(ours(ids).numpy(), logits_of(model, ids), atol=1e-5, rtol=1e-5)


def test_what_is_saved_here_computes_the_same_there(theirs, transformers, rng, tmp_path):
    model, folder = theirs
    ours = load_huggingface_model(folder)
    save_huggingface(tmp_path / "ours", ours)
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", attn_implementation="eager")
    assert type(back) is type(model)
    state = dict(model.named_parameters())
    for name, p in back.named_parameters():
        assert_array_equal(p.detach().numpy(), state[name].detach().numpy(), err_msg=name)
    assert set(state) == {name for name, _ in back.named_parameters()}
    ids = ids_of(rng)
    assert_allclose(logits_of(back, ids), ours(ids).numpy(), atol=1e-5, rtol=1e-5)
    again = load_huggingface_model(tmp_path / "ours")
    assert again.config == ours.config
    assert all(np.array_equal(a, again.state_dict()[name]) for name, a in ours.state_dict().items())


def test_tokenizers_and_models_go_together_there_and_back(transformers, tmp_path):
    tokenizer = BPETokenizer.train(TEXT, vocab_size=300, special_tokens=["<|endoftext|>"])
    model = Llama(LlamaConfig(300, 1, 8, 2, 1, block_size=64), rng=np.random.default_rng(0)).eval()
    save_huggingface(tmp_path / "m", model, tokenizer)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    ids = theirs(TEXT)["input_ids"]
    assert_array_equal(ids, tokenizer.encode(TEXT))
    assert theirs.eos_token == "<|endoftext|>"
    theirs.save_pretrained(tmp_path / "back")
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m").save_pretrained(tmp_path / "back")
    for folder in ("m", "back"):
        ours, same = load_pretrained(tmp_path / folder)
        assert_array_equal(same.encode(TEXT), ids)
        assert_array_equal(ours(np.array([ids[:9]])).numpy(), model(np.array([ids[:9]])).numpy())


def test_a_sharded_checkpoint(transformers, rng, tmp_path):
    model = their_model(transformers, "llama")
    model.save_pretrained(tmp_path / "m", max_shard_size="8KB")
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 2
    ids = ids_of(rng)
    assert_allclose(load_huggingface_model(tmp_path / "m")(ids).numpy(), logits_of(model, ids), atol=1e-5,
                    rtol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_other_floats_become_float32(transformers, rng, tmp_path, kind, dtype):
    model = their_model(transformers, kind).to(getattr(torch, dtype))
    model.save_pretrained(tmp_path / "m")
    # read anew: the angles of a model that was cast are rounded too
    model = type(model).from_pretrained(tmp_path / "m", dtype=torch.float32, attn_implementation="eager")
    ours = load_huggingface_model(tmp_path / "m")
    assert {p.dtype for p in ours.parameters()} == {np.dtype(np.float32)}
    ids = ids_of(rng)
    assert_allclose(ours(ids).numpy(), logits_of(model, ids), atol=1e-5, rtol=1e-5)


def rewrite(folder, change):
    """Save the folder's tensors anew, changed."""
    from safetensors.numpy import load_file, save_file

    tensors = change(load_file(folder / "model.safetensors"))
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()},
              folder / "model.safetensors")


def test_gpt2_as_it_was_first_published(transformers, rng, tmp_path):
    """Names without a prefix, masks among the tensors, and the output layer once more."""
    model = their_model(transformers, "gpt2")
    model.save_pretrained(tmp_path / "m")

    def older(tensors):
        bare = {name.removeprefix("transformer."): array for name, array in tensors.items()}
        masks = {f"h.{i}.attn.bias": np.tri(16, dtype=np.float32)[None, None] for i in range(2)}
        return {**bare, **masks, "h.0.attn.masked_bias": np.float32([-1e4]),
                "lm_head.weight": bare["wte.weight"]}

    rewrite(tmp_path / "m", older)
    ids = ids_of(rng)
    assert_allclose(load_huggingface_model(tmp_path / "m")(ids).numpy(), logits_of(model, ids), atol=1e-5,
                    rtol=1e-5)
    rewrite(tmp_path / "m", lambda tensors: {**tensors, "lm_head.weight": tensors["wte.weight"] + 1})
    with pytest.raises(UserError, match="'lm_head.weight' is not 'wte.weight', though config.json has"):
        load_huggingface_model(tmp_path / "m")


def test_the_configuration_of_transformers_4(transformers, rng, tmp_path):
    model = their_model(transformers, "llama, base")
    model.save_pretrained(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    del config["rope_parameters"]
    config |= {"rope_theta": 300.0, "rope_scaling": None}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    ids = ids_of(rng)
    assert_allclose(load_huggingface_model(tmp_path / "m")(ids).numpy(), logits_of(model, ids), atol=1e-5,
                    rtol=1e-5)


# ---- what our models do not compute, and what is wrong

@pytest.fixture(scope="module")
def sound(transformers, tmp_path_factory):
    """A folder of each kind."""
    folders = {}
    for kind in ("gpt2", "llama"):
        folders[kind] = tmp_path_factory.mktemp(kind)
        their_model(transformers, kind).save_pretrained(folders[kind])
    return folders


def refused(folder, tmp_path, change=None, tensors=None, config_text=None):
    """The message for a copy of the folder whose files are changed; nothing large is allocated for it."""
    copy = tmp_path / "m"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    if change is not None:
        config = json.loads((copy / "config.json").read_text())
        config = {k: v for k, v in {**config, **change}.items() if v != "absent"}
        (copy / "config.json").write_text(json.dumps(config))
    if config_text is not None:
        (copy / "config.json").write_bytes(config_text)
    if tensors is not None:
        rewrite(copy, tensors)
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            load_huggingface_model(copy)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message
    assert str(copy) in message
    return message


@pytest.mark.parametrize(("kind", "change", "words"), [
    ("gpt2", {"activation_function": "relu"}, ["activation_function = 'relu'", "gelu_new"]),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, ["scale_attn_by_inverse_layer_idx = 'True'"]),
    ("gpt2", {"scale_attn_weights": False}, ["scale_attn_weights"]),
    ("gpt2", {"tie_word_embeddings": False}, ["tie_word_embeddings"]),
    ("gpt2", {"add_cross_attention": True}, ["add_cross_attention"]),
    ("gpt2", {"n_inner": 13}, ["n_inner = 13", "4 n_embd = 48"]),
    ("gpt2", {"n_head": 5}, ["n_embd = 12 must be a multiple of n_head = 5"]),
    ("gpt2", {"n_positions": 10**12}, ["n_positions is '1000000000000', it should be a whole number"]),
    ("gpt2", {"n_positions": 10**9}, ["'transformer.wpe.weight' has the shape (16, 12)",
                                      "n_positions = 1000000000, n_embd = 12"]),
    ("gpt2", {"layer_norm_epsilon": 0}, ["layer_norm_epsilon is '0', it should be a number above 0"]),
    ("gpt2", {"resid_pdrop": 1.0}, ["resid_pdrop"]),
    ("gpt2", {"quantization_config": {"bits": 4}}, ["quantization_config"]),
    ("llama", {"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "rope_theta": 1e4}},
     ["rope_parameters: rope_type = 'llama3'", "default"]),
    ("llama", {"rope_parameters": "absent", "rope_scaling": {"type": "linear", "factor": 2.0}},
     ["rope_scaling: type = 'linear'"]),
    ("llama", {"hidden_act": "gelu"}, ["hidden_act = 'gelu'", "silu"]),
    ("llama", {"attention_bias": True}, ["attention_bias = 'True' is not supported"]),
    ("llama", {"mlp_bias": True}, ["mlp_bias"]),
    ("llama", {"sliding_window": 8}, ["sliding_window = '8'"]),
    ("llama", {"partial_rotary_factor": 0.5}, ["partial_rotary_factor"]),
    ("llama", {"num_key_value_heads": 4},
     ["num_attention_heads = 6 must be a multiple of num_key_value_heads = 4"]),
    ("llama", {"num_key_value_heads": 3}, ["k_proj.weight' has the shape (8, 24)",
                                           "num_key_value_heads * head_dim = 12, hidden_size = 24"]),
    ("llama", {"head_dim": 5}, ["head_dim = 5 must be even"]),
    ("llama", {"num_attention_heads": 48, "head_dim": None}, ["hidden_size = 24 must be a multiple of"]),
    ("llama", {"hidden_size": 25, "head_dim": 4},
     ["embed_tokens.weight' has the shape (43, 24)", "hidden_size = 25"]),
    ("llama", {"vocab_size": 10**12}, ["config.json", "vocab_size is '1000000000000'"]),
    ("llama", {"vocab_size": 10**9}, ["vocab_size = 1000000000"]),
    ("llama", {"num_hidden_layers": 10**9}, ["has no tensor 'model.layers.2.input_layernorm.weight'"]),
    ("llama", {"num_hidden_layers": 1}, ["9 tensor(s)", "'model.layers.1.input_layernorm.weight'"]),
    ("llama", {"intermediate_size": "20"}, ["intermediate_size is '20', it should be a whole number"]),
    ("llama", {"intermediate_size": True}, ["intermediate_size is 'True'"]),
    ("llama", {"hidden_size": "absent"}, ["config.json' has no hidden_size"]),
    ("llama", {"model_type": "mamba"}, ["model_type = 'mamba' is not supported", "gpt2 or llama"]),
    ("llama", {"model_type": "absent"}, ["model_type"]),
    ("llama", {"tie_word_embeddings": "yes"}, ["tie_word_embeddings is 'yes', it should be true or false"]),
])
def test_a_configuration_that_is_not_computed_here_or_is_wrong(sound, tmp_path, kind, change, words):
    message = refused(sound[kind], tmp_path, change)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(("text", "words"), [
    (b"", ["no JSON"]), (b"[]", ["no JSON object"]), (b'{"vocab_size": NaN}', ["NaN"]),
    (b"\xff\xfe", ["no JSON"]), (b"[" * 10**5, ["no JSON"])])
def test_a_damaged_configuration(sound, tmp_path, text, words):
    message = refused(sound["llama"], tmp_path, config_text=text)
    assert [word for word in ["config.json", *words] if word not in message] == []


@pytest.mark.parametrize(("change", "words"), [
    (lambda t: {k: v for k, v in t.items() if k != "model.norm.weight"}, ["no tensor 'model.norm.weight'"]),
    (lambda t: {**t, "model.norm.weight": t["model.norm.weight"][:-1]}, ["(23,)", "hidden_size = 24"]),
    (lambda t: {**t, "model.norm.weight": np.zeros(24, np.int32)}, ["of type I32: weights are floats"]),
    (lambda t: {**t, "model.layers.0.self_attn.q_proj.bias": np.zeros(24, np.float32)},
     ["1 tensor(s) that this model has not", "q_proj.bias"])])
def test_tensors_that_do_not_fit(sound, tmp_path, change, words):
    message = refused(sound["llama"], tmp_path, tensors=change)
    assert [word for word in words if word not in message] == []


def marked(**marks):
    specials = ["<s>", "<pad>", "<|im_end|>", "<|endoftext|>"]
    return BPETokenizer.train(TEXT, vocab_size=300, special_tokens=specials).marked(**marks)


@pytest.fixture(scope="module")
def model300():
    return Llama(LlamaConfig(300, 1, 8, 2, 1, block_size=64), rng=np.random.default_rng(0)).eval()


@pytest.mark.parametrize(("marks", "bos", "eos"), [
    ({"bos_id": 0, "eos_ids": [2]}, 0, 2), ({"eos_ids": [2, 1], "prefix": [0]}, 0, [2, 1]), ({}, 3, [3, 2])])
def test_where_texts_begin_and_end_there_and_back(transformers, tmp_path, model300, marks, bos, eos):
    ours = marked(**marks)
    save_huggingface(tmp_path / "m", model300, ours)
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"]) == (bos, eos)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    assert theirs("the cat")["input_ids"] == [*ours.prefix, *ours.encode("the cat")]
    assert theirs.eos_token_id == (eos if isinstance(eos, int) else eos[0])
    assert theirs.bos_token_id == bos
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    assert model.generation_config.eos_token_id == eos
    theirs.save_pretrained(tmp_path / "back")
    model.save_pretrained(tmp_path / "back")
    assert (tmp_path / "back" / "generation_config.json").is_file()
    for folder in ("m", "back"):
        _, same = load_huggingface(tmp_path / folder)
        assert (same.begin_ids, same.end_ids, same.prefix) == (ours.begin_ids, ours.end_ids, ours.prefix)


@pytest.mark.parametrize(("config", "generation", "bos", "eos"), [
    ({"bos_token_id": 0, "eos_token_id": 2}, None, 0, (2,)),
    ({"bos_token_id": 0, "eos_token_id": 2}, {"eos_token_id": [1, 2]}, 0, (1, 2)),
    ({"eos_token_id": [2, 50256]}, None, None, (2,)),
    ({"bos_token_id": 50256, "eos_token_id": 50256}, {}, None, None),
    ({"bos_token_id": None, "eos_token_id": None}, None, None, None)])
def test_end_tokens_of_the_configuration(tmp_path, model300, config, generation, bos, eos):
    save_huggingface(tmp_path / "m", model300, marked())
    path = tmp_path / "m" / "config.json"
    without = {k: v for k, v in json.loads(path.read_text()).items() if not k.endswith("_token_id")}
    path.write_text(json.dumps({**without, **config}))
    if generation is not None:
        (tmp_path / "m" / "generation_config.json").write_text(json.dumps(generation))
    _, tokenizer = load_huggingface(tmp_path / "m")
    assert (tokenizer.bos_id, tokenizer.eos_ids) == (bos, eos)


@pytest.mark.parametrize("wrong", ["2", [2, None], True, 2.0])
def test_an_end_token_that_is_no_number(tmp_path, model300, wrong):
    save_huggingface(tmp_path / "m", model300, marked())
    (tmp_path / "m" / "generation_config.json").write_text(json.dumps({"eos_token_id": wrong}))
    with pytest.raises(UserError, match="generation_config.json': eos_token_id is .* or a list of them"):
        load_huggingface(tmp_path / "m")


@pytest.mark.parametrize(("model", "tokenizer", "words"), [
    (LSTMLanguageModel(LSTMConfig(300, 4, 4)), None, "model is a LSTMLanguageModel, .* one of GPT, Llama"),
    (GPT(GPTConfig(300, 4, 1, 1, 4)), CharTokenizer("ab"), "tokenizer is a CharTokenizer, .* a BPETokenizer"),
    (GPT(GPTConfig(300, 4, 1, 1, 4)), ByteTokenizer(), "tokenizer is a ByteTokenizer, ")],
    ids=["LSTM", "characters", "bytes"])
def test_what_hugging_face_has_no_form_for(tmp_path, model, tokenizer, words):
    with pytest.raises(ValueError, match=words):
        save_huggingface(tmp_path / "m", model, tokenizer)
    assert not (tmp_path / "m").exists()


def test_what_is_wrong_first_is_said_first(tmp_path, model300):
    """A folder without a tokenizer, and with something worse: the user named a folder."""
    folder = tmp_path / "m"
    save_huggingface(folder, model300)
    with pytest.raises(UserError, match=r"the folder '.*m' holds no tokenizer.json: write one with"):
        load_huggingface(folder)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_text("{}")
    with pytest.raises(UserError, match=r"no tokenizer.json, only vocab.json and merges.txt: write one"):
        load_huggingface(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors"):
        load_huggingface(folder)
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    with pytest.raises(UserError, match="model_type = 'qwen2' is not supported"):
        load_pretrained(folder)


def test_missing_files(sound, tmp_path):
    with pytest.raises(UserError, match="config.json"):
        load_huggingface_model(tmp_path)
    with pytest.raises(UserError, match="tokenizer.json"):
        load_huggingface(sound["llama"])


def test_a_tokenizer_of_another_model(tmp_path):
    tokenizer = BPETokenizer.train(TEXT, vocab_size=280)
    model = Llama(LlamaConfig(270, 1, 8, 2), rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="280 ids, but the model has vocab_size = 270"):
        save_huggingface(tmp_path / "m", model, tokenizer)
    save_huggingface(tmp_path / "m", model)
    save_tokenizer_json(tmp_path / "m" / "tokenizer.json", tokenizer)
    with pytest.raises(UserError, match="vocab_size = 270, but tokenizer.json has 280 ids"):
        load_huggingface(tmp_path / "m")


@pytest.mark.parametrize(("model", "words"), [
    (lambda: Llama(LlamaConfig(9, 1, 8, 2, qk_norm=True)), "config.qk_norm = True has no counterpart"),
    (lambda: Llama(LlamaConfig(9, 1, 8, 2, softcap=3.0)), "config.softcap = 3.0"),
    (lambda: GPT(GPTConfig(9, 4, 1, 1, 4, norm="post")), "config.norm = 'post'"),
    (lambda: GPT(GPTConfig(9, 4, 1, 1, 4, logit_softcap=3.0)), "config.logit_softcap = 3.0")])
def test_options_that_they_do_not_have(model, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        save_huggingface(tmp_path / "m", model())
    assert not (tmp_path / "m").exists()


def test_a_gpt_without_biases_is_one_with_zeros(transformers, rng, tmp_path):
    model = GPT(GPTConfig(43, 16, 2, 3, 12, bias=False), rng=rng).eval()
    save_huggingface(tmp_path / "m", model)
    ids = ids_of(rng)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m", attn_implementation="eager")
    assert_allclose(logits_of(theirs, ids), model(ids).numpy(), atol=1e-5, rtol=1e-5)
