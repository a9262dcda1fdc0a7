"""The models that `LanguageModelling` trains: how each is made of the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm.models import GPT, GPTConfig, Llama, LlamaConfig, LSTMConfig, LSTMLanguageModel

LanguageModel = LSTMLanguageModel | GPT | Llama
ModelConfig = LSTMConfig | GPTConfig | LlamaConfig

_STABILITY = ("qk_norm", "softcap", "logit_softcap", "init")


@dataclass(frozen=True)
class Kind:
    """A kind of language model.

    Attributes:
        title: its layers, for people to read.
        settings: those settings that not every kind has; each is a field of the model's configuration.
        config: vocab_size, seq_len and the settings that are given -> the configuration.
        model: (configuration, rng=...) -> the model.
    """

    title: str
    settings: tuple[str, ...]
    config: Callable[..., ModelConfig]
    model: Callable[..., LanguageModel]

    def make_config(self, vocab_size: int, seq_len: int, settings: dict[str, Any]) -> ModelConfig:
        """The configuration; a setting that is None is left to the configuration's own default.

        Raises:
            ValueError: the configuration refuses a size.
        """
        window = {} if self.config is LSTMConfig else {"block_size": seq_len}
        own = {name: settings[name] for name in self.settings if settings[name] is not None}
        return self.config(vocab_size=vocab_size, **window, **own)

    def make(self, config: ModelConfig, seed: int) -> tuple[LanguageModel, np.random.Generator]:
        """A new model, and the generator that began it and draws its dropout."""
        rng = np.random.default_rng(seed)
        return self.model(config, rng=rng), rng


MODELS = {
    "lstm": Kind("Embedding -> LSTM -> Dense", ("embedding_dim", "hidden_dim", "num_layers", "dropout"),
                 LSTMConfig, LSTMLanguageModel),
    "gpt": Kind("GPT", ("n_layer", "n_head", "n_embd", "dropout", "norm", *_STABILITY), GPTConfig, GPT),
    "llama": Kind("Llama", ("n_layer", "n_head", "n_embd", "n_kv_head", *_STABILITY), LlamaConfig, Llama),
}

# Settings that belong to some kinds and not to others.
OWN_SETTINGS = tuple(dict.fromkeys(name for kind in MODELS.values() for name in kind.settings))
