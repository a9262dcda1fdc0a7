"""The estimates of memory, held to what Python and NumPy take for a training step."""

import tracemalloc

import numpy as np
import pytest

from minillm import optim
from minillm.autograd.fused import softmax_cross_entropy
from minillm.models import GPT, GPTConfig, Llama, LlamaConfig, LSTMConfig, LSTMLanguageModel


def peak_of_training(make, config, B, T):
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (2, B, T))
    tracemalloc.start()
    try:
        model = make(config, rng=np.random.default_rng(0))
        optimizer = optim.AdamW(model.parameters(), lr=1e-3)
        for _ in range(2):  # the second has gradients and moments from the first
            logits = model(ids[0])
            loss = softmax_cross_entropy(logits[0] if isinstance(logits, tuple) else logits, ids[1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            del logits, loss  # else the tape of one step is alive while the next is written
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("make", "config", "B", "T"), [
    (GPT, GPTConfig(65, 64, 4, 4, 128), 12, 64),
    (GPT, GPTConfig(65, 128, 3, 4, 128, dropout=0.1), 12, 128),
    (GPT, GPTConfig(1000, 32, 2, 2, 64), 12, 32),
    (Llama, LlamaConfig(65, 4, 128, 4, 2, block_size=64), 12, 64),
    (Llama, LlamaConfig(1000, 2, 64, 2, block_size=32), 12, 32),
    (LSTMLanguageModel, LSTMConfig(65, 64, 256, 2), 32, 64),
    (LSTMLanguageModel, LSTMConfig(1000, 128, 128, 2), 32, 32),
], ids=lambda value: getattr(value, "__name__", None))
def test_a_training_step_takes_the_memory_that_was_estimated(make, config, B, T):
    assert config.memory_bytes(B, T) == pytest.approx(peak_of_training(make, config, B, T), rel=0.25)
