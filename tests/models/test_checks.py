"""Configurations of all models: plain values of their types, and one line for what no model has."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.models import (
    GPTConfig,
    LlamaConfig,
    LSTMConfig,
    LSTMEncoderDecoderConfig,
    TransformerEncoderDecoderConfig,
)

CONFIGS = {kind.__name__: (kind, (9,) if "EncoderDecoder" not in kind.__name__ else (9, 9)) for kind in (
    GPTConfig, LlamaConfig, LSTMConfig, LSTMEncoderDecoderConfig, TransformerEncoderDecoderConfig)}
TRANSFORMERS = ["GPTConfig", "LlamaConfig", "TransformerEncoderDecoderConfig"]


def made(name, **options):
    kind, sizes = CONFIGS[name]
    return kind(*sizes, **options)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("value", "right"), [
    (8.0, "a whole number"), (True, "a whole number"), ("8", "a whole number"), (None, "a whole number"),
    (0, "at least 1"), (-3, "at least 1"), (2**31, "at most 2147483647")])
def test_sizes(name, value, right):
    kind, sizes = CONFIGS[name]
    first = dataclasses.fields(kind)[0].name
    with pytest.raises(ValueError, match=rf"^{first} = {value!r} must be {right}$"):
        kind(value, *sizes[1:])


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize(("field", "value", "right"), [
    ("norm_eps", -1, "must be > 0$"), ("norm_eps", 0.0, "must be > 0$"),
    ("norm_eps", float("nan"), "must be a finite number$"), ("norm_eps", True, "must be a finite number$"),
    ("softcap", float("inf"), "must be a finite number, or None"), ("softcap", 0, "must be > 0, or None"),
    ("softcap", "3", "must be a finite number, or None"), ("softcap", 10**400, "must be a finite number"),
    ("qk_norm", 2, "must be True or False"), ("qk_norm", None, "must be True or False")])
def test_what_would_compute_nan(name, field, value, right):
    with pytest.raises(ValueError, match=f"^{field} = .* {right}"):
        made(name, **{field: value})


@pytest.mark.parametrize("base", [0.0, -1.0, float("nan"), float("inf")])
def test_rotary_positions_need_a_base(base):
    with pytest.raises(ValueError, match="^rope_base = .* must be "):
        LlamaConfig(9, rope_base=base)


@pytest.mark.parametrize("name", ["GPTConfig", "LSTMConfig", "LSTMEncoderDecoderConfig",
                                  "TransformerEncoderDecoderConfig"])
@pytest.mark.parametrize("dropout", [1, -0.1, float("nan")])
def test_dropout(name, dropout):
    with pytest.raises(ValueError, match="^dropout = "):
        made(name, dropout=dropout)


@pytest.mark.parametrize("name", CONFIGS)
@given(data=st.data())
def test_numpys_numbers_become_pythons(name, data):
    kind, sizes = CONFIGS[name]
    plain = kind(*sizes)
    change = {int: lambda x: np.dtype(data.draw(st.sampled_from(["int16", "int64", "uint32"]))).type(x),
              bool: lambda x: data.draw(st.sampled_from([np.bool_, int]))(x),
              float: lambda x: np.float64(x), str: np.str_, type(None): lambda x: x}
    values = dataclasses.asdict(plain)
    other = kind(**{field: change[type(value)](value) for field, value in values.items()})
    assert other == plain
    assert [type(v) for v in vars(other).values()] == [type(v) for v in values.values()]
    assert kind(**json.loads(json.dumps(dataclasses.asdict(other)))) == plain
