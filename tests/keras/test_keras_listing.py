"""The article's listing (section 5.1) runs as it stands; only the import line differs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import minillm.keras as mk

LISTING = """\
import tensorflow as tf

# 定义模型
model = tf.keras.Sequential([
    tf.keras.layers.Embedding(vocab_size, embedding_dim),
    tf.keras.layers.LSTM(hidden_dim),
    tf.keras.layers.Dense(vocab_size, activation='softmax')
])

# 定义优化器
optimizer = tf.keras.optimizers.Adam(learning_rate=0.001)

# 定义损失函数
loss_fn = tf.keras.losses.CategoricalCrossentropy()

# 训练模型
model.compile(optimizer=optimizer, loss=loss_fn)
model.fit(x_train, y_train, epochs=10)
"""


def run(listing: str) -> dict:
    """The names that the listing leaves behind; those that the article does not define are given."""
    mk.utils.set_random_seed(0)
    vocab_size, n = 12, 320
    x_train = np.random.default_rng(1).integers(0, vocab_size, (n, 5))
    names = {"vocab_size": vocab_size, "embedding_dim": 8, "hidden_dim": 16, "x_train": x_train,
             "y_train": mk.utils.to_categorical((x_train[:, -1] + 1) % vocab_size, vocab_size)}
    exec(listing, names)
    return names


def test_the_listing_runs_and_learns(capsys: pytest.CaptureFixture[str]) -> None:
    listing = LISTING.replace("import tensorflow as tf", "import minillm as tf")
    assert sum(a != b for a, b in zip(LISTING.splitlines(), listing.splitlines(), strict=True)) == 1
    names = run(listing)
    losses = names["model"].history.history["loss"]
    assert len(losses) == 10
    assert losses[-1] < losses[0] - 0.01
    assert abs(losses[0] - np.log(12)) < 0.05  # a fresh model guesses uniformly
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("Epoch 10/10 - ")
    assert f"loss: {losses[-1]:.4f}" in lines[-1]


def test_the_same_seed_gives_the_same_bits() -> None:
    listing = LISTING.replace("import tensorflow as tf", "import minillm as tf")
    first, second = (run(listing)["model"].get_weights() for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_the_face_brings_neither_torch_nor_keras_along(pytestconfig: pytest.Config) -> None:
    code = ("import minillm.keras, sys; "
            "print([m for m in ('torch', 'keras', 'tensorflow') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=pytestconfig.rootpath)
    assert done.stdout.strip() == "[]"
