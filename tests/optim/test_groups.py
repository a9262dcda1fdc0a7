"""Which parameters of which model are decayed, by name."""

import re

import numpy as np
import pytest

from minillm import nn
from minillm.models import GPT, GPTConfig, Llama, LlamaConfig, LSTMConfig, LSTMLanguageModel
from minillm.optim import AdamW, parameter_groups

MODELS = {
    "lstm": LSTMLanguageModel(LSTMConfig(11, 4, 6, 2)),
    "gpt": GPT(GPTConfig(11, 8, 2, 2, 8, qk_norm=True)),
    "llama": Llama(LlamaConfig(11, 2, 8, 2, 1, qk_norm=True)),
    "tied llama": Llama(LlamaConfig(11, 2, 8, 2, 1, tied=True)),
}
DECAYED = {
    "lstm": r"lstm\.layers\.\d\.[WU]|output\.weight",
    "gpt": r"blocks\.\d\.(attention\.(qkv|output)|mlp\.(up|down))\.weight",
    "llama": r"blocks\.\d\.(attention\.(query|key|value|output)|mlp\.(gate|up|down))\.weight|output\.weight",
    "tied llama": r"blocks\.\d\.(attention\.(query|key|value|output)|mlp\.(gate|up|down))\.weight",
}
TABLES = {"lstm": r"embedding\.weight", "gpt": r"(tokens|positions)\.weight", "llama": r"tokens\.weight",
          "tied llama": r"tokens\.weight"}


@pytest.mark.parametrize("kind", MODELS)
def test_matrices_decay_tables_and_vectors_do_not(kind: str) -> None:
    model = MODELS[kind]
    groups = parameter_groups(model, weight_decay=0.1, l1=0.2, l2=0.3)
    named = {id(p): name for name, p in model.named_parameters()}
    matrices, tables, vectors = ({named[id(p)] for p in group["params"]} for group in groups)
    assert matrices == {n for n in named.values() if re.fullmatch(DECAYED[kind], n)}
    assert tables == {n for n in named.values() if re.fullmatch(TABLES[kind], n)}
    assert vectors == set(named.values()) - matrices - tables
    assert matrices
    assert tables
    assert all(re.search(r"(norm\d?|_norm)\.(weight|bias)$|\.b$|bias$", n) for n in vectors), vectors
    assert [g.get("weight_decay") for g in groups] == [0.1, 0, 0]
    assert [(g.get("l1", 0), g.get("l2", 0)) for g in groups] == [(0.2, 0.3), (0.2, 0.3), (0, 0)]


@pytest.mark.parametrize("kind", MODELS)
def test_without_decay_there_are_matrices_and_vectors_in_the_models_order(kind: str) -> None:
    model = MODELS[kind]
    matrices, tables, vectors = (g["params"] for g in parameter_groups(model, l2=0.1))
    assert matrices == [p for p in model.parameters() if p.ndim > 1]
    assert tables == []
    assert vectors == [p for p in model.parameters() if p.ndim == 1]


def test_only_the_decayed_shrink() -> None:
    model = GPT(GPTConfig(11, 8, 1, 2, 8), rng=np.random.default_rng(0))
    before = model.state_dict()
    optimizer = AdamW(parameter_groups(model, weight_decay=0.5), lr=0.1, weight_decay=0.5)
    optimizer.step()  # without gradients: nothing but the decay
    for name, p in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if re.fullmatch(DECAYED["gpt"], name) else 1
        np.testing.assert_allclose(p.data, factor * before[name], rtol=1e-6, err_msg=name)


def test_a_shared_parameter_is_in_one_group() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            self.table = nn.Embedding(4, 3)
            self.output = nn.Linear(3, 4)
            self.output.weight = self.table.weight

    groups = parameter_groups(Shared(), weight_decay=0.1)
    assert [len(g["params"]) for g in groups] == [0, 1, 1]
