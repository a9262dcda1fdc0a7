"""Settings that go well together: from seconds to an hour of training on two cores, for each model."""

from __future__ import annotations

from typing import Any

DEFAULT_PRESET = "minutes"

_LSTM: dict[str, Any] = {"dropout": 0.1, "num_layers": 1, "embedding_dim": 64, "batch_size": 64,
                         "seq_len": 64, "lr": 6e-3, "warmup": 50, "beta2": 0.999, "weight_decay": 0.0,
                         "windows": "contiguous"}
# warmup, beta2 and weight_decay are nanoGPT's for a CPU; its rate of 1e-3 is too low for such small models.
_GPT: dict[str, Any] = {"dropout": 0.0, "norm": "pre", "qk_norm": False, "init": "gpt2", "batch_size": 16,
                        "seq_len": 64, "lr": 3e-3, "warmup": 100, "beta2": 0.99, "weight_decay": 0.1,
                        "windows": "random"}

_LSTMS: dict[str, dict[str, Any]] = {
    "seconds": {**_LSTM, "steps": 450, "batch_size": 32, "embedding_dim": 32, "hidden_dim": 128, "lr": 1e-2,
                "eval_every": 150},
    "minutes": {**_LSTM, "steps": 1000, "hidden_dim": 256, "eval_every": 100},
    "quarter": {**_LSTM, "steps": 3600, "hidden_dim": 512, "dropout": 0.3, "lr": 4e-3, "eval_every": 400},
    "hour": {**_LSTM, "steps": 5000, "hidden_dim": 512, "num_layers": 2, "embedding_dim": 128,
             "dropout": 0.4, "lr": 3e-3, "eval_every": 500},
}
_GPTS: dict[str, dict[str, Any]] = {
    "seconds": {**_GPT, "steps": 900, "n_layer": 2, "n_head": 2, "n_embd": 64, "lr": 6e-3, "warmup": 50,
                "eval_every": 300},
    "minutes": {**_GPT, "steps": 2000, "n_layer": 4, "n_head": 4, "n_embd": 128, "eval_every": 200},
    "quarter": {**_GPT, "steps": 3000, "n_layer": 6, "n_head": 6, "n_embd": 192, "seq_len": 128,
                "lr": 2e-3, "dropout": 0.1, "eval_every": 300},
    "hour": {**_GPT, "steps": 3000, "n_layer": 6, "n_head": 8, "n_embd": 256, "seq_len": 256,
             "dropout": 0.2, "lr": 1e-3, "eval_every": 300},
}


def _llama(gpt: dict[str, Any]) -> dict[str, Any]:
    """The same sizes for Llama, which knows no dropout and one place for its norms; two heads share a key."""
    rest = {name: value for name, value in gpt.items() if name not in ("dropout", "norm")}
    return {**rest, "n_kv_head": gpt["n_head"] // 2, "init": "normal"}


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "lstm": _LSTMS,
    "gpt": _GPTS,
    "llama": {name: _llama(settings) for name, settings in _GPTS.items()},
}
