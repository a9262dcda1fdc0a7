"""What a Module knows about itself: parameters, parts, mode, state."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from minillm import Tensor, nn


class Block(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        self.scale = nn.parameter(np.ones(3))
        self.fixed = Tensor(np.ones(3))  # no gradient: no parameter
        self.name = "block"
        self.parts = [nn.Linear(3, 3, rng=rng, dtype=np.float64), nn.Dropout(0.5, rng=rng)]

    def forward(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        self.seen = x * self.scale  # kept to look at: computed, so no parameter either
        return self.seen


class Model(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        self.embedding = nn.Embedding(5, 3, rng=rng, dtype=np.float64)
        self.blocks = (Block(rng), Block(rng))
        self.output = nn.Linear(3, 5, rng=rng, dtype=np.float64)
        self.tied = self.embedding.weight  # the same Tensor under a second name

    def forward(self, ids: Any) -> Any:
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x)
        return self.output(x)


NAMES = ["tied", "blocks.0.scale", "blocks.0.parts.0.weight", "blocks.0.parts.0.bias",
         "blocks.1.scale", "blocks.1.parts.0.weight", "blocks.1.parts.0.bias", "output.weight", "output.bias"]


@pytest.fixture
def model(rng: np.random.Generator) -> Model:
    return Model(rng)


def test_named_parameters_go_through_lists_and_give_each_once(model: Model) -> None:
    model(np.array([0, 1]))
    found = dict(model.named_parameters())
    assert list(found) == NAMES
    assert found["tied"] is model.embedding.weight
    assert found["blocks.1.parts.0.weight"] is model.blocks[1].parts[0].weight
    assert [p.name for p in model.parameters()] == NAMES
    assert model.n_params == sum(p.size for p in found.values()) == 5 * 3 + 2 * (3 + 9 + 3) + 15 + 5


class Boxes(nn.Module):
    """Parts and parameters in every kind of box."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.scales = [nn.parameter(np.ones(2)), nn.parameter(np.ones(1))]
        self.heads = {"a": nn.Linear(2, 1, bias=False, rng=rng), "b": nn.Dropout(0.5, rng=rng)}
        self.table = {"x": nn.parameter(np.ones(3)), "fixed": Tensor(np.ones(3)), "n": 5}
        self.deep = [{"y": (nn.parameter(np.ones(4)), nn.Linear(1, 1, rng=rng))}]
        self.state = [(self.scales[0] * 2, np.ones(2))]  # computed: no parameter


def test_parts_and_parameters_in_lists_and_dicts(rng: np.random.Generator) -> None:
    boxes = Boxes(rng)
    found = dict(boxes.named_parameters())
    assert list(found) == ["scales.0", "scales.1", "table.x", "deep.0.y.0", "heads.a.weight",
                           "deep.0.y.1.weight", "deep.0.y.1.bias"]
    assert found["table.x"] is boxes.table["x"]
    assert [name for name, _ in boxes.children()] == ["heads.a", "heads.b", "deep.0.y.1"]
    boxes.eval()
    assert not boxes.heads["b"].training
    state = {k: v + 1 for k, v in boxes.state_dict().items()}
    boxes.load_state_dict(state)
    assert boxes.scales[0].data.tolist() == [2, 2]


def test_two_parameters_of_one_name_are_refused() -> None:
    module = nn.Module()
    module.table = {1: nn.parameter(np.ones(1)), "1": nn.parameter(np.ones(1))}
    with pytest.raises(ValueError, match=r"^Module has two parameters named table\.1$"):
        module.state_dict()


def test_prefix(model: Model) -> None:
    assert next(iter(model.named_parameters("net.")))[0] == "net.tied"


def test_train_and_eval_reach_every_part(model: Model) -> None:
    dropouts = [block.parts[1] for block in model.blocks]
    assert model.eval() is model
    assert not any(m.training for m in [model, *model.blocks, *dropouts])
    assert model.train() is model
    assert all(m.training for m in [model, *model.blocks, *dropouts])


def test_zero_grad(model: Model) -> None:
    model(np.array([0, 1, 2, 3, 4])).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_state_round_trip(model: Model, rng: np.random.Generator) -> None:
    state = model.state_dict()
    assert list(state) == NAMES
    before = {k: v.copy() for k, v in state.items()}
    arrays = [p.data for p in model.parameters()]
    for p in model.parameters():
        p.data += 1
    assert all((state[k] == before[k]).all() for k in state)  # copies
    other = Model(np.random.default_rng(99))
    other.load_state_dict(state)
    model.load_state_dict(state)
    assert all(a is p.data for a, p in zip(arrays, model.parameters(), strict=True))  # in place
    ids = rng.integers(0, 5, 7)
    assert (model.eval()(ids).data == other.eval()(ids).data).all()


@pytest.mark.parametrize(("change", "message"), [
    (lambda s: s.pop("output.bias"), "the state does not fit Model: missing ['output.bias'], unknown none"),
    (lambda s: s.update(extra=np.ones(1)), "the state does not fit Model: missing none, unknown ['extra']"),
    (lambda s: s.update({"output.bias": np.ones(6)}),
     "output.bias has shape (6,) in the state, but (5,) in the model"),
    (lambda s: s.update({"output.bias": np.ones(5, complex)}),
     "output.bias has dtype complex128 in the state, but float64 in the model"),
    (lambda s: s.update({"output.bias": np.ones(5, int)}),
     "output.bias has dtype int64 in the state, but float64 in the model"),
], ids=["missing", "unknown", "shape", "complex", "integers"])
def test_a_state_that_does_not_fit_changes_nothing(model: Model, change: Any, message: str) -> None:
    before = model.state_dict()
    state = {k: v + 1 for k, v in before.items()}
    change(state)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.load_state_dict(state)
    assert all((v == before[k]).all() for k, v in model.state_dict().items())


def test_repr_shows_the_tree(rng: np.random.Generator) -> None:
    text = repr(nn.Sequential(nn.Embedding(5, 3, rng=rng), nn.LSTM(3, 4, rng=rng), nn.Dropout(0.1, rng=rng),
                              nn.Linear(4, 2, bias=False, rng=rng)))
    assert text == ("Sequential(\n  (layers.0): Embedding(5, 3)\n  (layers.1): LSTM(3, 4)\n"
                    "  (layers.2): Dropout(p=0.1)\n  (layers.3): Linear(4, 2, bias=False)\n)")


def test_a_module_without_forward_says_so() -> None:
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"^Empty defines no forward$"):
        Empty()(1)
